//! Retention: what ended long enough ago goes, and nothing that is open ever does.

use relay_core::{
    delivery::Delivery,
    storage::{Forget, OverAsk, Retire, Retired, StoreError, rows_of_body, rows_removed},
    time::Wall,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::{
    marks,
    queue::{BATCH_OPS_MAX, Refusal, Task, Weight},
    step,
    transaction::Transaction,
};
use crate::sqlite::{
    fault::Fault,
    files::schema,
    read::{
        arrears::Arrears,
        book::{Kind, Shelf},
        rows, unrouted,
    },
};

/// Rows that one commit removes at most, so that it stays a short one. A body stands for as many as take the same time.
const ROWS_MAX: usize = 500;
/// Rows that one commit removes for each that was stored meanwhile, where more is due: what is due gets less then, however
/// much comes in.
const ROWS_FOR_EACH: usize = 2;
/// Rows stored that earn one commit its turn.
const STORED_MIN: usize = 256;
/// Rows stored that count for one commit: those of the largest batch.
const STORED_MAX: usize = BATCH_OPS_MAX;

/// The next code of a state in which any delivery of a destination ended.
const NEXT_STATE: &str = "SELECT state FROM deliveries INDEXED BY by_end
    WHERE dest = ?1 AND state > ?2 AND state >= 40 ORDER BY state LIMIT 1";
const ENDED: &str = "SELECT seq FROM deliveries INDEXED BY by_end
    WHERE dest = ?1 AND state = ?2 AND state >= 40 AND changed < ?3 ORDER BY changed";
const FORGOTTEN: &str =
    "DELETE FROM dedupe WHERE (source, key) IN (SELECT source, key FROM dedupe INDEXED BY dedupe_by_until
    WHERE until <= ?1 LIMIT ?2)";

const OLD_MARKS: &str = "DELETE FROM jobs WHERE job IN (SELECT job FROM jobs WHERE job < ?1 ORDER BY job LIMIT ?2)";

/// Whether the next commit has earned its turn, whatever else there is to do.
pub(crate) fn has_turn(arrears: &Arrears) -> bool {
    arrears.stored() >= STORED_MIN
}

/// Ended deliveries that retention is over for, those that ended first in each state of each destination first.
pub(crate) fn over(db: &Connection, shelf: &Shelf, ask: &OverAsk) -> Result<Vec<Delivery>, Fault> {
    let mut found = Vec::new();
    // It has one partition.
    if ask.partitions.is_empty() {
        return Ok(found);
    }
    for (destination, _) in shelf.entries(Kind::Destination) {
        let mut next_state = db.prepare_cached(NEXT_STATE)?;
        let mut code = 0i64;
        while let Some(next) = next_state.query_row(params![destination, code], |row| row.get(0)).optional()? {
            code = next;
            let Some(before) = schema::state_of(code).and_then(|state| ask.before(state)) else { continue };
            let mut statement = db.prepare_cached(ENDED)?;
            let mut rows = statement.query(params![destination, code, before.as_micros()])?;
            while let Some(row) = rows.next()? {
                if found.len() >= ask.limit as usize {
                    return Ok(found);
                }
                let read = rows::delivery_at(db, row.get(0)?, shelf);
                found.extend(rows::passing_over_damage(shelf.damage(), read)?);
            }
        }
    }
    Ok(found)
}

/// One call of retention. It goes on, in commits that earn their turns, until all that it names is gone: were the next part
/// asked for only after an answer, whatever came in while the asker had no processor would come in for nothing.
pub(crate) struct Retiring {
    retire: Retire,
    /// What is gone for good.
    done: Retired,
    /// What the last run made of the next ones.
    run: Result<Retired, StoreError>,
    answer: oneshot::Sender<Result<Retired, StoreError>>,
}

impl Retiring {
    pub(crate) fn new(retire: Retire, answer: oneshot::Sender<Result<Retired, StoreError>>) -> Self {
        Self { retire, done: Retired::default(), run: Ok(Retired::default()), answer }
    }

    /// Ends it: what is gone is gone, whatever became of the rest.
    fn end(self, last: Result<(), StoreError>) {
        let result = if self.done.taken > 0 { Ok(self.done) } else { last.map(|()| self.done) };
        // Nobody waits any more: it happened all the same.
        drop(self.answer.send(result));
    }
}

impl Task for Retiring {
    fn run(&mut self, tx: &mut Transaction<'_>) -> Result<(), Fault> {
        self.run = match retire(tx, &self.retire, self.done.taken as usize) {
            Err(fault @ (Fault::Damaged(_) | Fault::Later(_))) => Err(tx.damage.answered(fault)),
            other => Ok(other?),
        };
        Ok(())
    }

    fn answer(mut self: Box<Self>) -> Option<Box<dyn Task>> {
        let run = match std::mem::replace(&mut self.run, Ok(Retired::default())) {
            Ok(run) => run,
            Err(error) => {
                self.end(Err(error));
                return None;
            }
        };
        self.done.taken += run.taken;
        self.done.deliveries += run.deliveries;
        self.done.events += run.events;
        self.done.more = run.more;
        if run.taken > 0 && (self.done.taken as usize) < self.retire.ended.len() {
            return Some(self);
        }
        self.end(Ok(()));
        None
    }

    fn refuse(self: Box<Self>, why: Refusal) {
        self.end(Err(why.of_store()));
    }

    fn weight(&self) -> Weight {
        Weight { ops: 1, bytes: 0 }
    }
}

/// Removes the first of those behind the `taken` ones, and forgets, each as much as a short commit holds.
pub(crate) fn retire(tx: &mut Transaction<'_>, retire: &Retire, taken: usize) -> Result<Retired, Fault> {
    let limit = ROWS_MAX.max(ROWS_FOR_EACH * tx.book.arrears.take(STORED_MAX));
    let mut retired = Retired::default();
    let mut rows = 0;
    let limit_rows = limit as u64;
    let left = retire.ended.get(taken..).unwrap_or_default();
    for ended in left {
        // A delivery that was tried for days has thousands of attempts, and a large body thousands of pages.
        if rows >= limit_rows {
            break;
        }
        retired.taken += 1;
        let Some((gone, event_went)) = step::retire_if(tx, *ended)? else { continue };
        rows += rows_removed(&gone, event_went.then_some(gone.body_bytes));
        retired.deliveries += 1;
        retired.events += u64::from(event_went);
    }
    if !retire.forget.partitions.is_empty() {
        let (events, more) = forget(tx, retire.forget, limit)?;
        retired.events += events;
        retired.more = more;
    }
    // Where none of those that are due can be removed another commit would do no more.
    let is_behind = retired.deliveries > 0 && (retire.more || (retired.taken as usize) < left.len());
    tx.book.arrears.note(is_behind || retired.more);
    Ok(retired)
}

/// Forgets what only time ends; gives how many events went, and whether there is more.
fn forget(tx: &mut Transaction<'_>, forget: Forget, limit: usize) -> Result<(u64, bool), Fault> {
    let Forget { keys_until, unrouted_before, jobs_before, audit_before, .. } = forget;
    let (unrouted, more_unrouted) = remove_unrouted(tx, unrouted_before, limit)?;
    let forgotten = [
        forget_keys(tx, keys_until, limit)?,
        forget_marks(tx, jobs_before, limit)?,
        forget_audit(tx, audit_before, limit)?,
    ];
    let more_marks = marks::forget_days(tx, limit)?;
    Ok((unrouted, more_unrouted || more_marks || forgotten.contains(&limit)))
}

/// Removes events that have no delivery, so many rows of them; gives how many events, and whether there are more.
fn remove_unrouted(tx: &mut Transaction<'_>, before: Wall, limit: usize) -> Result<(u64, bool), Fault> {
    let found = unrouted::over(tx.db, before.as_millis(), limit)?;
    let (mut rows, mut removed) = (0, 0);
    for one in &found {
        if rows >= limit as u64 {
            break;
        }
        removed += 1;
        rows += 1 + rows_of_body(one.body_bytes);
        unrouted::remove(tx.db, one.seq)?;
        tx.removed(one.seq);
        if let Some(source) = one.source {
            tx.remove_event(source, one.seq)?;
        }
    }
    Ok((removed, rows >= limit as u64))
}

/// Removes audit lines from before then, the oldest first; gives how many. Lines are written in the order of time, so
/// that the first one that stays ends the search.
fn forget_audit(tx: &mut Transaction<'_>, before: Wall, limit: usize) -> Result<usize, Fault> {
    let mut statement = tx.db.prepare_cached("SELECT seq, at FROM audit ORDER BY seq LIMIT ?1")?;
    let mut rows = statement.query([limit as i64])?;
    let mut old = Vec::new();
    while let Some(row) = rows.next()?
        && row.get::<_, i64>(1)? < before.as_micros()
    {
        old.push(row.get::<_, i64>(0)?);
    }
    drop(rows);
    for seq in &old {
        tx.db.prepare_cached("DELETE FROM audit WHERE seq = ?1")?.execute([seq])?;
        tx.removed(*seq);
    }
    Ok(old.len())
}

/// Forgets dedupe keys past their window; gives how many.
fn forget_keys(tx: &mut Transaction<'_>, now: Wall, limit: usize) -> Result<usize, Fault> {
    let forgotten = tx.db.prepare_cached(FORGOTTEN)?.execute(params![now.as_micros(), limit as i64])?;
    if forgotten > 0 {
        tx.removed(forgotten as i64);
    }
    Ok(forgotten)
}

/// Forgets marks of jobs that were begun before; gives how many.
fn forget_marks(tx: &mut Transaction<'_>, before: Wall, limit: usize) -> Result<usize, Fault> {
    let oldest_job = u128::from(before.as_millis()) << 80;
    let forgotten = tx.db.prepare_cached(OLD_MARKS)?.execute(params![oldest_job.to_be_bytes(), limit as i64])?;
    if forgotten > 0 {
        tx.removed(forgotten as i64);
    }
    Ok(forgotten)
}
