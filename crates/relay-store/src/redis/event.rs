//! An event's value: what leads from it to the rest, its head, and its body. The layout is in `docs/internals/redis.md`.

use std::{num::NonZeroU8, sync::Arc};

use bytes::Bytes;
use relay_core::{event::Event, id::DeliveryId, name::Name, storage::Append};

use super::place::{ENTRY, Place};
use crate::record::{self, Head, Names, RecordError, seal::Fields};

/// Bytes that hold what stands in front of a body, nearly always.
pub(super) const HEAD_GUESS: usize = 4 * 1024;

/// Writes an event with the ids of its deliveries and its key.
pub(super) fn write(append: &Append) -> Vec<u8> {
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
    let length_at = out.len();
    out.extend([0; 4]);
    record::encode_event(event, 0, None, &mut out);
    let length = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    out.extend(&event.body);
    out
}

/// What stands in front of a body.
pub(super) struct Front {
    /// Ids of those it was stored with.
    pub(super) deliveries: Vec<DeliveryId>,
    /// The head.
    pub(super) head: Head,
    /// Where the body begins.
    pub(super) body_at: usize,
}

/// Reads what stands in front of a body; else how many bytes of the value that takes.
///
/// # Errors
/// Those of the head.
pub(super) fn read_front(value: &Bytes) -> Result<Result<Front, usize>, RecordError> {
    let mut fields = Fields::plain(value);
    let count = match fields.take(ENTRY).and_then(|_| fields.array()) {
        Ok(count) => usize::from(u16::from_be_bytes(count)),
        Err(_) => return Err(RecordError::Short),
    };
    let ids_end = ENTRY + 2 + 16 * count;
    let Ok(ids) = fields.take(16 * count) else { return Ok(Err(ids_end + HEAD_GUESS)) };
    let (ids, _) = ids.as_chunks::<16>();
    let deliveries = ids.iter().map(|id| DeliveryId::from_u128(u128::from_be_bytes(*id))).collect();
    let (source, length) = match source_and_length(&mut fields) {
        Ok(found) => found,
        Err(RecordError::Short) => return Ok(Err(ids_end + HEAD_GUESS)),
        Err(error) => return Err(error),
    };
    let head_at = value.len() - fields.rest().len();
    let Ok(_) = fields.take(length) else { return Ok(Err(head_at + length)) };
    let source: Name = source.parse().map_err(|_| RecordError::Field("a name"))?;
    let head = record::decode_event(&value.slice(head_at..head_at + length), &Inline(source))?;
    Ok(Ok(Front { deliveries, head, body_at: head_at + length }))
}

/// Reads an event whole.
///
/// # Errors
/// Those of its head, and [`RecordError::Body`].
pub(super) fn read(value: &Bytes) -> Result<Arc<Event>, RecordError> {
    let front = read_front(value)?.map_err(|_| RecordError::Short)?;
    Ok(Arc::new(front.head.with_body(value.slice(front.body_at..))?))
}

fn source_and_length<'a>(fields: &mut Fields<'a>) -> Result<(&'a str, usize), RecordError> {
    let key = usize::from(fields.u8()?);
    fields.take(key)?;
    let source = usize::from(fields.u8()?);
    let source = fields.text_of(source, "a name")?;
    Ok((source, u32::from_be_bytes(fields.array()?) as usize))
}

/// Names stand where they are used.
struct Inline(Name);

impl Names for Inline {
    fn name(&self, number: u32) -> Option<Name> {
        (number == 0).then(|| self.0.clone())
    }

    fn event_name(&self, _source: u32, _number: NonZeroU8) -> Option<Arc<str>> {
        None
    }
}
