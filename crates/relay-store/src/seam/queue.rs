//! The trade of the hub: accept, lease, settle.

use std::sync::Arc;

use relay_core::{
    delivery::Delivery,
    id::DeliveryId,
    storage::{Append, AppendError, Appended, Change, Changed, Due, Extend, LeaseAsk, Leased, StoreError},
    time::Wall,
};

use super::AuditEntry;
use crate::Later;

/// What the hub drives: events and deliveries on their way.
pub trait Queue: Send + Sync + 'static {
    /// Stores events with their deliveries, each whole or not at all, one answer per item in order. Items of one call
    /// must be of one source; sources take turns. A taken dedupe key stores nothing and answers [`Appended::Repeat`]
    /// once the first is durable.
    fn append(&self, batch: Vec<Append>) -> Later<Vec<Result<Appended, AppendError>>>;

    /// Leases what is due. The only decision a store makes: see [`LeaseAsk`].
    fn lease(&self, ask: LeaseAsk) -> Later<Result<Leased, StoreError>>;

    /// Moves the end of leases that are still held under their token; passes over the others.
    fn extend(&self, batch: Vec<Extend>) -> Later<Result<(), StoreError>>;

    /// Applies changes whose record is still the one decided on; one answer per item in order, one commit for all. A
    /// damaged record is answered like one that is gone, and the log names it. A change that makes an ended delivery
    /// ready again writes [`AuditEntry::of_redrive`] in the same commit.
    fn settle(&self, batch: Vec<Change>) -> Later<Result<Vec<Changed>, StoreError>>;

    /// Stores new deliveries of old events (replays), with their audit entries, in one commit; `false` for those whose
    /// event is gone. Repeating the call with the same delivery ids stores nothing twice and answers the same.
    fn replay(&self, deliveries: Vec<Delivery>, audit: Vec<AuditEntry>) -> Later<Result<Vec<bool>, StoreError>>;

    /// Reads deliveries by id, in order; `None` for those that are gone, or damaged: then the log names them.
    fn find(&self, ids: Vec<DeliveryId>) -> Later<Result<Vec<Option<Delivery>>, StoreError>>;

    /// What waits, and what has passed its TTL while waiting (not while leased).
    fn due(&self, now: Wall, limit: u32) -> Later<Result<Due, StoreError>>;

    /// Reads leased deliveries behind `after`, by id.
    fn held(&self, after: Option<DeliveryId>, limit: u32) -> Later<Result<Vec<Delivery>, StoreError>>;

    /// From now on deadlines are compared with this clock: the one that they were reckoned with.
    fn keep_time(&self, clock: Arc<dyn Fn() -> Wall + Send + Sync>);
}
