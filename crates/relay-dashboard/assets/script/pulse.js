// The pulse: one stream a browser, shared by its tabs.

import { api, elapsed, on, reload } from './page.js';

const LOOK_EVERY = 500;
const POLL_EVERY = 2000;
// Whoever hears nothing has asked within five seconds.
const SILENT_MAX = 4500;
const OPEN_AGAIN = 5000;

// Whoever listens on this page.
const listeners = [];

// Tells `heard` of each message, wherever it came from: the stream of this tab, that of another, or a question every two seconds.
export function listen(heard) {
  listeners.push(heard);
  if (listeners.length === 1) hear((...what) => listeners.forEach((each) => each(...what)));
}

function hear(heard) {
  const channel = new BroadcastChannel('relay-pulse');
  let [last, asked] = [elapsed(), 0];
  let seen = '';
  let stream;
  // While a page is left its last message and its last answer still come: nobody is told of them by a channel that is closed.
  let left = false;
  const tell = (message) => {
    if (!left) channel.postMessage(message);
  };
  const take = (text, how) => {
    last = elapsed();
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
    asked = elapsed();
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
      if (elapsed() - last >= SILENT_MAX) heard(null, 'stale', false);
    }
  };
  // A proxy that holds back streams: ask instead.
  setInterval(() => {
    if (!document.hidden && elapsed() - last >= SILENT_MAX && elapsed() - asked >= POLL_EVERY) ask();
  }, LOOK_EVERY);
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
