// The viewer himself.

import { bind, field, send } from './ask.js';
import { base, byId, inUrl, reload } from './page.js';

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


bindMe();
