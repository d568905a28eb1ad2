//! Bodies as their senders had them before they compressed them, for signatures over those bytes.
//!
//! What is decoded is judged and dropped: what is stored and forwarded is what was sent. The coding itself is signed by
//! nobody, so only what every decoder reads alike is decoded: one coding, one stream, and nothing behind it.

use std::io::Read as _;

use bytes::Bytes;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use relay_core::limits;

use super::{
    arrival,
    uploads::{Extent, Owner, Turn, Uploads, Waited},
};
use crate::error::{Code, Problem};

/// Decoded at a time; other connections have their turn in between.
const PIECE_BYTES: usize = 64 * 1024;

const UNKNOWN: Problem = Problem::new(
    Code::Malformed,
    "the signature is over the decoded body, so Content-Encoding must be gzip or deflate, once, or identity",
);
const BROKEN: Problem =
    Problem::new(Code::Malformed, "the body is not one whole stream of its Content-Encoding, gzip or deflate (zlib)");
const TOO_LARGE: Problem = Problem::new(
    Code::TooLarge,
    "decoded, the body is larger than this relay takes, or a hundred times as large as it was sent",
);
const NO_MEMORY: Problem =
    Problem::new(Code::StoreUnavailable, "there is no memory to decode the body at the moment; send it again");

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// The zlib format: RFC 9110 section 8.4.1.2. Raw deflate is not taken, for some read as that what others read as zlib.
    Deflate,
}

impl Coding {
    /// What the head says; `None` where the body is as it was signed.
    ///
    /// # Errors
    /// A coding that is not taken, or several: decoders differ in what they make of them.
    pub(super) fn of(headers: &[(Bytes, Bytes)]) -> Result<Option<Self>, Problem> {
        let mut values = headers.iter().filter(|(name, _)| &name[..] == b"content-encoding").map(|(_, value)| value);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(UNKNOWN);
        }
        let is = |name: &str| value.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        if is("identity") || is("") {
            Ok(None)
        } else if is("gzip") || is("x-gzip") {
            Ok(Some(Self::Gzip))
        } else if is("deflate") {
            Ok(Some(Self::Deflate))
        } else {
            Err(UNKNOWN)
        }
    }
}

/// Decodes a body of `owner`'s, to `bytes_max` at most; its memory counts against the budget until the result is dropped.
///
/// # Errors
/// What does not decode, is too large, or has no memory.
pub(super) async fn decode(
    sent: &[u8],
    coding: Coding,
    bytes_max: u64,
    uploads: &Uploads,
    owner: Owner<'_>,
) -> Result<Bytes, Problem> {
    let ratio_max = limits::DECODED_FREE_BYTES.max(sent.len() as u64 * limits::DECODED_RATIO_MAX);
    // Beside what was sent there is never more than the rest.
    let room = uploads.budget.max().saturating_sub(sent.len() as u64);
    let bytes_max = bytes_max.min(ratio_max).min(room);
    let mut reservation = uploads.budget.open(true);
    // It wants memory like a body that comes, and comes on as fast as we read it.
    let listed = uploads.list(owner, None, Extent { came: 0, held: 0 });
    let mut decoder = Decoder::new(sent, coding);
    let mut decoded: Vec<u8> = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = decoder.read(&mut piece)?;
        if read == 0 {
            return if decoder.rest().is_empty() { Ok(reservation.hold(decoded)) } else { Err(BROKEN) };
        }
        let len = (decoded.len() + read) as u64;
        if len > bytes_max {
            return Err(TOO_LARGE);
        }
        if len > listed.ceiling() {
            let next = arrival::ceiling_behind(len, bytes_max);
            let size = next.saturating_add(sent.len() as u64);
            let wanted = Turn { ceiling: next, more: next.saturating_sub(reservation.bytes()), size };
            if uploads.turn(&listed, wanted).await != Waited::Grown {
                return Err(NO_MEMORY);
            }
            reservation.becomes(size);
        }
        if len > decoded.capacity() as u64 {
            let step = (decoded.len() as u64).min(bytes_max - decoded.len() as u64).max(read as u64);
            if !reservation.grow(step)
                && uploads.wait(&mut reservation, step, owner, Some(&listed)).await != Waited::Grown
            {
                return Err(NO_MEMORY);
            }
            decoded.reserve_exact(step as usize);
        }
        decoded.extend_from_slice(&piece[..read]);
        listed.comes_to(Extent { came: len, held: reservation.bytes() });
        tokio::task::yield_now().await;
    }
}

enum Decoder<'a> {
    Gzip(GzDecoder<&'a [u8]>),
    Zlib(ZlibDecoder<&'a [u8]>),
}

impl<'a> Decoder<'a> {
    fn new(sent: &'a [u8], coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(GzDecoder::new(sent)),
            Coding::Deflate => Self::Zlib(ZlibDecoder::new(sent)),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Problem> {
        let read = match self {
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zlib(decoder) => decoder.read(into),
        };
        read.map_err(|_| BROKEN)
    }

    /// What is behind the stream.
    fn rest(&self) -> &[u8] {
        match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zlib(decoder) => decoder.get_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::Arc};

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use relay_net::origin::Address;

    use super::*;
    use crate::budget::Budget;

    const MEBIBYTE: u64 = 1024 * 1024;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn headers(values: &[&str]) -> Vec<(Bytes, Bytes)> {
        values.iter().map(|value| ("content-encoding".into(), Bytes::copy_from_slice(value.as_bytes()))).collect()
    }

    async fn decoded(sent: &[u8], coding: Coding, budget: &Arc<Budget>) -> Result<Bytes, Problem> {
        let source = "s".parse().unwrap();
        let owner = Owner { source: &source, address: Address::Local, proven: false };
        decode(sent, coding, 25 * MEBIBYTE, &Uploads::new(Arc::clone(budget)), owner).await
    }

    #[test]
    fn one_known_coding_is_decoded_and_nothing_else() {
        for (values, expected) in [
            (vec![], Ok(None)),
            (vec!["identity"], Ok(None)),
            (vec![" GZip "], Ok(Some(Coding::Gzip))),
            (vec!["x-gzip"], Ok(Some(Coding::Gzip))),
            (vec!["deflate"], Ok(Some(Coding::Deflate))),
            (vec!["br"], Err(UNKNOWN)),
            (vec!["gzip, gzip"], Err(UNKNOWN)),
            (vec!["gzip", "identity"], Err(UNKNOWN)),
            (vec!["gzip;q=1"], Err(UNKNOWN)),
        ] {
            assert_eq!(Coding::of(&headers(&values)), expected, "{values:?}");
        }
    }

    /// S12: what decoders may read differently is read by none here.
    #[tokio::test]
    async fn only_one_whole_stream_is_decoded() {
        let budget = Budget::new(64 * MEBIBYTE);
        let body = br#"{"type":"message.new"}"#;
        let (gzip, zlib) = (gzip(body), zlib(body));
        for (sent, coding) in [(&gzip, Coding::Gzip), (&zlib, Coding::Deflate)] {
            assert_eq!(decoded(sent, coding, &budget).await.unwrap(), &body[..]);
            let twice = [&sent[..], sent].concat();
            let mut flipped = sent.clone();
            *flipped.last_mut().unwrap() ^= 1;
            let bent = [twice, [&sent[..], b"&x=1"].concat(), sent[..sent.len() - 1].to_vec(), flipped, Vec::new()];
            for (index, bent) in bent.iter().enumerate() {
                assert_eq!(decoded(bent, coding, &budget).await, Err(BROKEN), "{coding:?} {index}");
            }
        }
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        raw.write_all(body).unwrap();
        assert_eq!(decoded(&raw.finish().unwrap(), Coding::Deflate, &budget).await, Err(BROKEN));
        assert_eq!(decoded(&zlib, Coding::Gzip, &budget).await, Err(BROKEN));
        assert_eq!(budget.used(), 0);
    }

    /// S12, I16: a bomb is refused within its bounds, and what is decoded counts.
    #[tokio::test]
    async fn a_bomb_is_refused_before_it_goes_off() {
        let budget = Budget::new(64 * MEBIBYTE);
        let bomb = gzip(&vec![b' '; 26 * MEBIBYTE as usize]);
        assert!((bomb.len() as u64) < MEBIBYTE / 16);
        assert_eq!(decoded(&bomb, Coding::Gzip, &budget).await, Err(TOO_LARGE));
        assert_eq!(budget.used(), 0);

        let usual = vec![b' '; MEBIBYTE as usize];
        let body = decoded(&gzip(&usual), Coding::Gzip, &budget).await.unwrap();
        assert!(body == usual && (MEBIBYTE..=2 * MEBIBYTE).contains(&budget.used()), "{}", budget.used());
        drop(body);
        assert_eq!(budget.used(), 0);
        assert_eq!(decoded(&gzip(&usual), Coding::Gzip, &Budget::new(MEBIBYTE)).await, Err(NO_MEMORY));
    }
}
