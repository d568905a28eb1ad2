//! What can go wrong in a transaction, sorted by what follows from it.

use relay_core::storage::StoreError;
use rusqlite::ErrorCode;

use super::reader::READ_TIME_MAX;
use crate::record::RecordError;

/// Why a transaction or a read did not happen.
#[derive(Debug)]
pub(super) enum Fault {
    /// No room on the disk: rolled back, tried again later.
    Full,
    /// One record is damaged; the store as such works.
    Damaged(Box<str>),
    /// A read was given up.
    TooSlow,
    /// The store can no longer be trusted: stop for good.
    Broken(String),
    /// A failure point asks for the end of the process to be played.
    Crash,
}

impl Fault {
    /// A damaged record, named.
    pub(super) fn record(what: &dyn std::fmt::Display, error: &RecordError) -> Self {
        Self::Damaged(format!("{what}: {error}").into())
    }

    /// What the asker is told.
    pub(super) fn answer(self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::Damaged(what) => StoreError::Damaged { what },
            Self::TooSlow => StoreError::TooSlow { after: READ_TIME_MAX },
            Self::Broken(_) | Self::Crash => StoreError::Unavailable,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::OperationInterrupted) => Self::TooSlow,
            _ => Self::Broken(format!("sqlite: {error}")),
        }
    }
}
