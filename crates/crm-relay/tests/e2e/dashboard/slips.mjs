// What slips into a fragment does nothing: whatever a mistake would let into an answer of the server's, of its markup only what is listed
// gets onto the page, nothing of it runs, and no attribute of it is an order.

import { WITHIN, context, isLive, must, webhook } from './browser.mjs';

const ELSEWHERE = 'https://evil.example/';
const SLIPS = `<div id="slipped" style="position:fixed;inset:0" onclick="ran=1" onmouseover="ran=2" hx-get="/api/v1/me" hx-trigger="load">it slipped in
<script>ran=3</script><script src="${ELSEWHERE}x.js"></script><img src="${ELSEWHERE}x.png" onerror="ran=4"><svg onload="ran=5"><a href="javascript:ran=6">x</a></svg>
<div hx-delete="/api/v1/session" hx-trigger="load" hx-headers='{"Content-Type":"application/json"}' data-on-load="@post('/api/v1/session')" x-init="ran=7">x</div>
<form id="find" action="${ELSEWHERE}" method="post"><input name="q" autofocus onfocus="ran=8"><button name="redrive" type="submit">x</button></form>
<iframe srcdoc="<script>parent.ran=9</script>"></iframe><object data="${ELSEWHERE}"></object><embed src="${ELSEWHERE}"><video autoplay src="${ELSEWHERE}v"></video>
<math><mtext><mglyph><style><img src=x onerror="ran=10"></style></mglyph></mtext></math><template><script>ran=11</script></template><details open ontoggle="ran=12">x</details>
<style>main { display: none }</style><link rel="stylesheet" href="${ELSEWHERE}x.css"><meta http-equiv="refresh" content="0;url=${ELSEWHERE}"><base href="${ELSEWHERE}">
<a class="whole" href="${ELSEWHERE}" ping="${ELSEWHERE}">x</a><a href="//evil.example/" target="_top">x</a><a href="/\\evil.example">x</a><a href="javascript:ran=13">x</a><a href="data:text/html,x">x</a>
<button type="submit" form="replay" formaction="${ELSEWHERE}" name="redrive">x</button><button popovertarget="sure" commandfor="sure" command="show-modal" name="purge">x</button></div>`;
const MAY_NOT_BE = ':is(script, img, svg :not(path), math, form, input, iframe, object, embed, video, template, details, style, link, meta, base)';
const MAY_BE = /^(aria-(current|hidden|label|labelledby)|class|data-(as|destination|is|on|sure)|datetime|dir|href|id|name|scope|title|type)$/;

// Lets something slip into each fragment that a page asks for. An answer that does not say that it is one is none.
async function letIn(page, slip, says = true) {
  await page.route((url) => !url.pathname.includes('/api/'), async (route) => {
    if (!route.request().headers()['relay-fragment']) return route.fallback();
    const answer = await route.fetch();
    const headers = answer.headers();
    if (!says) delete headers['relay-fragment'];
    return route.fulfill({ response: answer, headers, body: slip + (await answer.text()) });
  });
}

async function looksAt(page, name) {
  const slipped = page.locator('#slipped');
  await slipped.waitFor({ state: 'attached', ...WITHIN });
  must((await slipped.innerText()).includes('it slipped in'), `${name}: the text is not there`);
  must(await page.getByRole('heading', { level: 1 }).isVisible(), `${name}: a style holds`);
  const [elements, attributes, links] = await slipped.evaluate((root, strange) => [
    root.querySelectorAll(strange).length,
    [root, ...root.querySelectorAll('*')].flatMap(({ attributes }) => [...attributes].map((attribute) => attribute.name)),
    [...root.querySelectorAll('[href]')].map(({ href }) => href),
  ], MAY_NOT_BE);
  must(elements === 0, `${name}: ${elements} elements that are not listed get onto the page`);
  const orders = attributes.filter((attribute) => !MAY_BE.test(attribute));
  must(orders.length === 0, `${name}: attributes that are not listed get onto the page: ${orders}`);
  must(links.length === 0, `${name}: links lead to ${links}`);
  await slipped.evaluate((root) => root.querySelectorAll('a, button, div').forEach((element) => element.click()));
  await slipped.dispatchEvent('mouseover');
  must((await page.locator('dialog[open]').count()) === 0, `${name}: it opens a dialog`);
}

const readsOn = (page) => Promise.all([
  page.waitForResponse((answer) => 'relay-fragment' in answer.request().headers(), WITHIN), webhook('{"slips":3}')]);

export async function slips(browser, home, state) {
  const his = await context(browser, 'slips', { storageState: state, expected: /inline (style|event handler)/ });
  await his.addInitScript(() => {
    window.broken = [];
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => window.broken.push(`${violatedDirective} ${blockedURI}`));
  });
  his.on('request', (request) => must(request.url().startsWith(home) && request.method() === 'GET', `slips: ${request.method()} ${request.url()}`));
  // It is a fault that it is asked, and does not leave the browser.
  await his.route((url) => !url.href.startsWith(home), (route) => route.abort());
  const sent = await webhook('{"slips":1}');
  const screens = [
    ['overview', '', SLIPS],
    ['events', 'events', `<tr id="evt_slipped"><td>${SLIPS}</td></tr>`],
    ['deliveries', 'deliveries', `<tr id="dlv_slipped"><td>${SLIPS}</td></tr>`],
    ['event', `events/${sent}`, SLIPS],
  ];
  for (const [name, path, slip] of screens) {
    const page = await his.newPage();
    await letIn(page, slip);
    await page.goto(`${home}${path}`);
    await isLive(page);
    await webhook('{"slips":2}');
    await looksAt(page, name);
    // What a click leads to is there by the time that the page has read once more.
    await readsOn(page);
    must(page.url() === `${home}${path}`, `${name}: it leads to ${page.url()}`);
    must((await page.evaluate(() => window.ran)) === undefined, `${name}: something of it runs`);
    // The browser says of attributes that it refused them, as they are read to be taken off, and of nothing else.
    const refused = (await page.evaluate(() => window.broken)).filter((what) => !/^(style|script)-src-attr inline$/.test(what));
    must(refused.length === 0, `${name}: the policy alone holds ${refused}`);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.close();
  }

  const page = await his.newPage();
  await letIn(page, screens[1][2], false);
  await page.goto(`${home}events`);
  await isLive(page);
  // By the second one it has done with the first.
  await readsOn(page);
  await readsOn(page);
  must((await page.locator('#evt_slipped').count()) === 0, 'what does not say that it is a fragment is taken for one');
  // Nobody was signed out by it.
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.reload();
  await isLive(page);
  await his.close();
}
