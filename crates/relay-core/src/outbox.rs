//! What waits to be sent on one socket of a server's, and what goes next.
//!
//! **Invariant:** control goes before bodies; bodies of a kind take turns by the piece, and small ones go before large ones, which
//! have half of the line. So large bodies, however many, hold up neither heartbeats nor small deliveries, nor these a large one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    by_id::ById,
    delivery::Delivery,
    event::Event,
    id::DeliveryId,
    limits,
    name::Name,
    trace::Trace,
    wire::{
        codec::{LeaseKey, lease_ref},
        message::{Chunk, Grant, HeaderField, HeldList, LeaseRef, Message, Peers, Release, Settled, first_of},
    },
};

/// What waits to be sent on one socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    control: VecDeque<Message>,
    /// Clients of destinations it serves.
    peers: BTreeMap<Name, u32>,
    released: Vec<LeaseRef>,
    heartbeat: Option<HeldList>,
    settled: Vec<LeaseRef>,
    /// Grants of small bodies of which something has not left, by turn.
    small: Turns,
    /// The same of large ones.
    large: Turns,
    /// Bytes of small ones that left since a large one had its turn.
    small_bytes: usize,
    /// The turn of each.
    turns: ById<u64>,
    last_turn: u64,
    /// The driver was told and has not yet taken everything.
    signalled: bool,
}

/// A grant on its way out.
#[derive(Debug)]
struct Outgoing {
    lease: LeaseKey,
    destination: Name,
    source: Name,
    attempt: u32,
    replay: bool,
    event: Arc<Event>,
    offset: usize,
    public_url: Option<Arc<str>>,
    trace: Option<Trace>,
}

/// Grants by turn, the first first. Of one that was cancelled its place is left, unless it is the first.
#[derive(Debug, Default)]
struct Turns(VecDeque<(u64, Option<Outgoing>)>);

/// A message that was taken from an outbox, and what that means for a lease.
#[derive(Debug)]
pub(crate) struct Popped {
    /// The message.
    pub(crate) message: Message,
    /// The piece of a body that it is.
    pub(crate) piece: Option<Piece>,
}

/// The first or next piece of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Of which delivery.
    pub(crate) id: DeliveryId,
    /// Its bytes, the head's included.
    pub(crate) bytes: usize,
    /// It was the last one.
    pub(crate) done: bool,
}

impl Outbox {
    /// Puts a control message in line. `false`: the peer does not read, the line is full.
    pub(crate) fn push_control(&mut self, message: Message) -> bool {
        if self.control.len() >= limits::SESSION_CONTROL_MAX {
            return false;
        }
        self.control.push_back(message);
        true
    }

    /// Puts a heartbeat in line; it replaces one that was not sent yet.
    pub(crate) fn push_heartbeat(&mut self, extend: HeldList) {
        self.heartbeat = Some(extend);
    }

    /// Tells how many clients serve a destination; the latest number is the one that counts.
    pub(crate) fn push_peers(&mut self, destination: Name, clients: u32) {
        self.peers.insert(destination, clients);
    }

    /// Confirms an outcome; confirmations that wait together go out as one message. `false`: the peer does not read, too
    /// many wait.
    pub(crate) fn push_settled(&mut self, lease: LeaseRef) -> bool {
        self.settled.push(lease);
        self.settled.len() <= limits::SESSION_LEASES_MAX
    }

    /// Takes leases away; those that wait together go out as one message. `false`: the peer does not read, too many wait.
    pub(crate) fn push_released(&mut self, leases: Vec<LeaseRef>) -> bool {
        self.released.extend(leases);
        self.released.len() <= limits::SESSION_LEASES_MAX
    }

    /// Puts a grant and its body in line.
    pub(crate) fn push_grant(
        &mut self,
        delivery: &Delivery,
        event: Arc<Event>,
        public_url: Option<Arc<str>>,
        trace: Option<Trace>,
    ) {
        self.line_up(Outgoing { public_url, trace, ..Outgoing::of(delivery, event, 0) });
    }

    /// Puts the rest of a grant in line whose first so many bytes of a body have left.
    pub(crate) fn push_rest(&mut self, delivery: &Delivery, event: Arc<Event>, offset: usize) {
        self.line_up(Outgoing::of(delivery, event, offset));
    }

    /// Behind all others of its kind.
    fn line_up(&mut self, outgoing: Outgoing) {
        self.last_turn += 1;
        self.turns.insert(outgoing.lease.0, self.last_turn);
        let line = if outgoing.is_small() { &mut self.small } else { &mut self.large };
        line.0.push_back((self.last_turn, Some(outgoing)));
    }

    /// The grant whose turn it is. Small ones have a piece's worth of bytes together, then a large one has a piece.
    fn next_body(&mut self, piece_bytes: usize) -> Option<Outgoing> {
        if (self.large.0.is_empty() || self.small_bytes < piece_bytes)
            && let Some(small) = self.small.pop()
        {
            self.small_bytes += small.next_bytes(piece_bytes);
            return Some(small);
        }
        self.small_bytes = 0;
        self.large.pop()
    }

    /// Drops what is left of a grant. Gives how much of its body has left, if it was in line.
    pub(crate) fn cancel_grant(&mut self, id: DeliveryId) -> Option<usize> {
        let turn = self.turns.remove(&id)?;
        let dropped = self.small.cancel(turn).or_else(|| self.large.cancel(turn));
        dropped.map(|outgoing| outgoing.offset)
    }

    /// Whether the driver must be told that there is something to send.
    pub(crate) fn wants_signal(&mut self) -> bool {
        !std::mem::replace(&mut self.signalled, true)
    }

    /// Takes the next message, with at most so many bytes of a body.
    pub(crate) fn pop(&mut self, piece_bytes: usize) -> Option<Popped> {
        if let Some(message) = self.control.pop_front() {
            return Some(Popped { message, piece: None });
        }
        if let Some((name, clients)) = self.peers.pop_first() {
            let peers = Peers { destination: name.as_str().to_owned(), clients };
            return Some(Popped { message: Message::Peers(peers), piece: None });
        }
        if !self.released.is_empty() {
            let leases = first_of(&mut self.released);
            return Some(Popped { message: Message::Release(Release { leases }), piece: None });
        }
        if let Some(mut extend) = self.heartbeat.take() {
            let held = first_of(&mut extend.held);
            self.heartbeat = (!extend.held.is_empty()).then_some(extend);
            let extend = HeldList { held };
            return Some(Popped { message: Message::Extend(extend), piece: None });
        }
        if !self.settled.is_empty() {
            let leases = first_of(&mut self.settled);
            return Some(Popped { message: Message::Settled(Settled { leases }), piece: None });
        }
        let piece_bytes = piece_bytes.clamp(1, limits::CHUNK_BYTES);
        let Some(mut outgoing) = self.next_body(piece_bytes) else {
            self.signalled = false;
            return None;
        };
        let bytes = outgoing.next_bytes(piece_bytes);
        let message = outgoing.next_piece(piece_bytes);
        let id = outgoing.lease.0;
        let done = outgoing.offset >= outgoing.event.body.len();
        if done {
            self.turns.remove(&id);
        } else {
            self.line_up(outgoing);
        }
        Some(Popped { message, piece: Some(Piece { id, bytes, done }) })
    }
}

impl Turns {
    fn pop(&mut self) -> Option<Outgoing> {
        let (_, first) = self.0.pop_front()?;
        self.drop_places();
        first
    }

    fn cancel(&mut self, turn: u64) -> Option<Outgoing> {
        let index = self.0.binary_search_by_key(&turn, |(turn, _)| *turn).ok()?;
        let cancelled = self.0.get_mut(index)?.1.take();
        self.drop_places();
        cancelled
    }

    /// The first is there, if any is.
    fn drop_places(&mut self) {
        while self.0.pop_front_if(|(_, first)| first.is_none()).is_some() {}
    }
}

impl Outgoing {
    fn of(delivery: &Delivery, event: Arc<Event>, offset: usize) -> Self {
        Self {
            lease: (delivery.id, delivery.token),
            destination: delivery.destination.clone(),
            source: delivery.source.clone(),
            attempt: delivery.next_attempt(),
            replay: delivery.replay,
            event,
            offset,
            public_url: None,
            trace: None,
        }
    }

    fn is_small(&self) -> bool {
        self.event.body.len() as u64 <= limits::SMALL_BODY_BYTES
    }

    /// Bytes of what leaves next: a piece of the body, and first of all the head.
    fn next_bytes(&self, piece_bytes: usize) -> usize {
        let body = self.event.body.len();
        let head = if self.offset == 0 { self.event.size() as usize - body } else { 0 };
        head + (body - self.offset).min(piece_bytes)
    }

    fn next_piece(&mut self, piece_bytes: usize) -> Message {
        let body = &self.event.body;
        let from = self.offset;
        let to = body.len().min(from + piece_bytes);
        self.offset = to;
        let data = body.slice(from..to);
        let lease = lease_ref(self.lease);
        if from > 0 {
            return Message::Chunk(Chunk { lease: Some(lease), offset: from as u64, data });
        }
        Message::Grant(Box::new(self.grant(lease, data)))
    }

    fn grant(&self, lease: LeaseRef, body: bytes::Bytes) -> Grant {
        let event = &self.event;
        let field =
            |(name, value): &(bytes::Bytes, bytes::Bytes)| HeaderField { name: name.clone(), value: value.clone() };
        Grant {
            lease: Some(lease),
            event: bytes::Bytes::copy_from_slice(&event.id.as_u128().to_be_bytes()),
            destination: self.destination.as_str().to_owned(),
            source: self.source.as_str().to_owned(),
            attempt: self.attempt,
            received_at: event.received_at.as_micros(),
            method: event.method.clone(),
            rest: event.path.slice_ref(event.rest()),
            query: event.query.clone(),
            headers: event.headers.iter().map(field).collect(),
            original_url: self.original_url(),
            replay: self.replay,
            body_bytes: event.body.len() as u64,
            body_sha256: bytes::Bytes::copy_from_slice(&event.body_sha256),
            body,
            trace: self
                .trace
                .map_or_else(bytes::Bytes::new, |trace| trace.of_try(self.lease.0, self.lease.1).to_bytes()),
        }
    }

    fn original_url(&self) -> bytes::Bytes {
        let Some(public) = &self.public_url else { return bytes::Bytes::new() };
        let mut url = public.as_bytes().to_vec();
        url.extend_from_slice(&self.event.path);
        if let Some(query) = &self.event.query {
            url.push(b'?');
            url.extend_from_slice(query);
        }
        url.into()
    }
}
