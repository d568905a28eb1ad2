//! Follows a chunked body to its end, strictly, without changing a byte of it.
//!
//! **Source** RFC 9112 section 7.1. White space around a size is refused, though lenient parsers take it.

use relay_core::limits;

use crate::ingress::rules::is_value;

/// Bytes of chunk extensions in one body. They mean nothing here; the HTTP library behind takes no more than this.
const EXTENSION_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of trailer fields.
const TRAILER_BYTES_MAX: u32 = 8 * 1024;
/// Hex digits of a chunk size: 60 bits, so that sums of sizes do not overflow.
const SIZE_DIGITS_MAX: u8 = 15;

/// A chunked body, as far as it was followed.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    extension_bytes: u32,
    trailer_bytes: u32,
    trailers: usize,
}

/// The body breaks the rules of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

#[derive(Clone, Copy, Debug)]
enum At {
    Size { value: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Size { value: 0, digits: 0 }, extension_bytes: 0, trailer_bytes: 0, trailers: 0 }
    }
}

impl Chunks {
    /// Whether the last byte of the body was seen.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Follows the body through `input`; gives the number of bytes that belong to it.
    ///
    /// # Errors
    /// [`Broken`] with the number of bytes before the one that breaks the rules.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<usize, (usize, Broken)> {
        let mut taken = 0;
        while taken < input.len() && !self.is_ended() {
            if let At::Data { left } = self.at {
                let here = left.min((input.len() - taken) as u64);
                taken += here as usize;
                self.at = if here == left { At::DataCr } else { At::Data { left: left - here } };
                continue;
            }
            self.at = self.step(input[taken]).map_err(|broken| (taken, broken))?;
            taken += 1;
        }
        Ok(taken)
    }

    fn step(&mut self, byte: u8) -> Result<At, Broken> {
        match (self.at, byte) {
            (At::Size { value, digits }, _) => size_step(value, digits, byte),
            (At::Extension { size }, b'\r') => Ok(At::SizeLf { size }),
            (At::Extension { size }, _) => {
                self.extension_bytes += 1;
                let fits = self.extension_bytes <= EXTENSION_BYTES_MAX;
                if fits && is_value(byte) { Ok(At::Extension { size }) } else { Err(Broken) }
            }
            (At::SizeLf { size: 0 } | At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            (At::SizeLf { size }, b'\n') => Ok(At::Data { left: size }),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { value: 0, digits: 0 }),
            (At::TrailerStart, b'\r') => Ok(At::EndLf),
            (At::Trailer, b'\r') => Ok(At::TrailerLf),
            (At::TrailerStart | At::Trailer, _) => {
                self.trailer_bytes += 1;
                self.trailers += usize::from(matches!(self.at, At::TrailerStart));
                // The HTTP library takes no more of them, and would end the connection without an answer.
                let fits = self.trailer_bytes <= TRAILER_BYTES_MAX && self.trailers <= limits::HEADERS_MAX;
                if fits && is_value(byte) { Ok(At::Trailer) } else { Err(Broken) }
            }
            (At::EndLf, b'\n') => Ok(At::End),
            (At::SizeLf { .. } | At::DataCr | At::DataLf | At::TrailerLf | At::EndLf, _) => Err(Broken),
            (At::Data { .. } | At::End, _) => unreachable!("read() passes over data and stops at the end"),
        }
    }
}

fn size_step(value: u64, digits: u8, byte: u8) -> Result<At, Broken> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b';' if digits > 0 => return Ok(At::Extension { size: value }),
        b'\r' if digits > 0 => return Ok(At::SizeLf { size: value }),
        _ => return Err(Broken),
    };
    if digits == SIZE_DIGITS_MAX {
        return Err(Broken);
    }
    Ok(At::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_behind_its_last_chunk_and_its_trailers() {
        let body = b"5;a=b\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n";
        let mut input = body.to_vec();
        input.extend_from_slice(b"GET / HTTP/1.1");
        let mut chunks = Chunks::default();
        assert_eq!(chunks.read(&input), Ok(body.len()));
        assert!(chunks.is_ended());

        let mut chunks = Chunks::default();
        for byte in body {
            assert!(!chunks.is_ended());
            assert_eq!(chunks.read(&[*byte]), Ok(1));
        }
        assert!(chunks.is_ended());
    }

    /// S5: chunks that two parsers may read differently are refused.
    #[test]
    fn chunks_that_a_lenient_parser_would_mend_are_refused() {
        for body in [
            "5;a\nb\r\nhello\r\n",
            "5\nhello\r\n",
            "0x5\r\nhello\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "FFFFFFFFFFFFFFFF\r\n",
            "5 \r\nhello\r\n",
            " 5\r\nhello\r\n",
            "-5\r\nhello\r\n",
            "\r\n",
            ";a\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\rX",
            "5\r\nhello\n",
            "0\r\nX: a\nb\r\n\r\n",
            "0\r\n\rX",
        ] {
            assert!(Chunks::default().read(body.as_bytes()).is_err(), "{body:?}");
        }
        let endless = format!("5;{}", "a".repeat(EXTENSION_BYTES_MAX as usize + 1));
        assert!(Chunks::default().read(endless.as_bytes()).is_err());
        let endless = format!("0\r\n{}", "a".repeat(TRAILER_BYTES_MAX as usize + 1));
        assert!(Chunks::default().read(endless.as_bytes()).is_err());
    }
}
