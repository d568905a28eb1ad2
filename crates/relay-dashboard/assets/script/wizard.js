// A new source: made with what senders and a client need, shown once, and waited for.

import { bind, bindCopies, field, refuse, say, send } from './ask.js';
import { base, byId, inUrl, make, on } from './page.js';

const saysOfWizard = {
  url: 'URL, to be entered at the platform',
  key: 'API key, for senders: X-API-Key',
  token: 'Token, for the client',
  copy: 'Copy',
  handshake: 'The platform asked, and was answered.',
  first: (count) => (count === 1 ? 'The first webhook is here.' : `${count} webhooks are here.`),
  look: 'Look at it',
  refused: ({ check, detail, peer, remedy }) => `One was refused (${check}${peer ? `, from ${peer}` : ''}): ${detail}. What mends it: ${remedy}.`,
  sent: ({ status, detail }) => (status < 300 ? `The sample was taken: ${status}.` : `The sample was answered ${status}: ${detail ?? ''}`),
  given: 'Nothing came for half an hour. The page of the source says what comes.',
};

const WAIT_EVERY = 1000;
const WAIT_FOR = 30 * 60;

// One that is filtered as it is typed; whoever presses Enter asks the server for the same.
function bindPlatforms() {
  const find = byId('find');
  const rows = [...document.querySelectorAll('#lines tr')];
  on(find, 'input', () => {
    const wanted = find.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

function shownOnce(name, value) {
  const [term, place, code, button] = ['dt', 'dd', 'code', 'button'].map(make);
  term.textContent = name;
  code.textContent = value;
  [button.type, button.textContent] = ['button', saysOfWizard.copy];
  button.setAttribute('aria-label', `${saysOfWizard.copy}: ${name}`);
  place.className = 'once';
  place.append(code, button);
  byId('made-secrets').append(term, place);
}

function tick(id, words, link) {
  const line = byId(id);
  if (!line) return;
  line.hidden = false;
  const [sign, text] = line.children;
  if (id !== 'wait-refused') [sign.className, sign.textContent] = ['sign ok', '✓'];
  if (text.dataset.said === words) return;
  text.dataset.said = words;
  text.textContent = words;
  if (!link) return;
  const there = make('a');
  [there.href, there.textContent] = [link, saysOfWizard.look];
  text.append(' ', there);
}

// Until the first webhook is here, or nobody waits for it any more.
async function waitFor(name) {
  for (let waited = 0; waited < WAIT_FOR; waited += 1) {
    if (!document.hidden) {
      try {
        const { counters, refusals } = await send('GET', `sources/${inUrl(name)}`);
        if (counters.handshakes > 0) tick('wait-handshake', saysOfWizard.handshake);
        if (refusals[0]) tick('wait-refused', saysOfWizard.refused(refusals[0]));
        if (counters.accepted > 0) return tick('wait-first', saysOfWizard.first(counters.accepted), `${base}events?source=${inUrl(name)}`);
      } catch {
        // Asked again in a moment.
      }
    }
    await new Promise((later) => setTimeout(later, WAIT_EVERY));
  }
  say(byId('sample-said'), saysOfWizard.given);
}

// The steps name the URL that is to be entered, whatever the source will be called.
function bindSteps(form) {
  const steps = [...document.querySelectorAll('.steps li')].map((line) => [line, line.textContent]);
  const { url } = form.dataset;
  const begin = url.slice(0, url.lastIndexOf('/') + 1);
  on(form.elements.namedItem('name'), 'input', ({ target }) => {
    for (const [line, text] of steps) line.textContent = text.replaceAll(url, begin + target.value.trim());
  });
}

function bindWizard() {
  const form = byId('new-source');
  const said = byId('act-said');
  if (!form) return;
  bindSteps(form);
  let made;
  bind(form, 'submit', said, async () => {
    const fields = [...form.elements].filter((element) => element.name.startsWith('p.') && element.value.trim());
    const parameters = fields.map((element) => [element.name.slice(2), element.value.trim()]);
    const isGiven = fields.some((element) => element.type === 'password');
    const { provider, adopts, relay } = form.dataset;
    const [name, destination] = [field(form, 'name').trim(), field(form, 'destination').trim()];
    made = await send('POST', 'invites', { name, provider, parameters, destination, await_secret: adopts === 'true' && !isGiven });
    // What was typed is not kept on the page.
    form.reset();
    const url = made.url ?? `${relay}${made.path}`;
    shownOnce(saysOfWizard.url, url);
    if (made.key) shownOnce(saysOfWizard.key, made.key.key);
    for (const { name: parameter, value } of made.generated) shownOnce(parameter, value);
    shownOnce(saysOfWizard.token, made.token.token);
    byId('made-client').textContent = `crm-relay client --url ${made.relay_url ?? relay} --token @token.txt --to ${destination}=http://127.0.0.1:3000`;
    const page = `${base}sources/${inUrl(name)}`;
    byId('made-page').href = page;
    [byId('asked').hidden, byId('made').hidden, byId('waits').hidden] = [true, false, false];
    // Drawn anew it is the page of what was made.
    history.replaceState(null, '', page);
    bindCopies(said);
    byId('made').focus();
    waitFor(name);
  });
  bind(byId('sample'), 'click', byId('sample-said'), async () => {
    if (!made) refuse('');
    const sent = await send('POST', `sources/${inUrl(made.source.name)}/sample`, made.key ? { key: made.key.key } : {});
    say(byId('sample-said'), saysOfWizard.sent(sent));
  });
}

bindPlatforms();
bindWizard();
