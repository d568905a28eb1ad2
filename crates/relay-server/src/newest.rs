//! When the newest event of each source came, for however many look at the overview.
//!
//! **Invariant:** a source is asked for its newest once a second at most, and not at all while its counters stand still.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;
use relay_core::{
    name::Name,
    storage::StoreError,
    time::{Mono, Wall},
};
use relay_store::seam::{Archive, EventFilter, Page, SourceStats};
use tokio::sync::Mutex;

/// How old a look may be that is shared.
const FRESH: Duration = Duration::from_secs(1);

/// Sources of which it is known: those that pages show, and some that are gone.
const KNOWN_MAX: usize = 1_000;

/// What is known of each source.
#[derive(Debug, Default)]
pub(crate) struct Newest(Mutex<BTreeMap<Name, Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Accepted and retired by then.
    counted: [u64; 2],
    looked_at: Mono,
    received_at: Option<Wall>,
}

impl Newest {
    /// When the newest of these came; nothing of those that hold none.
    ///
    /// # Errors
    /// The store does not tell.
    pub(crate) async fn of(
        &self,
        archive: &dyn Archive,
        sources: &[&SourceStats],
        now: Mono,
    ) -> Result<BTreeMap<Name, Wall>, StoreError> {
        let mut known = self.0.lock().await;
        // Who asks about others takes nothing from those who ask about these.
        if known.len() > KNOWN_MAX {
            known.retain(|name, _| sources.iter().any(|stats| stats.source == *name));
        }
        let is_known =
            |known: &Known, stats: &SourceStats| known.counted == counted(stats) || now.since(known.looked_at) < FRESH;
        let asked =
            sources.iter().filter(|stats| !known.get(&stats.source).is_some_and(|known| is_known(known, stats)));
        let look = async |stats: &SourceStats| {
            let received_at = if stats.stored > 0 { newest(archive, &stats.source).await? } else { None };
            Ok::<_, StoreError>((stats.source.clone(), Known { counted: counted(stats), looked_at: now, received_at }))
        };
        let found = try_join_all(asked.map(|stats| look(stats))).await?;
        known.extend(found);
        let received = |stats: &&SourceStats| Some((stats.source.clone(), known.get(&stats.source)?.received_at?));
        let received = sources.iter().filter_map(received);
        Ok(received.collect())
    }
}

const fn counted(stats: &SourceStats) -> [u64; 2] {
    [stats.accepted, stats.retired]
}

async fn newest(archive: &dyn Archive, source: &Name) -> Result<Option<Wall>, StoreError> {
    let filter = EventFilter { source: Some(source.clone()), ..EventFilter::default() };
    let listing = archive.browse_events(filter, Page { cursor: None, limit: 1 }).await?;
    Ok(listing.items.first().map(|row| row.event.received_at))
}

#[cfg(test)]
mod tests {
    use relay_core::id::IdMint;
    use relay_store::{
        memory::MemoryStore,
        seam::{Queue as _, Upkeep as _},
    };

    use super::*;
    use crate::tests::{append, event};

    /// Stores an event, and gives what the store counts then.
    async fn stored(store: &MemoryStore, mint: &mut IdMint, at: Wall) -> SourceStats {
        let event = event(mint, at, "shop");
        assert!(store.append(vec![append(event, Vec::new())]).await.iter().all(Result::is_ok));
        store.stats().await.unwrap().sources.remove(0)
    }

    #[tokio::test]
    async fn a_source_is_asked_once_a_second_and_only_when_it_has_moved() {
        let (store, mut mint, newest) = (MemoryStore::new(), IdMint::new(0, 7), Newest::default());
        let wall = |seconds: u64| Wall::from_micros(1_700_000_000_000_000) + Duration::from_secs(seconds);
        let now = |millis: u64| Mono::default() + Duration::from_millis(millis);
        let look = async |stats: &SourceStats, millis| {
            newest.of(&store, &[stats], now(millis)).await.unwrap().into_values().next()
        };
        let first = stored(&store, &mut mint, wall(0)).await;
        assert_eq!(look(&first, 0).await, Some(wall(0)));
        let second = stored(&store, &mut mint, wall(1)).await;
        assert_eq!(look(&second, 999).await, Some(wall(0)), "asked a moment ago");
        assert_eq!(look(&first, 5_000).await, Some(wall(0)), "its counters stand still");
        assert_eq!(look(&second, 5_000).await, Some(wall(1)));
        assert!(newest.of(&store, &[], now(9_000)).await.unwrap().is_empty());
        assert!(newest.0.lock().await.contains_key(&first.source), "who asks about others takes nothing away");
    }
}
