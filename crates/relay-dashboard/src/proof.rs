//! What proves an event, judged again as its source is now.

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
    pub(crate) const fn tone(&self) -> &'static str {
        match self {
            Self::Holds | Self::HoldsUnderOld => "ok",
            Self::Fails(_) => "warn",
            Self::Unknown(_) => "quiet",
        }
    }

    pub(crate) const fn sign(&self) -> &'static str {
        match self {
            Self::Holds | Self::HoldsUnderOld => "✓",
            Self::Fails(_) => "!",
            Self::Unknown(_) => "–",
        }
    }
}
