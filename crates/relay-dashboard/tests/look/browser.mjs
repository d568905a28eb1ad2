// A browser for screens that were written as files, and what no screen may do in it.
//
// The files are served at the root of an origin, with the policy that the server sends. To whoever asks with `X-Relay: live` it is a server
// whose numbers move once: a pulse comes, and the live part of a screen is what it was. With `flood` and a name 250 events more have come at each
// beat of that name, and rows that nobody has seen are drawn.

import { createRequire } from 'node:module';
import { existsSync, readFileSync } from 'node:fs';
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

// When the screens were drawn.
export const NOW = '2026-11-28T18:25:44.120Z';
export const LIVE = { 'X-Relay': 'live' };
export const flood = (name) => ({ 'X-Relay': `flood ${name}` });
export const WITHIN = { timeout: 60_000 };
export const narrow = { width: 360, height: 740 };
export const wide = { width: 1280, height: 900 };
let faults = 0;

export function fault(where, what) {
  faults += 1;
  console.error(`${where}: ${what}`);
}

export const found = () => faults;

// Nobody is asked who is not on this machine, whatever a page wants.
const ARGS = ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'];

export const launch = (env = {}) => chromium.launch({ executablePath: PLACES.find(existsSync), args: ARGS, env: { ...process.env, ...env } });

// The live part of a screen, out of its file or as a file of its own.
function fragmentOf(folder, path) {
  const read = (name) => readFileSync(join(folder, name), 'utf8');
  if (path.startsWith('/events/')) return read('event-became.fragment.html');
  if (path.startsWith('/overview')) return read('overview-live.fragment.html');
  return read(path).match(/<tbody id="lines">([^]*?)<\/tbody>/)?.[1] ?? '';
}

const pulse = (accepted) => `data: ${JSON.stringify({ accepted, sources: [], destinations: [], tries: 0, reasons: 0, left_out: 0 })}\n\n`;

// Rows that nobody has seen, each time.
function unseen(html, time) {
  return html.replaceAll(/ id="evt_/g, ` id="evt_flood${time}_`);
}

export async function serve(folder) {
  // By what says who asks for them.
  const floods = new Map();
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const mode = request.headers['x-relay'];
    const isLive = mode !== undefined;
    const flooded = mode?.startsWith('flood ') && (floods.get(mode) ?? { count: 0 });
    if (isLive && pathname.endsWith('/api/v1/pulse')) {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(pulse(1 + 250 * (flooded?.count ?? 0)));
      if (flooded) floods.set(mode, { ...flooded, stream: response });
      return;
    }
    if (isLive && request.headers['relay-fragment']) {
      response.writeHead(200, { 'Content-Type': TYPES['.html'], 'Relay-Fragment': NOW }).end(
        flooded ? unseen(fragmentOf(folder, pathname), flooded.count) : fragmentOf(folder, pathname));
      return;
    }
    const path = join(folder, pathname);
    if (!existsSync(path) || !TYPES[extname(path)]) {
      response.writeHead(404).end();
      return;
    }
    const fields = { 'Content-Type': TYPES[extname(path)], 'Content-Security-Policy': POLICY };
    // As the server sends them: their names change with their content.
    if (pathname.startsWith('/assets/')) fields['Cache-Control'] = 'public, max-age=31536000, immutable';
    response.writeHead(200, fields).end(readFileSync(path));
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const beat = (name) => {
    const flooded = floods.get(`flood ${name}`);
    flooded.count += 1;
    flooded.stream.write(pulse(1 + 250 * flooded.count));
  };
  return { server, beat, origin: `http://127.0.0.1:${server.address().port}` };
}

// What a page does that no page may do; `at` says which it is.
export function watch(page, at, origin) {
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

export async function staysInside(page, where) {
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (sideways > 0) fault(where, `scrolls sideways by ${sideways} px`);
}

// The policy of the page holds for what it loads, not for what its examiner brings.
export async function examine(session, where) {
  const options = JSON.stringify({ resultTypes: ['violations'], preload: false, iframes: false });
  const expression = `${axe};axe.run(document, ${options}).then((found) => found.violations.map(({ id, nodes }) => `
    + '`${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(" | ")}`))';
  const asked = { expression, awaitPromise: true, returnByValue: true };
  const { result, exceptionDetails: failed } = await session.send('Runtime.evaluate', asked);
  if (failed) fault(where, `axe: ${failed.exception?.description ?? failed.text}`);
  for (const violation of result.value ?? []) fault(where, violation);
}
