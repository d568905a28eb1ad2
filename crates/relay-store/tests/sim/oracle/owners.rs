//! Several servers: who may end a lease, where clients are, what two of them decide about one event, and which no is a no.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_core::{
    delivery::{Change, Delivery, State, Token},
    hub::Answer,
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    storage::{Extend, Replay},
    time::Wall,
    wire::codec::LeaseKey,
};
use relay_store::memory::MemoryStore;

use super::{Oracle, is_unreported};
use crate::{plan::Plan, several::CLOCKS_APART};

/// Who said Hello, and may have things decided about it by whoever heard that, for so long and the time that a store takes.
const GREETED: Duration = limits::CLAIM_WITHIN.saturating_add(Duration::from_secs(5));

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// There are several.
    several: bool,
    /// Who keeps each lease: it was leased or adopted there last.
    keepers: BTreeMap<LeaseKey, u64>,
    /// Whose each lease is.
    lessees: BTreeMap<LeaseKey, InstanceId>,
    /// When each instance last said Hello at each server.
    greeted: BTreeMap<(InstanceId, u64), Wall>,
    /// Where it did last.
    latest: BTreeMap<InstanceId, u64>,
    /// Clients that everybody but the present server is known to have.
    elsewhere: BTreeSet<InstanceId>,
    /// By how many microseconds the clock of each server is ahead.
    ahead: BTreeMap<u64, i64>,
    /// When something was last delivered at each destination, by the true time.
    delivered: BTreeMap<Name, Wall>,
    /// The same of the last try of each delivery.
    tried: BTreeMap<DeliveryId, Wall>,
    /// What the present replay was decided on is no more so.
    is_late: bool,
    /// Webhooks of which it was not certain once whether they are stored.
    uncertain: BTreeSet<usize>,
}

impl Owners {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { several: plan.servers > 1, ..Self::default() }
    }

    pub(super) fn several(&self) -> bool {
        self.several
    }

    pub(super) fn leased(&mut self, run: u64, deliveries: &[Delivery]) {
        for delivery in deliveries.iter().filter(|_| self.several) {
            if let Some(lease) = delivery.lease {
                self.keepers.insert((delivery.id, delivery.token), run);
                self.lessees.insert((delivery.id, delivery.token), lease.instance);
            }
        }
    }

    pub(super) fn delivered(&mut self, run: u64, destination: &Name, wall: Wall) {
        let true_time = self.true_time(run, wall);
        let at = self.delivered.entry(destination.clone()).or_insert(true_time);
        *at = true_time.max(*at);
    }

    /// A try was judged at that moment.
    pub(super) fn tried(&mut self, run: u64, id: DeliveryId, at: Wall) {
        let true_time = self.true_time(run, at);
        self.tried.insert(id, true_time);
    }

    fn true_time(&self, run: u64, wall: Wall) -> Wall {
        Wall::from_micros(wall.as_micros() - self.ahead.get(&run).copied().unwrap_or_default())
    }
}

impl Oracle {
    /// An instance says Hello to the server whose turn it is.
    pub(crate) fn greets(&mut self, instance: InstanceId, wall: Wall) {
        self.owners.greeted.insert((instance, self.run), wall);
        self.owners.latest.insert(instance, self.run);
    }

    /// The clock of a server that starts is ahead by so many microseconds.
    pub(crate) fn clock_is_ahead(&mut self, run: u64, by: i64) {
        self.owners.ahead.insert(run, by);
    }

    /// These are at other servers than the one whose turn it is, which it must know by now.
    pub(crate) fn are_elsewhere(&mut self, elsewhere: BTreeSet<InstanceId>) {
        self.owners.elsewhere = elsewhere;
    }

    /// A server ended without an answer to it.
    pub(crate) fn is_uncertain(&mut self, number: usize) {
        self.owners.uncertain.insert(number);
    }

    /// I7, I8: who keeps a lease ends it, or whoever its client has come to; all others once it has lapsed.
    pub(super) fn check_keeper(&mut self, change: &Change, wall: Wall) {
        let Change { before, next, .. } = change;
        let key = (next.id, before.token);
        if !self.owners.several || before.state != State::Leased {
            return;
        }
        if next.state == State::Leased && next.losses == before.losses {
            self.owners.keepers.insert(key, self.run);
            return;
        }
        let Some(lease) = before.lease.filter(|_| is_unreported(change)) else { return };
        let run = self.run;
        let keeps = self.owners.keepers.get(&key) == Some(&run);
        let lapsed = lease.until + limits::LAPSE_AFTER <= wall;
        let greeted = self.owners.greeted.get(&(lease.instance, run)).is_some_and(|at| *at + GREETED > wall);
        let is_there = self.owners.latest.get(&lease.instance) == Some(&run);
        self.check(keeps || lapsed || greeted || is_there, "I8", || {
            format!("{} is taken from its client by server {run}, which does not keep it: {before:?}", next.id)
        });
    }

    /// I8: who keeps a lease moves its end.
    pub(super) fn check_extends(&mut self, extend: &Extend) {
        let run = self.run;
        let keeps = self.owners.keepers.get(&(extend.id, extend.claim.token)) == Some(&run);
        self.check(keeps || !self.owners.several, "I8", || {
            format!("server {run} moves the end of a lease of {} that it does not keep", extend.id)
        });
    }

    /// I11: a loss is none if its client is elsewhere.
    pub(super) fn check_nowhere(&mut self, before: &Delivery, wall: Wall) {
        let (id, owners) = (before.id, &self.owners);
        let Some(book) = self.books.get(&id).filter(|_| owners.several) else { return };
        let over = book.lease_ends.iter().filter(|(_, until)| **until <= wall);
        let mut lessees = over.filter_map(|(token, _)| owners.lessees.get(&(id, *token))).peekable();
        let elsewhere = lessees.peek().is_some() && lessees.all(|lessee| owners.elsewhere.contains(lessee));
        self.check(!elsewhere, "I11", || format!("{id}: a loss was counted though its client is at another server"));
    }

    /// Whether clocks are apart, and its target took another since its last try by one of them: the moment of a try may be that of
    /// another server.
    pub(super) fn served_by_some_clock(&self, before: &Delivery) -> bool {
        let last = self.owners.tried.get(&before.id).filter(|_| self.owners.ahead.values().any(|by| *by != 0));
        let served = self.owners.delivered.get(&before.destination);
        last.zip(served).is_some_and(|(last, at)| *at + CLOCKS_APART > *last)
    }

    /// I11: what hangs one event is an outage unless its target takes another, as far as two clocks tell.
    pub(super) fn check_served_since(&mut self, before: &Delivery) {
        let Some(last) =
            self.owners.tried.get(&before.id).copied().filter(|_| self.owners.several && before.last.is_some())
        else {
            return;
        };
        let served = self.owners.delivered.get(&before.destination).is_some_and(|at| *at + CLOCKS_APART > last);
        self.check(served, "I11", || {
            format!("{} was charged as busy though nothing was delivered since {last}", before.id)
        });
    }

    /// Whether its client has said how a try under this lease ended.
    pub(super) fn was_reported(&self, id: DeliveryId, token: Token) -> bool {
        self.reported.iter().any(|(key, _)| *key == (id, token))
    }

    /// I20: what was decided on other deliveries than there are is not stored.
    pub(super) fn is_decided_on_what_is(&mut self, replay: &Replay, store: &MemoryStore) -> bool {
        let Some(first) = replay.made.first() else { return true };
        let known: Vec<Delivery> = store.deliveries().into_iter().filter(|found| found.event == first.event).collect();
        let is_done = replay.made.iter().all(|made| known.iter().any(|known| known.id == made.id));
        let is_so = replay.decided_on.is_none_or(|count| count as usize == known.len());
        self.owners.is_late = !is_done && !is_so && !known.is_empty();
        is_so
    }

    /// It was stored.
    pub(super) fn check_decided_on(&mut self) {
        let late = self.owners.is_late;
        self.check(!late, "I20", || "a resend was stored that was decided on what is no more so".to_owned());
    }

    /// I2: what is refused for sure is not stored. `alone`: it is not under way elsewhere.
    pub(crate) fn refused(&mut self, number: usize, alone: bool, answer: &Answer, store: &MemoryStore) {
        match answer {
            Answer::Accepted { .. } => return,
            Answer::Unavailable => return self.is_uncertain(number),
            Answer::NotStored(_) | Answer::Busy | Answer::Full | Answer::Stopping => {}
        }
        if !alone || !self.owners.several || self.owners.uncertain.contains(&number) {
            return;
        }
        let text = number.to_string();
        let is_of = |headers: &[(bytes::Bytes, bytes::Bytes)]| {
            headers.iter().any(|(name, value)| &name[..] == b"x-number" && &value[..] == text.as_bytes())
        };
        let stored = self
            .events
            .values()
            .find(|event| is_of(&event.headers) && !self.promised.contains(&event.id) && store.holds_event(event.id));
        let stored = stored.map(|event| event.id);
        self.check(stored.is_none(), "I2", || {
            format!("{stored:?} is stored, and its sender heard for sure that it is not")
        });
    }
}
