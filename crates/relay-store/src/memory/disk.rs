//! What a memory store holds, its indexes, and the commits that change it. No method here can fail half way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use relay_core::{
    delivery::{self, Attempt, Change, Delivery, State},
    event::Event,
    id::{DeliveryId, EventId, JobId},
    limits,
    name::Name,
    storage::{Append, Appended, Changed, Extend, Extended, Mark, Presence, Replay, Replayed},
    time::Wall,
};

use super::{counters::Counters, slot::Slots};
use crate::seam::{AuditEntry, Document, DocumentKey};

/// The durable state.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// How many it was made with; 0 is one.
    pub(super) partitions: u16,
    pub(super) events: BTreeMap<EventId, Arc<Event>>,
    pub(super) deliveries: BTreeMap<DeliveryId, Delivery>,
    pub(super) by_event: BTreeMap<EventId, BTreeSet<DeliveryId>>,
    /// Ends of leases.
    pub(super) leases: BTreeSet<(Wall, DeliveryId)>,
    /// Ready and scheduled deliveries of each destination.
    pub(super) waiting: BTreeMap<Name, Waiting>,
    /// Earlier tries of each delivery; the latest is in its record.
    pub(super) attempts: BTreeMap<DeliveryId, Vec<Attempt>>,
    /// Events that are there, and some of whose deliveries are not any more.
    pub(super) purged_in_part: BTreeSet<EventId>,
    pub(super) keys: BTreeMap<(Name, [u8; 32]), Taken>,
    pub(super) documents: BTreeMap<DocumentKey, Document>,
    /// How often one was written.
    pub(super) written_documents: u64,
    pub(super) audit: Vec<AuditEntry>,
    /// How far jobs are.
    pub(super) marks: BTreeMap<JobId, Mark>,
    /// What events can be found by.
    pub(super) slots: Slots,
    /// What each run of a server said last.
    pub(super) runs: BTreeMap<u64, (Wall, Presence)>,
    pub(super) counters: Counters,
    pub(super) id_floor: i64,
    /// Latest moment that any commit spoke of.
    pub(super) latest: Wall,
}

/// Deliveries that wait at one destination, in both orders they are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    pub(super) by_due: BTreeSet<(Wall, DeliveryId)>,
    /// Those among them that were never tried, and the others.
    pub(super) fresh: BTreeSet<(Wall, DeliveryId)>,
    pub(super) tried: BTreeSet<(Wall, DeliveryId)>,
    /// The others, by tries.
    pub(super) by_tries: BTreeSet<(u32, Wall, DeliveryId)>,
    pub(super) by_expiry: BTreeSet<(Wall, DeliveryId)>,
}

/// Who took a dedupe key.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) event: EventId,
    received_at: Wall,
    body_sha256: [u8; 32],
    pub(super) until: Wall,
}

impl Disk {
    /// Stores an event with its deliveries, or finds the one that took its key.
    pub(super) fn append(&mut self, append: &Append) -> Appended {
        if self.events.contains_key(&append.event.id) {
            let deliveries = self.of_event(append.event.id).cloned().collect();
            return Appended::Stored { event: append.event.id, deliveries };
        }
        if let Some(repeat) = self.repeat(append) {
            self.counters.source(&append.event.source).duplicates += 1;
            return repeat;
        }
        self.remember(append);
        let event = &append.event;
        self.id_floor = self.id_floor.max(event.id.sequence());
        self.latest = self.latest.max(event.received_at);
        self.events.insert(event.id, Arc::clone(event));
        let tally = self.counters.source(&event.source);
        tally.accepted += 1;
        tally.stored += 1;
        for delivery in &append.deliveries {
            self.create(delivery.clone());
        }
        Appended::as_asked(append.event.id)
    }

    /// Takes the event's dedupe key, if it has one.
    pub(super) fn remember(&mut self, append: &Append) {
        let Some(dedupe) = &append.dedupe else { return };
        let event = &append.event;
        let key = (event.source.clone(), dedupe.key);
        if self.keys.get(&key).is_some_and(|taken| taken.until > event.received_at && self.is_there(taken)) {
            return;
        }
        let taken = Taken {
            event: event.id,
            received_at: event.received_at,
            body_sha256: event.body_sha256,
            until: dedupe.until,
        };
        self.keys.insert(key, taken);
    }

    fn repeat(&self, append: &Append) -> Option<Appended> {
        let dedupe = append.dedupe.as_ref()?;
        let taken = self.keys.get(&(append.event.source.clone(), dedupe.key))?;
        if taken.until <= append.event.received_at || !self.is_there(taken) {
            return None;
        }
        if relay_core::canary::is("dedupe_before_commit") && taken.event == append.event.id {
            return None;
        }
        Some(Appended::Repeat {
            first: taken.event,
            received_at: taken.received_at,
            differs: taken.body_sha256 != append.event.body_sha256,
            deliveries: self.of_event(taken.event).cloned().collect(),
            gone: self.purged_in_part.contains(&taken.event),
        })
    }

    /// Whether an event is there, and is not erased.
    pub(super) fn is_whole(&self, id: &EventId) -> bool {
        self.events.get(id).is_some_and(|event| !event.is_erased())
    }

    /// Whether the event that took a key is still stored: a key goes with its event.
    fn is_there(&self, taken: &Taken) -> bool {
        // Canary: a key that was durable before its event would be free again.
        self.is_whole(&taken.event) || relay_core::canary::is("dedupe_before_commit")
    }

    /// Moves the ends of leases that stand.
    pub(super) fn extend(&mut self, batch: &[Extend]) -> Vec<Extended> {
        batch.iter().map(|extend| self.extend_one(extend)).collect()
    }

    fn extend_one(&mut self, Extend { id, claim, until }: &Extend) -> Extended {
        let Some(found) = self.deliveries.get(id) else { return Extended::Over(None) };
        let Some(next) = delivery::extended(found, *claim, *until) else {
            return Extended::Over(Some(Box::new(found.clone())));
        };
        let extended = Extended::stands(&next);
        self.replace(next);
        extended
    }

    /// Applies changes whose record is still the one decided on.
    pub(super) fn settle(&mut self, batch: Vec<Change>) -> Vec<Changed> {
        let settle = |change: Change| {
            let audit = AuditEntry::of_redrive(&change);
            let changed = self.change(change);
            if changed == Changed::Applied {
                self.audit.extend(audit);
            }
            changed
        };
        batch.into_iter().map(settle).collect()
    }

    /// Applies one change, if its record is still the one decided on.
    pub(super) fn change(&mut self, change: Change) -> Changed {
        let Some(stored) = self.deliveries.get(&change.next.id) else { return Changed::Conflict(None) };
        let decided_on = change.is_of(stored);
        if !decided_on && !relay_core::canary::is("skip_fence") {
            return Changed::Conflict(Some(Box::new(stored.clone())));
        }
        if let Some(attempt) = change.archive {
            self.attempts.entry(change.next.id).or_default().push(attempt);
        }
        self.replace(change.next);
        Changed::Applied
    }

    /// Reads deliveries by id.
    pub(super) fn find(&self, ids: &[DeliveryId]) -> Vec<Option<Delivery>> {
        ids.iter().map(|id| self.deliveries.get(id).cloned()).collect()
    }

    /// The tries of one delivery, oldest first.
    pub(super) fn attempts_of(&self, id: DeliveryId) -> Vec<Attempt> {
        let earlier = self.attempts.get(&id).into_iter().flatten();
        let last = self.deliveries.get(&id).and_then(|found| found.last.as_ref());
        earlier.chain(last).cloned().collect()
    }

    /// New deliveries of old events, unless they were decided on when there were others.
    pub(super) fn replay_if(&mut self, replay: Replay, audit: Vec<AuditEntry>) -> Replayed {
        let is_done = replay.made.iter().all(|made| self.deliveries.contains_key(&made.id));
        if let (false, Some(decided_on), Some(first)) = (is_done, replay.decided_on, replay.made.first()) {
            let now: Vec<Delivery> = self.of_event(first.event).cloned().collect();
            // Without its event it is not stored anyway.
            if now.len() as u64 != u64::from(decided_on) && self.is_whole(&first.event) {
                return Replayed::Elsewise(now);
            }
        }
        Replayed::Stored(self.replay(replay.made, audit))
    }

    /// New deliveries of old events.
    pub(super) fn replay(&mut self, deliveries: Vec<Delivery>, audit: Vec<AuditEntry>) -> Vec<bool> {
        let mut stored_any = false;
        let mut answers = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let event_is_there = self.is_whole(&delivery.event);
            if event_is_there && !self.deliveries.contains_key(&delivery.id) {
                self.create(delivery);
                stored_any = true;
            }
            answers.push(event_is_there);
        }
        if stored_any {
            self.audit.extend(audit);
        }
        answers
    }

    /// Compare and set of one registry document.
    pub(super) fn put_document(
        &mut self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: Vec<AuditEntry>,
    ) -> Option<u64> {
        let stored = self.documents.get(&key).map_or(0, |document| document.version);
        if stored != expect {
            return None;
        }
        let is_followed = key.kind.is_followed();
        let version = stored + 1;
        match body {
            Some(body) => self.documents.insert(key.clone(), Document { key, version, body }),
            None => self.documents.remove(&key),
        };
        self.audit.extend(audit);
        self.written_documents += u64::from(is_followed);
        Some(version)
    }

    /// Takes down what one run says, and tells what the others say.
    pub(super) fn presence(&mut self, mine: Presence, now: Wall) -> Vec<Presence> {
        let run = mine.run;
        self.runs.insert(run, (now, mine));
        self.runs.retain(|_, (heard, _)| *heard + limits::PRESENCE_GONE > now);
        self.runs.values().map(|(_, said)| said).filter(|said| said.run != run).cloned().collect()
    }

    /// The deliveries of one event.
    pub(super) fn of_event(&self, event: EventId) -> impl Iterator<Item = &Delivery> {
        self.by_event.get(&event).into_iter().flatten().filter_map(|id| self.deliveries.get(id))
    }

    /// Puts a new record in the place of the stored one, whose id it has.
    pub(super) fn replace(&mut self, next: Delivery) {
        let Some(before) = self.deliveries.remove(&next.id) else { return };
        self.unindex(&before);
        self.latest = self.latest.max(next.changed_at);
        self.counters.changed(&before, &next);
        self.index(&next);
        self.deliveries.insert(next.id, next);
    }

    /// Removes an ended delivery, and its event with the last of them.
    pub(super) fn retire(&mut self, id: DeliveryId) -> Option<EventId> {
        let gone = self.deliveries.remove(&id)?;
        self.unindex(&gone);
        self.counters.retired(&gone);
        self.attempts.remove(&id);
        let siblings = self.by_event.get_mut(&gone.event)?;
        siblings.remove(&id);
        if !siblings.is_empty() {
            self.purged_in_part.insert(gone.event);
            return None;
        }
        self.by_event.remove(&gone.event);
        self.purged_in_part.remove(&gone.event);
        let event = self.events.remove(&gone.event)?;
        self.unmark_event(event.id);
        let tally = self.counters.source(&event.source);
        tally.stored -= 1;
        tally.retired += 1;
        Some(event.id)
    }

    /// The planted bug "schedule forgotten on restart": what waited for its due time is due at once.
    pub(super) fn forget_schedules(&mut self) {
        let scheduled: Vec<Delivery> =
            self.deliveries.values().filter(|found| found.state == State::Scheduled).cloned().collect();
        for delivery in scheduled {
            let due_at = delivery.changed_at;
            self.replace(Delivery { due_at, ..delivery });
        }
    }

    /// The planted bug "a purge takes the rest along": an event of which a delivery was purged is gone after a restart, with
    /// those that are open.
    pub(super) fn lose_purged_in_part(&mut self) {
        for event in self.purged_in_part.clone() {
            let left: Vec<DeliveryId> = self.by_event.get(&event).into_iter().flatten().copied().collect();
            for id in left {
                self.retire(id);
            }
        }
    }

    /// A record that was not there.
    pub(super) fn create(&mut self, delivery: Delivery) {
        self.id_floor = self.id_floor.max(delivery.id.sequence());
        self.latest = self.latest.max(delivery.changed_at);
        self.counters.created(&delivery);
        self.by_event.entry(delivery.event).or_default().insert(delivery.id);
        self.index(&delivery);
        self.deliveries.insert(delivery.id, delivery);
    }

    fn index(&mut self, delivery: &Delivery) {
        self.leases.extend(delivery.lease.map(|lease| (lease.until, delivery.id)));
        if waits(delivery) {
            let waiting = self.waiting.entry(delivery.destination.clone()).or_default();
            waiting.by_due.insert((delivery.due_at, delivery.id));
            if delivery.tries == 0 {
                waiting.fresh.insert((delivery.due_at, delivery.id));
            } else {
                waiting.tried.insert((delivery.due_at, delivery.id));
                waiting.by_tries.insert((delivery.tries, delivery.due_at, delivery.id));
            }
            waiting.by_expiry.insert((delivery.expires_at, delivery.id));
        }
    }

    fn unindex(&mut self, delivery: &Delivery) {
        if let Some(lease) = delivery.lease {
            self.leases.remove(&(lease.until, delivery.id));
        }
        if let Some(waiting) = self.waiting.get_mut(&delivery.destination) {
            waiting.by_due.remove(&(delivery.due_at, delivery.id));
            waiting.fresh.remove(&(delivery.due_at, delivery.id));
            waiting.tried.remove(&(delivery.due_at, delivery.id));
            waiting.by_tries.remove(&(delivery.tries, delivery.due_at, delivery.id));
            waiting.by_expiry.remove(&(delivery.expires_at, delivery.id));
        }
    }
}

fn waits(delivery: &Delivery) -> bool {
    matches!(delivery.state, State::Ready | State::Scheduled)
}
