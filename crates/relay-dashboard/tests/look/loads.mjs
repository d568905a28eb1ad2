// What the first load of a main screen takes, in a browser that has seen nothing yet, wide and narrow in turns.

import { LIVE, WITHIN, fault, narrow, wide } from './browser.mjs';

// What is asked for by each: the page, its style, script and icon, the live stream, one fragment; one more where an event is open beside a list.
const SCREENS = { 'overview-trouble': 6, events: 6, 'events-open': 7, event: 6, dead: 6, why: 6, 'wizard-stripe': 6 };
const LOADS = 4;
const SHIFT_MAX = 0.02;
// Of a quiet machine; this one may take ten times as long.
const [PAINTED_MAX_MS, TASK_MAX_MS, BUSY] = [500, 100, 10];

function observe() {
  const supported = ['layout-shift', 'longtask'].every((type) => PerformanceObserver.supportedEntryTypes.includes(type));
  window.seen = { supported, shift: 0, task: 0 };
  new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => (window.seen.shift += value))).observe({ type: 'layout-shift', buffered: true });
  new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (window.seen.task = Math.max(window.seen.task, duration))))
    .observe({ type: 'longtask', buffered: true });
}

async function load(browser, origin, screen, viewport) {
  const context = await browser.newContext({ viewport, extraHTTPHeaders: LIVE });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  const came = { requests: 0, bytes: 0 };
  session.on('Network.requestWillBeSent', () => (came.requests += 1));
  session.on('Network.loadingFinished', ({ encodedDataLength }) => (came.bytes += encodedDataLength));
  await page.addInitScript(observe);
  const fragment = page.waitForEvent('requestfinished', { ...WITHIN, predicate: (request) => 'relay-fragment' in request.headers() }).catch(() => undefined);
  await page.goto(`${origin}/${screen}.html`);
  if (await page.locator('#pulse').count()) {
    await page.locator('#pulse[data-is=live]').waitFor(WITHIN);
    if (!(await fragment)) fault(screen, 'asks for no fragment');
  }
  // Two frames, behind which what came is drawn.
  await page.evaluate(() => new Promise((later) => requestAnimationFrame(() => requestAnimationFrame(later))));
  const seen = await page.evaluate(() => ({ ...window.seen, painted: performance.getEntriesByName('first-contentful-paint')[0]?.startTime }));
  await context.close();
  return { ...seen, ...came };
}

// Gives a line of figures for each.
export async function weigh(browser, origin) {
  const figures = {};
  for (const [screen, requests] of Object.entries(SCREENS)) {
    const all = [];
    for (let at = 0; at < LOADS; at += 1) all.push(await load(browser, origin, screen, at % 2 ? narrow : wide));
    const most = (of) => Math.max(...all.map((one) => one[of]));
    if (!all.every(({ supported }) => supported)) fault(screen, 'the browser tells neither what moves nor what takes long');
    const painted = all.map((one) => one.painted).sort((a, b) => a - b)[Math.ceil(LOADS * 0.75) - 1];
    figures[screen] = { painted_third_of_four_ms: Math.round(painted), shift: Number(most('shift').toFixed(4)), task_ms: Math.round(most('task')), requests: most('requests'), bytes: most('bytes') };
    if (!(painted <= PAINTED_MAX_MS * BUSY)) fault(screen, `is painted after ${painted} ms`);
    if (!(most('shift') <= SHIFT_MAX)) fault(screen, `shifts by ${most('shift')} while it loads`);
    if (!(most('task') <= TASK_MAX_MS * BUSY)) fault(screen, `takes ${most('task')} ms at a stretch`);
    if (!(most('requests') <= requests)) fault(screen, `asks for ${most('requests')} things`);
  }
  return figures;
}
