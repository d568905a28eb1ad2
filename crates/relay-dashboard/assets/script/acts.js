// What becomes of deliveries, and of destinations.

import { bind, field, refuse, say, send, standAt, sure } from './ask.js';
import { byId, byKey, inUrl } from './page.js';

const saysOfActs = {
  changed: 'It is in another state by now. Reload to see which.',
  replayed: (names) => `Replayed to ${names.join(', ')}: what comes of it stands below.`,
  redrive: (name) => `It goes to ${name} again: its tries and its time to live start anew.`,
  cancel: (name) => `It is not tried at ${name} any more.`,
  pause: (name) => `Nothing more of ${name} is handed out.`,
  counting: 'Counting everything that is stored…',
  agrees: 'Counted anew: what is stored is what the numbers say.',
  differs: 'Counted anew: what is stored is not what the numbers say. crm-relay audit says where.',
  resume: (name) => `What waits for ${name} goes on.`,
};

function bindDeliveries() {
  const said = byId('act-said');
  const replay = byId('replay');
  bind(replay, 'submit', said, async () => {
    if (!(await sure(replay.dataset.sure))) return;
    const { deliveries } = await send('POST', `events/${replay.dataset.event}/replay`, { destination: field(replay, 'destination') || null });
    standAt(deliveries[0]?.id, saysOfActs.replayed(deliveries.map(({ destination }) => destination)));
  });
  bind(byId('acts'), 'click', said, async ({ target }) => {
    const button = target.closest('button');
    const { id, dataset } = target.closest('.delivery') ?? {};
    if (!button || !id || !(await sure(button.dataset.sure))) return;
    const path = button.name === 'redrive' ? 'dead/redrive' : 'deliveries/cancel';
    const { changed } = await send('POST', path, { ids: [id] });
    if (changed === 0) refuse(saysOfActs.changed);
    standAt(id, saysOfActs[button.name](dataset.destination));
  });
  for (const place of [byId('live'), byId('destination')]) bind(place, 'click', said, async ({ target }) => {
    const button = target.closest('button');
    const { id } = target.closest('[id^=d-]') ?? {};
    if (!button || !id?.startsWith('d-') || (button.name === 'pause' && !(await sure(button.dataset.sure)))) return;
    const [name, does] = [id.slice(2), button.name === 'pause' ? 'pause' : 'resume'];
    await send('POST', `destinations/${inUrl(name)}/${does}`);
    standAt(id, saysOfActs[does](name));
  });
}

bind(byId('live'), 'click', byId('act-said'), async ({ target }) => {
  if (target.closest('button')?.name !== 'recount') return;
  say(byId('act-done'), saysOfActs.counting);
  const { ok } = await send('GET', 'audit');
  standAt('sums', ok ? saysOfActs.agrees : saysOfActs.differs);
});
byKey.r = () => byId('replay')?.elements[0].focus();
bindDeliveries();
