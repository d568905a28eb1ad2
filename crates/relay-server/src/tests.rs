//! What tests of several rooms begin with.

mod lines;

use std::sync::Arc;

use bytes::Bytes;
use relay_core::{delivery::Delivery, event::Event, id::IdMint, storage::Append, time::Wall};

pub(crate) use lines::Lines;

/// A webhook that this source took: nothing but its path.
pub(crate) fn event(mint: &mut IdMint, at: Wall, source: &str) -> Event {
    Event {
        id: mint.event(at),
        source: source.parse().unwrap(),
        method: Bytes::from_static(b"POST"),
        path: format!("/webhook/{source}").into(),
        query: None,
        headers: Vec::new(),
        body: Bytes::new(),
        body_sha256: [0; 32],
        received_at: at,
        name: None,
        key: None,
    }
}

/// It is to be stored with these deliveries, however late and whatever it repeats.
pub(crate) fn append(event: Event, deliveries: Vec<Delivery>) -> Append {
    Append { event: Arc::new(event), deliveries, dedupe: None, deadline: Wall::MAX }
}
