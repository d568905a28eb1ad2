//! A dedupe entry: the event that took a key, and until when.

use relay_core::{event::Event, id::EventId, name::Name, storage::Dedupe, time::Wall};

use super::text;
use crate::record::{
    RecordError,
    seal::{Fields, Sealing},
};

const VERSION: u8 = 1;

/// What is remembered of the event that took a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Which.
    pub(super) event: EventId,
    /// When it was received.
    pub(super) received_at: Wall,
    /// SHA-256 of its body.
    pub(super) body_sha256: [u8; 32],
}

/// The entry of a key: event and end in the open, for scripts, and all of it sealed.
pub(super) fn write(event: &Event, dedupe: &Dedupe) -> Vec<u8> {
    let mut out = event.id.as_u128().to_be_bytes().to_vec();
    out.extend(text::moment(dedupe.until).bytes());
    let mut record = Sealing::begin(VERSION, &mut out).about(event.source.as_str().as_bytes()).about(&dedupe.key);
    record.u128(event.id.as_u128());
    record.i64(event.received_at.as_micros());
    record.i64(dedupe.until.as_micros());
    record.raw(&event.body_sha256);
    record.end();
    out
}

/// Reads the entry of this key.
pub(super) fn read(source: &Name, key: &[u8; 32], entry: &[u8]) -> Result<Taken, RecordError> {
    let (event, rest) = entry.split_first_chunk::<16>().ok_or(RecordError::Short)?;
    let (_until, sealed) = rest.split_at_checked(text::MOMENT).ok_or(RecordError::Short)?;
    let mut fields = Fields::open(VERSION, &[source.as_str().as_bytes(), key], sealed)?;
    let found = EventId::from_u128(fields.u128()?);
    let received_at = Wall::from_micros(fields.i64()?);
    let _until = fields.i64()?;
    let body_sha256 = fields.array()?;
    fields.end()?;
    if found.as_u128().to_be_bytes() != *event {
        return Err(RecordError::Field("its event"));
    }
    Ok(Taken { event: found, received_at, body_sha256 })
}
