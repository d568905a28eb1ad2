// A page of events that is left open while webhooks come, and what it takes meanwhile.
//
//   node open.mjs                SECONDS is how long, RATE how many come in each; the server is told by the environment (browser.mjs)
//
// A line every few seconds, then one of JSON. The page must stay live and as large as it was in its first part: memory that is left when what is
// not needed has been collected, elements, and rows; its main thread takes a fifth of a core at most (the compositor and what draws are not
// counted), and the server takes as many webhooks as are to come. Frames are told, and hold where nobody else uses the machine.

import { WITHIN, command, context, figures, finish, isLive, launch, link, must } from './browser.mjs';

const [seconds, rate] = [Number(process.env.SECONDS), Number(process.env.RATE)];
// What is lost to the beginning and to the commands that ask.
const RATE_SHARE_MIN = 0.9;
const ROWS_MAX = 200;
// Of a core, by processor time.
const CORE_MAX = 0.2;
// The first minute fills the list, and what is compiled stays.
const WARM = Math.min(60, seconds / 4);
const EVERY = Math.max(2, Math.min(10, seconds / 40));

function observe() {
  window.frames = [];
  window.longest = 0;
  let last;
  const frame = (at) => {
    if (last !== undefined) window.frames.push(at - last);
    last = at;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (window.longest = Math.max(window.longest, duration)))).observe({ type: 'longtask' });
}

function look() {
  const frames = window.frames.sort((a, b) => a - b);
  const seen = { frame_p99_ms: frames[Math.floor(frames.length * 0.99)] ?? 0, longest_ms: window.longest,
    rows: document.querySelectorAll('#lines tr').length, newest: document.querySelector('#lines tr[id]')?.id, is: document.getElementById('pulse').dataset.is };
  [window.frames, window.longest] = [[], 0];
  return seen;
}

const browser = await launch();
const his = await context(browser, 'open');
const page = await his.newPage();
await page.addInitScript(observe);
await page.goto(link());
await page.getByRole('heading', { name: 'Overview' }).waitFor(WITHIN);
await page.goto(new URL('/events', page.url()).href);
await isLive(page);
const session = await his.newCDPSession(page);
// Of processor time: others use the machine too.
await session.send('Performance.enable', { timeDomain: 'threadTicks' });
await session.send('HeapProfiler.enable');
const counters = async () => Object.fromEntries((await session.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]));

const accepted = () => JSON.parse(command(['status', '--json'])).webhooks_received;

const samples = [];
const [atFirst, began] = [accepted(), Date.now()];
let [before, since] = [await counters(), Date.now()];
console.error('    at   heap MiB  elements  rows  frame p99 ms  longest ms  of a core');
while (Date.now() - began < seconds * 1000) {
  await new Promise((later) => setTimeout(later, EVERY * 1000));
  const seen = await page.evaluate(look);
  const busy = await counters();
  const core = (busy.TaskDuration - before.TaskDuration) / ((Date.now() - since) / 1000);
  await session.send('HeapProfiler.collectGarbage');
  [before, since] = [await counters(), Date.now()];
  // The collection is no task of the page's.
  await page.evaluate(look);
  const sample = { ...seen, at: (Date.now() - began) / 1000, heap: before.JSHeapUsedSize, elements: before.Nodes, core };
  samples.push(sample);
  console.error(`${sample.at.toFixed(0).padStart(6)} s ${(sample.heap / 2 ** 20).toFixed(2).padStart(9)} ${String(sample.elements).padStart(9)} ${String(sample.rows).padStart(5)} `
    + `${sample.frame_p99_ms.toFixed(1).padStart(13)} ${sample.longest_ms.toFixed(0).padStart(11)} ${sample.core.toFixed(3).padStart(10)}`);
}
figures.rate = Math.round((accepted() - atFirst) / ((Date.now() - began) / 1000));
await browser.close();

const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const warm = samples.filter(({ at }) => at >= WARM);
const [first, last] = [warm.slice(0, Math.ceil(warm.length / 4)), warm.slice(-Math.ceil(warm.length / 4))];
const usual = (what) => middle(warm.map((sample) => sample[what]));
for (const what of ['heap', 'elements']) {
  // The least: now and then what was just taken from the page is not collected yet.
  const [then, now] = [first, last].map((part) => Math.min(...part.map((sample) => sample[what])));
  figures[what] = [then, now];
  must(now <= then * 1.1 + (what === 'heap' ? 2 ** 18 : 0), `${what}: ${then} at first, and ${now} at last`);
}
Object.assign(figures, { rows: Math.max(...samples.map(({ rows }) => rows)), frame_p99_ms: usual('frame_p99_ms'), longest_ms: Math.max(...warm.map(({ longest_ms: ms }) => ms)), core: usual('core') });
must(figures.rate >= RATE_SHARE_MIN * rate, `${figures.rate} webhooks a second come, where ${rate} are to`);
must(figures.rows <= ROWS_MAX, `${figures.rows} rows`);
must(figures.core <= CORE_MAX, `${figures.core} of a core`);
must(new Set(samples.map(({ newest }) => newest)).size === samples.length, 'its newest row stays what it was');
must(samples.every(({ is }) => is === 'live'), `it is ${[...new Set(samples.map(({ is }) => is))]}`);
finish();
