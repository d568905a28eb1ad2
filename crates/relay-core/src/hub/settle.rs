//! Settling: a decision about one delivery, made durable, then believed.
//!
//! Every change of a stored delivery goes this way: decide on the record at hand, ask the store to apply it if that is
//! still the record, decide again on the present one if it is not.

use std::sync::Arc;

use rand::RngExt as _;

use super::{ConnId, Hub, Notice, Output, Serves, Ticket, parts::OfDelivery};
use crate::{
    delivery::{self, Change, Claim, Delivery, Reason, State, Terms, Token, outcome::Outcome},
    id::{DeliveryId, InstanceId},
    limits,
    storage::{Changed, StoreError},
    time::{Mono, Wall},
    trace::{Forwarded, Trace},
    wire::codec::{LeaseKey, lease_ref},
};

/// A decision to take.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) id: DeliveryId,
    pub(super) why: Why,
    /// How often it was taken before, on records that turned out to be old.
    pub(super) again: u8,
    /// What was decided before and may be stored.
    pub(super) unsure: Option<Box<Change>>,
}

/// Why a delivery is to change.
#[derive(Debug)]
pub(super) enum Why {
    /// A client reported a try.
    Report(Box<Reported>),
    /// Its lease ended, and counts as lost.
    Lose(Claim),
    /// Its lease ended without a try.
    HandBack(Claim),
    /// A lease ends without a try that is known of, and its body may be at its client.
    Unheard(Claim),
    /// Its lease ended, and whoever kept it says nothing.
    Lapse,
    /// Its client has come here from another server, and does not name it.
    Yield {
        /// The lease.
        claim: Claim,
        /// Of the record then.
        version: u64,
        /// Later it may have gone on to another server.
        by: Mono,
    },
    /// Its client has come here from another server.
    Adopt {
        /// On this socket.
        conn: ConnId,
        /// Which client.
        instance: InstanceId,
        /// The lease that it names.
        token: Token,
    },
    /// A lease released earlier counts as lost now, unless the delivery became ready again since.
    CountLoss(Wall),
    /// Its TTL passed while it waited.
    Expire,
    /// Its event was erased, and there is nothing to deliver.
    Erased,
    /// Its event was sent again.
    Redrive(Ticket),
    /// Somebody else changed it: look whether its lease still stands.
    Look,
    /// Whether the end of its lease is stored is not known.
    Doubt(Claim),
}

impl Why {
    /// Whether somebody else does it, where this server does not.
    pub(super) fn may_be_left(&self) -> bool {
        matches!(self, Self::Expire | Self::Lapse | Self::Doubt(_))
    }

    /// Whether it may end a lease, or let another server have it.
    pub(super) fn may_end(&self) -> bool {
        !matches!(self, Self::Doubt(_))
    }
}

impl OfDelivery for Work {
    fn delivery(&self) -> DeliveryId {
        self.id
    }
}

impl OfDelivery for Decided {
    fn delivery(&self) -> DeliveryId {
        self.change.next.id
    }
}

impl Work {
    /// Taken for the first time.
    pub(super) fn new(id: DeliveryId, why: Why) -> Self {
        Self { id, why, again: 0, unsure: None }
    }

    /// Whether the loss that may be stored is: the record went on since, and its losses only grow until it is redriven. Counted once
    /// more, it would be that of another lease, whose client may still come back. Where another loss was counted instead, this one is
    /// not: one too few ends nothing early.
    fn has_counted(&self, record: &Delivery) -> bool {
        let counts = matches!(self.why, Why::CountLoss(_));
        counts && self.unsure.as_ref().is_some_and(|change| record.losses >= change.next.losses)
    }
}

/// A reported try.
#[derive(Debug)]
pub(super) struct Reported {
    pub(super) conn: ConnId,
    /// Who reports.
    pub(super) instance: InstanceId,
    pub(super) lease: LeaseKey,
    pub(super) outcome: Outcome,
    /// A failure may count against its event: see [`Terms::charges`].
    pub(super) charges: bool,
    /// What the reporting client may serve; checked against a record that the hub did not lease to it.
    pub(super) serves: Arc<Serves>,
    /// The trace that it is told in; known of leases whose grants were made here.
    pub(super) trace: Option<Trace>,
}

/// A decision that was taken.
#[derive(Debug)]
pub(super) struct Decided {
    work: Work,
    pub(super) change: Change,
}

impl Hub {
    /// Decides on the record at hand.
    pub(super) fn decide(&mut self, id: DeliveryId, why: Why, record: &Delivery) {
        self.deciding += 1;
        self.decide_on(Work::new(id, why), record);
    }

    /// Reads the record, then decides.
    pub(super) fn look_up(&mut self, id: DeliveryId, why: Why) {
        self.deciding += 1;
        self.finds.push(Work::new(id, why));
    }

    pub(super) fn on_found(&mut self, works: Vec<Work>, result: Result<Vec<Option<Delivery>>, StoreError>) {
        let records = match result {
            Ok(records) => records,
            Err(error) => return self.on_not_decided(works, &error),
        };
        debug_assert_eq!(works.len(), records.len(), "one answer per delivery");
        let Some(part) = works.first().map(|work| self.finds.part_of(work.id)) else { return };
        self.undecided.on_found(part, works.len());
        let before = self.settles.len();
        for (work, record) in works.into_iter().zip(records) {
            match record {
                Some(record) => self.decide_on(work, &record),
                None => self.gone(&work),
            }
        }
        if self.settles.len() == before {
            self.decide_more(part);
        }
    }

    pub(super) fn on_settled(&mut self, decided: Vec<Decided>, result: Result<Vec<Changed>, StoreError>) {
        let answers = match result {
            Ok(answers) => answers,
            Err(error) => {
                let unsure = |Decided { mut work, change }| {
                    if error.is_unknown() {
                        work.unsure = Some(Box::new(change));
                    }
                    work
                };
                return self.on_not_decided(decided.into_iter().map(unsure).collect(), &error);
            }
        };
        debug_assert_eq!(decided.len(), answers.len(), "one answer per change");
        if let Some(first) = decided.first() {
            self.decide_more(self.settles.part_of(first.change.next.id));
        }
        for (Decided { work, change }, answer) in decided.into_iter().zip(answers) {
            match answer {
                Changed::Applied => {
                    self.on_applied(&work, &change);
                    self.finish(&work);
                }
                Changed::Conflict(None) => self.gone(&work),
                Changed::Conflict(Some(record)) => {
                    let work = Work { again: work.again + 1, ..work };
                    if work.again < limits::DECIDE_AGAIN_MAX {
                        self.decide_on(work, &record);
                    } else {
                        self.decide_later(vec![work]);
                    }
                }
            }
        }
    }

    /// The store could not for now, or can no more.
    fn on_not_decided(&mut self, works: Vec<Work>, error: &StoreError) {
        if self.failed {
            self.deciding -= works.len();
            return;
        }
        if let Some(what) = error.record() {
            return self.on_damaged(works, what);
        }
        if let Some(first) = works.first().filter(|_| error.wants_less()) {
            self.undecided.on_too_slow(self.finds.part_of(first.id), works.len());
        }
        self.decide_later(works);
    }

    /// Some record of a batch is damaged: found by halves, so that the others go on. The damaged one is left as it is.
    fn on_damaged(&mut self, mut works: Vec<Work>, what: &str) {
        let rest = works.split_off(works.len() / 2);
        match (works.is_empty(), rest.first()) {
            (true, Some(only)) => {
                self.notice(Notice::Damaged { delivery: only.id, what: what.into() });
                self.gone(only);
            }
            _ => {
                for half in [works, rest] {
                    let op = self.ops.find(half);
                    self.ask_store(op);
                }
            }
        }
    }

    pub(super) fn decide_on(&mut self, mut work: Work, record: &Delivery) {
        if let Some(change) = work.unsure.take_if(|change| change.next == *record) {
            self.on_applied(&work, &change);
            return self.finish(&work);
        }
        if work.has_counted(record) {
            return self.finish(&work);
        }
        let Some(change) = self.change_for(&work, record) else {
            if self.may_count_later(&work, record) {
                return self.wait_for_holder(work);
            }
            self.forgive_if_elsewhere(&work);
            if matches!(work.why, Why::Adopt { .. }) {
                // It may be held here from an earlier visit of its client.
                self.drop_if_over(record);
            }
            return self.finish(&work);
        };
        if crate::canary::is("settled_before_commit") {
            self.confirm(&work.why); // Canary: a confirmation must not outrun its commit.
        }
        self.settles.push(Decided { work, change });
    }

    /// Another server has ended it, or has its client and what that names: nothing is lost here.
    fn forgive_if_elsewhere(&mut self, work: &Work) {
        let ends = matches!(work.why, Why::Unheard(_) | Why::HandBack(_));
        if ends && self.setup.shares && !crate::canary::is("loss_while_elsewhere") {
            self.forgive_loss(work.id);
        }
    }

    fn change_for(&mut self, work: &Work, record: &Delivery) -> Option<Change> {
        let now = self.shared_now();
        match &work.why {
            Why::Report(report) => self.change_for_report(report, record),
            Why::Lose(claim) => delivery::lose(record, *claim, now),
            Why::HandBack(claim) => delivery::hand_back(record, *claim, now),
            Why::Unheard(claim) => delivery::end_unheard(record, *claim, now),
            Why::Lapse => delivery::lapse(record, now),
            Why::Adopt { conn, instance, token } => {
                let adopted = self.adoption(*conn, *instance, *token, record);
                if adopted.is_none() {
                    // It may be kept here still, as it was before it went to another server.
                    self.drop_if_over(record);
                }
                adopted
            }
            Why::Yield { claim, version, by } => {
                // Else its keeper has heard of its client since, or may have.
                let is_so = record.version == *version && self.now.mono < *by;
                is_so.then(|| delivery::end_unheard(record, *claim, now)).flatten()
            }
            Why::CountLoss(ready_at) => delivery::count_loss(record, *ready_at, now),
            Why::Expire => delivery::expire(record, now),
            Why::Erased => delivery::give_up(record, now),
            Why::Redrive(_) => {
                let ended = record.state.is_dead_letter();
                ended.then(|| delivery::redrive(record, now, self.ttl_of(record)))
            }
            Why::Look => {
                self.drop_if_over(record);
                None
            }
            Why::Doubt(claim) => {
                self.resolve(*claim, record);
                None
            }
        }
    }

    fn change_for_report(&mut self, report: &Reported, record: &Delivery) -> Option<Change> {
        if !report.serves.allows(&record.destination) {
            return self.end_beyond_token(report, record);
        }
        if !self.may_settle(report, record) {
            return None;
        }
        let jitter = self.rng.random_range(-1.0..=1.0);
        let route = self.routing.route(&record.source, &record.destination);
        let retry = route.map_or(&self.routing.standard_retry, |route| &route.retry);
        let shares = self.setup.counts_others();
        let delivered = self.destinations.get(&record.destination);
        let delivered = delivered.map_or(0, |destination| destination.delivered.count_for(shares, record));
        let retry_after_max = self.setup.retry_after_max;
        let uncounted_delay_max = limits::UNCOUNTED_DELAY_MAX.min(self.setup.circuit_pause_max);
        let charges = report.charges;
        let terms = Terms { retry, retry_after_max, uncounted_delay_max, delivered, charges, jitter };
        delivery::settle(record, report.lease.1, &report.outcome, &terms, self.shared_now())
    }

    /// What a client says beyond its token does not count (I21), and it may forget it: of its own lease nobody will hear more.
    fn end_beyond_token(&self, report: &Reported, record: &Delivery) -> Option<Change> {
        let is_own =
            record.is_held_under(report.lease.1) && record.lease.is_some_and(|lease| lease.instance == report.instance);
        is_own.then(|| delivery::end_unheard(record, record.claim(), self.shared_now())).flatten()
    }

    /// Whether a report says anything about a delivery that somebody has leased: of its own lease only the holder does, which is
    /// an instance of one token (I21). A success under an earlier one counts from clients of the holder's token, too (I7); who
    /// has another ends no lease but his own.
    fn may_settle(&self, report: &Reported, record: &Delivery) -> bool {
        let holder = record.lease.map(|lease| lease.instance).filter(|_| record.state == State::Leased);
        let Some(holder) = holder.filter(|holder| *holder != report.instance) else { return true };
        if crate::canary::is("foreign_report") {
            return true; // Canary: a lease is its holder's.
        }
        let token = |id| Some(&self.instances.get(&id).filter(|instance| instance.joined)?.token);
        report.lease.1 != record.token && token(holder).is_some() && token(holder) == token(report.instance)
    }

    /// A change is durable.
    fn on_applied(&mut self, work: &Work, change: &Change) {
        let Change { before, next, .. } = change;
        match next.state {
            State::Ready if !before.state.is_open() => self.on_arrival(&next.destination),
            State::Ready => self.on_work(&next.destination),
            State::Scheduled => self.on_scheduled(&next.destination, next.due_at),
            State::Delivered => {
                let shares = self.setup.counts_others();
                self.destination(&next.destination).delivered.on_own(shares, next.changed_at);
            }
            State::Leased | State::Dead | State::Expired | State::Cancelled => {}
        }
        self.drop_if_over(next);
        if matches!(work.why, Why::Adopt { .. }) {
            self.on_adopted(next);
        }
        self.tell_applied(work, before, next);
    }

    fn tell_applied(&mut self, work: &Work, before: &Delivery, next: &Delivery) {
        let (delivery, destination) = (next.id, next.destination.clone());
        match &work.why {
            // Beyond its token nothing was tried, for all that is known.
            Why::Report(_) if next.tries == before.tries => {}
            Why::Report(report) => {
                let retry = before.next_attempt() > 1;
                self.notice(Notice::Tried { destination, class: report.outcome.class, retry });
                if let Some(forwarded) = report.trace.and_then(|trace| self.forwarded(trace, report, before, next)) {
                    self.notice(Notice::Forwarded(Box::new(forwarded)));
                }
            }
            Why::Lose(_) | Why::CountLoss(_) => {
                self.notice(Notice::LeaseLost { delivery, destination, losses: next.losses });
            }
            Why::Redrive(_) => self.notice(Notice::Redriven { delivery }),
            Why::HandBack(_)
            | Why::Unheard(_)
            | Why::Lapse
            | Why::Yield { .. }
            | Why::Adopt { .. }
            | Why::Expire
            | Why::Erased
            | Why::Look
            | Why::Doubt(_) => {}
        }
        if before.state == next.state {
            return;
        }
        let (event, destination) = (next.event, next.destination.clone());
        if next.state == State::Dead {
            let reason = next.reason.unwrap_or(Reason::Rejected);
            let error = next.last.as_ref().and_then(|last| last.error.clone());
            self.notice(Notice::DeliveryDead { delivery, event, destination, reason, error });
        } else if next.state == State::Expired {
            self.notice(Notice::DeliveryExpired { delivery, event, destination });
        }
    }

    /// A try of a lease that was granted here, for who traces it.
    fn forwarded(&self, trace: Trace, report: &Reported, before: &Delivery, next: &Delivery) -> Option<Forwarded> {
        let lease = before.lease.filter(|_| before.is_held_under(report.lease.1))?;
        let last = next.last.as_ref()?;
        let client = self.instances.get(&report.instance).map(|instance| instance.label.clone());
        Some(Forwarded {
            trace,
            event: next.event,
            delivery: next.id,
            lease: before.token,
            destination: next.destination.clone(),
            client: client.unwrap_or_default(),
            attempt: last.number,
            due: before.due_at,
            leased: lease.since,
            ended: last.at,
            took: report.outcome.duration,
            class: last.class,
            status: last.status,
            error: last.error.clone(),
            state: next.state,
        })
    }

    /// There is no record to decide on: it was purged, or cannot be read.
    fn gone(&mut self, work: &Work) {
        match work.why {
            Why::Redrive(ticket) => self.accepts.is_gone(ticket),
            Why::Doubt(claim) if self.holds(work.id, claim) => self.drop_held(work.id),
            Why::Adopt { .. } => self.drop_held(work.id),
            _ => {}
        }
        self.finish(work);
    }

    /// A decision has nothing more to wait for.
    pub(super) fn finish(&mut self, work: &Work) {
        self.deciding -= 1;
        if matches!(work.why, Why::Expire | Why::Lapse) {
            self.on_end_decided(work.id);
        }
        if let Why::Adopt { conn, .. } = work.why {
            self.on_claim_decided(conn, work.id);
        }
        if matches!(work.why, Why::Unheard(_)) {
            self.releasing.remove(&work.id);
        }
        if let Why::Doubt(claim) = work.why {
            self.on_resolved(work.id, claim);
        }
        if let Why::Redrive(ticket) = work.why {
            self.on_redriven(ticket);
        } else if !crate::canary::is("settled_before_commit") {
            self.confirm(&work.why);
        }
    }

    /// Nothing is decided: its client reports it again, to whoever comes next.
    pub(super) fn leave_unconfirmed(&mut self, work: &Work) {
        self.deciding -= 1;
        if let Why::Report(report) = &work.why
            && let Some(session) = self.sessions.get_mut(&report.conn)
        {
            session.undecided = session.undecided.saturating_sub(1);
        }
    }

    /// Tells the client that its report is durable, or not needed.
    fn confirm(&mut self, why: &Why) {
        if let Why::Report(report) = why
            && let Some(session) = self.sessions.get_mut(&report.conn)
        {
            session.undecided = session.undecided.saturating_sub(1);
            if session.outbox.push_settled(lease_ref(report.lease)) {
                if session.outbox.wants_signal() {
                    self.outputs.push_back(Output::Transmit(report.conn));
                }
            } else {
                self.misbehaved(report.conn, "does not read what it is sent");
            }
        }
    }
}
