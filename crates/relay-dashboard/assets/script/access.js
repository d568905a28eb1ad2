// Keys and tokens: made, replaced, revoked. A new one is shown once.

import { bind, field, refuse, send, showOnce, standAt, sure } from './ask.js';
import { byId, inUrl, on, reload } from './page.js';

const saysOfAccess = {
  key: (name, source) => `The key of ${name} for source ${source}`,
  token: (name) => `The token of ${name}`,
  revoke: (name) => `${name} is worth nothing any more.`,
  finish: (name) => `The old token of ${name} lets nobody in any more.`,
  abort: (name) => `The token of ${name} is the one that it was.`,
  held: 'First take what is shown above: it does not come again.',
};

// What is shown stays on the page until whoever looks has it: what would draw it anew waits, and who leaves is asked.
let isHeld = false;

function show(words, secret) {
  showOnce(byId('once-all'), words, secret, byId('act-said'));
  isHeld = true;
  const box = byId('once');
  box.hidden = false;
  box.focus();
  box.scrollIntoView({ block: 'nearest' });
}

function free() {
  if (isHeld) refuse(saysOfAccess.held);
}

function bindAccess() {
  const said = byId('act-said');
  const [keyForm, tokenForm] = [byId('new-key'), byId('new-token')];
  bind(keyForm, 'submit', said, async () => {
    const [source, name] = [field(keyForm, 'source'), field(keyForm, 'name').trim()];
    const { key } = await send('POST', 'keys', { source, name });
    show(saysOfAccess.key(name, source), key);
    keyForm.reset();
  });
  bind(tokenForm, 'submit', said, async () => {
    const [name, only] = [field(tokenForm, 'name').trim(), field(tokenForm, 'destination')];
    const { token } = await send('POST', 'tokens', { name, destinations: only === '*' ? null : [only] });
    show(saysOfAccess.token(name), token);
    tokenForm.reset();
  });
  bind(byId('keys'), 'click', said, async ({ target }) => {
    const button = target.closest('button');
    if (!button) return;
    free();
    if (!(await sure(button.dataset.sure))) return;
    const { source, name } = button.closest('tr').dataset;
    await send('DELETE', `keys/${inUrl(source)}/${inUrl(name)}`);
    standAt('', saysOfAccess.revoke(`${source} ${name}`));
  });
  bind(byId('tokens'), 'click', said, async ({ target }) => {
    const button = target.closest('button');
    if (!button) return;
    if (button.name !== 'rotate') free();
    if (!(await sure(button.dataset.sure))) return;
    const { name } = button.closest('tr').dataset;
    const path = `tokens/${inUrl(name)}`;
    if (button.name === 'rotate') {
      const { token } = await send('POST', `${path}/rotate`, {});
      // Its row is another one once the page is drawn anew.
      button.hidden = true;
      return show(saysOfAccess.token(name), token);
    }
    if (button.name === 'revoke') await send('DELETE', path);
    else await send('POST', `${path}/rotate/${button.name}`);
    standAt('', saysOfAccess[button.name](name));
  });
  on(byId('once-done'), 'click', () => {
    isHeld = false;
    reload();
  });
  on(window, 'beforeunload', (event) => isHeld && event.preventDefault());
}

bindAccess();
