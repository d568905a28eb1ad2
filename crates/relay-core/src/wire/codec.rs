//! Messages to bytes and back, and from messages to the values that both ends work with.
//!
//! **Invariant:** [`decode`] takes any bytes: it gives a message whose ids, names, sizes and counts are within bounds, or an
//! error, takes memory of the order of what arrived, and never copies a body, a header or an id out of the buffer that arrived.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    delivery::{
        Token,
        answer::Answer,
        outcome::{Class, Outcome},
    },
    id::{DeliveryId, EventId, InstanceId},
    limits,
    name::Name,
    trace::TraceContext,
    wire::{
        counts,
        message::{self, Chunk, Frame, Grant, Hello, HelloDestination, LeaseRef, Message, Report},
    },
};

/// Bytes of an id.
const ID_BYTES: usize = 16;
/// Bytes of a SHA-256.
const DIGEST_BYTES: usize = 32;

/// Why bytes or a message of a peer cannot be used. The socket they came on is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Larger than [`limits::MESSAGE_BYTES_MAX`].
    #[error("message of {0} bytes, more than {max}", max = limits::MESSAGE_BYTES_MAX)]
    TooLarge(usize),
    /// Not protobuf, or another shape.
    #[error("message cannot be decoded")]
    Malformed(#[from] prost::DecodeError),
    /// A field is missing, or out of its bounds.
    #[error("field {0} is missing or out of bounds")]
    Field(&'static str),
    /// A field that is not known here, and without which the message would be misunderstood.
    #[error("field {0} is of a later version")]
    Later(&'static str),
    /// A field comes more often than a message may have it.
    #[error("more than {1} of {0} in one message")]
    TooMany(&'static str, usize),
}

impl From<counts::Flaw> for CodecError {
    fn from(flaw: counts::Flaw) -> Self {
        match flaw {
            counts::Flaw::TooMany(field, most) => Self::TooMany(field, most),
            counts::Flaw::Reserved(field) => Self::Later(field),
            counts::Flaw::Group => Self::Field("frame"),
        }
    }
}

impl CodecError {
    /// Who has to change something: always the peer.
    pub const fn fault(&self) -> crate::fault::Fault {
        crate::fault::Fault::Peer
    }

    /// Whether the same bytes may be understood later: never.
    pub const fn retry(&self) -> crate::fault::Retry {
        crate::fault::Retry::Never
    }
}

/// A lease as both ends work with it.
pub type LeaseKey = (DeliveryId, Token);

/// A checked [`Hello`].
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The client's instance.
    pub instance: InstanceId,
    /// Its name for people.
    pub label: String,
    /// What it serves: at least one, no name twice, slots within `1..=CONCURRENCY_MAX`.
    pub destinations: Vec<Served>,
    /// Body bytes it takes in flight, at least one.
    pub buffer_bytes: u64,
    /// What it still holds.
    pub held: Vec<LeaseKey>,
}

/// One destination that a client serves.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub name: Name,
    /// `CONCURRENCY`.
    pub slots: u32,
    /// `FORWARD_TIMEOUT`.
    pub forward_timeout: Duration,
}

/// The bytes of one WebSocket message.
pub fn encode(message: Message) -> Bytes {
    Frame { message: Some(message) }.encode_to_vec().into()
}

/// The message in the bytes of one WebSocket message; `None` for one of a later version, which is skipped.
///
/// # Errors
/// [`CodecError`]: close the socket, the peer does not speak this protocol.
pub fn decode(bytes: Bytes) -> Result<Option<Message>, CodecError> {
    if bytes.len() > limits::MESSAGE_BYTES_MAX {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    counts::check(&bytes)?;
    let Some(message) = Frame::decode(bytes)?.message else { return Ok(None) };
    check(&message)?;
    Ok(Some(message))
}

/// The reference that names a lease on the wire.
pub fn lease_ref((delivery, token): LeaseKey) -> LeaseRef {
    LeaseRef {
        delivery: Bytes::copy_from_slice(&delivery.as_u128().to_be_bytes()),
        counter: token.counter,
        nonce: token.nonce,
    }
}

/// The lease that a reference names.
///
/// # Errors
/// [`CodecError::Field`] unless the id has 16 bytes; [`decode`] lets no other pass.
pub fn lease_key(lease: &LeaseRef) -> Result<LeaseKey, CodecError> {
    let delivery = DeliveryId::from_u128(id_bits(&lease.delivery, "lease.delivery")?);
    Ok((delivery, Token { counter: lease.counter, nonce: lease.nonce }))
}

/// The lease that an optional field names.
///
/// # Errors
/// [`CodecError::Field`] if it is missing or malformed; [`decode`] lets no such message pass.
pub fn required_lease(lease: Option<&LeaseRef>) -> Result<LeaseKey, CodecError> {
    lease_key(lease.ok_or(CodecError::Field("lease"))?)
}

/// The event that a grant carries.
///
/// # Errors
/// [`CodecError::Field`] unless the id has 16 bytes; [`decode`] lets no other pass.
pub fn event_id(grant: &Grant) -> Result<EventId, CodecError> {
    id_bits(&grant.event, "grant.event").map(EventId::from_u128)
}

/// The digest of the body that a grant carries.
///
/// # Errors
/// [`CodecError::Field`] unless it has 32 bytes; [`decode`] lets no other pass.
pub fn body_digest(grant: &Grant) -> Result<[u8; DIGEST_BYTES], CodecError> {
    grant.body_sha256[..].try_into().map_err(|_| CodecError::Field("grant.body_sha256"))
}

/// Where in a trace the try of a grant is, if it is traced.
pub fn trace(grant: &Grant) -> Option<TraceContext> {
    TraceContext::from_bytes(&grant.trace)
}

/// The report of an outcome, its words as [`plain`] makes them.
pub fn report(lease: LeaseKey, outcome: &Outcome) -> Report {
    Report {
        lease: Some(lease_ref(lease)),
        class: outcome.class as u32,
        status: outcome.status.map_or(0, u32::from),
        retry_after_ms: outcome.retry_after.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        duration_us: u64::try_from(outcome.duration.as_micros()).unwrap_or(u64::MAX),
        error: outcome.error.as_deref().map_or_else(String::new, plain),
        answer: outcome.answer.as_deref().map(|answer| Box::new(said(answer))),
    }
}

/// What a target said, its words as [`plain`] makes them and its body as [`legible`] does.
fn said(answer: &Answer) -> message::Answer {
    let words = |text: &Option<Box<str>>| text.as_deref().map_or_else(String::new, plain);
    let body = answer.body.as_deref().map_or_else(String::new, legible);
    let end = body.floor_char_boundary(limits::ANSWER_WORDS_BYTES_MAX);
    message::Answer {
        reason: words(&answer.reason),
        location: words(&answer.location),
        cut: answer.cut || end < body.len(),
        body: body[..end].to_owned(),
    }
}

/// The lease and the outcome in a report. The class of an answer follows from its status here, whatever an older client made
/// of it.
///
/// # Errors
/// [`CodecError::Field`] for a class or a status that does not exist, or one that contradicts the other, and for the words
/// of an answer that was none, or none that refuses.
pub fn reported(report: &Report) -> Result<(LeaseKey, Outcome), CodecError> {
    let class = class_of(report.class)?;
    let status = match report.status {
        0 => None,
        code @ 100..=999 => Some(code as u16),
        _ => return Err(CodecError::Field("report.status")),
    };
    let answered = status.map(Class::of_status);
    if (class == Class::Delivered) != (answered == Some(Class::Delivered)) {
        return Err(CodecError::Field("report.status"));
    }
    if report.answer.is_some() && answered.is_none_or(|class| class == Class::Delivered) {
        return Err(CodecError::Field("report.answer"));
    }
    let class = answered.unwrap_or(class);
    let outcome = Outcome {
        class,
        status,
        retry_after: report.retry_after_ms.map(Duration::from_millis),
        duration: Duration::from_micros(report.duration_us),
        error: (!report.error.is_empty()).then(|| report.error.as_str().into()),
        answer: report.answer.as_deref().and_then(heard),
    };
    Ok((required_lease(report.lease.as_ref())?, outcome))
}

fn heard(answer: &message::Answer) -> Option<Arc<Answer>> {
    let words = |text: &str| (!text.is_empty()).then(|| text.into());
    let (reason, location) = (words(&answer.reason), words(&answer.location));
    Answer { reason, location, body: words(&answer.body), cut: answer.cut }.shared()
}

/// What a Hello says, checked.
///
/// # Errors
/// [`CodecError::Field`] for no destination, one named twice, a name or a number out of bounds.
pub fn greeting(hello: &Hello) -> Result<Greeting, CodecError> {
    let mut destinations: Vec<Served> = Vec::with_capacity(hello.destinations.len());
    let mut names = BTreeSet::new();
    for destination in &hello.destinations {
        let served = served(destination)?;
        if !names.insert(served.name.clone()) {
            return Err(CodecError::Field("hello.destinations"));
        }
        destinations.push(served);
    }
    if destinations.is_empty() || hello.buffer_bytes == 0 {
        return Err(CodecError::Field(if hello.buffer_bytes == 0 {
            "hello.buffer_bytes"
        } else {
            "hello.destinations"
        }));
    }
    Ok(Greeting {
        instance: InstanceId::from_u128(id_bits(&hello.instance, "hello.instance")?),
        label: hello.label.clone(),
        destinations,
        buffer_bytes: hello.buffer_bytes,
        held: hello.held.iter().map(lease_key).collect::<Result<_, _>>()?,
    })
}

fn served(destination: &HelloDestination) -> Result<Served, CodecError> {
    if !(1..=limits::CONCURRENCY_MAX).contains(&destination.slots) {
        return Err(CodecError::Field("hello.destinations.slots"));
    }
    let forward_timeout = Duration::from_millis(destination.forward_timeout_ms.into());
    if forward_timeout.is_zero() || forward_timeout > limits::FORWARD_TIMEOUT_MAX {
        return Err(CodecError::Field("hello.destinations.forward_timeout_ms"));
    }
    Ok(Served {
        name: destination.name.parse().map_err(|_| CodecError::Field("hello.destinations.name"))?,
        slots: destination.slots,
        forward_timeout,
    })
}

/// The bounds that every message keeps, so that nobody behind [`decode`] meets another.
fn check(message: &Message) -> Result<(), CodecError> {
    match message {
        Message::Hello(hello) => check_hello(hello),
        Message::Welcome(welcome) => {
            words(&welcome.version, "welcome.version")?;
            words(&welcome.server, "welcome.server")?;
            leases(&welcome.resumed)
        }
        Message::Grant(grant) => check_grant(grant),
        Message::Chunk(chunk) => check_chunk(chunk),
        Message::Extend(extend) => leases(&extend.held),
        Message::Report(report) => {
            words(&report.error, "report.error")?;
            report.answer.as_deref().map_or(Ok(()), check_answer)?;
            required_lease(report.lease.as_ref()).map(drop)
        }
        Message::Settled(settled) => leases(&settled.leases),
        Message::Release(release) => leases(&release.leases),
        Message::GoAway(go_away) => words(&go_away.reason, "go_away.reason"),
        Message::Peers(peers) => {
            peers.destination.parse::<Name>().map(drop).map_err(|_| CodecError::Field("peers.destination"))
        }
    }
}

fn check_hello(hello: &Hello) -> Result<(), CodecError> {
    id_bits(&hello.instance, "hello.instance")?;
    words(&hello.version, "hello.version")?;
    words(&hello.label, "hello.label")?;
    leases(&hello.held)
}

fn check_grant(grant: &Grant) -> Result<(), CodecError> {
    required_lease(grant.lease.as_ref())?;
    event_id(grant)?;
    body_digest(grant)?;
    grant.destination.parse::<Name>().map_err(|_| CodecError::Field("grant.destination"))?;
    grant.source.parse::<Name>().map_err(|_| CodecError::Field("grant.source"))?;
    if !grant.trace.is_empty() && trace(grant).is_none() {
        return Err(CodecError::Field("grant.trace"));
    }
    if grant.body.len() > limits::CHUNK_BYTES || grant.body.len() as u64 > grant.body_bytes {
        return Err(CodecError::Field("grant.body"));
    }
    Ok(())
}

fn check_chunk(chunk: &Chunk) -> Result<(), CodecError> {
    required_lease(chunk.lease.as_ref())?;
    if chunk.data.is_empty() || chunk.data.len() > limits::CHUNK_BYTES {
        return Err(CodecError::Field("chunk.data"));
    }
    Ok(())
}

fn check_answer(answer: &message::Answer) -> Result<(), CodecError> {
    words(&answer.reason, "report.answer.reason")?;
    words(&answer.location, "report.answer.location")?;
    if answer.body.len() > limits::ANSWER_WORDS_BYTES_MAX || answer.body.contains(is_steering_text) {
        return Err(CodecError::Field("report.answer.body"));
    }
    Ok(())
}

fn leases(leases: &[LeaseRef]) -> Result<(), CodecError> {
    leases.iter().try_for_each(|lease| lease_key(lease).map(drop))
}

/// Words for people are short, and steer no terminal and no log that they are shown in.
fn words(text: &str, field: &'static str) -> Result<(), CodecError> {
    if text.len() > limits::WORDS_BYTES_MAX || text.contains(is_steering) {
        Err(CodecError::Field(field))
    } else {
        Ok(())
    }
}

fn id_bits(bytes: &[u8], field: &'static str) -> Result<u128, CodecError> {
    let bytes: [u8; ID_BYTES] = bytes.try_into().map_err(|_| CodecError::Field(field))?;
    Ok(u128::from_be_bytes(bytes))
}

fn class_of(number: u32) -> Result<Class, CodecError> {
    u8::try_from(number).ok().and_then(Class::from_number).ok_or(CodecError::Field("report.class"))
}

/// `text` as words that a peer takes: at most [`limits::WORDS_BYTES_MAX`], and U+FFFD in place of every character that steers.
pub fn plain(text: &str) -> String {
    let text: String =
        text.chars().map(|char| if is_steering(char) { char::REPLACEMENT_CHARACTER } else { char }).collect();
    cut(&text).to_owned()
}

/// `text` of several lines as a peer takes it: lines end in a line feed, and U+FFFD stands in place of every other character
/// that steers.
fn legible(text: &str) -> String {
    let plain = |char| if is_steering_text(char) { char::REPLACEMENT_CHARACTER } else { char };
    text.replace("\r\n", "\n").chars().map(plain).collect()
}

/// As [`is_steering`], but for what makes lines and columns of a text.
fn is_steering_text(char: char) -> bool {
    !matches!(char, '\n' | '\t') && is_steering(char)
}

/// Whether a character does something to what shows it instead of being shown: control characters of both sets, line and
/// paragraph separators, and those that change the direction of text.
pub fn is_steering(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The longest part of `text` within [`limits::WORDS_BYTES_MAX`] that does not split a character.
pub fn cut(text: &str) -> &str {
    let mut end = text.len().min(limits::WORDS_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
