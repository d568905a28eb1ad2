//! Finds events by a value.

use std::sync::Arc;

use relay_core::{
    limits,
    name::Name,
    storage::{EventRow, MarkedAsk, Page, StoreError},
};
use relay_store::seam::Indexed;

use super::{
    Marks,
    value::{Wanted, digest},
};
use crate::registry::{RegistryError, listed};

/// What was found.
#[derive(Debug)]
pub(crate) struct Sought {
    /// The events that have the value, the newest first.
    pub(crate) rows: Vec<EventRow>,
    /// Where the next page starts.
    pub(crate) next: Option<String>,
    /// Between which moments that is all; `None`: nothing is known yet.
    pub(crate) indexed: Option<Indexed>,
}

/// Why nothing was looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MarksError {
    /// There is no such source, or mark.
    #[error(transparent)]
    Unknown(RegistryError),
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
    /// A page of the events of a source that have this value at a mark.
    ///
    /// # Errors
    /// There is no such mark, or the store does not tell.
    pub(crate) async fn find(&self, source: &Name, mark: &str, value: &str, page: Page) -> Result<Sought, MarksError> {
        if !(1..=limits::MARK_VALUE_BYTES_MAX).contains(&value.len()) {
            return Err(MarksError::Value(value.len()));
        }
        let wanted = self.mark_of(source, mark)?;
        let marker = wanted.marker;
        let ask = MarkedAsk { source: source.clone(), marker, value: digest(source, marker.slot, value), page };
        let found = self.archive.marked(ask).await?;
        let mut rows = Vec::with_capacity(found.items.len());
        for row in found.items {
            let _held = self.room.acquire().await.map_err(|_| MarksError::Stopping)?;
            // One that does not read by now, or is gone, is nobody's.
            let Some(event) = self.archive.event(row.event.id).await.ok().flatten() else { continue };
            let (wanted, value, event) = (wanted.clone(), value.to_owned(), Arc::clone(&event));
            // Where that holds up nobody: bodies are parsed, and decoded.
            let has = tokio::task::spawn_blocking(move || wanted.is_in(&event, &value)).await;
            if has.is_ok_and(|has| has) {
                rows.push(row);
            }
        }
        Ok(Sought { rows, next: found.next, indexed: found.indexed.map(|stored| self.at_least(stored)) })
    }

    fn mark_of(&self, source: &Name, mark: &str) -> Result<Wanted, MarksError> {
        let directory = self.registry.directory();
        let unknown = |kind, name: &str, known| {
            MarksError::Unknown(RegistryError::Unknown { kind, name: name.to_owned(), known })
        };
        let Some(entry) = directory.sources.get(source) else {
            return Err(unknown("source", source.as_str(), listed(directory.sources.keys())));
        };
        let marks = &entry.document.marks;
        let definition = marks.iter().find(|definition| definition.name.as_str() == mark);
        let wanted = definition.and_then(|definition| Wanted::of(definition, self.sealed_with));
        wanted.ok_or_else(|| unknown("mark", mark, listed(marks.iter().map(|definition| &definition.name))))
    }
}
