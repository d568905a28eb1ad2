//! Record format, version 1: the bytes of one event, one delivery, one attempt. The layout is `docs/internals/record.md`.
//!
//! **Invariant:** every record ends in a CRC-32 of all bytes before it, and nothing is decoded before that holds.
//! **Invariant:** with a key (see [`cipher`](crate::cipher)) what senders and targets said is sealed before it is here: of a head all
//! but what indexes need, of an attempt the answer. The CRC is of what is stored.
//! **Invariant:** what a later version may mean by a flag, a field or a version byte that is not known here is refused as such:
//! it is no damage, and not passed over. So is a number of a state, a reason, a class or a name that has no meaning here.

use std::{borrow::Cow, num::NonZeroU8, sync::Arc};

use aws_lc_rs::digest;
use bytes::Bytes;
use relay_core::{
    delivery::{Attempt, Delivery, Lease, Reason, State, Token, answer::Answer, outcome::Class},
    event::{self, Event},
    id::{DeliveryId, EventId, InstanceId},
    limits::EVENT_NAMES_NUMBERED,
    name::Name,
    time::Wall,
};

pub(crate) mod seal;

use self::seal::{Fields, Sealing};
use crate::cipher::{CipherError, Ciphers, Part};

/// The format version written now.
const VERSION: u8 = 1;

const EVENT_HAS_QUERY: u8 = 1;
const EVENT_NAME_TEXT: u8 = 4;

const DELIVERY_REPLAY: u16 = 1;
const DELIVERY_LEASED: u16 = 2;
const DELIVERY_MARK: u16 = 4;
const DELIVERY_LAST: u16 = 8;

const ATTEMPT_COUNTED: u8 = 1;
const ATTEMPT_ERROR: u8 = 2;
const ATTEMPT_ANSWER: u8 = 4;

/// In the place of the number of a name, where the head has the name itself: see [`name_of`].
pub(crate) const NAME_AS_TEXT: u8 = 255;

const ANSWER_REASON: u8 = 1;
const ANSWER_LOCATION: u8 = 2;
const ANSWER_BODY: u8 = 4;
const ANSWER_CUT: u8 = 8;
const ANSWER_SEALED: u8 = 16;

/// Where the number of the key stands in a head: behind version, flags, and three lengths.
const HEAD_KEY_AT: usize = 5;

/// Bytes that are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They are not what was written.
    #[error("the checksum does not match")]
    Checksum,
    /// They end too early.
    #[error("the record is cut short")]
    Short,
    /// A later version wrote them.
    #[error("format version {0} is not known")]
    Version(u8),
    /// A field has a value that is never written.
    #[error("{0} has an impossible value")]
    Field(&'static str),
    /// A later version wrote something into it that is not known here.
    #[error("a later version wrote it: {0} not known here")]
    Later(&'static str),
    /// It speaks of a name that the store does not have.
    #[error("name number {0} is not known")]
    Name(u32),
    /// The body is not the one that was received.
    #[error("the body does not match its checksum")]
    Body,
    /// It is sealed with a key that is not at hand.
    #[error("it is sealed with key {0}, which is not in ENCRYPTION_KEY_FILE")]
    Key(u32),
    /// What is sealed in it is not what was sealed.
    #[error("it does not open with its key")]
    Unauthentic,
}

impl From<CipherError> for RecordError {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Unknown(number) => Self::Key(number),
            CipherError::Unauthentic => Self::Unauthentic,
        }
    }
}

impl RecordError {
    /// Whether the record may be whole, and only be of a later version than this one, or sealed with a key that another server has.
    pub fn is_later(&self) -> bool {
        match self {
            Self::Version(_) | Self::Later(_) | Self::Key(_) => true,
            Self::Checksum | Self::Short | Self::Field(_) | Self::Name(_) | Self::Body | Self::Unauthentic => false,
        }
    }
}

/// What the numbers in records stand for.
pub trait Names {
    /// The source or destination behind a number.
    fn name(&self, number: u32) -> Option<Name>;
    /// The name of events behind its number at a source.
    fn event_name(&self, source: u32, number: NonZeroU8) -> Option<Arc<str>>;
    /// The keys, by their numbers.
    fn ciphers(&self) -> &Ciphers;
}

/// What an event's head says about itself.
#[derive(Clone, Debug)]
pub struct Head {
    /// The event; its body is empty.
    pub event: Event,
    /// Length of its body.
    pub body_bytes: u64,
    body_crc: u32,
    /// The keys, and the number of the one that its body is sealed with.
    sealed: (Ciphers, u32),
}

impl Head {
    /// Joins head and body, as that is stored.
    ///
    /// # Errors
    /// [`RecordError::Body`] if the body is not the one the head speaks of, [`RecordError::Unauthentic`] if it does not open.
    pub fn with_body(self, stored: Bytes) -> Result<Event, RecordError> {
        let (ciphers, number) = &self.sealed;
        let about = self.event.id.as_u128().to_le_bytes();
        let body = match ciphers.find(*number)? {
            None => stored,
            Some(cipher) => cipher.open(Part::Body, &about, &[], &stored)?.into(),
        };
        if body.len() as u64 != self.body_bytes || crc32fast::hash(&body) != self.body_crc {
            return Err(RecordError::Body);
        }
        Ok(Event { body, ..self.event })
    }

    /// Checks the body's SHA-256 too: for a scrub, which may take its time.
    pub fn holds_digest(event: &Event) -> bool {
        digest(&event.body) == event.body_sha256
    }

    /// Whether it is sealed, and its body.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.1 != 0
    }

    /// The event [erased](Event::erased), its body too; as it is stored it is as long as before.
    pub fn erased(&self) -> Event {
        self.event.erased(self.body_bytes as usize, digest)
    }
}

/// The digest of a body.
pub(crate) fn digest(body: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, body).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// An attempt whose answer is [erased](Answer::erased), as long as before; `None`: it has none, or is so already.
pub(crate) fn erased_attempt(attempt: &Attempt) -> Option<Attempt> {
    let answer = attempt.answer.as_ref()?;
    let erased = answer.erased();
    (erased != **answer).then(|| Attempt { answer: Some(Arc::new(erased)), ..attempt.clone() })
}

/// An event's body as it is stored: as it was received, or sealed with the newest key.
pub fn encode_body<'a>(event: &'a Event, ciphers: &Ciphers) -> Cow<'a, [u8]> {
    let about = event.id.as_u128().to_le_bytes();
    match ciphers.newest() {
        None => Cow::Borrowed(&event.body),
        Some(cipher) => Cow::Owned(cipher.seal(Part::Body, &about, &[], &event.body)),
    }
}

/// Writes an event's head behind what `out` holds; gives its CRC. `number`: that of its name at its source, if it has one. Its body
/// goes with it as [`encode_body`] makes it of the same keys.
pub fn encode_event(
    event: &Event,
    source: u32,
    number: Option<NonZeroU8>,
    ciphers: &Ciphers,
    out: &mut Vec<u8>,
) -> u32 {
    let text = event.name.as_deref().filter(|_| number.is_none()).and_then(event::event_name).unwrap_or_default();
    let key = event.key.as_ref().map_or("", Name::as_str);
    let has_query = if event.query.is_some() { EVENT_HAS_QUERY } else { 0 };
    let mut record = Sealing::begin(VERSION, out);
    record.u8(has_query | if text.is_empty() { 0 } else { EVENT_NAME_TEXT });
    record.u8(number.map_or(text.len() as u8, NonZeroU8::get));
    // The length of a subject.
    record.u8(0);
    record.u8(key.len() as u8);
    record.u32(ciphers.newest_number());
    record.u128(event.id.as_u128());
    record.u32(source);
    record.i64(event.received_at.as_micros());
    record.u64(event.body.len() as u64);
    match ciphers.newest() {
        None => write_rest(event, (text, key), &mut record),
        Some(cipher) => {
            let mut rest = Vec::with_capacity(1024);
            write_rest(event, (text, key), &mut Sealing::plain(&mut rest));
            let about = event.id.as_u128().to_le_bytes();
            let sealed = cipher.seal(Part::Head, &about, record.written(), &rest);
            record.raw(&sealed);
        }
    }
    record.end()
}

/// What of a head is sealed where there is a key.
fn write_rest(event: &Event, (text, key): (&str, &str), record: &mut Sealing<'_>) {
    let query = event.query.as_deref().unwrap_or_default();
    record.u32(crc32fast::hash(&event.body));
    record.raw(&event.body_sha256);
    record.u16(event.method.len() as u16);
    record.u16(event.headers.len() as u16);
    record.u32(event.path.len() as u32);
    record.u32(query.len() as u32);
    for part in [&event.method, &event.path, query, text.as_bytes(), key.as_bytes()] {
        record.raw(part);
    }
    for (name, value) in &event.headers {
        record.u16(name.len() as u16);
        record.u32(value.len() as u32);
        record.raw(name);
        record.raw(value);
    }
}

/// Reads an event's head.
///
/// # Errors
/// Any [`RecordError`] but [`RecordError::Body`].
pub fn decode_event(bytes: &Bytes, names: &impl Names) -> Result<Head, RecordError> {
    let mut fields = Fields::open(VERSION, &[], bytes)?;
    let flags = known(fields.u8()?.into(), (EVENT_HAS_QUERY | EVENT_NAME_TEXT).into())? as u8;
    let named = fields.u8()?;
    reserved(fields.u8()?.into(), "the subject is")?;
    let key_len = usize::from(fields.u8()?);
    let number = fields.u32()?;
    let id = EventId::from_u128(fields.u128()?);
    let source = fields.u32()?;
    let received_at = Wall::from_micros(fields.i64()?);
    let body_bytes = fields.u64()?;
    let clear = Clear { flags, named, key_len, id, source, received_at };
    let (event, body_crc) = match names.ciphers().find(number)? {
        None => clear.with_rest(bytes, fields, names)?,
        Some(cipher) => {
            let sealed = fields.rest();
            // Behind all of it stands a CRC.
            let beside = &bytes[..bytes.len() - sealed.len() - size_of::<u32>()];
            let rest = Bytes::from(cipher.open(Part::Head, &id.as_u128().to_le_bytes(), beside, sealed)?);
            clear.with_rest(&rest, Fields::plain(&rest), names)?
        }
    };
    Ok(Head { event, body_bytes, body_crc, sealed: (names.ciphers().clone(), number) })
}

/// The number of the key that an event with this head is sealed with; 0: it is clear. Nothing else of it is looked at.
pub(crate) fn key_of_head(bytes: &[u8]) -> Option<u32> {
    bytes.get(HEAD_KEY_AT..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

/// What stands in a head in front of what is sealed where there is a key.
struct Clear {
    flags: u8,
    named: u8,
    key_len: usize,
    id: EventId,
    source: u32,
    received_at: Wall,
}

impl Clear {
    /// Reads what stands behind it, out of these bytes: the event without its body, and the CRC of that.
    fn with_rest(self, bytes: &Bytes, mut fields: Fields<'_>, names: &impl Names) -> Result<(Event, u32), RecordError> {
        let Self { flags, named, key_len, id, source, received_at } = self;
        let body_crc = fields.u32()?;
        let body_sha256 = fields.array::<32>()?;
        let method_len = usize::from(fields.u16()?);
        let header_count = usize::from(fields.u16()?);
        let path_len = fields.u32()? as usize;
        let query_len = fields.u32()? as usize;
        let method = fields.slice(bytes, method_len)?;
        let path = fields.slice(bytes, path_len)?;
        let query = fields.slice(bytes, query_len)?;
        let name = match NonZeroU8::new(named) {
            text if flags & EVENT_NAME_TEXT != 0 => Some(event_name(&mut fields, text.map_or(0, NonZeroU8::get))?),
            None => None,
            Some(number) if usize::from(number.get()) > EVENT_NAMES_NUMBERED => {
                return Err(RecordError::Later("what stands for its name is"));
            }
            Some(number) => Some(names.event_name(source, number).ok_or(RecordError::Name(named.into()))?),
        };
        let key = if key_len == 0 { None } else { Some(key(&mut fields, key_len)?) };
        let mut headers = Vec::with_capacity(header_count.min(1024));
        for _ in 0..header_count {
            let name_len = usize::from(fields.u16()?);
            let value_len = fields.u32()? as usize;
            headers.push((fields.slice(bytes, name_len)?, fields.slice(bytes, value_len)?));
        }
        fields.end()?;
        let source = names.name(source).ok_or(RecordError::Name(source))?;
        let query = (flags & EVENT_HAS_QUERY != 0).then_some(query);
        let body = Bytes::new();
        Ok((Event { id, source, method, path, query, headers, body, body_sha256, received_at, name, key }, body_crc))
    }
}

/// What stands for the name of an event that is [written](encode_event) so: see [`name_of`].
pub(crate) fn name_written(event: &Event, number: Option<NonZeroU8>) -> u8 {
    let as_text = || event.name.as_deref().and_then(event::event_name).map_or(0, |_| NAME_AS_TEXT);
    number.map_or_else(as_text, NonZeroU8::get)
}

/// What stands for the name of an event with this head: its number, [`NAME_AS_TEXT`] if the head has the name itself, or 0.
///
/// # Errors
/// As [`decode_event`].
pub(crate) fn name_of(bytes: &[u8]) -> Result<u8, RecordError> {
    let mut fields = Fields::open(VERSION, &[], bytes)?;
    let (flags, named) = (fields.u8()?, fields.u8()?);
    Ok(if flags & EVENT_NAME_TEXT == 0 { named } else { NAME_AS_TEXT })
}

/// Writes a delivery behind what `out` holds; gives its CRC.
pub fn encode_delivery(
    delivery: &Delivery,
    source: u32,
    destination: u32,
    ciphers: &Ciphers,
    out: &mut Vec<u8>,
) -> u32 {
    let mut flags = 0_u16;
    for (set, flag) in [
        (delivery.replay, DELIVERY_REPLAY),
        (delivery.lease.is_some(), DELIVERY_LEASED),
        (delivery.mark.is_some(), DELIVERY_MARK),
        (delivery.last.is_some(), DELIVERY_LAST),
    ] {
        flags |= if set { flag } else { 0 };
    }
    let reason = |reason: Option<Reason>| reason.map_or(0, |reason| reason as u8);
    let mut record = Sealing::begin(VERSION, out);
    record.u8(delivery.state as u8);
    record.u8(reason(delivery.reason) | (reason(delivery.redriven_from) << 4));
    record.u16(flags);
    record.u128(delivery.id.as_u128());
    record.u128(delivery.event.as_u128());
    for number in [source, destination, 0] {
        record.u32(number);
    }
    for number in [delivery.body_bytes, delivery.version, delivery.token.counter, delivery.token.nonce] {
        record.u64(number);
    }
    for number in [delivery.attempts, delivery.tries, delivery.losses, delivery.unheard, delivery.earlier] {
        record.u32(number);
    }
    record.u64(delivery.mark.unwrap_or_default());
    for at in [delivery.made_at, delivery.ready_at, delivery.due_at, delivery.expires_at, delivery.changed_at] {
        record.i64(at.as_micros());
    }
    if let Some(lease) = &delivery.lease {
        record.u128(lease.instance.as_u128());
        record.u64(lease.keeper);
        record.i64(lease.since.as_micros());
        record.i64(lease.until.as_micros());
    }
    if let Some(last) = &delivery.last {
        write_attempt(last, delivery.id.sequence(), ciphers, &mut record);
    }
    record.end()
}

/// Reads a delivery.
///
/// # Errors
/// Any [`RecordError`] but [`RecordError::Body`].
pub fn decode_delivery(bytes: &[u8], names: &(impl Names + ?Sized)) -> Result<Delivery, RecordError> {
    decode_sealed_delivery(bytes, names).map(|(delivery, _)| delivery)
}

/// The same, and the number of the key that the answer in it is sealed with; `None`: it has none, and nothing else is sealed.
pub(crate) fn decode_sealed_delivery(
    bytes: &[u8],
    names: &(impl Names + ?Sized),
) -> Result<(Delivery, Option<u32>), RecordError> {
    let mut fields = Fields::open(VERSION, &[], bytes)?;
    let state = State::from_number(fields.u8()?).ok_or(RecordError::Later("its state is"))?;
    let reasons = fields.u8()?;
    let (reason, redriven_from) = (reason(reasons & 0xf)?, reason(reasons >> 4)?);
    let flags = known(fields.u16()?, DELIVERY_REPLAY | DELIVERY_LEASED | DELIVERY_MARK | DELIVERY_LAST)?;
    let id = DeliveryId::from_u128(fields.u128()?);
    let event = EventId::from_u128(fields.u128()?);
    let source = fields.u32()?;
    let destination = fields.u32()?;
    reserved(fields.u32()?, "its job is")?;
    let delivery = Delivery {
        id,
        event,
        source: names.name(source).ok_or(RecordError::Name(source))?,
        destination: names.name(destination).ok_or(RecordError::Name(destination))?,
        replay: flags & DELIVERY_REPLAY != 0,
        body_bytes: fields.u64()?,
        version: fields.u64()?,
        state,
        reason,
        token: Token { counter: fields.u64()?, nonce: fields.u64()? },
        lease: None,
        attempts: fields.u32()?,
        tries: fields.u32()?,
        losses: fields.u32()?,
        unheard: fields.u32()?,
        earlier: fields.u32()?,
        mark: Some(fields.u64()?).filter(|_| flags & DELIVERY_MARK != 0),
        redriven_from,
        made_at: Wall::from_micros(fields.i64()?),
        ready_at: Wall::from_micros(fields.i64()?),
        due_at: Wall::from_micros(fields.i64()?),
        expires_at: Wall::from_micros(fields.i64()?),
        changed_at: Wall::from_micros(fields.i64()?),
        last: None,
    };
    let lease = if flags & DELIVERY_LEASED == 0 { None } else { Some(lease(&mut fields)?) };
    let (mut last, mut key) = (None, None);
    if flags & DELIVERY_LAST != 0 {
        let (attempt, sealed_with) = attempt(&mut fields, delivery.id.sequence(), names.ciphers())?;
        (last, key) = (Some(attempt), sealed_with);
    }
    fields.end()?;
    Ok((Delivery { lease, last, ..delivery }, key))
}

/// Writes an attempt of the delivery with that sequence behind what `out` holds; gives its CRC.
pub fn encode_attempt(attempt: &Attempt, delivery: i64, ciphers: &Ciphers, out: &mut Vec<u8>) -> u32 {
    let mut record = Sealing::begin(VERSION, out);
    write_attempt(attempt, delivery, ciphers, &mut record);
    record.end()
}

/// Reads an attempt of the delivery with that sequence.
///
/// # Errors
/// [`RecordError`] for anything that [`encode_attempt`] did not write.
pub fn decode_attempt(bytes: &[u8], delivery: i64, ciphers: &Ciphers) -> Result<Attempt, RecordError> {
    decode_sealed_attempt(bytes, delivery, ciphers).map(|(attempt, _)| attempt)
}

/// The same, and the number of the key that its answer is sealed with; `None`: it has none.
pub(crate) fn decode_sealed_attempt(
    bytes: &[u8],
    delivery: i64,
    ciphers: &Ciphers,
) -> Result<(Attempt, Option<u32>), RecordError> {
    let mut fields = Fields::open(VERSION, &[], bytes)?;
    let attempt = attempt(&mut fields, delivery, ciphers)?;
    fields.end()?;
    Ok(attempt)
}

fn write_attempt(attempt: &Attempt, delivery: i64, ciphers: &Ciphers, record: &mut Sealing<'_>) {
    let counted = if attempt.counted { ATTEMPT_COUNTED } else { 0 };
    let has_error = if attempt.error.is_some() { ATTEMPT_ERROR } else { 0 };
    let has_answer = if attempt.answer.is_some() { ATTEMPT_ANSWER } else { 0 };
    record.u32(attempt.number);
    record.i64(attempt.at.as_micros());
    record.u64(attempt.duration_ms);
    record.u16(attempt.status.unwrap_or_default());
    record.u8(attempt.class as u8);
    record.u8(counted | has_error | has_answer);
    record.text(attempt.error.as_deref().unwrap_or_default());
    match (&attempt.answer, ciphers.newest()) {
        (None, _) => {}
        (Some(answer), None) => write_answer(answer, record),
        (Some(answer), Some(cipher)) => {
            let mut clear = Vec::with_capacity(512);
            write_answer(answer, &mut Sealing::plain(&mut clear));
            let beside = answer_beside(delivery, attempt.number, attempt.at);
            let sealed = cipher.seal(Part::Answer, &delivery.to_le_bytes(), &beside, &clear);
            record.u8(ANSWER_SEALED);
            record.u32(cipher.number());
            record.u32(sealed.len() as u32);
            record.raw(&sealed);
        }
    }
}

/// What an answer is sealed to: one try of one delivery.
fn answer_beside(delivery: i64, number: u32, at: Wall) -> [u8; 20] {
    let mut beside = [0; 20];
    beside[..8].copy_from_slice(&delivery.to_le_bytes());
    beside[8..12].copy_from_slice(&number.to_le_bytes());
    beside[12..].copy_from_slice(&at.as_micros().to_le_bytes());
    beside
}

fn write_answer(answer: &Answer, record: &mut Sealing<'_>) {
    let texts = [(&answer.reason, ANSWER_REASON), (&answer.location, ANSWER_LOCATION), (&answer.body, ANSWER_BODY)];
    let there = texts.iter().filter(|(text, _)| text.is_some()).fold(0, |flags, (_, flag)| flags | flag);
    record.u8(there | if answer.cut { ANSWER_CUT } else { 0 });
    for text in texts.iter().filter_map(|(text, _)| text.as_deref()) {
        record.text(text);
    }
}

fn reason(number: u8) -> Result<Option<Reason>, RecordError> {
    if number == 0 {
        return Ok(None);
    }
    Reason::from_number(number).map(Some).ok_or(RecordError::Later("its reason is"))
}

fn lease(fields: &mut Fields<'_>) -> Result<Lease, RecordError> {
    Ok(Lease {
        instance: InstanceId::from_u128(fields.u128()?),
        keeper: fields.u64()?,
        since: Wall::from_micros(fields.i64()?),
        until: Wall::from_micros(fields.i64()?),
    })
}

fn attempt(fields: &mut Fields<'_>, delivery: i64, ciphers: &Ciphers) -> Result<(Attempt, Option<u32>), RecordError> {
    let number = fields.u32()?;
    let at = Wall::from_micros(fields.i64()?);
    let duration_ms = fields.u64()?;
    let status = Some(fields.u16()?).filter(|status| *status != 0);
    let class = Class::from_number(fields.u8()?).ok_or(RecordError::Later("the class of a try is"))?;
    let flags = known(fields.u8()?.into(), (ATTEMPT_COUNTED | ATTEMPT_ERROR | ATTEMPT_ANSWER).into())? as u8;
    let error = Some(fields.text("error")?.into()).filter(|_| flags & ATTEMPT_ERROR != 0);
    let (mut answered, mut key) = (None, None);
    if flags & ATTEMPT_ANSWER != 0 {
        let beside = answer_beside(delivery, number, at);
        let (answer, sealed_with) = sealed_answer(fields, delivery, &beside, ciphers)?;
        (answered, key) = (Some(answer.into()), Some(sealed_with));
    }
    let counted = flags & ATTEMPT_COUNTED != 0;
    Ok((Attempt { number, at, duration_ms, status, class, counted, error, answer: answered }, key))
}

/// An answer, and the number of the key that it is sealed with.
fn sealed_answer(
    fields: &mut Fields<'_>,
    delivery: i64,
    beside: &[u8],
    ciphers: &Ciphers,
) -> Result<(Answer, u32), RecordError> {
    if fields.peek() != Some(ANSWER_SEALED) {
        return Ok((answer(fields)?, 0));
    }
    fields.u8()?;
    let number = fields.u32()?;
    let length = fields.u32()? as usize;
    let sealed = fields.take(length)?;
    let cipher = ciphers.find(number)?.ok_or(RecordError::Field("the key of the answer"))?;
    let clear = cipher.open(Part::Answer, &delivery.to_le_bytes(), beside, sealed)?;
    let mut fields = Fields::plain(&clear);
    let answer = answer(&mut fields)?;
    fields.end()?;
    Ok((answer, number))
}

fn answer(fields: &mut Fields<'_>) -> Result<Answer, RecordError> {
    let all = ANSWER_REASON | ANSWER_LOCATION | ANSWER_BODY | ANSWER_CUT;
    let flags = known(fields.u8()?.into(), all.into())? as u8;
    let mut text = |flag, name| {
        if flags & flag == 0 { Ok(None) } else { fields.text(name).map(|text| Some(text.into())) }
    };
    Ok(Answer {
        reason: text(ANSWER_REASON, "reason phrase")?,
        location: text(ANSWER_LOCATION, "location")?,
        body: text(ANSWER_BODY, "answer")?,
        cut: flags & ANSWER_CUT != 0,
    })
}

/// Flags of which each is known: what a later version means by another one must not be passed over.
fn known(flags: u16, all: u16) -> Result<u16, RecordError> {
    if flags & !all == 0 { Ok(flags) } else { Err(RecordError::Later("one of its flags is")) }
}

/// What is reserved for a later version is 0.
fn reserved(number: u32, what: &'static str) -> Result<(), RecordError> {
    if number == 0 { Ok(()) } else { Err(RecordError::Later(what)) }
}

fn event_name(fields: &mut Fields<'_>, len: u8) -> Result<Arc<str>, RecordError> {
    let text = fields.text_of(len.into(), "the name")?;
    event::event_name(text).map(Arc::from).ok_or(RecordError::Field("the name"))
}

fn key(fields: &mut Fields<'_>, len: usize) -> Result<Name, RecordError> {
    fields.text_of(len, "the key")?.parse().map_err(|_| RecordError::Field("the key"))
}

#[cfg(test)]
mod tests;
