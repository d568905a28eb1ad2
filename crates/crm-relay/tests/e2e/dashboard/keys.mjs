// By keyboard alone: somebody signs in, finds an event by its id, and reads its body.

import { PASSWORD, WITHIN, command, context, must, press, tabTo, until, webhook } from './browser.mjs';

export async function byKeys(browser, home) {
  command(['user', 'create', 'kim', '--role', 'operator', '--password', '-'], `${PASSWORD}\n`);
  const lines = Array.from({ length: 120 }, (_, number) => `"line-${number}":${number}`);
  const sent = await webhook(`{${lines.join()}}`, { 'Content-Type': 'application/json' });
  const hers = await context(browser, 'keys');
  const page = await hers.newPage();
  await page.goto(`${home}login`);
  await tabTo(page, page.getByLabel('Name'));
  await page.keyboard.type('kim');
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Overview' }).waitFor(WITHIN);

  // Past the navigation leads one key.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  must(await page.locator('#main').evaluate((main) => main === document.activeElement), 'the first key does not lead past the navigation');
  await press(page, page.getByRole('link', { name: 'Events', exact: true }));
  await page.getByRole('heading', { name: 'Events', exact: true }).waitFor(WITHIN);
  await page.waitForLoadState('load');
  await page.keyboard.press('/');
  await page.keyboard.type(sent);
  await page.keyboard.press('Enter');
  await page.waitForURL(`${home}events/${sent}`, WITHIN);
  await page.waitForLoadState('load');

  const body = page.getByRole('region', { name: 'Lines of the body' });
  await tabTo(page, body);
  must((await body.innerText()).includes('"line-119": 119'), 'the body is not all there');
  await page.keyboard.press('End');
  await until(() => body.evaluate(({ scrollTop, scrollHeight, clientHeight }) => scrollTop > 0 && scrollTop + clientHeight > scrollHeight - 8), 'keys lead through a long body');
  // Back in the list a row is chosen and opened, and closed again.
  await press(page, page.getByRole('link', { name: 'All events' }));
  await page.waitForURL(`${home}events`, WITHIN);
  await page.waitForLoadState('load');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.locator('#pane').waitFor(WITHIN);
  await page.waitForLoadState('load');
  await page.keyboard.press('Escape');
  await page.waitForURL(`${home}events`, WITHIN);
  await hers.close();
}
