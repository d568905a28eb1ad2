// Screens in states that they come to while somebody is there: live, paused, without a server, behind a question, with what is shown once.

import { join } from 'node:path';

import { LIVE, NOW, WITHIN, examine, fault, flood, narrow, staysInside, watch, wide } from './browser.mjs';

const is = (page, how) => page.locator(`#pulse[data-is=${how}]`).waitFor(WITHIN);
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const answers = (page, path, value) => page.route(`**/api/v1/${path}`, (route) => route.fulfill({ json: value }));
const shown = (page, words) => page.getByText(words).first().waitFor(WITHIN);

async function asks(page, act) {
  await answers(page, `dead/${act}`, { matched: 4712, split: [{ destination: 'crm', count: 4700 }, { destination: 'erp', count: 12 }],
    as_of: NOW, preview: 'p', job: 'j', example: 'dlv_0', later: 3 });
  await page.locator('input[name=group]').first().check();
  await page.locator(`#dead button[name=${act}]`).click();
  await page.locator('#bulk[open]').waitFor(WITHIN);
}

const COUNTERS = { accepted: 0, handshakes: 1 };
const REFUSAL = { check: 'signature', detail: 'the signature is not that of these bytes', peer: '203.0.113.7', remedy: 'compare the secret' };

// What comes faster than it is drawn is counted; 200 rows are kept, and none of so many is shown to be new. Of the 250 that have come at each of
// five beats 50 are drawn; the next beat waits for that.
async function floods(page, beat) {
  for (let time = 0; time <= 5; time += 1) {
    if (time > 0) beat();
    await page.locator(`#lines tr[id^=evt_flood${time}_]`).first().waitFor(WITHIN);
  }
  await shown(page, /^1000 more came in and are not drawn/);
  const [rows, fresh] = await page.locator('#lines').evaluate((lines) => [lines.children.length, lines.querySelectorAll('.new').length]);
  if (rows !== 200 || fresh !== 0) fault('events-flooded', `${rows} rows, ${fresh} of them shown to be new`);
}

// A name, the screen, which server answers (for a flood by the name that it is given), and what leads there.
const STATES = [
  ['overview-is-live', 'overview-trouble', LIVE, (page) => is(page, 'live')],
  ['overview-keys', 'overview', LIVE, (page) => page.keyboard.press('?')],
  ['overview-asks', 'overview-trouble', LIVE, (page) => press(page, 'Pause crm')],
  ['events-is-live', 'events', LIVE, (page) => is(page, 'live')],
  ['events-paused', 'events-open', LIVE, async (page) => {
    await is(page, 'live');
    await press(page, 'Pause');
    await is(page, 'paused');
  }],
  ['events-stale', 'events', undefined, async (page) => {
    await page.clock.runFor(6000);
    await is(page, 'stale');
  }],
  ['events-flooded', 'events', flood, floods],
  ['event-asks', 'event', LIVE, (page) => press(page, 'Replay')],
  ['dead-asks', 'dead', undefined, (page) => asks(page, 'redrive')],
  ['dead-purges', 'dead', undefined, (page) => asks(page, 'purge')],
  ['access-once', 'access', undefined, async (page) => {
    await answers(page, 'keys', { key: `crk_${'0123456789abcdef'.repeat(4)}` });
    await page.getByLabel('Who sends').fill('berlin');
    await press(page, 'Make key');
    await shown(page, 'crk_0123456789abcdef');
  }],
  ['users-link', 'users', undefined, async (page) => {
    await answers(page, 'users', { link: `https://relay.example.com/login#crl_${'0123456789abcdef'.repeat(4)}` });
    await page.getByLabel('Name').fill('dora');
    await press(page, 'Make user and link');
    await shown(page, 'Link for dora');
  }],
  ['wizard-made', 'wizard-meta', undefined, async (page) => {
    await answers(page, 'invites', { url: 'https://relay.example.com/webhook/meta', relay_url: 'https://relay.example.com', path: '/webhook/meta',
      source: { name: 'meta', destinations: ['default'] }, key: null, token: { token: `crt_${'0123456789abcdef'.repeat(4)}` },
      generated: [{ name: 'verify_token', value: '0123456789abcdef' }] });
    await page.route('**/api/v1/sources/meta', (route, request) => {
      const began = request.frame().page().looked ?? false;
      request.frame().page().looked = true;
      return route.fulfill({ json: { counters: began ? COUNTERS : { ...COUNTERS, handshakes: 0 }, refusals: began ? [REFUSAL] : [] } });
    });
    await page.getByLabel('app_secret').fill('0123456789abcdef0123456789abcdef');
    await press(page, 'Make source and token');
    await shown(page, 'Made');
    await page.clock.runFor(2000);
    await shown(page, 'One was refused');
  }],
];

// Each of the two sizes in one theme.
export async function comeTo(browser, { origin, beat }, folder, names) {
  const wanted = STATES.filter(([, screen]) => names.includes(`${screen}.html`));
  const all = async (viewport, colorScheme) => {
    for (const [name, screen, served, leads] of wanted) {
      const at = { screen: `${name}-${viewport.width}-${colorScheme}` };
      const extraHTTPHeaders = served === flood ? flood(at.screen) : served;
      const context = await browser.newContext({ viewport, colorScheme, ...(served && { extraHTTPHeaders }) });
      const page = await context.newPage();
      watch(page, at, origin);
      if (!served) await page.clock.install({ time: NOW });
      await page.goto(`${origin}/${screen}.html`);
      await leads(page, () => beat(at.screen));
      await staysInside(page, at.screen);
      await page.screenshot({ path: join(folder, 'pictures', `${at.screen}.png`) });
      await examine(await context.newCDPSession(page), at.screen);
      await context.close();
    }
  };
  await Promise.all([all(wide, 'light'), all(narrow, 'dark')]);
}
