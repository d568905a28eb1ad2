//! What an operator sets: the hub's bounds.

use std::time::Duration;

use crate::{id::InstanceId, name::Name, storage::About, trace::Sampling};

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the server says of itself: its version in `Welcome`, all of it to those that share its store.
    pub server: About,
    /// `LEASE`.
    pub lease: Duration,
    /// `RETRY_AFTER_MAX`.
    pub retry_after_max: Duration,
    /// `CIRCUIT_PAUSE_MAX`.
    pub circuit_pause_max: Duration,
    /// Share of `MAX_INFLIGHT_BYTES` that bodies read from the store and going out may take.
    pub outgoing_bytes_max: u64,
    /// `PUBLIC_URL` without a trailing `/`, for `Relay-Original-Url`.
    pub public_url: Option<String>,
    /// Seed of jitter, nonces and ids: another one at every start, for the nonce keeps this run's leases apart from
    /// those of a branch of history that was lost.
    pub seed: u64,
    /// Other servers may work on the same store.
    pub shares: bool,
    /// Partitions of the store: see [`Partitions`](crate::partitions::Partitions).
    pub partitions: u16,
    /// Parts of the store that may be away each by itself, at least one: an id is in the one that is its partition's remainder by that.
    pub parts: u16,
    /// Highest id sequence in the store.
    pub id_floor: i64,
    /// SHA-256, which the driver brings: see [`Setup::instance_of`].
    pub sha256: fn(&[u8]) -> [u8; 32],
    /// Of which events a collector hears; `None`: of none.
    pub traces: Option<Sampling>,
}

impl Setup {
    /// Whether the deliveries of other servers are among those that are counted.
    pub(super) fn counts_others(&self) -> bool {
        // Canary: the counts of two servers leapfrog.
        self.shares && !crate::canary::is("stale_count")
    }

    /// The instance that a client is here which came with this token and says that it is that instance. Both go into it, and
    /// it is what leases are stored with: whoever has another token is another instance, whatever he says and whatever he
    /// knows, also after a restart. So nobody can resume, free or lock out what is another token's (I21).
    pub fn instance_of(&self, token: &Name, said: InstanceId) -> InstanceId {
        if crate::canary::is("instance_unbound") {
            return said; // Canary: an instance is its token's.
        }
        // No name holds a zero.
        let digest = (self.sha256)(&[token.as_str().as_bytes(), &[0], &said.as_u128().to_be_bytes()].concat());
        let (first, _) = digest.split_at(size_of::<u128>());
        InstanceId::from_u128(first.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte)))
    }
}
