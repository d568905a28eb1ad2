// HTML that comes in later, and takes its place on the page.

import { hearTime, isOurs, make, reload, tellTimes } from './page.js';

const policy = globalThis.trustedTypes?.createPolicy('relay', { createHTML: (html) => html });
const ELEMENTS = new Set(('A ARTICLE B BDI BUTTON CODE DD DIV DL DT H2 H3 HEADER LI OL P SECTION SPAN STRONG TABLE TBODY TD TH THEAD '
  + 'TIME TR UL svg path').split(' '));
const ATTRIBUTES = new Set(('aria-current aria-hidden aria-label aria-labelledby class d data-as data-destination data-is data-on data-sure datetime dir '
  + 'href id name preserveAspectRatio scope title viewBox').split(' '));

// The one place where text becomes markup: of an answer that says that it is a fragment, and of that only what is listed.
async function markup(answer) {
  const drawnAt = answer.headers.get('Relay-Fragment');
  if (!drawnAt) throw new Error('no fragment');
  hearTime(drawnAt);
  const text = await answer.text();
  const template = make('template');
  template.innerHTML = policy ? policy.createHTML(text) : text;
  for (const element of [...template.content.querySelectorAll('*')]) {
    if (!ELEMENTS.has(element.tagName)) {
      element.remove();
      continue;
    }
    // No button of it sends a form.
    if (element.tagName === 'BUTTON') element.type = 'button';
    for (const { name, value } of [...element.attributes]) {
      if (element.tagName === 'BUTTON' && name === 'type') continue;
      if (!ATTRIBUTES.has(name) || (name === 'href' && !isOurs(value))) element.removeAttribute(name);
    }
  }
  tellTimes(template.content);
  return template.content;
}

// Of a page, of this one if none is named.
export async function fragment(page = location.href) {
  const answer = await fetch(page, { headers: { 'Relay-Fragment': 'live' }, cache: 'no-store' });
  if (answer.status === 401) reload();
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return markup(answer);
}

// Brings a tree whose shape stays up to date: only what differs is replaced.
export function patch(old, fresh) {
  // How the source is broken into lines says nothing.
  const counts = (node) => node.nodeType !== Node.TEXT_NODE || node.data.trim() !== '';
  const [a, b] = [[...old.childNodes].filter(counts), [...fresh.childNodes].filter(counts)];
  if (a.length !== b.length) {
    if (!old.contains(document.activeElement)) old.replaceChildren(...b);
    return;
  }
  a.forEach((node, at) => {
    const other = b[at];
    if (node.isEqualNode(other)) return;
    const same = node.nodeType === 1 && other.nodeType === 1 && node.tagName === other.tagName && node.id === other.id
      && node.className === other.className;
    if (same && node.childElementCount > 0) patch(node, other);
    else if (!node.contains(document.activeElement)) node.replaceWith(other);
  });
}
