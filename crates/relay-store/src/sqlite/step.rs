//! One step of a job: what it changes and removes, and the mark that says how far the job is.

use relay_core::{
    delivery::Delivery,
    id::JobId,
    storage::{Changed, Ended, Mark, Step, Stepped},
    time::Wall,
};
use rusqlite::{OptionalExtension as _, params};

use super::{fault::Fault, replay, rows, settle, transaction::Transaction};

/// In the place of a time.
const NEVER: i64 = -1;
const MARK: &str = "SELECT record FROM marks WHERE job = ?1";
const PUT: &str = "INSERT INTO marks (job, record) VALUES (?1, ?2) ON CONFLICT (job) DO UPDATE SET record = ?2";

/// Does a step, if the job is there; else gives how far it is.
pub(super) fn step(tx: &mut Transaction<'_>, step: &Step) -> Result<Stepped, Fault> {
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
    let changed = settled.iter().filter(|changed| **changed == Changed::Applied).count()
        + retired.iter().chain(&made).filter(|done| **done).count();
    let mark = step.mark(&before, changed as u64);
    let record = encode(step.job, &mark);
    tx.crcs.push(crc32fast::hash(&record));
    tx.db.prepare_cached(PUT)?.execute(params![key(step.job), record])?;
    if changed > 0 {
        tx.audit(step.audit.as_slice())?;
    }
    Ok(Stepped::Done { mark, settled, retired, made })
}

/// Removes an ended delivery if it is what was decided on; gives it, and whether its event went along. A damaged one is
/// passed over.
pub(super) fn retire_if(tx: &mut Transaction<'_>, ended: Ended) -> Result<Option<(Delivery, bool)>, Fault> {
    let found = rows::passing_over_damage(tx.damage, rows::delivery_at(tx.db, ended.id.sequence(), tx.book))?;
    let Some(found) = found.filter(|found| ended.is_of(found)) else { return Ok(None) };
    let event_went = tx.retire(&found)?;
    Ok(Some((found, event_went)))
}

fn mark(tx: &Transaction<'_>, job: JobId) -> Result<Option<Mark>, Fault> {
    let stored: Option<Vec<u8>> = tx.db.prepare_cached(MARK)?.query_row([key(job)], |row| row.get(0)).optional()?;
    let damaged = || Fault::Damaged(format!("mark of {job}: the checksum does not match").into());
    stored.map(|bytes| decode(&key(job), &bytes).ok_or_else(damaged)).transpose()
}

/// Jobs sort by when they were minted.
fn key(job: JobId) -> [u8; 16] {
    job.as_u128().to_be_bytes()
}

/// Steps (8), matched (8), changed (8), fingerprint (8), when the next is due (8; -1: none comes at a rate),
/// over (1), a cursor follows (1), cursor (rest), CRC-32 (4) of the job and all that.
fn encode(job: JobId, mark: &Mark) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    for number in [mark.steps, mark.matched, mark.changed, mark.fingerprint] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&mark.next_due.map_or(NEVER, Wall::as_micros).to_le_bytes());
    bytes.extend_from_slice(&[u8::from(mark.is_over), u8::from(mark.cursor.is_some())]);
    bytes.extend_from_slice(mark.cursor.as_deref().unwrap_or_default().as_bytes());
    let crc = checksum(&key(job), &bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads a mark, which must be this job's; `None` if it is damaged.
pub(super) fn decode(job: &[u8], bytes: &[u8]) -> Option<Mark> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    if checksum(job, content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (numbers, rest) = content.split_first_chunk::<40>()?;
    let [steps, matched, changed, fingerprint, due] = numbers.as_chunks::<8>().0 else { return None };
    let ([is_over, has_cursor], cursor) = rest.split_first_chunk::<2>()?;
    let cursor = std::str::from_utf8(cursor).ok()?;
    Some(Mark {
        steps: u64::from_le_bytes(*steps),
        cursor: (*has_cursor == 1).then(|| cursor.to_owned()),
        matched: u64::from_le_bytes(*matched),
        changed: u64::from_le_bytes(*changed),
        fingerprint: u64::from_le_bytes(*fingerprint),
        next_due: Some(i64::from_le_bytes(*due)).filter(|due| *due != NEVER).map(Wall::from_micros),
        is_over: *is_over == 1,
    })
}

fn checksum(job: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(job);
    hasher.update(content);
    hasher.finalize()
}
