// The dashboard behind a proxy that holds streams back, over TLS and below a path: pages ask instead, and say so.
//
//   node proxied.mjs             SITE is its URL there; the server is told by the environment (browser.mjs)

import { PASSWORD, WITHIN, command, context, finish, launch, must, took, until, webhook } from './browser.mjs';

const { SITE } = process.env;
command(['user', 'create', 'vera', '--role', 'viewer', '--password', '-'], `${PASSWORD}\n`);
const browser = await launch();
const hers = await context(browser, 'proxied', { ignoreHTTPSErrors: true });
hers.on('request', (request) => must(request.url().startsWith(SITE), `asks for ${request.url()}`));
const page = await hers.newPage();
await page.goto(`${SITE}events`);
await page.getByLabel('Name').fill('vera');
await page.getByLabel('Password').fill(PASSWORD);
await page.getByRole('button', { name: 'Sign in' }).click();
await page.waitForURL(`${SITE}events`, WITHIN);
const [cookie] = await hers.cookies();
must(cookie.name.startsWith('__Host-') && cookie.secure && cookie.httpOnly && cookie.sameSite === 'Strict', `the cookie is ${JSON.stringify(cookie)}`);

const pulse = page.locator('#pulse');
const began = Date.now();
await pulse.filter({ hasText: 'live, every 2 s' }).waitFor(WITHIN);
took('asks_after_ms', Date.now() - began, 5000);
const sent = await webhook('{"held":"back"}');
const came = Date.now();
await page.evaluate(() => (window.stays = true));
await page.locator(`tr#${sent}`).waitFor(WITHIN);
took('polled_ms', Date.now() - came, 2000);
must(await page.evaluate(() => window.stays), 'the page is drawn anew to follow');
must((await pulse.getAttribute('data-is')) === 'polling', 'nothing is held back');

// Another tab need not ask: it hears of it by the first.
const asked = [];
const other = await hers.newPage();
await other.goto(`${SITE}events`);
await other.locator('#pulse[data-is=polling]').waitFor(WITHIN);
hers.on('request', (request) => request.url().endsWith('/api/v1/pulse') && asked.push(request.frame().page()));
// One that was held up may ask by itself once; where each does, they take turns.
const inARow = () => asked.some((tab, at) => at >= 2 && tab === asked[at - 1] && tab === asked[at - 2]);
await until(inARow, 'one tab asks for both');
await other.close();

// Whoever may not in any more is told by the next answer.
command(['user', 'disable', 'vera']);
const over = Date.now();
await page.getByRole('heading', { name: 'Sign in' }).waitFor(WITHIN);
took('out_after_disable_ms', Date.now() - over, 2000);
must(page.url().startsWith(`${SITE}login?next=`), `whoever is out stands at ${page.url()}`);
await browser.close();
finish();
