// Opens screens that were written as files in a real browser, takes pictures of them, and says what is wrong with them.
//
//   node look.mjs FOLDER [PART-OF-A-NAME...]      exits 1 where something is wrong
//
// Each is opened at 1280 and 360 px, light and dark; those of long values (`-long`) at 360 px alone. axe-core finds nothing, no page scrolls
// sideways, no policy is broken, no dialog opens, nothing is asked of another origin. Screens of payloads (`payload-`) are opened once, without
// pictures and axe-core. Each screen is complete without JavaScript: it reads the same.
//
// With PICTURES=FOLDER it takes those that the documents show, and nothing else.
//
// The files are served at the root of an origin, with the policy that the server sends.

import { createRequire } from 'node:module';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';

// Where scripts/setup puts what this folder's lock file names.
const libraries = process.env.BROWSER_LIBRARIES ?? new URL('../../../../target/vendors/browser/', import.meta.url).pathname;
const require = createRequire(join(libraries, 'here.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; "
  + "base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'; trusted-types relay";
const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml' };
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const [folder, ...wanted] = process.argv.slice(2);
let faults = 0;

function fault(where, what) {
  faults += 1;
  console.error(`${where}: ${what}`);
}

async function serve() {
  const server = createServer((request, response) => {
    const path = join(folder, new URL(request.url, 'http://localhost').pathname);
    if (!existsSync(path) || !TYPES[extname(path)]) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': TYPES[extname(path)], 'Content-Security-Policy': POLICY }).end(readFileSync(path));
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

// What a page does that no page may do; `at` says which it is.
function watch(page, at, origin) {
  page.on('console', (said) => {
    if (said.type() === 'error' && /policy|trusted/i.test(said.text())) fault(at.screen, said.text());
  });
  page.on('pageerror', (error) => fault(at.screen, error.message));
  page.on('dialog', (dialog) => {
    fault(at.screen, `a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(`${origin}/`)) fault(at.screen, `asks for ${request.url()}`);
  });
}

// The policy of the page holds for what it loads, not for what its examiner brings.
async function examine(session, where, rules) {
  const options = JSON.stringify({ resultTypes: ['violations'], preload: false, iframes: false, ...(rules && { runOnly: { type: 'rule', values: rules } }) });
  const expression = `${axe};axe.run(document, ${options}).then((found) => found.violations.map(({ id, nodes }) => `
    + '`${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(" | ")}`))';
  const asked = { expression, awaitPromise: true, returnByValue: true };
  const { result, exceptionDetails: failed } = await session.send('Runtime.evaluate', asked);
  if (failed) fault(where, `axe: ${failed.exception?.description ?? failed.text}`);
  for (const violation of result.value ?? []) fault(where, violation);
}

async function look(browser, origin, names, viewport, colorScheme) {
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  const at = { screen: '' };
  watch(page, at, origin);
  for (const name of names) {
    at.screen = `${name.replace('.html', '')}-${viewport.width}-${colorScheme}`;
    await page.goto(`${origin}/${name}`);
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (sideways > 0) fault(at.screen, `scrolls sideways by ${sideways} px`);
    if (name.startsWith('payload-')) continue;
    await page.screenshot({ path: join(folder, 'pictures', `${at.screen}.png`) });
    // Another theme has other colours, and the same markup.
    await examine(session, at.screen, colorScheme === 'dark' ? ['color-contrast'] : undefined);
  }
  await context.close();
}

// What needs JavaScript says so where there is none, in <noscript>; all else reads the same, at one moment and in one zone.
async function readWithout(browser, origin, names) {
  const texts = async (javaScriptEnabled) => {
    const context = await browser.newContext({ javaScriptEnabled, timezoneId: 'UTC' });
    const page = await context.newPage();
    await page.clock.setFixedTime('2026-11-28T18:25:44.120Z');
    const texts = new Map();
    for (const name of names) {
      await page.goto(`${origin}/${name}`);
      const text = await page.locator('main').evaluate((main) => {
        main.querySelectorAll('noscript').forEach((element) => element.remove());
        main.querySelector('#pause')?.remove();
        return main.innerText;
      });
      texts.set(name, text.replaceAll(/\s+/g, ' '));
    }
    await context.close();
    return texts;
  };
  const [without, withIt] = [await texts(false), await texts(true)];
  for (const name of names) {
    if (without.get(name) !== withIt.get(name)) fault(name, 'reads otherwise without JavaScript');
  }
}

// What the documents show: a screen, its width, its theme, the picture's name, and its height. Small, and not wider than a page of text needs.
const DOCUMENTS = [
  ['overview-trouble', 1280, 'light', 'overview-light'],
  ['overview-trouble', 1280, 'dark', 'overview-dark'],
  ['overview-trouble', 360, 'light', 'overview-phone'],
  ['events-open', 1120, 'light', 'events-light'],
  ['events', 360, 'dark', 'events-phone'],
  ['event', 1120, 'light', 'event-light'],
  ['dead', 1120, 'light', 'dead-light'],
  ['dead', 1120, 'dark', 'dead-dark'],
  ['why', 1120, 'light', 'why-light', 900],
  ['wizard-stripe', 1120, 'light', 'wizard-light'],
];

async function take(browser, origin, to) {
  mkdirSync(to, { recursive: true });
  for (const [name, width, colorScheme, picture, height = 660] of DOCUMENTS) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, timezoneId: 'UTC' });
    const page = await context.newPage();
    await page.clock.setFixedTime('2026-11-28T18:25:44.120Z');
    await page.goto(`${origin}/${name}.html`);
    await page.screenshot({ path: join(to, `${picture}.png`) });
    await context.close();
  }
}

const { server, origin } = await serve();
const browser = await chromium.launch({ executablePath: PLACES.find(existsSync), args: ['--no-sandbox', '--disable-gpu'] });
if (process.env.PICTURES) {
  await take(browser, origin, process.env.PICTURES);
  await browser.close();
  process.exit(0);
}
mkdirSync(join(folder, 'pictures'), { recursive: true });
const all = readdirSync(folder).filter((name) => name.endsWith('.html') && !name.includes('.fragment'));
const screens = all.filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
const usual = screens.filter((name) => !name.startsWith('payload-') && !name.includes('-long'));
const narrow = { width: 360, height: 740 };
const wide = { width: 1280, height: 900 };
// Two at a time: a page waits for the browser as often as the browser for it.
await Promise.all([look(browser, origin, usual, wide, 'light'), look(browser, origin, usual, narrow, 'light')]);
await Promise.all([look(browser, origin, usual, wide, 'dark'), look(browser, origin, usual, narrow, 'dark')]);
await Promise.all([look(browser, origin, screens.filter((name) => !usual.includes(name)), narrow, 'light'), readWithout(browser, origin, usual)]);
await browser.close();
server.close();
console.log(`${screens.length} screens, ${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;
