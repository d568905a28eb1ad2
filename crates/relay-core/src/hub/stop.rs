//! Stopping: no new leases, a goodbye to every client, and the end once nothing more can be reported.

use super::{Answer, ConnId, Hub, Output, held::Sent, instances::Instance};
use crate::{
    id::InstanceId,
    limits,
    wire::message::{GoAway, Message},
};

impl Hub {
    /// Refuses new requests, hands back what nobody forwards, and waits for the reports of the rest.
    pub(super) fn on_stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.leave_expired();
        self.leave_late();
        self.answer_early(&Answer::Stopping);
        let conns: Vec<ConnId> = self.sessions.keys().copied().collect();
        for conn in conns {
            self.say_stopping(conn);
        }
        let instances: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in instances {
            self.return_unsent(id, Sent::Begun);
        }
        // Nobody need wait until it is heard of no more to do what it did for all.
        self.say_presence();
    }

    /// Where servers share the store, the others are there for whoever leaves now.
    pub(super) fn say_stopping(&mut self, conn: ConnId) {
        self.say_goodbye(conn, "the server stops", self.runs().len() > 1);
    }

    /// Its client hands back what it has not begun, reports the rest, and goes.
    pub(super) fn say_goodbye(&mut self, conn: ConnId, why: &str, elsewhere: bool) {
        let retry_after_ms = limits::GOAWAY_RETRY_AFTER.as_millis() as u32;
        self.send(conn, Message::GoAway(GoAway { reason: why.to_owned(), retry_after_ms, elsewhere, done: false }));
    }

    /// After a stop: done when nothing that a client could still report is left, and nothing waits for the store.
    pub(super) fn finish_stop(&mut self) {
        if !self.stopping || self.stopped {
            return;
        }
        let undecided = self.deciding > 0 || !self.accepts.is_idle() || !self.ops.leases.is_empty();
        let undecided = undecided || self.others.are_being_told();
        let live = |instance: &Instance| instance.conn.is_some() && !instance.held.is_empty();
        if self.failed || (!undecided && !self.instances.values().any(live)) {
            self.stopped = true;
            self.outputs.push_back(Output::Stopped);
        }
    }
}
