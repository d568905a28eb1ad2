//! The public listener: takes webhooks in, checks that they are genuine, and hands them to the hub.
//!
//! Bytes pass `guarded` (strict framing, time limits), then hyper, then `webhook` (limits, source, body, check, hub).
//!
//! **Invariant:** nothing is answered 2xx before the backend said that it is durable; nothing of a request but its
//! source's name and a method that the source takes goes into a log.

mod chunks;
mod cors;
mod errand;
mod fields;
mod flaw;
mod framing;
mod guarded;
mod head;
mod intake;
mod listener;
mod path;
mod refusals;
mod respond;
mod seam;
mod target;
#[cfg(test)]
mod tests;
mod verify;
mod webhook;

use std::{sync::Arc, time::Duration};

use crate::budget::Budget;

pub use crate::origin::{Address, Origin};
pub use guarded::Patience;
pub use listener::serve;
pub use refusals::{Refusals, Refused};
pub use seam::{Backend, Body, Source};

/// What an operator decides about the public listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest body.
    pub body_bytes_max: u64,
    /// Memory for bodies.
    pub budget: Arc<Budget>,
    /// How long a dedupe key is remembered.
    pub dedupe_window: Duration,
    /// Origins that get CORS headers; empty: none.
    pub cors_origins: Vec<String>,
    /// Under which URL senders reach the listener, without a trailing `/`.
    pub public_url: Option<String>,
    /// Connections at once; more wait in the system's queue.
    pub connections_max: usize,
    /// How long peers may take.
    pub patience: Patience,
}

impl Settings {
    /// Those of a server's configuration.
    pub fn new(config: &crate::Config, budget: Arc<Budget>) -> Self {
        Self {
            body_bytes_max: config.body_bytes_max,
            budget,
            dedupe_window: config.dedupe_window,
            cors_origins: config.cors_origins.clone(),
            public_url: config.public_url.clone(),
            connections_max: connections_max(),
            patience: Patience::default(),
        }
    }
}

/// Connections at once: each costs about 20 KiB while idle.
const CONNECTIONS_MAX: usize = 10_000;

/// File descriptors that the store and the listeners take, with some for clients and the operator.
const DESCRIPTORS_OWN: u64 = 64;

/// As many as may be, leaving a quarter of the process's file descriptors, and no fewer than our own, to the store, the
/// clients and the operator: strangers must not be able to use them up.
fn connections_max() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    descriptors.map_or(CONNECTIONS_MAX, |soft| CONNECTIONS_MAX.min(connections_of(soft)))
}

fn connections_of(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(DESCRIPTORS_OWN.max(descriptors / 4));
    left.max(descriptors / 4).max(1) as usize
}
