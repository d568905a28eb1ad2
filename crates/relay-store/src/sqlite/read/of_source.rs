//! The events of each source, for listing and counting them: one row per millisecond instead of one index entry per event.
//!
//! A row holds the low 12 bits of the sequences of the source's events in that millisecond, 2 bytes each, rising.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::{fault::Fault, files::schema::SEQ_BITS};

const STORED: &str = "SELECT seqs FROM of_source WHERE source = ?1 AND ms = ?2";
const UPDATE: &str = "UPDATE of_source SET seqs = ?3 WHERE source = ?1 AND ms = ?2";
const PAGE: &str = "SELECT ms, seqs FROM of_source WHERE source = ?1 AND ms <= ?2 AND ms >= ?3 ORDER BY ms DESC";

const PAGE_OLDEST: &str = "SELECT ms, seqs FROM of_source WHERE source = ?1 AND ms <= ?2 AND ms >= ?3 ORDER BY ms";

/// Notes new events, as source and sequence.
pub(crate) fn add(db: &Connection, new: &mut [(u32, i64)]) -> Result<(), Fault> {
    new.sort_unstable();
    let place = |(source, seq): (u32, i64)| (source, seq >> SEQ_BITS);
    for group in new.chunk_by(|one, next| place(*one) == place(*next)) {
        let (source, ms) = place(group[0]);
        let seqs = encode(group.iter().map(|(_, seq)| *seq));
        let mut insert = db.prepare_cached("INSERT INTO of_source VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
        if insert.execute(params![source, ms, seqs])? == 0 {
            let mut all = stored(db, source, ms)?;
            all.extend(group.iter().map(|(_, seq)| *seq));
            all.sort_unstable();
            db.prepare_cached(UPDATE)?.execute(params![source, ms, encode(all.into_iter())])?;
        }
    }
    Ok(())
}

/// Forgets an event.
pub(crate) fn remove(db: &Connection, source: u32, seq: i64) -> Result<(), Fault> {
    let ms = seq >> SEQ_BITS;
    let mut left = stored(db, source, ms)?;
    left.retain(|one| *one != seq);
    if left.is_empty() {
        db.prepare_cached("DELETE FROM of_source WHERE source = ?1 AND ms = ?2")?.execute(params![source, ms])?;
    } else {
        db.prepare_cached(UPDATE)?.execute(params![source, ms, encode(left.into_iter())])?;
    }
    Ok(())
}

/// The newest, or the oldest, events of a source from `since` and before `before`, at most `wanted`, in that order.
pub(crate) fn page(
    db: &Connection,
    source: u32,
    (since, before): (i64, i64),
    wanted: usize,
    oldest_first: bool,
) -> Result<Vec<i64>, Fault> {
    let mut statement = db.prepare_cached(if oldest_first { PAGE_OLDEST } else { PAGE })?;
    let mut rows = statement.query(params![source, before >> SEQ_BITS, since >> SEQ_BITS])?;
    let mut found = Vec::new();
    while found.len() < wanted
        && let Some(row) = rows.next()?
    {
        let seqs = decode(row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
        let seqs: Vec<i64> = if oldest_first { seqs.collect() } else { seqs.rev().collect() };
        found.extend(seqs.into_iter().filter(|seq| (since..before).contains(seq)));
    }
    found.truncate(wanted);
    Ok(found)
}

/// Whether an event is noted.
pub(crate) fn has(db: &Connection, source: u32, seq: i64) -> Result<bool, Fault> {
    Ok(stored(db, source, seq >> SEQ_BITS)?.contains(&seq))
}

/// How many events of each source are noted.
pub(crate) fn count(db: &Connection) -> Result<Vec<(u32, u64)>, Fault> {
    let mut statement = db.prepare_cached("SELECT source, sum(length(seqs)) / 2 FROM of_source GROUP BY source")?;
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
    Ok(counts.collect::<rusqlite::Result<_>>()?)
}

/// Makes all of it anew from the events.
pub(crate) fn rebuild(db: &Connection) -> Result<(), Fault> {
    const AT_ONCE: usize = 10_000;
    db.execute_batch("DELETE FROM of_source")?;
    let mut statement = db.prepare("SELECT source, seq FROM events ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut some = Vec::with_capacity(AT_ONCE);
    while let Some(row) = rows.next()? {
        some.push((row.get(0)?, row.get(1)?));
        if some.len() == AT_ONCE {
            add(db, &mut some)?;
            some.clear();
        }
    }
    add(db, &mut some)
}

fn stored(db: &Connection, source: u32, ms: i64) -> Result<Vec<i64>, Fault> {
    let mut statement = db.prepare_cached(STORED)?;
    let seqs = statement
        .query_row(params![source, ms], |row| Ok(decode(ms, row.get_ref(0)?.as_blob().unwrap_or_default()).collect()));
    Ok(seqs.optional()?.unwrap_or_default())
}

fn encode(seqs: impl Iterator<Item = i64>) -> Vec<u8> {
    seqs.flat_map(|seq| ((seq & ((1 << SEQ_BITS) - 1)) as u16).to_le_bytes()).collect()
}

fn decode(ms: i64, bytes: &[u8]) -> impl DoubleEndedIterator<Item = i64> + use<'_> {
    bytes.as_chunks::<2>().0.iter().map(move |low| (ms << SEQ_BITS) | i64::from(u16::from_le_bytes(*low)))
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
        let mut new: Vec<(u32, i64)> = seqs.iter().map(|seq| (1, *seq)).chain([(2, seqs[0] - 1)]).collect();
        add(&db, &mut new).expect("writes");
        add(&db, &mut [(1, (9 << SEQ_BITS) | 3)]).expect("writes");
        assert_eq!(count(&db).expect("counts"), [(1, 5), (2, 1)]);
        let all = page(&db, 1, (i64::MIN, i64::MAX), 9, false).expect("reads");
        assert_eq!(all, [seqs[3], (9 << SEQ_BITS) | 3, seqs[2], seqs[0], seqs[1]]);
        assert_eq!(page(&db, 1, (seqs[1], seqs[3]), 2, false).expect("reads"), all[1..3]);
        assert_eq!(page(&db, 1, (seqs[0], seqs[2]), 9, false).expect("reads"), [seqs[0]]);
        for seq in all {
            assert!(has(&db, 1, seq).expect("reads"));
            remove(&db, 1, seq).expect("writes");
            assert!(!has(&db, 1, seq).expect("reads"));
        }
        assert_eq!(count(&db).expect("counts"), [(2, 1)]);
    }
}
