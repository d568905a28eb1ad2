// Signing in.

import { Refused, bind, field, say, send } from './ask.js';
import { base, byId, isOurs, query } from './page.js';

const saysOfLogin = { over: 'This link was used already, or is over. crm-relay dashboard prints another.' };

// Only a path of this site, whoever wrote it. Where on a page it leads the browser keeps on the way here.
function next() {
  const wanted = query.get('next');
  if (!wanted || !isOurs(wanted)) return base;
  const url = new URL(wanted, location.href);
  // Secrets are shown to who asks for them, not to who made the link.
  url.searchParams.delete('reveal');
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
    say(byId('login-said'), error instanceof Refused ? error.message : saysOfLogin.over);
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

bindLogin();
