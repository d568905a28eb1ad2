//! A dedupe entry: the event that took a key, and until when.

use relay_core::{event::Event, id::EventId, name::Name, storage::Dedupe, time::Wall};

use super::text;
use crate::record::{
    RecordError,
    seal::{Fields, Sealing},
};

const VERSION: u8 = 1;

/// Bytes in the open, in front of what is sealed.
const OPEN: usize = 16 + text::MOMENT;

/// What is remembered of the event that took a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Which.
    pub(super) event: EventId,
    /// When it was received.
    pub(super) received_at: Wall,
    /// Until when the key is its own.
    pub(super) until: Wall,
    /// SHA-256 of its body.
    pub(super) body_sha256: [u8; 32],
}

/// The entry of a key: event and end in the open, for scripts, and all of it sealed.
pub(super) fn write(event: &Event, dedupe: &Dedupe) -> Vec<u8> {
    let (body_sha256, until) = (event.body_sha256, dedupe.until);
    let taken = Taken { event: event.id, received_at: event.received_at, until, body_sha256 };
    taken.write(&event.source, &dedupe.key)
}

impl Taken {
    fn write(&self, source: &Name, key: &[u8; 32]) -> Vec<u8> {
        let mut out = self.event.as_u128().to_be_bytes().to_vec();
        out.extend(text::moment(self.until).bytes());
        let mut record = Sealing::begin(VERSION, &mut out).about(source.as_str().as_bytes()).about(key);
        record.u128(self.event.as_u128());
        record.i64(self.received_at.as_micros());
        record.i64(self.until.as_micros());
        record.raw(&self.body_sha256);
        record.end();
        out
    }
}

/// An entry that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It says in the open what is sealed.
    Whole(Taken),
    /// It does not: this would.
    Apart(Vec<u8>),
}

/// Reads the entry of this key.
///
/// # Errors
/// Those of what is sealed.
pub(super) fn read(source: &Name, key: &[u8; 32], entry: &[u8]) -> Result<Entry, RecordError> {
    let (_, sealed) = entry.split_at_checked(OPEN).ok_or(RecordError::Short)?;
    let mut fields = Fields::open(VERSION, &[source.as_str().as_bytes(), key], sealed)?;
    let event = EventId::from_u128(fields.u128()?);
    let received_at = Wall::from_micros(fields.i64()?);
    let until = Wall::from_micros(fields.i64()?);
    let body_sha256 = fields.array()?;
    fields.end()?;
    let taken = Taken { event, received_at, until, body_sha256 };
    let meant = taken.write(source, key);
    Ok(if meant == entry { Entry::Whole(taken) } else { Entry::Apart(meant) })
}

/// What of an entry is sealed, whatever it says in the open.
///
/// # Errors
/// Those of what is sealed.
pub(super) fn sealed(source: &Name, key: &[u8; 32], entry: &[u8]) -> Result<Taken, RecordError> {
    match read(source, key, entry)? {
        Entry::Whole(taken) => Ok(taken),
        Entry::Apart(meant) => sealed(source, key, &meant),
    }
}
