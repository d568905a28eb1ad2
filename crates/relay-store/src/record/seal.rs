//! The one way in which whatever is stored is sealed: a version, the fields, and a CRC-32 of both and of what the record is
//! about (the key of its row), so that one which was put in the place of another does not hold there.
//!
//! All numbers are little-endian. **Invariant:** nothing is read before the CRC holds.

use bytes::Bytes;
use crc32fast::Hasher;

use super::RecordError;

/// A record that is being written, behind what the buffer holds.
pub(crate) struct Sealing<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    crc: Hasher,
}

impl<'a> Sealing<'a> {
    /// Begins one.
    pub(crate) fn begin(version: u8, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(version);
        Self { out, start, crc: Hasher::new() }
    }

    /// Fields without a version, for who seals them whole; it is not [ended](Self::end).
    pub(crate) fn plain(out: &'a mut Vec<u8>) -> Self {
        Self { start: out.len(), out, crc: Hasher::new() }
    }

    /// What was written of it.
    pub(crate) fn written(&self) -> &[u8] {
        &self.out[self.start..]
    }

    /// What it is about: covered by the CRC, not stored.
    pub(crate) fn about(mut self, key: &[u8]) -> Self {
        self.crc.update(key);
        self
    }

    pub(crate) fn u8(&mut self, number: u8) {
        self.out.push(number);
    }

    pub(crate) fn u16(&mut self, number: u16) {
        self.raw(&number.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.raw(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, number: i64) {
        self.raw(&number.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, number: u128) {
        self.raw(&number.to_le_bytes());
    }

    /// Bytes whose length the reader knows.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A text of at most 65,535 bytes, behind its length; what is longer is cut.
    pub(crate) fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
        self.u16(text.len() as u16);
        self.raw(text.as_bytes());
    }

    /// Ends it; gives its CRC.
    pub(crate) fn end(self) -> u32 {
        let Self { out, start, mut crc } = self;
        crc.update(&out[start..]);
        let crc = crc.finalize();
        out.extend_from_slice(&crc.to_le_bytes());
        crc
    }
}

/// Fields still to be read, in their order.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Checks CRC and version of a record about this key.
    pub(crate) fn open(version: u8, about: &[&[u8]], bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or(RecordError::Short)?;
        let mut hasher = Hasher::new();
        for key in about {
            hasher.update(key);
        }
        hasher.update(content);
        if hasher.finalize() != u32::from_le_bytes(*crc) {
            return Err(RecordError::Checksum);
        }
        let mut fields = Fields { rest: content };
        match fields.u8()? {
            known if known == version => Ok(fields),
            other => Err(RecordError::Version(other)),
        }
    }

    /// Of bytes that have no CRC of their own.
    pub(crate) fn plain(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// All that is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, which stays the next one.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// There must be no more.
    pub(crate) fn end(self) -> Result<(), RecordError> {
        if self.rest.is_empty() { Ok(()) } else { Err(RecordError::Field("length")) }
    }

    /// All that is left, in words.
    pub(crate) fn words(self) -> Result<&'a [[u8; 8]], RecordError> {
        let (words, rest) = self.rest.as_chunks::<8>();
        if rest.is_empty() { Ok(words) } else { Err(RecordError::Field("length")) }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(RecordError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next `len` bytes, sharing `whole`'s memory.
    pub(crate) fn slice(&mut self, whole: &Bytes, len: usize) -> Result<Bytes, RecordError> {
        Ok(whole.slice_ref(self.take(len)?))
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, name: &'static str) -> Result<bool, RecordError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Field(name)),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, RecordError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// A text with its length.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<&'a str, RecordError> {
        let length = usize::from(self.u16()?);
        self.text_of(length, name)
    }

    /// A text of a known length.
    pub(crate) fn text_of(&mut self, length: usize, name: &'static str) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.take(length)?).map_err(|_| RecordError::Field(name))
    }
}

/// The checksum of a row whose fields are columns: each with its length, so that none runs into the next.
pub(crate) fn of_columns(columns: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    for column in columns {
        hasher.update(&(column.len() as u64).to_le_bytes());
        hasher.update(column);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &[u8]) -> Vec<u8> {
        let mut out = vec![9; 3];
        let mut record = Sealing::begin(1, &mut out).about(key);
        record.u128(5);
        record.u8(1);
        record.text("text");
        record.end();
        out.split_off(3)
    }

    /// I18: a record holds in its own place only, whole, and in the version that it says.
    #[test]
    fn a_record_holds_whole_and_in_its_place() {
        let bytes = sealed(b"key");
        let mut fields = Fields::open(1, &[b"k", b"ey"], &bytes).expect("holds");
        assert_eq!((fields.u128(), fields.flag("f"), fields.text("t")), (Ok(5), Ok(true), Ok("text")));
        assert_eq!(fields.end(), Ok(()));
        assert_eq!(Fields::open(1, &[b"yek"], &bytes).err(), Some(RecordError::Checksum));
        assert_eq!(Fields::open(2, &[b"key"], &bytes).err(), Some(RecordError::Version(1)));
        for length in 0..bytes.len() {
            assert!(Fields::open(1, &[b"key"], &bytes[..length]).is_err(), "length {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Fields::open(1, &[b"key"], &bad).is_err(), "bit {bit}");
        }
        assert_eq!(Fields::open(1, &[b"key"], &bytes).expect("holds").end(), Err(RecordError::Field("length")));
        assert_ne!(of_columns(&[b"a", b"bc"]), of_columns(&[b"ab", b"c"]));
    }
}
