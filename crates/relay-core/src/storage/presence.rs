//! Presence: what servers that share a store know of each other.

use crate::{id::InstanceId, name::Name, time::Wall};

/// One run of a server, and the clients that have a socket there. Said to the store, which answers with those of the other
/// runs that were heard of within [`PRESENCE_GONE`](crate::limits::PRESENCE_GONE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Its number: the nonce of its leases.
    pub run: u64,
    /// When it was said.
    pub at: Wall,
    /// Its clients.
    pub clients: Vec<SeenClient>,
}

/// A client instance that a server has a socket of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenClient {
    /// Which.
    pub instance: InstanceId,
    /// The destinations that it serves.
    pub serves: Vec<Name>,
}
