//! What has work to do, and what is leased.

use crate::{delivery::Delivery, id::DeliveryId, name::Name, time::Wall};

/// Asks what has work to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueAsk {
    /// At this moment.
    pub now: Wall,
    /// Most expired deliveries to name.
    pub limit: u32,
}

/// What waits at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationDue {
    /// Whose.
    pub destination: Name,
    /// Due time of its earliest waiting delivery.
    pub next_due: Option<Wall>,
}

/// What has work to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Destinations with waiting deliveries.
    pub destinations: Vec<DestinationDue>,
    /// Waiting deliveries whose TTL has passed, earliest first, for the core to end; at most as many as were asked for.
    pub expired: Vec<Delivery>,
}

/// Reads the leased deliveries behind an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldAsk {
    /// Where the previous page ended.
    pub after: Option<DeliveryId>,
    /// Most to name.
    pub limit: u32,
}
