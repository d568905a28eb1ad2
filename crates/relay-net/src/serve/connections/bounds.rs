//! How many connections a listener may have, by what the process may open.

use crate::{limits, origin::Network};

/// File descriptors that a process takes for its own files and listeners, with some for what it dials and for its operator.
const DESCRIPTORS_OWN: u64 = 64;
/// Of the descriptors that the process may open, each private listener takes one in this many: what the public listener
/// leaves is for the store and the clients as well.
const DESCRIPTORS_PRIVATE_SHARE: u64 = 16;
/// And a listener of clients one in this many.
const DESCRIPTORS_CLIENTS_SHARE: u64 = 8;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At once, all in all.
    pub all: usize,
    /// Of these, kept for clients and for this machine.
    pub reserve: usize,
    /// Of one address, unless it is this machine; a wider network has a few times as many. Sessions do not count: they have
    /// shown a token.
    pub address: usize,
    /// Sessions of clients.
    pub sessions: usize,
    /// Bytes that all waiting connections may have had put aside: parts of heads, and answers that are not taken.
    pub waiting_bytes: u64,
    /// Bytes that the buffers of all connections may hold together beyond what each has anyway.
    pub reading_bytes: u64,
}

impl Bounds {
    /// Those of a listener that takes so many connections.
    pub fn of(all: usize) -> Self {
        let all = all.max(1);
        Self {
            all,
            reserve: (all / limits::CONNECTIONS_RESERVE_SHARE).min(limits::CONNECTIONS_RESERVE_MAX),
            address: (all / limits::CONNECTIONS_ADDRESS_SHARE).max(limits::CONNECTIONS_ADDRESS_MIN).min(all),
            sessions: (all / 2).max(1),
            waiting_bytes: limits::WAITING_BYTES_MAX,
            reading_bytes: limits::READING_BYTES_MAX,
        }
    }

    /// Of the public listener: as many as may be, leaving a quarter of the process's file descriptors, and no fewer than
    /// our own, to all else that the process does.
    pub fn public() -> Self {
        let soft = descriptors();
        Self::of(soft.map_or(limits::CONNECTIONS_MAX, |soft| limits::CONNECTIONS_MAX.min(connections_of(soft))))
    }

    /// Of a listener that clients have to themselves: beside a public one, which takes none of them then, in the part of the file
    /// descriptors that this leaves.
    pub fn clients() -> Self {
        let soft = descriptors().unwrap_or(u64::MAX);
        Self::of((soft / DESCRIPTORS_CLIENTS_SHARE).clamp(1, limits::CONNECTIONS_MAX as u64) as usize)
    }

    /// Of a private listener.
    pub fn private() -> Self {
        let soft = descriptors().unwrap_or(u64::MAX);
        Self::of((soft / DESCRIPTORS_PRIVATE_SHARE).clamp(1, limits::PRIVATE_CONNECTIONS_MAX as u64) as usize)
    }

    /// Connections in all.
    pub const fn all(&self) -> usize {
        self.all
    }

    pub(super) fn general(&self) -> usize {
        self.all - self.reserve
    }

    /// Connections that a network may have.
    pub(super) fn share(&self, network: Network) -> usize {
        if network.is_wider() { self.address * limits::WIDER_NETWORK_SHARES } else { self.address }
    }

    pub(super) fn evicted_at_a_time(&self) -> usize {
        self.all.div_ceil(limits::CONNECTIONS_EVICTED_SHARE)
    }
}

fn descriptors() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

fn connections_of(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(DESCRIPTORS_OWN.max(descriptors / 4));
    left.max(descriptors / 4).max(1) as usize
}
