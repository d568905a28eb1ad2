// What pages do beyond being read: live lists, forms that send JSON, keys, times in the viewer's zone.
//
// Which element does what stands here, and is bound once, by id, when the page has loaded: no attribute of the markup names a
// request, so that markup which slips into a page sends nothing. HTML comes in by `markup` alone.

const says = {
  live: 'live',
  polling: 'live, every 2 s',
  paused: 'paused',
  stale: (since) => `not updated for ${since}`,
  away: 'the server does not answer',
  zone: (zone) => `Times are in ${zone}.`,
  leftOut: (count) => `${count} more came in and are not drawn. Reload for all.`,
  gap: (count) => `${count} not drawn`,
  waiting: (count) => `${count} came in while paused.`,
  more: 'More came in while paused.',
  gone: 'no longer in this list',
  pause: 'Pause',
  goOn: 'Go on',
  copied: 'Copied',
  notCopied: 'The browser does not copy it: select it.',
  linkFor: (name) => `Link for ${name}`,
  linkOver: 'This link was used already, or is over. crm-relay dashboard prints another.',
  reset: (name) => `Take the password and the sessions of ${name}, and show a link to come in by?`,
  disable: (name) => `End the sessions of ${name} and let nobody in by that name?`,
  choose: 'Choose a group first.',
  none: 'None of these is dead any more. Reload.',
  later: (count) => `${count} ended later than the server's clock says.`,
  counting: 'Counting…',
  ask: { redrive: (count) => `Redrive ${count}?`, purge: (count) => `Purge ${count}, for good?` },
  act: { redrive: 'Redrive', purge: 'Purge' },
  of: (count, name) => `${count} of ${name}`,
  did: { redrive: 'redriven', purge: 'purged' },
  done: (done, all, did) => `${done} of ${all} are ${did}.`,
  stopped: (text) => `${text} The rest stays as it is.`,
  stoppedBy: (name, text) => `${text} Stopped by ${name}.`,
  stop: 'Stop',
  mistyped: (count) => `Type ${count}, and they go.`,
  trying: 'Trying one…',
  tried: { delivered: 'It was delivered.', waits: 'It waits: no client took it for half a minute.' },
  failed: (why) => `It failed again: ${why}.`,
  changed: 'It is in another state by now. Reload to see which.',
  now: 'now',
  ago: (span) => `${span} ago`,
  ahead: (span) => `in ${span}`,
};

const root = document.documentElement;
const reload = () => location.reload();
const query = new URLSearchParams(location.search);
const make = (tag) => document.createElement(tag);
const now = () => Date.now();
const byId = (id) => document.getElementById(id);
const inUrl = encodeURIComponent;
const on = (element, event, does, how) => element?.addEventListener(event, does, how);
const base = document.body.dataset.base;
const api = (path) => `${base}api/v1/${path}`;

// Whether a link leads to a page of this site, as the browser reads it: `/\x` is another host.
function isOurs(link) {
  try {
    const url = new URL(link, location.href);
    return url.origin === location.origin && url.pathname.startsWith(base);
  } catch {
    return false;
  }
}

const ROWS_MAX = 200;
const DRAWN_MAX = 50;
const READ_EVERY = 250;
const POLL_EVERY = 2000;
const SILENT_MAX = 5000;
const OPEN_AGAIN = 5000;
const ANNOUNCE_EVERY = 10000;

// ---- Times ----

const utc = root.dataset.zone === 'utc' || undefined;
const zone = utc ? 'UTC' : Intl.DateTimeFormat().resolvedOptions().timeZone;
const parts = new Intl.DateTimeFormat('en-GB', {
  timeZone: zone, year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
  fractionalSecondDigits: 3, hourCycle: 'h23',
});
const days = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
// Ages go by the server's clock: this machine's may be off.
const ahead = Date.parse(document.body.dataset.now) - now();
const present = () => now() + ahead;

// In the largest unit.
function span(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

function told(at, as) {
  const seconds = (present() - at) / 1000;
  if (as === 'ago') return seconds <= -1 ? says.ahead(span(-seconds)) : seconds < 1 ? says.now : says.ago(span(seconds));
  const part = Object.fromEntries(parts.formatToParts(at).map(({ type, value }) => [type, value]));
  const day = days.format(at);
  const clock = `${part.hour}:${part.minute}:${part.second}.${part.fractionalSecond}`;
  if (as === 'full') return `${day} ${clock}`;
  const today = days.format(present());
  if (day === today) return clock;
  return day.slice(0, 4) === today.slice(0, 4) ? `${part.month} ${part.day} ${part.hour}:${part.minute}` : day;
}

function tellTimes(within) {
  for (const time of within.querySelectorAll('time[data-as]')) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    const text = told(at, time.dataset.as);
    if (time.textContent !== text) time.textContent = text;
    if (time.title) time.title = `${told(at, 'full')} ${zone}`;
  }
}

// ---- HTML that comes in later ----

const policy = globalThis.trustedTypes?.createPolicy('relay', { createHTML: (html) => html });
const ELEMENTS = new Set(('A ARTICLE B BDI BUTTON CODE DD DIV DL DT H2 H3 HEADER LI OL P SECTION SPAN STRONG TABLE TBODY TD TH THEAD '
  + 'TIME TR UL').split(' '));
const ATTRIBUTES = new Set(('aria-current aria-hidden aria-label aria-labelledby class data-as data-is data-on data-sure datetime dir '
  + 'href id name scope title').split(' '));

// The one place where text becomes markup: of an answer that says that it is a fragment, and of that only what is listed.
async function markup(answer) {
  if (!answer.headers.has('Relay-Fragment')) throw new Error('no fragment');
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

async function fragment() {
  const answer = await fetch(location.href, { headers: { 'Relay-Fragment': 'live' }, cache: 'no-store' });
  if (answer.status === 401) reload();
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return markup(answer);
}

// ---- Requests that change something ----

class Refused extends Error {}
function refuse(text) {
  throw new Refused(text);
}

async function send(method, path, value) {
  const asked = { method, headers: { 'Content-Type': 'application/json' }, cache: 'no-store' };
  if (value !== undefined) asked.body = JSON.stringify(value);
  let answer;
  try {
    answer = await fetch(api(path), asked);
  } catch {
    refuse(says.away);
  }
  const text = await answer.text();
  let told;
  try {
    told = text ? JSON.parse(text) : {};
  } catch {
    told = {};
  }
  if (!answer.ok) refuse(told.detail || told.title || `${answer.status}`);
  return told;
}

// Runs what a click or a form asks for, once at a time, and says in `place` why it was not done.
function bind(element, event, place, run) {
  if (!element) return;
  let busy = false;
  on(element, event, async (happened) => {
    if (event === 'submit') happened.preventDefault();
    if (busy) return;
    busy = true;
    const button = event === 'submit' ? element.querySelector('[type=submit]') : null;
    if (button) button.disabled = true;
    if (place) say(place, '');
    try {
      await run(happened);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (place) say(place, error.message);
    } finally {
      busy = false;
      if (button) button.disabled = false;
    }
  });
}

function say(place, text) {
  place.hidden = text === '' && !place.closest('.alone');
  place.textContent = text;
}

const field = (form, name) => form.elements.namedItem(name)?.value ?? '';

// ---- Signing in ----

// Only a path of this site, whoever wrote it. Where on a page it leads the browser keeps on the way here.
function next() {
  const wanted = query.get('next');
  if (!wanted || !isOurs(wanted)) return base;
  const url = new URL(wanted, location.href);
  url.hash ||= location.hash;
  return url.href;
}

async function signInByLink() {
  const link = location.hash.slice(1);
  const words = byId('by-link');
  if (!words || !link.startsWith('crl_')) return;
  // The link is not to stay in the history.
  history.replaceState(null, '', location.pathname + location.search);
  words.hidden = false;
  try {
    const { has_password: hasPassword } = await send('POST', 'session', { link });
    location.replace(hasPassword === false ? `${base}me` : next());
  } catch (error) {
    words.hidden = true;
    say(byId('login-said'), error instanceof Refused ? error.message : says.linkOver);
  }
}

function bindLogin() {
  const form = byId('login');
  bind(form, 'submit', byId('login-said'), async () => {
    await send('POST', 'session', { name: field(form, 'name').trim(), password: field(form, 'password') });
    location.replace(next());
  });
  signInByLink();
}

// ---- The viewer and the users ----

function bindMe() {
  const said = byId('me-said');
  bind(byId('logout'), 'click', said, async () => {
    await send('DELETE', 'session');
    location.replace(`${base}login`);
  });
  const password = byId('password');
  bind(password, 'submit', said, async () => {
    await send('POST', 'me/password', { old: field(password, 'old') || null, new: field(password, 'new') });
    reload();
  });
  const reading = byId('reading');
  bind(reading, 'submit', said, async () => {
    const keys = field(reading, 'keys') === 'on';
    await send('PATCH', 'me', { theme: field(reading, 'theme'), zone: field(reading, 'zone'), keys });
    reload();
  });
  bind(byId('sessions'), 'click', said, async ({ target }) => {
    const row = target.closest('button[name=revoke]')?.closest('tr');
    if (!row) return;
    await send('DELETE', `me/sessions/${inUrl(row.dataset.session)}`);
    reload();
  });
}

function showLink(name, { link }) {
  if (!link) return;
  byId('link-words').textContent = says.linkFor(name);
  const url = new URL(link, location.origin);
  // Without ADMIN_URL the server knows of no other way to it than from its own machine.
  if (['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)) url.href = new URL(`${base}login${url.hash}`, location.origin).href;
  byId('link').textContent = url.href;
  byId('link-box').hidden = false;
  byId('link-box').scrollIntoView({ block: 'nearest' });
}

// Asks before what cannot be taken back.
function sure(words) {
  const dialog = byId('sure');
  byId('sure-words').textContent = words;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => on(dialog, 'close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}

function bindUsers() {
  const said = byId('users-said');
  const form = byId('new-user');
  bind(form, 'submit', said, async () => {
    const name = field(form, 'name').trim();
    showLink(name, await send('POST', 'users', { name, role: field(form, 'role') }));
    form.reset();
  });
  const of = (target) => {
    const name = target.closest('tr')?.dataset.user;
    return name === undefined ? undefined : { name, path: `users/${inUrl(name)}` };
  };
  bind(byId('users'), 'click', said, async ({ target }) => {
    const user = of(target);
    const button = target.closest('button');
    if (!user || !button) return;
    if (button.name === 'save') {
      await send('PATCH', user.path, { role: button.closest('tr').querySelector('select').value });
      button.hidden = true;
      return;
    }
    if (button.name === 'reset') {
      if (await sure(says.reset(user.name))) showLink(user.name, await send('POST', `${user.path}/link`));
      return;
    }
    const disabled = button.name === 'disable';
    if (disabled && !(await sure(says.disable(user.name)))) return;
    await send('PATCH', user.path, { disabled });
    reload();
  });
  // A key that moves through the roles gives nobody one.
  on(byId('users'), 'change', ({ target }) => {
    if (target.name === 'role') target.closest('tr').querySelector('button[name=save]').hidden = false;
  });
  bind(byId('copy-link'), 'click', said, async () => {
    try {
      await navigator.clipboard.writeText(byId('link').textContent);
    } catch {
      refuse(says.notCopied);
    }
    byId('copy-link').textContent = says.copied;
  });
}

// ---- What becomes of deliveries ----

// Draws the page anew, at what came of it.
function standAt(id) {
  const url = new URL(location.href);
  url.hash = id ?? '';
  history.replaceState(null, '', url);
  reload();
}

function bindDeliveries() {
  const said = byId('act-said');
  const replay = byId('replay');
  bind(replay, 'submit', said, async () => {
    if (!(await sure(replay.dataset.sure))) return;
    const { deliveries } = await send('POST', `events/${replay.dataset.event}/replay`, { destination: field(replay, 'destination') || null });
    standAt(deliveries[0]?.id);
  });
  bind(byId('acts'), 'click', said, async ({ target }) => {
    const button = target.closest('button');
    const { id } = target.closest('.delivery') ?? {};
    if (!button || !id || !(await sure(button.dataset.sure))) return;
    const path = button.name === 'redrive' ? 'dead/redrive' : 'deliveries/cancel';
    const { changed } = await send('POST', path, { ids: [id] });
    if (changed === 0) refuse(says.changed);
    standAt(id);
  });
  bind(byId('live'), 'click', said, async ({ target }) => {
    const button = target.closest('button');
    const { id } = target.closest('tr') ?? {};
    if (!button || !id?.startsWith('d-') || (button.name === 'pause' && !(await sure(button.dataset.sure)))) return;
    await send('POST', `destinations/${inUrl(id.slice(2))}/${button.name === 'pause' ? 'pause' : 'resume'}`);
    standAt(id);
  });
}

// ---- Dead letters ----

const STEP = 500;
// One is looked at so often; a step that takes less is followed by one of twice as many.
const SOON = 500;
const TRY_FOR = 30000;

// What became of one that was redriven just now, if anybody waits: it ended, or has been tried, or nobody took it.
async function outcomeOf(id, isAwaited) {
  for (const until = now() + TRY_FOR; now() < until && isAwaited();) {
    const { state, reason, tries, last } = await send('GET', `deliveries/${id}`);
    if (state === 'delivered') return says.tried.delivered;
    if (tries > 0 || reason) return says.failed([reason, last?.status ?? last?.error].filter(Boolean).join(', '));
    await new Promise((later) => setTimeout(later, SOON));
  }
  return says.tried.waits;
}

function bindDead() {
  const place = byId('dead');
  const [dialog, words, run, leave, one, page] = ['bulk', 'bulk-said', 'bulk-do', 'bulk-leave', 'bulk-try', 'act-said'].map(byId);
  if (!place || !dialog) return;
  const leaves = leave.textContent;
  // What the open question is about: what goes on for one that was left ends.
  let command;
  const boxes = (which) => [...place.querySelectorAll(`[name=group]${which}`)];
  const every = byId('every');
  on(every, 'change', () => boxes('').forEach((box) => (box.checked = every.checked)));
  bind(place, 'click', page, async ({ target }) => {
    const { name } = target.closest('button') ?? {};
    if (!name) return;
    const chosen = boxes(':checked').map(({ value }) => value);
    if (!chosen[0]) refuse(says.choose);
    // All that match, drawn or not.
    const groups = every.checked && !boxes(':not(:checked)')[0] ? [] : chosen;
    const filter = Object.entries(place.dataset).filter(([, value]) => value);
    const asked = { ...Object.fromEntries(filter), all: true, groups };
    const path = `dead/${name}`;
    say(page, says.counting);
    const { matched, split, as_of: until, preview, job, example, later } = await send('POST', path, { ...asked, dry_run: true });
    if (matched === 0) refuse(later ? says.later(later) : says.none);
    say(page, '');
    command = { name, path, matched, split, asked: { ...asked, preview, job }, example, limit: STEP, step: STEP };
    byId('bulk-words').textContent = says.ask[name](matched);
    byId('bulk-split').replaceChildren(...split.map(({ destination, count }) => {
      const line = make('li');
      line.textContent = says.of(count, destination);
      return line;
    }));
    const time = byId('bulk-until');
    [time.dateTime, time.textContent] = [until, told(Date.parse(until), 'clock')];
    const purges = name === 'purge';
    byId('bulk-typed').hidden = !purges;
    byId('bulk-count').value = '';
    [one.hidden, run.hidden, run.disabled, leave.textContent] = [purges, false, false, leaves];
    [run.textContent, run.className] = [`${says.act[name]} ${matched}`, purges ? 'danger' : 'main'];
    say(words, '');
    dialog.showModal();
    leave.focus();
  });
  // One thing at a time for one question; what comes of it is said there, or on the page once that was left.
  const act = (button, does) => on(button, 'click', async () => {
    const mine = command;
    if (mine.busy) return;
    mine.busy = true;
    const isOpen = () => mine === command;
    const tell = (text) => say(isOpen() ? words : page, text);
    try {
      await does(mine, tell, isOpen);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      tell(`${mine.done ?? ''} ${error.message}`);
      if (mine.broke && isOpen()) [run.hidden, run.textContent, leave.textContent] = [false, says.goOn, leaves];
    }
    if (isOpen()) run.disabled = false;
    mine.busy = false;
  });
  act(one, async ({ path, example }, tell, isOpen) => {
    [one.hidden, run.disabled] = [true, true];
    leave.focus();
    tell(says.trying);
    const { changed } = await send('POST', path, { ids: [example] });
    const came = changed ? await outcomeOf(example, isOpen) : says.changed;
    if (isOpen()) tell(came);
  });
  act(run, async (mine, tell, isOpen) => {
    const { name, path, matched, split, asked } = mine;
    if (name === 'purge' && byId('bulk-count').value.trim() !== `${matched}`) refuse(says.mistyped(matched));
    [run.hidden, one.hidden, leave.textContent, mine.broke] = [true, true, says.stop, true];
    dialog.focus();
    while (isOpen()) {
      const began = now();
      const { changed, next, stopped_by: by } = await send('POST', path, { ...asked, limit: mine.limit });
      mine.done = says.done(changed, matched, says.did[name]);
      tell(by ? says.stoppedBy(by, mine.done) : mine.done);
      if (by) return (leave.textContent = leaves);
      if (!next) {
        // At what came of it.
        mine.broke = false;
        const [only, other] = split;
        return name === 'purge' ? reload()
          : location.assign(`${base}deliveries${other ? '' : `?destination=${inUrl(only.destination)}`}`);
      }
      if (now() - began < SOON) mine.step *= 2;
      mine.limit += mine.step;
    }
    tell(says.stopped(mine.done));
  });
  // A key that is held presses nothing here.
  on(dialog, 'keydown', (event) => event.repeat && event.target.type === 'button' && event.preventDefault());
  on(leave, 'click', () => dialog.close());
  on(dialog, 'close', () => {
    // What broke off, or was stopped by another, has changed the list.
    if (command.broke && !command.busy) reload();
    command = undefined;
  });
}

// ---- The pulse: one stream a browser, shared by its tabs ----

// Tells `heard` of each message, wherever it came from: the stream of this tab, that of another, or a question every two seconds.
function listen(heard) {
  const channel = new BroadcastChannel('relay-pulse');
  let last = now();
  let seen = '';
  let stream;
  // While a page is left its last message and its last answer still come: nobody is told of them by a channel that is closed.
  let left = false;
  const tell = (message) => {
    if (!left) channel.postMessage(message);
  };
  const take = (text, how) => {
    last = now();
    const moved = text !== seen;
    seen = text;
    heard(JSON.parse(text), how, moved);
  };
  // A tab that has just come asks the one with the stream for the last message: the next may be seconds away.
  let holds = false;
  channel.onmessage = ({ data }) => {
    if (data.pulse) take(data.pulse, data.how);
    else if (holds && seen) tell({ pulse: seen, how: 'live' });
  };
  tell({});
  // Whoever holds the lock holds the stream; with its tab the lock goes to the next.
  navigator.locks?.request('relay-pulse', () => new Promise(() => {
    holds = true;
    const open = () => {
      if (left) return;
      stream = new EventSource(api('pulse'));
      stream.onmessage = ({ data }) => {
        tell({ pulse: data, how: 'live' });
        take(data, 'live');
      };
      // It ended, perhaps with the session. After an answer other than 200, as of a proxy while the server starts, the browser does not try
      // again by itself.
      stream.onerror = () => {
        ask();
        if (stream.readyState === EventSource.CLOSED) setTimeout(open, OPEN_AGAIN * (1 + Math.random()));
      };
    };
    open();
  }));
  const ask = async () => {
    const silent = last;
    try {
      const answer = await fetch(api('pulse'), { headers: { Accept: 'application/json' }, cache: 'no-store' });
      if (answer.status === 401) reload();
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const text = await answer.text();
      take(text, 'polling');
      last = silent;
      // Whoever shares it need not ask.
      tell({ pulse: text, how: 'polling' });
    } catch {
      // A moment without an answer is not worth a word.
      if (now() - last >= SILENT_MAX) heard(null, 'stale', false);
    }
  };
  // A proxy that holds back streams: ask instead.
  setInterval(() => {
    if (!document.hidden && now() - last >= SILENT_MAX) ask();
  }, POLL_EVERY);
  on(window, 'pagehide', () => {
    left = true;
    stream?.close();
    channel.close();
  });
  // Back from the browser's memory: what it shows is as old as it was left.
  on(window, 'pageshow', ({ persisted }) => {
    if (persisted) reload();
  });
}

const live = { paused: false, follow: query.has('follow'), came: 0, skipped: 0, since: now() };

// To whoever listens to the page: the last of what there is to say, and not all the time.
function announce(text) {
  const place = byId('announced');
  if (!place) return;
  const due = announce.due !== undefined;
  announce.text = text;
  if (due) return;
  const wait = Math.max(0, (announce.last ?? 0) + ANNOUNCE_EVERY - now());
  announce.due = setTimeout(() => {
    [announce.due, announce.last] = [undefined, now()];
    if (place.textContent !== announce.text) place.textContent = announce.text;
  }, wait);
}

function tellPulse(how) {
  const place = byId('pulse');
  if (!place) return;
  const is = live.paused ? 'paused' : how;
  const text = is === 'stale' ? says.stale(span((now() - live.since) / 1000)) : says[is];
  if (place.dataset.is !== is) {
    place.dataset.is = is;
    announce(is === 'stale' ? says.away : says[is]);
  }
  if (place.textContent !== text) place.textContent = text;
}

function startLive() {
  const place = byId('live') ?? byId('lines');
  const kind = document.querySelector('[data-live]')?.dataset.live;
  // A page of older rows stands still.
  if (!place || !byId('pulse') || query.has('cursor')) return;
  let accepted;
  let reading = false;
  let wanted = false;
  // What stands behind a question stays, so that the focus finds back.
  const asks = () => document.querySelector('dialog[open]');
  const read = async () => {
    if (reading || asks()) {
      wanted = true;
      return;
    }
    reading = true;
    try {
      const content = await fragment();
      // Paused meanwhile: whoever goes on reads it.
      if (live.paused || asks()) wanted = true;
      else leftOut(kind, merge(place, content, kind));
    } catch {
      tellPulse('stale');
    }
    setTimeout(() => {
      reading = false;
      again();
    }, READ_EVERY);
  };
  const again = () => {
    if (!wanted || live.paused) return;
    wanted = false;
    read();
  };
  on(document, 'close', again, true);
  // What the pulse counts is what comes to the source, whatever else is asked for.
  const isCounted = kind === 'events' && !query.get('q') && !query.get('since');
  const leftOut = (kind, { fresh, last }) => {
    const skipped = Math.max(0, live.came - fresh);
    live.came = 0;
    if (!isCounted || fresh < DRAWN_MAX || skipped === 0) return;
    // They stay missing, and are said to, until all of it is read anew.
    live.skipped += skipped;
    const cell = make('td');
    [cell.colSpan, cell.textContent] = [last.children.length, says.gap(skipped)];
    const row = make('tr');
    [row.className, row.title] = ['gap', says.leftOut(skipped)];
    row.append(cell);
    last.after(row);
    tellLeftOut(says.leftOut(live.skipped));
  };
  const tellLeftOut = (text) => {
    const words = byId('left-out');
    if (!words) return;
    [words.hidden, words.textContent] = [text === '', text];
    if (text) announce(text);
  };
  listen((pulse, how, moved) => {
    if (pulse) {
      live.since = now();
      const source = query.get('source');
      const sum = source ? pulse.sources.find(({ name }) => name === source)?.accepted ?? 0 : pulse.accepted;
      if (accepted !== undefined) live.came += Math.max(0, sum - accepted);
      accepted = sum;
    }
    tellPulse(how);
    if (live.paused && live.came > 0) tellLeftOut(isCounted ? says.waiting(live.came) : says.more);
    if (moved && !live.paused && !document.hidden) read();
  });
  on(document, 'visibilitychange', () => {
    if (!document.hidden && !live.paused) read();
  });
  setInterval(() => tellTimes(document), 1000);
  const button = byId('pause');
  live.toggle = () => {
    live.paused = !live.paused;
    button.textContent = live.paused ? says.goOn : says.pause;
    tellPulse('live');
    if (live.paused) return;
    tellLeftOut(live.skipped > 0 ? says.leftOut(live.skipped) : '');
    read();
  };
  button.hidden = false;
  on(button, 'click', live.toggle);
}

// Opens what a row leads to, and goes on with the newest if that is followed.
function openRow(link) {
  const url = new URL(link.href);
  if (live.follow) url.searchParams.set('follow', '1');
  location.assign(url);
}

// Brings rows up to date in place: known ones by their id, new ones on top, none moves. Gives how many were new, and the last of them.
// What is no longer in the list, as one that was waiting and is delivered, stays where it is and says so.
function merge(place, content, kind) {
  const shown = content.querySelector('#lines') ?? content;
  if (kind === 'overview') {
    patch(place, content);
    return { fresh: 0 };
  }
  const rows = [...shown.querySelectorAll('tr[id]')];
  const there = new Set(rows.map(({ id }) => id));
  let [fresh, last] = [0, null];
  let before = place.firstElementChild;
  for (const row of rows) {
    const known = byId(row.id);
    if (known && place.contains(known)) {
      known.classList.remove('gone');
      update(known, row);
      before = known.nextElementSibling;
    } else {
      row.classList.add('new');
      place.insertBefore(row, before);
      [fresh, last] = [fresh + 1, row];
    }
  }
  // Those below what was read are as they were, unless it was read to its end.
  const oldest = rows.length < DRAWN_MAX ? null : byId(rows.at(-1).id);
  for (let row = place.firstElementChild; row && row !== oldest; row = row.nextElementSibling) {
    if (!row.id || there.has(row.id)) continue;
    row.classList.add('gone');
    row.title = says.gone;
  }
  while (place.children.length > ROWS_MAX) place.lastElementChild.remove();
  if (fresh > 0 && byId('empty')) byId('empty').hidden = true;
  const newest = place.querySelector('a.whole');
  if (fresh > 0 && live.follow && newest) openRow(newest);
  return { fresh, last };
}

// Replaces the cells that differ, and never the one that has the focus.
function update(known, row) {
  // What is moved out of a row is gone from its children.
  const fresh = [...row.children];
  for (const [at, cell] of [...known.children].entries()) {
    const other = fresh[at];
    if (other && other.innerHTML !== cell.innerHTML && !cell.contains(document.activeElement)) cell.replaceWith(other);
  }
}

// The same for a tree whose shape stays: only what differs is replaced.
function patch(old, fresh) {
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

// ---- Keys ----

function bindKeys() {
  if (root.dataset.keys !== 'on') return;
  let before = '';
  const places = { o: '', e: 'events', d: 'deliveries', x: 'dead', w: 'why', a: 'audit' };
  const links = () => [...document.querySelectorAll('#lines a.whole')];
  const move = (by) => {
    const all = links();
    const at = all.indexOf(document.activeElement);
    all[Math.min(all.length - 1, Math.max(0, at + by))]?.focus();
  };
  const does = {
    '/': () => byId('find')?.focus(),
    j: () => move(1),
    k: () => move(-1),
    Escape: () => byId('close')?.click(),
    p: () => live.toggle?.(),
    r: () => byId('replay')?.elements[0].focus(),
    f: () => {
      live.follow = !live.follow;
      const [newest] = links();
      if (live.follow && newest) return openRow(newest);
      const url = new URL(location.href);
      url.searchParams.delete('follow');
      history.replaceState(null, '', url);
    },
  };
  on(document, 'keydown', (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (target.closest('input, select, textarea, dialog')) {
      if (key === 'Escape') target.blur();
      return;
    }
    const goes = before === 'g' && Object.hasOwn(places, key);
    before = key;
    if (goes) location.assign(base + places[key]);
    else if (Object.hasOwn(does, key)) {
      event.preventDefault();
      does[key]();
    }
  });
}

// ---- Start ----

byId('zone')?.replaceChildren(says.zone(zone));
tellTimes(document);
bindLogin();
bindMe();
bindUsers();
bindDeliveries();
bindDead();
bindKeys();
startLive();
// Now each of them is heard.
for (const button of document.querySelectorAll('button:disabled')) button.disabled = false;
