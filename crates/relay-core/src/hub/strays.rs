//! Strays: leases that the store took for this hub and the hub does not know of, because the answer that brought them was
//! lost. They are handed back, since nobody else would do it.
//!
//! **Invariant:** what is handed back is brought by nothing under way: a lease found in the store waits until every
//! operation is answered that was asked for before it was found.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{HeldFor, Hub, parts::Part, settle::Why, timers::Timer};
use crate::{
    delivery::{Claim, Delivery},
    id::DeliveryId,
    limits,
    storage::OpId,
};

/// What is looked for, and what was found.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// Parts of the store that are being looked through, or will be; and whether something was lost since that began.
    looking: BTreeMap<Part, bool>,
    /// Those of them that the timer is set for.
    waiting: BTreeSet<Part>,
    /// Leases that may be strays, and the last operation that was asked for when they were found.
    found: BTreeMap<DeliveryId, (Claim, OpId)>,
}

impl Hub {
    /// The answer of an operation that may have leased something is lost.
    pub(super) fn look_for_strays(&mut self) {
        if crate::canary::is("strays_stay") {
            return; // Canary: what an answer that was lost has leased must not stay leased for ever.
        }
        for part in self.parts() {
            self.look_for_strays_in(part);
        }
    }

    fn look_for_strays_in(&mut self, part: Part) {
        match self.strays.looking.entry(part) {
            Entry::Occupied(mut again) => drop(again.insert(true)),
            Entry::Vacant(looking) => {
                looking.insert(false);
                self.look_later(part);
            }
        }
    }

    fn look_later(&mut self, part: Part) {
        if self.strays.waiting.is_empty() {
            self.arm(limits::STORE_RETRY, Timer::Strays);
        }
        self.strays.waiting.insert(part);
    }

    /// The timer for that went off.
    pub(super) fn on_strays_due(&mut self) {
        for part in std::mem::take(&mut self.strays.waiting) {
            if self.failed {
                self.strays.looking.remove(&part);
            } else {
                self.strays.looking.insert(part, false);
                self.ask_held(HeldFor::Strays(part), None);
            }
        }
    }

    /// A page of what is leased in a part; `None` if it could not be read.
    pub(super) fn on_strays_page(&mut self, part: Part, page: Option<Vec<Delivery>>) {
        let Some(page) = page else { return self.look_later(part) };
        let Some(last) = page.last().map(|delivery| delivery.id) else {
            if self.strays.looking.remove(&part) == Some(true) {
                self.look_for_strays_in(part);
            }
            return;
        };
        let at = self.ops.last();
        for delivery in page {
            if !self.held.contains_key(&delivery.id) {
                self.strays.found.insert(delivery.id, (delivery.claim(), at));
            }
        }
        self.ask_held(HeldFor::Strays(part), Some(last));
    }

    /// Hands back what nothing under way can bring any more.
    pub(super) fn return_strays(&mut self) {
        if self.strays.found.is_empty() {
            return;
        }
        let first = self.first_bringing();
        let sure = |at: OpId| first.is_none_or(|first| at < first);
        let found = std::mem::take(&mut self.strays.found);
        let (sure, unsure): (BTreeMap<_, _>, _) = found.into_iter().partition(|(_, (_, at))| sure(*at));
        self.strays.found = unsure;
        let decided = self.being_decided();
        for (id, (claim, at)) in sure {
            if self.held.contains_key(&id) {
                continue;
            }
            if decided.contains(&id) {
                // That need not let go of the lease: the loss of an earlier one may be counted. It is looked at again.
                self.strays.found.insert(id, (claim, at));
            } else {
                self.look_up(id, Why::HandBack(claim));
            }
        }
    }

    /// Deliveries about which something is being decided that may let go of their leases.
    pub(super) fn being_decided(&self) -> BTreeSet<DeliveryId> {
        let settling =
            self.settles.iter().chain(self.ops.settles.waits().flatten()).map(|decided| decided.change.next.id);
        let finding = self.finds.iter().chain(self.ops.finds.waits().flatten()).chain(self.undecided.works());
        settling.chain(finding.filter(|work| work.why.may_end()).map(|work| work.id)).collect()
    }
}
