// The event that is open: what becomes of it, its views, and what is copied of it.

import { bind, bindCopy, refuse, say, toClipboard } from './ask.js';
import { fragment, patch } from './fragment.js';
import { live, tellPulse } from './live.js';
import { base, byId, byKey, elapsed, on } from './page.js';
import { listen } from './pulse.js';

const saysOfEvent = {
  copied: 'Copied: set TARGET to where it shall go.',
  noCommand: (why) => `Nothing is copied: the command did not come (${why}).`,
};

const FOLLOW_EVERY = 1000;
const ELSEWHERE_EVERY = 5000;

const views = () => [...(byId('views')?.querySelectorAll('a') ?? [])];

function followEvent() {
  const acts = byId('acts');
  if (!acts) return;
  const event = `${base}events/${acts.dataset.event}`;
  // Beside a list the list says how old it is.
  const alone = !byId('lines');
  let [seen, reading, wanted] = ['', false, false];
  let [latest, shown, shownAt] = ['', '', 0];
  const waits = () => reading || live.paused || document.hidden || document.querySelector('dialog[open]');
  const read = async () => {
    wanted = waits();
    if (wanted) return;
    reading = true;
    [shown, shownAt] = [latest, elapsed()];
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
  // What the pulse says of the destinations that it goes to; of one that it does not tell of, and where it goes nowhere yet, anything that
  // moves may be it.
  const numbers = (pulse) => {
    const names = new Set([...acts.querySelectorAll('.delivery')].map(({ dataset }) => dataset.destination));
    const known = pulse.destinations.filter(({ name }) => names.has(name));
    return JSON.stringify(names.size === 0 || known.length < names.size ? pulse : known);
  };
  listen((pulse, how) => {
    if (alone) {
      if (pulse) live.since = elapsed();
      tellPulse(how);
    }
    if (pulse) latest = JSON.stringify(pulse);
    const fresh = pulse ? numbers(pulse) : seen;
    // It may be replayed to somewhere else: for that whatever moves is looked at now and then.
    const elsewhere = latest !== shown && elapsed() - shownAt >= ELSEWHERE_EVERY;
    if (fresh !== seen || elsewhere) {
      seen = fresh;
      read();
    } else again();
  });

  const said = byId('act-said');
  for (const box of document.querySelectorAll('.copies')) bindCopy(box, said);
  bind(byId('curl'), 'click', said, async () => {
    const asked = async () => (await fragment(`${event}?view=curl`)).querySelector('code');
    const shown = byId('command') ?? (await asked().catch(({ message }) => refuse(saysOfEvent.noCommand(message))));
    await toClipboard(shown.textContent);
    say(byId('act-done'), saysOfEvent.copied);
  });
}

for (const at of [1, 2, 3]) byKey[at] = () => views()[at - 1]?.click();
byKey.c = () => byId('curl')?.click();
followEvent();
