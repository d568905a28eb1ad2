//! The messages as they are encoded: protobuf, one [`Frame`] per binary WebSocket message.
//!
//! **Invariant:** field numbers are never reused or changed; unknown fields are skipped, so that neighbours in version
//! understand each other, but for those without which a message would be misunderstood. Ids are
//! their 16 bytes, big-endian.
//!
//! Reserved: of `HelloDestination` 4 (replies) and 5 (key ids), of `Grant` 16 (subject) and 19 (name), which may be skipped; of
//! `Grant` 17 (an answer is wanted), 18 (before so many milliseconds) and 20 (sealed) and of `Report` 7 (the answer that was
//! wanted), which are refused.

use bytes::Bytes;

use crate::limits;

/// One WebSocket message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    /// What it says; `None` is a message of a later version and is skipped.
    #[prost(oneof = "Message", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub message: Option<Message>,
}

/// All that can be said.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Message {
    /// Client to server, first on a socket.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// Server to client, its answer.
    #[prost(message, tag = "2")]
    Welcome(Welcome),
    /// Server to client: a leased delivery.
    #[prost(message, tag = "3")]
    Grant(Box<Grant>),
    /// Server to client: a piece of a granted body.
    #[prost(message, tag = "4")]
    Chunk(Chunk),
    /// Both ways: heartbeat; names the deliveries held. From a client it extends their leases.
    #[prost(message, tag = "5")]
    Extend(HeldList),
    /// Client to server: the outcome of a try.
    #[prost(message, tag = "6")]
    Report(Report),
    /// Server to client: these outcomes are durable (or not needed): forget them.
    #[prost(message, tag = "7")]
    Settled(Settled),
    /// Client to server: handed back, not tried. Server to client: no longer yours; do not begin it.
    #[prost(message, tag = "8")]
    Release(Release),
    /// Both ways: no new leases; the socket closes when what is held is settled.
    #[prost(message, tag = "9")]
    GoAway(GoAway),
    /// Server to client: how many clients serve a destination now.
    #[prost(message, tag = "10")]
    Peers(Peers),
}

impl Message {
    /// What a message costs whoever handles it: one, one for each thing it names, and one for each KiB of it.
    pub fn weight(&self) -> u32 {
        let named = match self {
            Self::Hello(hello) => hello.destinations.len() + hello.held.len(),
            Self::Welcome(welcome) => welcome.destinations.len() + welcome.resumed.len(),
            Self::Grant(grant) => grant.headers.len(),
            Self::Extend(extend) => extend.held.len(),
            Self::Settled(settled) => settled.leases.len(),
            Self::Release(release) => release.leases.len(),
            Self::Chunk(_) | Self::Report(_) | Self::GoAway(_) | Self::Peers(_) => 0,
        };
        u32::try_from(1 + named + self.encoded_len() / 1024).unwrap_or(u32::MAX)
    }
}

/// Names one lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseRef {
    /// Delivery id.
    #[prost(bytes = "bytes", tag = "1")]
    pub delivery: Bytes,
    /// Fence: counter.
    #[prost(uint64, tag = "2")]
    pub counter: u64,
    /// Fence: nonce.
    #[prost(fixed64, tag = "3")]
    pub nonce: u64,
}

/// What a client is, serves and still holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Instance id: 16 random bytes per process start.
    #[prost(bytes = "bytes", tag = "1")]
    pub instance: Bytes,
    /// Version of the client's program, for the log.
    #[prost(string, tag = "2")]
    pub version: String,
    /// What it serves; at least one.
    #[prost(message, repeated, tag = "3")]
    pub destinations: Vec<HelloDestination>,
    /// `CLIENT_BUFFER`: body bytes it takes in flight.
    #[prost(uint64, tag = "4")]
    pub buffer_bytes: u64,
    /// What it still holds from an earlier socket, reports that wait for their confirmation included.
    #[prost(message, repeated, tag = "5")]
    pub held: Vec<LeaseRef>,
    /// A name for people: host name by default.
    #[prost(string, tag = "6")]
    pub label: String,
}

/// One destination that a client serves.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HelloDestination {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Slots: deliveries it takes in flight.
    #[prost(uint32, tag = "2")]
    pub slots: u32,
    /// `FORWARD_TIMEOUT` there, in milliseconds.
    #[prost(uint32, tag = "3")]
    pub forward_timeout_ms: u32,
}

/// The server's answer to a [`Hello`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// Version of the server's program, for the log.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Heartbeat interval in milliseconds.
    #[prost(uint32, tag = "2")]
    pub heartbeat_ms: u32,
    /// Per destination of the Hello, in its order.
    #[prost(message, repeated, tag = "3")]
    pub destinations: Vec<WelcomeDestination>,
    /// Of `held`: what the server knows as this instance's; everything else is no longer the client's.
    #[prost(message, repeated, tag = "4")]
    pub resumed: Vec<LeaseRef>,
    /// Which of several servers it is, for people; empty: there is one.
    #[prost(string, tag = "5")]
    pub server: String,
}

/// What the server says of one destination.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WelcomeDestination {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The token may serve it and a route leads to it.
    #[prost(bool, tag = "2")]
    pub known: bool,
    /// Other clients that serve it now.
    #[prost(uint32, tag = "3")]
    pub others: u32,
    /// The token may serve it.
    #[prost(bool, tag = "4")]
    pub allowed: bool,
}

/// A leased delivery with all of its request but the rest of the body.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Grant {
    /// Delivery and fence.
    #[prost(message, optional, tag = "1")]
    pub lease: Option<LeaseRef>,
    /// Event id.
    #[prost(bytes = "bytes", tag = "2")]
    pub event: Bytes,
    /// Destination.
    #[prost(string, tag = "3")]
    pub destination: String,
    /// Source.
    #[prost(string, tag = "4")]
    pub source: String,
    /// What the target sees as `Relay-Attempt`.
    #[prost(uint32, tag = "5")]
    pub attempt: u32,
    /// Microseconds since the epoch.
    #[prost(int64, tag = "6")]
    pub received_at: i64,
    /// HTTP method.
    #[prost(bytes = "bytes", tag = "7")]
    pub method: Bytes,
    /// Raw path behind `/webhook` or `/webhook/{source}`.
    #[prost(bytes = "bytes", tag = "8")]
    pub rest: Bytes,
    /// Raw query, if there was a `?`.
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub query: Option<Bytes>,
    /// Header fields in order.
    #[prost(message, repeated, tag = "10")]
    pub headers: Vec<HeaderField>,
    /// `Relay-Original-Url`; empty: left out.
    #[prost(bytes = "bytes", tag = "11")]
    pub original_url: Bytes,
    /// A replay of an old event.
    #[prost(bool, tag = "12")]
    pub replay: bool,
    /// Length of the whole body.
    #[prost(uint64, tag = "13")]
    pub body_bytes: u64,
    /// SHA-256 of the whole body, rechecked by the client.
    #[prost(bytes = "bytes", tag = "14")]
    pub body_sha256: Bytes,
    /// The body's first bytes, all of it if it fits in one chunk.
    #[prost(bytes = "bytes", tag = "15")]
    pub body: Bytes,
    /// Where in a trace this try is, for a target that is to be told: trace id 16, parent id 8, flags 1; empty: it is not traced.
    #[prost(bytes = "bytes", tag = "21")]
    pub trace: Bytes,
}

/// One header field.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderField {
    /// Name in lower case.
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    /// Value, byte for byte.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// A piece of a granted body.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Chunk {
    /// Which grant.
    #[prost(message, optional, tag = "1")]
    pub lease: Option<LeaseRef>,
    /// Where it belongs.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// The bytes: at most `CHUNK_BYTES`.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

/// Heartbeat: what the sender believes the client holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeldList {
    /// The leases held, except those whose report is on its way.
    #[prost(message, repeated, tag = "1")]
    pub held: Vec<LeaseRef>,
}

/// The outcome of one try.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// Which lease.
    #[prost(message, optional, tag = "1")]
    pub lease: Option<LeaseRef>,
    /// `delivery::outcome::Class` as its number.
    #[prost(uint32, tag = "2")]
    pub class: u32,
    /// HTTP status, 0 if none.
    #[prost(uint32, tag = "3")]
    pub status: u32,
    /// `Retry-After` in milliseconds, if the answer had one.
    #[prost(uint64, optional, tag = "4")]
    pub retry_after_ms: Option<u64>,
    /// How long the try took, in microseconds.
    #[prost(uint64, tag = "5")]
    pub duration_us: u64,
    /// What went wrong, in words.
    #[prost(string, tag = "6")]
    pub error: String,
    /// What the target said with its refusal, if the client tells.
    #[prost(message, optional, boxed, tag = "8")]
    pub answer: Option<Box<Answer>>,
}

/// The words of a target's answer that was no 2xx.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// Its reason phrase, where that is not the usual one of the status.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Its `Location`.
    #[prost(string, tag = "2")]
    pub location: String,
    /// How its body begins, if that is text.
    #[prost(string, tag = "3")]
    pub body: String,
    /// There was more of the body, or it broke off.
    #[prost(bool, tag = "4")]
    pub cut: bool,
}

/// Outcomes that are durable.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Settled {
    /// Their leases.
    #[prost(message, repeated, tag = "1")]
    pub leases: Vec<LeaseRef>,
}

/// Leases given back or taken away.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Release {
    /// The leases.
    #[prost(message, repeated, tag = "1")]
    pub leases: Vec<LeaseRef>,
}

/// The sender stops.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GoAway {
    /// Why, in words.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// The client shall not come back before this many milliseconds.
    #[prost(uint32, tag = "2")]
    pub retry_after_ms: u32,
    /// Another server is there for it: it shall dial at once, and leaves the pause to those that find none.
    #[prost(bool, tag = "3")]
    pub elsewhere: bool,
    /// The client holds nothing any more: the server closes the socket once nothing is on its way to it either.
    #[prost(bool, tag = "4")]
    pub done: bool,
}

/// Another client joined or left one of this client's destinations.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Peers {
    /// Which destination.
    #[prost(string, tag = "1")]
    pub destination: String,
    /// Client instances that serve it now, this one among them.
    #[prost(uint32, tag = "2")]
    pub clients: u32,
}

/// Takes as many leases as one message names, the first ones.
pub(crate) fn first_of(leases: &mut Vec<LeaseRef>) -> Vec<LeaseRef> {
    let rest = leases.split_off(leases.len().min(limits::LEASES_PER_MESSAGE));
    std::mem::replace(leases, rest)
}
