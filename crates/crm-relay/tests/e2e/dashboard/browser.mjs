// A browser at a running server, for the visits of this folder, and what no page may do in it: break its policy, open a dialog, ask another
// origin. The server is told by the environment:
//
//   PROGRAM, DATA_DIR    commands to it        PUBLIC, API_KEY    where webhooks go        BROWSER_LIBRARIES    what drives the browser

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.BROWSER_LIBRARIES, 'here.js'));
const { chromium } = require('playwright-core');
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const { PROGRAM, DATA_DIR, PUBLIC, API_KEY } = process.env;
export const PASSWORD = 'correct horse battery';
export const WITHIN = { timeout: 60_000 };
export const figures = {};
let faults = 0;

export function fault(what) {
  faults += 1;
  console.error(what);
}

export function must(holds, what) {
  if (!holds) fault(what);
}

// What is promised of a quiet machine holds within ten times as long on a busy one.
export function took(name, ms, promised) {
  figures[name] = ms;
  must(ms <= 10 * promised, `${name}: ${ms}, where ${promised} is promised`);
}

export const command = (args, input) =>
  execFileSync(PROGRAM, [...args, '--data-dir', DATA_DIR], { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] });

export const link = () => command(['dashboard']).trim();

export async function webhook(body, fields = {}, query = '') {
  const answer = await fetch(`${PUBLIC}/webhook${query}`, { method: 'POST', headers: { 'X-API-Key': API_KEY, ...fields }, body });
  must(answer.status === 202, `a webhook is answered ${answer.status}`);
  return (await answer.json()).event_id;
}

// Nobody is asked who is not on this machine, whatever a page wants.
const ARGS = ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'];

export const launch = () => chromium.launch({ executablePath: PLACES.find(existsSync), args: ARGS });

// What no page may do, whatever it shows.
function watch(context, name, expected) {
  context.on('page', (page) => {
    page.on('console', (said) => {
      if (said.type() === 'error' && !expected.test(said.text())) fault(`${name}: ${said.text()}`);
    });
    page.on('pageerror', (error) => fault(`${name}: ${error.message}`));
    page.on('dialog', (dialog) => {
      fault(`${name}: a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
  });
}

export async function context(browser, name, { expected = /status of 40[01]/, ...options } = {}) {
  const made = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  watch(made, name, expected);
  return made;
}

export async function until(holds, what) {
  for (const end = Date.now() + WITHIN.timeout; Date.now() < end;) {
    if (await holds()) return;
    await new Promise((later) => setTimeout(later, 100));
  }
  fault(`in vain: ${typeof what === 'function' ? await what() : what}`);
}

export const isLive = (page) => page.locator('#pulse[data-is=live]').waitFor(WITHIN);

// By keyboard alone.
export async function tabTo(page, wanted) {
  await wanted.waitFor(WITHIN);
  for (let at = 0; at < 80; at += 1) {
    if (await wanted.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  fault(`no key leads to ${wanted}`);
}

export async function press(page, wanted, key = 'Enter') {
  await tabTo(page, wanted);
  await page.keyboard.press(key);
}

// Says what was measured, and ends.
export function finish() {
  console.log(JSON.stringify({ faults, ...figures }));
  process.exitCode = faults === 0 ? 0 : 1;
}
