// Whatever the clock of the browser's machine says, and is set to while a page is open, ages are those by the server's clock.

import { WITHIN, command, context, isLive, must, until, webhook } from './browser.mjs';

const HOUR = 3_600_000;
const YOUNG = /^(now|\d{1,2} s ago|[1-9] min ago)$/;

export async function keepsTime(browser, home, state) {
  for (const off of [HOUR, -HOUR]) {
    const his = await context(browser, 'clocks', { storageState: state, timezoneId: 'Australia/Lord_Howe' });
    const page = await his.newPage();
    await page.clock.install({ time: Date.now() + off });
    command(['destination', 'pause', 'default']);
    const sent = await webhook('{"when":1}');
    await page.goto(`${home}events/${sent}`);
    await isLive(page);
    const age = () => page.locator('.facts time[data-as=ago]').textContent();
    must(YOUNG.test(await age()), `by a clock that is ${off / HOUR} h off a new event is ${await age()} old`);

    // Set while the page is open: what moves next puts it right.
    await page.clock.setSystemTime(Date.now() - off);
    command(['destination', 'resume', 'default']);
    await page.locator('article.delivery .ok').first().waitFor(WITHIN);
    await until(async () => YOUNG.test(await age()), async () => `an age that is right once the clock was set: ${await age()}`);
    must((await page.locator('#zone').textContent()).includes('Australia/Lord_Howe'), 'a page does not say whose times it shows');
    await his.close();
  }
}
