//! Finds events by a value.

use std::time::Duration;

use relay_core::{
    id::EventId,
    limits,
    name::Name,
    storage::{EventRow, MarkedAsk, Page, StoreError},
};
use relay_store::seam::Indexed;
use tokio::time::Instant;

use super::{
    Marks,
    value::{Wanted, digest},
    widened,
};
use crate::registry::{RegistryError, listed};

/// One search that is under way reads whole events for so long, and then to the end of a page of the store's.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Events of such a page.
const PAGE: usize = 50;

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    source: Name,
    wanted: Wanted,
    value: String,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Sought {
    /// The events that have the value, the newest first.
    pub(crate) rows: Vec<EventRow>,
    /// So many of those that a mark leads to do not read.
    pub(crate) unread: u64,
    /// Where the next page starts.
    pub(crate) next: Option<String>,
    /// Between which moments that is all; `None`: nothing is known yet.
    pub(crate) indexed: Option<Indexed>,
}

/// Why nothing was looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MarksError {
    /// There is no such source.
    #[error(transparent)]
    Unknown(RegistryError),
    /// It has no such mark.
    #[error("source {of:?} has no mark {name:?}; {has}")]
    NoMark {
        /// Whose.
        of: String,
        /// Which.
        name: String,
        /// What there is, or how there would be one.
        has: String,
    },
    /// No mark has such a value.
    #[error("a value of {0} bytes; want 1 to {max}", max = limits::MARK_VALUE_BYTES_MAX)]
    Value(usize),
    /// The server stops.
    #[error("the server stops")]
    Stopping,
    /// The store does not tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Marks {
    /// What is to be looked for, if it can be.
    ///
    /// # Errors
    /// There is no such mark, or none has such a value.
    pub(crate) fn lookup(&self, source: &Name, mark: &str, value: &str) -> Result<Lookup, MarksError> {
        if !(1..=limits::MARK_VALUE_BYTES_MAX).contains(&value.len()) {
            return Err(MarksError::Value(value.len()));
        }
        Ok(Lookup { source: source.clone(), wanted: self.mark_of(source, mark)?, value: value.to_owned() })
    }

    /// A page of the events of a source that have this value at a mark; where it takes long it is a short one, with a cursor.
    ///
    /// # Errors
    /// The store does not tell.
    pub(crate) async fn find(&self, lookup: &Lookup, page: Page) -> Result<Sought, MarksError> {
        let _turn = self.finding.acquire().await.map_err(|_| MarksError::Stopping)?;
        let (Lookup { source, wanted, value }, wanted_max) = (lookup, page.limit as usize);
        let (marker, ends_at) = (wanted.marker, Instant::now() + TIME_MAX);
        let ask = MarkedAsk { source: source.clone(), marker, value: digest(source, marker.slot, value), page };
        // What is known of before the first read has its rows there; what is filled meanwhile has not.
        let known = self.reach(source, marker);
        let mut sought = Sought { rows: Vec::new(), unread: 0, next: ask.page.cursor.clone(), indexed: None };
        let mut is_first = true;
        loop {
            let limit = (wanted_max - sought.rows.len()).min(PAGE);
            let page = Page { cursor: sought.next.take(), limit: limit as u32 };
            let found = self.archive.marked(MarkedAsk { page, ..ask.clone() }).await?;
            if std::mem::take(&mut is_first) {
                sought.indexed = found.indexed.map(|stored| widened(stored, known.as_ref()));
            }
            for row in found.items {
                match self.has(lookup, row.event.id).await? {
                    Some(true) => sought.rows.push(row),
                    Some(false) => {}
                    None => sought.unread += 1,
                }
            }
            sought.next = found.next;
            if sought.next.is_none() || sought.rows.len() >= wanted_max || Instant::now() >= ends_at {
                return Ok(sought);
            }
        }
    }

    /// Whether an event has it; `None`: it does not read.
    async fn has(&self, lookup: &Lookup, id: EventId) -> Result<Option<bool>, MarksError> {
        let _held = self.room.acquire().await.map_err(|_| MarksError::Stopping)?;
        let event = match self.archive.event(id).await {
            Ok(Some(event)) => event,
            // It went since.
            Ok(None) => return Ok(Some(false)),
            Err(StoreError::Damaged { .. } | StoreError::Later { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let lookup = lookup.clone();
        // Where that holds up nobody: bodies are parsed, and decoded.
        let has = tokio::task::spawn_blocking(move || lookup.wanted.is_in(&event, &lookup.value));
        has.await.map(Some).map_err(|_| MarksError::Store(StoreError::Unavailable))
    }

    fn mark_of(&self, source: &Name, mark: &str) -> Result<Wanted, MarksError> {
        let directory = self.registry.directory();
        let entry = directory.sources.get(source).ok_or_else(|| {
            let (name, known) = (source.to_string(), listed(directory.sources.keys()));
            MarksError::Unknown(RegistryError::Unknown { kind: "source", name, known })
        })?;
        let marks = &entry.document.marks;
        let definition = marks.iter().find(|definition| definition.name.as_str() == mark);
        let wanted = definition.and_then(|definition| Wanted::of(definition, self.sealed_with));
        wanted.ok_or_else(|| {
            let has = if marks.is_empty() {
                format!("it has none; make one: crm-relay source update {source} --mark {mark}='$.place.in.bodies'")
            } else {
                format!("it has: {}", listed(marks.iter().map(|definition| &definition.name)))
            };
            MarksError::NoMark { of: source.to_string(), name: mark.to_owned(), has }
        })
    }
}
