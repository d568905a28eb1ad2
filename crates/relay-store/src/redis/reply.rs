//! What Redis answers, and what can go wrong with it.

use std::fmt;

use relay_core::storage::{AppendError, StoreError};

use crate::record::RecordError;

/// What scripts begin a refusal with that came before they wrote anything: a key is of another type than ours.
const SPOILT: &str = "SPOILT";

/// What Redis says where a script asks for a key that is not there any more, but in another node. Nothing is decided by it but whether
/// somebody has to be told.
const NOT_LOCAL: &str = "attempted to access a non local key";

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing is there.
    Nil,
    /// A number.
    Number(i64),
    /// Bytes or a status.
    Bytes(Vec<u8>),
    /// Several.
    Many(Vec<Self>),
    /// A refusal: its first word, and all of it.
    Refused {
        /// What tells refusals apart.
        word: Box<str>,
        /// For people.
        text: Box<str>,
    },
}

/// Why an operation is not known to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It cannot be reached, or did nothing; nothing is changed.
    Away,
    /// The node has not got that part of the store, or not all of it, now; nothing is changed.
    Elsewhere,
    /// It was sent, and no answer came, or too few replicas have it.
    Unknown,
    /// There is no room.
    Full,
    /// Redis does not know the script: it is loaded, and the same is sent again.
    Unscripted,
    /// A group or a cursor is not where it was: it is made again, and the same is sent again.
    Strayed,
    /// What is stored, or the answer, cannot be read.
    Damaged(Box<str>),
    /// Redis refused what it should not, as a command on a key of another type.
    Unexpected(Box<str>),
    /// A later version wrote it.
    Later(Box<str>),
    /// The store is closed or has failed.
    Unavailable,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "Redis was not reached, or did nothing",
            Self::Elsewhere => "that part of the store was not where it was looked for",
            Self::Unknown => "no answer came, or too few replicas had it",
            Self::Full => "there is no room",
            Self::Unscripted => "Redis did not know the script",
            Self::Strayed => "a group was not where it was left",
            Self::Damaged(what) | Self::Unexpected(what) | Self::Later(what) => what,
            Self::Unavailable => "the store is closed",
        })
    }
}

impl Fault {
    /// By the first word of a refusal, never by its text, which differs between servers and versions.
    fn of_refusal(word: &str, text: &str) -> Self {
        match word {
            "READONLY" | "EXECABORT" | "LOADING" | "MASTERDOWN" | "NOREPLICAS" | "MISCONF" | "BUSY" | "NOAUTH"
            | "NOPERM" | "WRONGPASS" => Self::Away,
            "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" => Self::Elsewhere,
            "OOM" => Self::Full,
            "NOSCRIPT" => Self::Unscripted,
            "STRAYED" | "NOGROUP" => Self::Strayed,
            // Of ours: a script that looked before it wrote anything. All else that nobody knows may come from one that was half
            // way: see `half_way`.
            SPOILT => Self::Damaged(text.into()),
            _ => Self::Unexpected(text.into()),
        }
    }

    /// What a refusal means that came where a script ran, or a transaction: some of it may be done.
    pub(super) fn half_way(self) -> Self {
        match self {
            // A row has left its slot ahead of the indexes that lead to it: what is moved is asked for again.
            Self::Unexpected(text) if text.contains(NOT_LOCAL) => Self::Unknown,
            Self::Unexpected(text) => {
                tracing::error!(event = "redis_refused", text, "Redis refused what it was in the midst of");
                Self::Unknown
            }
            fault => fault,
        }
    }

    /// A record that cannot be read, named.
    pub(super) fn record(what: &dyn fmt::Display, error: &RecordError) -> Self {
        let is_later = error.is_later();
        let what = format!("{what}: {error}").into();
        if is_later { Self::Later(what) } else { Self::Damaged(what) }
    }

    /// An answer of another shape than the command gives.
    pub(super) fn shape(reply: &Reply) -> Self {
        Self::Damaged(format!("an answer that was not expected: {reply:.200?}").into())
    }

    /// What it means where a part of the same operation may be done already, in another partition: not that nothing was.
    pub(super) fn behind(self, is_begun: bool) -> Self {
        match self {
            Self::Unavailable => Self::Unavailable,
            _ if is_begun => Self::Unknown,
            fault => fault,
        }
    }

    /// What who appends is told.
    pub(super) fn of_append(self) -> AppendError {
        match self {
            Self::Away | Self::Elsewhere => AppendError::Away,
            Self::Unknown | Self::Unscripted | Self::Strayed => AppendError::Unknown,
            Self::Full => AppendError::Full,
            Self::Damaged(_) | Self::Unexpected(_) | Self::Later(_) => AppendError::Damaged,
            Self::Unavailable => AppendError::Unavailable,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Away | Fault::Elsewhere => Self::Away,
            Fault::Unknown | Fault::Unscripted | Fault::Strayed => Self::Unknown,
            Fault::Full => Self::Full,
            Fault::Damaged(what) | Fault::Unexpected(what) => Self::Damaged { what },
            Fault::Later(what) => Self::Later { what },
            Fault::Unavailable => Self::Unavailable,
        }
    }
}

impl Reply {
    /// The first refusal in it, however deep: those of a transaction stand inside its answer.
    pub(super) fn refusal(&self) -> Option<Fault> {
        match self {
            Self::Refused { word, text } => Some(Fault::of_refusal(word, text)),
            Self::Many(replies) => replies.iter().find_map(Self::refusal),
            Self::Nil | Self::Number(_) | Self::Bytes(_) => None,
        }
    }

    /// Several.
    pub(super) fn many(self) -> Result<Vec<Self>, Fault> {
        match self {
            Self::Many(replies) => Ok(replies),
            Self::Nil => Ok(Vec::new()),
            other => Err(other.refusal().unwrap_or_else(|| Fault::shape(&other))),
        }
    }

    /// Bytes that are there.
    pub(super) fn bytes(self) -> Result<Vec<u8>, Fault> {
        self.maybe_bytes()?.ok_or_else(|| Fault::shape(&Self::Nil))
    }

    /// Bytes, if they are there.
    pub(super) fn maybe_bytes(self) -> Result<Option<Vec<u8>>, Fault> {
        match self {
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::Nil => Ok(None),
            other => Err(other.refusal().unwrap_or_else(|| Fault::shape(&other))),
        }
    }

    /// A number, or a text that is one.
    pub(super) fn number(self) -> Result<i64, Fault> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(bytes) => number(&bytes),
            other => Err(other.refusal().unwrap_or_else(|| Fault::shape(&other))),
        }
    }
}

/// A decimal number.
pub(super) fn number(text: &[u8]) -> Result<i64, Fault> {
    let read = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    read.ok_or_else(|| Fault::Damaged(format!("no number: {:.40?}", String::from_utf8_lossy(text)).into()))
}

/// Takes replies in their order.
pub(super) struct Replies(std::vec::IntoIter<Reply>);

impl Replies {
    /// From the first.
    pub(super) fn new(replies: Vec<Reply>) -> Self {
        Self(replies.into_iter())
    }

    /// The next, which must be there.
    pub(super) fn next(&mut self) -> Result<Reply, Fault> {
        self.0.next().ok_or_else(|| Fault::Damaged("an answer that is cut short".into()))
    }

    /// Whether there is another.
    pub(super) fn is_over(&self) -> bool {
        self.0.as_slice().is_empty()
    }
}
