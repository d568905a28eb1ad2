//! Any bytes as a stored record, as they are and with a checksum that holds: behind it nothing is checked before it is read.

use std::{
    num::NonZeroU8,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use relay_core::{
    delivery::{Attempt, Delivery, Lease, State, Token, answer::Answer, outcome::Class},
    event::Event,
    id::{DeliveryId, EventId, InstanceId},
    name::Name,
    time::Wall,
};
use relay_store::{
    cipher::Ciphers,
    record::{self, Names},
};

const CHECKSUM_BYTES: usize = 4;

/// Reads the bytes as an event, a delivery and an attempt; what can be read comes back the same from its own encoding.
pub fn run(data: &[u8]) {
    read(data);
    if let Some(content) = data.len().checked_sub(CHECKSUM_BYTES).map(|end| &data[..end]) {
        read(&[content, &crc32fast::hash(content).to_le_bytes()].concat());
    }
}

fn read(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let mut out = Vec::new();
    if let Ok(head) = record::decode_event(&bytes, &Known)
        && head.body_bytes == 0
    {
        // The body is another record; without one the head is whole.
        let source = if Known.name(1).as_ref() == Some(&head.event.source) { 1 } else { 2 };
        for number in [None, NUMBER.filter(|_| head.event.name.as_deref() == Some(NAMED))] {
            out.clear();
            record::encode_event(&head.event, source, number, &CLEAR, &mut out);
            let again = record::decode_event(&Bytes::copy_from_slice(&out), &Known);
            assert_eq!(again.expect("it was just written").event, head.event);
        }
    }
    if let Ok(delivery) = record::decode_delivery(&bytes, &Known) {
        out.clear();
        record::encode_delivery(&delivery, 1, 2, &CLEAR, &mut out);
        let again = record::decode_delivery(&out, &Pair([&delivery.source, &delivery.destination]));
        assert_eq!(again.as_ref(), Ok(&delivery));
    }
    if let Ok(attempt) = record::decode_attempt(&bytes, 0, &CLEAR) {
        out.clear();
        record::encode_attempt(&attempt, 0, &CLEAR, &mut out);
        assert_eq!(record::decode_attempt(&out, 0, &CLEAR).as_ref(), Ok(&attempt));
    }
}

/// Whether the bytes are a record of some kind. For seeds.
pub fn is_record(data: &[u8]) -> bool {
    record::decode_event(&Bytes::copy_from_slice(data), &Known).is_ok()
        || record::decode_delivery(data, &Known).is_ok()
        || record::decode_attempt(data, 0, &CLEAR).is_ok()
}

/// A record of each kind, with its name.
pub fn samples() -> [(&'static str, Vec<u8>); 6] {
    let event = Event {
        id: EventId::from_u128(0x0192_f3c2_7d4e_7a31_8f5e_2b1c_9d0e_4f6a),
        source: name(1).expect("known"),
        method: Bytes::from_static(b"POST"),
        path: Bytes::from_static(b"/webhook/stripe/a%2Fb"),
        query: Some(Bytes::from_static(b"x=1")),
        headers: vec![(Bytes::from_static(b"content-type"), Bytes::from_static(b"text/plain")); 2],
        body: Bytes::new(),
        body_sha256: [7; 32],
        received_at: Wall::from_micros(1_700_000_000_000_001),
        name: Some(NAMED.into()),
        key: Some("cron".parse().expect("a name")),
    };
    let attempt = Attempt {
        number: 2,
        at: Wall::from_micros(1_700_000_000_000_009),
        duration_ms: 17,
        status: Some(503),
        class: Class::Busy,
        counted: true,
        error: Some("busy".into()),
        answer: None,
    };
    let location = Some("/hooks/".into());
    let answer = Answer { reason: Some("No".into()), location, body: Some("CSRF\n".into()), cut: true };
    let answered = Attempt { answer: answer.shared(), ..attempt.clone() };
    let id = DeliveryId::from_u128(0x0192_f3c2_7d4e_7a32_8f5e_2b1c_9d0e_4f6a);
    let ready = Delivery::ready(id, &event, name(2).expect("known"), true, event.received_at, Duration::from_secs(60));
    let (since, until) = (Wall::from_micros(5), Wall::from_micros(6));
    let lease = Lease { instance: InstanceId::from_u128(77), keeper: u64::MAX, since, until };
    let leased = Delivery {
        state: State::Leased,
        token: Token { counter: 3, nonce: u64::MAX },
        lease: Some(lease),
        mark: Some(0),
        last: Some(attempt.clone()),
        ..ready.clone()
    };
    let written = |write: &dyn Fn(&mut Vec<u8>) -> u32| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    [
        ("event", written(&|out| record::encode_event(&event, 1, None, &CLEAR, out))),
        ("numbered", written(&|out| record::encode_event(&event, 1, NUMBER, &CLEAR, out))),
        ("ready", written(&|out| record::encode_delivery(&ready, 1, 2, &CLEAR, out))),
        ("leased", written(&|out| record::encode_delivery(&leased, 1, 2, &CLEAR, out))),
        ("attempt", written(&|out| record::encode_attempt(&attempt, 0, &CLEAR, out))),
        ("answered", written(&|out| record::encode_attempt(&answered, 0, &CLEAR, out))),
    ]
}

/// What the numbers stand for.
struct Known;

/// A name of events that has a number, and which.
const NAMED: &str = "invoice.paid";
const NUMBER: Option<NonZeroU8> = NonZeroU8::new(1);

impl Names for Known {
    fn name(&self, number: u32) -> Option<Name> {
        name(number)
    }

    fn event_name(&self, _source: u32, number: NonZeroU8) -> Option<Arc<str>> {
        (Some(number) == NUMBER).then(|| NAMED.into())
    }

    fn ciphers(&self) -> &Ciphers {
        &CLEAR
    }
}

/// The names of one delivery, from number 1 on.
struct Pair<'a>([&'a Name; 2]);

impl Names for Pair<'_> {
    fn name(&self, number: u32) -> Option<Name> {
        self.0.get((number as usize).checked_sub(1)?).map(|name| (*name).clone())
    }

    fn event_name(&self, _source: u32, _number: NonZeroU8) -> Option<Arc<str>> {
        None
    }

    fn ciphers(&self) -> &Ciphers {
        &CLEAR
    }
}

/// No keys.
static CLEAR: LazyLock<Ciphers> = LazyLock::new(Ciphers::default);

/// The name behind a number.
fn name(number: u32) -> Option<Name> {
    match number {
        1 => "stripe".parse().ok(),
        2 => "crm".parse().ok(),
        _ => None,
    }
}
