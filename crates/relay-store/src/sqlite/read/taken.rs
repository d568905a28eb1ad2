//! A row of `dedupe`: who took a key, and until when.

use relay_core::{id::EventId, time::Wall};

use crate::record::{
    RecordError,
    seal::{Fields, Sealing},
};

const VERSION: u8 = 1;

/// Who took a dedupe key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) event: EventId,
    pub(crate) received_at: Wall,
    pub(crate) until: Wall,
    pub(crate) body_sha256: [u8; 32],
}

impl Taken {
    /// The record of this key, and its CRC.
    pub(crate) fn encode(&self, source: u32, key: &[u8; 32]) -> (Vec<u8>, u32) {
        let mut bytes = Vec::with_capacity(69);
        let mut record = Sealing::begin(VERSION, &mut bytes).about(&source.to_le_bytes()).about(key);
        record.u128(self.event.as_u128());
        record.i64(self.received_at.as_micros());
        record.i64(self.until.as_micros());
        record.raw(&self.body_sha256);
        let crc = record.end();
        (bytes, crc)
    }

    /// Reads an entry, which must be this key's.
    pub(crate) fn decode(source: u32, key: &[u8], bytes: &[u8]) -> Result<Self, RecordError> {
        let mut fields = Fields::open(VERSION, &[&source.to_le_bytes(), key], bytes)?;
        let taken = Self {
            event: EventId::from_u128(fields.u128()?),
            received_at: Wall::from_micros(fields.i64()?),
            until: Wall::from_micros(fields.i64()?),
            body_sha256: fields.array()?,
        };
        fields.end()?;
        Ok(taken)
    }
}
