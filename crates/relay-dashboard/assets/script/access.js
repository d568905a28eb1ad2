// Keys and tokens: made, replaced, revoked. A new one is shown once.

import { bind, bindCopies, field, send, standAt, sure } from './ask.js';
import { byId, inUrl, on, reload } from './page.js';

const saysOfAccess = {
  key: (name, source) => `The key of ${name} for source ${source}`,
  token: (name) => `The token of ${name}`,
  revoke: (name) => `${name} is worth nothing any more.`,
  finish: (name) => `The old token of ${name} lets nobody in any more.`,
  abort: (name) => `The token of ${name} is the one that it was.`,
};

// What is shown stays on the page until whoever looks has it.
function showOnce(words, secret) {
  byId('once-words').textContent = words;
  byId('once-secret').textContent = secret;
  const box = byId('once');
  box.hidden = false;
  box.focus();
  box.scrollIntoView({ block: 'nearest' });
}

function bindAccess() {
  const said = byId('act-said');
  const [keyForm, tokenForm] = [byId('new-key'), byId('new-token')];
  bind(keyForm, 'submit', said, async () => {
    const [source, name] = [field(keyForm, 'source'), field(keyForm, 'name').trim()];
    const { key } = await send('POST', 'keys', { source, name });
    showOnce(saysOfAccess.key(name, source), key);
    keyForm.reset();
  });
  bind(tokenForm, 'submit', said, async () => {
    const [name, only] = [field(tokenForm, 'name').trim(), field(tokenForm, 'destination')];
    const { token } = await send('POST', 'tokens', { name, destinations: only ? [only] : null });
    showOnce(saysOfAccess.token(name), token);
    tokenForm.reset();
  });
  bind(byId('keys'), 'click', said, async ({ target }) => {
    const button = target.closest('button');
    if (!button || !(await sure(button.dataset.sure))) return;
    const { source, name } = button.closest('tr').dataset;
    await send('DELETE', `keys/${inUrl(source)}/${inUrl(name)}`);
    standAt('', saysOfAccess.revoke(`${source} ${name}`));
  });
  bind(byId('tokens'), 'click', said, async ({ target }) => {
    const button = target.closest('button');
    if (!button || !(await sure(button.dataset.sure))) return;
    const { name } = button.closest('tr').dataset;
    const path = `tokens/${inUrl(name)}`;
    if (button.name === 'rotate') {
      const { token } = await send('POST', `${path}/rotate`, {});
      return showOnce(saysOfAccess.token(name), token);
    }
    if (button.name === 'revoke') await send('DELETE', path);
    else await send('POST', `${path}/rotate/${button.name}`);
    standAt('', saysOfAccess[button.name](name));
  });
  on(byId('once-done'), 'click', reload);
}

bindAccess();
bindCopies(byId('act-said'));
