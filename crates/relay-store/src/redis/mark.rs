//! How far a job is: steps and changes in the open, for scripts to add to, and all else sealed.

use relay_core::{id::JobId, storage::Mark, time::Wall};

use super::reply;
use crate::record::{
    RecordError,
    seal::{Fields, Sealing},
};

const VERSION: u8 = 1;
/// Digits of a count.
const COUNT: usize = 16;

/// The sealed part; a script puts steps and changes in front of it.
pub(super) fn write(job: JobId, mark: &Mark) -> Vec<u8> {
    let mut out = Vec::new();
    let mut record = Sealing::begin(VERSION, &mut out).about(&job.as_u128().to_be_bytes());
    record.u64(mark.matched);
    record.u64(mark.fingerprint);
    record.i64(mark.next_due.map_or(-1, Wall::as_micros));
    record.u8(mark.is_over.into());
    record.u8(mark.cursor.is_some().into());
    record.text(mark.cursor.as_deref().unwrap_or_default());
    record.end();
    out
}

/// Reads a mark; the first of a job that has none.
pub(super) fn read(job: JobId, stored: Option<&[u8]>) -> Result<Mark, RecordError> {
    let Some(stored) = stored else { return Ok(Mark::default()) };
    let (counts, sealed) = stored.split_at_checked(2 * COUNT).ok_or(RecordError::Short)?;
    let count = |text| reply::number(text).map_err(|_| RecordError::Field("a count"));
    let (steps, changed) = counts.split_at(COUNT);
    let mut fields = Fields::open(VERSION, &[&job.as_u128().to_be_bytes()], sealed)?;
    let matched = fields.u64()?;
    let fingerprint = fields.u64()?;
    let next_due = Some(fields.i64()?).filter(|micros| *micros >= 0).map(Wall::from_micros);
    let is_over = fields.flag("is over")?;
    let has_cursor = fields.flag("cursor")?;
    let cursor = Some(fields.text("cursor")?.to_owned()).filter(|_| has_cursor);
    fields.end()?;
    let (steps, changed) = (count(steps)? as u64, count(changed)? as u64);
    Ok(Mark { steps, cursor, matched, changed, fingerprint, next_due, is_over })
}
