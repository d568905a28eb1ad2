//! What people should hear of the hub.

use super::ConnId;
use crate::{
    delivery::{Reason, outcome::Class},
    id::{DeliveryId, EventId, InstanceId},
    name::Name,
    trace::Forwarded,
};

/// What people should hear and metrics count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A client instance serves a destination from now on.
    ClientJoined {
        /// Which destination.
        destination: Name,
        /// Which instance.
        instance: InstanceId,
        /// Its name for people.
        label: String,
        /// Its address.
        peer: String,
        /// Its token's name.
        token: Name,
        /// Instances that serve the destination now, at whatever server.
        clients: u32,
    },
    /// A client instance wants to serve destinations that no route leads to: it joins once one does.
    ClientUnrouted {
        /// The first of them.
        first: Name,
        /// How many they are.
        destinations: usize,
        /// Which instance.
        instance: InstanceId,
        /// Its name for people.
        label: String,
        /// Its token's name.
        token: Name,
    },
    /// A client instance serves a destination no longer.
    ClientLeft {
        /// Which destination.
        destination: Name,
        /// Which instance.
        instance: InstanceId,
        /// Its name for people.
        label: String,
        /// Instances that serve the destination now, at whatever server.
        clients: u32,
        /// Leases that it still held.
        held: u32,
        /// It said that it goes; `false`: its connection was lost, or it may not serve that any more.
        goodbye: bool,
    },
    /// A circuit opened: nothing but probes goes to this destination through this client.
    DestinationDown {
        /// Which destination.
        destination: Name,
        /// Through which instance.
        instance: InstanceId,
        /// The last failure, in words.
        error: String,
    },
    /// A circuit closed again.
    DestinationUp {
        /// Which destination.
        destination: Name,
        /// Through which instance.
        instance: InstanceId,
    },
    /// A delivery is dead, durably.
    DeliveryDead {
        /// Which.
        delivery: DeliveryId,
        /// Its event.
        event: EventId,
        /// Where it was going.
        destination: Name,
        /// Why.
        reason: Reason,
        /// The last failure, in words.
        error: Option<Box<str>>,
    },
    /// A delivery has expired, durably.
    DeliveryExpired {
        /// Which.
        delivery: DeliveryId,
        /// Its event.
        event: EventId,
        /// Where it was going.
        destination: Name,
    },
    /// A try was reported and is durable: for the outcome counters.
    Tried {
        /// Where.
        destination: Name,
        /// How it ended.
        class: Class,
        /// Whether it was a later try than the first.
        retry: bool,
    },
    /// The same of a try whose event is traced, for the collector.
    Forwarded(Box<Forwarded>),
    /// A lease was lost and that is durable.
    LeaseLost {
        /// Which delivery.
        delivery: DeliveryId,
        /// Where it was going.
        destination: Name,
        /// Losses so far.
        losses: u32,
    },
    /// A repeat carried another body than the event it repeats.
    RepeatDiffers {
        /// The first one.
        event: EventId,
    },
    /// A dead or expired delivery was redriven by a repeat of its event.
    Redriven {
        /// Which.
        delivery: DeliveryId,
    },
    /// An event that was delivered was sent again by hand, and has a new delivery to each of so many destinations.
    Resent {
        /// Which.
        event: EventId,
        /// To how many.
        destinations: usize,
    },
    /// An event of which deliveries were purged was sent again, and has new ones to so many destinations.
    Replaced {
        /// Which.
        event: EventId,
        /// To how many.
        destinations: usize,
    },
    /// An event that was delivered was sent again more often than [`RESENDS_MAX`](crate::limits::RESENDS_MAX): answered as
    /// a repeat, and not delivered again.
    ResentTooOften {
        /// Which.
        event: EventId,
    },
    /// A record is damaged: what was to become of it is given up, and it stays as it is for `store check`.
    Damaged {
        /// Whose.
        delivery: DeliveryId,
        /// What is wrong with it.
        what: Box<str>,
    },
    /// A client broke the protocol; its socket is closed.
    Misbehaved {
        /// Which socket.
        conn: ConnId,
        /// What it did.
        what: String,
    },
}
