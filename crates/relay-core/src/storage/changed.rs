//! What became of a decision.

use crate::delivery::Delivery;

/// What became of a [`Change`](crate::delivery::Change).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is durable.
    Applied,
    /// The stored record is another one; nothing was changed. `None`: it is gone (retired).
    Conflict(Option<Box<Delivery>>),
}
