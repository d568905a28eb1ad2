//! Stretches of time of which a restored store does not know what happened in them: from the backup to the restore.

use relay_core::time::Wall;
use rusqlite::{Connection, params};

use super::fault::Fault;
use crate::{record::RecordError, seam::Gap};

/// Keeps one; gives its CRC, for the chain hash.
pub(super) fn add(db: &Connection, gap: &Gap) -> Result<u32, Fault> {
    let crc = crc(gap);
    db.prepare_cached("INSERT INTO gaps (since, until, commits, events, crc) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
        params![
            gap.since.as_micros(),
            gap.until.as_micros(),
            gap.commits.map(u64::cast_signed),
            gap.events.map(u64::cast_signed),
            crc
        ],
    )?;
    Ok(crc)
}

/// All of them, the oldest first. There are as many as there were restores.
pub(super) fn all(db: &Connection) -> Result<Vec<Gap>, Fault> {
    let mut statement = db.prepare_cached("SELECT since, until, commits, events, crc FROM gaps ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut gaps = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |column| row.get::<_, Option<i64>>(column).map(|number| number.map(i64::cast_unsigned));
        let gap = Gap {
            since: Wall::from_micros(row.get(0)?),
            until: Wall::from_micros(row.get(1)?),
            commits: number(2)?,
            events: number(3)?,
        };
        if i64::from(crc(&gap)) != row.get::<_, i64>(4)? {
            return Err(Fault::record(&"what a restore does not know", &RecordError::Checksum));
        }
        gaps.push(gap);
    }
    Ok(gaps)
}

fn crc(gap: &Gap) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for at in [gap.since, gap.until] {
        hasher.update(&at.as_micros().to_le_bytes());
    }
    for number in [gap.commits, gap.events] {
        hasher.update(&[u8::from(number.is_some())]);
        hasher.update(&number.unwrap_or(0).to_le_bytes());
    }
    hasher.finalize()
}
