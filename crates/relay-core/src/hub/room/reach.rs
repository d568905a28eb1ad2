//! Reach: how much of what is out for a client its link takes in [`limits::REACH_SPAN`].
//!
//! Nothing is known of a client at first, and then all is within its reach. It is looked at while somebody waits for room that
//! others have: what the client has taken since it was looked at last, while something was in line for it, tells the reach, down
//! to nothing. It grows with whatever is taken faster than that: at least to twice what went at once.
//!
//! What is beyond their reach has, for all clients together, half of the room. So those within theirs have the other half at the
//! least, and what is out for these comes back within the span, or is beyond their reach when they are looked at next.

use std::time::Duration;

use super::{Asks, Bulk, ClientAccount, Kind, Pair, Room, Short, Taken, for_large};
use crate::{id::InstanceId, limits, time::Mono};

/// What is known of a client's link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    bytes: u64,
    /// Bytes that are in line for it.
    lined: u64,
    /// Since when something is, or when it was looked at last, and what it has taken since.
    since: Mono,
    taken: u64,
}

impl Default for Reach {
    fn default() -> Self {
        Self { bytes: u64::MAX, lined: 0, since: Mono::default(), taken: 0 }
    }
}

impl Reach {
    /// What it takes in the span, by what it took in this one.
    fn by(self, span: Duration) -> u64 {
        let reach = u128::from(self.taken) * limits::REACH_SPAN.as_micros() / span.as_micros().max(1);
        u64::try_from(reach).unwrap_or(u64::MAX)
    }

    /// So much is in line.
    fn line_up(&mut self, size: u64, now: Mono) {
        if self.lined == 0 {
            (self.since, self.taken) = (now, 0);
        }
        self.lined += size;
    }

    /// So much is not any more. A client that took all of it may reach further than was known.
    fn unline(&mut self, size: u64, now: Mono) {
        self.lined -= size;
        if self.lined == 0 {
            let span = now.since(self.since);
            // In less time than that, what lies between may have taken it.
            let known = if span < limits::REACH_LOOK / 2 { self.taken.saturating_mul(2) } else { self.by(span) };
            self.bytes = self.bytes.max(known);
        }
    }

    /// It has been looked at for so long: what it took tells.
    fn look(&mut self, now: Mono) {
        let span = now.since(self.since);
        if self.lined > 0 && span >= limits::REACH_LOOK / 2 {
            self.bytes = self.by(span);
            (self.since, self.taken) = (now, 0);
        }
    }

    /// How long a body that is beyond it has its room while others wait for that.
    fn turn(self) -> Duration {
        if self.bytes == 0 { limits::REACH_TURN_STUCK } else { limits::REACH_TURN }
    }
}

impl ClientAccount {
    /// Changes it, and what is beyond the reach of all with it.
    pub(super) fn change(&mut self, all_beyond: &mut Taken, change: impl FnOnce(&mut Self)) {
        let before = self.beyond();
        change(self);
        let after = self.beyond();
        if before != after {
            *all_beyond = all_beyond.without(before);
            all_beyond.add(after);
        }
    }

    /// What is out for it beyond its reach; what is small is within it first.
    pub(super) fn beyond(&self) -> Taken {
        let (small, large) = (self.unsent.small, self.unsent.large);
        let left = self.reach.bytes.saturating_sub(small);
        Taken { small: small.saturating_sub(self.reach.bytes), large: large.saturating_sub(left) }
    }

    /// What would be more of it with so many bytes more.
    pub(super) fn further(&self, bulk: Bulk, size: u64) -> u64 {
        let all = self.unsent.all();
        match bulk {
            Bulk::Small => {
                let small = self.unsent.small;
                small.saturating_add(size).saturating_sub(self.reach.bytes) - small.saturating_sub(self.reach.bytes)
            }
            Bulk::Large => {
                all.saturating_add(size).saturating_sub(self.reach.bytes) - all.saturating_sub(self.reach.bytes)
            }
        }
    }
}

impl Room {
    /// An event was put in line for its client.
    pub(in super::super) fn line_up(&mut self, client: InstanceId, size: u64) {
        let now = self.now;
        self.change_client(client, |client| client.reach.line_up(size, now));
    }

    /// It is in line no more.
    pub(in super::super) fn unline(&mut self, client: InstanceId, size: u64) {
        let now = self.now;
        self.change_client(client, |client| client.reach.unline(size, now));
    }

    /// A client has taken so many bytes of it.
    pub(in super::super) fn took(&mut self, client: InstanceId, bytes: u64) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.reach.taken += bytes;
        }
    }

    /// Whether somebody waits for room that others have.
    pub(in super::super) fn is_contended(&self) -> bool {
        self.short.first_key_value().is_some_and(|(short, _)| short.kind <= Kind::Reach)
    }

    /// From now on clients are looked at.
    pub(in super::super) fn begin_to_look(&mut self) {
        let now = self.now;
        for client in self.clients.values_mut() {
            (client.reach.since, client.reach.taken) = (now, 0);
        }
    }

    /// Looks at all clients. Gives those that have something beyond their reach.
    pub(in super::super) fn look(&mut self) -> Vec<InstanceId> {
        let (now, mut beyond) = (self.now, Taken::default());
        if crate::canary::is("slow_keep_room") {
            return Vec::new(); // Canary: who does not take what he gets must not keep others from theirs.
        }
        let mut theirs = Vec::new();
        for (id, client) in &mut self.clients {
            client.reach.look(now);
            beyond.add(client.beyond());
            if client.beyond().all() > 0 {
                theirs.push(*id);
            }
        }
        self.beyond = beyond;
        self.woken.extend(self.short.keys().filter(|short| short.kind <= Kind::Reach).cloned());
        theirs
    }

    /// Whether a body that is out for so long is beyond its client's reach, and in the way of somebody.
    pub(in super::super) fn is_in_the_way(&self, pair: &Pair, body: u64, out_for: Duration) -> bool {
        let Some(client) = self.clients.get(&pair.0) else { return false };
        if out_for < limits::REACH_LOOK || *client.beyond().of(self.bulk(body)) == 0 {
            return false;
        }
        let waits = |short: Short| [Bulk::Small, Bulk::Large].into_iter().any(|bulk| self.are_short(&short.with(bulk)));
        let had_turn = out_for >= client.reach.turn();
        self.beyond.all() > self.may_be_beyond()
            || waits(Short::of_destination(&pair.1, Bulk::Large))
            || had_turn && waits(Short::of_room(Kind::Reach, Bulk::Large))
    }

    /// Whether a body is within the reach of its client.
    pub(super) fn is_within(&self, client: InstanceId, bulk: Bulk, size: u64) -> bool {
        self.clients.get(&client).is_none_or(|client| client.further(bulk, size) == 0)
    }

    /// Whether what would be out beyond the reach of its client has no room in the part for that.
    pub(super) fn is_held_up_by_reach(&self, bulk: Bulk, client: &ClientAccount, asks: Asks) -> bool {
        let most = self.max / limits::ROOM_REACH_PART;
        let further = client.further(bulk, asks.size);
        let has_part = bulk == Bulk::Small && self.beyond.keeps_room_for(further, most);
        let alone = self.beyond.all() == 0 || self.beyond.is_free_for(further, most);
        let fits = alone || has_part || self.beyond.takes(bulk, further, most);
        !fits || self.would_pass(asks.place, &Short::of_room(Kind::Reach, bulk), has_part)
    }

    /// Changes a client, and what is beyond the reach of all with it.
    pub(super) fn change_client(&mut self, id: InstanceId, change: impl FnOnce(&mut ClientAccount)) {
        self.clients.entry(id).or_default().change(&mut self.beyond, change);
    }

    /// How much may be beyond the reach of clients: less than their part where the first that waits for room needs more than
    /// what that leaves.
    fn may_be_beyond(&self) -> u64 {
        let rest = for_large(self.max - self.kept());
        let short = Short::of_room(Kind::Rest, Bulk::Large);
        let needs =
            self.first_short(&short).filter(|_| self.are_short(&short)).map_or(0, |(_, first)| Asks::of(first).size);
        (self.max / limits::ROOM_REACH_PART).min(rest.saturating_sub(needs))
    }

    /// Whether somebody is short of this still.
    fn are_short(&self, short: &Short) -> bool {
        self.first_short(short)
            .is_some_and(|(at, first)| self.shortage(&at.pair, at.bulk, Asks::of(first)).as_ref() == Some(short))
    }
}
