//! Strays: leases that the store took for this hub and the hub does not know of, because the answer that brought them was
//! lost. They are handed back, since nobody else would do it.
//!
//! **Invariant:** what is handed back is brought by nothing under way: a lease found in the store waits until every
//! operation is answered that was asked for before it was found.

use std::collections::{BTreeMap, BTreeSet};

use super::{HeldFor, Hub, settle::Why, timers::Timer};
use crate::{
    delivery::{Claim, Delivery},
    id::DeliveryId,
    limits,
    storage::OpId,
};

/// What is looked for, and what was found.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// The store is being looked through, or will be.
    looking: bool,
    /// Something was lost since that began.
    again: bool,
    /// Leases that may be strays, and the last operation that was asked for when they were found.
    found: BTreeMap<DeliveryId, (Claim, OpId)>,
}

impl Hub {
    /// The answer of an operation that may have leased something is lost.
    pub(super) fn look_for_strays(&mut self) {
        if crate::canary::is("strays_stay") {
            return; // Canary: what an answer that was lost has leased must not stay leased for ever.
        }
        if std::mem::replace(&mut self.strays.looking, true) {
            self.strays.again = true;
        } else {
            self.arm(limits::STORE_RETRY, Timer::Strays);
        }
    }

    /// The timer for that went off.
    pub(super) fn on_strays_due(&mut self) {
        self.strays.again = false;
        if self.failed {
            self.strays.looking = false;
        } else {
            self.ask_held(HeldFor::Strays, None);
        }
    }

    /// A page of what is leased; `None` if it could not be read.
    pub(super) fn on_strays_page(&mut self, page: Option<Vec<Delivery>>) {
        let Some(page) = page else { return self.arm(limits::STORE_RETRY, Timer::Strays) };
        let Some(last) = page.last().map(|delivery| delivery.id) else {
            self.strays.looking = false;
            if std::mem::take(&mut self.strays.again) {
                self.look_for_strays();
            }
            return;
        };
        let at = self.ops.last();
        for delivery in page {
            if !self.held.contains_key(&delivery.id) {
                self.strays.found.insert(delivery.id, (delivery.claim(), at));
            }
        }
        self.ask_held(HeldFor::Strays, Some(last));
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
