// What a page says of times, in zones of its viewer's and by clocks that are off.

import { NOW, fault } from './browser.mjs';

const HOUR = 3_600_000;
// A moment, and how it reads there in full. On these days an hour (half an hour, on Lord Howe) is left out, or comes twice.
const MOMENTS = {
  'America/New_York': [
    ['2026-03-08T06:59:59.999Z', '2026-03-08 01:59:59.999'],
    ['2026-03-08T07:00:00.000Z', '2026-03-08 03:00:00.000'],
    ['2026-11-01T05:30:00.000Z', '2026-11-01 01:30:00.000'],
    ['2026-11-01T06:30:00.000Z', '2026-11-01 01:30:00.000'],
    ['2026-11-01T07:30:00.000Z', '2026-11-01 02:30:00.000'],
    [NOW, '2026-11-28 13:25:44.120'],
  ],
  'Australia/Lord_Howe': [
    ['2026-04-04T14:59:59.000Z', '2026-04-05 01:59:59.000'],
    ['2026-04-04T15:00:00.000Z', '2026-04-05 01:30:00.000'],
    ['2026-10-03T15:29:59.000Z', '2026-10-04 01:59:59.000'],
    ['2026-10-03T15:30:00.000Z', '2026-10-04 02:30:00.000'],
    [NOW, '2026-11-29 05:25:44.120'],
  ],
};
// In a column: of this day there, of another one, of another year.
const IN_COLUMNS = {
  'America/New_York': [['2026-11-28T05:00:00.000Z', '00:00:00.000'], ['2026-11-28T04:59:59.000Z', 'Nov 27 23:59'], ['2026-01-01T04:59:59.000Z', '2025-12-31']],
  'Australia/Lord_Howe': [['2026-11-28T13:00:00.000Z', '00:00:00.000'], ['2026-11-28T12:59:59.000Z', 'Nov 28 23:59'], ['2025-12-31T12:59:59.000Z', '2025-12-31']],
};

async function open(browser, origin, timezoneId, off) {
  const context = await browser.newContext({ timezoneId });
  const page = await context.newPage();
  await page.clock.install({ time: Date.parse(NOW) + off });
  // It stands still, some minutes later: meanwhile it goes.
  await page.clock.pauseAt(Date.parse(NOW) + off + HOUR / 6);
  // Of somebody who has not chosen UTC.
  await page.route('**/*.html', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: (await answer.text()).replace('data-zone="utc"', 'data-zone="local"') });
  });
  await page.goto(`${origin}/event.html`);
  return page;
}

const ages = (page) => page.locator('time[data-as=ago]').allTextContents();

async function read(page, as, moments) {
  await page.evaluate(([as, moments]) => {
    const all = moments.map(([at]) => Object.assign(document.createElement('time'), { dateTime: at, className: 'asked' }));
    for (const time of all) time.dataset.as = as;
    document.querySelectorAll('.asked').forEach((time) => time.remove());
    document.querySelector('main').append(...all);
  }, [as, moments]);
  await page.clock.runFor(1000);
  return page.locator('.asked').allTextContents();
}

export async function tellTimes(browser, origin) {
  const right = await open(browser, origin, 'UTC', 0);
  const drawn = await ages(right);
  if (drawn.length < 3 || drawn.some((text) => text.includes('-'))) fault('times', `ages read ${drawn}`);
  await right.context().close();
  for (const [zone, moments] of Object.entries(MOMENTS)) {
    for (const off of [HOUR, -HOUR]) {
      const where = `times in ${zone}, by a clock ${off / HOUR} h off`;
      const page = await open(browser, origin, zone, off);
      const seen = await ages(page);
      if (seen.join() !== drawn.join()) fault(where, `ages read ${seen}, and are ${drawn}`);
      for (const [as, wanted] of [['full', moments], ['clock', IN_COLUMNS[zone]]]) {
        const texts = await read(page, as, wanted);
        wanted.forEach(([at, text], number) => texts[number] === text || fault(where, `${at} reads ${texts[number]}, and is ${text}`));
      }
      const said = await page.locator('#zone').textContent();
      if (!said.includes(zone)) fault(where, `the page says ${said}`);
      await page.context().close();
    }
  }
}
