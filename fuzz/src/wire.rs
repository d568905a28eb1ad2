//! Any bytes as a message between client and server, and every value inside it that is read later.

use bytes::Bytes;
use relay_core::wire::{codec, message::Message};

/// Decodes; what can be decoded comes back the same from its own encoding.
pub fn run(data: &[u8]) {
    let Ok(Some(message)) = codec::decode(Bytes::copy_from_slice(data)) else { return };
    read(&message);
    let again = codec::decode(codec::encode(message.clone()));
    assert_eq!(again, Ok(Some(message)));
}

/// Whether the bytes are a message. For seeds.
pub fn is_message(data: &[u8]) -> bool {
    matches!(codec::decode(Bytes::copy_from_slice(data)), Ok(Some(_)))
}

fn read(message: &Message) {
    match message {
        Message::Hello(hello) => drop(codec::greeting(hello)),
        Message::Grant(grant) => {
            let _ = codec::event_id(grant);
            let _ = codec::body_digest(grant);
            let _ = codec::required_lease(grant.lease.as_ref());
        }
        Message::Report(report) => drop(codec::reported(report)),
        Message::Welcome(_)
        | Message::Chunk(_)
        | Message::Extend(_)
        | Message::Settled(_)
        | Message::Release(_)
        | Message::GoAway(_)
        | Message::Peers(_) => {}
    }
}
