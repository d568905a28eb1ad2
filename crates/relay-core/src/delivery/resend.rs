//! When an event that is sent again may be delivered again.

use super::{Delivery, State};
use crate::{limits, name::Name, time::Wall};

/// Whether all of an event's deliveries are over and at least one reached its target: nothing is on its way any more, and
/// nothing is left to redrive.
pub fn is_done(deliveries: &[Delivery]) -> bool {
    let over = |delivery: &Delivery| matches!(delivery.state, State::Delivered | State::Cancelled);
    let arrived = |delivery: &Delivery| delivery.state == State::Delivered;
    deliveries.iter().all(over) && deliveries.iter().any(arrived)
}

/// Whether the event with these deliveries may go to `destination` once more: fewer than [`limits::RESENDS_MAX`] replays
/// of it were made for that destination within [`limits::RESEND_WINDOW`].
pub fn may_be_resent(deliveries: &[Delivery], destination: &Name, now: Wall) -> bool {
    let recent = |delivery: &&Delivery| {
        let fresh = delivery.id.minted_at() + limits::RESEND_WINDOW > now;
        delivery.replay && delivery.destination == *destination && fresh
    };
    deliveries.iter().filter(recent).count() < limits::RESENDS_MAX
}
