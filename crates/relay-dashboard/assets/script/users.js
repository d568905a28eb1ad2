// The users.

import { bind, bindCopy, field, send, sure } from './ask.js';
import { base, byId, inUrl, on, reload } from './page.js';

const saysOfUser = {
  link: (name) => `Link for ${name}`,
  reset: (name) => `Take the password and the sessions of ${name}, and show a link to come in by?`,
  disable: (name) => `End the sessions of ${name} and let nobody in by that name?`,
};

function showLink(name, { link }) {
  if (!link) return;
  byId('link-words').textContent = saysOfUser.link(name);
  const url = new URL(link, location.origin);
  // Without ADMIN_URL the server knows of no other way to it than from its own machine.
  if (['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)) url.href = new URL(`${base}login${url.hash}`, location.origin).href;
  byId('link').textContent = url.href;
  byId('link-box').hidden = false;
  byId('link-box').scrollIntoView({ block: 'nearest' });
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
      if (await sure(saysOfUser.reset(user.name))) showLink(user.name, await send('POST', `${user.path}/link`));
      return;
    }
    const disabled = button.name === 'disable';
    if (disabled && !(await sure(saysOfUser.disable(user.name)))) return;
    await send('PATCH', user.path, { disabled });
    reload();
  });
  // A key that moves through the roles gives nobody one.
  on(byId('users'), 'change', ({ target }) => {
    if (target.name === 'role') target.closest('tr').querySelector('button[name=save]').hidden = false;
  });
}

bindUsers();
bindCopy(byId('link-box'), byId('users-said'));
