//! The virtual network: sockets that keep their order, and everything that can happen to them.

use std::fmt;

use bytes::Bytes;
use relay_core::wire::{
    codec,
    message::{LeaseRef, Message},
};

/// One of the two ends of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Message(Bytes),
    Close,
}

impl Packet {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Message(bytes) => bytes.len(),
            Self::Close => 0,
        }
    }

    /// How long it takes on a way that carries so many bytes a second, in microseconds.
    pub(crate) fn span(&self, bytes_per_second: Option<u64>) -> u64 {
        match (self, bytes_per_second) {
            (Self::Message(bytes), Some(rate)) => bytes.len() as u64 * 1_000_000 / rate,
            (Self::Message(_), None) | (Self::Close, _) => 0,
        }
    }
}

/// A socket between one client process and one server process.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) client: usize,
    pub(crate) client_epoch: u64,
    pub(crate) server_epoch: u64,
    pub(crate) client_open: bool,
    pub(crate) server_open: bool,
    /// Nothing arrives any more, and nobody is told.
    pub(crate) half_open: bool,
    /// Nothing arrives any more but the news of it.
    pub(crate) reset: bool,
    /// Its client died: what had not left it whole does not arrive at the server.
    pub(crate) cut: bool,
    /// Earliest arrival of the next packet towards client and server: packets of one socket never overtake each other.
    not_before: [u64; 2],
    /// Bytes on their way to the client.
    pub(crate) queued: usize,
    /// What waits for the end of a partition, with its receiver.
    pub(crate) stalled: Vec<(End, Packet)>,
}

impl Socket {
    pub(crate) fn new(client: usize, client_epoch: u64, server_epoch: u64) -> Self {
        Self {
            client,
            client_epoch,
            server_epoch,
            client_open: true,
            server_open: true,
            half_open: false,
            reset: false,
            cut: false,
            not_before: [0; 2],
            queued: 0,
            stalled: Vec::new(),
        }
    }

    pub(crate) fn is_open(&self, end: End) -> bool {
        match end {
            End::Client => self.client_open,
            End::Server => self.server_open,
        }
    }

    pub(crate) fn close(&mut self, end: End) {
        match end {
            End::Client => self.client_open = false,
            End::Server => self.server_open = false,
        }
    }

    /// Whether a message still arrives at `end`.
    pub(crate) fn carries(&self, end: End) -> bool {
        let cut = self.cut && end == End::Server;
        self.is_open(end) && !(self.half_open || self.reset || cut)
    }

    /// When a packet sent now with that delay arrives whole at `end`, whose last byte comes so long after its first.
    pub(crate) fn arrival(&mut self, end: End, now: u64, delay: u64, span: u64) -> u64 {
        let not_before = &mut self.not_before[usize::from(end == End::Server)];
        *not_before = (*not_before).max(now + delay) + span;
        *not_before
    }
}

/// A message in a few words, for the trace.
pub(crate) struct Words<'a>(pub(crate) &'a Message);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Message::Hello(hello) => write!(f, "Hello, {} held", hello.held.len()),
            Message::Welcome(welcome) => write!(f, "Welcome, {} resumed", welcome.resumed.len()),
            Message::Grant(grant) => write!(f, "Grant {} try {}", lease(grant.lease.as_ref()), grant.attempt),
            Message::Chunk(chunk) => write!(f, "Chunk {} at {}", lease(chunk.lease.as_ref()), chunk.offset),
            Message::Extend(extend) => write!(f, "Extend, {} held", extend.held.len()),
            Message::Report(report) => write!(f, "Report {} class {}", lease(report.lease.as_ref()), report.class),
            Message::Settled(settled) => write!(f, "Settled{}", leases(&settled.leases)),
            Message::Release(release) => write!(f, "Release{}", leases(&release.leases)),
            Message::GoAway(away) => write!(f, "GoAway: {}", away.reason),
            Message::Peers(_) => f.write_str("Peers"),
        }
    }
}

fn lease(lease: Option<&LeaseRef>) -> String {
    match codec::required_lease(lease) {
        Ok((delivery, token)) => format!("{delivery}#{}", token.counter),
        Err(_) => "?".to_owned(),
    }
}

fn leases(all: &[LeaseRef]) -> String {
    all.iter().flat_map(|found| [" ".to_owned(), lease(Some(found))]).collect()
}
