//! The webhook that all rows of these benchmarks store: 1 KiB of body, and the headers that a platform sends.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use relay_core::{
    delivery::{Change, Delivery, State},
    event::Event,
    id::{EventId, IdMint},
    name::Name,
    storage::{Append, Dedupe},
    time::Wall,
};

/// TTL of its delivery.
pub(crate) const TTL: Duration = Duration::from_hours(24);
/// Its body.
pub(crate) const BODY: [u8; 1024] = [b'x'; 1024];

/// A new one with a delivery that waits.
pub(crate) fn append(mint: &mut IdMint, now: Wall, keyed: bool) -> Append {
    let event = event(mint.event(now), now);
    let delivery = Delivery::ready(mint.delivery(now), &event, name("crm"), false, now, TTL);
    let dedupe = keyed.then(|| Dedupe { key: key(event.id), until: now + TTL });
    Append { event: Arc::new(event), deliveries: vec![delivery], dedupe, deadline: Wall::MAX }
}

fn event(id: EventId, received_at: Wall) -> Event {
    let header = |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
    Event {
        id,
        source: name("stripe"),
        method: Bytes::from_static(b"POST"),
        path: Bytes::from_static(b"/webhook/stripe"),
        query: None,
        headers: vec![
            header("host", "relay.example.com"),
            header("content-type", "application/json"),
            header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
            header(
                "stripe-signature",
                "t=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd",
            ),
        ],
        body: Bytes::from_static(&BODY),
        body_sha256: [7; 32],
        received_at,
        name: None,
        key: None,
    }
}

/// Spread like a digest, without the cost of one.
fn key(id: EventId) -> [u8; 32] {
    let mixed = id.as_u128().wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
    let mut key = [0; 32];
    key[..16].copy_from_slice(&mixed);
    key[16..].copy_from_slice(&mixed);
    key
}

/// The change that its delivery makes.
pub(crate) fn delivered(before: Delivery, now: Wall) -> Change {
    let version = before.version + 1;
    let next = Delivery { version, state: State::Delivered, lease: None, changed_at: now, ..before.clone() };
    Change { before, next, archive: None }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}
