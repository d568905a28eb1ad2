use proptest::prelude::*;

use super::*;
use crate::wire::message::{GoAway, HeaderField, HeldList, Peers, Release, Settled, Welcome, WelcomeDestination};

/// One message of each kind, every field set. I23: their bytes are those of protocol version 1 for ever.
fn samples() -> Vec<(&'static str, Message)> {
    let lease = LeaseRef {
        delivery: Bytes::from_static(&[0x01, 0x92, 3, 4, 5, 6, 0x7d, 8, 0x9a, 10, 11, 12, 13, 14, 15, 16]),
        counter: 3,
        nonce: 0x0123_4567_89ab_cdef,
    };
    let hello = Hello {
        instance: Bytes::from_static(&[0xaa; 16]),
        version: "0.1.0".into(),
        destinations: vec![HelloDestination { name: "crm".into(), slots: 8, forward_timeout_ms: 25_000 }],
        buffer_bytes: 64 << 20,
        held: vec![lease.clone()],
        label: "laptop".into(),
    };
    let welcome = Welcome {
        version: "0.1.0".into(),
        heartbeat_ms: 15_000,
        destinations: vec![WelcomeDestination { name: "crm".into(), known: true, others: 1, allowed: true }],
        resumed: vec![lease.clone()],
        server: "relay-2".into(),
    };
    let grant = Grant {
        lease: Some(lease.clone()),
        event: Bytes::from_static(&[0xee; 16]),
        destination: "crm".into(),
        source: "stripe".into(),
        attempt: 2,
        received_at: 1_700_000_000_123_456,
        method: Bytes::from_static(b"POST"),
        rest: Bytes::from_static(b"/a%2Fb"),
        query: Some(Bytes::new()),
        headers: vec![HeaderField { name: Bytes::from_static(b"x-a"), value: Bytes::from_static(b"\xff 1") }],
        original_url: Bytes::from_static(b"https://relay.example.com/webhook/stripe/a%2Fb?"),
        replay: true,
        body_bytes: 4,
        body_sha256: Bytes::from_static(&[0x5a; 32]),
        body: Bytes::from_static(b"{}"),
        trace: Bytes::new(),
    };
    let traced = Grant { trace: Bytes::from_static(&[0x7a; 25]), ..grant.clone() };
    let report = Report {
        lease: Some(lease.clone()),
        class: 3,
        status: 429,
        retry_after_ms: Some(2_000),
        duration_us: 12_345,
        error: "429 Too Many Requests".into(),
        answer: None,
    };
    let refused = Report {
        class: 5,
        status: 422,
        retry_after_ms: None,
        error: "422 Unprocessable Content".into(),
        ..report.clone()
    };
    let moved = Report {
        class: 2,
        status: 301,
        error: "301 Moved Permanently".into(),
        answer: Some(Box::new(message::Answer {
            reason: "Over There".into(),
            location: "/hooks/".into(),
            body: "<p>\tsee\nthere</p>".into(),
            cut: true,
        })),
        ..refused.clone()
    };
    let chunk = Chunk { lease: Some(lease.clone()), offset: 2, data: Bytes::from_static(b"[]") };
    vec![
        ("hello", Message::Hello(hello)),
        ("welcome", Message::Welcome(welcome)),
        ("grant", Message::Grant(Box::new(grant))),
        ("grant_traced", Message::Grant(Box::new(traced))),
        ("chunk", Message::Chunk(chunk)),
        ("extend", Message::Extend(HeldList { held: vec![lease.clone()] })),
        ("report", Message::Report(report)),
        ("report_refused", Message::Report(refused)),
        ("report_answer", Message::Report(moved)),
        ("settled", Message::Settled(Settled { leases: vec![lease.clone()] })),
        ("release", Message::Release(Release { leases: vec![lease] })),
        (
            "go_away",
            Message::GoAway(GoAway {
                reason: "stopping".into(),
                retry_after_ms: 1_000,
                elsewhere: true,
                ..GoAway::default()
            }),
        ),
        ("go_away_done", Message::GoAway(GoAway { reason: "stopping".into(), done: true, ..GoAway::default() })),
        ("peers", Message::Peers(Peers { destination: "crm".into(), clients: 2 })),
    ]
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// I23: `fixtures/wire/v1/messages.hex` holds the bytes of version 1; a change to them is a break with every peer.
#[test]
fn each_message_has_the_bytes_of_version_1() {
    let golden = include_str!("../../../../../fixtures/wire/v1/messages.hex");
    let line = |(name, message)| format!("{name} {}", hex(&encode(message)));
    let lines: Vec<String> = samples().into_iter().map(line).collect();
    assert_eq!(golden.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn each_message_comes_back_as_it_was() {
    for (name, message) in samples() {
        assert_eq!(decode(encode(message.clone())), Ok(Some(message)), "{name}");
    }
}

#[test]
fn a_message_of_a_later_version_is_skipped() {
    assert_eq!(decode(Bytes::from_static(&[0xf2, 0x01, 0x02, 0x08, 0x01])), Ok(None));
    assert_eq!(decode(Bytes::new()), Ok(None));
}

/// The bytes of a message with one more field, of wire type 2, within it.
fn with_field(message: Message, tag: u8, field: u8, value: &[u8]) -> Bytes {
    let bytes = encode(message);
    let mut rest = &bytes[1..];
    assert_eq!(bytes[0], tag << 3 | 2);
    while rest[0] & 0x80 != 0 {
        rest = &rest[1..];
    }
    let key = (u32::from(field) << 3) | 2;
    let more = [
        &[(key & 0x7f) as u8 | if key > 0x7f { 0x80 } else { 0 }][..],
        if key > 0x7f { &[1] } else { &[] },
        &[value.len() as u8],
        value,
    ];
    let inner = [&rest[1..], &more.concat()].concat();
    let mut out = vec![tag << 3 | 2];
    prost::encoding::encode_varint(inner.len() as u64, &mut out);
    out.extend(inner);
    out.into()
}

/// I23: what a later version adds is skipped, unless the rest would be misunderstood without it: that is refused.
#[test]
fn fields_that_change_the_meaning_of_others_are_refused() {
    let of = |wanted: &str| {
        let found = samples().into_iter().find(|(name, _)| *name == wanted);
        found.expect("a sample").1
    };
    for (name, tag, field, refused) in [
        ("grant", 3, 16, None),
        ("grant", 3, 17, Some("grant.answer_wanted")),
        ("grant", 3, 18, Some("grant.answer_before")),
        ("grant", 3, 19, None),
        ("grant", 3, 20, Some("grant.sealed")),
        ("grant", 3, 22, None),
        ("report", 6, 7, Some("report.reply")),
        ("report", 6, 9, None),
        ("hello", 1, 7, None),
        ("welcome", 2, 6, None),
        ("go_away", 9, 5, None),
    ] {
        let found = decode(with_field(of(name), tag, field, b"x"));
        let expected = refused.map_or_else(|| Ok(Some(of(name))), |field| Err(CodecError::Later(field)));
        assert_eq!(found, expected, "{name} {field}");
    }
}

/// I23: a place in a trace is 25 bytes, of which neither id is zero, or there is none.
#[test]
fn a_place_in_a_trace_is_whole_or_a_fault() {
    for wrong in [&[0x7a; 24][..], &[0x7a; 26], &[0; 25], &[&[0x7a; 16][..], &[0; 8], &[1]].concat()] {
        let grant = samples().into_iter().find(|(name, _)| *name == "grant").expect("a sample").1;
        assert_eq!(decode(with_field(grant, 3, 21, wrong)), Err(CodecError::Field("grant.trace")), "{wrong:?}");
    }
}

/// I23: what is reserved within what repeats is skipped (what a later client wants of a destination, a server of this version does not give
/// it), and so is a message of a number that has no meaning yet; a class that is not known is refused, for nothing says what to make of it.
#[test]
fn what_is_reserved_has_no_meaning_yet() {
    let Some((_, Message::Hello(hello))) = samples().into_iter().next() else { panic!("the first is a Hello") };
    let without = Hello { destinations: Vec::new(), ..hello.clone() };
    let destination = hello.destinations[0].encode_to_vec();
    // An answer is wanted; numbers of keys; and what has no meaning yet.
    for more in [&[4 << 3, 1][..], &[5 << 3 | 2, 2, 7, 8], &[6 << 3 | 2, 1, b'x']] {
        let destination = [&destination[..], more].concat();
        let found = decode(with_field(Message::Hello(without.clone()), 1, 3, &destination));
        assert_eq!(found, Ok(Some(Message::Hello(hello.clone()))), "{more:?}");
    }
    for tag in 11..64_u32 {
        let mut frame = Vec::new();
        prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut frame);
        frame.extend([2, 8, 1]);
        assert_eq!(decode(frame.into()), Ok(None), "{tag}");
    }
    let Some((_, Message::Report(report))) = samples().into_iter().find(|(name, _)| *name == "report") else {
        panic!("one is a Report")
    };
    for class in [0, 6, 7, 255, 256, u32::MAX] {
        let found = reported(&Report { class, status: 0, retry_after_ms: None, ..report.clone() });
        assert_eq!(found.map(drop), Err(CodecError::Field("report.class")), "{class}");
    }
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let lease = LeaseRef { delivery: Bytes::from_static(&[1; 15]), counter: 0, nonce: 0 };
    let refused = |message| decode(encode(message));
    assert_eq!(refused(Message::Extend(HeldList { held: vec![lease] })), Err(CodecError::Field("lease.delivery")));
    assert_eq!(refused(Message::Chunk(Chunk::default())), Err(CodecError::Field("lease")));
    let long = Message::GoAway(GoAway { reason: "x".repeat(limits::WORDS_BYTES_MAX + 1), ..GoAway::default() });
    assert_eq!(refused(long), Err(CodecError::Field("go_away.reason")));
    let huge = Bytes::from(vec![0; limits::MESSAGE_BYTES_MAX + 1]);
    assert_eq!(decode(huge), Err(CodecError::TooLarge(limits::MESSAGE_BYTES_MAX + 1)));
}

/// S27: words of a peer steer neither a terminal nor a log, and our own never get a session closed.
#[test]
fn words_that_steer_are_refused_and_our_own_are_made_plain() {
    for steering in
        ["\u{1b}[2J", "a\nb", "a\rb", "\t", "\0", "\u{7f}", "\u{9b}2J", "\u{202e}", "\u{2066}", "\u{200f}", "\u{2028}"]
    {
        let reason = Message::GoAway(GoAway { reason: steering.into(), ..GoAway::default() });
        assert_eq!(decode(encode(reason)), Err(CodecError::Field("go_away.reason")), "{steering:?}");
        let lease = (DeliveryId::from_u128(1), Token::default());
        let outcome = Outcome {
            class: Class::Busy,
            status: None,
            retry_after: None,
            duration: Duration::ZERO,
            error: Some(format!("{steering}{}", "\u{1b}".repeat(limits::WORDS_BYTES_MAX)).into()),
            answer: None,
        };
        let report = Message::Report(report(lease, &outcome));
        assert!(decode(encode(report)).is_ok(), "{steering:?}");
    }
    let reason = "größer als 5 – 漢字 \u{1f600} \"quoted\"";
    assert_eq!(plain(reason), reason);
    assert!(decode(encode(Message::GoAway(GoAway { reason: reason.into(), ..GoAway::default() }))).is_ok());
}

/// S11: what repeats is counted before it is decoded: two bytes on the wire are fifty in memory.
#[test]
fn too_many_of_anything_are_refused_before_they_are_decoded() {
    let few = vec![LeaseRef::default(); limits::LEASES_PER_MESSAGE + 1];
    let many = vec![LeaseRef::default(); limits::HELD_MAX + 1];
    let destinations = vec![HelloDestination::default(); limits::SESSION_DESTINATIONS_MAX + 1];
    let welcomes = vec![WelcomeDestination::default(); limits::SESSION_DESTINATIONS_MAX + 1];
    let headers = vec![HeaderField::default(); limits::HEADERS_MAX + 1];
    for (field, most, message) in [
        ("extend.held", limits::LEASES_PER_MESSAGE, Message::Extend(HeldList { held: few.clone() })),
        ("settled.leases", limits::LEASES_PER_MESSAGE, Message::Settled(Settled { leases: few.clone() })),
        ("release.leases", limits::LEASES_PER_MESSAGE, Message::Release(Release { leases: few })),
        ("hello.held", limits::HELD_MAX, Message::Hello(Hello { held: many.clone(), ..Hello::default() })),
        (
            "hello.destinations",
            limits::SESSION_DESTINATIONS_MAX,
            Message::Hello(Hello { destinations, ..Hello::default() }),
        ),
        ("welcome.resumed", limits::HELD_MAX, Message::Welcome(Welcome { resumed: many, ..Welcome::default() })),
        (
            "welcome.destinations",
            limits::SESSION_DESTINATIONS_MAX,
            Message::Welcome(Welcome { destinations: welcomes, ..Welcome::default() }),
        ),
        ("grant.headers", limits::HEADERS_MAX, Message::Grant(Box::new(Grant { headers, ..Grant::default() }))),
    ] {
        let whole = encode(message);
        // Each has ids that are none: had it been decoded, that would be the error.
        assert_eq!(decode(whole.clone()), Err(CodecError::TooMany(field, most)));
    }
    // A message that comes in two parts is one message.
    let half =
        encode(Message::Extend(HeldList { held: vec![LeaseRef::default(); limits::LEASES_PER_MESSAGE / 2 + 1] }));
    let refused = decode([half.clone(), half].concat().into()).unwrap_err();
    assert_eq!(refused.to_string(), "more than 1024 of extend.held in one message");
    // A group could hide what is behind it.
    assert_eq!(decode(Bytes::from_static(&[0x2a, 4, 0x13, 0x14, 0x0a, 0])), Err(CodecError::Field("frame")));
}

/// The largest messages there are pass.
#[test]
fn a_client_that_holds_all_it_may_can_say_so() {
    let token = Token { counter: u64::MAX, nonce: u64::MAX };
    let held: Vec<LeaseRef> =
        (0..limits::HELD_MAX).map(|_| lease_ref((DeliveryId::from_u128(u128::MAX), token))).collect();
    let name = "x".repeat(limits::NAME_BYTES_MAX);
    let destination = HelloDestination { name: name.clone(), slots: u32::MAX, forward_timeout_ms: u32::MAX };
    let hello = Hello {
        instance: vec![7; ID_BYTES].into(),
        version: "x".repeat(limits::WORDS_BYTES_MAX),
        label: "x".repeat(limits::WORDS_BYTES_MAX),
        destinations: vec![destination; limits::SESSION_DESTINATIONS_MAX],
        buffer_bytes: u64::MAX,
        held: held.clone(),
    };
    let told = WelcomeDestination { name, known: true, others: u32::MAX, allowed: true };
    let welcome = Welcome {
        version: "x".repeat(limits::WORDS_BYTES_MAX),
        heartbeat_ms: u32::MAX,
        destinations: vec![told; limits::SESSION_DESTINATIONS_MAX],
        resumed: held,
        server: "x".repeat(limits::WORDS_BYTES_MAX),
    };
    for message in [Message::Hello(hello), Message::Welcome(welcome)] {
        let bytes = encode(message);
        assert!(bytes.len() <= limits::MESSAGE_BYTES_MAX * 3 / 4, "{}", bytes.len());
        decode(bytes).unwrap();
    }
}

#[test]
fn a_grant_with_more_body_than_it_announces_is_refused() {
    let Some((_, Message::Grant(mut grant))) = samples().into_iter().find(|(name, _)| *name == "grant") else {
        panic!()
    };
    grant.body_bytes = 1;
    assert_eq!(decode(encode(Message::Grant(grant))), Err(CodecError::Field("grant.body")));
}

#[test]
fn a_hello_is_checked_field_by_field() {
    let Some((_, Message::Hello(good))) = samples().into_iter().next() else { panic!() };
    assert_eq!(greeting(&good).unwrap().destinations[0].slots, 8);
    let check = |field: &'static str, spoil: fn(&mut Hello)| {
        let mut hello = good.clone();
        spoil(&mut hello);
        assert_eq!(greeting(&hello).err(), Some(CodecError::Field(field)));
    };
    check("hello.destinations", |hello| hello.destinations.clear());
    check("hello.destinations", |hello| hello.destinations.push(hello.destinations[0].clone()));
    check("hello.destinations.name", |hello| hello.destinations[0].name = "CRM".into());
    check("hello.destinations.slots", |hello| hello.destinations[0].slots = 0);
    check("hello.destinations.slots", |hello| hello.destinations[0].slots = limits::CONCURRENCY_MAX + 1);
    check("hello.destinations.forward_timeout_ms", |hello| hello.destinations[0].forward_timeout_ms = 0);
    check("hello.destinations.forward_timeout_ms", |hello| {
        hello.destinations[0].forward_timeout_ms = limits::FORWARD_TIMEOUT_MAX.as_millis() as u32 + 1;
    });
    check("hello.buffer_bytes", |hello| hello.buffer_bytes = 0);
    check("hello.instance", |hello| hello.instance = Bytes::new());
}

/// I6: nothing but a 2xx is a delivery, whatever the client calls it.
#[test]
fn a_report_of_success_without_a_2xx_is_refused() {
    let lease = (DeliveryId::from_u128(1), Token { counter: 1, nonce: 2 });
    let mut outcome = Outcome {
        class: Class::Delivered,
        status: Some(302),
        retry_after: None,
        duration: Duration::ZERO,
        error: None,
        answer: None,
    };
    assert_eq!(reported(&report(lease, &outcome)), Err(CodecError::Field("report.status")));
    outcome.status = Some(204);
    assert_eq!(reported(&report(lease, &outcome)), Ok((lease, outcome)));
}

/// I10, I23: the class of an answer is what its status makes of it here, whatever a client of an older version calls it; and
/// a 2xx is no failure.
#[test]
fn the_class_of_a_report_follows_from_its_status() {
    let lease = (DeliveryId::from_u128(1), Token { counter: 1, nonce: 2 });
    let mut outcome = refusal(422, None);
    let class = |outcome: &Outcome| reported(&report(lease, outcome)).map(|(_, outcome)| outcome.class);
    assert_eq!(class(&outcome), Ok(Class::Refused));
    outcome.status = Some(425);
    assert_eq!(class(&outcome), Ok(Class::Busy));
    outcome.status = Some(204);
    assert_eq!(class(&outcome), Err(CodecError::Field("report.status")));
    (outcome.class, outcome.status) = (Class::Busy, None);
    assert_eq!(class(&outcome), Ok(Class::Busy));
}

/// S27, S20: what a target said is cut and made plain by its client; from one that does neither, it is refused.
#[test]
fn the_words_of_a_target_are_bounded_and_steer_nothing() {
    let lease = (DeliveryId::from_u128(1), Token { counter: 1, nonce: 2 });
    let esc = "\u{1b}[2J\u{202e}";
    let said = Answer {
        reason: Some(format!("{esc}{}", "x".repeat(limits::WORDS_BYTES_MAX)).into()),
        location: Some(format!("/{esc}\n{}", "ü".repeat(limits::WORDS_BYTES_MAX)).into()),
        body: Some(format!("a\r\nb\tc\rd{esc}{}", "ü".repeat(limits::ANSWER_WORDS_BYTES_MAX)).into()),
        cut: false,
    };
    let sent = report(lease, &refusal(422, said.shared()));
    let Ok(Some(Message::Report(arrived))) = decode(encode(Message::Report(sent.clone()))) else { panic!() };
    let (_, outcome) = reported(&arrived).unwrap();
    let heard = outcome.answer.unwrap();
    let body = heard.body.as_deref().unwrap();
    assert!(body.starts_with("a\nb\tc\u{fffd}d\u{fffd}[2J\u{fffd}ü") && heard.cut, "{body}");
    assert!((limits::ANSWER_WORDS_BYTES_MAX - 1..=limits::ANSWER_WORDS_BYTES_MAX).contains(&body.len()));
    assert!(heard.location.as_deref().unwrap().starts_with("/\u{fffd}[2J\u{fffd}\u{fffd}ü"));

    let refused = |change: &dyn Fn(&mut message::Answer)| {
        let mut answer = message::Answer::default();
        change(&mut answer);
        decode(encode(Message::Report(Report { answer: Some(Box::new(answer)), ..sent.clone() }))).unwrap_err()
    };
    for steering in ["\u{1b}", "\r", "\u{9b}", "\u{2066}", "\u{2028}"] {
        assert_eq!(refused(&|it| it.body = steering.into()), CodecError::Field("report.answer.body"));
        assert_eq!(refused(&|it| it.location = steering.into()), CodecError::Field("report.answer.location"));
        assert_eq!(refused(&|it| it.reason = steering.into()), CodecError::Field("report.answer.reason"));
    }
    let long = limits::ANSWER_WORDS_BYTES_MAX + 1;
    assert_eq!(refused(&|it| it.body = "x".repeat(long)), CodecError::Field("report.answer.body"));
    assert_eq!(refused(&|it| it.location = "\n".into()), CodecError::Field("report.answer.location"));
    assert_eq!(refused(&|it| it.reason = "x".repeat(501)), CodecError::Field("report.answer.reason"));
}

/// Words of an answer belong to one that refuses.
#[test]
fn a_report_with_words_of_no_refusal_is_refused() {
    let lease = (DeliveryId::from_u128(1), Token { counter: 1, nonce: 2 });
    let said = || Answer { body: Some("no".into()), ..Answer::default() }.shared();
    let mut outcome = refusal(200, said());
    outcome.class = Class::Delivered;
    assert_eq!(reported(&report(lease, &outcome)), Err(CodecError::Field("report.answer")));
    (outcome.class, outcome.status) = (Class::Busy, None);
    assert_eq!(reported(&report(lease, &outcome)), Err(CodecError::Field("report.answer")));
    outcome.status = Some(503);
    assert_eq!(reported(&report(lease, &outcome)), Ok((lease, outcome)));
    assert_eq!(Answer::default().shared(), None);
}

fn refusal(status: u16, answer: Option<Arc<Answer>>) -> Outcome {
    Outcome {
        class: Class::Rejected,
        status: Some(status),
        retry_after: None,
        duration: Duration::ZERO,
        error: None,
        answer,
    }
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let words = || proptest::option::of("[ -~]{1,40}").prop_map(|words| words.map(Into::into));
    (words(), words(), proptest::option::of("[ -~\n\tü]{1,80}"), any::<bool>())
        .prop_map(|(reason, location, body, cut)| Answer { reason, location, body: body.map(Into::into), cut })
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let class = prop_oneof![Just(Class::Rejected), Just(Class::Busy), Just(Class::Unreachable), Just(Class::Refused)];
    let status = proptest::option::of(prop_oneof![100_u16..200, 300_u16..1000]);
    let retry_after = proptest::option::of((0..u64::MAX / 2).prop_map(Duration::from_millis));
    (class, status, retry_after, any::<u32>(), proptest::option::of("[a-z]{1,40}"), any_answer()).prop_map(
        |(class, status, retry_after, micros, error, answer)| Outcome {
            class: status.map_or(class, Class::of_status),
            status,
            retry_after,
            duration: Duration::from_micros(micros.into()),
            error: error.map(Into::into),
            answer: answer.shared().filter(|_| status.is_some()),
        },
    )
}

fn any_bytes(most: usize) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn any_grant() -> impl Strategy<Value = Message> {
    let lease = any::<(u128, u64, u64)>();
    let header = (any_bytes(20), any_bytes(60)).prop_map(|(name, value)| HeaderField { name, value });
    let request = (any_bytes(8), any_bytes(40), proptest::option::of(any_bytes(40)));
    (lease, any::<u32>(), any::<i64>(), request, proptest::collection::vec(header, 0..8), any_bytes(200)).prop_map(
        |((id, counter, nonce), attempt, received_at, (method, rest, query), headers, body)| {
            Message::Grant(Box::new(Grant {
                lease: Some(lease_ref((DeliveryId::from_u128(id), Token { counter, nonce }))),
                event: Bytes::copy_from_slice(&id.to_be_bytes()),
                destination: "crm".into(),
                source: "stripe".into(),
                attempt,
                received_at,
                method,
                rest,
                query,
                headers,
                body_bytes: body.len() as u64,
                body_sha256: Bytes::from(vec![0; 32]),
                body,
                ..Grant::default()
            }))
        },
    )
}

/// Pieces of which hostile grants are made: header fields, what is around them, and what could make a count lose its way.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let header = (0..200_usize).prop_map(|count| [0x52, 0].repeat(count));
    let fixed: &[&[u8]] = &[
        &[0x1a, 0],
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0xfd, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3, 4],
        &[0xd2, 0x80, 0x80, 0x80, 0x80, 0x00, 0],
        &[0x81, 0x02, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x82, 0x02, 2, 0x52, 0],
        &[0x54],
        &[0x57],
    ];
    let fixed = fixed.iter().map(|piece| piece.to_vec()).collect::<Vec<_>>();
    prop_oneof![header, prop::sample::select(fixed), prop::collection::vec(any::<u8>(), 0..6)]
}

proptest! {
    /// S11: whatever the decoder would take, the count has counted.
    #[test]
    fn the_count_misses_nothing_that_the_decoder_takes(
        grants in prop::collection::vec(prop::collection::vec(pieces(), 0..5), 1..4),
        between in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut frame = Vec::new();
        for grant in grants {
            let inside = grant.concat();
            frame.push(0x1a);
            prost::encoding::encode_varint(inside.len() as u64, &mut frame);
            frame.extend_from_slice(&inside);
            frame.extend_from_slice(&between);
        }
        if counts::check(&frame).is_ok()
            && let Ok(Frame { message: Some(Message::Grant(grant)) }) = Frame::decode(&frame[..])
        {
            prop_assert!(grant.headers.len() <= limits::HEADERS_MAX);
        }
    }
}

proptest! {
    #[test]
    fn any_grant_comes_back_as_it_was(message in any_grant()) {
        prop_assert_eq!(decode(encode(message.clone())), Ok(Some(message)));
    }

    #[test]
    fn any_outcome_comes_back_as_it_was(outcome in any_outcome(), id: u128, counter: u64, nonce: u64) {
        let lease = (DeliveryId::from_u128(id), Token { counter, nonce });
        let Ok(Some(Message::Report(report))) = decode(encode(Message::Report(report(lease, &outcome)))) else { panic!() };
        prop_assert_eq!(reported(&report), Ok((lease, outcome)));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any_bytes(300)) {
        let _ = decode(bytes);
    }

    #[test]
    fn no_spoiled_message_makes_it_panic(which in 0_usize..10, at: proptest::sample::Index, byte: u8) {
        let mut bytes = encode(samples().swap_remove(which).1).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Some(Message::Hello(hello))) = decode(bytes.into()) {
            let _ = greeting(&hello);
        }
    }
}
