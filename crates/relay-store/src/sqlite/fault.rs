//! What can go wrong in a transaction, sorted by what follows from it.

use std::time::Duration;

use relay_core::storage::StoreError;
use rusqlite::{ErrorCode, ffi};

use crate::record::RecordError;

/// A read that takes longer is given up.
pub(super) const READ_TIME_MAX: Duration = Duration::from_secs(1);

/// Why a transaction or a read did not happen.
#[derive(Debug)]
pub(super) enum Fault {
    /// No room on the disk: rolled back, tried again later.
    Full,
    /// One record is damaged; the store as such works.
    Damaged(Box<str>),
    /// A later version wrote one record, in a way that is not known here: it may be whole.
    Later(Box<str>),
    /// A read was given up.
    TooSlow,
    /// A connection could not be opened, which says nothing about what is stored.
    NotOpened(String),
    /// A write did not go through, perhaps for want of room: the writer finds out, anybody else stops for good.
    Unwritten(String),
    /// SQLite met what does not hold: an index that is not what its table says, or a page. An index can be made anew from its
    /// table, and the writer does; where it does not, this is as good as [`Broken`](Self::Broken).
    Corrupt {
        reason: String,
        /// The row of deliveries that was about to change.
        delivery: Option<i64>,
    },
    /// The store can no longer be trusted: stop for good.
    Broken(String),
    /// A failure point asks for the end of the process to be played.
    Crash,
}

impl Fault {
    /// A record that cannot be read, named.
    pub(super) fn record(what: &dyn std::fmt::Display, error: &RecordError) -> Self {
        let what = format!("{what}: {error}").into();
        if error.is_later() { Self::Later(what) } else { Self::Damaged(what) }
    }

    /// Why the store can no longer be trusted, if that is so.
    pub(super) fn breaks(&self) -> Option<&str> {
        match self {
            Self::Broken(reason) | Self::Unwritten(reason) | Self::Corrupt { reason, .. } => Some(reason),
            Self::Full | Self::Damaged(_) | Self::Later(_) | Self::TooSlow | Self::NotOpened(_) | Self::Crash => None,
        }
    }

    /// As it is, met where this row was about to change.
    pub(super) fn at_delivery(self, seq: i64) -> Self {
        match self {
            Self::Corrupt { reason, .. } => Self::Corrupt { reason, delivery: Some(seq) },
            other => other,
        }
    }

    /// What the asker is told.
    pub(super) fn answer(self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::Damaged(what) => StoreError::Damaged { what },
            Self::Later(what) => StoreError::Later { what },
            Self::TooSlow => StoreError::TooSlow { after: READ_TIME_MAX },
            Self::NotOpened(reason) => {
                tracing::warn!(
                    event = "read_refused",
                    reason,
                    "no connection to the store could be opened; are few open files allowed (ulimit -n)?"
                );
                StoreError::Away
            }
            Self::Broken(_) | Self::Unwritten(_) | Self::Corrupt { .. } | Self::Crash => StoreError::Unavailable,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::OperationInterrupted) => Self::TooSlow,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { reason: format!("sqlite: {error}"), delivery: None },
            _ if is_unwritten(&error) => Self::Unwritten(format!("sqlite: {error}")),
            _ => Self::Broken(format!("sqlite: {error}")),
        }
    }
}

/// SQLite knows one kind of no room, ENOSPC of a write. A quota that is used up, and no room for the index of the
/// write-ahead log, look like errors of the disk.
fn is_unwritten(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I16, I17: what may be want of room is found out before the store counts as failed; what cannot be is believed.
    #[test]
    fn what_may_be_want_of_room_is_told_from_a_broken_disk() {
        let fault = |code| Fault::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(matches!(fault(ffi::SQLITE_FULL), Fault::Full));
        for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(fault(code), Fault::Unwritten(_)), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_CANTOPEN] {
            assert!(matches!(fault(code), Fault::Broken(_)), "{code}");
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_CORRUPT_INDEX] {
            assert!(fault(code).breaks().is_some() && matches!(fault(code), Fault::Corrupt { .. }), "{code}");
        }
    }
}
