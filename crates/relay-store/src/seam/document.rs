//! Registry documents.

use serde::de::DeserializeOwned;

/// Kinds of registry documents. The numbers are stored; 8 is for jobs of later versions.
///
/// Two are the store's own: what stands in those of [`Migration`](Self::Migration) and [`Cipher`](Self::Cipher) is written and read in this
/// crate. Of all others it knows the names only, and the server what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DocumentKind {
    /// A source.
    Source = 1,
    /// A route.
    Route = 2,
    /// A destination.
    Destination = 3,
    /// An API key.
    Key = 4,
    /// A token.
    Token = 5,
    /// A user of the dashboard.
    User = 6,
    /// A session of the dashboard, or a link that begins one.
    Session = 7,
    /// What an alert has told.
    Alert = 9,
    /// A key or certificate that was fetched from a platform.
    FetchedKey = 10,
    /// What all servers on the store have alike.
    Shared = 11,
    /// Where what is stored was moved to, or comes from: see [`migrate`](crate::migrate).
    Migration = 12,
    /// A key that what is stored is sealed with: its number and its fingerprint.
    Cipher = 13,
}

impl DocumentKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Source,
        Self::Route,
        Self::Destination,
        Self::Key,
        Self::Token,
        Self::User,
        Self::Session,
        Self::Alert,
        Self::FetchedKey,
        Self::Shared,
        Self::Migration,
        Self::Cipher,
    ];

    /// Whether a server keeps what such documents say and has to hear of each change: what is received, from whom, where it goes, and
    /// who takes it. All others are read where somebody asks, and a change of one moves no [version](super::Registry::version).
    pub const fn is_followed(self) -> bool {
        match self {
            Self::Source | Self::Route | Self::Destination | Self::Key | Self::Token => true,
            Self::User
            | Self::Session
            | Self::Alert
            | Self::FetchedKey
            | Self::Shared
            | Self::Migration
            | Self::Cipher => false,
        }
    }
}

/// Names a registry document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its name within the kind.
    pub name: String,
}

/// Why a stored text is no document of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It has a field, or a word, that is not known here: it is not written over.
    #[error("a later version of crm-relay wrote it: {0}")]
    Later(String),
    /// It is spoilt.
    #[error("{0}")]
    Damaged(String),
}

/// Reads the text of a document, for whoever knows what stands in those of its kind; `T` refuses fields that it does not have.
///
/// # Errors
/// When the text is not a document of this kind, or one of a later version.
pub fn parse<T: DeserializeOwned>(body: &str) -> Result<T, Unread> {
    serde_json::from_str(body).map_err(|error| {
        let what = error.to_string();
        // serde_json has no kind of its own for either.
        let is_later = ["unknown field", "unknown variant"].iter().any(|begin| what.starts_with(begin));
        if is_later { Unread::Later(what) } else { Unread::Damaged(what) }
    })
}

/// A registry document: JSON text that the server understands, with a version for compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its key.
    pub key: DocumentKey,
    /// Goes up by one with every write, from 1.
    pub version: u64,
    /// JSON; empty: what was stored is damaged, which no document is otherwise.
    pub body: String,
}
