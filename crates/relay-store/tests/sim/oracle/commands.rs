//! What commands of operators do, and what retention removes.

use std::collections::{BTreeMap, BTreeSet};

use relay_core::{
    delivery::{Change, Delivery, Reason, State},
    id::{DeliveryId, EventId, JobId},
    jobs::Rules,
    name::Name,
    storage::Step,
};
use relay_store::memory::MemoryStore;

use super::Oracle;

impl Oracle {
    /// A step of a job took effect, or did not, on those that it met: each is as the step says if it met what was decided on,
    /// and else as it was. No job changes a delivery twice.
    pub(crate) fn stepped(&mut self, step: &Step, met: &BTreeMap<DeliveryId, Delivery>, store: &MemoryStore) {
        for change in &step.settle {
            let (id, now) = (change.next.id, store.delivery(change.next.id));
            if met.get(&id) == now.as_ref() {
                continue;
            }
            let fits = met.get(&id).is_some_and(|met| change.is_of(met)) && now.as_ref() == Some(&change.next);
            self.check(fits, "I12", || format!("{id} was {:?}, {} made it {now:?}", met.get(&id), step.job));
            self.done_once(step.job, id);
            self.commanded(change);
        }
        for ended in &step.retire {
            let before = met.get(&ended.id);
            if let Some(before) = before.filter(|_| store.delivery(ended.id).is_none()) {
                let fits = ended.is_of(before);
                self.check(fits, "I12", || format!("{} was purged as another than it is: {before:?}", ended.id));
                self.done_once(step.job, ended.id);
                self.retired.insert((before.event, before.destination.clone()));
            }
        }
    }

    /// What a step of a job was to make, as far as it did: of old events new deliveries, of each along each route one at most.
    pub(crate) fn made(&mut self, job: JobId, mut made: Vec<Delivery>, store: &MemoryStore) {
        made.retain(|made| store.delivery(made.id).is_some());
        for delivery in &made {
            self.done_once(job, delivery.id);
            let (event, to) = (delivery.event, delivery.destination.clone());
            let first = self.replays.entry(job).or_default().insert((event, to));
            self.check(first, "I12", || format!("{job} replayed {event} twice: {delivery:?}"));
        }
        self.replayed_by_hand(&made);
    }

    /// An operator had old events delivered again.
    pub(crate) fn replayed_by_hand(&mut self, made: &[Delivery]) {
        self.by_hand.extend(made.iter().map(|delivery| delivery.id));
        self.replayed(made);
    }

    fn done_once(&mut self, job: JobId, id: DeliveryId) {
        let first = self.commands.entry(job).or_default().insert(id);
        self.check(first, "I12", || format!("{job} changed {id} twice"));
        let over = self.over.contains(&job);
        self.check(!over, "I12", || format!("{job} was over, was given again and changed {id}"));
    }

    /// A job says that it has changed so many.
    pub(crate) fn job_is_over(&mut self, job: JobId, changed: u64) {
        self.over.insert(job);
        let really = self.commands.get(&job).map_or(0, BTreeSet::len) as u64;
        self.check(changed == really, "I12", || format!("{job} changed {really}, and says {changed}"));
    }

    /// An operator's command changed a delivery.
    fn commanded(&mut self, change: &Change) {
        let Change { before, next, .. } = change;
        let id = next.id;
        if before.state.is_open() {
            // A redrive that is cancelled goes back to what it was.
            let wanted = match before.redriven_from {
                None => State::Cancelled,
                Some(Reason::Expired) => State::Expired,
                Some(_) => State::Dead,
            };
            self.check(next.state == wanted, "I12", || format!("{id} was cancelled and is {next:?}"));
            if before.redriven_from.is_none() {
                self.cancelled.insert(id);
            }
            return;
        }
        let fresh = next.attempts == 0 && next.losses == 0 && next.tries == 0;
        self.check(fresh, "I12", || format!("{id} is redriven and has tries already: {next:?}"));
        if let Some(book) = self.books.get_mut(&id) {
            book.due_at = next.due_at;
            book.excused += 1;
        }
    }

    /// Retention removed some of these: only what had ended long enough ago.
    pub(crate) fn retained(&mut self, before: &[Delivery], events: &[EventId], store: &MemoryStore, rules: Rules) {
        for gone in before.iter().filter(|found| store.delivery(found.id).is_none()) {
            let id = gone.id;
            let over = match gone.state {
                State::Ready | State::Scheduled | State::Leased => false,
                State::Delivered | State::Cancelled => gone.changed_at < rules.delivered_before,
                State::Dead | State::Expired => gone.changed_at < rules.dead_before,
            };
            let here = rules.partitions.hold(id.partition());
            self.check(here, "I16", || format!("{id} was retired by a server that does not look after it"));
            self.check(over, "I13", || format!("{id} was retired before its time: {gone:?}"));
            self.retired.insert((gone.event, gone.destination.clone()));
        }
        for left in store.deliveries() {
            let kept = store.holds_event(left.event);
            self.check(kept, "I1", || format!("{} was retired before its delivery {}", left.event, left.id));
        }
        for gone in
            events.iter().filter(|id| !store.holds_event(**id) && !self.is_retired(**id)).copied().collect::<Vec<_>>()
        {
            let over = gone.minted_at() < rules.delivered_before;
            self.check(over, "I1", || format!("{gone}, which led nowhere, was retired before its time"));
            self.forgotten.insert(gone);
        }
    }

    /// Whether it may be gone: with the last of its deliveries, or because it never had one.
    pub(super) fn is_retired(&self, event: EventId) -> bool {
        let is_gone = |to: &Name| self.retired.contains(&(event, to.clone()));
        let had = self.reaches.get(&event).filter(|had| !had.is_empty());
        self.forgotten.contains(&event) || had.is_some_and(|had| had.iter().all(is_gone))
    }
}
