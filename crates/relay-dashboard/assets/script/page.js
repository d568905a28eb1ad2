// What every page needs: its links, times in the viewer's zone, keys.
//
// Which element does what stands in these files, and is bound once, by id, when the page has loaded: no attribute of the markup names a
// request, so that markup which slips into a page sends nothing. HTML comes in by `markup` alone.

const saysOfTime = {
  zone: (zone) => `Times are in ${zone}.`,
  now: 'now',
  ago: (span) => `${span} ago`,
  ahead: (span) => `in ${span}`,
};

export const root = document.documentElement;
export const reload = () => location.reload();
export const query = new URLSearchParams(location.search);
export const make = (tag) => document.createElement(tag);
export const now = () => Date.now();
// How long something takes: clocks are set. While a laptop sleeps it stands still.
export const elapsed = () => performance.now();
export const byId = (id) => document.getElementById(id);
export const inUrl = encodeURIComponent;
export const on = (element, event, does, how) => element?.addEventListener(event, does, how);
export const base = document.body.dataset.base;
export const api = (path) => `${base}api/v1/${path}`;

// Whether a link leads to a page of this site, as the browser reads it: `/\x` is another host.
export function isOurs(link) {
  try {
    const url = new URL(link, location.href);
    return url.origin === location.origin && url.pathname.startsWith(base);
  } catch {
    return false;
  }
}

// ---- Times ----

const utc = root.dataset.zone === 'utc' || undefined;
const zone = utc ? 'UTC' : Intl.DateTimeFormat().resolvedOptions().timeZone;
const parts = new Intl.DateTimeFormat('en-GB', {
  timeZone: zone, year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
  fractionalSecondDigits: 3, hourCycle: 'h23',
});
const days = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
// Ages go by the server's clock: this machine's may be off, and be set while the page is open.
let ahead = 0;
const present = () => now() + ahead;

export function hearTime(text) {
  const at = Date.parse(text);
  if (!Number.isNaN(at)) ahead = at - now();
}

hearTime(document.body.dataset.now);

// In the largest unit.
export function span(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

export function told(at, as) {
  const seconds = (present() - at) / 1000;
  if (as === 'ago') return seconds <= -1 ? saysOfTime.ahead(span(-seconds)) : seconds < 1 ? saysOfTime.now : saysOfTime.ago(span(seconds));
  const part = Object.fromEntries(parts.formatToParts(at).map(({ type, value }) => [type, value]));
  const day = days.format(at);
  const clock = `${part.hour}:${part.minute}:${part.second}.${part.fractionalSecond}`;
  if (as === 'full') return `${day} ${clock}`;
  const today = days.format(present());
  if (day === today) return clock;
  return day.slice(0, 4) === today.slice(0, 4) ? `${part.month} ${part.day} ${part.hour}:${part.minute}` : day;
}

export function tellTimes(within) {
  for (const time of within.querySelectorAll('time[data-as]')) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    const text = told(at, time.dataset.as);
    if (time.textContent !== text) time.textContent = text;
    if (time.title) time.title = `${told(at, 'full')} ${zone}`;
  }
}

// ---- Keys ----

// What a key does; files of pages that have more bring theirs.
export const byKey = {
  '/': () => byId('find')?.focus(),
  j: () => move(1),
  k: () => move(-1),
  Escape: () => byId('close')?.click(),
  '?': () => byId('all-keys')?.showModal(),
};

const PLACES = { o: '', e: 'events', d: 'deliveries', x: 'dead', w: 'why', s: 'sources', a: 'audit' };

export const links = () => [...document.querySelectorAll('#lines a.whole')];

function move(by) {
  const all = links();
  const at = all.indexOf(document.activeElement);
  all[Math.min(all.length - 1, Math.max(0, at + by))]?.focus();
}

function bindKeys() {
  if (root.dataset.keys !== 'on') return;
  let before = '';
  on(document, 'keydown', (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (target.closest('input, select, textarea, dialog')) {
      if (key === 'Escape') target.blur();
      return;
    }
    const goes = before === 'g' && Object.hasOwn(PLACES, key);
    before = key;
    if (goes) location.assign(base + PLACES[key]);
    else if (Object.hasOwn(byKey, key)) {
      event.preventDefault();
      byKey[key]();
    }
  });
}

byId('zone')?.replaceChildren(saysOfTime.zone(zone));
tellTimes(document);
setInterval(() => tellTimes(document), 1000);
bindKeys();
