//! What was decided about a delivery.

use super::{Attempt, Delivery};

/// A decision: the record of a delivery is to be replaced, if the stored one still is the one decided on. See [`Change::is_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The record as decided on; tells the store which counters to move.
    pub before: Delivery,
    /// The record to store; same id, `before.version + 1`.
    pub next: Delivery,
    /// The earlier `last`, to be kept as an attempt record; set when `next.last` is a new try and `before.last` was set.
    pub archive: Option<Attempt>,
}

impl Change {
    /// Whether it was decided on this record: version, state and token. The version alone does not tell: an extension
    /// that the hub counted on is passed over once an operator has cancelled the delivery, which counts as well.
    pub fn is_of(&self, stored: &Delivery) -> bool {
        let version = stored.version == self.before.version && stored.version + 1 == self.next.version;
        version && stored.state == self.before.state && stored.token == self.before.token
    }
}
