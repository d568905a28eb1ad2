//! Stretches of time of which something is missing or may be: restores, accepted losses, ledgers that cannot vouch.

use relay_core::time::Wall;
use rusqlite::{Connection, params};

use crate::{
    record::{RecordError, seal::of_columns},
    seam::{Gap, Why},
    sqlite::fault::Fault,
};

/// Keeps one; gives its CRC, for the chain hash.
pub(crate) fn add(db: &Connection, gap: &Gap) -> Result<u32, Fault> {
    let crc = crc(gap);
    db.prepare_cached("INSERT INTO gaps (why, since, until, commits, events, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            gap.why as i64,
            gap.since.as_micros(),
            gap.until.as_micros(),
            gap.commits.map(u64::cast_signed),
            gap.events.map(u64::cast_signed),
            crc
        ])?;
    Ok(crc)
}

/// All of them, the oldest first. There are few: each is somebody's doing, or a disk's.
pub(crate) fn all(db: &Connection) -> Result<Vec<Gap>, Fault> {
    let damaged = || Fault::record(&"what is known to be missing", &RecordError::Checksum);
    read(db)?.into_iter().map(|(_, gap)| gap.ok_or_else(damaged)).collect()
}

/// Removes those that do not hold; whether there were any.
pub(crate) fn remove_damaged(db: &Connection) -> Result<bool, Fault> {
    let damaged: Vec<i64> = read(db)?.into_iter().filter(|(_, gap)| gap.is_none()).map(|(seq, _)| seq).collect();
    for seq in &damaged {
        db.prepare_cached("DELETE FROM gaps WHERE seq = ?1")?.execute([seq])?;
    }
    Ok(!damaged.is_empty())
}

/// Each with its row; `None`: it does not hold.
fn read(db: &Connection) -> Result<Vec<(i64, Option<Gap>)>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT seq, why, since, until, commits, events, crc FROM gaps ORDER BY seq")?;
    let rows = statement.query_map([], |row| {
        let code: i64 = row.get(1)?;
        let number = |column| row.get::<_, Option<i64>>(column).map(|number| number.map(i64::cast_unsigned));
        let (since, until) = (Wall::from_micros(row.get(2)?), Wall::from_micros(row.get(3)?));
        let (commits, events, kept) = (number(4)?, number(5)?, row.get::<_, i64>(6)?);
        let why = Why::ALL.into_iter().find(|why| *why as i64 == code);
        let gap = why.map(|why| Gap { why, since, until, commits, events });
        Ok((row.get(0)?, gap.filter(|gap| i64::from(crc(gap)) == kept)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn crc(gap: &Gap) -> u32 {
    let number = |number: Option<u64>| number.map(u64::to_le_bytes);
    let (commits, events) = (number(gap.commits), number(gap.events));
    // One that nobody knows is an empty column.
    let shown = |bytes: &Option<[u8; 8]>| bytes.map_or_else(Vec::new, |bytes| bytes.to_vec());
    of_columns(&[
        &[gap.why as u8],
        &gap.since.as_micros().to_le_bytes(),
        &gap.until.as_micros().to_le_bytes(),
        &shown(&commits),
        &shown(&events),
    ])
}
