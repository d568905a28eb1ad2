//! When an event that is sent again may be delivered again.

use super::{Delivery, State};
use crate::{limits, name::Name, time::Wall};

/// Whether a repeat of the event with these deliveries asks for more than is on its way: one reached its target, and none is
/// left to redrive.
pub fn is_delivered(deliveries: &[Delivery]) -> bool {
    let ended = |delivery: &Delivery| delivery.state.is_dead_letter();
    deliveries.iter().any(|delivery| delivery.state == State::Delivered) && !deliveries.iter().any(ended)
}

/// Whether nothing of the event with these deliveries is on its way to `destination`: one that another destination does not
/// take for now keeps nobody from sending it here again.
pub fn is_over(deliveries: &[Delivery], destination: &Name) -> bool {
    !deliveries.iter().any(|delivery| delivery.destination == *destination && delivery.state.is_open())
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
