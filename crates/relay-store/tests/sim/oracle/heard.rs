//! What a server hears: of its clients, and of its store.

use relay_core::{
    delivery::{Delivery, State, outcome::Class},
    id::DeliveryId,
    limits,
    partitions::Partitions,
    storage::{HeldOf, StoreOp, Stored},
    wire::{codec, message::Message},
};
use relay_store::memory::MemoryStore;

use super::{Heard, Oracle};

impl Oracle {
    /// The server hears something.
    pub(crate) fn server_heard(&mut self, message: &Message, store: &MemoryStore) {
        let Message::Report(report) = message else { return };
        let Ok((key, outcome)) = codec::reported(report) else { return };
        let last = |record: &Delivery| record.token == key.1;
        let Some(record) = store.delivery(key.0).filter(last) else { return };
        // A report that comes again to the same server, over another socket, was decided on when it came first.
        let run = self.run;
        let again = self.heard.contains_key(&(run, key));
        let failed = self.failed.entry((run, record.destination)).or_default();
        match outcome.class {
            // Also of a lease that a late success has just ended: the server may hear of that only after this.
            Class::Delivered => failed.clear(),
            _ if again || record.state != State::Leased => return,
            Class::Rejected | Class::Busy if record.attempts == 0 && !self.let_go.contains(&(run, key)) => {
                // Of a lease that another server keeps this one reads the record, and learns nothing of its own clients' targets.
                if record.lease.as_ref().is_some_and(|lease| lease.keeper == run) {
                    failed.insert(record.event);
                }
            }
            Class::Rejected | Class::Busy | Class::Unreachable | Class::Refused => {}
        }
        let may_be_charged = failed.len() < limits::CIRCUIT_EVENTS;
        let retry_after = outcome.retry_after.unwrap_or_default();
        if !again {
            self.heard.insert((run, key), Heard { retry_after, may_be_charged });
        }
    }

    /// What the server hears of what it asked for, whether or not that came about.
    pub(crate) fn store_answered(&mut self, op: &StoreOp, answer: &Stored) {
        let run = self.run;
        match (op, answer) {
            (StoreOp::Held(asked), Stored::Held(answered)) if matches!(asked.ask.of, HeldOf::Instance(_)) => {
                // Another instance's are read by themselves.
                let of = (run, asked.ask.of, asked.ask.partitions);
                self.unread.retain(|unread| *unread != of);
                if answered.answer.is_err() {
                    self.unread.push(of);
                }
            }
            (StoreOp::Settle(asked), Stored::Settle(answered)) => {
                for id in asked.ask.iter().map(|change| change.next.id) {
                    if answered.answer.is_err() {
                        self.undecided.insert((run, id));
                    } else {
                        self.undecided.remove(&(run, id));
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether a server may not know yet that a lease is somebody else's, since its part of the store was away.
    pub(super) fn may_not_know(&self, id: DeliveryId) -> bool {
        let is_unread = |(run, _, of): &(u64, HeldOf, Partitions)| *run == self.run && of.hold(id.partition());
        self.unread.iter().any(is_unread) || self.undecided.contains(&(self.run, id))
    }
}
