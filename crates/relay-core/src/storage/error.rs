//! Why a store did not do it, and what follows for who asked.
//!
//! | | what is known | what the caller does |
//! | --- | --- | --- |
//! | *full* | nothing changed, there is no room | much later again ([`Retry::After`]); settling goes on |
//! | *too slow* | nothing changed, a read was given up | soon again ([`Retry::Backoff`]), with less |
//! | *away* | nothing changed, the store cannot be reached | soon again; nothing ends |
//! | *unknown* | it may be done | soon the same call again, which is safe |
//! | *damaged*, *later* | nothing changed, a record does not read | the rest without it ([`Retry::Never`]); an operator mends it |
//! | *failed* | for good | the process ends |
//!
//! Whoever decides whether to ask again goes by what an error answers, not by its name, so that a new one is met by all of them.

use std::time::Duration;

use crate::{
    fault::{Fault, Retry},
    limits,
};

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
            Self::Full => Retry::After(limits::STORE_FULL_RETRY),
            Self::Away | Self::Unknown => Retry::Backoff,
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
            Self::Full => Retry::After(limits::STORE_FULL_RETRY),
            Self::TooSlow { .. } | Self::Away | Self::Unknown => Retry::Backoff,
            Self::Damaged { .. } | Self::Later { .. } | Self::Unavailable => Retry::Never,
        }
    }

    /// Whether a call for less may succeed at once.
    pub fn wants_less(&self) -> bool {
        matches!(self, Self::TooSlow { .. })
    }

    /// The record that does not read, and what is wrong with it: without that one the rest can be done.
    pub fn record(&self) -> Option<&str> {
        match self {
            Self::Damaged { what } | Self::Later { what } => Some(what),
            Self::Full | Self::TooSlow { .. } | Self::Away | Self::Unknown | Self::Unavailable => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What an error answers, a row of the table above.
    #[derive(Debug, PartialEq, Eq)]
    struct Answers {
        fault: Fault,
        retry: Retry,
        is_unknown: bool,
        is_final: bool,
    }

    const FULL: Answers = Answers { retry: Retry::After(limits::STORE_FULL_RETRY), ..AWAY };
    const AWAY: Answers = Answers { fault: Fault::Resource, retry: Retry::Backoff, is_unknown: false, is_final: false };
    const UNKNOWN: Answers = Answers { is_unknown: true, ..AWAY };
    const UNREAD: Answers = Answers { fault: Fault::Operator, retry: Retry::Never, ..AWAY };
    const FAILED: Answers = Answers { retry: Retry::Never, is_unknown: true, is_final: true, ..AWAY };

    fn of_append(error: &AppendError) -> Answers {
        let (is_unknown, is_final) = (error.is_unknown(), error.is_final());
        Answers { fault: error.fault(), retry: error.retry(), is_unknown, is_final }
    }

    fn of(error: &StoreError) -> Answers {
        let (is_unknown, is_final) = (error.is_unknown(), error.is_final());
        Answers { fault: error.fault(), retry: error.retry(), is_unknown, is_final }
    }

    /// What an append failed of says what may be done again: at once, later, or not at all.
    #[test]
    fn every_error_of_an_append_says_what_may_be_done_again() {
        use AppendError::{Away, Damaged, Full, TooLate, Unavailable, Unknown};
        for error in [TooLate, Full, Damaged, Away, Unknown, Unavailable] {
            let expected = match error {
                TooLate => Answers { retry: Retry::Never, ..AWAY },
                Full => FULL,
                Damaged => UNREAD,
                Away => AWAY,
                Unknown => UNKNOWN,
                Unavailable => FAILED,
            };
            assert_eq!(of_append(&error), expected, "{error:?}");
        }
    }

    /// The same of every other operation; and only what was too much is asked for in less, only what a record is to blame for without it.
    #[test]
    fn every_error_of_a_store_says_what_may_be_done_again() {
        use StoreError::{Away, Damaged, Full, Later, TooSlow, Unavailable, Unknown};
        let what = || "bits".into();
        let slow = TooSlow { after: Duration::from_secs(1) };
        for error in [Unavailable, Full, Damaged { what: what() }, Later { what: what() }, slow, Away, Unknown] {
            let (expected, wants_less, record) = match error {
                Unavailable => (FAILED, false, None),
                Full => (FULL, false, None),
                Damaged { .. } | Later { .. } => (UNREAD, false, Some("bits")),
                TooSlow { .. } => (AWAY, true, None),
                Away => (AWAY, false, None),
                Unknown => (UNKNOWN, false, None),
            };
            assert_eq!((of(&error), error.wants_less(), error.record()), (expected, wants_less, record), "{error:?}");
        }
    }
}
