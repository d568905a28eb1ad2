//! The seam: the operations every backend offers, each a promise that the conformance suite checks.

use std::{sync::Arc, time::Duration};

use relay_core::{
    delivery::{Attempt, Delivery, Reason, State},
    event::Event,
    id::{DeliveryId, EventId, JobId},
    name::Name,
    storage::{Append, AppendError, Appended, Change, Changed, Due, Extend, LeaseAsk, Leased, StoreError},
    time::Wall,
};

use crate::{
    Later,
    copy::{BackupError, Copying},
};

/// A durable store of events, deliveries and registry documents.
///
/// Every writing operation is a promise about durability: see the crate's documentation. All are safe to call from any
/// thread; order between calls that were not awaited one after the other is not promised.
pub trait Store: Send + Sync + 'static {
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

    /// What waits, and what has passed its TTL while waiting (not while leased).
    fn due(&self, now: Wall, limit: u32) -> Later<Result<Due, StoreError>>;

    /// Reads deliveries by id, in order; `None` for those that are gone, or damaged: then the log names them.
    fn find(&self, ids: Vec<DeliveryId>) -> Later<Result<Vec<Option<Delivery>>, StoreError>>;

    /// Reads leased deliveries behind `after`, by id.
    fn held(&self, after: Option<DeliveryId>, limit: u32) -> Later<Result<Vec<Delivery>, StoreError>>;

    /// Reads one event with its body.
    fn event(&self, id: EventId) -> Later<Result<Option<Arc<Event>>, StoreError>>;

    /// A page of events, newest first.
    fn browse_events(&self, filter: EventFilter, page: Page) -> Later<Result<Listing<EventRow>, StoreError>>;

    /// A page of deliveries: the newest first, see [`DeliveryFilter::comes_by_end`].
    fn browse_deliveries(&self, filter: DeliveryFilter, page: Page) -> Later<Result<Listing<Delivery>, StoreError>>;

    /// The attempts of one delivery, oldest first, the latest included.
    fn attempts(&self, id: DeliveryId) -> Later<Result<Vec<Attempt>, StoreError>>;

    /// A page of the audit log, newest first. A filter that matches little may give a short page with a cursor to go on
    /// from.
    fn browse_audit(&self, filter: AuditFilter, page: Page) -> Later<Result<Listing<AuditEntry>, StoreError>>;

    /// One step of a bulk command: at most 500 deliveries, in the order of [`browse_deliveries`](Self::browse_deliveries),
    /// or of the ids that were named. Repeating a step under the same job id and cursor changes
    /// nothing twice. Call again with the returned cursor until there is none.
    fn bulk(&self, step: BulkStep) -> Later<Result<BulkDone, StoreError>>;

    /// Stores new deliveries of old events (replays), with their audit entries, in one commit; `false` for those whose
    /// event is gone. Repeating the call with the same delivery ids stores nothing twice and answers the same.
    fn replay(&self, deliveries: Vec<Delivery>, audit: Vec<AuditEntry>) -> Later<Result<Vec<bool>, StoreError>>;

    /// Reads one registry document.
    fn document(&self, key: DocumentKey) -> Later<Result<Option<Document>, StoreError>>;

    /// Reads all registry documents of a kind, by name.
    fn documents(&self, kind: DocumentKind) -> Later<Result<Vec<Document>, StoreError>>;

    /// Writes (or, without `body`, deletes) a document if its stored version is still `expect` (0: there is none).
    /// Answers the new version, or `None` if the stored one differs. `audit` entries go in the same commit.
    fn put_document(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: Vec<AuditEntry>,
    ) -> Later<Result<Option<u64>, StoreError>>;

    /// Writes audit entries: what an operator did.
    fn audit(&self, entries: Vec<AuditEntry>) -> Later<Result<(), StoreError>>;

    /// Retires ended deliveries whose retention is over, and events without deliveries left; forgets dedupe keys past
    /// their window and audit lines older than a year (and than `dead_before`). At most `limit` rows a call; `more` asks
    /// for another call.
    fn retain(&self, rules: Retain) -> Later<Result<Retained, StoreError>>;

    /// Depths, totals and oldest waiting age. Cost does not depend on how much is stored.
    fn stats(&self) -> Later<Result<Stats, StoreError>>;

    /// Recounts everything at one read snapshot, in chunks, and compares with the counters.
    fn recount(&self) -> Later<Result<Recount, StoreError>>;

    /// Begins a consistent copy of the store, to be taken piece by piece while it goes on working: one at a time.
    fn backup(&self) -> Later<Result<Copying, BackupError>>;

    /// From now on deadlines are compared with this clock: the one that they were reckoned with.
    fn keep_time(&self, clock: Arc<dyn Fn() -> Wall + Send + Sync>);

    /// What this backend guarantees, for the log and `/health`.
    fn promises(&self) -> Promises;

    /// Completes when the store has failed for good, with the reason.
    fn failed(&self) -> Later<String>;

    /// Finishes what was asked for and closes. Later calls answer `Unavailable`.
    fn close(&self) -> Later<()>;
}

/// Where a page starts and how long it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Opaque; from the previous page's `next`.
    pub cursor: Option<String>,
    /// 1 to 1,000.
    pub limit: u32,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// Half-open time range by id, i.e. by when the event was received or the delivery was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// From then on.
    pub since: Option<Wall>,
    /// Before then.
    pub until: Option<Wall>,
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this source only.
    pub source: Option<Name>,
    /// Received in this range.
    pub range: Range,
}

/// Which deliveries. The combinations a store must serve at constant cost: `event` alone; `destination` with or without
/// one state; states alone; `reason` with or without `destination` (states dead and expired); `source` with any of them is
/// a filter on top and may scan, at most 10,000 rows a page. Each with a time range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of this event.
    pub event: Option<EventId>,
    /// Of this source.
    pub source: Option<Name>,
    /// Of this destination.
    pub destination: Option<Name>,
    /// In one of these states; empty: in any.
    pub states: Vec<State>,
    /// Ended for this reason.
    pub reason: Option<Reason>,
    /// Made in this range (dead letters: ended in this range).
    pub range: Range,
}

impl DeliveryFilter {
    /// Whether the deliveries come, and are ranged, by when they ended: whoever looks for dead letters of a time means
    /// those that ended then. All others come by when they were made. The newest is first either way.
    pub fn comes_by_end(&self) -> bool {
        let only_ended_badly = self.states.iter().all(|state| matches!(state, State::Dead | State::Expired));
        self.range != Range::default()
            && self.event.is_none()
            && (self.reason.is_some() || (only_ended_badly && !self.states.is_empty()))
    }
}

/// An event without its body and headers' values, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The event; its `body` is empty here.
    pub event: Arc<Event>,
    /// Length of its body.
    pub body_bytes: u64,
    /// Its deliveries.
    pub deliveries: Vec<Delivery>,
}

/// One step of a bulk command.
#[derive(Clone, Debug)]
pub struct BulkStep {
    /// Names the command, so that a repetition does nothing twice.
    pub job: JobId,
    /// What is done.
    pub action: BulkAction,
    /// To which deliveries.
    pub target: BulkTarget,
    /// Where the previous step ended.
    pub cursor: Option<String>,
    /// Only count.
    pub dry_run: bool,
    /// At this moment.
    pub now: Wall,
    /// What goes into the audit log with the first step that changes something.
    pub audit: Option<AuditEntry>,
}

/// What a bulk command does.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkAction {
    /// Dead or expired to ready: attempts, losses and TTL start anew (TTL per `(source, destination)`, else the default).
    Redrive {
        /// TTL of routes.
        ttl: Vec<(Name, Name, Duration)>,
        /// For those not named.
        ttl_default: Duration,
    },
    /// Dead or expired: removed now, counted as retired.
    Purge,
    /// Open: cancelled. A leased one too; its report comes too late.
    Cancel,
}

/// Which deliveries a bulk command is about.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkTarget {
    /// These.
    Ids(Vec<DeliveryId>),
    /// Those that match.
    Matching(DeliveryFilter),
}

/// What one bulk step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkDone {
    /// Deliveries that matched.
    pub matched: u64,
    /// Deliveries that were changed.
    pub changed: u64,
    /// The changed ones.
    pub ids: Vec<DeliveryId>,
    /// Their destinations, each once.
    pub destinations: Vec<Name>,
    /// Where the next step starts; `None`: done.
    pub next: Option<String>,
}

/// Kinds of registry documents. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DocumentKind {
    /// A source.
    Source = 1,
    /// A route.
    Route = 2,
    /// A destination.
    Destination = 3,
    /// An API key.
    Key = 4,
    /// A token.
    Token = 5,
    /// A key or certificate that was fetched from a platform.
    FetchedKey = 6,
}

/// Names a registry document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its name within the kind.
    pub name: String,
}

/// A registry document: JSON text that the server understands, with a version for compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its key.
    pub key: DocumentKey,
    /// Goes up by one with every write, from 1.
    pub version: u64,
    /// JSON.
    pub body: String,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Wall,
    /// Who: `cli`, `admin`, `config`, `sender`.
    pub who: String,
    /// What was done: `dead.redrive`, `source.create`, ...
    pub action: String,
    /// To what, in words; no secret, no payload.
    pub subject: String,
    /// From where, as the server writes and reads it: JSON; empty where nobody asked.
    pub origin: String,
}

impl AuditEntry {
    /// The line about a settled change that redrives: a sender's repeat did that, for operators redrive by bulk steps.
    pub fn of_redrive(change: &Change) -> Option<Self> {
        let was_over = matches!(change.before.state, State::Dead | State::Expired);
        (was_over && change.next.state == State::Ready).then(|| Self {
            at: change.next.ready_at,
            who: "sender".into(),
            action: "delivery.redrive".into(),
            subject: format!("{} of {}", change.next.id, change.next.event),
            origin: String::new(),
        })
    }
}

/// Which lines of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this asker.
    pub who: Option<String>,
    /// Of this action, or of a noun: `dead.redrive`, `dead`.
    pub action: Option<String>,
    /// Written then.
    pub range: Range,
}

impl AuditFilter {
    /// Whether a line is one of those.
    pub fn holds(&self, entry: &AuditEntry) -> bool {
        let of_action = |action: &String| {
            let behind = entry.action.strip_prefix(action.as_str());
            behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('.'))
        };
        self.who.as_ref().is_none_or(|who| *who == entry.who)
            && self.action.as_ref().is_none_or(of_action)
            && self.range.since.is_none_or(|since| entry.at >= since)
            && self.range.until.is_none_or(|until| entry.at < until)
    }
}

/// What [`Store::retain`] removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// At this moment.
    pub now: Wall,
    /// Delivered and cancelled ones that ended before.
    pub delivered_before: Wall,
    /// Dead and expired ones that ended before.
    pub dead_before: Wall,
    /// Rows a call.
    pub limit: u32,
}

/// What a [`Store::retain`] call removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Deliveries.
    pub deliveries: u64,
    /// Events.
    pub events: u64,
    /// Call again.
    pub more: bool,
}

/// Counters, kept in the same commit as what they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Per source, by name.
    pub sources: Vec<SourceStats>,
    /// Per destination, by name.
    pub destinations: Vec<DestinationStats>,
    /// Bytes of free disk below the store; `None` in memory.
    pub disk_free_bytes: Option<u64>,
    /// Bytes the store's files take.
    pub store_bytes: u64,
    /// Whether appends are refused for want of room.
    pub full: bool,
    /// Highest id sequence stored.
    pub id_floor: i64,
    /// Latest moment that any commit spoke of: where the clock of the next run begins if the system's stands before it.
    pub latest: Wall,
    /// Records found damaged since the store was opened. Each is named in the log.
    pub damaged: u64,
}

/// Counters of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStats {
    /// Which.
    pub source: Name,
    /// Events ever stored.
    pub accepted: u64,
    /// Events stored now.
    pub stored: u64,
    /// Events removed by retention or purge.
    pub retired: u64,
    /// Repeats that were answered with the first's id.
    pub duplicates: u64,
}

/// Counters of one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationStats {
    /// Which.
    pub destination: Name,
    /// Deliveries ever made: routed and replayed.
    pub created: u64,
    /// Now in each state, in the order of [`State::ALL`].
    pub states: [u64; 7],
    /// Removed by retention or purge.
    pub retired: u64,
    /// In ranges that an operator accepted as lost.
    pub lost: u64,
    /// Outcomes ever recorded, in the order of [`Class::ALL`](relay_core::delivery::outcome::Class::ALL).
    pub outcomes: [u64; 5],
    /// Tries after the first.
    pub retried: u64,
    /// Due time of the earliest waiting delivery.
    pub oldest_due: Option<Wall>,
    /// End of the TTL of the earliest waiting delivery to expire.
    pub next_expiry: Option<Wall>,
}

/// The result of [`Store::recount`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recount {
    /// What was counted, in the shape of the counters.
    pub counted: Stats,
    /// What the counters said at the same snapshot.
    pub kept: Stats,
    /// Stretches of time of which nobody knows what happened in them, the oldest first.
    pub gaps: Vec<Gap>,
}

/// From a backup to its restore: what was accepted and delivered in that time is not in the store, and the sums cannot
/// tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the backup was taken.
    pub since: Wall,
    /// When it was restored.
    pub until: Wall,
    /// Commits in between, at most; `None`: no ledger was left to tell.
    pub commits: Option<u64>,
    /// Events accepted in between, at most.
    pub events: Option<u64>,
}

/// What a backend guarantees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promises {
    /// `sqlite` or `memory`.
    pub backend: &'static str,
    /// When an append counts as durable, in words: "fsync before the answer".
    pub durability: &'static str,
    /// Survives a crash of the process.
    pub survives_kill: bool,
    /// Survives loss of power.
    pub survives_power_loss: bool,
}
