//! What can be said of a request before its body is there.

use crate::{Refusal, Verdict};

/// What the head of a request says of its proof. Whatever is said here holds with any body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByHead {
    /// Nothing: the body has a share in the proof, or the head is a handshake's.
    Open,
    /// It proved itself: nothing of the proof is in the body.
    Proven,
    /// A key or certificate has to be fetched first (https, host pinned); then judge the head again with it.
    NeedsKey {
        /// From where.
        url: String,
    },
    /// It does not prove itself.
    Refused {
        /// Why.
        refusal: Refusal,
        /// A body of at most [`HANDSHAKE_BODY_BYTES_MAX`](crate::HANDSHAKE_BODY_BYTES_MAX) may still make it a handshake
        /// that needs no proof, or another refusal.
        or_handshake: bool,
    },
}

impl ByHead {
    /// Refused with any body.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self::Refused { refusal, or_handshake: false }
    }

    /// What follows from a check of the head: the rest of the proof is in the body.
    pub(crate) fn of<T>(checked: Result<T, Refusal>) -> Self {
        checked.map_or_else(Self::refused, |_| Self::Open)
    }
}

/// For verdicts that no body has a share in.
impl From<Verdict> for ByHead {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Genuine(_) | Verdict::Malformed(_) => Self::Proven,
            Verdict::NeedsKey { url } => Self::NeedsKey { url },
            Verdict::Refused(refusal) => Self::refused(refusal),
            Verdict::Handshake(_) | Verdict::Confirm { .. } | Verdict::Adopt { .. } => Self::Open,
        }
    }
}
