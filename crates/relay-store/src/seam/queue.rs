//! The trade of the hub: accept, lease, settle.
//!
//! # When the answer is lost
//! A store that several servers share can answer *unknown*: it may be done. What is safe, and how it is found out:
//!
//! | operation | again | resolved by |
//! | --- | --- | --- |
//! | `append` | safe: an event id is stored once | asking again until its deadline; then the sender hears 503, and what was stored already leased is looked up and handed back |
//! | `lease` | safe, but may lease more | `held`: leases that the hub's run keeps and it does not know of are handed back |
//! | `extend` | safe: by token and keeper, and no end is moved back | looking up: an end that is not the one that was asked for is asked for again |
//! | `settle` | safe: by version, state and token | looking up: the record decided on is there, or another |
//! | `replay` | safe: a delivery id is stored once | the sender's next repeat, which finds the new deliveries |
//! | `bodies`, `find`, `due`, `held` | safe: they read | asking again |
//! | `presence` | safe: the latest counts | asking again |
//! | `clock` | safe: it reads | asking again |

use std::sync::Arc;

use relay_core::{
    delivery::{Change, Delivery},
    event::Event,
    id::DeliveryId,
    name::Name,
    storage::{
        Append, AppendError, Appended, BodyOf, Changed, Due, DueAsk, Extend, Extended, HeldAsk, LeaseAsk, Leased,
        Presence, Replay, Replayed, StoreError,
    },
    time::Wall,
};

use super::AuditEntry;
use crate::Later;

/// What the hub drives: events and deliveries on their way.
pub trait Queue: Send + Sync + 'static {
    /// Stores events with their deliveries, each whole or not at all, one answer per item in order. An event whose id is
    /// stored already is answered [`Appended::Stored`] with its deliveries as they are by now, and not stored again. Items of one call
    /// must be of one source; sources take turns. A taken dedupe key stores nothing and answers [`Appended::Repeat`]
    /// once the first is durable.
    fn append(&self, batch: Vec<Append>) -> Later<Vec<Result<Appended, AppendError>>>;

    /// Leases what is due. The only decision a store makes: see [`LeaseAsk`].
    fn lease(&self, ask: LeaseAsk) -> Later<Result<Leased, StoreError>>;

    /// Reads events of leased deliveries with their bodies, in order; `None` for those that are gone, or damaged: then the log
    /// names them, and leases pass over the delivery until the store is opened again.
    fn bodies(&self, of: Vec<BodyOf>) -> Later<Result<Vec<Option<Arc<Event>>>, StoreError>>;

    /// Moves the ends of leases that stand and are kept by who asks; one answer per item in order, one commit for all. No end is
    /// moved back, so that a call which is repeated, or comes late, does nothing.
    fn extend(&self, batch: Vec<Extend>) -> Later<Result<Vec<Extended>, StoreError>>;

    /// Applies changes whose record is still the one decided on; one answer per item in order, one commit for all. A
    /// damaged record is answered like one that is gone, and the log names it; a store that cannot tell which it is answers
    /// [`StoreError::Damaged`] for all of them. A change that makes an ended delivery
    /// ready again writes [`AuditEntry::of_redrive`] in the same commit.
    fn settle(&self, batch: Vec<Change>) -> Later<Result<Vec<Changed>, StoreError>>;

    /// Stores new deliveries of old events, with their audit entries, in one commit, unless they were decided on when there
    /// were others. Repeating the call with the same delivery ids stores nothing twice and answers the same.
    fn replay(&self, replay: Replay, audit: Vec<AuditEntry>) -> Later<Result<Replayed, StoreError>>;

    /// Reads deliveries by id, in order; `None` for those that are gone, or damaged: then the log names them.
    fn find(&self, ids: Vec<DeliveryId>) -> Later<Result<Vec<Option<Delivery>>, StoreError>>;

    /// What waits, and what has passed its TTL while waiting (not while leased); and, where several owners share the store, which
    /// leases have lapsed. Of a partition that is not asked for only what waits.
    fn due(&self, ask: DueAsk) -> Later<Result<Due, StoreError>>;

    /// Reads leased deliveries, by id.
    fn held(&self, ask: HeldAsk) -> Later<Result<Vec<Delivery>, StoreError>>;

    /// Takes down which clients a run of a server has, in the place of what it said before, and tells what the others say that
    /// were heard of [lately](relay_core::limits::PRESENCE_GONE). Nobody else, where the store has [one
    /// owner](super::Promises::several_owners).
    fn presence(&self, mine: Presence) -> Later<Result<Vec<Presence>, StoreError>>;

    /// The store's own clock, as this owner may read it: that of where it commits. `None` where there is none beside the owner's,
    /// as where the store has one.
    fn clock(&self) -> Later<Result<Option<Wall>, StoreError>>;

    /// A hint: completes with destinations where something became due that was not there before, accepted, replayed or redriven by
    /// another owner; never where the store has one owner. It may come for nothing, late, and be lost: [`Self::due`] tells all the same.
    /// Who drops it loses nothing that has not come. One waits at a time.
    fn arrivals(&self) -> Later<Vec<Name>> {
        Box::pin(std::future::pending())
    }

    /// From now on deadlines are compared with this clock: the one that they were reckoned with.
    fn keep_time(&self, clock: Arc<dyn Fn() -> Wall + Send + Sync>);
}
