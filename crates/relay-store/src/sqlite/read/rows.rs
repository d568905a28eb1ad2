//! Reading rows: every one is checked against its CRC and against the columns that repeat it.

use bytes::Bytes;
use relay_core::{
    delivery::Delivery,
    event::Event,
    id::{COUNTER_BITS, COUNTER_MASK, EventId},
};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, Statement};

use crate::{
    record::{
        self, Head, Names, RecordError,
        seal::{Fields, Sealing},
    },
    sqlite::{
        fault::Fault,
        files::{damage::Damage, schema},
    },
};

/// Of a list of an event's deliveries.
const LIST_VERSION: u8 = 1;
/// What tells the list of those that were made later from the list that the event was stored with.
const REPLAYS: &[u8] = b"replays";

/// Bytes of a body that is read like any column. Of what is larger SQLite would make a copy for as long as the row is at hand,
/// in memory that no budget knows of.
const BODY_IN_ONE_MAX: i64 = 64 * 1024;

/// What [`delivery_by`] runs.
pub(crate) const DELIVERY: &str = "SELECT state, due, record FROM deliveries WHERE seq = ?1";
/// What [`event_by`] runs.
/// Both lists of an event's deliveries.
const LISTED: &str = "SELECT deliveries, (SELECT deliveries FROM replays WHERE event = ?1) FROM events WHERE seq = ?1";
/// The same behind its head.
const HEAD: &str =
    "SELECT head, deliveries, (SELECT deliveries FROM replays WHERE event = ?1) FROM events WHERE seq = ?1";
const EVENT: &str = "SELECT head, CASE WHEN length(body) <= ?2 THEN body END FROM events WHERE seq = ?1";

/// One delivery by its sequence.
pub(crate) fn delivery_at(db: &Connection, seq: i64, names: &(impl Names + ?Sized)) -> Result<Option<Delivery>, Fault> {
    delivery_by(&mut *db.prepare_cached(DELIVERY)?, seq, names)
}

/// The same by [`DELIVERY`], prepared by whoever reads many: to look it up each time costs a fifth of running it.
pub(crate) fn delivery_by(
    statement: &mut Statement<'_>,
    seq: i64,
    names: &(impl Names + ?Sized),
) -> Result<Option<Delivery>, Fault> {
    let mut rows = statement.query([seq])?;
    rows.next()?.map(|row| delivery(seq, row, names)).transpose()
}

/// What a delivery's record says, whatever stands in the columns beside it.
pub(crate) fn record_at(db: &Connection, seq: i64, names: &impl Names) -> Result<Option<Delivery>, Fault> {
    let mut statement = db.prepare_cached(DELIVERY)?;
    let mut rows = statement.query([seq])?;
    rows.next()?.map(|row| record(seq, row, names)).transpose()
}

/// Decodes a row of [`DELIVERY`], which must be of this record.
fn record(seq: i64, row: &Row<'_>, names: &(impl Names + ?Sized)) -> Result<Delivery, Fault> {
    let bytes = row.get_ref(2)?.as_blob().unwrap_or_default();
    let found = record::decode_delivery(bytes, names);
    match found {
        Ok(found) if found.id.sequence() == seq => Ok(found),
        Ok(_) => Err(damaged_delivery(seq, &RecordError::Field("the id"))),
        Err(error) => Err(damaged_delivery(seq, &error)),
    }
}

/// The same, and the columns must repeat it.
fn delivery(seq: i64, row: &Row<'_>, names: &(impl Names + ?Sized)) -> Result<Delivery, Fault> {
    let found = record(seq, row, names)?;
    let (state, due): (i64, i64) = (row.get(0)?, row.get(1)?);
    if schema::code_of(&found) != state || found.due_at.as_micros() != due {
        return Err(damaged_delivery(seq, &RecordError::Field("an index column")));
    }
    Ok(found)
}

/// An event's head and the sequences of its deliveries.
pub(crate) fn head_at(db: &Connection, seq: i64, names: &impl Names) -> Result<Option<(Head, Vec<i64>)>, Fault> {
    let mut statement = db.prepare_cached(HEAD)?;
    let mut rows = statement.query([seq])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let head = head(seq, row.get(0)?, names)?;
    Ok(Some((head, listed(seq, row, 1)?)))
}

/// An event with its body.
pub(crate) fn event_at(db: &Connection, seq: i64, names: &impl Names) -> Result<Option<Event>, Fault> {
    event_by(&mut *event_statement(db)?, db, seq, names)
}

/// For [`event_by`].
pub(crate) fn event_statement(db: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    db.prepare_cached(EVENT)
}

/// The same by a statement that is prepared once for many.
pub(crate) fn event_by(
    statement: &mut Statement<'_>,
    db: &Connection,
    seq: i64,
    names: &impl Names,
) -> Result<Option<Event>, Fault> {
    let mut rows = statement.query([seq, BODY_IN_ONE_MAX])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let body = match row.get::<_, Option<Vec<u8>>>(1)? {
        Some(body) => body,
        None => body_in_place(db, seq)?,
    };
    let event = head(seq, row.get(0)?, names)?.with_body(Bytes::from(body));
    event.map(Some).map_err(|error| damaged_event(seq, &error))
}

/// A body from its pages straight to where it is to be.
fn body_in_place(db: &Connection, seq: i64) -> Result<Vec<u8>, Fault> {
    let blob = db.blob_open("main", "events", "body", seq, true)?;
    let mut body = vec![0; blob.len()];
    blob.read_at_exact(&mut body, 0)?;
    Ok(body)
}

/// The sequences of an event's deliveries; empty if the event is gone.
pub(crate) fn deliveries_of(db: &Connection, event_seq: i64) -> Result<Vec<i64>, Fault> {
    let mut statement = db.prepare_cached(LISTED)?;
    let mut rows = statement.query([event_seq])?;
    rows.next()?.map_or_else(|| Ok(Vec::new()), |row| listed(event_seq, row, 0))
}

/// The sequences of deliveries that an event was stored with.
pub(crate) fn first_of(db: &Connection, event_seq: i64) -> Result<Vec<i64>, Fault> {
    let mut statement = db.prepare_cached("SELECT deliveries FROM events WHERE seq = ?1")?;
    let stored: Option<Option<Vec<u8>>> = statement.query_row([event_seq], |row| row.get(0)).optional()?;
    sequences(event_seq, &[], stored.flatten().as_deref())
}

/// The sequences of deliveries that were made of an event after it was stored.
pub(crate) fn replays_of(db: &Connection, event_seq: i64) -> Result<Vec<i64>, Fault> {
    let mut statement = db.prepare_cached("SELECT deliveries FROM replays WHERE event = ?1")?;
    let stored: Option<Vec<u8>> = statement.query_row([event_seq], |row| row.get(0)).optional()?;
    sequences(event_seq, REPLAYS, stored.as_deref())
}

/// The two lists that stand in a row from that column on.
fn listed(event_seq: i64, row: &Row<'_>, from: usize) -> Result<Vec<i64>, Fault> {
    let mut all = sequences(event_seq, &[], row.get_ref(from)?.as_blob_or_null().unwrap_or_default())?;
    all.extend(sequences(event_seq, REPLAYS, row.get_ref(from + 1)?.as_blob_or_null().unwrap_or_default())?);
    Ok(all)
}

/// Writes the list of an event's deliveries; `None` if there are none.
pub(crate) fn encode_sequences(event_seq: i64, listed: impl Iterator<Item = i64>) -> Option<Vec<u8>> {
    let mut listed = listed.peekable();
    listed.peek()?;
    Some(encode_list(event_seq, &[], listed).0)
}

/// Writes the list of those that were made of it later; gives its CRC, too.
pub(crate) fn encode_replays(event_seq: i64, listed: &[i64]) -> (Vec<u8>, u32) {
    encode_list(event_seq, REPLAYS, listed.iter().copied())
}

fn encode_list(event_seq: i64, which: &[u8], listed: impl Iterator<Item = i64>) -> (Vec<u8>, u32) {
    let mut bytes = Vec::new();
    let mut record = Sealing::begin(LIST_VERSION, &mut bytes).about(&event_seq.to_le_bytes()).about(which);
    listed.for_each(|seq| record.i64(seq));
    let crc = record.end();
    (bytes, crc)
}

/// Reads a list of an event's deliveries.
fn sequences(event_seq: i64, which: &[u8], bytes: Option<&[u8]>) -> Result<Vec<i64>, Fault> {
    let Some(bytes) = bytes else { return Ok(Vec::new()) };
    let words = Fields::open(LIST_VERSION, &[&event_seq.to_le_bytes(), which], bytes).and_then(Fields::words);
    let words =
        words.map_err(|error| Fault::record(&format_args!("deliveries of event {}", shown(event_seq)), &error))?;
    Ok(words.iter().map(|word| i64::from_le_bytes(*word)).collect())
}

/// Decodes an event's head and checks that it belongs to this row.
pub(crate) fn head(seq: i64, bytes: Vec<u8>, names: &impl Names) -> Result<Head, Fault> {
    let head = record::decode_event(&Bytes::from(bytes), names).map_err(|error| damaged_event(seq, &error))?;
    if head.event.id.sequence() == seq { Ok(head) } else { Err(damaged_event(seq, &RecordError::Field("the id"))) }
}

/// Passes over a damaged record, which is noted: one bad record must not hold up the others.
pub(crate) fn passing_over_damage<T>(damage: &Damage, read: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    read.or_else(|fault| damage.pass(fault).map(|()| None))
}

/// What an event is called where its record does not read.
pub(crate) fn named_event(seq: i64) -> String {
    format!("event {}", shown(seq))
}

/// That an event reads and its body is not the one that was taken.
pub(crate) fn body_without_digest(event: EventId) -> String {
    format!("{event}: the body does not have its SHA-256")
}

/// A damaged event, named.
pub(crate) fn damaged_event(seq: i64, error: &RecordError) -> Fault {
    Fault::record(&named_event(seq), error)
}

/// A damaged delivery, named.
pub(crate) fn damaged_delivery(seq: i64, error: &RecordError) -> Fault {
    Fault::record(&format_args!("delivery {}", shown(seq)), error)
}

/// A sequence as the start of the id it comes from.
fn shown(seq: i64) -> String {
    let (ms, counter) = (seq >> COUNTER_BITS, seq & COUNTER_MASK);
    format!("{:08x}-{:04x}-7{counter:03x}", ms >> 16, ms & 0xffff)
}
