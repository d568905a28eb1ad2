//! Late successes: reported by who does not hold the lease, while its holder has no socket. A client that goes on as another
//! instance reports so what it began as the former one. Whether it counts is found when the holder is back, or its lease is over;
//! until then it is not confirmed, for what is confirmed is forgotten.

use super::{
    Hub,
    session::Phase,
    settle::{Why, Work},
    timers::Timer,
};
use crate::{
    delivery::{Delivery, State, outcome::Class},
    id::{DeliveryId, InstanceId},
    limits,
};

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Late {
    works: Vec<Work>,
    /// The timer is set.
    armed: bool,
}

impl Hub {
    /// Whether a report that changes nothing by now may count later.
    pub(super) fn may_count_later(&self, work: &Work, record: &Delivery) -> bool {
        let Why::Report(report) = &work.why else { return false };
        let holder = record.lease.map(|lease| lease.instance).filter(|_| record.state == State::Leased);
        let is_success = report.outcome.class == Class::Delivered && report.serves.allows(&record.destination);
        is_success && holder.is_some_and(|id| self.is_away(id))
    }

    /// Whether an instance has no socket anywhere, and is not about to.
    fn is_away(&self, id: InstanceId) -> bool {
        let is_here = self.instances.get(&id).is_some_and(|instance| instance.conn.is_some());
        let greeting = self.greeting.iter().filter_map(|conn| self.sessions.get(conn));
        let mut claiming = greeting.filter_map(|session| match &session.phase {
            Phase::Claiming(claiming) => Some(claiming.instance),
            Phase::Opened | Phase::Waiting(_) | Phase::Up(_) => None,
        });
        !is_here && !self.others.see(id) && !claiming.any(|claiming| claiming == id)
    }

    /// It is looked at again until its lease is over. A server that stops leaves it to the one to which it is reported next.
    pub(super) fn wait_for_holder(&mut self, work: Work) {
        if self.stopping {
            return self.leave_unconfirmed(&work);
        }
        self.late.works.push(work);
        if !std::mem::replace(&mut self.late.armed, true) {
            self.arm(limits::STORE_RETRY, Timer::Late);
        }
    }

    /// The timer for that went off.
    pub(super) fn on_late_due(&mut self) {
        self.late.armed = false;
        self.finds.extend(std::mem::take(&mut self.late.works));
    }

    /// None of them is waited for any more.
    pub(super) fn leave_late(&mut self) {
        for work in std::mem::take(&mut self.late.works) {
            self.leave_unconfirmed(&work);
        }
    }

    /// A lease is over whose holder has not come: a success that waits for that settles it, and nobody else is given it. Whether
    /// there is one.
    pub(super) fn ends_late(&mut self, id: DeliveryId) -> bool {
        let Some(at) = self.late.works.iter().position(|work| work.id == id) else { return false };
        let Some(held) = self.unregister(id) else { return false };
        self.on_held_gone(&held);
        let mut work = self.late.works.swap_remove(at);
        if let Why::Report(report) = &mut work.why {
            // It speaks for the one that is gone.
            report.instance = held.instance;
        }
        self.decide_on(work, &held.delivery);
        true
    }
}
