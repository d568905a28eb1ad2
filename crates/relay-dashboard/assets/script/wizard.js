// A new source: made with what senders and a client need, shown once, and waited for.

import { bind, bindCopy, field, refuse, say, send, showOnce, sure } from './ask.js';
import { base, byId, inUrl, make, on, reload } from './page.js';

const saysOfWizard = {
  url: 'URL, to be entered at the platform',
  key: 'API key, for senders: X-API-Key',
  token: 'Token, for the client',
  handshake: 'The platform asked, and was answered.',
  first: (count) => (count === 1 ? 'The first webhook is here.' : `${count} webhooks are here.`),
  look: 'Look at it',
  refused: ({ check, detail, peer, remedy }) => `One was refused (${check}${peer ? `, from ${peer}` : ''}): ${detail}${remedy && `; what mends it: ${remedy}`}.`,
  unknown: (why) => `It is not known what came: ${why}.`,
  secret: 'Give the secret, or tick that the platform hands it over.',
  sample: (title, name) => `Send a sample of ${title}? It is stored, and delivered to ${name} like any other webhook.`,
  sent: ({ status, detail }) => (status < 300 ? `The sample was taken: ${status}. The first webhook is waited for still.` : `The sample was answered ${status}: ${detail ?? ''}`),
  given: 'Nothing came in half an hour. The page of the source says what comes.',
};

const WAIT_EVERY = 1000;
const LOOKS_MAX = 30 * 60;

// One that is filtered as it is typed; whoever presses Enter asks the server for the same.
function bindPlatforms() {
  const find = byId('find');
  const rows = [...document.querySelectorAll('#lines tr')];
  on(find, 'input', () => {
    const wanted = find.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
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

// Until the first webhook is here that is no sample of this page, or nobody waits for it any more. It is asked while another tab is in front
// too: that is where one is while at the platform.
async function waitFor(name, began, samples) {
  for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
    await new Promise((later) => setTimeout(later, WAIT_EVERY));
    let found;
    try {
      found = await send('GET', `sources/${inUrl(name)}`);
    } catch (error) {
      if (error.status === 401) return reload();
      say(byId('wait-said'), saysOfWizard.unknown(error.message));
      continue;
    }
    say(byId('wait-said'), '');
    const { counters, refusals } = found;
    if (counters.handshakes > began.handshakes) tick('wait-handshake', saysOfWizard.handshake);
    if (refusals[0]) tick('wait-refused', saysOfWizard.refused(refusals[0]));
    const came = counters.accepted - began.accepted - samples.sent;
    if (came > 0) return tick('wait-first', saysOfWizard.first(came), `${base}events?source=${inUrl(name)}`);
  }
  say(byId('wait-said'), saysOfWizard.given);
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
  const samples = { sent: 0 };
  let made;
  bindCopy(document.querySelector('.once'), said);
  bind(form, 'submit', said, async () => {
    const fields = [...form.elements].filter((element) => element.name.startsWith('p.') && element.value.trim());
    // As it was typed: spaces may belong to it.
    const parameters = fields.map((element) => [element.name.slice(2), element.value]);
    const isGiven = fields.some((element) => element.classList.contains('masked'));
    const { provider, adopts, relay } = form.dataset;
    const hands = adopts === 'true' && form.elements.namedItem('adopt').checked;
    if (adopts === 'true' && !hands && !isGiven) refuse(saysOfWizard.secret);
    const [name, destination] = [field(form, 'name').trim(), field(form, 'destination').trim()];
    made = await send('POST', 'invites', { name, provider, parameters, destination, await_secret: hands && !isGiven });
    // What was typed is not kept on the page.
    form.reset();
    const url = made.url ?? `${relay}${made.path}`;
    const show = (words, value) => showOnce(byId('made-secrets'), words, value, said);
    show(saysOfWizard.url, url);
    if (made.key) show(saysOfWizard.key, made.key.key);
    for (const { name: parameter, value } of made.generated) show(parameter, value);
    show(saysOfWizard.token, made.token.token);
    byId('made-client').textContent = `crm-relay client --url ${made.relay_url ?? relay} --token @token.txt --to ${destination}=http://127.0.0.1:3000`;
    const page = `${base}sources/${inUrl(name)}`;
    byId('made-page').href = page;
    [byId('asked').hidden, byId('made').hidden, byId('waits').hidden] = [true, false, false];
    // Drawn anew it is the page of what was made.
    history.replaceState(null, '', page);
    byId('made').focus();
    // What another source of that name had is none of it.
    waitFor(name, (await send('GET', `sources/${inUrl(name)}`)).counters, samples);
  });
  bind(byId('sample'), 'click', byId('sample-said'), async () => {
    const { source: { name, destinations }, key } = made;
    if (!(await sure(saysOfWizard.sample(form.dataset.title, destinations.join(', '))))) return;
    // It may be counted before it is answered.
    samples.sent += 1;
    let sent;
    try {
      sent = await send('POST', `sources/${inUrl(name)}/sample`, key ? { key: key.key } : {});
    } finally {
      if (!(sent?.status < 300)) samples.sent -= 1;
    }
    say(byId('sample-said'), saysOfWizard.sent(sent));
  });
}

bindPlatforms();
bindWizard();
