// Requests that change something, and what is asked before and said after.

import { api, byId, make, on, reload } from './page.js';

const saysOfAsking = {
  away: 'the server does not answer',
  lost: 'The server does not answer: nobody knows whether it was done. Reload to see.',
  copy: 'Copy',
  copied: 'Copied',
  notCopied: 'The browser does not copy it: select it.',
};

// `status`: what the server answered; none: nobody knows what came of it.
export class Refused extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

export function refuse(text, status) {
  throw new Refused(text, status);
}

export async function send(method, path, value) {
  const asked = { method, headers: { 'Content-Type': 'application/json' }, cache: 'no-store' };
  if (value !== undefined) asked.body = JSON.stringify(value);
  let answer;
  try {
    answer = await fetch(api(path), asked);
  } catch {
    refuse(method === 'GET' ? saysOfAsking.away : saysOfAsking.lost);
  }
  const text = await answer.text();
  let said;
  try {
    said = text ? JSON.parse(text) : {};
  } catch {
    said = {};
  }
  if (!answer.ok) refuse(said.detail || said.title || `${answer.status}`, answer.status);
  return said;
}

// Runs what a click or a form asks for, once at a time, and says in `place` why it was not done.
export function bind(element, event, place, run) {
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

export function say(place, text) {
  place.hidden = text === '' && !place.closest('.alone');
  place.textContent = text;
}

export const field = (form, name) => form.elements.namedItem(name)?.value ?? '';

// Asks before what cannot be taken back.
export function sure(words) {
  const dialog = byId('sure');
  byId('sure-words').textContent = words;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => on(dialog, 'close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}

// Draws the page anew, at what came of it, which is said there in words.
export function standAt(id, words) {
  const url = new URL(location.href);
  url.hash = id ?? '';
  history.replaceState({ words }, '', url);
  reload();
}

function tellWhatCame() {
  const place = byId('act-done');
  const { words } = history.state ?? {};
  if (!place || !words) return;
  say(place, words);
  history.replaceState(null, '');
}

export async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    refuse(saysOfAsking.notCopied);
  }
}

// What stands there is copied by the button beside it.
export function bindCopy(box, said) {
  const [code, button] = [box.querySelector('code'), box.querySelector('button')];
  bind(button, 'click', said, async () => {
    await toClipboard(code.textContent);
    button.textContent = saysOfAsking.copied;
  });
  // Another text is not what was copied.
  new MutationObserver(() => (button.textContent = saysOfAsking.copy)).observe(code, { childList: true });
}

// Adds what is shown once to a list of names and values. It goes with the page, whatever the browser keeps of that.
export function showOnce(list, name, value, said) {
  const [term, place, code, button] = ['dt', 'dd', 'code', 'button'].map(make);
  term.textContent = name;
  code.textContent = value;
  [button.type, button.textContent] = ['button', saysOfAsking.copy];
  button.setAttribute('aria-label', `${saysOfAsking.copy}: ${name}`);
  place.className = 'once';
  place.append(code, button);
  list.append(term, place);
  bindCopy(place, said);
  on(window, 'pagehide', () => code.replaceChildren());
}

tellWhatCame();
