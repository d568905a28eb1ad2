//! Record format, version 1: the bytes of one event, one delivery, one attempt. The layout is `docs/internals/record.md`.
//!
//! **Invariant:** every record ends in a CRC-32 of all bytes before it, and nothing is decoded before that holds.

use aws_lc_rs::digest;
use bytes::Bytes;
use relay_core::{
    delivery::{Attempt, Delivery, Lease, Reason, State, Token, answer::Answer, outcome::Class},
    event::Event,
    id::{DeliveryId, EventId, InstanceId},
    name::Name,
    time::Wall,
};

pub(crate) mod seal;

use self::seal::{Fields, Sealing};

/// The format version written now.
const VERSION: u8 = 1;

const EVENT_HAS_QUERY: u8 = 1;

const DELIVERY_REPLAY: u8 = 1;
const DELIVERY_LEASED: u8 = 2;
const DELIVERY_MARK: u8 = 4;
const DELIVERY_LAST: u8 = 8;

const ATTEMPT_COUNTED: u8 = 1;
const ATTEMPT_ERROR: u8 = 2;
const ATTEMPT_ANSWER: u8 = 4;

const ANSWER_REASON: u8 = 1;
const ANSWER_LOCATION: u8 = 2;
const ANSWER_BODY: u8 = 4;
const ANSWER_CUT: u8 = 8;

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
    /// It speaks of a name that the store does not have.
    #[error("name number {0} is not known")]
    Name(u32),
    /// The body is not the one that was received.
    #[error("the body does not match its checksum")]
    Body,
}

/// What an event's head says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The event; its body is empty.
    pub event: Event,
    /// Length of its body.
    pub body_bytes: u64,
    body_crc: u32,
}

impl Head {
    /// Joins head and body.
    ///
    /// # Errors
    /// [`RecordError::Body`] if the body is not the one the head speaks of.
    pub fn with_body(self, body: Bytes) -> Result<Event, RecordError> {
        if body.len() as u64 != self.body_bytes || crc32fast::hash(&body) != self.body_crc {
            return Err(RecordError::Body);
        }
        Ok(Event { body, ..self.event })
    }

    /// Checks the body's SHA-256 too: for a scrub, which may take its time.
    pub fn holds_digest(event: &Event) -> bool {
        digest::digest(&digest::SHA256, &event.body).as_ref() == event.body_sha256
    }
}

/// Writes an event's head behind what `out` holds; gives its CRC.
pub fn encode_event(event: &Event, source: u32, out: &mut Vec<u8>) -> u32 {
    let query = event.query.as_deref().unwrap_or_default();
    let mut record = Sealing::begin(VERSION, out);
    record.u8(if event.query.is_some() { EVENT_HAS_QUERY } else { 0 });
    record.u16(0);
    record.u128(event.id.as_u128());
    record.u32(source);
    record.u32(0);
    record.i64(event.received_at.as_micros());
    record.u64(event.body.len() as u64);
    record.u32(crc32fast::hash(&event.body));
    record.raw(&event.body_sha256);
    record.u16(event.method.len() as u16);
    record.u16(event.headers.len() as u16);
    record.u32(event.path.len() as u32);
    record.u32(query.len() as u32);
    record.raw(&event.method);
    record.raw(&event.path);
    record.raw(query);
    for (name, value) in &event.headers {
        record.u16(name.len() as u16);
        record.u32(value.len() as u32);
        record.raw(name);
        record.raw(value);
    }
    record.end()
}

/// Reads an event's head. `name` gives the name behind a number.
///
/// # Errors
/// Any [`RecordError`] but [`RecordError::Body`].
pub fn decode_event(bytes: &Bytes, name: impl Fn(u32) -> Option<Name>) -> Result<Head, RecordError> {
    let mut fields = Fields::open(VERSION, &[], bytes)?;
    let flags = known(fields.u8()?, EVENT_HAS_QUERY)?;
    // The length of an order key.
    reserved(fields.u16()?.into())?;
    let id = EventId::from_u128(fields.u128()?);
    let source = fields.u32()?;
    // A lane.
    reserved(fields.u32()?)?;
    let received_at = Wall::from_micros(fields.i64()?);
    let body_bytes = fields.u64()?;
    let body_crc = fields.u32()?;
    let body_sha256 = fields.array::<32>()?;
    let method_len = usize::from(fields.u16()?);
    let header_count = usize::from(fields.u16()?);
    let path_len = fields.u32()? as usize;
    let query_len = fields.u32()? as usize;
    let method = fields.slice(bytes, method_len)?;
    let path = fields.slice(bytes, path_len)?;
    let query = fields.slice(bytes, query_len)?;
    let mut headers = Vec::with_capacity(header_count.min(1024));
    for _ in 0..header_count {
        let name_len = usize::from(fields.u16()?);
        let value_len = fields.u32()? as usize;
        headers.push((fields.slice(bytes, name_len)?, fields.slice(bytes, value_len)?));
    }
    fields.end()?;
    let event = Event {
        id,
        source: name(source).ok_or(RecordError::Name(source))?,
        method,
        path,
        query: (flags & EVENT_HAS_QUERY != 0).then_some(query),
        headers,
        body: Bytes::new(),
        body_sha256,
        received_at,
    };
    Ok(Head { event, body_bytes, body_crc })
}

/// Writes a delivery behind what `out` holds; gives its CRC.
pub fn encode_delivery(delivery: &Delivery, source: u32, destination: u32, out: &mut Vec<u8>) -> u32 {
    let mut flags = 0;
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
    record.u8(flags);
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
    for at in [delivery.ready_at, delivery.due_at, delivery.expires_at, delivery.changed_at] {
        record.i64(at.as_micros());
    }
    if let Some(lease) = &delivery.lease {
        record.u128(lease.instance.as_u128());
        record.u64(lease.keeper);
        record.i64(lease.since.as_micros());
        record.i64(lease.until.as_micros());
    }
    if let Some(last) = &delivery.last {
        write_attempt(last, &mut record);
    }
    record.end()
}

/// Reads a delivery. `name` gives the name behind a number.
///
/// # Errors
/// Any [`RecordError`] but [`RecordError::Body`].
pub fn decode_delivery(bytes: &[u8], name: impl Fn(u32) -> Option<Name>) -> Result<Delivery, RecordError> {
    let mut fields = Fields::open(VERSION, &[], bytes)?;
    let state = State::from_number(fields.u8()?).ok_or(RecordError::Field("state"))?;
    let reasons = fields.u8()?;
    let (reason, redriven_from) = (reason(reasons & 0xf)?, reason(reasons >> 4)?);
    let flags = known(fields.u8()?, DELIVERY_REPLAY | DELIVERY_LEASED | DELIVERY_MARK | DELIVERY_LAST)?;
    let id = DeliveryId::from_u128(fields.u128()?);
    let event = EventId::from_u128(fields.u128()?);
    let source = fields.u32()?;
    let destination = fields.u32()?;
    // A lane.
    reserved(fields.u32()?)?;
    let delivery = Delivery {
        id,
        event,
        source: name(source).ok_or(RecordError::Name(source))?,
        destination: name(destination).ok_or(RecordError::Name(destination))?,
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
        ready_at: Wall::from_micros(fields.i64()?),
        due_at: Wall::from_micros(fields.i64()?),
        expires_at: Wall::from_micros(fields.i64()?),
        changed_at: Wall::from_micros(fields.i64()?),
        last: None,
    };
    let lease = if flags & DELIVERY_LEASED == 0 { None } else { Some(lease(&mut fields)?) };
    let last = if flags & DELIVERY_LAST == 0 { None } else { Some(attempt(&mut fields)?) };
    fields.end()?;
    Ok(Delivery { lease, last, ..delivery })
}

/// Writes an attempt behind what `out` holds; gives its CRC.
pub fn encode_attempt(attempt: &Attempt, out: &mut Vec<u8>) -> u32 {
    let mut record = Sealing::begin(VERSION, out);
    write_attempt(attempt, &mut record);
    record.end()
}

/// Reads an attempt.
///
/// # Errors
/// [`RecordError`] for anything that [`encode_attempt`] did not write.
pub fn decode_attempt(bytes: &[u8]) -> Result<Attempt, RecordError> {
    let mut fields = Fields::open(VERSION, &[], bytes)?;
    let attempt = attempt(&mut fields)?;
    fields.end()?;
    Ok(attempt)
}

fn write_attempt(attempt: &Attempt, record: &mut Sealing<'_>) {
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
    if let Some(answer) = &attempt.answer {
        write_answer(answer, record);
    }
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
    Reason::from_number(number).map(Some).ok_or(RecordError::Field("reason"))
}

fn lease(fields: &mut Fields<'_>) -> Result<Lease, RecordError> {
    Ok(Lease {
        instance: InstanceId::from_u128(fields.u128()?),
        keeper: fields.u64()?,
        since: Wall::from_micros(fields.i64()?),
        until: Wall::from_micros(fields.i64()?),
    })
}

fn attempt(fields: &mut Fields<'_>) -> Result<Attempt, RecordError> {
    let number = fields.u32()?;
    let at = Wall::from_micros(fields.i64()?);
    let duration_ms = fields.u64()?;
    let status = Some(fields.u16()?).filter(|status| *status != 0);
    let class = Class::from_number(fields.u8()?).ok_or(RecordError::Field("class"))?;
    let flags = known(fields.u8()?, ATTEMPT_COUNTED | ATTEMPT_ERROR | ATTEMPT_ANSWER)?;
    let error = Some(fields.text("error")?.into()).filter(|_| flags & ATTEMPT_ERROR != 0);
    let answer = if flags & ATTEMPT_ANSWER == 0 { None } else { Some(answer(fields)?.into()) };
    Ok(Attempt { number, at, duration_ms, status, class, counted: flags & ATTEMPT_COUNTED != 0, error, answer })
}

fn answer(fields: &mut Fields<'_>) -> Result<Answer, RecordError> {
    let flags = known(fields.u8()?, ANSWER_REASON | ANSWER_LOCATION | ANSWER_BODY | ANSWER_CUT)?;
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
fn known(flags: u8, all: u8) -> Result<u8, RecordError> {
    if flags & !all == 0 { Ok(flags) } else { Err(RecordError::Field("flags")) }
}

/// What is reserved is 0.
fn reserved(number: u32) -> Result<(), RecordError> {
    if number == 0 { Ok(()) } else { Err(RecordError::Field("what is reserved")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u32) -> Option<Name> {
        match number {
            1 => Some("stripe".parse().expect("a name")),
            2 => Some("crm".parse().expect("a name")),
            _ => None,
        }
    }

    fn event() -> Event {
        let body = Bytes::from_static(b"{\"a\":1}\x00\xff");
        let mut body_sha256 = [0; 32];
        body_sha256.copy_from_slice(digest::digest(&digest::SHA256, &body).as_ref());
        Event {
            id: EventId::from_u128(0x0192_f3c2_7d4e_7a31_8f5e_2b1c_9d0e_4f6a),
            source: name(1).expect("known"),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook/stripe/a%2Fb"),
            query: Some(Bytes::new()),
            headers: vec![
                (Bytes::from_static(b"x-a"), Bytes::from_static(b"1\xff")),
                (Bytes::from_static(b"x-a"), Bytes::from_static(b"")),
            ],
            body,
            body_sha256,
            received_at: Wall::from_micros(1_700_000_000_000_001),
        }
    }

    fn delivery() -> Delivery {
        let made = Delivery::ready(
            DeliveryId::from_u128(0x0192_f3c2_7d4e_7a32_8f5e_2b1c_9d0e_4f6a),
            &event(),
            name(2).expect("known"),
            true,
            Wall::from_micros(1_700_000_000_000_002),
            std::time::Duration::from_mins(1),
        );
        Delivery {
            state: State::Leased,
            token: Token { counter: 3, nonce: u64::MAX },
            lease: Some(Lease {
                instance: InstanceId::from_u128(77),
                keeper: u64::MAX - 1,
                since: Wall::from_micros(5),
                until: Wall::from_micros(6),
            }),
            mark: Some(0),
            attempts: 1,
            tries: 2,
            losses: 3,
            unheard: 4,
            earlier: 4,
            last: Some(Attempt {
                number: 2,
                at: Wall::from_micros(4),
                duration_ms: 17,
                status: Some(503),
                class: Class::Busy,
                counted: true,
                error: Some("busy".into()),
                answer: None,
            }),
            ..made
        }
    }

    /// I3: what is read is what was received, byte for byte.
    #[test]
    fn an_event_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        encode_event(&event(), 1, &mut bytes);
        let head = decode_event(&Bytes::from(bytes), name).expect("holds");
        assert_eq!(head.body_bytes, 9);
        let read = head.with_body(event().body).expect("holds");
        assert_eq!(read, event());
        assert!(Head::holds_digest(&read));
    }

    #[test]
    fn a_delivery_is_read_as_it_was_written() {
        let said = |answer: Answer| {
            let last = delivery().last.map(|last| Attempt { answer: answer.shared(), ..last });
            Delivery { last, ..delivery() }
        };
        let (location, body) = (Some("/hooks/".into()), Some("ü\n".repeat(700).into()));
        let answer = Answer { reason: Some("No".into()), location, body, cut: true };
        let parts = [
            said(Answer { location: None, ..answer.clone() }),
            said(Answer { reason: None, body: None, cut: false, ..answer.clone() }),
            said(answer),
        ];
        let plain = [delivery(), Delivery { lease: None, last: None, mark: None, ..delivery() }];
        for delivery in plain.into_iter().chain(parts) {
            let mut bytes = vec![9; 3];
            encode_delivery(&delivery, 1, 2, &mut bytes);
            assert_eq!(decode_delivery(&bytes[3..], name), Ok(delivery));
        }
    }

    /// I18: every single flipped bit and every truncation is noticed.
    #[test]
    fn a_flipped_bit_or_a_missing_byte_is_noticed() {
        let mut bytes = Vec::new();
        encode_delivery(&delivery(), 1, 2, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_delivery(&bad, name).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode_delivery(&bytes[..len], name).is_err(), "length {len}");
        }
        let mut head = Vec::new();
        encode_event(&event(), 1, &mut head);
        for bit in 0..head.len() * 8 {
            let mut bad = head.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_event(&Bytes::from(bad), name).is_err(), "bit {bit}");
        }
    }

    /// I23: what a later version may mean by a flag, or by what is reserved, is not passed over by this one.
    #[test]
    fn flags_and_fields_that_are_not_known_are_refused() {
        let changed = |bytes: &[u8], at: usize, with: u8| {
            let mut bytes = bytes[..bytes.len() - 4].to_vec();
            bytes[at] ^= with;
            let crc = crc32fast::hash(&bytes);
            [bytes, crc.to_le_bytes().to_vec()].concat()
        };
        let (mut stored, mut head, mut attempt) = (Vec::new(), Vec::new(), Vec::new());
        encode_delivery(&delivery(), 1, 2, &mut stored);
        encode_event(&event(), 1, &mut head);
        encode_attempt(&delivery().last.expect("there is one"), &mut attempt);
        let (flags, reserved) = (RecordError::Field("flags"), RecordError::Field("what is reserved"));
        for bit in 4..8 {
            assert_eq!(decode_delivery(&changed(&stored, 3, 1 << bit), name), Err(flags.clone()), "{bit}");
        }
        assert_eq!(decode_delivery(&changed(&stored, 44, 1), name), Err(reserved.clone()));
        let of_head = |at, with| decode_event(&Bytes::from(changed(&head, at, with)), name);
        assert_eq!(of_head(1, 2), Err(flags.clone()));
        assert_eq!((of_head(2, 1), of_head(24, 1)), (Err(reserved.clone()), Err(reserved)));
        assert_eq!(decode_attempt(&changed(&attempt, 24, 8)), Err(flags));
    }

    /// I18: a body that is not the one received is never handed out.
    #[test]
    fn a_changed_body_is_noticed() {
        let mut bytes = Vec::new();
        encode_event(&event(), 1, &mut bytes);
        let head = decode_event(&Bytes::from(bytes), name).expect("holds");
        assert_eq!(head.with_body(Bytes::from_static(b"{\"a\":2}\x00\xff")), Err(RecordError::Body));
    }

    /// I23: the bytes of version 1 stay what they are.
    #[test]
    fn the_bytes_of_version_1_do_not_change() {
        let mut bytes = Vec::new();
        let crc = encode_delivery(&delivery(), 1, 2, &mut bytes);
        assert_eq!((bytes.len(), crc), (214, golden::DELIVERY_CRC));
        let mut head = Vec::new();
        let crc = encode_event(&event(), 1, &mut head);
        assert_eq!((head.len(), crc), (141, golden::EVENT_CRC));
    }

    mod golden {
        pub(super) const DELIVERY_CRC: u32 = 2_935_295_677;
        pub(super) const EVENT_CRC: u32 = 2_780_003_562;
    }

    #[test]
    fn why_it_had_ended_before_a_redrive_is_kept_beside_why_it_ended() {
        for (reason, redriven_from) in [
            (None, Some(Reason::Expired)),
            (Some(Reason::LostLeases), Some(Reason::Rejected)),
            (Some(Reason::Expired), None),
        ] {
            let state = if reason.is_some() { State::Dead } else { State::Ready };
            let written = Delivery { state, reason, redriven_from, lease: None, ..delivery() };
            let mut bytes = Vec::new();
            encode_delivery(&written, 1, 2, &mut bytes);
            assert_eq!(decode_delivery(&bytes, name), Ok(written));
        }
    }
}
