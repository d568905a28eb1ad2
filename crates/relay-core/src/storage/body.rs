//! Bodies of what is leased: read when there is room for them.

use crate::id::{DeliveryId, EventId};

/// Whose event is wanted. Many are asked for at once and answered in the same order: `None` where the event is gone or
/// damaged, which the log names; leases pass over that delivery from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyOf {
    /// The delivery that it is leased as.
    pub delivery: DeliveryId,
    /// Its event.
    pub event: EventId,
}
