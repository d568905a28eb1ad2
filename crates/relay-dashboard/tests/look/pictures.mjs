// The pictures of the main screens that the documents show. Each is compared with how its screen looks now; with BLESS they are taken anew.
//
// They are drawn with DejaVu alone, which scripts/setup sees to; other letters are a fault. Single points may differ. By another major version of
// the browser, which draws its own controls and the edges of letters, screens are told that look otherwise, and a fault is only what looks quite
// otherwise: the sharp comparison is by the version that took them.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { NOW, fault, launch } from './browser.mjs';

// The picture's name, the screen, its width, its height. Small, and not wider than a page of text needs.
const LOOKS = [
  ['overview', 'overview-trouble', 1280, 660],
  ['events', 'events-open', 1120, 660],
  ['event', 'event', 1120, 660],
  ['dead', 'dead', 1120, 660],
  ['why', 'why', 1120, 900],
  ['wizard', 'wizard-stripe', 1120, 660],
];
const OF_PHONES = { events: 'events' };
const FONTS = ['/usr/share/fonts/truetype/dejavu', '/usr/share/fonts/dejavu-sans-fonts', '/usr/share/fonts/dejavu-sans-mono-fonts', '/usr/share/fonts/TTF'];
// Points that may differ, of each ten thousand: of the browser that took them, and of another.
const MAY_DIFFER = { same: 1, other: 300 };

const PICTURES = LOOKS.flatMap(([name, screen, width, height]) => [
  [`${name}-light`, screen, { width, height }, 'light'],
  [`${name}-dark`, screen, { width, height }, 'dark'],
  [`${name}-phone`, OF_PHONES[name] ?? screen, { width: 360, height: 660 }, name === 'events' ? 'dark' : 'light'],
]);

// Of those of its family the two that the pages want.
function fontsIn(folder) {
  const dirs = FONTS.filter(existsSync).map((dir) => `<dir>${dir}</dir>`).join('');
  const others = ['Math', 'Condensed', 'ExtraLight', 'Serif'].map((word) => `<glob>*DejaVu*${word}*</glob>`).join('');
  const named = (name, font) => `<match target="pattern"><test name="family"><string>${name}</string></test>`
    + `<edit name="family" mode="assign" binding="same"><string>${font}</string></edit></match>`;
  const names = ['system-ui', 'sans-serif', 'serif'].map((name) => named(name, 'DejaVu Sans')).join('')
    + ['ui-monospace', 'monospace'].map((name) => named(name, 'DejaVu Sans Mono')).join('');
  return '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
    + `<fontconfig>${dirs}<cachedir>${join(folder, 'fonts')}</cachedir><selectfont><rejectfont>${others}</rejectfont></selectfont>${names}</fontconfig>`;
}

async function take(browser, origin, [, screen, viewport, colorScheme]) {
  const context = await browser.newContext({ viewport, colorScheme, timezoneId: 'UTC', locale: 'en-GB' });
  const page = await context.newPage();
  await page.clock.setFixedTime(NOW);
  await page.goto(`${origin}/${screen}.html`);
  const taken = await page.screenshot({ animations: 'disabled' });
  await context.close();
  return taken;
}

// The letters that a page is drawn with.
async function letters(browser, origin) {
  const page = await browser.newPage();
  await page.goto(`${origin}/event.html`);
  const session = await page.context().newCDPSession(page);
  await session.send('DOM.enable');
  await session.send('CSS.enable');
  const { root } = await session.send('DOM.getDocument');
  const all = new Set();
  for (const selector of ['h1 bdi', '.body bdi', '.sign']) {
    const { nodeId } = await session.send('DOM.querySelector', { nodeId: root.nodeId, selector });
    const { fonts } = await session.send('CSS.getPlatformFontsForNode', { nodeId });
    fonts.forEach(({ familyName }) => all.add(familyName));
  }
  await page.close();
  return [...all].sort().join(', ');
}

// How many points of each ten thousand differ, and between which corners.
async function differ(page, pictures) {
  return page.evaluate(async (pictures) => {
    const points = await Promise.all(pictures.map(async (data) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
      const context = canvas.getContext('2d');
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, image.width, image.height);
    }));
    const [before, now] = points;
    if (before.width !== now.width || before.height !== now.height) return { of: 10_000, where: `${before.width}x${before.height} is ${now.width}x${now.height}` };
    let [count, left, top, right, bottom] = [0, now.width, now.height, 0, 0];
    for (let at = 0; at < now.data.length; at += 4) {
      // Edges of letters are a little lighter or darker elsewhere.
      if ([0, 1, 2].every((channel) => Math.abs(before.data[at + channel] - now.data[at + channel]) <= 32)) continue;
      const [x, y] = [(at / 4) % now.width, Math.floor(at / 4 / now.width)];
      [count, left, top, right, bottom] = [count + 1, Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
    }
    return { of: (count * 10_000) / (now.width * now.height), where: `from ${left},${top} to ${right},${bottom}` };
  }, pictures.map((picture) => picture.toString('base64')));
}

// Those of `kept` beside how the screens look; what differs is left in `folder`.
export async function compare(origin, folder, kept, bless) {
  const config = join(folder, 'fonts.conf');
  writeFileSync(config, fontsIn(folder));
  const browser = await launch({ FONTCONFIG_FILE: config });
  const here = { letters: await letters(browser, origin), browser: browser.version() };
  const told = new URL('pictures.json', import.meta.url).pathname;
  const then = existsSync(told) ? JSON.parse(readFileSync(told, 'utf8')) : here;
  if (!bless && then.letters !== here.letters) {
    fault('pictures', `they are drawn with ${then.letters}, and here with ${here.letters || 'nothing'}: make setup`);
    await browser.close();
    return;
  }
  if (bless) {
    mkdirSync(kept, { recursive: true });
    writeFileSync(told, `${JSON.stringify(here, null, 2)}\n`);
  }
  const page = await browser.newPage();
  const major = ({ browser }) => browser.split('.')[0];
  const isSame = bless || major(then) === major(here);
  if (!isSame) console.log(`pictures are of Chromium ${then.browser}, and here is ${here.browser}: what differs a little is told alone, until make bless-pictures`);
  for (const picture of PICTURES) {
    const taken = await take(browser, origin, picture);
    const file = join(kept, `${picture[0]}.png`);
    const { of, where } = existsSync(file) ? await differ(page, [readFileSync(file), taken]) : { of: 10_000, where: 'it is not there' };
    if (of <= MAY_DIFFER.same) continue;
    if (bless) {
      writeFileSync(file, taken);
      console.log(`${picture[0]}: taken anew, ${where}`);
      continue;
    }
    writeFileSync(join(folder, `${picture[0]}.png`), taken);
    if (!isSame && of <= MAY_DIFFER.other) {
      console.log(`${picture[0]}: ${of.toFixed(1)} points of 10,000 differ, ${where}`);
      continue;
    }
    fault(picture[0], `${of.toFixed(1)} points of 10,000 differ, ${where} (${then.browser} then, ${here.browser} here); it looks so now: `
      + `${join(folder, `${picture[0]}.png`)}. If that is as it should be: make bless-pictures`);
  }
  await browser.close();
}
