// Opens screens that were written as files in a real browser, takes pictures of them, and says what is wrong with them.
//
//   node look.mjs FOLDER [PART-OF-A-NAME...]      exits 1 where something is wrong
//
// Each is opened at 1280 and 360 px, light and dark; those of long values (`-long`) at 360 px alone. axe-core finds nothing, no page scrolls
// sideways, no policy is broken, no dialog opens, nothing is asked of another origin. So it is in the states that screens come to while somebody
// is there (states.mjs). Screens of payloads (`payload-`) are opened once, without pictures and axe-core. Each screen is complete without
// JavaScript: it reads the same. Times are right in any zone (times.mjs), and main screens load at once (loads.mjs).
//
// With PICTURES=FOLDER the pictures that the documents show are compared with how their screens look (pictures.mjs), with BLESS they are
// taken anew, and nothing else is done.

import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { NOW, examine, fault, found, launch, narrow, serve, staysInside, watch, wide } from './browser.mjs';
import { weigh } from './loads.mjs';
import { compare } from './pictures.mjs';
import { comeTo } from './states.mjs';
import { tellTimes } from './times.mjs';

const [folder, ...wanted] = process.argv.slice(2);

async function look(browser, origin, names, viewport, colorScheme) {
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  const at = { screen: '' };
  watch(page, at, origin);
  for (const name of names) {
    at.screen = `${name.replace('.html', '')}-${viewport.width}-${colorScheme}`;
    await page.goto(`${origin}/${name}`);
    await staysInside(page, at.screen);
    if (name.startsWith('payload-')) continue;
    await page.screenshot({ path: join(folder, 'pictures', `${at.screen}.png`) });
    await examine(session, at.screen);
  }
  await context.close();
}

// What needs JavaScript says so where there is none, in <noscript>; all else reads the same, at one moment and in one zone.
async function readWithout(browser, origin, names) {
  const texts = async (javaScriptEnabled) => {
    const context = await browser.newContext({ javaScriptEnabled, timezoneId: 'UTC' });
    const page = await context.newPage();
    await page.clock.setFixedTime(NOW);
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

async function lookAtAll(browser, served) {
  const { origin } = served;
  mkdirSync(join(folder, 'pictures'), { recursive: true });
  const all = readdirSync(folder).filter((name) => name.endsWith('.html') && !name.includes('.fragment'));
  const screens = all.filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
  const usual = screens.filter((name) => !name.startsWith('payload-') && !name.includes('-long'));
  // One after the other what is measured, before there is much else to do.
  if (usual.includes('overview-trouble.html') && usual.includes('wizard-stripe.html')) console.log(JSON.stringify(await weigh(browser, origin)));
  // Two at a time: a page waits for the browser as often as the browser for it.
  await Promise.all([look(browser, origin, usual, wide, 'light'), look(browser, origin, usual, narrow, 'light')]);
  await Promise.all([look(browser, origin, usual, wide, 'dark'), look(browser, origin, usual, narrow, 'dark')]);
  await Promise.all([look(browser, origin, screens.filter((name) => !usual.includes(name)), narrow, 'light'), readWithout(browser, origin, usual)]);
  await Promise.all([comeTo(browser, served, folder, usual), usual.includes('event.html') && tellTimes(browser, origin)]);
  console.log(`${screens.length} screens, ${found()} faults`);
}

const served = await serve(folder);
const { server, origin } = served;
if (process.env.PICTURES) {
  await compare(origin, folder, process.env.PICTURES, process.env.BLESS !== undefined);
} else {
  const browser = await launch();
  await lookAtAll(browser, served);
  await browser.close();
}
server.closeAllConnections();
server.close();
process.exitCode = found() === 0 ? 0 : 1;
