//! Presence: what servers that share a store know of each other.
//!
//! **Invariant:** all of it is bounded: words by [`PRESENCE_WORDS_MAX`](limits::PRESENCE_WORDS_MAX), circuits by
//! [`PRESENCE_CIRCUITS_MAX`](limits::PRESENCE_CIRCUITS_MAX), clients by the sockets that a server has room for.

use std::{sync::Arc, time::Duration};

use super::Reading;
use crate::{id::InstanceId, limits, name::Name, time::Wall};

/// One run of a server, and the clients that have a socket there. Said to the store, which answers with those of the other
/// runs that were heard of within [`PRESENCE_GONE`](crate::limits::PRESENCE_GONE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Its number: the nonce of its leases.
    pub run: u64,
    /// When it was said, by the store's clock as its server knows it: whose own clock is off neither counts others as gone, nor is
    /// taken to be.
    pub at: Wall,
    /// Which server it is.
    pub server: About,
    /// It is stopping: what has to be done once for all is done by others from now on.
    pub stopping: bool,
    /// How its clock was found to go; `None`: it does not know.
    pub clock: Option<Reading>,
    /// Its clients.
    pub clients: Vec<SeenClient>,
    /// Circuits that are open there, also of clients that had a socket there until lately.
    pub circuits: Vec<SeenCircuit>,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Of the program.
    pub version: Arc<str>,
    /// What its operator calls it, the same over restarts; empty: nothing.
    pub name: Arc<str>,
    /// Where senders and clients reach it; empty: nobody knows.
    pub address: Arc<str>,
    /// A digest of its configuration, as far as it is to be that of all servers. Secrets are in it by a keyed digest.
    pub config: [u8; 32],
}

/// A client instance that a server has a socket of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenClient {
    /// Which.
    pub instance: InstanceId,
    /// When it came there: of servers that say that they have it, the last one has.
    pub since: Wall,
    /// The destinations that it serves.
    pub serves: Vec<Name>,
}

/// The open circuit of a destination as a client instance sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCircuit {
    /// Which client.
    pub instance: InstanceId,
    /// When it came there last.
    pub since: Wall,
    /// Of which destination.
    pub destination: Name,
    /// How it stands.
    pub open: OpenCircuit,
}

/// How an open circuit stands, in spans that hold on any clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCircuit {
    /// For how long it has been open.
    pub lasts: Duration,
    /// Its present pause.
    pub pause: Duration,
    /// So much of that is left; none while a try is under way.
    pub left: Duration,
    /// Nothing but *unreachable* opened it.
    pub unreachable_only: bool,
    /// The latest failure, in words; none yet if it began open.
    pub error: Option<Arc<str>>,
}

impl About {
    /// The same, its words no longer than they may be.
    #[must_use]
    pub fn bounded(self) -> Self {
        let Self { version, name, address, config } = self;
        Self { version: bounded(&version), name: bounded(&name), address: bounded(&address), config }
    }
}

impl OpenCircuit {
    /// The same, its words no longer than they may be.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { error: self.error.map(|error| bounded(&error)), ..self }
    }
}

fn bounded(text: &Arc<str>) -> Arc<str> {
    match text.char_indices().nth(limits::PRESENCE_WORDS_MAX) {
        Some((end, _)) => text[..end].into(),
        None => Arc::clone(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_between_characters() {
        let long = "\u{e9}".repeat(limits::PRESENCE_WORDS_MAX + 1);
        let about = About { name: long.as_str().into(), ..About::default() }.bounded();
        assert_eq!(about.name.chars().count(), limits::PRESENCE_WORDS_MAX);
        assert_eq!(about.version, "".into());
    }
}
