//! Pace: while somebody waits for room that others have, these are looked at, and what is out beyond the reach of a client that
//! takes little is taken back: see `hub/room.rs`. It is stored, and read again when it has room again.
//!
//! **Invariant:** nothing is lost by it but time. Of a grant that has not begun to leave nothing is left to undo, and one that has
//! goes on with the byte behind the last that left, under the same lease. A body has its room for [`limits::REACH_LOOK`] at
//! least, so each time it is read again more of it has left, if its client takes anything.

use super::{
    Hub,
    held::{Rest, Sent},
    timers::Timer,
};
use crate::{
    id::{DeliveryId, InstanceId},
    limits,
    time::Mono,
};

impl Hub {
    /// Has clients looked at from now on, if somebody waits for what others have.
    pub(super) fn look_soon(&mut self) {
        if !self.looks && self.room.is_contended() {
            self.looks = true;
            self.room.begin_to_look();
            self.arm(limits::REACH_LOOK, Timer::Pace);
        }
    }

    /// The timer for that went off.
    pub(super) fn on_pace_due(&mut self) {
        self.looks = self.room.is_contended();
        if !self.looks {
            return;
        }
        self.arm(limits::REACH_LOOK, Timer::Pace);
        let beyond = self.room.look();
        for (_, id) in self.lined_up(&beyond) {
            self.take_back_if_in_the_way(id);
        }
    }

    /// What is in line for these clients, the longest first.
    fn lined_up(&self, clients: &[InstanceId]) -> Vec<(Mono, DeliveryId)> {
        let held = clients.iter().filter_map(|id| self.instances.get(id)).flat_map(|instance| &instance.held);
        let lined = held
            .filter_map(|id| self.held.get(id).filter(|held| held.event.is_some()).map(|held| (held.lined_at, *id)));
        let mut lined: Vec<(Mono, DeliveryId)> = lined.collect();
        lined.sort_unstable();
        lined
    }

    fn take_back_if_in_the_way(&mut self, id: DeliveryId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let (pair, body) = (held.pair(), held.delivery.body_bytes);
        if !self.room.is_in_the_way(&pair, body, self.now.mono.since(held.lined_at)) {
            return;
        }
        let Some((_, size)) = held.event.take() else { return };
        let borrowed = std::mem::take(&mut held.borrowed);
        let begun = held.sent == Sent::Begun;
        if !begun {
            held.sent = Sent::Waiting;
        }
        self.room.unline(pair.0, size);
        let offset = self.outbox_of(pair.0).and_then(|outbox| outbox.cancel_grant(id)).unwrap_or_default();
        if begun {
            if let Some(held) = self.held.get_mut(&id) {
                held.rest = Some(Rest { offset, reading: false });
            }
            self.room.wait_again(&pair, id, body, size, borrowed);
        } else {
            self.let_go(&pair, body, size, borrowed);
            self.room.settled(&pair, body);
            self.room.wait(&pair, id, body);
        }
        self.rerank(pair.0, &pair.1);
    }
}
