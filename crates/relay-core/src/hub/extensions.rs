//! Extensions: the end of a lease is moved here at once, and in the store.
//!
//! Where several servers share the store, its word counts for the others: what has lapsed by that is handed back, whoever forwards
//! it. So an end of which it is not known whether it is stored is looked up, and asked for again until it is. With one owner nobody
//! reads it before a restart, and a lease that is re-armed earlier then is re-armed for a grace at least.
//!
//! **Invariant:** of one lease one end is in doubt at a time.

use super::{
    Hub,
    settle::{Why, Work},
};
use crate::{
    delivery::{Claim, Delivery},
    id::{DeliveryId, InstanceId},
    storage::{Extend, Extended, StoreError},
    time::Wall,
    wire::codec::{LeaseKey, lease_ref},
};

impl Hub {
    /// A client names what it holds.
    pub(super) fn on_extend(&mut self, instance: InstanceId, named: Vec<LeaseKey>) {
        let mut gone = Vec::new();
        for (id, token) in named {
            match self.held.get(&id) {
                Some(held) if held.instance == instance && held.delivery.token == token => self.on_named(id),
                // Of what another server keeps in a part that is away nothing is known here yet.
                None if self.is_claimed_later(instance, (id, token)) => {}
                _ => gone.push(lease_ref((id, token))),
            }
        }
        if !gone.is_empty() {
            self.release_at(instance, gone);
        }
    }

    /// Moves a lease's end, as far as its cap. A client that names it more often than it should costs no commits.
    pub(super) fn extend(&mut self, id: DeliveryId) {
        let step = self.heartbeat() / 2;
        let Some(held) = self.held.get_mut(&id) else { return };
        let wanted = self.now.wall + self.setup.lease;
        let until = held.cap.map_or(wanted, |cap| wanted.min(cap));
        let is_last = held.cap == Some(until);
        if until <= held.until || (!is_last && until < held.until + step) {
            return;
        }
        self.ends.remove(&(held.until, id));
        self.ends.insert((until, id));
        held.until = until;
        self.extends.push(Extend { id, claim: held.delivery.claim(), until: self.clocks.shared(until) });
    }

    /// The store answered.
    pub(super) fn on_extended(&mut self, extends: &[Extend], result: Result<Vec<Extended>, StoreError>) {
        let Ok(answers) = result else { return self.doubt(extends) };
        debug_assert_eq!(extends.len(), answers.len(), "one answer per extension");
        for (Extend { id, claim, .. }, answer) in extends.iter().zip(answers) {
            if !self.holds(*id, *claim) {
                continue;
            }
            match answer {
                Extended::Stands { until, version } => self.keep_in_step(*id, until, version),
                // Another server's by now, or over: nothing is decided about it here.
                Extended::Over(Some(record)) => self.drop_if_over(&record),
                Extended::Over(None) => self.drop_held(*id),
            }
        }
    }

    /// What is known of the record is what is stored, unless more has changed than its end: its next change finds out.
    fn keep_in_step(&mut self, id: DeliveryId, until: Wall, version: u64) {
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.delivery.version + 1 == version {
            held.delivery.version = version;
            held.delivery.lease.iter_mut().for_each(|lease| lease.until = until);
        }
    }

    /// Whether it is held here, and by that claim.
    pub(super) fn holds(&self, id: DeliveryId, claim: Claim) -> bool {
        self.held.get(&id).is_some_and(|held| held.delivery.claim() == claim)
    }

    /// These may be stored, or not.
    fn doubt(&mut self, extends: &[Extend]) {
        if !self.setup.shares || self.failed || self.stopping {
            return;
        }
        let mut works = Vec::new();
        for Extend { id, claim, .. } in extends {
            let Some(held) = self.held.get_mut(id).filter(|held| held.delivery.claim() == *claim) else { continue };
            if !std::mem::replace(&mut held.in_doubt, true) {
                works.push(Work::new(*id, Why::Doubt(*claim)));
            }
        }
        if !works.is_empty() {
            self.deciding += works.len();
            self.decide_later(works);
        }
    }

    /// The record of a lease whose end was in doubt: it is dropped, or its end asked for again, or all is well.
    pub(super) fn resolve(&mut self, claim: Claim, record: &Delivery) {
        self.drop_if_over(record);
        let Some(held) = self.held.get(&record.id).filter(|held| held.delivery.claim() == claim) else { return };
        let is_latest = held.delivery.version == record.version;
        let until = self.clocks.shared(held.until);
        if is_latest && record.lease.is_some_and(|lease| lease.until < until) {
            self.extends.push(Extend { id: record.id, claim, until });
        }
    }

    /// It is in doubt no longer.
    pub(super) fn on_resolved(&mut self, id: DeliveryId, claim: Claim) {
        if let Some(held) = self.held.get_mut(&id).filter(|held| held.delivery.claim() == claim) {
            held.in_doubt = false;
        }
    }

    /// The record of a lease was stored with a later end.
    pub(super) fn extend_held(&mut self, record: &Delivery) {
        let Some((held, lease)) = self.held.get_mut(&record.id).zip(record.lease) else { return };
        self.ends.remove(&(held.until, record.id));
        held.until = held.until.max(self.clocks.own(lease.until));
        self.ends.insert((held.until, record.id));
    }
}
