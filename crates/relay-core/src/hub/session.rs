//! One session: a client's socket, as far as its handshake is, and when it was last heard of.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    outbox::Outbox,
    routing::Serves,
    time::Mono,
    wire::{
        codec::{Greeting, LeaseKey},
        message::Hello,
    },
};

/// One socket of a client.
#[derive(Debug)]
pub(super) struct Session {
    /// Name of the token it proved.
    pub(super) token: Name,
    /// What that token may serve.
    pub(super) serves: Arc<Serves>,
    /// Its address, for people.
    pub(super) peer: String,
    /// How far the handshake is.
    pub(super) phase: Phase,
    /// When the last message, or part of one, arrived.
    pub(super) heard: Mono,
    /// A message has begun to arrive.
    pub(super) amid: bool,
    /// When its timer goes off.
    pub(super) tick: Mono,
    /// Its reports that are not decided on yet.
    pub(super) undecided: usize,
    /// What waits to be sent.
    pub(super) outbox: Outbox,
}

/// How far a session's handshake is.
#[derive(Debug)]
pub(super) enum Phase {
    /// No Hello yet.
    Opened,
    /// Its Hello waits until the leases of an earlier run are known.
    Waiting(Box<Hello>),
    /// Its Hello waits until what other servers keep of it is adopted.
    Claiming(Box<Claiming>),
    /// It speaks for this instance.
    Up(InstanceId),
}

/// A Hello that waits for what it names: see [`claims`](super::claims).
#[derive(Debug)]
pub(super) struct Claiming {
    pub(super) greeting: Greeting,
    /// Whose it is.
    pub(super) instance: InstanceId,
    /// When it came.
    pub(super) since: Mono,
    /// What is held of it here when its leases begin to be read.
    pub(super) before: BTreeSet<DeliveryId>,
    /// Its leases in the store.
    pub(super) listed: BTreeSet<LeaseKey>,
    /// Something is under way about one that it names: they are read again.
    pub(super) undecided: bool,
    /// All of them are read.
    pub(super) read: bool,
    /// The word of the others that it waits for: what is down for it there is down here.
    pub(super) word: u64,
    /// Adoptions under way.
    pub(super) adopting: usize,
}

impl Session {
    /// A fresh socket.
    pub(super) fn new(token: Name, serves: Serves, peer: String, now: Mono) -> Self {
        let serves = Arc::new(serves);
        Self {
            token,
            serves,
            peer,
            phase: Phase::Opened,
            heard: now,
            amid: false,
            tick: now,
            undecided: 0,
            outbox: Outbox::default(),
        }
    }

    /// Whether the peer has been silent for longer than a live one can be.
    pub(super) fn is_silent(&self, now: Mono) -> bool {
        now >= self.silent_at()
    }

    /// When the peer counts as gone if nothing more is heard.
    pub(super) fn silent_at(&self) -> Mono {
        match self.phase {
            Phase::Opened => self.heard + limits::HELLO_WITHIN,
            Phase::Waiting(_) | Phase::Claiming(_) | Phase::Up(_) => {
                self.heard + limits::HEARTBEAT * limits::HEARTBEATS_MISSED_MAX
            }
        }
    }
}
