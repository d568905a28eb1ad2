//! The events of each source, for listing and counting them: one row per millisecond instead of one index entry per event.
//!
//! A row holds, of each of the source's events in that millisecond, the low 12 bits of its sequence (2 bytes) and what stands
//! for its name (1 byte: a number of [`event_names`](super::event_names), 255 for a name that only its head has, 0 for none).
//! They rise.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    record,
    sqlite::{fault::Fault, files::schema::SEQ_BITS},
};

const STORED: &str = "SELECT seqs FROM of_source WHERE source = ?1 AND ms = ?2";
const UPDATE: &str = "UPDATE of_source SET seqs = ?3 WHERE source = ?1 AND ms = ?2";
const PAGE: &str = "SELECT ms, seqs FROM of_source WHERE source = ?1 AND ms <= ?2 AND ms >= ?3 ORDER BY ms DESC";
const PAGE_OLDEST: &str = "SELECT ms, seqs FROM of_source WHERE source = ?1 AND ms <= ?2 AND ms >= ?3 ORDER BY ms";
/// Bytes of an event.
const ENTRY: usize = 3;

/// An event of a source, and what stands for its name.
pub(crate) type Listed = (i64, u8);

/// Notes new events, as source, sequence and what stands for their names.
pub(crate) fn add(db: &Connection, new: &mut [(u32, i64, u8)]) -> Result<(), Fault> {
    new.sort_unstable();
    let place = |(source, seq, _): (u32, i64, u8)| (source, seq >> SEQ_BITS);
    for group in new.chunk_by(|one, next| place(*one) == place(*next)) {
        let (source, ms) = place(group[0]);
        let seqs = encode(group.iter().map(|(_, seq, code)| (*seq, *code)));
        let mut insert = db.prepare_cached("INSERT INTO of_source VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
        if insert.execute(params![source, ms, seqs])? == 0 {
            let mut all = stored(db, source, ms)?;
            all.extend(group.iter().map(|(_, seq, code)| (*seq, *code)));
            all.sort_unstable();
            db.prepare_cached(UPDATE)?.execute(params![source, ms, encode(all.into_iter())])?;
        }
    }
    Ok(())
}

/// Forgets an event; gives what stood for its name.
pub(crate) fn remove(db: &Connection, source: u32, seq: i64) -> Result<Option<u8>, Fault> {
    let ms = seq >> SEQ_BITS;
    let mut left = stored(db, source, ms)?;
    let gone = left.iter().position(|(one, _)| *one == seq).map(|at| left.remove(at).1);
    if left.is_empty() {
        db.prepare_cached("DELETE FROM of_source WHERE source = ?1 AND ms = ?2")?.execute(params![source, ms])?;
    } else {
        db.prepare_cached(UPDATE)?.execute(params![source, ms, encode(left.into_iter())])?;
    }
    Ok(gone)
}

/// The newest, or the oldest, events of a source from `since` and before `before`, at most `wanted`, in that order.
pub(crate) fn page(
    db: &Connection,
    source: u32,
    range: (i64, i64),
    wanted: usize,
    oldest_first: bool,
) -> Result<Vec<i64>, Fault> {
    let mut found = Vec::new();
    walk(db, source, range, oldest_first, |seq, _| {
        found.push(seq);
        Ok(found.len() < wanted)
    })?;
    Ok(found)
}

/// Goes through a source's events from the first and before the second of `range`, the newest or the oldest first, as long as
/// `each` says so; whether it was stopped.
pub(crate) fn walk(
    db: &Connection,
    source: u32,
    (since, before): (i64, i64),
    oldest_first: bool,
    mut each: impl FnMut(i64, u8) -> Result<bool, Fault>,
) -> Result<bool, Fault> {
    let mut statement = db.prepare_cached(if oldest_first { PAGE_OLDEST } else { PAGE })?;
    let mut rows = statement.query(params![source, before >> SEQ_BITS, since >> SEQ_BITS])?;
    while let Some(row) = rows.next()? {
        let listed = decode(row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
        let mut listed: Vec<Listed> = listed.filter(|(seq, _)| (since..before).contains(seq)).collect();
        if !oldest_first {
            listed.reverse();
        }
        for (seq, code) in listed {
            if !each(seq, code)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What stands for an event's name, if it is noted.
pub(crate) fn code(db: &Connection, source: u32, seq: i64) -> Result<Option<u8>, Fault> {
    Ok(stored(db, source, seq >> SEQ_BITS)?.into_iter().find(|(one, _)| *one == seq).map(|(_, code)| code))
}

/// How many events of each source are noted.
pub(crate) fn count(db: &Connection) -> Result<Vec<(u32, u64)>, Fault> {
    let mut statement = db.prepare_cached("SELECT source, sum(length(seqs)) FROM of_source GROUP BY source")?;
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64 / ENTRY as u64)))?;
    Ok(counts.collect::<rusqlite::Result<_>>()?)
}

/// Gives, of each source and span of so many milliseconds in which it has events with names, how many have each code, in the
/// order of all three, as long as `each` says so.
pub(crate) fn by_span(
    db: &Connection,
    millis: i64,
    mut each: impl FnMut(u32, i64, &BTreeMap<u8, i64>) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let mut statement = db.prepare("SELECT source, ms, seqs FROM of_source ORDER BY source, ms")?;
    let mut rows = statement.query([])?;
    let (mut at, mut counted) = (None, BTreeMap::new());
    loop {
        let row = rows.next()?;
        let place = row.map(|row| Ok::<_, Fault>((row.get(0)?, row.get::<_, i64>(1)?))).transpose()?;
        let next = place.map(|(source, ms): (u32, i64)| (source, ms / millis));
        if let Some((source, span)) = at.filter(|_| at != next) {
            if !counted.is_empty() && !each(source, span, &counted)? {
                return Ok(());
            }
            counted.clear();
        }
        let (Some(row), Some((_, ms))) = (row, place) else { return Ok(()) };
        at = next;
        for (_, code) in decode(ms, row.get_ref(2)?.as_blob().unwrap_or_default()).filter(|(_, code)| *code != 0) {
            *counted.entry(code).or_insert(0) += 1;
        }
    }
}

/// Makes all of it anew from the events.
pub(crate) fn rebuild(db: &Connection) -> Result<(), Fault> {
    const AT_ONCE: usize = 10_000;
    db.execute_batch("DELETE FROM of_source")?;
    let mut statement = db.prepare("SELECT source, seq, head FROM events ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut some = Vec::with_capacity(AT_ONCE);
    while let Some(row) = rows.next()? {
        let code = record::name_of(row.get_ref(2)?.as_blob().unwrap_or_default()).unwrap_or(0);
        some.push((row.get(0)?, row.get(1)?, code));
        if some.len() == AT_ONCE {
            add(db, &mut some)?;
            some.clear();
        }
    }
    add(db, &mut some)
}

fn stored(db: &Connection, source: u32, ms: i64) -> Result<Vec<Listed>, Fault> {
    let mut statement = db.prepare_cached(STORED)?;
    let seqs = statement
        .query_row(params![source, ms], |row| Ok(decode(ms, row.get_ref(0)?.as_blob().unwrap_or_default()).collect()));
    Ok(seqs.optional()?.unwrap_or_default())
}

fn encode(listed: impl Iterator<Item = Listed>) -> Vec<u8> {
    let entry = |(seq, code): Listed| {
        let low = ((seq & ((1 << SEQ_BITS) - 1)) as u16).to_le_bytes();
        [low[0], low[1], code]
    };
    listed.flat_map(entry).collect()
}

fn decode(ms: i64, bytes: &[u8]) -> impl Iterator<Item = Listed> + use<'_> {
    let entry =
        move |[low, high, code]: &[u8; ENTRY]| ((ms << SEQ_BITS) | i64::from(u16::from_le_bytes([*low, *high])), *code);
    bytes.as_chunks::<ENTRY>().0.iter().map(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::files::schema;

    #[test]
    fn events_are_listed_newest_first_across_milliseconds_and_forgotten_one_by_one() {
        let db = Connection::open_in_memory().expect("opens");
        schema::create(&db).expect("makes tables");
        let seqs = [(5 << SEQ_BITS) | 4095, 5 << SEQ_BITS, 9 << SEQ_BITS, (9 << SEQ_BITS) | 7];
        let mut new: Vec<(u32, i64, u8)> = seqs.iter().map(|seq| (1, *seq, 3)).chain([(2, seqs[0] - 1, 0)]).collect();
        add(&db, &mut new).expect("writes");
        add(&db, &mut [(1, (9 << SEQ_BITS) | 3, 255)]).expect("writes");
        assert_eq!(count(&db).expect("counts"), [(1, 5), (2, 1)]);
        let all = page(&db, 1, (i64::MIN, i64::MAX), 9, false).expect("reads");
        assert_eq!(all, [seqs[3], (9 << SEQ_BITS) | 3, seqs[2], seqs[0], seqs[1]]);
        assert_eq!(page(&db, 1, (seqs[1], seqs[3]), 2, false).expect("reads"), all[1..3]);
        assert_eq!(page(&db, 1, (seqs[0], seqs[2]), 9, false).expect("reads"), [seqs[0]]);
        let mut spans = Vec::new();
        let all_spans = |source, span, counted: &BTreeMap<u8, i64>| {
            spans.push((source, span, counted.clone()));
            Ok(true)
        };
        by_span(&db, 6, all_spans).expect("reads");
        assert_eq!(spans, [(1, 0, BTreeMap::from([(3, 2)])), (1, 1, BTreeMap::from([(3, 2), (255, 1)]))]);
        for seq in all {
            let code = if seq == (9 << SEQ_BITS) | 3 { 255 } else { 3 };
            assert_eq!(code_of(&db, seq), Some(code));
            assert_eq!(remove(&db, 1, seq).expect("writes"), Some(code));
            assert_eq!(code_of(&db, seq), None);
        }
        assert_eq!(count(&db).expect("counts"), [(2, 1)]);
    }

    fn code_of(db: &Connection, seq: i64) -> Option<u8> {
        code(db, 1, seq).expect("reads")
    }
}
