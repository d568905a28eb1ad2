//! A copy of a store on its way: what a backup is made of, the stream that carries one from a server to a command, and the directory that
//! it is written to.
//!
//! **Invariant:** a stream ends with a manifest or with the reason why there is none. One that just stops is no copy.

pub mod dir;

use std::{fmt::Write as _, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use relay_core::fault::{Fault, Retry};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Format of the manifest.
pub const FORMAT: u32 = 1;
/// Name of the manifest in the directory of a backup.
pub const MANIFEST: &str = "manifest.json";
/// Name of the database there.
pub const DATABASE: &str = "store.db";
/// A reader that takes nothing for so long is given up: what it holds back of the write-ahead log takes room.
pub const STALL_MAX: Duration = Duration::from_secs(10);
/// Bytes of one piece.
pub const PIECE_BYTES: usize = 1024 * 1024;
/// Pieces between the thread that reads and whoever takes them.
pub(crate) const PIECES_WAITING: usize = 4;
/// A frame that says it is longer is none of ours.
const FRAME_BYTES_MAX: usize = 4 * PIECE_BYTES;

/// What a copy holds: the store as of one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Length of its database.
    pub bytes: u64,
    /// Events in it.
    pub events: u64,
    /// Events that were ever accepted.
    pub accepted: u64,
    /// The last commit in it.
    pub commit: u64,
    /// The ledger's epoch.
    pub epoch: String,
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What stands beside the database, written last: a directory without one is no backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// SHA-256 of the database, in hex.
    pub sha256: String,
    /// What it holds.
    #[serde(flatten)]
    pub backup: Backup,
}

/// A part of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes of the database.
    Bytes(Bytes),
    /// That was all, and this is what it was.
    End(Box<Manifest>),
}

/// A copy that has begun.
#[derive(Debug)]
pub struct Copying {
    /// What it will hold.
    pub backup: Backup,
    /// Its pieces in order, then [`Piece::End`] or an error. Dropping this ends the copy.
    pub pieces: mpsc::Receiver<Result<Piece, BackupError>>,
}

/// Why there is no copy. The store goes on, but for [`BackupError::Unavailable`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// One at a time: each holds back a part of the write-ahead log.
    #[error("another backup is under way: wait for it, or end it")]
    UnderWay,
    /// The store is closing.
    #[error("the server stops, and the backup with it: take it again once the server runs")]
    Stopped,
    /// No room on the disk of the store for what the copy holds back.
    #[error(
        "the disk of the store is full, and a backup holds back room while it runs: make room there, and take it again"
    )]
    Full,
    /// The store was written faster than the copy was taken.
    #[error(
        "the store was written faster than the copy was taken: its log grew by {bytes} bytes meanwhile. Take it nearer to \
         the server, onto a faster disk, or at a quieter hour"
    )]
    Outgrown {
        /// By how much the log grew.
        bytes: u64,
    },
    /// Whoever takes the copy took nothing for too long.
    #[error(
        "nothing of the copy was taken for {STALL_MAX:?}: the connection, or the disk it is written to, is too slow"
    )]
    Stalled,
    /// It could not begin: no descriptor or memory is left.
    #[error("the copy could not begin: {0}")]
    NotNow(String),
    /// Such a store is copied by what it is kept in.
    #[error(
        "the store is in a Redis, whose own copies are its backups: replicas, and its append-only file and RDB (redis-cli --rdb FILE; or \
         BGREWRITEAOF, then the appendonlydir). A copy as a data directory: stop the servers, then crm-relay store migrate --from URL --to DIR"
    )]
    NotHere,
    /// The store has failed or is closed.
    #[error("the store is not available")]
    Unavailable,
}

impl BackupError {
    /// Its stable word, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnderWay => "conflict",
            Self::Stopped => "shutting_down",
            Self::Full => "store_full",
            Self::Outgrown { .. } => "outgrown",
            Self::Stalled => "timeout",
            Self::NotNow(_) => "too_slow",
            Self::NotHere => "not_here",
            Self::Unavailable => "store_unavailable",
        }
    }

    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::UnderWay | Self::NotHere => Fault::Caller,
            Self::Stalled => Fault::Peer,
            Self::Stopped | Self::Full | Self::Outgrown { .. } | Self::NotNow(_) | Self::Unavailable => Fault::Resource,
        }
    }

    /// Whether it may be taken later.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::NotHere | Self::Unavailable => Retry::Never,
            Self::UnderWay | Self::Stopped | Self::Full | Self::Outgrown { .. } | Self::Stalled | Self::NotNow(_) => {
                Retry::Backoff
            }
        }
    }
}

/// A SHA-256 that is reckoned as bytes go by.
pub struct Digest(Context);

impl Digest {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In hex.
    pub fn finish(self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0.finish().as_ref() {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

/// One frame of the stream: a kind, a length of four bytes, big-endian, and so many bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `A`, the first: what the copy will hold.
    About(Box<Backup>),
    /// `P`: bytes of the database.
    Bytes(Bytes),
    /// `M`, the last: the copy is whole.
    End(Box<Manifest>),
    /// `E`, the last: there is no copy, and why.
    Failed {
        /// A stable word.
        code: String,
        /// What happened, and what to do.
        detail: String,
    },
}

/// What is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not the stream of a backup")]
pub struct NoFrame;

#[derive(Serialize, Deserialize)]
struct Failed {
    code: String,
    detail: String,
}

impl Frame {
    /// The frame that says why there is no copy.
    pub fn failed(error: &BackupError) -> Self {
        Self::Failed { code: error.code().into(), detail: error.to_string() }
    }

    /// As it goes over the wire.
    pub fn encode(&self) -> Bytes {
        let (kind, payload) = match self {
            Self::About(backup) => (b'A', json(backup)),
            Self::Bytes(bytes) => (b'P', bytes.clone()),
            Self::End(manifest) => (b'M', json(manifest)),
            Self::Failed { code, detail } => (b'E', json(&Failed { code: code.clone(), detail: detail.clone() })),
        };
        let mut out = BytesMut::with_capacity(5 + payload.len());
        out.put_u8(kind);
        out.put_u32(payload.len() as u32);
        out.put(payload);
        out.freeze()
    }

    /// Takes the next frame out of what has arrived; `None` while it is not whole.
    ///
    /// # Errors
    /// What arrived is no frame.
    pub fn take(arrived: &mut BytesMut) -> Result<Option<Self>, NoFrame> {
        let Some(head) = arrived.first_chunk::<5>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX || !b"APME".contains(&kind) {
            return Err(NoFrame);
        }
        if arrived.len() < 5 + length {
            return Ok(None);
        }
        arrived.advance(5);
        let payload = arrived.split_to(length).freeze();
        Ok(Some(match kind {
            b'A' => Self::About(Box::new(serde_json::from_slice(&payload).map_err(|_| NoFrame)?)),
            b'P' => Self::Bytes(payload),
            b'M' => Self::End(Box::new(serde_json::from_slice(&payload).map_err(|_| NoFrame)?)),
            _ => {
                let Failed { code, detail } = serde_json::from_slice(&payload).map_err(|_| NoFrame)?;
                Self::Failed { code, detail }
            }
        }))
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // Strings and numbers always have a text.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        let backup =
            Backup { bytes: 3, events: 1, accepted: 2, commit: 9, epoch: "ab".into(), at_ms: 1_800_000_000_000 };
        let manifest = Manifest { format: FORMAT, sha256: "00".into(), backup: backup.clone() };
        vec![
            Frame::About(Box::new(backup)),
            Frame::Bytes(Bytes::from_static(b"abc")),
            Frame::Bytes(Bytes::new()),
            Frame::failed(&BackupError::Outgrown { bytes: 7 }),
            Frame::End(Box::new(manifest)),
        ]
    }

    #[test]
    fn frames_arrive_in_whatever_pieces_they_come() {
        let stream: Vec<u8> = frames().iter().flat_map(Frame::encode).collect();
        let (mut arrived, mut taken) = (BytesMut::new(), Vec::new());
        for byte in stream {
            arrived.put_u8(byte);
            taken.extend(Frame::take(&mut arrived).expect("is a stream"));
        }
        assert_eq!(taken, frames());
        assert!(arrived.is_empty());
    }

    #[test]
    fn what_is_no_stream_is_refused_without_waiting_for_its_end() {
        for bytes in [&b"HTTP/1.1 200 OK"[..], b"P\xff\xff\xff\xff", b"A\0\0\0\x02{}", b"M\0\0\0\x01x"] {
            assert_eq!(Frame::take(&mut BytesMut::from(bytes)), Err(NoFrame), "{bytes:?}");
        }
    }
}
