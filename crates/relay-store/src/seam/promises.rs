//! What a backend guarantees.

/// What a backend guarantees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promises {
    /// `sqlite`, `redis` or `memory`.
    pub backend: &'static str,
    /// When an append counts as durable, in words: "fsync before the answer".
    pub durability: &'static str,
    /// Survives a crash of the process.
    pub survives_kill: bool,
    /// Survives loss of power.
    pub survives_power_loss: bool,
    /// Several servers may work on it at a time. Else it has one owner, and refuses others.
    pub several_owners: bool,
    /// Partitions that it is spread over, from 1 to [`PARTITIONS_MAX`](relay_core::limits::PARTITIONS_MAX).
    pub partitions: u16,
    /// Parts that may be away each by itself: 1, or as many as there are partitions.
    pub parts: u16,
    /// It keeps [marks](super::Upkeep::mark).
    pub marks: bool,
    /// The number of the key that it is sealed with; `None`: it is stored as it is.
    pub sealed_with: Option<u32>,
}
