// Uses the dashboard of a running server in a real browser, as people do, and says what is wrong.
//
//   node visit.mjs FOLDER        where pictures go; the server is told by the environment (browser.mjs)
//
// Prints one line of JSON with its figures, and exits 1 where something is not as it should be. Nothing but its cookie is kept in the browser.

import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

import { PASSWORD, WITHIN, command, context, finish, isLive, launch, link, must, press, tabTo, took, until, webhook } from './browser.mjs';
import { keepsTime } from './clocks.mjs';
import { byKeys } from './keys.mjs';
import { slips } from './slips.mjs';

const [folder] = process.argv.slice(2);

const base = (url) => new URL('/', url).href;

// A developer: the link of `crm-relay dashboard`, then a webhook on the page.
async function develops(browser) {
  const opened = link();
  const home = base(opened);
  const alone = await context(browser, 'developer');
  const pulses = [];
  alone.on('request', (request) => {
    if (!request.url().startsWith(home)) fault(`asks for ${request.url()}`);
    if (request.url().endsWith('/api/v1/pulse') && request.headers().accept === 'text/event-stream') pulses.push(request);
  });
  const page = await alone.newPage();
  await page.goto(opened);
  await page.getByRole('heading', { name: 'Overview' }).waitFor(WITHIN);
  must(page.url() === home, `the link is not left behind: ${page.url()}`);
  await page.goto(`${home}events`);
  await page.getByText('No webhook has come yet.').waitFor(WITHIN);
  await isLive(page);
  const times = [];
  for (let at = 0; at < 8; at += 1) {
    const began = Date.now();
    const sent = await webhook(`{"hello":${at}}`);
    await page.locator(`tr#${sent}`).waitFor(WITHIN);
    times.push(Date.now() - began);
    await page.locator(`tr#${sent} .sign.ok`).waitFor(WITHIN);
  }
  took('on_the_page_ms', Math.max(...times), 1000);

  await moves(alone, home);
  const others = await shares(page, pulses, home);
  const kept = await others[0].evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
  must(kept.join() === '0,0,', `something is kept: ${kept}`);
  await alone.close();
  must((await again(browser, opened)).includes('used already'), 'a link is good twice');
  return home;
}

// Twelve tabs have one stream: the others hear of it by the one that holds it, and with that tab it goes to the next.
async function shares(page, pulses, home) {
  pulses.length = 0;
  const others = [];
  let slowest = 0;
  for (let tab = 2; tab <= 12; tab += 1) {
    const other = await page.context().newPage();
    const began = Date.now();
    await other.goto(`${home}events`);
    await isLive(other);
    slowest = Math.max(slowest, Date.now() - began);
    others.push(other);
  }
  took('slowest_tab_ms', slowest, 1000);
  const second = await webhook('{"hello":"again"}');
  for (const tab of [page, ...others]) await tab.locator(`tr#${second}`).waitFor(WITHIN);
  must(pulses.length === 0, `eleven more tabs ask for ${pulses.length} more streams`);
  const locks = () => others[0].evaluate(() => navigator.locks.query().then(({ held, pending }) => [held.length, pending.length].join()));
  must((await locks()) === '1,11', `tabs that hold the stream, and that would: ${await locks()}`);

  const closed = Date.now();
  await page.close();
  await until(() => pulses.length > 0, 'the stream goes to another tab');
  took('taken_over_ms', Date.now() - closed, 2000);
  const third = await webhook('{"hello":"once more"}');
  for (const tab of others) await tab.locator(`tr#${third}`).waitFor(WITHIN);
  must(pulses.length === 1 && others.includes(pulses[0].frame().page()), `after that tab ${pulses.length} ask for a stream`);
  must((await locks()) === '1,10', `tabs that hold the stream then, and that would: ${await locks()}`);
  for (const tab of others) await isLive(tab);
  return others;
}

// A delivery that goes on while it is shown reads as one that is drawn anew, column by column.
async function moves(context, home) {
  const page = await context.newPage();
  await page.goto(`${home}deliveries`);
  await isLive(page);
  const before = await page.locator('#lines tr').count();
  for (let at = 0; at < 5; at += 1) await webhook(`{"moves":${at}}`);
  const all = page.locator(`#lines tr:nth-last-child(n+${before + 1}) .sign.ok`);
  await all.nth(4).waitFor(WITHIN);
  const cells = () => page.locator('#lines tr').evaluateAll((rows) => rows.map((row) => [row.id,
    ...[...row.children].map((cell) => (cell.querySelector('time') ? 'a time' : cell.textContent.trim()))].join('|')));
  const live = await cells();
  await page.reload();
  const anew = await cells();
  must(live.join() === anew.join(), `a row that went on reads ${live[0]}, and anew ${anew[0]}`);

  // Whoever pauses is told that there is more, and goes on by the same button.
  await isLive(page);
  await page.getByRole('button', { name: 'Pause' }).click();
  await webhook('{"while":"paused"}');
  await page.getByText('More came in while paused.').waitFor(WITHIN);
  must((await page.locator('#lines tr').count()) === anew.length, 'a list that is paused moves');
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.locator(`#lines tr:nth-child(${anew.length + 1})`).waitFor(WITHIN);

  await page.close();
}

async function again(browser, opened) {
  const alone = await context(browser, 'second use');
  const page = await alone.newPage();
  await page.goto(opened);
  const said = page.locator('#login-said');
  await said.filter({ hasText: /./ }).waitFor(WITHIN);
  const text = await said.textContent();
  await alone.close();
  return text;
}

async function signIn(page, home, name, password) {
  await page.goto(`${home}login`);
  await fillIn(page, name, password);
}

async function fillIn(page, name, password) {
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

// Somebody with a password; what he may not see is not there, and when he may not in any more the page says so by itself.
async function looks(browser, home, event) {
  command(['user', 'create', 'vera', '--role', 'viewer', '--password', '-'], `${PASSWORD}\n`);
  const hers = await context(browser, 'viewer');
  const page = await hers.newPage();
  await signIn(page, home, 'vera', 'wrong horse battery');
  await page.getByText('the name or the password is wrong').waitFor(WITHIN);
  // A link to a part of a page is one still once she is in.
  const deep = `${home}events/${event}#headers`;
  await page.goto(deep);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor(WITHIN);
  must((await page.locator('#login-said').textContent()) === '', 'a link to a part of a page is taken for one to sign in');
  await fillIn(page, 'vera', PASSWORD);
  await page.waitForURL(deep, WITHIN);
  await page.getByText('Your role does not see bodies.').waitFor(WITHIN);
  must(!(await page.content()).includes('canary'), 'a viewer gets a payload');

  // A link in a mail: the cookie is strict, and he is in all the same.
  const elsewhere = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end(`<a href="${home}events/${event}">see</a>`));
  await new Promise((ready) => elsewhere.listen(0, '127.0.0.1', ready));
  await page.goto(`http://localhost:${elsewhere.address().port}/`);
  await page.getByText('see').click();
  await page.getByText('Your role does not see bodies.').waitFor(WITHIN);
  must(page.url() === `${home}events/${event}`, `a link of another site leads to ${page.url()}`);
  elsewhere.close();

  await page.goto(`${home}events`);
  await isLive(page);
  command(['user', 'disable', 'vera']);
  const began = Date.now();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor(WITHIN);
  // Five seconds at most (S24).
  took('out_after_disable_ms', Date.now() - began, 5000);
  await hers.close();
}

// An invited administrator chooses a password, and makes another user.
async function administers(browser, home) {
  const invited = command(['user', 'create', 'alice', '--role', 'admin']).trim();
  const hers = await context(browser, 'admin');
  const page = await hers.newPage();
  await page.goto(invited);
  await page.getByText('You have no password yet').waitFor(WITHIN);
  await page.waitForLoadState('load');
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Set password' }).click();
  await page.getByLabel('Present password').waitFor(WITHIN);
  await page.waitForLoadState('load');
  await page.getByLabel('Colours').selectOption('dark');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.locator('html[data-theme=dark]').waitFor(WITHIN);
  await page.goto(`${home}users`);
  await page.getByLabel('Name').fill('bob');
  await page.getByRole('button', { name: 'Make user and link' }).click();
  const handed = page.locator('#link');
  await handed.filter({ hasText: '/login#crl_' }).waitFor(WITHIN);
  must((await handed.textContent()).startsWith(home), 'a link for a user leads elsewhere');
  // Nobody gets a role by moving through them, and what cannot be taken back is asked for.
  await page.reload();
  const [own, his] = ['alice', 'bob'].map((name) => page.locator(`tr[data-user=${name}]`));
  must((await own.getByRole('button').count()) === 0, 'she can reset or disable herself');
  const role = () => JSON.parse(command(['user', 'list', '--json'])).items.find(({ name }) => name === 'bob').role;
  const was = role();
  await his.getByRole('combobox').selectOption('operator');
  must(role() === was && was !== 'operator', `a role is given before it is saved: ${was}`);
  await his.getByRole('button', { name: 'Give bob this role' }).click();
  await his.getByRole('button', { name: 'Give bob this role' }).waitFor({ state: 'hidden', ...WITHIN });
  must(role() === 'operator', 'a role that is saved is not given');
  await his.getByRole('button', { name: /Reset|password/ }).click();
  await page.getByRole('button', { name: 'Leave it' }).click();
  must(await page.locator('#link-box').isHidden(), 'a reset that is not wanted is done');
  await his.getByRole('button', { name: /Reset|password/ }).click();
  await page.getByRole('button', { name: 'Do it' }).click();
  await handed.filter({ hasText: '/login#crl_' }).waitFor(WITHIN);
  const audit = await page.goto(`${home}audit?who=user:alice&action=user`);
  must((await audit.text()).includes('user.create'), 'the audit log does not name her');
  await hers.close();
}

const dead = () => JSON.parse(command(['dead', 'list', '--json'])).items;

// An event is sent again, a destination paused and resumed, what waits there cancelled; each time the page stands at what came of it.
async function acts(browser, home, state) {
  const his = await context(browser, 'acts', { storageState: state });
  const page = await his.newPage();
  const named = (name) => page.getByRole('button', { name, exact: true });
  const sent = await webhook('{"again":1}');
  await page.goto(`${home}events`);
  await page.locator(`tr#${sent} .sign.ok`).waitFor(WITHIN);
  await page.goto(`${home}events/${sent}`);
  await press(page, named('Replay'));
  await press(page, named('Leave it'));
  must((await page.locator('article.delivery').count()) === 1, 'a replay that is not wanted is made');
  await press(page, named('Replay'));
  await press(page, named('Do it'));
  await page.locator('article.delivery:target .tag', { hasText: 'replay' }).waitFor(WITHIN);
  await page.getByText('Replayed to default').waitFor(WITHIN);
  must((await page.locator('article.delivery').count()) === 2, 'a replay makes another number of deliveries than one');

  await page.goto(home);
  await press(page, named('Pause default'));
  await press(page, named('Do it'));
  await page.locator('tr#d-default .tag', { hasText: 'paused' }).waitFor(WITHIN);
  const held = await webhook('{"held":1}');
  await page.goto(`${home}events/${held}`);
  await press(page, named('Cancel the delivery to default'));
  await press(page, named('Do it'));
  await page.locator('article.delivery:target', { hasText: 'cancelled' }).waitFor(WITHIN);
  await page.getByText('It is not tried at default any more.').waitFor(WITHIN);
  must((await page.locator('article.delivery button').count()) === 0, 'what is cancelled can be cancelled');
  await page.goto(`${home}why/default`);
  await page.getByText('paused').first().waitFor(WITHIN);
  await page.goto(home);
  await press(page, named('Resume default'));
  await named('Pause default').waitFor(WITHIN);
  await his.close();
}

// An event is read, and copied, by keyboard alone; what becomes of it is seen while it is open, on its page and beside the list.
async function opens(browser, home, state) {
  const his = await context(browser, 'opens', { storageState: state, permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await his.newPage();
  command(['destination', 'pause', 'default']);
  const sent = await webhook('{"b":1.50,"a":"it\'s","b":2}', { 'Content-Type': 'application/json' });
  await page.goto(`${home}events/${sent}`);
  await isLive(page);
  const lines = async () => (await page.locator('.body li').allInnerTexts()).join('\n');
  must((await lines()) === '{\n  "b": 1.50,\n  "a": "it\'s",\n  "b": 2\n}', `a body is laid out as ${await lines()}`);
  await page.keyboard.press('2');
  await page.waitForURL(`${home}events/${sent}?view=raw`, WITHIN);
  must((await lines()) === '{"b":1.50,"a":"it\'s","b":2}', `a raw body reads ${await lines()}`);
  await page.waitForLoadState('load');
  await page.keyboard.press('3');
  await page.waitForURL(`${home}events/${sent}?view=hex`, WITHIN);
  must((await lines()).includes('7b 22 62 22'), `a body in hex reads ${await lines()}`);
  await page.waitForLoadState('load');
  await page.keyboard.press('?');
  await page.locator('#all-keys').getByText('copy as curl').waitFor(WITHIN);
  await page.keyboard.press('Escape');
  await page.keyboard.press('c');
  await page.getByText('Copied: set TARGET').waitFor(WITHIN);
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  must(copied.startsWith("curl --globoff -X 'POST' \"$TARGET\"") && copied.endsWith(`--data-raw '{"b":1.50,"a":"it'\\''s","b":2}'`), `copied is ${copied}`);
  await page.route('**/*view=curl', (route) => route.fulfill({ status: 400, body: '' }));
  await page.keyboard.press('c');
  await page.getByText('Nothing is copied: the command did not come').waitFor(WITHIN);
  await page.unroute('**/*view=curl');
  await page.getByRole('button', { name: 'Copy the id' }).click();
  await until(async () => (await page.evaluate(() => navigator.clipboard.readText())) === sent, 'the id is copied');

  const beside = await his.newPage();
  await beside.goto(`${home}events?open=${sent}&view=raw`);
  await isLive(beside);
  must((await beside.locator('#pane .body').innerText()).includes('"b":1.50'), 'beside the list no body is shown');
  for (const one of [page, beside]) {
    must((await one.locator('article.delivery .ok').count()) === 0, 'what is paused is delivered');
    await one.evaluate(() => (window.stays = true));
  }
  command(['destination', 'resume', 'default']);
  for (const one of [page, beside]) {
    await one.bringToFront();
    await one.locator('article.delivery .ok').first().waitFor(WITHIN);
    must(await one.evaluate(() => window.stays), 'an event is drawn anew to follow it');
  }
  // It is sent to where it never went, by somebody else.
  command(['route', 'create', 'default', 'second']);
  command(['event', 'replay', sent, '--destination', 'second']);
  command(['route', 'delete', 'default', 'second']);
  for (const one of [page, beside]) {
    await one.bringToFront();
    await one.locator('article.delivery', { hasText: 'second' }).waitFor(WITHIN);
    must(await one.evaluate(() => window.stays), 'an event is drawn anew to follow a replay');
  }
  command(['delivery', 'cancel', '--all', '--destination', 'second', '--yes']);
  await his.close();
}

// A group of dead letters is tried by one, and redriven: what died after it was shown stays.
async function redrives(browser, home, state) {
  const his = await context(browser, 'redrives', { storageState: state });
  const page = await his.newPage();
  const named = (name) => page.getByRole('button', { name, exact: true });
  for (let at = 0; at < 3; at += 1) await webhook(`bad ${at}`);
  await until(() => dead().length === 3, 'three die');
  await page.goto(`${home}dead`);
  await page.getByText('3 in 1 group').waitFor(WITHIN);
  await press(page, named('Redrive…'));
  await page.getByText('Choose a group first.').waitFor(WITHIN);
  const group = page.locator('input[name=group]');
  await press(page, group, 'Space');
  await press(page, named('Redrive…'));
  await page.getByRole('heading', { name: 'Redrive 3?' }).waitFor(WITHIN);
  if (folder) {
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: join(folder, 'redrive-1280-light.png') });
  }
  const late = await webhook('bad late');
  await until(() => dead().length === 4, 'a fourth one dies');
  await webhook('mend');
  // One Enter too many does nothing that was not asked for.
  const isAtNo = () => named('Leave it').evaluate((element) => element === document.activeElement);
  must(await isAtNo(), 'a question begins with another answer than no');
  await press(page, named('Try one first'));
  must(await isAtNo(), 'after a trial another Enter redrives them all');
  await page.getByText('It was delivered.').waitFor(WITHIN);
  await press(page, named('Redrive 3'));
  await page.waitForURL(`${home}deliveries?destination=default`, WITHIN);
  await until(() => dead().length === 1, 'the group is redriven');
  must(dead()[0].event_id === late, 'what died after it was shown is redriven');

  // What goes for good is typed.
  await page.goto(`${home}dead`);
  await press(page, group, 'Space');
  await press(page, named('Purge…'));
  await page.getByRole('heading', { name: 'Purge 1, for good?' }).waitFor(WITHIN);
  await press(page, named('Purge 1'));
  await page.getByText('Type 1, and they go.').waitFor(WITHIN);
  must(dead().length === 1, 'a purge is done before it is typed');
  await tabTo(page, page.getByLabel('Type how many go, for good'));
  await page.keyboard.type('1');
  await press(page, named('Purge 1'));
  await page.getByText('Nothing is dead.').waitFor(WITHIN);
  const audit = await page.goto(`${home}audit?action=dead`);
  const said = await audit.text();
  must(said.includes('dead.redrive') && said.includes('dead.purge'), 'the audit log does not say what was done');
  must(said.includes('3 counted, all'), 'the audit log does not say how many were meant');
  await his.close();
}

// A source is made by keyboard alone, shown once what a sender and a client need, and waited for; its token is rotated and revoked.
async function setsUp(browser, home, state) {
  const hers = await context(browser, 'sets up', { storageState: state });
  const page = await hers.newPage();
  const named = (name) => page.getByRole('button', { name, exact: true });
  await page.goto(`${home}sources`);
  await press(page, page.getByRole('link', { name: 'New source' }));
  await page.getByLabel('Who will send?').waitFor(WITHIN);
  await page.keyboard.press('/');
  await page.keyboard.type('stripe');
  const only = page.locator('#lines tr:visible');
  await until(async () => (await only.count()) === 1, 'the list narrows as one types');
  await press(page, page.getByRole('link', { name: 'Stripe' }));
  await page.getByRole('heading', { name: 'At Stripe' }).waitFor(WITHIN);
  await page.waitForLoadState('load');
  await tabTo(page, page.getByLabel('endpoint_secret'));
  await page.keyboard.type('whsec_a-secret-of-the-browser-tests');
  await press(page, named('Make source and token'));
  await page.getByText('Made', { exact: true }).waitFor(WITHIN);
  const shown = await page.locator('#made-secrets').innerText();
  must(shown.includes('/webhook/stripe') && shown.includes('crt_'), `what was made is not shown: ${shown}`);
  must(page.url() === `${home}sources/stripe`, `a page with secrets has the URL ${page.url()}`);
  const [token] = shown.match(/crt_\w+/);
  const times = (await page.content()).split(token).length - 1;
  must(times === 1 && !(await page.content()).includes('browser-tests'), `a secret is on the page ${times} times`);
  if (folder) {
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: join(folder, 'made-1280-light.png') });
  }
  await press(page, named('Send a sample'));
  await press(page, named('Do it'));
  await page.getByText('The sample was taken').waitFor(WITHIN);
  // Two more looks come and go.
  for (let look = 0; look < 2; look += 1) await page.waitForResponse((answer) => answer.url().endsWith('/sources/stripe'), WITHIN);
  must(await page.getByText('Waits for the first webhook.').isVisible(), 'a sample is taken for the first webhook');
  command(['send', '--source', 'stripe']);
  await page.getByText('The first webhook is here.').waitFor(WITHIN);
  await page.reload();
  await page.getByRole('heading', { name: 'Refused lately' }).waitFor(WITHIN);
  must(!(await page.content()).includes(token), 'a secret comes back');

  await page.goto(`${home}access`);
  await press(page, named('Rotate the token stripe'));
  await press(page, named('Do it'));
  await page.locator('#once-all').filter({ hasText: 'crt_' }).waitFor(WITHIN);
  // A second one stands beside the first, and nothing takes them away.
  await page.getByLabel('Who sends').fill('berlin');
  await press(page, named('Make key'));
  await page.locator('#once-all').filter({ hasText: 'crk_' }).waitFor(WITHIN);
  must((await page.locator('#once-all code').count()) === 2, 'a secret takes the place of another');
  await press(page, named('Revoke the token stripe'));
  await page.getByText('First take what is shown above').waitFor(WITHIN);
  await press(page, named('I have it'));
  await press(page, named('Abort the rotation of stripe'));
  await press(page, named('Do it'));
  await page.getByText('The token of stripe is the one that it was.').waitFor(WITHIN);
  await press(page, named('Revoke the token stripe'));
  await press(page, named('Do it'));
  await page.getByText('stripe is worth nothing any more.').waitFor(WITHIN);
  await hers.close();
}

// Without JavaScript everything can be read.
async function reads(browser, home, event, state) {
  const his = await context(browser, 'no script', { javaScriptEnabled: false, storageState: state });
  const page = await his.newPage();
  const said = async (path, words) => {
    await page.goto(`${home}${path}`);
    must((await page.locator('main').innerText()).includes(words), `${path} does not say ${words} without JavaScript`);
  };
  await said('', 'Nothing is lost');
  await said('events', 'default');
  await said(`events?open=${event}`, event);
  await said(`events/${event}`, 'canary');
  await said('deliveries', 'delivered');
  await said('dead', 'Nothing is dead.');
  await said('sources/default', 'Refused lately');
  await said('sources/new', 'Stripe');
  await said('destinations/default', 'Routes');
  await said('access', 'RELAY_TOKEN');
  await said('why/default', 'Server: takes it and keeps it');
  await said('audit', 'session.begin');
  await his.close();
}

// Payloads are text wherever they stand.
async function shows(browser, home, payloads) {
  const page = await browser.newPage();
  for (const [id, payload] of payloads) {
    await page.goto(`${home}events/${id}`);
    const shown = await page.locator('main').innerText();
    must(shown.includes(payload), `${payload} is not shown as text`);
    const strange = await page.locator('main :is(img, script, iframe, svg, object, form[action^=javascript])').count();
    must(strange === 0, `${payload} became markup`);
  }
  await page.close();
}

async function pictures(browser, home, event, state) {
  mkdirSync(folder, { recursive: true });
  const screens = { overview: '', events: 'events', open: `events?open=${event}`, event: `events/${event}`, curl: `events/${event}?view=curl`, deliveries: 'deliveries',
    dead: 'dead', why: 'why/default', sources: 'sources', source: 'sources/default', destination: 'destinations/default',
    access: 'access', wizard: 'sources/new?provider=github', audit: 'audit', users: 'users', me: 'me', nothing: 'events?source=nobody' };
  for (const width of [1280, 360]) {
    for (const colorScheme of ['light', 'dark']) {
      const all = await context(browser, 'pictures', { viewport: { width, height: width > 400 ? 900 : 740 }, colorScheme, storageState: state });
      const page = await all.newPage();
      for (const [name, path] of Object.entries(screens)) {
        await page.goto(`${home}${path}`);
        await page.waitForTimeout(300);
        await page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`) });
        const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        must(sideways <= 0, `${name} at ${width} px scrolls sideways by ${sideways} px`);
      }
      await all.close();
    }
  }
}

const browser = await launch();
const home = await develops(browser);
const event = await webhook('{"type":"invoice.paid","id":"canary"}', { 'X-Customer': 'canary' });
const payloads = [];
for (const payload of ['<img src=x onerror=alert(1)>', '"><script>alert(2)</script>', '<a href="javascript:alert(3)">x</a>', '<svg onload=alert(4)>',
  '<iframe srcdoc="<script>alert(5)</script>">', '{{7*7}}', '<div hx-delete="/api/v1/session" hx-trigger="load">']) {
  payloads.push([await webhook(payload, { 'X-Hostile': payload }), payload]);
}
await looks(browser, home, event);
await administers(browser, home);
const developer = await context(browser, 'developer');
const page = await developer.newPage();
await page.goto(link());
await page.getByRole('heading', { name: 'Overview' }).waitFor(WITHIN);
const state = await developer.storageState();
await byKeys(browser, home);
await keepsTime(browser, home, state);
await slips(browser, home, state);
await acts(browser, home, state);
await opens(browser, home, state);
await redrives(browser, home, state);
await setsUp(browser, home, state);
await shows(developer, home, payloads);
await reads(browser, home, event, state);
if (folder) await pictures(browser, home, event, state);
await browser.close();
finish();
