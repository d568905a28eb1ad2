//! What names the deliveries that were made of an event later: one behind the other, each with a seal of its own, since scripts add to
//! them.

use crc32fast::Hasher;
use relay_core::id::{DeliveryId, EventId};

use crate::record::RecordError;

/// Bytes of one: the id, and the CRC-32 of the event's id and of it.
const NAMED: usize = 20;

/// Where it is not known whom it named: it does not hold.
pub(super) const UNKNOWN: [u8; NAMED] = [0; NAMED];

/// Names a delivery as one of this event.
pub(super) fn write(event: EventId, id: DeliveryId) -> [u8; NAMED] {
    let mut named = [0; NAMED];
    let (bits, seal) = named.split_at_mut(16);
    bits.copy_from_slice(&id.as_u128().to_be_bytes());
    let mut crc = Hasher::new();
    crc.update(&event.as_u128().to_be_bytes());
    crc.update(bits);
    seal.copy_from_slice(&crc.finalize().to_be_bytes());
    named
}

/// What stands there: those that hold, and whether all of it does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replays {
    /// In the order in which they were made.
    pub(super) ids: Vec<DeliveryId>,
    /// What does not hold names nobody knows whom.
    pub(super) whole: Result<(), RecordError>,
}

/// Reads those of this event.
pub(super) fn read(event: EventId, bytes: &[u8]) -> Replays {
    let (all, rest) = bytes.as_chunks::<NAMED>();
    let mut found = Replays { ids: Vec::with_capacity(all.len()), whole: Ok(()) };
    for named in all {
        let [bits @ .., _, _, _, _] = named;
        let id = DeliveryId::from_u128(u128::from_be_bytes(*bits));
        if *named == write(event, id) {
            found.ids.push(id);
        } else {
            found.whole = Err(RecordError::Checksum);
        }
    }
    if !rest.is_empty() {
        found.whole = Err(RecordError::Short);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I18: of what is spoilt the others hold, and that something is spoilt is seen.
    #[test]
    fn each_holds_for_itself() {
        let event = EventId::from_u128(7 << 80);
        let ids = [1_u128, 2, 3].map(DeliveryId::from_u128);
        let bytes = ids.map(|id| write(event, id)).concat();
        assert_eq!(read(event, &bytes), Replays { ids: ids.to_vec(), whole: Ok(()) });
        assert_eq!(read(EventId::from_u128(8), &bytes).ids, []);
        assert!(read(event, &UNKNOWN).whole.is_err());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let found = read(event, &bad);
            assert_eq!((found.ids.len(), found.whole), (2, Err(RecordError::Checksum)), "bit {bit}");
        }
        let cut = read(event, &bytes[..41]);
        assert_eq!((cut.ids.len(), cut.whole), (2, Err(RecordError::Short)));
    }
}
