// Dead letters in groups: a question that is about what was counted, and what came of it.

import { Refused, bind, refuse, say, send } from './ask.js';
import { base, byId, inUrl, make, now, on, reload, told } from './page.js';

const saysOfDead = {
  choose: 'Choose a group first.',
  none: 'None of these is dead any more. Reload.',
  later: (count) => `${count} ended later than the server's clock says, and are left: they are taken by their ids, or when the clock is there.`,
  counting: 'Counting…',
  ask: { redrive: (count) => `Redrive ${count}?`, purge: (count) => `Purge ${count}, for good?` },
  act: { redrive: 'Redrive', purge: 'Purge' },
  of: (count, name) => `${count} of ${name}`,
  did: { redrive: 'redriven', purge: 'purged' },
  done: (done, all, did) => `${done} of ${all} are ${did}.`,
  stopped: (text) => `${text} The rest stays as it is.`,
  stoppedBy: (name, text) => `${text} Stopped by ${name}.`,
  stop: 'Stop',
  goOn: 'Go on',
  mistyped: (count) => `Type ${count}, and they go.`,
  trying: 'Trying one…',
  tried: { delivered: 'It was delivered.', waits: 'It waits: no client took it for half a minute.' },
  failed: (why) => `It failed again: ${why}.`,
  changed: 'It is in another state by now. Reload to see which.',
};

const STEP = 500;
// One is looked at so often; a step that takes less is followed by one of twice as many.
const SOON = 500;
const TRY_FOR = 30000;

// What became of one that was redriven just now, if anybody waits: it ended, or has been tried, or nobody took it.
async function outcomeOf(id, isAwaited) {
  for (const until = now() + TRY_FOR; now() < until && isAwaited();) {
    const { state, reason, tries, last } = await send('GET', `deliveries/${id}`);
    if (state === 'delivered') return saysOfDead.tried.delivered;
    if (tries > 0 || reason) return saysOfDead.failed([reason, last?.status ?? last?.error].filter(Boolean).join(', '));
    await new Promise((later) => setTimeout(later, SOON));
  }
  return saysOfDead.tried.waits;
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
    if (!chosen[0]) refuse(saysOfDead.choose);
    // All that match, drawn or not.
    const groups = every.checked && !boxes(':not(:checked)')[0] ? [] : chosen;
    const filter = Object.entries(place.dataset).filter(([, value]) => value);
    const asked = { ...Object.fromEntries(filter), all: true, groups };
    const path = `dead/${name}`;
    say(page, saysOfDead.counting);
    const { matched, split, as_of: until, preview, job, example, later } = await send('POST', path, { ...asked, dry_run: true });
    if (matched === 0) refuse(later ? saysOfDead.later(later) : saysOfDead.none);
    say(page, '');
    command = { name, path, matched, split, asked: { ...asked, preview, job }, example, limit: STEP, step: STEP };
    byId('bulk-later').textContent = later ? saysOfDead.later(later) : '';
    byId('bulk-words').textContent = saysOfDead.ask[name](matched);
    byId('bulk-split').replaceChildren(...split.map(({ destination, count }) => {
      const line = make('li');
      line.textContent = saysOfDead.of(count, destination);
      return line;
    }));
    const time = byId('bulk-until');
    [time.dateTime, time.textContent] = [until, told(Date.parse(until), 'clock')];
    const purges = name === 'purge';
    byId('bulk-typed').hidden = !purges;
    byId('bulk-count').value = '';
    [one.hidden, run.hidden, run.disabled, leave.textContent] = [purges, false, false, leaves];
    [run.textContent, run.className] = [`${saysOfDead.act[name]} ${matched}`, purges ? 'danger' : 'main'];
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
      // What was refused before its first step has changed nothing, and would be again.
      const isRefused = error.status >= 400 && error.status < 500;
      if (isRefused && !mine.done && mine.broke) mine.broke = false;
      else if (mine.broke && isOpen()) [run.hidden, run.textContent, leave.textContent] = [false, saysOfDead.goOn, leaves];
    }
    if (isOpen()) run.disabled = false;
    if (isOpen() && !mine.broke) leave.textContent = leaves;
    mine.busy = false;
  });
  act(one, async ({ path, example }, tell, isOpen) => {
    [one.hidden, run.disabled] = [true, true];
    leave.focus();
    tell(saysOfDead.trying);
    const { changed } = await send('POST', path, { ids: [example] });
    const came = changed ? await outcomeOf(example, isOpen) : saysOfDead.changed;
    if (isOpen()) tell(came);
  });
  act(run, async (mine, tell, isOpen) => {
    const { name, path, matched, split, asked } = mine;
    if (name === 'purge' && byId('bulk-count').value.trim() !== `${matched}`) refuse(saysOfDead.mistyped(matched));
    [run.hidden, one.hidden, leave.textContent, mine.broke] = [true, true, saysOfDead.stop, true];
    dialog.focus();
    while (isOpen()) {
      const began = now();
      const { changed, next, stopped_by: by } = await send('POST', path, { ...asked, limit: mine.limit });
      mine.done = saysOfDead.done(changed, matched, saysOfDead.did[name]);
      tell(by ? saysOfDead.stoppedBy(by, mine.done) : mine.done);
      if (by) return isOpen() && (leave.textContent = leaves);
      if (!next) {
        mine.broke = false;
        // Whoever left the question may be at another one.
        if (!isOpen()) return;
        // At what came of it.
        const [only, other] = split;
        return name === 'purge' ? reload()
          : location.assign(`${base}deliveries${other ? '' : `?destination=${inUrl(only.destination)}`}`);
      }
      if (now() - began < SOON) mine.step *= 2;
      mine.limit += mine.step;
    }
    tell(saysOfDead.stopped(mine.done));
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

bindDead();
