//! Late reports: under a lease that stands, by who does not hold it. A client that goes on as another instance reports so what it
//! began as the former one, which may be waited for yet, here or at another server. Whether it counts is found when the holder has
//! reported, or its lease is over; until then it is not confirmed, for what is confirmed is forgotten.

use super::{
    Hub,
    held::Held,
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
    /// Whether a report that changes nothing by now may count later: under the present lease, or a success under an earlier one while
    /// the holder of the present one may not come back.
    pub(super) fn may_count_later(&self, work: &Work, record: &Delivery) -> bool {
        let Why::Report(report) = &work.why else { return false };
        let holder = record.lease.map(|lease| lease.instance).filter(|_| record.state == State::Leased);
        let Some(holder) = holder.filter(|holder| *holder != report.instance) else { return false };
        let is_success = report.outcome.class == Class::Delivered;
        let (token, is_given) = (report.lease.1, record.may_have_given(report.lease.1));
        let speaks = token == record.token || is_success && is_given && self.is_away(holder);
        // Canary: what is confirmed is forgotten, and must not count later.
        speaks && report.serves.allows(&record.destination) && !crate::canary::is("hub_foreign_report_forgotten")
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

    /// The timer for that went off. Of a lease that is held here the record is at hand, and what waits for it goes on waiting: the
    /// lease may end before a record is read. A client that has left reports it once more.
    pub(super) fn on_late_due(&mut self) {
        self.late.armed = false;
        for work in std::mem::take(&mut self.late.works) {
            let reporter = if let Why::Report(report) = &work.why { self.sessions.get(&report.conn) } else { None };
            match self.held.get(&work.id).map(|held| held.delivery.clone()) {
                _ if reporter.is_none() => self.leave_unconfirmed(&work),
                Some(record) if self.may_count_later(&work, &record) => self.wait_for_holder(work),
                _ => self.finds.push(work),
            }
        }
    }

    /// None of them is waited for any more.
    pub(super) fn leave_late(&mut self) {
        for work in std::mem::take(&mut self.late.works) {
            self.leave_unconfirmed(&work);
        }
    }

    /// A lease is over whose holder says nothing: a report that waits for that settles it, a success before anything else. Whether
    /// there is one.
    pub(super) fn ends_late(&mut self, id: DeliveryId) -> bool {
        let Some(at) = self.held.get(&id).and_then(|held| self.late_of(held)) else { return false };
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

    /// The report that decides about a lease that is over: of a success anybody's, of anything else that of a client of the holder's
    /// access token (I21).
    fn late_of(&self, held: &Held) -> Option<usize> {
        let token = |id| self.instances.get(&id).filter(|instance| instance.has_come()).map(|instance| &instance.token);
        let reports = self.late.works.iter().enumerate().filter(|(_, work)| work.id == held.delivery.id);
        let reports = reports.filter_map(|(at, work)| {
            let Why::Report(report) = &work.why else { return None };
            let is_given = held.delivery.may_have_given(report.lease.1);
            let is_success = report.outcome.class == Class::Delivered && is_given;
            let is_own = report.lease.1 == held.delivery.token
                && token(held.instance).is_some_and(|holders| token(report.instance) == Some(holders));
            (is_success || is_own).then_some((!is_success, at))
        });
        reports.min().map(|(_, at)| at)
    }
}
