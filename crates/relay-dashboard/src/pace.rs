//! What is waited between the tries of a delivery.

use std::time::Duration;

/// What is waited between tries.
#[derive(Clone, Debug, PartialEq)]
pub enum Pace {
    /// So long, and longer each time.
    Growing {
        /// Before the second try.
        delay: Duration,
        /// From one to the next.
        factor: f64,
    },
    /// These, one after the other.
    Listed(Vec<Duration>),
}
