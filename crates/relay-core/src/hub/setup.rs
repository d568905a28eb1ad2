//! What an operator sets: the hub's bounds, and what a token may serve.

use std::{collections::BTreeSet, time::Duration};

use crate::name::Name;

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program's version, for `Welcome`.
    pub version: String,
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
    /// Highest id sequence in the store.
    pub id_floor: i64,
}

/// Which destinations a token may serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Every destination.
    All,
    /// These.
    Only(BTreeSet<Name>),
}

impl Serves {
    /// Whether a token that serves this may serve `destination`.
    pub fn allows(&self, destination: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(destination),
        }
    }
}
