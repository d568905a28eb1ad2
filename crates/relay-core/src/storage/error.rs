//! Why a store did not do it, and what follows for who asked.
//!
//! | | what is known | what the caller does |
//! | --- | --- | --- |
//! | *full* | nothing changed, there is no room | later again; settling goes on |
//! | *too slow* | nothing changed, a read was given up | later again, with less |
//! | *away* | nothing changed, the store cannot be reached | later again; nothing ends |
//! | *unknown* | it may be done | the same call again, which is safe |
//! | *failed* | for good | the process ends |

use std::time::Duration;

use crate::fault::{Fault, Retry};

/// Why an [`Append`](super::Append) is not known to be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Its deadline passed before its turn came.
    #[error("the deadline passed before the commit began")]
    TooLate,
    /// There is no room; settling and retention go on, so try again later.
    #[error("the store is full")]
    Full,
    /// The record of the event that took its dedupe key is damaged: nothing is stored, and the repeat cannot be answered.
    #[error("the event that it repeats is damaged")]
    Damaged,
    /// The store cannot be reached for now; nothing is stored.
    #[error("the store is away")]
    Away,
    /// The store was asked and did not answer: it may be stored. Asked again with the same ids it is stored once.
    #[error("the store did not answer")]
    Unknown,
    /// The store has failed or is closed. Whether the event is stored is not known.
    #[error("the store is not available")]
    Unavailable,
}

/// A store operation failed as a whole. Reads are never full and never unknown, writes never too slow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store has failed for good or is closed: the process must stop and verify on its next start.
    #[error("the store is not available")]
    Unavailable,
    /// No room, not even in the reserve; nothing was changed.
    #[error("the store is full")]
    Full,
    /// A record on disk is damaged: named, never used.
    #[error("damaged record: {what}")]
    Damaged {
        /// Which record, and what is wrong with it.
        what: Box<str>,
    },
    /// A later version wrote a record, in a way that is not known here: named, never used, and no damage.
    #[error("record of a later version: {what}")]
    Later {
        /// Which record, and what is not known.
        what: Box<str>,
    },
    /// A read took too long and was given up; nothing was changed.
    #[error("the read was given up after {after:?}")]
    TooSlow {
        /// Its bound.
        after: Duration,
    },
    /// The store cannot be reached for now; nothing was changed.
    #[error("the store is away")]
    Away,
    /// The store was asked and did not answer: it may be done. The same call again does nothing twice, but for two: `audit` writes its lines
    /// once more, and `backup` makes another copy.
    #[error("the store did not answer")]
    Unknown,
}

impl AppendError {
    /// Who has to change something.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Damaged => Fault::Operator,
            Self::TooLate | Self::Full | Self::Away | Self::Unknown | Self::Unavailable => Fault::Resource,
        }
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full | Self::Away | Self::Unknown => Retry::Backoff,
            Self::TooLate | Self::Damaged | Self::Unavailable => Retry::Never,
        }
    }

    /// Whether the store has failed for good.
    pub fn is_final(&self) -> bool {
        *self == Self::Unavailable
    }

    /// Whether it may be done.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Unavailable)
    }
}

impl StoreError {
    /// Who has to change something.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Damaged { .. } | Self::Later { .. } => Fault::Operator,
            Self::Full | Self::TooSlow { .. } | Self::Away | Self::Unknown | Self::Unavailable => Fault::Resource,
        }
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full | Self::TooSlow { .. } | Self::Away | Self::Unknown => Retry::Backoff,
            Self::Damaged { .. } | Self::Later { .. } | Self::Unavailable => Retry::Never,
        }
    }

    /// Whether the store has failed for good.
    pub fn is_final(&self) -> bool {
        *self == Self::Unavailable
    }

    /// Whether it may be done.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Unavailable)
    }
}
