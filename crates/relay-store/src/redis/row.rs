//! A delivery's row: a header that scripts compare and cut, then its names and its sealed record. The layout is in
//! `docs/internals/redis.md`.
//!
//! **Invariant:** nothing of a row is used unless its record holds and its header says the same.

use std::{num::NonZeroU8, sync::Arc};

use relay_core::{
    delivery::{self, Delivery, Lease, State, Token},
    id::{DeliveryId, EventId, InstanceId},
    name::Name,
    time::Wall,
};

use super::{place::ENTRY, text};
use crate::{
    cipher::Ciphers,
    record::{self, Names, RecordError, seal::Fields},
};

/// Where a due time stands.
pub(super) const DUE_AT: i64 = 28;
const LAYOUT: u8 = b'1';
/// In the place of the numbers that names have elsewhere.
const SOURCE: u32 = 0;
const DESTINATION: u32 = 1;
/// Of what is never tried and due: it may wait in the stream.
const IN_TURN: u8 = b'r';
/// Of all else, until a script says where it stands.
const OUT_OF_TURN: u8 = b'-';
const LEASED_HERE: u8 = b'1';
const LEASED_IN_RECORD: u8 = b'0';

/// What a script compares: state, version and fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    /// A digit.
    pub(super) state: [u8; 1],
    /// Big-endian.
    pub(super) version: [u8; 8],
    /// Counter and nonce.
    pub(super) fence: [u8; 16],
}

impl Decided {
    /// On this record.
    pub(super) fn on(record: &Delivery) -> Self {
        Self { state: [digit(record.state)], version: record.version.to_be_bytes(), fence: fence(record.token) }
    }
}

/// A fence's bytes.
pub(super) fn fence(token: Token) -> [u8; 16] {
    ((u128::from(token.counter) << 64) | u128::from(token.nonce)).to_be_bytes()
}

/// A state's digit.
pub(super) fn digit(state: State) -> u8 {
    b'0' + state as u8
}

/// Who took a lease and when, with its CRC.
pub(super) fn taken(instance: InstanceId, keeper: u64, since: Wall) -> Vec<u8> {
    let mut out = instance.as_u128().to_be_bytes().to_vec();
    out.extend(keeper.to_be_bytes());
    out.extend(since.as_micros().to_be_bytes());
    sealed(out)
}

/// A lease's end, with its CRC.
pub(super) fn end(until: Wall) -> Vec<u8> {
    sealed(text::moment(until).into_bytes())
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

/// Writes a row. Where it stands a script fills in.
pub(super) fn write(delivery: &Delivery, ciphers: &Ciphers) -> Vec<u8> {
    let in_turn = delivery.state == State::Ready && delivery.tries == 0 && delivery.due_at <= delivery.changed_at;
    let mut row = Vec::with_capacity(512);
    row.extend([LAYOUT, digit(delivery.state), if in_turn { IN_TURN } else { OUT_OF_TURN }, LEASED_IN_RECORD]);
    row.extend(delivery.version.to_be_bytes());
    row.extend(fence(delivery.token));
    for at in [delivery.due_at, delivery.expires_at, delivery.changed_at] {
        row.extend(text::moment(at).bytes());
    }
    row.extend(delivery.body_bytes.to_be_bytes());
    row.extend(format!("{:010}", delivery.tries).bytes());
    row.extend(delivery.event.as_u128().to_be_bytes());
    row.extend([b' '; 2 * ENTRY]);
    let none = Lease { instance: InstanceId::from_u128(0), keeper: 0, since: Wall::MIN, until: Wall::MIN };
    let lease = delivery.lease.unwrap_or(none);
    row.extend(taken(lease.instance, lease.keeper, lease.since));
    row.extend(end(lease.until));
    row.extend(b"0000000000");
    let names_at = row.len();
    for name in [&delivery.destination, &delivery.source] {
        row.push(name.as_str().len() as u8);
        row.extend(name.as_str().bytes());
    }
    row.extend(crc32fast::hash(&row[names_at..]).to_be_bytes());
    record::encode_delivery(delivery, SOURCE, DESTINATION, ciphers, &mut row);
    row
}

/// The same row, whose answer is sealed with the newest key; `None`: it has none, or is so already.
///
/// # Errors
/// As [`read`].
pub(super) fn resealed(id: DeliveryId, row: &[u8], ciphers: &Ciphers) -> Result<Option<Vec<u8>>, RecordError> {
    read(id, row, ciphers)?;
    let mut fields = Fields::plain(row);
    header(&mut fields)?;
    let (destination, source) = (name(&mut fields)?, name(&mut fields)?);
    fields.array::<4>()?;
    // The record as it was written, without what its header says since.
    let sealed = fields.rest();
    let (delivery, key) = record::decode_sealed_delivery(sealed, &Inline { source, destination, ciphers })?;
    if key.is_none_or(|key| key == ciphers.newest_number()) {
        return Ok(None);
    }
    let mut out = row[..row.len() - sealed.len()].to_vec();
    record::encode_delivery(&delivery, SOURCE, DESTINATION, ciphers, &mut out);
    Ok(Some(out))
}

/// The same row, whose answer is [erased](relay_core::delivery::answer::Answer::erased); `None`: it has none, or is so already.
///
/// # Errors
/// As [`read`].
pub(super) fn erased(id: DeliveryId, row: &[u8], ciphers: &Ciphers) -> Result<Option<Vec<u8>>, RecordError> {
    read(id, row, ciphers)?;
    let (front, delivery) = as_written(row, ciphers)?;
    let Some(last) = delivery.last.as_ref().and_then(record::erased_attempt) else { return Ok(None) };
    let mut out = front.to_vec();
    record::encode_delivery(&Delivery { last: Some(last), ..delivery }, SOURCE, DESTINATION, ciphers, &mut out);
    Ok(Some(out))
}

/// What stands in front of a row's record, and the record as it was written, without what its header says since.
fn as_written<'a>(row: &'a [u8], ciphers: &Ciphers) -> Result<(&'a [u8], Delivery), RecordError> {
    let mut fields = Fields::plain(row);
    header(&mut fields)?;
    let (destination, source) = (name(&mut fields)?, name(&mut fields)?);
    fields.array::<4>()?;
    let sealed = fields.rest();
    let delivery = record::decode_delivery(sealed, &Inline { source, destination, ciphers })?;
    Ok((&row[..row.len() - sealed.len()], delivery))
}

/// Names stand where they are used.
struct Inline<'a> {
    source: Name,
    destination: Name,
    ciphers: &'a Ciphers,
}

impl Names for Inline<'_> {
    fn name(&self, number: u32) -> Option<Name> {
        match number {
            SOURCE => Some(self.source.clone()),
            DESTINATION => Some(self.destination.clone()),
            _ => None,
        }
    }

    fn event_name(&self, _source: u32, _number: NonZeroU8) -> Option<Arc<str>> {
        None
    }

    fn ciphers(&self) -> &Ciphers {
        self.ciphers
    }
}

/// What a header says.
struct Header {
    state: u8,
    overlay: u8,
    version: u64,
    fence: [u8; 16],
    times: [Wall; 3],
    body_bytes: u64,
    tries: u32,
    event: EventId,
    lease: Lease,
    extensions: u32,
}

/// Reads the row of this delivery.
///
/// # Errors
/// Any [`RecordError`] but those of bodies and names.
pub(super) fn read(id: DeliveryId, row: &[u8], ciphers: &Ciphers) -> Result<Delivery, RecordError> {
    let mut fields = Fields::plain(row);
    let header = header(&mut fields)?;
    let named = fields.rest();
    let (destination, source) = (name(&mut fields)?, name(&mut fields)?);
    let named = &named[..named.len() - fields.rest().len()];
    if crc32fast::hash(named) != u32::from_be_bytes(fields.array()?) {
        return Err(RecordError::Checksum);
    }
    let record = record::decode_delivery(fields.rest(), &Inline { source, destination, ciphers })?;
    let found = with_overlay(record, &header);
    if found.id == id && says_the_same(&header, &found) { Ok(found) } else { Err(RecordError::Field("its header")) }
}

fn header(fields: &mut Fields<'_>) -> Result<Header, RecordError> {
    match fields.u8()? {
        LAYOUT => {}
        // Layouts are digits; all else is none.
        other if other.is_ascii_digit() => return Err(RecordError::Version(other)),
        _ => return Err(RecordError::Field("its layout")),
    }
    let (state, _place, overlay) = (fields.u8()?, fields.u8()?, fields.u8()?);
    let version = u64::from_be_bytes(fields.array()?);
    let fence = fields.array()?;
    let times = [moment(fields)?, moment(fields)?, moment(fields)?];
    let body_bytes = u64::from_be_bytes(fields.array()?);
    let tries = decimal(fields)?;
    let event = EventId::from_u128(u128::from_be_bytes(fields.array()?));
    for _ in 0..2 {
        entry(fields)?;
    }
    let [instance, keeper, since] = checked(fields.array::<36>()?, |bytes| {
        let (instance, rest) = bytes.split_first_chunk::<16>()?;
        let (keeper, since) = rest.split_first_chunk::<8>()?;
        let since = since.first_chunk::<8>()?;
        Some([u128::from_be_bytes(*instance), u64::from_be_bytes(*keeper).into(), u64::from_be_bytes(*since).into()])
    })?;
    let until = checked(fields.array::<20>()?, text::read_moment)?;
    let lease = Lease {
        instance: InstanceId::from_u128(instance),
        keeper: keeper as u64,
        since: Wall::from_micros(since as i64),
        until,
    };
    let extensions = decimal(fields)?;
    Ok(Header { state, overlay, version, fence, times, body_bytes, tries, event, lease, extensions })
}

/// The record as it is by now: leased since it was written, and its lease extended.
fn with_overlay(record: Delivery, header: &Header) -> Delivery {
    let Header { lease, extensions, .. } = header;
    let mut found = if header.overlay == LEASED_HERE {
        let nonce = u128::from_be_bytes(header.fence) as u64;
        delivery::leased(&record, lease.instance, nonce, lease.since, lease.until)
    } else {
        record
    };
    if *extensions > 0
        && let Some(held) = &mut found.lease
    {
        held.until = lease.until;
        found.version += u64::from(*extensions);
    }
    found
}

fn says_the_same(header: &Header, found: &Delivery) -> bool {
    let times = [found.due_at, found.expires_at, found.changed_at].map(text::moment);
    let lease = found.lease.is_none_or(|lease| {
        let until = text::moment(lease.until) == text::moment(header.lease.until);
        until && Lease { until: header.lease.until, ..lease } == header.lease
    });
    header.state == digit(found.state)
        && header.version == found.version
        && header.fence == fence(found.token)
        && header.times.map(text::moment) == times
        && header.body_bytes == found.body_bytes
        && header.tries == found.tries
        && header.event == found.event
        && lease
}

fn name(fields: &mut Fields<'_>) -> Result<Name, RecordError> {
    let length = usize::from(fields.u8()?);
    fields.text_of(length, "a name")?.parse().map_err(|_| RecordError::Field("a name"))
}

fn moment(fields: &mut Fields<'_>) -> Result<Wall, RecordError> {
    text::read_moment(fields.take(text::MOMENT)?).ok_or(RecordError::Field("a moment"))
}

/// The name of an entry of a stream, or blanks.
fn entry(fields: &mut Fields<'_>) -> Result<(), RecordError> {
    let text = fields.text_of(ENTRY, "an entry")?.trim_end_matches(' ');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_one = text.split_once('-').is_some_and(|(ms, number)| is_number(ms) && is_number(number));
    if is_one || text.is_empty() { Ok(()) } else { Err(RecordError::Field("an entry")) }
}

fn decimal(fields: &mut Fields<'_>) -> Result<u32, RecordError> {
    fields.text_of(10, "a number")?.parse().map_err(|_| RecordError::Field("a number"))
}

/// What stands in front of a CRC, if that holds.
fn checked<const N: usize, T>(bytes: [u8; N], read: impl Fn(&[u8]) -> Option<T>) -> Result<T, RecordError> {
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or(RecordError::Short)?;
    if crc32fast::hash(content) != u32::from_be_bytes(*crc) {
        return Err(RecordError::Checksum);
    }
    read(content).ok_or(RecordError::Field("a lease"))
}

#[cfg(test)]
mod tests;
