//! The store seam and its backends: `memory` (tests and simulation), `sqlite` (the embedded default), `redis` (several servers on one
//! Redis).
//!
//! # What a store promises
//! *Durable* An `Ok` from any writing operation means that the fact survives every crash of the process and, on
//! `sqlite`, loss of power. A store never answers before that.
//! *Atomic* One [`Append`](relay_core::storage::Append), one [`Change`](relay_core::delivery::Change) or one
//! [`Step`](relay_core::storage::Step) happens whole or not at all, together with the counters it moves.
//! *Never decides* A store applies what the core decided if the record is still the one decided on. The one transition
//! it makes itself is `ready | scheduled -> leased`, by one fixed rule: due, TTL not passed, oldest first.
//! *Fails stop* After an error from fsync, any EIO or a failed rollback every operation answers `Unavailable`, for good.
//! *Cancel safety* Dropping a returned future does not undo the operation; whether it happens is then not known.

use std::{future::Future, pin::Pin};

pub mod cipher;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod copy;
pub mod memory;
pub mod migrate;
pub mod private;
pub mod record;
pub mod redis;
pub mod seam;
#[expect(clippy::disallowed_methods, reason = "threads without a runtime; the times stored are handed in")]
pub mod sqlite;
mod tally;
pub mod watch;

pub use seam::Store;

/// A boxed future, so that the seam can be a trait object.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;
