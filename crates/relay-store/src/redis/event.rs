//! An event's value: what leads from it to the rest, its head, and its body. The layout is in `docs/internals/redis.md`.
//!
//! **Invariant:** nothing of it is used unless its seal holds: what goes with an event is decided by the ids in front of it.

use std::{num::NonZeroU8, sync::Arc};

use bytes::Bytes;
use crc32fast::Hasher;
use relay_core::{
    event::Event,
    id::{DeliveryId, EventId},
    name::Name,
    storage::Append,
};

use super::place::{ENTRY, Place};
use crate::{
    cipher::Ciphers,
    record::{self, Head, Names, RecordError, seal::Fields},
};

/// Bytes that hold what stands in front of a body, nearly always.
pub(super) const HEAD_GUESS: usize = 4 * 1024;
/// CRC-32 of the id, and of all between the entry and itself.
const SEAL: usize = 4;

/// Writes an event with the ids of its deliveries and its key.
pub(super) fn write(append: &Append, ciphers: &Ciphers) -> Vec<u8> {
    let event = &append.event;
    let mut out = Vec::with_capacity(event.body.len() + 1024);
    out.extend(format!("{:<ENTRY$}", Place::of_id(event.id.as_u128()).to_string()).bytes());
    out.extend((append.deliveries.len() as u16).to_be_bytes());
    for delivery in &append.deliveries {
        out.extend(delivery.id.as_u128().to_be_bytes());
    }
    let key: &[u8] = append.dedupe.as_ref().map_or(&[], |dedupe| &dedupe.key);
    for part in [key, event.source.as_str().as_bytes()] {
        out.push(part.len() as u8);
        out.extend(part);
    }
    write_behind(out, event, ciphers)
}

/// Writes the rest behind the name of the source: how long the head is, the seal, head and body.
fn write_behind(mut out: Vec<u8>, event: &Event, ciphers: &Ciphers) -> Vec<u8> {
    let length_at = out.len();
    let seal_at = length_at + 4;
    out.extend([0; 4 + SEAL]);
    record::encode_event(event, 0, None, ciphers, &mut out);
    let length = (out.len() - seal_at - SEAL) as u32;
    out[length_at..seal_at].copy_from_slice(&length.to_be_bytes());
    let seal = seal(event.id, &out[ENTRY..seal_at]);
    out[seal_at..seal_at + SEAL].copy_from_slice(&seal);
    out.extend(&record::encode_body(event, ciphers)[..]);
    out
}

/// The same event sealed with the newest key, with what stands in front of the body of the one that it is made of; `None`: it is
/// so already.
///
/// # Errors
/// As [`read`].
pub(super) fn resealed(id: EventId, value: &Bytes, ciphers: &Ciphers) -> Result<Option<(Bytes, Vec<u8>)>, RecordError> {
    let SealedHead { head_at, .. } = read_sealed(id, value)?.map_err(|_| RecordError::Short)?;
    if record::key_of_head(&value[head_at..]) == Some(ciphers.newest_number()) {
        return Ok(None);
    }
    let front = read_front(id, value, ciphers)?.map_err(|_| RecordError::Short)?;
    let before = value.slice(..front.body_at);
    let event = front.head.with_body(value.slice(front.body_at..))?;
    let mut out = Vec::with_capacity(value.len() + 256);
    out.extend(&value[..head_at - SEAL - 4]);
    Ok(Some((before, write_behind(out, &event, ciphers))))
}

/// What is erased of an event, with all that it is decided on.
pub(super) struct Erasing {
    /// What stands in front of its head, and its source.
    pub(super) front: Front,
    /// How its value begins, up to the body.
    pub(super) begin: Bytes,
    /// What takes its place, as long; `None`: it is so already.
    pub(super) erased: Option<Vec<u8>>,
}

/// The same event erased.
///
/// # Errors
/// As [`read_front`].
pub(super) fn erased(id: EventId, value: &Bytes, ciphers: &Ciphers) -> Result<Erasing, RecordError> {
    let SealedHead { head_at, .. } = read_sealed(id, value)?.map_err(|_| RecordError::Short)?;
    let front = read_front(id, value, ciphers)?.map_err(|_| RecordError::Short)?;
    let begin = value.slice(..front.body_at);
    let erased = (!front.head.event.is_erased()).then(|| {
        let mut out = Vec::with_capacity(value.len() + 256);
        out.extend(&value[..head_at - SEAL - 4]);
        write_behind(out, &front.head.erased(), ciphers)
    });
    Ok(Erasing { front, begin, erased })
}

fn seal(id: EventId, front: &[u8]) -> [u8; SEAL] {
    let mut crc = Hasher::new();
    crc.update(&id.as_u128().to_be_bytes());
    crc.update(front);
    crc.finalize().to_be_bytes()
}

/// What stands in front of a body.
pub(super) struct Front {
    /// Ids of those it was stored with.
    pub(super) deliveries: Vec<DeliveryId>,
    /// What stands between entry and head, its seal behind it: scripts compare it with what is there before they remove anything.
    pub(super) sealed: Bytes,
    /// The head.
    pub(super) head: Head,
    /// Where the body begins.
    pub(super) body_at: usize,
}

impl Front {
    /// The dedupe key that it took.
    pub(super) fn key(&self) -> Option<[u8; 32]> {
        let mut fields = Fields::plain(&self.sealed);
        fields.take(2 + 16 * self.deliveries.len()).ok()?;
        let length = usize::from(fields.u8().ok()?);
        fields.take(length).ok()?.try_into().ok()
    }
}

/// Ids that stand in front of an event, if they and what else can be seen of it hold.
///
/// # Errors
/// Those of the head, as far as that is among these bytes, and [`RecordError::Checksum`].
pub(super) fn read_ids(id: EventId, value: &Bytes, ciphers: &Ciphers) -> Result<Vec<DeliveryId>, RecordError> {
    match read_front(id, value, ciphers)? {
        Ok(front) => Ok(front.deliveries),
        Err(_) => match read_sealed(id, value)? {
            Ok(sealed) => Ok(sealed.deliveries),
            Err(_) => Err(RecordError::Short),
        },
    }
}

/// What is sealed in front of a head.
struct SealedHead<'a> {
    deliveries: Vec<DeliveryId>,
    source: &'a [u8],
    head_at: usize,
    head_length: usize,
}

/// Reads what is sealed in front of this event's head; else how many bytes of the value that takes.
fn read_sealed(id: EventId, value: &[u8]) -> Result<Result<SealedHead<'_>, usize>, RecordError> {
    let mut fields = Fields::plain(value);
    let count = match fields.take(ENTRY).and_then(|_| fields.array()) {
        Ok(count) => usize::from(u16::from_be_bytes(count)),
        Err(_) => return Err(RecordError::Short),
    };
    let needs = ENTRY + 2 + 16 * count + HEAD_GUESS;
    let Ok(ids) = fields.take(16 * count) else { return Ok(Err(needs)) };
    let (ids, _) = ids.as_chunks::<16>();
    let deliveries = ids.iter().map(|id| DeliveryId::from_u128(u128::from_be_bytes(*id))).collect();
    let Ok((source, head_length)) = source_and_length(&mut fields) else { return Ok(Err(needs)) };
    let seal_at = value.len() - fields.rest().len();
    let Ok(found) = fields.array::<SEAL>() else { return Ok(Err(needs)) };
    if found != seal(id, &value[ENTRY..seal_at]) {
        return Err(RecordError::Checksum);
    }
    Ok(Ok(SealedHead { deliveries, source, head_at: seal_at + SEAL, head_length }))
}

/// Reads what stands in front of this event's body; else how many bytes of the value that takes.
///
/// # Errors
/// Those of the head, and [`RecordError::Checksum`].
pub(super) fn read_front(id: EventId, value: &Bytes, ciphers: &Ciphers) -> Result<Result<Front, usize>, RecordError> {
    let SealedHead { deliveries, source, head_at, head_length } = match read_sealed(id, value)? {
        Ok(sealed) => sealed,
        Err(needs) => return Ok(Err(needs)),
    };
    let body_at = head_at + head_length;
    if value.len() < body_at {
        return Ok(Err(body_at));
    }
    let source = std::str::from_utf8(source).ok().and_then(|source| source.parse().ok());
    let source: Name = source.ok_or(RecordError::Field("a name"))?;
    let head = record::decode_event(&value.slice(head_at..body_at), &Inline(source, ciphers))?;
    if head.event.id != id {
        return Err(RecordError::Field("its id"));
    }
    Ok(Ok(Front { deliveries, sealed: value.slice(ENTRY..head_at), head, body_at }))
}

/// Reads an event whole.
///
/// # Errors
/// Those of its head, and [`RecordError::Body`].
pub(super) fn read(id: EventId, value: &Bytes, ciphers: &Ciphers) -> Result<Arc<Event>, RecordError> {
    let front = read_front(id, value, ciphers)?.map_err(|_| RecordError::Short)?;
    Ok(Arc::new(front.head.with_body(value.slice(front.body_at..))?))
}

fn source_and_length<'a>(fields: &mut Fields<'a>) -> Result<(&'a [u8], usize), RecordError> {
    let key = usize::from(fields.u8()?);
    fields.take(key)?;
    let source = usize::from(fields.u8()?);
    let source = fields.take(source)?;
    Ok((source, u32::from_be_bytes(fields.array()?) as usize))
}

/// Names stand where they are used.
struct Inline<'a>(Name, &'a Ciphers);

impl Names for Inline<'_> {
    fn name(&self, number: u32) -> Option<Name> {
        (number == 0).then(|| self.0.clone())
    }

    fn event_name(&self, _source: u32, _number: NonZeroU8) -> Option<Arc<str>> {
        None
    }

    fn ciphers(&self) -> &Ciphers {
        self.1
    }
}
