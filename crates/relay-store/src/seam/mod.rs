//! The seam: the operations every backend offers, each a promise that the conformance suite checks.
//!
//! They are five trades, each a trait of its own, and whoever uses a store holds the one that it needs:
//!
//! | trade | who uses it |
//! | --- | --- |
//! | [`Queue`] | the hub's driver |
//! | [`Archive`] | listings of the admin API |
//! | [`Registry`] | sources, routes, destinations, keys and tokens; fetched keys |
//! | [`Upkeep`] | retention, health, metrics, operators' commands |
//! | [`Transfer`] | a move into another store |
//!
//! All operations are safe to call from any thread; order between calls that were not awaited one after the other is not
//! promised. Every writing operation is a promise about durability: see [the crate](crate).

mod archive;
mod audit;
mod condition;
mod document;
mod perform;
mod promises;
mod queue;
mod recount;
mod registry;
mod rekeyed;
mod stats;
mod transfer;
mod upkeep;

pub use relay_core::storage::{
    AuditEntry, DeliveryFilter, EventFilter, EventRow, Indexed, Listing, MarkedAsk, MarkedEvent, MarkedPage, Marker,
    Marking, NameCount, NameCounts, Page, Range, WholeEvent, WholePage,
};

pub use self::{
    archive::Archive,
    audit::AuditFilter,
    condition::{Condition, Durability},
    document::{Document, DocumentKey, DocumentKind, Unread, parse},
    perform::{Trades, append_all, perform, perform_job, perform_retention},
    promises::Promises,
    queue::Queue,
    recount::{Gap, Recount, Why},
    registry::Registry,
    rekeyed::Rekeyed,
    stats::{DestinationStats, Memory, SourceStats, Stats},
    transfer::{HaveRoom, Transfer},
    upkeep::Upkeep,
};

/// A durable store of events, deliveries and registry documents: all five trades. For whoever wires a process together;
/// an `Arc<dyn Store>` is handed on as the trade that is needed.
pub trait Store: Queue + Archive + Registry + Upkeep + Transfer {}

impl<T: Queue + Archive + Registry + Upkeep + Transfer> Store for T {}
