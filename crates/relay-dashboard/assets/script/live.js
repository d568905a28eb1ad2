// Lists and the overview, which are live.

import { fragment, patch } from './fragment.js';
import { byId, byKey, elapsed, links, make, on, query, span } from './page.js';
import { listen } from './pulse.js';

const saysOfLive = {
  live: 'live',
  polling: 'live, every 2 s',
  paused: 'paused',
  stale: (since) => `not updated for ${since}`,
  away: 'the server does not answer',
  leftOut: (count) => `${count} more came in and are not drawn. Reload for all.`,
  gap: (count) => `${count} not drawn`,
  waiting: (count) => `${count} came in while paused.`,
  more: 'More came in while paused.',
  gone: 'no longer in this list',
  pause: 'Pause',
  goOn: 'Go on',
};

const ROWS_MAX = 200;
const DRAWN_MAX = 50;
const SHOWN_AS_NEW_MAX = 5;
const READ_EVERY = 250;
const ANNOUNCE_EVERY = 10000;

export const live = { paused: false, follow: query.has('follow'), came: 0, skipped: 0, since: elapsed() };

// To whoever listens to the page: the last of what there is to say, and not all the time.
function announce(text) {
  const place = byId('announced');
  if (!place) return;
  const due = announce.due !== undefined;
  announce.text = text;
  if (due) return;
  const wait = Math.max(0, (announce.last ?? -ANNOUNCE_EVERY) + ANNOUNCE_EVERY - elapsed());
  announce.due = setTimeout(() => {
    [announce.due, announce.last] = [undefined, elapsed()];
    if (place.textContent !== announce.text) place.textContent = announce.text;
  }, wait);
}

export function tellPulse(how) {
  const place = byId('pulse');
  if (!place) return;
  const is = live.paused ? 'paused' : how;
  const text = is === 'stale' ? saysOfLive.stale(span((elapsed() - live.since) / 1000)) : saysOfLive[is];
  if (place.dataset.is !== is) {
    place.dataset.is = is;
    announce(is === 'stale' ? saysOfLive.away : saysOfLive[is]);
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
      else {
        leftOut(kind, merge(place, content, kind));
        while (place.children.length > ROWS_MAX) place.lastElementChild.remove();
      }
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
    [cell.colSpan, cell.textContent] = [last.children.length, saysOfLive.gap(skipped)];
    const row = make('tr');
    [row.className, row.title] = ['gap', saysOfLive.leftOut(skipped)];
    row.append(cell);
    last.after(row);
    tellLeftOut(saysOfLive.leftOut(live.skipped));
  };
  const tellLeftOut = (text) => {
    const words = byId('left-out');
    if (!words) return;
    [words.hidden, words.textContent] = [text === '', text];
    if (text) announce(text);
  };
  listen((pulse, how, moved) => {
    if (pulse) {
      live.since = elapsed();
      const source = query.get('source');
      const sum = source ? pulse.sources.find(({ name }) => name === source)?.accepted ?? 0 : pulse.accepted;
      if (accepted !== undefined) live.came += Math.max(0, sum - accepted);
      accepted = sum;
    }
    tellPulse(how);
    if (live.paused && live.came > 0) tellLeftOut(isCounted ? saysOfLive.waiting(live.came) : saysOfLive.more);
    if (moved && !live.paused && !document.hidden) read();
  });
  on(document, 'visibilitychange', () => {
    if (!document.hidden && !live.paused) read();
  });
  const button = byId('pause');
  live.toggle = () => {
    live.paused = !live.paused;
    button.textContent = live.paused ? saysOfLive.goOn : saysOfLive.pause;
    tellPulse('live');
    if (live.paused) return;
    tellLeftOut(live.skipped > 0 ? saysOfLive.leftOut(live.skipped) : '');
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
  // Where many come at once none is shown to be new: all would be.
  const areFew = rows.filter(({ id }) => !byId(id)).length <= SHOWN_AS_NEW_MAX;
  let [fresh, last] = [0, null];
  let before = place.firstElementChild;
  for (const row of rows) {
    const known = byId(row.id);
    if (known && place.contains(known)) {
      known.classList.remove('gone');
      update(known, row);
      before = known.nextElementSibling;
    } else {
      row.classList.toggle('new', areFew);
      place.insertBefore(row, before);
      [fresh, last] = [fresh + 1, row];
    }
  }
  // Those below what was read are as they were, unless it was read to its end.
  const oldest = rows.length < DRAWN_MAX ? null : byId(rows.at(-1).id);
  for (let row = place.firstElementChild; row && row !== oldest; row = row.nextElementSibling) {
    if (!row.id || there.has(row.id)) continue;
    row.classList.add('gone');
    row.title = saysOfLive.gone;
  }
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

byKey.p = () => live.toggle?.();
byKey.f = () => {
  live.follow = !live.follow;
  const [newest] = links();
  if (live.follow && newest) return openRow(newest);
  const url = new URL(location.href);
  url.searchParams.delete('follow');
  history.replaceState(null, '', url);
};
startLive();
