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
    /// It cannot be judged again.
    Unknown(NoVerdict),
}

/// Why it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoVerdict {
    /// What was received is erased.
    Erased,
    /// Its source is deleted.
    NoSource,
    /// The settings of its source do not read.
    SourceBroken,
    /// What proved it is not kept with it.
    NotKept,
    /// The key is the platform's, and fetched.
    KeyFetched,
    /// It would be a question of its platform.
    Question,
    /// Its body is signed decoded, and does not decode.
    BodyUnread,
    /// The time in it is another than that at which it came.
    Age,
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
