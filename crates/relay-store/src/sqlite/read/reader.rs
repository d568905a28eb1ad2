//! The threads that read: two connections of their own, each read bounded in time.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use relay_core::storage::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::sqlite::{
    fault::{Fault, READ_TIME_MAX},
    status::Status,
};

/// Steps of SQLite's machine between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 4096;
/// Reads that wait at most.
const WAITING_MAX: usize = 4096;

type Read = Box<dyn FnOnce(&Connection, &Status) + Send>;

/// The reading threads with their queue.
pub(crate) struct Readers {
    reads: Reads,
    threads: Vec<JoinHandle<()>>,
}

/// Where reads are asked for.
#[derive(Clone)]
pub(crate) struct Reads(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    status: Arc<Status>,
}

#[derive(Default)]
struct Waiting {
    reads: VecDeque<Read>,
    stop: bool,
}

impl Readers {
    /// Starts one thread per connection.
    pub(crate) fn start(connections: Vec<Connection>, status: &Arc<Status>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), wake: Condvar::new(), status: Arc::clone(status) });
        let mut threads = Vec::new();
        for db in connections {
            let shared = Arc::clone(&shared);
            threads.push(thread::Builder::new().name("store-read".into()).spawn(move || serve(db, &shared))?);
        }
        Ok(Self { reads: Reads(shared), threads })
    }

    /// Where they are asked.
    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Takes no more reads; those that wait are dropped.
    pub(crate) fn stop(&self) {
        self.reads.0.stop();
    }
}

impl Reads {
    /// Reads at one snapshot. An answer comes in any case, if only by the drop of its sender.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        let (answer, asked) = oneshot::channel();
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.stop || self.0.status.has_failed() {
            return asked;
        }
        if waiting.reads.len() >= WAITING_MAX {
            // Nobody waits for the sending side yet, and a refused send cannot happen.
            drop(answer.send(Err(Fault::TooSlow.answer())));
            return asked;
        }
        waiting.reads.push_back(Box::new(move |db, status| {
            let result = at_one_snapshot(db, read);
            if let Some(reason) = result.as_ref().err().and_then(Fault::breaks) {
                status.fail(reason);
            }
            drop(answer.send(result.map_err(Fault::answer)));
        }));
        self.0.wake.notify_one();
        asked
    }
}

impl Shared {
    fn stop(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.stop = true;
        let dropped = std::mem::take(&mut waiting.reads);
        drop(waiting);
        drop(dropped);
        self.wake.notify_all();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // A panic there has been printed; there is nothing left to save.
            drop(thread.join());
        }
    }
}

/// Runs `read` inside a read transaction, so that everything it sees is of one commit.
pub(crate) fn at_one_snapshot<T>(
    db: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    db.prepare_cached("BEGIN")?.execute([])?;
    let result = read(db);
    match db.prepare_cached("ROLLBACK")?.execute([]) {
        Ok(_) => result,
        Err(error) => Err(Fault::Broken(format!("a read did not end: {error}"))),
    }
}

fn serve(mut db: Connection, shared: &Shared) {
    let started = Instant::now();
    // Microseconds since `started` at which the read under way is given up.
    let give_up_at = Arc::new(AtomicU64::new(u64::MAX));
    let bound = Arc::clone(&give_up_at);
    let is_over = move || elapsed(started) >= bound.load(Ordering::Relaxed);
    if let Err(error) = db.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_over)) {
        shared.status.fail(&format!("reader: {error}"));
        return;
    }
    loop {
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let read = loop {
            if waiting.stop {
                return;
            }
            if let Some(read) = waiting.reads.pop_front() {
                break read;
            }
            waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        };
        drop(waiting);
        give_up_at.store(elapsed(started) + READ_TIME_MAX.as_micros() as u64, Ordering::Relaxed);
        shared.status.guard("a read", || read(&db, &shared.status));
        if shared.status.has_failed() {
            // Perhaps by this panic, in the midst of a transaction. Nothing is read any more: whoever waits is told.
            return shared.stop();
        }
    }
}

fn elapsed(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I17: a bug in a read is the end of the store, and nobody waits for a thread that is gone.
    #[test]
    fn a_read_that_panics_ends_the_store_and_everybody_is_answered() {
        let status = Arc::new(Status::default());
        let db = Connection::open_in_memory().expect("opens");
        let readers = Readers::start(vec![db], &status).expect("starts");
        let panics = readers.reads().read(|_| -> Result<(), Fault> { panic!("a bug") });
        let behind = readers.reads().read(|_| Ok(()));
        panics.blocking_recv().expect_err("it has no answer");
        drop(behind.blocking_recv());
        assert_eq!(status.reason().as_deref(), Some("a read panicked"));
        readers.reads().read(|_| Ok(())).blocking_recv().expect_err("nothing is read any more");
    }
}
