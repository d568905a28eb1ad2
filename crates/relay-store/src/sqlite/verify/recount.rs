//! The recount: everything is counted at one read snapshot and set beside the counters of the same snapshot.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use relay_core::storage::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::gap;
use crate::{
    seam::{DestinationStats, Recount, SourceStats, Stats},
    sqlite::{
        fault::Fault,
        files::{open, schema},
        read::{
            book::{Book, Kind, Shelf},
            of_source,
            reader::at_one_snapshot,
        },
        status::Status,
    },
};

/// Steps of SQLite's machine between two looks at whether anybody still wants the count; some milliseconds.
const STEPS_BETWEEN_LOOKS: i32 = 100_000;

type Asker = oneshot::Sender<Result<Recount, StoreError>>;

/// Counts, one at a time: each holds a snapshot, which keeps the write-ahead log from shrinking, and reads all there is. Who
/// asks meanwhile shares the next one, so that nobody gets what was counted before he asked.
#[derive(Clone, Default)]
pub(crate) struct Counting(Arc<Mutex<Doing>>);

#[derive(Default)]
struct Doing {
    stop: bool,
    running: bool,
    /// Who gets the count that is under way.
    served: Vec<Asker>,
    /// Who gets the next one.
    waiting: Vec<Asker>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    /// Asks for a count. Ends without an answer when the store closes, or has failed.
    pub(crate) fn ask(
        &self,
        dir: &Path,
        status: &Arc<Status>,
        shelf: &Shelf,
    ) -> oneshot::Receiver<Result<Recount, StoreError>> {
        self.ask_in(thread::Builder::new().name("store-recount".into()), dir, status, shelf)
    }

    fn ask_in(
        &self,
        thread: thread::Builder,
        dir: &Path,
        status: &Arc<Status>,
        shelf: &Shelf,
    ) -> oneshot::Receiver<Result<Recount, StoreError>> {
        let (answer, asked) = oneshot::channel();
        let mut doing = self.lock();
        if doing.stop || status.has_failed() {
            return asked;
        }
        doing.waiting.push(answer);
        if !doing.running {
            let (this, dir, status, shelf) = (self.clone(), dir.to_owned(), Arc::clone(status), shelf.clone());
            let work = move || {
                status.guard("a recount", || this.work(&dir, &status, &shelf));
                if status.has_failed() {
                    this.stop();
                }
            };
            match thread.spawn(work) {
                Ok(thread) => (doing.running, doing.thread) = (true, Some(thread)),
                Err(error) => {
                    tracing::debug!(%error, "no thread could be started for a recount");
                    // It says nothing about what is stored: later there may be one.
                    for asker in doing.waiting.drain(..) {
                        drop(asker.send(Err(StoreError::Away)));
                    }
                }
            }
        }
        asked
    }

    /// Ends the count that is under way, and lets none begin.
    pub(crate) fn stop(&self) {
        let mut doing = self.lock();
        doing.stop = true;
        doing.waiting.clear();
        doing.served.clear();
    }

    /// Waits for the end of the thread.
    pub(crate) fn join(&self) {
        let thread = self.lock().thread.take();
        // A panic there has been noticed.
        drop(thread.map(JoinHandle::join));
    }

    fn work(&self, dir: &Path, status: &Status, shelf: &Shelf) {
        while self.takes_next() {
            let count = || open::connect_reader(dir).and_then(|mut db| self.count(&mut db, shelf));
            let counted = shelf.judged(count);
            if let Some(reason) = counted.as_ref().err().and_then(Fault::breaks) {
                status.fail(reason);
            }
            let answer = counted.map_err(Fault::answer);
            for asker in std::mem::take(&mut self.lock().served) {
                // One who has gone meanwhile.
                drop(asker.send(answer.clone()));
            }
        }
    }

    /// Whether there is somebody to count for.
    fn takes_next(&self) -> bool {
        let mut doing = self.lock();
        doing.served = std::mem::take(&mut doing.waiting);
        doing.running = !doing.served.is_empty();
        doing.running
    }

    fn count(&self, db: &mut Connection, shelf: &Shelf) -> Result<Recount, Fault> {
        let this = self.clone();
        let is_unwanted = move || {
            let doing = this.lock();
            doing.stop || doing.served.iter().all(oneshot::Sender::is_closed)
        };
        db.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_unwanted))?;
        Book::load_noting(db, shelf)?;
        recount(db)
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The count, and what nobody knows.
pub(crate) fn recount(db: &Connection) -> Result<Recount, Fault> {
    Ok(Recount { gaps: gap::all(db)?, ..sums(db)? })
}

/// Counts rows by walking the tables' indexes; `store check` compares those with the tables.
pub(crate) fn sums(db: &Connection) -> Result<Recount, Fault> {
    at_one_snapshot(db, |db| {
        let book = Book::load(db)?;
        let sources = book.entries(Kind::Source).map(|(number, entry)| (number, entry.source_stats()));
        let destinations = book.entries(Kind::Destination).map(|(number, entry)| (number, entry.destination_stats()));
        let (mut sources, mut destinations): (Vec<_>, Vec<_>) = (sources.collect(), destinations.collect());
        let kept = shown(&sources, &destinations);
        count_events(db, &mut sources)?;
        count_deliveries(db, &mut destinations)?;
        Ok(Recount { counted: shown(&sources, &destinations), kept, gaps: Vec::new(), damaged: 0 })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// I17: where the machine has no thread left a count is put off; only a store that closes or fails answers for good.
    #[test]
    fn without_a_thread_a_count_is_put_off() {
        let (counting, status) = (Counting::default(), Arc::new(Status::default()));
        let too_large = thread::Builder::new().stack_size(1 << 60);
        let mut asked = counting.ask_in(too_large, Path::new("/nowhere"), &status, &Shelf::default());
        assert_eq!(asked.try_recv(), Ok(Err(StoreError::Away)));
        counting.stop();
        let mut asked = counting.ask(Path::new("/nowhere"), &status, &Shelf::default());
        assert!(asked.try_recv().is_err(), "it is dropped");
    }
}
