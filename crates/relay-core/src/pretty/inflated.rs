//! A body that its sender compressed, as far as it is shown.

use std::io::Read as _;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::BodyFields;
use crate::limits;

/// The beginning of a body, decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inflated {
    /// What it was before, as far as it was read.
    pub bytes: Vec<u8>,
    /// That is all of it.
    pub is_whole: bool,
}

impl Inflated {
    /// Of a body that is gzip, or zlib where its fields say so; none: it is not compressed, or nobody can read it. However far it would go on, no
    /// more than `bytes_max` is read, and never more than a hundred times what was sent (S12). What breaks off is shown as far as it goes.
    pub fn of(body: &[u8], about: BodyFields<'_>, bytes_max: usize) -> Option<Self> {
        let is_gzip = body.starts_with(&[0x1f, 0x8b]);
        let is_zlib = about.coding.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("deflate"));
        let ratio_max = (body.len() as u64).saturating_mul(limits::DECODED_RATIO_MAX).max(limits::DECODED_FREE_BYTES);
        let end = ratio_max.min(bytes_max as u64);
        let mut bytes = Vec::new();
        // One more tells whether there is more.
        let read = match (is_gzip, is_zlib) {
            (true, _) => MultiGzDecoder::new(body).take(end + 1).read_to_end(&mut bytes),
            (false, true) => ZlibDecoder::new(body).take(end + 1).read_to_end(&mut bytes),
            (false, false) => return None,
        };
        let is_whole = read.is_ok() && bytes.len() as u64 <= end;
        bytes.truncate(end as usize);
        (read.is_ok() || !bytes.is_empty()).then_some(Self { bytes, is_whole })
    }

    /// As text; a character that was cut at its end is left out.
    pub fn text(&self) -> Option<&str> {
        match str::from_utf8(&self.bytes) {
            Ok(text) => Some(text),
            Err(error) if error.error_len().is_none() && !self.is_whole => {
                str::from_utf8(&self.bytes[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// S12 holds for what is stored; what is shown is inflated within a bound, however far it would go on.
    #[test]
    fn what_is_shown_is_inflated_within_its_bounds() {
        let none = BodyFields::default();
        let inflated = |body: &[u8]| Inflated::of(body, none, 1 << 20);
        assert_eq!(inflated(&pack(b"{}")), Some(Inflated { bytes: b"{}".to_vec(), is_whole: true }));
        let bomb = inflated(&pack(&vec![b'x'; 50 << 20])).unwrap();
        assert_eq!((bomb.bytes.len(), bomb.is_whole), (1 << 20, false));
        let small = pack(&vec![b'x'; 50 << 20]);
        let wide = Inflated::of(&small, none, usize::MAX).unwrap();
        assert_eq!(wide.bytes.len() as u64, small.len() as u64 * limits::DECODED_RATIO_MAX, "a hundred times at most");
        let broken = inflated(&pack(b"some words that break off")[..20]);
        assert!(broken.is_none_or(|broken| !broken.is_whole));
        assert_eq!(inflated(b"plain"), None);
        assert_eq!(inflated(&[0x1f, 0x8b]), None);
        let cut = Inflated { bytes: "1 €".as_bytes()[..4].to_vec(), is_whole: false };
        assert_eq!(cut.text(), Some("1 "));
    }
}
