//! Registry documents.

/// Kinds of registry documents. The numbers are stored; 8 is for jobs of later versions.
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
