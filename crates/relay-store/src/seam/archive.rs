//! The trade of those who look: events, deliveries, attempts, the audit log. Nothing here writes.

use std::sync::Arc;

use relay_core::{
    delivery::{Attempt, Delivery},
    event::Event,
    id::{DeliveryId, EventId},
    name::Name,
    storage::StoreError,
};

use super::{
    AuditEntry, AuditFilter, DeliveryFilter, EventFilter, EventRow, Indexed, Listing, MarkedAsk, MarkedPage,
    NameCounts, Page, WholePage,
};
use crate::Later;

/// What is stored, for people and their tools.
pub trait Archive: Send + Sync + 'static {
    /// Reads one event with its body.
    fn event(&self, id: EventId) -> Later<Result<Option<Arc<Event>>, StoreError>>;

    /// Reads one delivery; `None` if it is gone, or damaged: then the log names it.
    fn delivery(&self, id: DeliveryId) -> Later<Result<Option<Delivery>, StoreError>>;

    /// The attempts of one delivery, oldest first, the latest included.
    fn attempts(&self, id: DeliveryId) -> Later<Result<Vec<Attempt>, StoreError>>;

    /// A page of events, in the order of the filter.
    fn browse_events(&self, filter: EventFilter, page: Page) -> Later<Result<Listing<EventRow>, StoreError>>;

    /// The same with their bodies: it ends behind the one with which those come to so many bytes. What does not read is passed over,
    /// and counted.
    fn browse_whole(&self, filter: EventFilter, page: Page, bytes_max: u64) -> Later<Result<WholePage, StoreError>>;

    /// The events of a source that hold one of these dedupe keys, in the order of the keys, each once and as a listing has it. A
    /// key whose window is over may lead to its event still, or nowhere; one whose event is gone leads nowhere.
    fn by_key(&self, source: Name, keys: Vec<[u8; 32]>) -> Later<Result<Vec<EventRow>, StoreError>>;

    /// A page of the events that may have a value, the newest first: see [`MarkedPage`]. One that is gone, or erased, is not among them.
    fn marked(&self, ask: MarkedAsk) -> Later<Result<MarkedPage, StoreError>>;

    /// How far the marks of all sources go. One that is being [removed](super::Upkeep::unmark) is among them, with the definition 0.
    fn indexed(&self) -> Later<Result<Vec<Indexed>, StoreError>>;

    /// How many events of each name a source has.
    fn event_names(&self, source: Name) -> Later<Result<NameCounts, StoreError>>;

    /// A page of deliveries: the newest first, see [`DeliveryFilter::comes_by_end`].
    fn browse_deliveries(&self, filter: DeliveryFilter, page: Page) -> Later<Result<Listing<Delivery>, StoreError>>;

    /// A page of the audit log, newest first. A filter that matches little may give a short page with a cursor to go on
    /// from.
    fn browse_audit(&self, filter: AuditFilter, page: Page) -> Later<Result<Listing<AuditEntry>, StoreError>>;
}
