//! One step of a job: what it changes and removes, and the mark that says how far the job is.

use relay_core::{
    delivery::Delivery,
    id::JobId,
    storage::{Changed, Ended, Erased, Mark, Step, Stepped},
    time::Wall,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{erase, replay, settle, transaction::Transaction};
use crate::{
    record::{
        RecordError,
        seal::{Fields, Sealing},
    },
    sqlite::{fault::Fault, read::rows},
};

/// Of a mark.
const MARK_VERSION: u8 = 1;
/// In the place of a time.
const NEVER: i64 = -1;

const MARK: &str = "SELECT record FROM jobs WHERE job = ?1";
const PUT: &str = "INSERT INTO jobs (job, record) VALUES (?1, ?2) ON CONFLICT (job) DO UPDATE SET record = ?2";

/// Does a step, if the job is there; else gives how far it is.
pub(crate) fn step(tx: &mut Transaction<'_>, step: &Step) -> Result<Stepped, Fault> {
    let before = mark(tx, step.job)?.unwrap_or_default();
    if before.steps != step.before {
        return Ok(Stepped::Elsewhere(before));
    }
    let settled = settle::apply_all(tx, &step.settle)?;
    let mut retired = Vec::with_capacity(step.retire.len());
    for ended in &step.retire {
        retired.push(retire_if(tx, *ended)?.is_some());
    }
    let made = replay::replay(tx, &step.make, &[])?;
    let erased = step.erase.iter().map(|event| erase::erase(tx, *event)).collect::<Result<Vec<_>, _>>()?;
    let changed = settled.iter().filter(|changed| **changed == Changed::Applied).count()
        + retired.iter().chain(&made).filter(|done| **done).count();
    let mark = step.mark(&before, step.changed(changed, &erased));
    let (record, crc) = encode(step.job, &mark);
    tx.crcs.push(crc);
    tx.db.prepare_cached(PUT)?.execute(params![key(step.job), record])?;
    if changed > 0 || erased.contains(&Erased::Now) {
        tx.audit(step.audit.as_slice())?;
    }
    Ok(Stepped::Done { mark, settled, retired, made, erased })
}

/// Removes an ended delivery if it is what was decided on; gives it, and whether its event went along. A damaged one is
/// passed over.
pub(crate) fn retire_if(tx: &mut Transaction<'_>, ended: Ended) -> Result<Option<(Delivery, bool)>, Fault> {
    let found = rows::passing_over_damage(tx.damage, rows::delivery_at(tx.db, ended.id.sequence(), tx.book))?;
    let Some(found) = found.filter(|found| ended.is_of(found)) else { return Ok(None) };
    let event_went = tx.retire(&found)?;
    Ok(Some((found, event_went)))
}

fn mark(tx: &Transaction<'_>, job: JobId) -> Result<Option<Mark>, Fault> {
    let stored: Option<Vec<u8>> = tx.db.prepare_cached(MARK)?.query_row([key(job)], |row| row.get(0)).optional()?;
    stored.map(|bytes| read(&key(job), &bytes)).transpose()
}

/// The key of a mark, and what it says.
pub(crate) type Kept = (Vec<u8>, Result<Mark, Fault>);

/// All marks.
pub(crate) fn all(db: &Connection) -> Result<Vec<Kept>, Fault> {
    let mut statement = db.prepare_cached("SELECT job, record FROM jobs WHERE job >= x'' ORDER BY job")?;
    let mut rows = statement.query([])?;
    let mut marks = Vec::new();
    while let Some(row) = rows.next()? {
        let job: Vec<u8> = row.get(0)?;
        let mark = read(&job, row.get_ref(1)?.as_blob().unwrap_or_default());
        marks.push((job, mark));
    }
    Ok(marks)
}

/// Reads the mark of this job.
fn read(job: &[u8], bytes: &[u8]) -> Result<Mark, Fault> {
    let named = || {
        job.try_into().map_or_else(|_| "a job".to_owned(), |job| JobId::from_u128(u128::from_be_bytes(job)).to_string())
    };
    decode(job, bytes).map_err(|error| Fault::record(&format_args!("mark of {}", named()), &error))
}

/// Jobs sort by when they were minted.
fn key(job: JobId) -> [u8; 16] {
    job.as_u128().to_be_bytes()
}

fn encode(job: JobId, mark: &Mark) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(64);
    let mut record = Sealing::begin(MARK_VERSION, &mut bytes).about(&key(job));
    for number in [mark.steps, mark.matched, mark.changed, mark.fingerprint] {
        record.u64(number);
    }
    record.i64(mark.next_due.map_or(NEVER, Wall::as_micros));
    record.u8(u8::from(mark.is_over));
    record.u8(u8::from(mark.cursor.is_some()));
    if let Some(cursor) = &mark.cursor {
        record.text(cursor);
    }
    let crc = record.end();
    (bytes, crc)
}

/// Reads a mark, which must be this job's.
fn decode(job: &[u8], bytes: &[u8]) -> Result<Mark, RecordError> {
    let mut fields = Fields::open(MARK_VERSION, &[job], bytes)?;
    let (steps, matched, changed, fingerprint) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
    let next_due = Some(fields.i64()?).filter(|due| *due != NEVER).map(Wall::from_micros);
    let is_over = fields.flag("over")?;
    let cursor = if fields.flag("a cursor")? { Some(fields.text("the cursor")?.to_owned()) } else { None };
    fields.end()?;
    Ok(Mark { steps, cursor, matched, changed, fingerprint, next_due, is_over })
}
