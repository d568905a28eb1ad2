use std::sync::LazyLock;

use super::*;
use crate::cipher::tests::ciphers;

fn name(number: u32) -> Option<Name> {
    match number {
        1 => Some("stripe".parse().expect("a name")),
        2 => Some("crm".parse().expect("a name")),
        _ => None,
    }
}

/// The store of these records, of which source 1 knows a name by a number.
struct Known;

impl Names for Known {
    fn name(&self, number: u32) -> Option<Name> {
        name(number)
    }

    fn event_name(&self, source: u32, number: NonZeroU8) -> Option<Arc<str>> {
        ((source, number) == (1, NUMBER)).then(|| "invoice.paid".into())
    }

    fn ciphers(&self) -> &Ciphers {
        &CLEAR
    }
}

/// The same store with a key.
struct Sealed(Ciphers);

impl Names for Sealed {
    fn name(&self, number: u32) -> Option<Name> {
        name(number)
    }

    fn event_name(&self, source: u32, number: NonZeroU8) -> Option<Arc<str>> {
        Known.event_name(source, number)
    }

    fn ciphers(&self) -> &Ciphers {
        &self.0
    }
}

static CLEAR: LazyLock<Ciphers> = LazyLock::new(Ciphers::default);

const NUMBER: NonZeroU8 = NonZeroU8::new(7).expect("not 0");

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
        name: Some("invoice.paid".into()),
        key: Some("cron".parse().expect("a name")),
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

fn head(event: &Event, number: Option<NonZeroU8>) -> Bytes {
    let mut bytes = Vec::new();
    encode_event(event, 1, number, &CLEAR, &mut bytes);
    Bytes::from(bytes)
}

/// I3: what is read is what was received, byte for byte.
#[test]
fn an_event_is_read_as_it_was_written() {
    let head = decode_event(&head(&event(), None), &Known).expect("holds");
    assert_eq!(head.body_bytes, 9);
    let read = head.with_body(event().body).expect("holds");
    assert_eq!(read, event());
    assert!(Head::holds_digest(&read));
}

/// I25: a name is the event's, whether it has a number at its source or stands in the head; and so is none.
#[test]
fn a_name_is_read_from_its_number_or_from_its_text() {
    let longest = "ü".repeat(127) + "x";
    for (text, number) in [(Some("invoice.paid"), Some(NUMBER)), (Some(&*longest), None), (None, None)] {
        let (name, key) = (text.map(Arc::from), event().key.filter(|_| text.is_some()));
        let named = Event { name, key, ..event() };
        let bytes = head(&named, number);
        let read = decode_event(&bytes, &Known).expect("holds").event;
        assert_eq!((&read.name, &read.key, &read.headers), (&named.name, &named.key, &named.headers));
        let expected = number.map_or(if text.is_some() { NAME_AS_TEXT } else { 0 }, NonZeroU8::get);
        assert_eq!(name_of(&bytes), Ok(expected));
    }
    let unknown = head(&event(), NonZeroU8::new(8));
    assert_eq!(decode_event(&unknown, &Known).err(), Some(RecordError::Name(8)));
    let unfit = Event { name: Some("a\nb".into()), ..event() };
    assert_eq!(decode_event(&head(&unfit, None), &Known).map(|head| head.event.name), Ok(None));
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
        encode_delivery(&delivery, 1, 2, &CLEAR, &mut bytes);
        assert_eq!(decode_delivery(&bytes[3..], &Known), Ok(delivery));
    }
}

/// I18: every single flipped bit and every truncation is noticed.
#[test]
fn a_flipped_bit_or_a_missing_byte_is_noticed() {
    let mut bytes = Vec::new();
    encode_delivery(&delivery(), 1, 2, &CLEAR, &mut bytes);
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_delivery(&bad, &Known).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(decode_delivery(&bytes[..len], &Known).is_err(), "length {len}");
    }
    let head = head(&event(), None);
    for bit in 0..head.len() * 8 {
        let mut bad = head.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_event(&Bytes::from(bad), &Known).is_err(), "bit {bit}");
    }
}

/// I23: what a later version may mean by a flag, or by what is reserved, is not passed over by this one, and is no damage.
#[test]
fn flags_and_fields_that_are_not_known_are_refused() {
    let changed = |bytes: &[u8], at: usize, with: u8| {
        let mut bytes = bytes[..bytes.len() - 4].to_vec();
        bytes[at] ^= with;
        let crc = crc32fast::hash(&bytes);
        [bytes, crc.to_le_bytes().to_vec()].concat()
    };
    let answer = Answer { reason: Some("No".into()), ..Answer::default() };
    let attempt = Attempt { answer: answer.shared(), ..delivery().last.expect("there is one") };
    let (mut stored, mut tried) = (Vec::new(), Vec::new());
    encode_delivery(&delivery(), 1, 2, &CLEAR, &mut stored);
    encode_attempt(&attempt, 5, &CLEAR, &mut tried);
    let of_delivery = |at, with| decode_delivery(&changed(&stored, at, with), &Known).map(drop);
    let of_head = |at, with| {
        let bytes = changed(&head(&event(), None), at, with);
        decode_event(&Bytes::from(bytes), &Known).map(drop)
    };
    let of_attempt = |at, with| decode_attempt(&changed(&tried, at, with), 5, &CLEAR).map(drop);
    let flags = Err(RecordError::Later("one of its flags is"));
    // Slow, holds, laned, casual; and what has no meaning yet.
    for bit in 4..16 {
        assert_eq!(of_delivery(3 + bit / 8, 1 << (bit % 8)), flags, "{bit}");
    }
    assert_eq!(of_delivery(45, 1), Err(RecordError::Later("its job is")));
    // Numbers that have no meaning here: of a state, of why it ended, and of why it had ended before.
    for state in (0..=u8::MAX).filter(|state| State::from_number(*state).is_none()) {
        assert_eq!(of_delivery(1, stored[1] ^ state), Err(RecordError::Later("its state is")), "{state}");
    }
    for reason in (1..16).filter(|reason| Reason::from_number(*reason).is_none()) {
        for reasons in [reason, reason << 4] {
            assert_eq!(of_delivery(2, stored[2] ^ reasons), Err(RecordError::Later("its reason is")), "{reasons}");
        }
    }
    // Sealed, a trace, and what has no meaning yet.
    for bit in [1, 3, 4, 5, 6, 7] {
        assert_eq!(of_head(1, 1 << bit), flags, "{bit}");
    }
    assert_eq!(of_head(3, 1), Err(RecordError::Later("the subject is")));
    assert_eq!(of_head(5, 1), Err(RecordError::Key(1)));
    for number in 251..=u8::MAX {
        let mut numbered = Vec::new();
        encode_event(&event(), 1, Some(NUMBER), &CLEAR, &mut numbered);
        let bytes = changed(&numbered, 2, NUMBER.get() ^ number);
        let read = decode_event(&Bytes::from(bytes), &Known).map(drop);
        assert_eq!(read, Err(RecordError::Later("what stands for its name is")), "{number}");
    }
    for bit in 3..8 {
        assert_eq!(of_attempt(24, 1 << bit), flags, "{bit}");
    }
    for class in (0..=u8::MAX).filter(|class| Class::from_number(*class).is_none()) {
        assert_eq!(of_attempt(23, tried[23] ^ class), Err(RecordError::Later("the class of a try is")), "{class}");
    }
    // A sealed answer.
    for bit in 4..8 {
        assert_eq!(of_attempt(24 + 1 + 2 + "busy".len(), 1 << bit), flags, "{bit}");
    }
    assert_eq!(of_delivery(0, 3), Err(RecordError::Version(2)));
    for later in [RecordError::Version(2), RecordError::Later("one of its flags is")] {
        assert!(later.is_later());
    }
    assert!(!RecordError::Checksum.is_later() && !RecordError::Field("flags").is_later());
}

/// I18: a body that is not the one received is never handed out.
#[test]
fn a_changed_body_is_noticed() {
    let head = decode_event(&head(&event(), None), &Known).expect("holds");
    assert_eq!(head.with_body(Bytes::from_static(b"{\"a\":2}\x00\xff")), Err(RecordError::Body));
}

/// I23: the bytes of version 1 stay what they are.
#[test]
fn the_bytes_of_version_1_do_not_change() {
    let mut bytes = Vec::new();
    let crc = encode_delivery(&delivery(), 1, 2, &CLEAR, &mut bytes);
    assert_eq!((bytes.len(), crc), golden::DELIVERY);
    for (number, golden) in [(None, golden::EVENT), (Some(NUMBER), golden::NUMBERED)] {
        let mut head = Vec::new();
        let crc = encode_event(&event(), 1, number, &CLEAR, &mut head);
        assert_eq!((head.len(), crc), golden);
    }
}

mod golden {
    pub(super) const DELIVERY: (usize, u32) = (223, 3_124_904_905);
    pub(super) const EVENT: (usize, u32) = (158, 728_243_941);
    pub(super) const NUMBERED: (usize, u32) = (146, 990_456_633);
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
        encode_delivery(&written, 1, 2, &CLEAR, &mut bytes);
        assert_eq!(decode_delivery(&bytes, &Known), Ok(written));
    }
}

/// A copy of these bytes whose CRC holds, with one bit of what is in front of it another.
fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bad = bytes[..bytes.len() - 4].to_vec();
    bad[bit / 8] ^= 1 << (bit % 8);
    let crc = crc32fast::hash(&bad);
    bad.extend(crc.to_le_bytes());
    bad
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// I3, S32: with a key an event is read as it was received, and nothing of what its sender said stands in what is stored; with
/// another key it is refused, and not damaged. No bit of it may be another, also where its CRC was made anew: it reads as what it
/// was, or not at all.
#[test]
fn a_sealed_event_is_read_as_it_was_written_or_not_at_all() {
    let (written, sealed) = (event(), Sealed(ciphers(&[1, 2])));
    for number in [Some(NUMBER), None] {
        let mut head = Vec::new();
        encode_event(&written, 1, number, &sealed.0, &mut head);
        let body = encode_body(&written, &sealed.0).into_owned();
        assert_eq!((key_of_head(&head), name_of(&head)), (Some(2), Ok(name_written(&written, number))));
        for text in [&written.path[..], b"POST", b"1\xff", b"x-a", b"cron", &written.body, &written.body_sha256] {
            assert!(!holds(&head, text) && !holds(&body, text), "{text:?}");
        }
        let read = |head: &[u8], body: &[u8], names: &Sealed| {
            decode_event(&Bytes::copy_from_slice(head), names)?.with_body(Bytes::copy_from_slice(body))
        };
        assert_eq!(read(&head, &body, &sealed), Ok(written.clone()));
        assert_eq!(read(&head, &body, &Sealed(ciphers(&[1]))), Err(RecordError::Key(2)));
        assert!(RecordError::Key(2).is_later() && !RecordError::Unauthentic.is_later());
        // A name's number is what it stands for by, and is not sealed; it is part of what the head is sealed to.
        for bit in 0..(head.len() - 4) * 8 {
            let found = read(&flipped(&head, bit), &body, &sealed);
            assert!(found.is_err(), "bit {bit}: {found:?}");
        }
        for bit in 0..body.len() * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&head, &bad, &sealed), Err(RecordError::Unauthentic), "bit {bit}");
        }
        // One that was clear is read beside them.
        let mut clear = Vec::new();
        encode_event(&written, 1, number, &CLEAR, &mut clear);
        assert_eq!(read(&clear, &written.body, &sealed), Ok(written.clone()));
        assert_eq!(key_of_head(&clear), Some(0));
    }
}

/// S32: what a target said is sealed to its try of its delivery; nothing else of an attempt is.
#[test]
fn a_sealed_answer_is_read_with_its_delivery_only() {
    let sealed = Sealed(ciphers(&[1]));
    let answer = Answer { body: Some("canary".into()), location: Some("/there".into()), reason: None, cut: true };
    let last = Attempt { answer: answer.shared(), ..delivery().last.expect("there is one") };
    let written = Delivery { last: Some(last.clone()), ..delivery() };
    let mut bytes = Vec::new();
    encode_delivery(&written, 1, 2, &sealed.0, &mut bytes);
    assert!(!holds(&bytes, b"canary") && !holds(&bytes, b"/there"));
    assert_eq!(decode_sealed_delivery(&bytes, &sealed), Ok((written.clone(), Some(1))));
    assert_eq!(decode_delivery(&bytes, &Sealed(ciphers(&[2]))), Err(RecordError::Key(1)));
    let mut attempt = Vec::new();
    encode_attempt(&last, 7, &sealed.0, &mut attempt);
    assert_eq!(decode_sealed_attempt(&attempt, 7, &sealed.0), Ok((last.clone(), Some(1))));
    assert_eq!(decode_attempt(&attempt, 8, &sealed.0), Err(RecordError::Unauthentic));
    // Behind the error text: flags, number of the key, length, and what is sealed.
    let begin = attempt.len() - 4 - decode_answer_bytes(&attempt);
    for bit in begin * 8..(attempt.len() - 4) * 8 {
        let found = decode_attempt(&flipped(&attempt, bit), 7, &sealed.0);
        assert!(found.is_err(), "bit {bit}: {found:?}");
    }
    let mut clear = Vec::new();
    encode_attempt(&last, 7, &CLEAR, &mut clear);
    assert_eq!(decode_sealed_attempt(&clear, 7, &sealed.0), Ok((last, Some(0))));
}

/// How many bytes of an attempt are those of its answer.
fn decode_answer_bytes(attempt: &[u8]) -> usize {
    let error = 1 + 4 + 8 + 8 + 2 + 1 + 1;
    let text = usize::from(u16::from_le_bytes([attempt[error], attempt[error + 1]]));
    attempt.len() - 4 - (error + 2 + text)
}
