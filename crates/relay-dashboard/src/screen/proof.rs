//! What proves an event, judged again as its source is now.

use crate::text as t;

/// What is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It holds under a present secret.
    Holds,
    /// It holds under a secret that is being replaced.
    HoldsUnderOld,
    /// It does not: which check refuses it.
    Fails(String),
    /// It cannot be judged again: why, in one word.
    Unknown(&'static str),
}

impl Proof {
    pub(super) const fn tone(&self) -> &'static str {
        match self {
            Self::Holds | Self::HoldsUnderOld => "ok",
            Self::Fails(_) => "warn",
            Self::Unknown(_) => "quiet",
        }
    }

    pub(super) const fn sign(&self) -> &'static str {
        match self {
            Self::Holds | Self::HoldsUnderOld => "✓",
            Self::Fails(_) => "!",
            Self::Unknown(_) => "–",
        }
    }

    pub(super) fn word(&self) -> &'static str {
        t::proof(self)
    }

    pub(super) fn said(&self) -> String {
        t::proof_said(self)
    }
}
