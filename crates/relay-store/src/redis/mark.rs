//! How far a job is: all is sealed but what was changed, which scripts add to. It stands there twice, as it is and as what is missing to
//! a bound, so that neither is taken for true alone.

use relay_core::{id::JobId, storage::Mark, time::Wall};

use super::reply;
use crate::record::{
    RecordError,
    seal::{Fields, Sealing},
};

const VERSION: u8 = 1;
/// Digits of a count.
const COUNT: usize = 16;
/// What both counts of changes come to.
const BOUND: i64 = 1 << 52;

/// Steps, in front of all else.
pub(super) fn steps(mark: &Mark) -> Vec<u8> {
    format!("{:016}", mark.steps).into_bytes()
}

/// The sealed part; a script puts steps and changes in front of it.
pub(super) fn write(job: JobId, mark: &Mark) -> Vec<u8> {
    let mut out = Vec::new();
    let mut record = Sealing::begin(VERSION, &mut out).about(&job.as_u128().to_be_bytes());
    record.u64(mark.steps);
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
    let (counts, sealed) = stored.split_at_checked(3 * COUNT).ok_or(RecordError::Short)?;
    let count = |at: usize| {
        let text = &counts[at * COUNT..(at + 1) * COUNT];
        reply::number(text).map_err(|_| RecordError::Field("a count"))
    };
    let (changed, missing) = (count(1)?, count(2)?);
    if changed < 0 || changed.checked_add(missing) != Some(BOUND) {
        return Err(RecordError::Field("what was changed"));
    }
    let mut fields = Fields::open(VERSION, &[&job.as_u128().to_be_bytes()], sealed)?;
    let steps = fields.u64()?;
    if i64::try_from(steps) != Ok(count(0)?) {
        return Err(RecordError::Field("steps"));
    }
    let matched = fields.u64()?;
    let fingerprint = fields.u64()?;
    let next_due = Some(fields.i64()?).filter(|micros| *micros >= 0).map(Wall::from_micros);
    let is_over = fields.flag("is over")?;
    let has_cursor = fields.flag("cursor")?;
    let cursor = Some(fields.text("cursor")?.to_owned()).filter(|_| has_cursor);
    fields.end()?;
    Ok(Mark { steps, cursor, matched, changed: changed as u64, fingerprint, next_due, is_over })
}
