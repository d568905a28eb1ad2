//! One session: a client's socket, as far as its handshake is, and when it was last heard of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::parts::Part;
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
    /// It is welcome, and what it names in some parts of the store could not be looked at yet.
    pub(super) rest: Option<Box<Claiming>>,
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

/// A Hello that waits for what it names; and what of that lies in parts that are away, once it is welcome: see
/// [`claims`](super::claims).
#[derive(Debug)]
pub(super) struct Claiming {
    pub(super) greeting: Greeting,
    /// Whose it is.
    pub(super) instance: InstanceId,
    /// When it came.
    pub(super) since: Mono,
    /// What is held of it here when its leases begin to be read, by part.
    pub(super) before: BTreeMap<Part, Vec<DeliveryId>>,
    /// Its leases in the store, by part.
    pub(super) listed: BTreeMap<Part, BTreeSet<LeaseKey>>,
    /// Parts of the store where they are being read.
    pub(super) reading: BTreeSet<Part>,
    /// Parts where something is under way about one that it names: they are read again there.
    pub(super) again: BTreeSet<Part>,
    /// Parts that could not be read, as where they are away.
    pub(super) away: BTreeSet<Part>,
    /// Parts where they are read to the end: what it names there and they do not have is not its own.
    pub(super) read: BTreeSet<Part>,
    /// There was such a part.
    pub(super) some_read: bool,
    /// The word of the others that it waits for: what is down for it there is down here.
    pub(super) word: u64,
    /// Adoptions under way, by part.
    pub(super) adopting: BTreeMap<Part, usize>,
}

impl Claiming {
    /// Nothing is read yet.
    pub(super) const fn begin(greeting: Greeting, instance: InstanceId, since: Mono) -> Self {
        Self {
            greeting,
            instance,
            since,
            before: BTreeMap::new(),
            listed: BTreeMap::new(),
            reading: BTreeSet::new(),
            again: BTreeSet::new(),
            away: BTreeSet::new(),
            read: BTreeSet::new(),
            some_read: false,
            word: 0,
            adopting: BTreeMap::new(),
        }
    }

    /// These parts are read from now on, where these are held.
    pub(super) fn begin_reading(&mut self, parts: &BTreeSet<Part>, held: &[(DeliveryId, Part)]) {
        for part in parts {
            let here = held.iter().filter(|(_, of)| of == part).map(|(id, _)| *id).collect();
            self.before.insert(*part, here);
            self.listed.insert(*part, BTreeSet::new());
            self.read.remove(part);
            self.reading.insert(*part);
        }
    }

    /// Whether nothing is being read, or to be read again, or adopted, but in parts that are away.
    pub(super) fn is_over(&self) -> bool {
        self.reading.is_empty() && self.again.is_empty() && self.adopting.keys().all(|part| self.away.contains(part))
    }

    /// Whether a lease that it names in a part that is not settled may be its own, for all that was read.
    pub(super) fn may_have(&self, part: Part, lease: LeaseKey) -> bool {
        let is_listed = || self.listed.get(&part).is_some_and(|listed| listed.contains(&lease));
        self.greeting.held.contains(&lease) && self.is_unread(part) && (!self.read.contains(&part) || is_listed())
    }

    /// Whether a part is not read.
    pub(super) fn is_unread(&self, part: Part) -> bool {
        [&self.reading, &self.again, &self.away].into_iter().any(|parts| parts.contains(&part))
    }
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
            rest: None,
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
