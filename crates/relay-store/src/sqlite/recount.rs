//! The recount: everything is counted at one read snapshot and set beside the counters of the same snapshot.

use rusqlite::Connection;

use super::{
    book::{Book, Kind},
    fault::Fault,
    gap, of_source,
    reader::at_one_snapshot,
    schema,
};
use crate::seam::{DestinationStats, Recount, SourceStats, Stats};

/// The count, and what nobody knows.
pub(super) fn recount(db: &Connection) -> Result<Recount, Fault> {
    Ok(Recount { gaps: gap::all(db)?, ..sums(db)? })
}

/// Counts rows by walking the tables' indexes; `store check` compares those with the tables.
pub(super) fn sums(db: &Connection) -> Result<Recount, Fault> {
    at_one_snapshot(db, |db| {
        let book = Book::load(db)?;
        let sources = book.entries(Kind::Source).map(|(number, entry)| (number, entry.source_stats()));
        let destinations = book.entries(Kind::Destination).map(|(number, entry)| (number, entry.destination_stats()));
        let (mut sources, mut destinations): (Vec<_>, Vec<_>) = (sources.collect(), destinations.collect());
        let kept = shown(&sources, &destinations);
        count_events(db, &mut sources)?;
        count_deliveries(db, &mut destinations)?;
        Ok(Recount { counted: shown(&sources, &destinations), kept, gaps: Vec::new() })
    })
}

/// What only a counter knows (retired, duplicates, outcomes) is taken over, so that the sums must come out even.
fn count_events(db: &Connection, sources: &mut [(u32, SourceStats)]) -> Result<(), Fault> {
    for (_, stats) in &mut *sources {
        stats.stored = 0;
        stats.accepted = stats.retired;
    }
    for (source, count) in of_source::count(db)? {
        if let Some((_, stats)) = sources.iter_mut().find(|(number, _)| *number == source) {
            stats.stored += count;
            stats.accepted += count;
        }
    }
    Ok(())
}

fn count_deliveries(db: &Connection, destinations: &mut [(u32, DestinationStats)]) -> Result<(), Fault> {
    for (_, stats) in &mut *destinations {
        stats.states = [0; 7];
        stats.created = stats.retired + stats.lost;
    }
    let mut statement =
        db.prepare_cached("SELECT dest, state, count(*) FROM deliveries INDEXED BY by_state GROUP BY dest, state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (destination, code, count): (u32, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = destinations.iter_mut().find(|(number, _)| *number == destination);
        let state = schema::state_of(code);
        if let (Some((_, stats)), Some(state)) = (place, state) {
            stats.states[state as usize - 1] += count as u64;
            stats.created += count as u64;
        }
    }
    Ok(())
}

fn shown(sources: &[(u32, SourceStats)], destinations: &[(u32, DestinationStats)]) -> Stats {
    let mut sources: Vec<_> = sources.iter().map(|(_, stats)| stats.clone()).collect();
    let mut destinations: Vec<_> = destinations.iter().map(|(_, stats)| stats.clone()).collect();
    sources.sort_by(|a, b| a.source.cmp(&b.source));
    destinations.sort_by(|a, b| a.destination.cmp(&b.destination));
    Stats { sources, destinations, ..Stats::default() }
}
