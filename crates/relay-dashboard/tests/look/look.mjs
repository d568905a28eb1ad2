// Takes pictures of screens that were written as files, in both widths and both themes, and asks axe-core about each.
//
//   node look.mjs FOLDER [PART-OF-A-NAME...]
//
// The files are served at the root of an origin, as the server does, with the policy of its pages. Exits 1 where axe-core finds something,
// a page scrolls sideways, or the policy was broken.

import { createRequire } from 'node:module';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';

// Where scripts/setup puts what this folder's lock file names.
const libraries = process.env.BROWSER_LIBRARIES ?? new URL('../../../../target/vendors/browser/', import.meta.url).pathname;
const require = createRequire(join(libraries, 'here.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const [folder, ...wanted] = process.argv.slice(2);
const types = { '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml' };
const policy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; "
  + "base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'; trusted-types relay";

const server = createServer((request, response) => {
  const path = join(folder, new URL(request.url, 'http://localhost').pathname);
  if (!existsSync(path) || !types[extname(path)]) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'Content-Type': types[extname(path)], 'Content-Security-Policy': policy }).end(readFileSync(path));
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const origin = `http://127.0.0.1:${server.address().port}`;

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
mkdirSync(join(folder, 'pictures'), { recursive: true });
let faults = 0;
const fault = (where, what) => {
  faults += 1;
  console.error(`${where}: ${what}`);
};

const screens = readdirSync(folder).filter((name) => name.endsWith('.html') && !name.includes('.fragment'));
for (const [width, height] of [[1280, 900], [360, 740]]) {
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: false });
    for (const name of screens.filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))) {
      const where = `${name.replace('.html', '')}-${width}-${colorScheme}`;
      const page = await context.newPage();
      page.on('console', (said) => {
        if (said.type() === 'error' && /policy|trusted/i.test(said.text())) fault(where, said.text());
      });
      page.on('pageerror', (error) => fault(where, error.message));
      await page.goto(`${origin}/${name}`);
      await page.screenshot({ path: join(folder, 'pictures', `${where}.png`), fullPage: process.env.FULL === '1' });
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (sideways > 0) fault(where, `scrolls sideways by ${sideways} px`);
      // The policy of the page holds for what it loads, not for what its examiner brings.
      const session = await context.newCDPSession(page);
      const asked = `${axe};axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.map((v) => `
        + '`${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`))';
      const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
        expression: asked, awaitPromise: true, returnByValue: true,
      });
      if (exceptionDetails) fault(where, `axe: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
      for (const violation of result.value ?? []) fault(where, violation);
      await page.close();
    }
    await context.close();
  }
}
await browser.close();
server.close();
console.log(`${screens.length} screens, ${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;
