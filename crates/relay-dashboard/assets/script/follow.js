// The event that is open: what becomes of it, its views, and what is copied of it.

import { bind, bindCopy, say, toClipboard } from './ask.js';
import { fragment, patch } from './fragment.js';
import { live, tellPulse } from './live.js';
import { base, byId, byKey, elapsed, on } from './page.js';
import { listen } from './pulse.js';

const saysOfEvent = {
  copied: 'Copied: set TARGET to where it shall go.',
};

const FOLLOW_EVERY = 1000;
const FOLLOW_SELDOM = 10000;

const views = () => [...(byId('views')?.querySelectorAll('a') ?? [])];

function followEvent() {
  const acts = byId('acts');
  if (!acts) return;
  const event = `${base}events/${acts.dataset.event}`;
  // Beside a list the list says how old it is.
  const alone = !byId('lines');
  let [seen, around, readAt, reading, wanted] = ['', '', now(), false, false];
  const waits = () => reading || live.paused || document.hidden || document.querySelector('dialog[open]');
  const read = async () => {
    wanted = waits();
    if (wanted) return;
    [reading, readAt] = [true, now()];
    try {
      patch(acts, await fragment(event));
    } catch {
      wanted = true;
    }
    setTimeout(() => {
      reading = false;
      again();
    }, FOLLOW_EVERY);
  };
  const again = () => wanted && read();
  on(document, 'close', again, true);
  on(document, 'visibilitychange', again);
  // What the pulse says of the destinations that it goes to; of one that it does not tell of, anything that moves may be it.
  const numbers = (pulse) => {
    const names = new Set([...acts.querySelectorAll('.delivery')].map(({ dataset }) => dataset.destination));
    for (const { value } of byId('replay')?.elements.namedItem('destination')?.options ?? []) if (value) names.add(value);
    if (names.size === 0) return JSON.stringify(pulse);
    const known = pulse.destinations.filter(({ name }) => names.has(name));
    return JSON.stringify(known.length < names.size ? pulse : known);
  };
  listen((pulse, how) => {
    if (alone) {
      if (pulse) live.since = elapsed();
      tellPulse(how);
    }
    const [fresh, all] = pulse ? [numbers(pulse), JSON.stringify(pulse)] : [seen, around];
    // Somebody may have it sent to a destination that it never went to.
    const isDue = all !== around && now() - readAt > FOLLOW_SELDOM;
    if (fresh !== seen || isDue) {
      [seen, around] = [fresh, all];
      read();
    } else again();
  });

  const said = byId('act-said');
  for (const box of document.querySelectorAll('.copies')) bindCopy(box, said);
  bind(byId('curl'), 'click', said, async () => {
    const shown = byId('command') ?? (await fragment(`${event}?view=curl`)).querySelector('code');
    await toClipboard(shown.textContent);
    say(byId('act-done'), saysOfEvent.copied);
  });
}

for (const at of [1, 2, 3]) byKey[at] = () => views()[at - 1]?.click();
byKey.c = () => byId('curl')?.click();
followEvent();
