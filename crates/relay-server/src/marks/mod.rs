//! Marks: values of events by which those are found. Here they are read out of bodies, filled in behind the commits of the events, and asked
//! for; where they are kept is the store's ([`relay_store::seam`]).
//!
//! **Invariant:** nothing that is taken in waits for any of this, and where no source declares marks nothing is read. An answer holds no event
//! that does not have the value: whoever was led to one reads it, and compares.

mod fill;
mod find;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay_core::name::Name;
use relay_store::seam::{Archive, Indexed, Marker, Promises, Upkeep};
use tokio::sync::Semaphore;

pub(crate) use self::find::{MarksError, Sought};
use self::value::Wanted;
use crate::{clock::Clock, directory::Directory, registry::Registry};

/// Searches at a time; whoever comes next waits.
const SEARCHES_AT_ONCE: usize = 2;

/// Fills marks, and finds events by them.
pub(crate) struct Marks {
    archive: Arc<dyn Archive>,
    upkeep: Arc<dyn Upkeep>,
    registry: Arc<Registry>,
    clock: Clock,
    /// Bounds whole events that are in memory at a time.
    room: Arc<Semaphore>,
    /// Searches at a time, each of which reads whole events.
    finding: Semaphore,
    /// The store keeps them.
    are_kept: bool,
    /// The number of the key that it is sealed with.
    sealed_with: Option<u32>,
    /// How far they are known to go, at least: the store has it from the last commit, and nothing may have come since.
    known: Mutex<BTreeMap<(Name, u8), Indexed>>,
}

/// What a mark of a source is called, where it stands in bodies, and how far it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) name: Name,
    pub(crate) path: String,
    /// `None`: nothing is filled yet.
    pub(crate) indexed: Option<Indexed>,
}

impl Marks {
    pub(crate) fn new(
        (archive, upkeep): (Arc<dyn Archive>, Arc<dyn Upkeep>),
        registry: Arc<Registry>,
        clock: Clock,
        room: Arc<Semaphore>,
    ) -> Self {
        let Promises { marks: are_kept, sealed_with, .. } = upkeep.promises();
        let finding = Semaphore::new(SEARCHES_AT_ONCE);
        Self { archive, upkeep, registry, clock, room, finding, are_kept, sealed_with, known: Mutex::default() }
    }

    /// How far the marks of a source go.
    ///
    /// # Errors
    /// The store does not tell. It is not asked where there are none.
    pub(crate) async fn standing(&self, source: &Name) -> Result<Vec<Standing>, MarksError> {
        let directory = self.registry.directory();
        let Some(entry) = directory.sources.get(source).filter(|entry| !entry.document.marks.is_empty()) else {
            return Ok(Vec::new());
        };
        let stored = self.archive.indexed().await?;
        let standing = |definition: &crate::document::MarkDefinition| {
            let wanted = Wanted::of(definition, self.sealed_with);
            let of_mark = |indexed: &&Indexed| {
                indexed.source == *source && wanted.as_ref().is_some_and(|wanted| wanted.marker == indexed.marker)
            };
            let indexed = stored.iter().find(of_mark).map(|indexed| self.at_least(indexed.clone()));
            Standing { name: definition.name.clone(), path: definition.path.clone(), indexed }
        };
        Ok(entry.document.marks.iter().map(standing).collect())
    }

    /// The marks that sources declare, of those that read.
    fn wanted(&self, directory: &Directory) -> BTreeMap<Name, Vec<Wanted>> {
        let of_source = directory.sources.values().map(|entry| &entry.document);
        let marked = of_source.filter(|source| !source.marks.is_empty());
        let wanted = |definition| Wanted::of(definition, self.sealed_with);
        marked.map(|source| (source.name.clone(), source.marks.iter().filter_map(wanted).collect())).collect()
    }

    /// The same, as far as it is known to go here by now.
    fn at_least(&self, stored: Indexed) -> Indexed {
        let known = self.reach(&stored.source, stored.marker);
        widened(stored, known.as_ref())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(Name, u8), Indexed>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far that mark of a source is known to go.
    fn reach(&self, source: &Name, marker: Marker) -> Option<Indexed> {
        self.known().get(&(source.clone(), marker.slot)).filter(|known| known.marker == marker).cloned()
    }

    /// Marks go that far.
    fn reached(&self, reach: Vec<Indexed>) {
        self.known().extend(reach.into_iter().map(|indexed| ((indexed.source.clone(), indexed.marker.slot), indexed)));
    }
}

/// As far as the store says, or as was known before it was asked.
fn widened(stored: Indexed, known: Option<&Indexed>) -> Indexed {
    match known.filter(|known| known.marker == stored.marker) {
        Some(known) => Indexed { from: stored.from.min(known.from), to: stored.to.max(known.to), ..stored },
        None => stored,
    }
}
