//! Moves all that a store holds into an empty one of another kind, or of the same: `crm-relay store migrate`.
//!
//! # What is moved
//! Events with their bodies and dedupe keys; deliveries as they are, in whatever state, with their attempts; registry documents; the
//! audit log; and what only counters know, so that the two sums (I5) go on where they were. What servers on one store agreed on
//! ([`DocumentKind::Shared`]) is not moved, for they agree anew; nor are marks of commands that were begun: one that was not over is
//! to be given again. Stretches that a recount names as missing stay with the source, and its audit log says what became of them.
//!
//! # How
//! Through the seam, and not around it: pages of [`Archive`](crate::seam::Archive), oldest first, are read whole and stored by
//! [`Queue`](crate::seam::Queue) as what comes in and is replayed is; documents and lines go by [`Registry`](crate::seam::Registry),
//! counters are read by [`Upkeep`](crate::seam::Upkeep); and [`Transfer`](crate::seam::Transfer) has the four operations that are left.
//! Stores decide nothing by that, and neither does this: a delivery is in the target what it was in the source, to the last bit of its
//! record. Only an id whose place another one has (a store with one mint tells ids by their sequences, where several servers may have
//! minted the same one) is given the next that is free, in the same partition; each such is listed, and written in the audit log.
//!
//! # Killed in between
//! Both stores say what is under way, in a document of their own ([`DocumentKind::Migration`]), and a server starts on neither. The one of
//! the target says how far it is: it is written behind each page, and what was stored of a page before is found there by its id. So the
//! same command goes on where it was, and any other is refused. At the end both stores are read once more, event by event, and
//! compared; only then may servers start on the target, and never again on the source.
//!
//! # Nobody else
//! The source has to stand still. One with one owner is locked by whoever opened it. Of one with several, servers that are heard of
//! are waited for until they are [gone](relay_core::limits::PRESENCE_GONE), and looked for once more behind the document that keeps others out.

mod carry;
mod compare;
mod mark;
mod nobody;
mod whole;

use std::{fmt, time::Duration};

use aws_lc_rs::rand;
use relay_core::{
    fault::{Fault, Retry},
    storage::{AuditEntry, StoreError},
    time::Wall,
};
use tokio::time::sleep;

pub use self::mark::{Standing, standing};
use self::{
    carry::Carrying,
    mark::{Arrival, Departure, Marked, RenamedIds},
};
use crate::{
    Later, Store,
    seam::{AuditFilter, DocumentKind, Page},
    watch::Watch,
};

/// Kinds of documents that are moved.
const KINDS: [DocumentKind; 8] = [
    DocumentKind::Source,
    DocumentKind::Route,
    DocumentKind::Destination,
    DocumentKind::Key,
    DocumentKind::Token,
    DocumentKind::User,
    DocumentKind::Alert,
    DocumentKind::FetchedKey,
];
/// A store that does not answer is asked again after this, and so often.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_MAX: u32 = 120;
/// What lines of the audit log about moves begin with.
const ACTION: &str = "store.migrate";

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it is moved from.
    Source,
    /// Where it is moved to.
    Target,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the source",
            Self::Target => "the target",
        })
    }
}

/// A move: from where to where, and what both are called. The names tell one move from another, and hold no secret.
#[derive(Clone, Copy)]
pub struct Move<'a> {
    /// Where it is moved from.
    pub source: &'a dyn Store,
    /// Where it is moved to.
    pub target: &'a dyn Store,
    /// What the source is called.
    pub from: &'a str,
    /// What the target is called.
    pub to: &'a str,
}

impl Move<'_> {
    fn at(&self, end: End) -> &dyn Store {
        match end {
            End::Source => self.source,
            End::Target => self.target,
        }
    }
}

/// What there is to be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Events.
    pub events: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Those of them that still have a way to go.
    pub open: u64,
    /// Registry documents.
    pub documents: u64,
    /// What the store takes up.
    pub bytes: u64,
}

/// What was moved, and found the same in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Events.
    pub events: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Attempts before the latest of each.
    pub attempts: u64,
    /// Dedupe keys.
    pub keys: u64,
    /// Registry documents.
    pub documents: u64,
    /// Lines of the audit log.
    pub lines: u64,
    /// Ids that another one's place was taken for: the old and the new of each.
    pub renamed: Vec<(String, String)>,
    /// SHA-256 over all of it, of both stores alike; in hex.
    pub digest: String,
    /// It had been moved before.
    pub was_done: bool,
}

impl Moved {
    /// For the audit log.
    fn in_short(&self) -> String {
        format!("{} events, {} deliveries, {}", self.events, self.deliveries, self.digest)
    }
}

/// Why it was not moved. What is done by then stays, and the same command goes on from there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// A store does not do what it is asked.
    #[error("{end}: {error}")]
    Store {
        /// Which.
        end: End,
        /// Why.
        error: StoreError,
    },
    /// Servers work on it.
    #[error("{end} is served: {servers}. Stop them first")]
    Served {
        /// Which.
        end: End,
        /// By whom.
        servers: String,
    },
    /// There is something in the target.
    #[error("the target is not empty: it has {0}. A move goes into an empty store")]
    NotEmpty(String),
    /// What is under way is another move.
    #[error("{end} belongs to another move, {what}")]
    Another {
        /// Which.
        end: End,
        /// From where to where.
        what: String,
    },
    /// The source was moved already.
    #[error("what was in the source was moved to {0}")]
    Left(String),
    /// Something of the source does not read.
    #[error(
        "the source is damaged: {0}. See what: crm-relay store check; and go on without it: crm-relay store check --accept-loss"
    )]
    Damaged(String),
    /// They are not the same.
    #[error("the stores differ: {0}. Nothing of the source is lost by that; servers start on neither")]
    Differs(String),
    /// It was asked to stop.
    #[error("stopped; the same command goes on from here")]
    Stopped,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl MigrateError {
    /// Who has to change something.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Store { error, .. } => error.fault(),
            Self::Served { .. } | Self::Damaged(_) | Self::Differs(_) => Fault::Operator,
            Self::NotEmpty(_) | Self::Another { .. } | Self::Left(_) | Self::Stopped => Fault::Caller,
            Self::Random => Fault::Resource,
        }
    }

    /// Whether the same command may go on from there later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Store { error, .. } => error.retry(),
            Self::Served { .. } | Self::Stopped => Retry::Backoff,
            Self::NotEmpty(_)
            | Self::Another { .. }
            | Self::Left(_)
            | Self::Damaged(_)
            | Self::Differs(_)
            | Self::Random => Retry::Never,
        }
    }
}

/// What there is to be moved. Nothing is changed.
///
/// # Errors
/// The store does not tell.
pub async fn survey(source: &dyn Store) -> Result<Survey, MigrateError> {
    let stats = patiently(End::Source, || source.stats()).await?;
    let mut survey = Survey { bytes: stats.store_bytes, ..Survey::default() };
    survey.events = stats.sources.iter().map(|of| of.stored).sum();
    for of in &stats.destinations {
        survey.deliveries += of.states.iter().sum::<u64>();
        survey.open += of.states[..3].iter().sum::<u64>();
    }
    for kind in KINDS {
        survey.documents += patiently(End::Source, || source.documents(kind)).await?.len() as u64;
    }
    Ok(survey)
}

/// Moves all of it, or goes on with that.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(stores: Move<'_>, now: Wall, watch: &Watch) -> Result<Moved, MigrateError> {
    let begun = begin(stores, now).await?;
    let mut names = RenamedIds::read(stores.target).await?;
    let (mut departure, mut arrival) = match begun {
        Begun::Now(departure, arrival) => (departure, arrival),
        Begun::Over(arrival) => return Ok(arrival.moved(&names, true)),
    };
    if arrival.mark.done {
        // Killed between the two: a server may be at work on the target by now.
        let moved = arrival.mark.moved(&names, true);
        leave(stores, &mut departure, &moved, now).await?;
        return Ok(moved);
    }
    nobody::after_marks(stores, now.since(Wall::from_micros(arrival.mark.at_ms * 1_000))).await?;
    let survey = survey(stores.source).await?;
    watch.expect(2 * survey.events);
    Carrying { stores, arrival: &mut arrival, names: &mut names, watch }.all().await?;
    let found = compare::compare(stores, &names.renamed, now, watch).await?;
    end(stores, &mut departure, &mut arrival, found, now).await?;
    Ok(arrival.mark.moved(&names, false))
}

/// Gives a move up that is not over: servers may start on the source again. What is in the target by then is of no use.
///
/// # Errors
/// It is over, or was never begun; it goes elsewhere, where it may be over; or see [`MigrateError`].
pub async fn abandon(stores: Move<'_>, now: Wall) -> Result<(), MigrateError> {
    let arrival = Marked::<Arrival>::read(End::Target, stores.target).await?;
    let mut departure = Marked::<Departure>::read(End::Source, stores.source).await?;
    if departure.version == 0 {
        return Err(MigrateError::Another { end: End::Source, what: "which was never begun".into() });
    }
    let is_there = arrival.version > 0 && arrival.mark.id == departure.mark.id;
    if departure.mark.done || (arrival.mark.done && is_there) {
        return Err(MigrateError::Left(departure.mark.to));
    }
    // The one that it goes to may be a store by now, and only there that is known.
    if !is_there && (arrival.version > 0 || departure.mark.to != stores.to) {
        return Err(MigrateError::Another { end: End::Source, what: format!("to {}", departure.mark.to) });
    }
    let line = line(now, "abandon", format!("to {}", departure.mark.to));
    departure.remove(stores.source, vec![line]).await
}

enum Begun {
    Now(Marked<Departure>, Marked<Arrival>),
    Over(Arrival),
}

/// Says in both stores what is under way, or finds that said.
async fn begin(stores: Move<'_>, now: Wall) -> Result<Begun, MigrateError> {
    let came = Marked::<Arrival>::read(End::Source, stores.source).await?;
    if came.version > 0 && !came.mark.done {
        return Err(MigrateError::Another {
            end: End::Source,
            what: format!("from {}, which is not over", came.mark.from),
        });
    }
    let gone = Marked::<Departure>::read(End::Target, stores.target).await?;
    if gone.version > 0 {
        return Err(MigrateError::Another { end: End::Target, what: format!("to {}", gone.mark.to) });
    }
    let mut departure = Marked::<Departure>::read(End::Source, stores.source).await?;
    let mut arrival = Marked::<Arrival>::read(End::Target, stores.target).await?;
    let is_same = arrival.version > 0 && arrival.mark.id == departure.mark.id;
    if departure.version > 0 {
        match (departure.mark.done, arrival.mark.done) {
            (true, _) if !is_same => return Err(MigrateError::Left(departure.mark.to)),
            (true, true) => return Ok(Begun::Over(arrival.mark)),
            (true | false, _) => {}
        }
        if !is_same && departure.mark.to != stores.to {
            return Err(MigrateError::Another { end: End::Source, what: format!("to {}", departure.mark.to) });
        }
    }
    if arrival.version > 0 && !is_same {
        let what = format!("from {}: empty it, or choose another", arrival.mark.from);
        return Err(MigrateError::Another { end: End::Target, what });
    }
    if !is_same {
        refuse_damaged(stores.source).await?;
        refuse_filled(stores.target).await?;
        nobody::before_marks(stores).await?;
        if departure.version == 0 {
            departure.mark = Departure { id: random_id()?, to: stores.to.into(), at_ms: millis(now), done: false };
            departure.put(stores.source, Vec::new()).await?;
        }
        let (id, from) = (departure.mark.id.clone(), stores.from.into());
        arrival.mark = Arrival { id, from, at_ms: millis(now), ..Arrival::default() };
        arrival.put(stores.target, Vec::new()).await?;
    }
    Ok(Begun::Now(departure, arrival))
}

async fn refuse_damaged(source: &dyn Store) -> Result<(), MigrateError> {
    match patiently(End::Source, || source.stats()).await?.damaged {
        0 => Ok(()),
        1 => Err(MigrateError::Damaged("1 record does not read".into())),
        records => Err(MigrateError::Damaged(format!("{records} records do not read"))),
    }
}

async fn refuse_filled(target: &dyn Store) -> Result<(), MigrateError> {
    let stats = patiently(End::Target, || target.stats()).await?;
    let accepted: u64 = stats.sources.iter().map(|of| of.accepted).sum();
    if accepted > 0 {
        return Err(MigrateError::NotEmpty(format!("accepted {accepted} events")));
    }
    for kind in KINDS.into_iter().chain([DocumentKind::Shared]) {
        if let Some(first) = patiently(End::Target, || target.documents(kind)).await?.first() {
            return Err(MigrateError::NotEmpty(format!("a document {kind:?} {}", first.key.name)));
        }
    }
    let page = || Page { cursor: None, limit: 1 };
    let lines = patiently(End::Target, || target.browse_audit(AuditFilter::default(), page())).await?;
    let others = lines.items.iter().find(|line| !is_about_moves(line));
    others.map_or(Ok(()), |line| Err(MigrateError::NotEmpty(format!("an audit log ({})", line.action))))
}

/// The target first: from then on it is the store, and the source is not.
async fn end(
    stores: Move<'_>,
    departure: &mut Marked<Departure>,
    arrival: &mut Marked<Arrival>,
    found: Moved,
    now: Wall,
) -> Result<(), MigrateError> {
    let line = line(now, "in", format!("from {}: {}", stores.from, found.in_short()));
    arrival.mark.found(&found);
    arrival.put(stores.target, vec![line]).await?;
    leave(stores, departure, &found, now).await
}

/// From then on the source is none.
async fn leave(
    stores: Move<'_>,
    departure: &mut Marked<Departure>,
    found: &Moved,
    now: Wall,
) -> Result<(), MigrateError> {
    departure.mark.done = true;
    let line = line(now, "out", format!("to {}: {}", stores.to, found.in_short()));
    departure.put(stores.source, vec![line]).await
}

fn line(at: Wall, what: &str, subject: String) -> AuditEntry {
    AuditEntry { at, who: "cli".into(), action: format!("{ACTION}.{what}"), subject, origin: String::new() }
}

fn is_about_moves(line: &AuditEntry) -> bool {
    line.action.starts_with(ACTION)
}

fn millis(at: Wall) -> i64 {
    at.as_micros() / 1_000
}

fn random_id() -> Result<String, MigrateError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| MigrateError::Random)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Asks again what may be asked again, for a minute.
async fn patiently<T>(end: End, ask: impl Fn() -> Later<Result<T, StoreError>>) -> Result<T, MigrateError> {
    let mut tries = 0;
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            // It can be mended there, which is said with it.
            Err(StoreError::Damaged { what }) if end == End::Source => {
                return Err(MigrateError::Damaged(what.to_string()));
            }
            Err(error) => error,
        };
        tries += 1;
        if error.retry() != Retry::Backoff || tries >= AGAIN_MAX {
            return Err(MigrateError::Store { end, error });
        }
        sleep(AGAIN_AFTER).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store has to say of itself is passed on; else only servers that still run, and a stop, are over some time.
    #[test]
    fn every_reason_not_to_move_says_whether_it_passes() {
        let (end, what) = (End::Target, || "all of it".to_owned());
        for error in [StoreError::Away, StoreError::Full, StoreError::Unavailable] {
            let expected = (error.fault(), error.retry());
            let error = MigrateError::Store { end, error };
            assert_eq!((error.fault(), error.retry()), expected, "{error}");
        }
        for (error, expected) in [
            (MigrateError::Served { end, servers: what() }, (Fault::Operator, Retry::Backoff)),
            (MigrateError::NotEmpty(what()), (Fault::Caller, Retry::Never)),
            (MigrateError::Another { end, what: what() }, (Fault::Caller, Retry::Never)),
            (MigrateError::Left(what()), (Fault::Caller, Retry::Never)),
            (MigrateError::Damaged(what()), (Fault::Operator, Retry::Never)),
            (MigrateError::Differs(what()), (Fault::Operator, Retry::Never)),
            (MigrateError::Stopped, (Fault::Caller, Retry::Backoff)),
            (MigrateError::Random, (Fault::Resource, Retry::Never)),
        ] {
            assert_eq!((error.fault(), error.retry()), expected, "{error}");
        }
    }
}
