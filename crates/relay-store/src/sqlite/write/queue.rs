//! What waits for the writer: lanes, each bounded, and the tasks in them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use relay_core::{name::Name, storage::StoreError};
use tokio::sync::oneshot;

use super::transaction::Transaction;
use crate::sqlite::fault::Fault;

/// Operations and bytes that one commit takes; a larger operation goes alone.
pub(crate) const BATCH_OPS_MAX: usize = 1024;
const BATCH_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Operations and bytes that wait at most; beyond that appends are refused at once instead of after their deadline.
const WAITING_APPENDS_MAX: usize = 16 * 1024;
const WAITING_BYTES_MAX: u64 = 128 * 1024 * 1024;
const WAITING_OTHERS_MAX: usize = 64 * 1024;

/// Why a task was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Busy,
    /// It is done, and nothing vouches for it yet.
    Unknown,
    Unavailable,
}

impl Refusal {
    /// What whoever asked is told, unless it was an append.
    pub(crate) const fn of_store(self) -> StoreError {
        match self {
            Self::Full | Self::Busy => StoreError::Full,
            Self::Unknown => StoreError::Unknown,
            Self::Unavailable => StoreError::Unavailable,
        }
    }
}

/// One operation on its way to the writer and back.
pub(crate) trait Task: Send {
    /// Does it inside a transaction. May be called again after a rollback.
    fn run(&mut self, tx: &mut Transaction<'_>) -> Result<(), Fault>;
    /// Gives the answer of the last run, which is durable now; or itself, if it goes on in another commit.
    fn answer(self: Box<Self>) -> Option<Box<dyn Task>>;
    /// Answers that it was not done.
    fn refuse(self: Box<Self>, why: Refusal);
    /// How much of a batch it takes.
    fn weight(&self) -> Weight;
}

/// How much of a batch a task takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight {
    pub(crate) ops: usize,
    pub(crate) bytes: u64,
}

/// A task made of functions.
pub(crate) struct Ask<A, R, W> {
    pub(crate) run: R,
    pub(crate) refuse: W,
    pub(crate) weight: Weight,
    pub(crate) done: Option<A>,
    pub(crate) answer: oneshot::Sender<A>,
}

impl<A, R, W> Task for Ask<A, R, W>
where
    A: Send,
    R: FnMut(&mut Transaction<'_>) -> Result<A, Fault> + Send,
    W: Fn(Refusal) -> A + Send,
{
    fn run(&mut self, tx: &mut Transaction<'_>) -> Result<(), Fault> {
        self.done = Some((self.run)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>) -> Option<Box<dyn Task>> {
        let Self { run, refuse, done, answer, .. } = *self;
        // First what it holds: whoever waits may hold the rest.
        drop(run);
        let result = done.unwrap_or_else(|| refuse(Refusal::Unavailable));
        // Nobody waits any more: the operation happened all the same.
        drop(answer.send(result));
        None
    }

    fn refuse(self: Box<Self>, why: Refusal) {
        let answer = (self.refuse)(why);
        drop(self.answer.send(answer));
    }

    fn weight(&self) -> Weight {
        self.weight
    }
}

/// A task in a batch.
pub(crate) struct Job {
    pub(crate) task: Box<dyn Task>,
    /// It adds to what is stored, so it is refused when room runs out.
    pub(crate) adds: bool,
}

/// What the writer does next.
pub(crate) enum Turn {
    /// These, in one commit.
    Batch(Vec<Job>),
    /// One step of bulk work, in a commit of its own.
    Bulk(Job),
    /// One step of retention that has earned its turn, in a commit of its own.
    Retire(Job),
    /// Nothing came for a while.
    Idle,
    /// Everything asked for is done, and no more will come.
    Close,
    /// The store was dropped.
    Abandon,
}

/// What may have its turn although other work waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// Bulk work, from then on: until then its share of the time is used up.
    pub(crate) bulk_from: Option<Instant>,
    /// Retention: so much was stored since its last turn.
    pub(crate) retire: bool,
}

impl Allowed {
    /// All of it.
    const ALL: Self = Self { bulk_from: None, retire: true };

    /// How long bulk work has to wait.
    fn pause(self) -> Duration {
        self.bulk_from.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }
}

/// The queues.
#[derive(Default)]
pub(crate) struct Queues {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Box<dyn Task>>,
    appends: HashMap<Name, VecDeque<Box<dyn Task>>>,
    /// Sources with waiting appends, in the order of their turns.
    turns: VecDeque<Name>,
    append_ops: usize,
    append_bytes: u64,
    bulk: VecDeque<Job>,
    /// Steps of retention: bulk work that has turns of its own beside those that it shares.
    retire: VecDeque<Job>,
    /// Whose turn it is where both wait.
    retire_next: bool,
    /// Other work came since retention's last turn: it waits for its share, however quiet it is just now.
    is_busy: bool,
    stop: Option<Stop>,
    writer_sleeps: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Finish,
    Abandon,
}

impl Queues {
    /// Queues what must not wait behind new work: settle, extend, lease, registry.
    pub(crate) fn push_urgent(&self, task: Box<dyn Task>) {
        self.push(task, |waiting, task| {
            if waiting.urgent.len() >= WAITING_OTHERS_MAX {
                return Some(task);
            }
            waiting.urgent.push_back(task);
            None
        });
    }

    /// Queues appends of one source.
    pub(crate) fn push_append(&self, source: &Name, task: Box<dyn Task>) {
        let weight = task.weight();
        self.push(task, |waiting, task| {
            if waiting.append_ops >= WAITING_APPENDS_MAX || waiting.append_bytes >= WAITING_BYTES_MAX {
                return Some(task);
            }
            waiting.append_ops += weight.ops;
            waiting.append_bytes += weight.bytes;
            if let Some(queue) = waiting.appends.get_mut(source) {
                if queue.is_empty() {
                    waiting.turns.push_back(source.clone());
                }
                queue.push_back(task);
            } else {
                waiting.appends.insert(source.clone(), VecDeque::from([task]));
                waiting.turns.push_back(source.clone());
            }
            None
        });
    }

    /// Queues one step of bulk work.
    pub(crate) fn push_bulk(&self, task: Box<dyn Task>, adds: bool) {
        self.push(task, |waiting, task| {
            if waiting.bulk.len() >= WAITING_OTHERS_MAX {
                return Some(task);
            }
            waiting.bulk.push_back(Job { task, adds });
            None
        });
    }

    /// Queues one step of retention.
    pub(crate) fn push_retire(&self, task: Box<dyn Task>) {
        self.push(task, |waiting, task| {
            if waiting.retire.len() >= WAITING_OTHERS_MAX {
                return Some(task);
            }
            waiting.retire.push_back(Job { task, adds: false });
            None
        });
    }

    /// Takes retention back that is not through: it is next in its lane. While the store closes it ends with what is done: what
    /// is left may be gigabytes, and the next start goes on.
    pub(crate) fn go_on(&self, task: Box<dyn Task>) {
        let mut waiting = self.lock();
        if waiting.stop.is_some() {
            drop(waiting);
            return task.refuse(Refusal::Unavailable);
        }
        waiting.retire.push_front(Job { task, adds: false });
    }

    /// No more will be taken; what waits is still done.
    pub(crate) fn finish(&self) {
        let mut waiting = self.lock();
        waiting.stop.get_or_insert(Stop::Finish);
        self.wake_up(waiting);
    }

    /// No more will be taken; what waits is dropped.
    pub(crate) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.stop = Some(Stop::Abandon);
        self.wake_up(waiting);
    }

    /// Drops what waits and refuses what comes: the writer is gone.
    pub(crate) fn shut(&self) {
        let mut waiting = self.lock();
        let dropped = std::mem::take(&mut *waiting);
        waiting.stop = Some(Stop::Abandon);
        drop(waiting);
        drop(dropped);
    }

    /// Takes the next turn; waits up to `patience` for one.
    pub(crate) fn next(&self, allowed: Allowed, patience: Duration) -> Turn {
        let mut waiting = self.lock();
        loop {
            if let Some(turn) = waiting.take(allowed) {
                return turn;
            }
            waiting.writer_sleeps = true;
            let patience = if waiting.retire.is_empty() { patience } else { allowed.pause().min(patience) };
            let (woken, timeout) = self.wake.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
            waiting = woken;
            waiting.writer_sleeps = false;
            if timeout.timed_out() {
                return waiting.take(Allowed::ALL).unwrap_or(Turn::Idle);
            }
        }
    }

    fn push(&self, task: Box<dyn Task>, place: impl FnOnce(&mut Waiting, Box<dyn Task>) -> Option<Box<dyn Task>>) {
        let mut waiting = self.lock();
        if waiting.stop.is_some() {
            drop(waiting);
            return task.refuse(Refusal::Unavailable);
        }
        let too_many = place(&mut waiting, task);
        self.wake_up(waiting);
        if let Some(task) = too_many {
            task.refuse(Refusal::Busy);
        }
    }

    fn wake_up(&self, waiting: MutexGuard<'_, Waiting>) {
        let sleeps = waiting.writer_sleeps;
        drop(waiting);
        if sleeps {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, allowed: Allowed) -> Option<Turn> {
        if self.stop == Some(Stop::Abandon) {
            return Some(Turn::Abandon);
        }
        let quiet = self.urgent.is_empty() && self.turns.is_empty();
        let shares = allowed.pause().is_zero() || self.stop.is_some();
        if let Some(job) = self.take_bulk(shares || quiet, shares || (quiet && !self.is_busy)) {
            return Some(Turn::Bulk(job));
        }
        // Between two of its turns something else always has one.
        if allowed.retire
            && (self.is_busy || quiet)
            && let Some(job) = self.take_retire()
        {
            return Some(Turn::Retire(job));
        }
        let batch = self.take_batch();
        if !batch.is_empty() {
            self.is_busy = true;
            return Some(Turn::Batch(batch));
        }
        (self.stop == Some(Stop::Finish)).then_some(Turn::Close)
    }

    /// Bulk work and retention, as far as they may, take turns.
    fn take_bulk(&mut self, bulk: bool, retire: bool) -> Option<Job> {
        let bulk = bulk && !self.bulk.is_empty();
        if retire && (self.retire_next || !bulk) && !self.retire.is_empty() {
            return self.take_retire();
        }
        self.retire_next |= bulk;
        bulk.then(|| self.bulk.pop_front()).flatten()
    }

    fn take_retire(&mut self) -> Option<Job> {
        let job = self.retire.pop_front()?;
        (self.retire_next, self.is_busy) = (false, false);
        Some(job)
    }

    fn take_batch(&mut self) -> Vec<Job> {
        let mut batch = Batch::default();
        while let Some(task) = self.urgent.pop_front_if(|task| batch.fits(task.weight())) {
            batch.add(task, false);
        }
        while let Some(source) = self.turns.pop_front() {
            let queue = self.appends.get_mut(&source);
            let Some(queue) = queue else { continue };
            let Some(task) = queue.pop_front_if(|task| batch.fits(task.weight())) else {
                self.turns.push_front(source);
                break;
            };
            let emptied = queue.is_empty();
            let weight = task.weight();
            self.append_ops -= weight.ops;
            self.append_bytes -= weight.bytes;
            batch.add(task, true);
            if !emptied {
                self.turns.push_back(source);
            }
        }
        batch.jobs
    }
}

#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    ops: usize,
    bytes: u64,
}

impl Batch {
    fn fits(&self, weight: Weight) -> bool {
        self.jobs.is_empty() || (self.ops + weight.ops <= BATCH_OPS_MAX && self.bytes + weight.bytes <= BATCH_BYTES_MAX)
    }

    fn add(&mut self, task: Box<dyn Task>, adds: bool) {
        let weight = task.weight();
        self.ops += weight.ops;
        self.bytes += weight.bytes;
        self.jobs.push(Job { task, adds });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that only has a weight, known by it.
    struct Weighed(Weight);

    impl Task for Weighed {
        fn run(&mut self, _: &mut Transaction<'_>) -> Result<(), Fault> {
            Ok(())
        }

        fn answer(self: Box<Self>) -> Option<Box<dyn Task>> {
            None
        }

        fn refuse(self: Box<Self>, _: Refusal) {}

        fn weight(&self) -> Weight {
            self.0
        }
    }

    fn task(ops: usize, bytes: u64) -> Box<dyn Task> {
        Box::new(Weighed(Weight { ops, bytes }))
    }

    fn source(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn taken(queues: &Queues) -> Vec<u64> {
        let batch = queues.lock().take_batch();
        batch.iter().map(|job| job.task.weight().bytes).collect()
    }

    /// I15: a source with much to say does not hold up another, and settling goes before both.
    #[test]
    fn sources_take_turns_behind_urgent_work() {
        let queues = Queues::default();
        for bytes in [11, 12, 13] {
            queues.push_append(&source("loud"), task(1, bytes));
        }
        queues.push_append(&source("quiet"), task(1, 21));
        queues.push_urgent(task(1, 1));
        assert_eq!(taken(&queues), [1, 11, 21, 12, 13]);
        assert!(taken(&queues).is_empty());
    }

    #[test]
    fn a_batch_is_bounded_and_a_larger_task_goes_alone() {
        let queues = Queues::default();
        queues.push_append(&source("a"), task(BATCH_OPS_MAX, 1));
        queues.push_append(&source("a"), task(1, 2));
        queues.push_append(&source("a"), task(1, BATCH_BYTES_MAX + 1));
        queues.push_append(&source("a"), task(1, 3));
        for alone in [1, 2, BATCH_BYTES_MAX + 1, 3] {
            assert_eq!(taken(&queues), [alone]);
        }
    }

    #[test]
    fn a_closed_queue_finishes_what_waits_and_takes_no_more() {
        let queues = Queues::default();
        queues.push_urgent(task(1, 1));
        queues.finish();
        queues.push_urgent(task(1, 2));
        assert!(matches!(queues.next(Allowed::ALL, Duration::ZERO), Turn::Batch(jobs) if jobs.len() == 1));
        assert!(matches!(queues.next(Allowed::ALL, Duration::ZERO), Turn::Close));
    }

    /// I15: bulk work and retention share what time there is for them, and retention waits for it once anything else came;
    /// beside that it has the turns that it earned.
    #[test]
    fn retention_and_other_bulk_work_take_turns() {
        let queues = Queues::default();
        let turn = |share: bool, retire: bool| {
            let far = (!share).then(|| Instant::now() + Duration::from_hours(1));
            let mut waiting = queues.lock();
            match waiting.take(Allowed { bulk_from: far, retire }) {
                Some(Turn::Batch(jobs)) => ("batch", jobs[0].task.weight().bytes),
                Some(Turn::Bulk(job)) => ("bulk", job.task.weight().bytes),
                Some(Turn::Retire(job)) => ("retire", job.task.weight().bytes),
                Some(Turn::Idle | Turn::Close | Turn::Abandon) | None => ("none", 0),
            }
        };
        for bytes in [1, 2, 3, 4] {
            queues.push_retire(task(1, bytes));
            queues.push_bulk(task(1, 10 + bytes), false);
        }
        // Nothing else waits or came.
        assert_eq!((turn(false, false), turn(false, false)), (("bulk", 11), ("bulk", 1)));
        queues.push_urgent(task(1, 21));
        assert_eq!((turn(true, true), turn(true, true)), (("bulk", 12), ("bulk", 2)));
        // Retention has just had a turn, whatever it earned.
        assert_eq!(turn(false, true), ("batch", 21));
        queues.push_urgent(task(1, 22));
        assert_eq!((turn(false, true), turn(false, true)), (("retire", 3), ("batch", 22)));
        // It is quiet, but something came.
        assert_eq!((turn(false, false), turn(false, false)), (("bulk", 13), ("bulk", 14)));
        assert_eq!((turn(false, false), turn(true, false)), (("none", 0), ("bulk", 4)));
    }
}
