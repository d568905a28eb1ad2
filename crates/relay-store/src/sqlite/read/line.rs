//! Lines: fresh deliveries of one destination and one TTL, in the order of their ids.
//!
//! A delivery that was just made is due behind every one made before it, and with the same TTL it expires behind them too.
//! So as long as it waits for its first lease it needs no index of due times, tries or ends of TTLs: the order of the rows
//! is all three. Whatever breaks the order when it is stored, or comes back from a lease, is no longer in line, and the
//! indexes of the backlog have it.
//!
//! **Invariant:** within a line neither `due` nor `expires` falls as `seq` rises.

use std::collections::HashMap;

use relay_core::delivery::{Delivery, State};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, Statement, params};

use super::rows;
use crate::{
    record::Names,
    sqlite::{
        fault::Fault,
        files::{damage::Damage, schema::SEQ_BITS},
    },
};

/// Lines of a destination that one run begins: a route has one TTL, and an operator changes it now and then.
const LINES_MAX: usize = 16;
const MICROS_A_MILLI: i64 = 1000;
/// Rows looked at around the place where a moment is expected, before the search halves its range.
const NEAR: i64 = 64;

/// The next line of a destination.
const NEXT_LINE: &str = "SELECT line FROM deliveries INDEXED BY by_state
    WHERE dest = ?1 AND state = 10 AND line > ?2 ORDER BY line LIMIT 1";
/// A line behind a row.
const BEHIND: &str = "SELECT seq, due FROM deliveries INDEXED BY by_state
    WHERE dest = ?1 AND state = 10 AND line = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4";
/// A line before a row, newest first.
const NEWEST: &str = "SELECT seq, due FROM deliveries INDEXED BY by_state
    WHERE dest = ?1 AND state = 10 AND line = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4";
/// The last of a line before a row.
const BEFORE: &str = "SELECT seq, due FROM deliveries INDEXED BY by_state
    WHERE dest = ?1 AND state = 10 AND line = ?2 AND seq <= ?3 ORDER BY seq DESC LIMIT ?4";
/// In the place of a limit.
const ALL: i64 = -1;

/// Where the lines end, for the writer. Forgotten after a rollback.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// By destination: TTL, last row, its due time.
    ends: HashMap<u32, Vec<(i64, Waits)>>,
}

/// A delivery in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) seq: i64,
    pub(crate) due: i64,
}

impl Lines {
    /// Puts a new delivery at the end of its line; `None` if it does not belong there.
    pub(crate) fn join(&mut self, db: &Connection, dest: u32, new: &Delivery) -> Result<Option<i64>, Fault> {
        if new.state != State::Ready || new.tries > 0 {
            return Ok(None);
        }
        let waits = Waits { seq: new.id.sequence(), due: new.due_at.as_micros() };
        let Some(ttl) = line_of(new) else { return Ok(None) };
        let ends = self.ends.entry(dest).or_default();
        let Some((_, end)) = ends.iter_mut().find(|(line, _)| *line == ttl) else {
            if ends.len() >= LINES_MAX {
                return Ok(None);
            }
            let last = Line { dest, ttl }.last(db)?;
            let joins = last.is_none_or(|last| waits.is_behind(last));
            ends.push((ttl, last.filter(|_| !joins).unwrap_or(waits)));
            return Ok(joins.then_some(ttl));
        };
        if !waits.is_behind(*end) {
            return Ok(None);
        }
        *end = waits;
        Ok(Some(ttl))
    }
}

impl Waits {
    fn is_behind(self, other: Self) -> bool {
        self.seq > other.seq && self.due >= other.due
    }
}

/// What names the line of a delivery within its destination: its TTL in microseconds, of whole milliseconds. What lies between
/// two of them, and below zero, is for lines and places of later versions.
pub(crate) fn line_of(delivery: &Delivery) -> Option<i64> {
    Some(delivery.expires_at.as_micros() - delivery.due_at.as_micros()).filter(|ttl| is_known(*ttl))
}

/// Whether a line, or the place of what is in none, is one of this version.
pub(crate) const fn is_known(line: i64) -> bool {
    line >= 0 && line % MICROS_A_MILLI == 0
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    dest: u32,
    pub(crate) ttl: i64,
}

impl Line {
    /// The lines of a destination: as many as there are TTLs among what waits in line.
    pub(crate) fn all(db: &Connection, dest: u32) -> Result<Vec<Self>, Fault> {
        let mut statement = db.prepare_cached(NEXT_LINE)?;
        let mut lines: Vec<Self> = Vec::new();
        let mut behind = -1;
        loop {
            let next = statement.query_row(params![dest, behind], |row| row.get(0)).optional()?;
            let Some(ttl) = next else { return Ok(lines) };
            behind = ttl;
            if is_known(ttl) {
                lines.push(Self { dest, ttl });
            }
        }
    }

    /// Those due behind one moment and not behind another, at most so many, in order. A damaged one may be among them.
    pub(crate) fn between(self, walk: Walk<'_>, behind: i64, by: i64, limit: usize) -> Result<Vec<Waits>, Fault> {
        let mut statement = walk.db.prepare_cached(BEHIND)?;
        let found = self.until(walk, &mut statement, i64::MIN, by, limit)?;
        if found.first().is_none_or(|head| head.due > behind) {
            return Ok(found);
        }
        match self.first_behind(walk, behind)? {
            Some(first) => self.until(walk, &mut statement, first.seq - 1, by, limit),
            None => Ok(Vec::new()),
        }
    }

    /// The same, the newest first.
    pub(crate) fn newest(self, walk: Walk<'_>, behind: i64, by: i64, limit: usize) -> Result<Vec<Waits>, Fault> {
        let end = self.first_behind(walk, by)?.map_or(i64::MAX, |first| first.seq);
        let mut statement = walk.db.prepare_cached(NEWEST)?;
        let mut rows = statement.query(params![self.dest, self.ttl, end, ALL])?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            let waits = Waits::read(row)?;
            if waits.due > behind && waits.due <= by {
                found.push(waits);
            } else if walk.holds(waits)? {
                break;
            }
        }
        Ok(found)
    }

    /// The first whose due time lies behind a moment.
    pub(crate) fn first_behind(self, walk: Walk<'_>, moment: i64) -> Result<Option<Waits>, Fault> {
        let mut statement = walk.db.prepare_cached(BEHIND)?;
        let Some(head) = self.next(walk, &mut statement, i64::MIN)? else { return Ok(None) };
        if head.due > moment {
            return Ok(Some(head));
        }
        let Some(last) = self.before(walk, i64::MAX)?.filter(|last| last.due > moment) else { return Ok(None) };
        let (mut low, mut found) = (head.seq, last);
        // Ids tell when they were made, and a delivery is due when it is made.
        let near = (moment / MICROS_A_MILLI).clamp(0, i64::MAX >> SEQ_BITS) << SEQ_BITS;
        if let Some(before) = self.before(walk, near)?
            && before.due <= moment
        {
            low = before.seq;
            let mut near = statement.query(params![self.dest, self.ttl, low, NEAR])?;
            while let Some(row) = near.next()? {
                let waits = Waits::read(row)?;
                if walk.holds(waits)? {
                    if waits.due > moment {
                        return Ok(Some(waits));
                    }
                    low = waits.seq;
                }
            }
        }
        // The one looked for lies behind `low`, and if it is not `found`, not behind `high`.
        let mut high = found.seq;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.next(walk, &mut statement, middle)? {
                Some(waits) if waits.due <= moment => low = waits.seq,
                behind => {
                    found = behind.unwrap_or(found);
                    high = middle;
                }
            }
        }
        Ok(Some(found))
    }

    /// A row that is due later than the one behind it: none, unless the store is damaged.
    pub(crate) fn out_of_order(self, db: &Connection) -> Result<Option<i64>, Fault> {
        let mut before = Waits { seq: i64::MIN, due: i64::MIN };
        let mut statement = db.prepare_cached(BEHIND)?;
        let mut rows = statement.query(params![self.dest, self.ttl, i64::MIN, i64::MAX])?;
        while let Some(row) = rows.next()? {
            let waits = Waits::read(row)?;
            if waits.due < before.due {
                return Ok(Some(before.seq));
            }
            before = waits;
        }
        Ok(None)
    }

    /// The last row, as its columns are.
    fn last(self, db: &Connection) -> Result<Option<Waits>, Fault> {
        let mut statement = db.prepare_cached(BEFORE)?;
        Ok(statement.query_row(params![self.dest, self.ttl, i64::MAX, 1], Waits::read).optional()?)
    }

    /// The last row up to a sequence that can be believed.
    fn before(self, walk: Walk<'_>, seq: i64) -> Result<Option<Waits>, Fault> {
        walk.first_that_holds(&mut *walk.db.prepare_cached(BEFORE)?, params![self.dest, self.ttl, seq, ALL])
    }

    /// The first row behind a sequence that can be believed.
    fn next(self, walk: Walk<'_>, behind: &mut CachedStatement<'_>, seq: i64) -> Result<Option<Waits>, Fault> {
        walk.first_that_holds(behind, params![self.dest, self.ttl, seq, ALL])
    }

    fn until(
        self,
        walk: Walk<'_>,
        statement: &mut CachedStatement<'_>,
        behind: i64,
        by: i64,
        limit: usize,
    ) -> Result<Vec<Waits>, Fault> {
        let mut rows = statement.query(params![self.dest, self.ttl, behind, ALL])?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            let waits = Waits::read(row)?;
            if waits.due <= by {
                found.push(waits);
            } else if walk.holds(waits)? {
                break;
            }
        }
        Ok(found)
    }
}

/// What a walk along a line reads with. A column tells when a row is due: where it would end the walk, the record has to
/// agree, for one damaged row must not hide what stands behind it.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) names: &'a dyn Names,
    pub(crate) damage: &'a Damage,
}

impl Walk<'_> {
    /// Whether what a column says can be believed. A damaged row is noted.
    fn holds(self, waits: Waits) -> Result<bool, Fault> {
        // Nearly all are due in the millisecond that their id names: both would have to be damaged, and alike.
        if waits.due.div_euclid(MICROS_A_MILLI) == waits.seq >> SEQ_BITS {
            return Ok(true);
        }
        let read = rows::delivery_at(self.db, waits.seq, self.names);
        let read = read.inspect_err(|_| self.damage.want_columns(waits.seq));
        Ok(rows::passing_over_damage(self.damage, read)?.is_some())
    }

    fn first_that_holds(self, statement: &mut Statement<'_>, line: impl Params) -> Result<Option<Waits>, Fault> {
        let mut rows = statement.query(line)?;
        while let Some(row) = rows.next()? {
            let waits = Waits::read(row)?;
            if self.holds(waits)? {
                return Ok(Some(waits));
            }
        }
        Ok(None)
    }
}

impl Waits {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { seq: row.get(0)?, due: row.get(1)? })
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU8, sync::Arc, time::Duration};

    use bytes::Bytes;
    use relay_core::{event::Event, id::DeliveryId, id::EventId, name::Name, time::Wall};

    use super::*;
    use crate::{cipher::Ciphers, record, sqlite::files::schema};

    const TTL: Duration = Duration::from_millis(9);
    const LINE: Line = Line { dest: 1, ttl: 9000 };

    /// Everything has the same name.
    struct OneName;

    impl Names for OneName {
        fn name(&self, _: u32) -> Option<Name> {
            "crm".parse().ok()
        }

        fn ciphers(&self) -> &Ciphers {
            static CLEAR: std::sync::LazyLock<Ciphers> = std::sync::LazyLock::new(Ciphers::default);
            &CLEAR
        }

        fn event_name(&self, _: u32, _: NonZeroU8) -> Option<Arc<str>> {
            None
        }
    }

    fn delivery(seq: i64, due: i64) -> Delivery {
        let id = |seq: i64| ((seq >> SEQ_BITS) as u128) << 80 | 0x7 << 76 | ((seq & 0xfff) as u128) << 64 | 1 << 63;
        let name: Name = "crm".parse().expect("a name");
        let event = Event {
            id: EventId::from_u128(id(seq)),
            source: name.clone(),
            method: Bytes::new(),
            path: Bytes::new(),
            query: None,
            headers: Vec::new(),
            body: Bytes::new(),
            body_sha256: [0; 32],
            received_at: Wall::from_micros(due),
            name: None,
            key: None,
        };
        Delivery::ready(DeliveryId::from_u128(id(seq)), &event, name, false, Wall::from_micros(due), TTL)
    }

    /// A database with a line: rows and due times.
    fn with_line(waits: &[(i64, i64)]) -> Connection {
        let db = Connection::open_in_memory().expect("opens");
        schema::create(&db).expect("makes tables");
        for (seq, due) in waits {
            let mut bytes = Vec::new();
            record::encode_delivery(&delivery(*seq, *due), 1, 1, &Ciphers::default(), &mut bytes);
            let insert = "INSERT INTO deliveries VALUES (?1, 1, 10, 9000, 0, ?2, ?2 + 9000, 0, ?3, NULL)";
            db.execute(insert, params![seq, due, bytes]).expect("writes");
        }
        db
    }

    /// The first row behind a moment is found wherever the ids say it should be: near, far off, at either end.
    #[test]
    fn the_first_behind_a_moment_is_found_whatever_the_ids_say() {
        let seq_of = |ms: i64, number: i64| (ms << SEQ_BITS) + number;
        let near: Vec<_> = (0..500).map(|number| (seq_of(number / 5, number % 5), number * 200)).collect();
        let crowded: Vec<_> = (0..500).map(|number| (seq_of(7, number), number / 3)).collect();
        let late: Vec<_> = (0..500).map(|number| (number * 1_000_003, number * 10_000_000)).collect();
        for waits in [near, crowded, late, vec![(5, 5)], Vec::new()] {
            let (db, damage) = (with_line(&waits), Damage::default());
            let walk = Walk { db: &db, names: &OneName, damage: &damage };
            let moments = waits.iter().flat_map(|(_, due)| [due - 1, *due, due + 1]).chain([i64::MIN, -1, i64::MAX]);
            for moment in moments {
                let expected =
                    waits.iter().find(|(_, due)| *due > moment).map(|(seq, due)| Waits { seq: *seq, due: *due });
                assert_eq!(LINE.first_behind(walk, moment).expect("reads"), expected, "{moment}");
            }
            assert_eq!((LINE.out_of_order(&db).expect("reads"), damage.count()), (None, 0));
        }
        let (db, damage) = (with_line(&[(1, 5), (2, 5), (3, 6), (4, 8), (5, 9)]), Damage::default());
        let walk = Walk { db: &db, names: &OneName, damage: &damage };
        let seqs = |behind, by, limit| -> Vec<i64> {
            LINE.between(walk, behind, by, limit).expect("reads").iter().map(|waits| waits.seq).collect()
        };
        assert_eq!(
            (seqs(i64::MIN, 5, 9), seqs(5, 8, 9), seqs(4, i64::MAX, 4)),
            (vec![1, 2], vec![3, 4], vec![1, 2, 3, 4])
        );
        assert_eq!((seqs(9, i64::MAX, 9), seqs(i64::MIN, 4, 9)), (Vec::new(), Vec::new()));
        let newest = |behind, by, limit| -> Vec<i64> {
            LINE.newest(walk, behind, by, limit).expect("reads").iter().map(|waits| waits.seq).collect()
        };
        assert_eq!(
            (newest(i64::MIN, 8, 9), newest(5, 8, 9), newest(i64::MIN, i64::MAX, 2), newest(i64::MIN, 4, 2)),
            (vec![4, 3, 2, 1], vec![4, 3], vec![5, 4], Vec::new())
        );
        let db = with_line(&[(1, 5), (2, 4)]);
        assert_eq!(LINE.out_of_order(&db).expect("reads"), Some(1));
    }

    /// I18: a row whose due time is damaged, whichever row and whichever bit, hides none of the others from a walk.
    #[test]
    fn a_damaged_due_time_hides_no_other_row() {
        let seq_of = |ms: i64| ms << SEQ_BITS;
        // Due when they are made, and a day later.
        for behind in [0, 86_400_000_000] {
            let waits: Vec<_> = (1..40).map(|ms| (seq_of(ms), ms * 1000 + behind)).collect();
            for (victim, due) in &waits {
                for bit in [10, 14, 30, 37, 52, 62, 63] {
                    let db = with_line(&waits);
                    let flipped = due ^ (1 << bit);
                    db.execute("UPDATE deliveries SET due = ?2 WHERE seq = ?1", params![victim, flipped])
                        .expect("writes");
                    let damage = Damage::default();
                    let walk = Walk { db: &db, names: &OneName, damage: &damage };
                    let what = format!("{behind}: row {victim} bit {bit}");
                    let all: Vec<_> = waits.iter().filter(|(seq, _)| seq != victim).copied().collect();
                    let read = |found: Vec<Waits>| -> Vec<i64> {
                        found.iter().map(|waits| waits.seq).filter(|seq| seq != victim).collect()
                    };
                    for (_, moment) in waits.iter().step_by(3) {
                        let first = LINE.first_behind(walk, *moment).expect("reads").map(|waits| waits.seq);
                        let expected = all.iter().find(|(_, due)| due > moment).map(|(seq, _)| *seq);
                        assert_eq!(first, expected, "{what}: first behind {moment}");
                        let due: Vec<i64> = all.iter().filter(|(_, due)| due <= moment).map(|(seq, _)| *seq).collect();
                        let found = LINE.between(walk, i64::MIN, *moment, 99).expect("reads");
                        assert_eq!(read(found), due, "{what}: by {moment}");
                        let mut found = read(LINE.newest(walk, i64::MIN, *moment, 99).expect("reads"));
                        found.reverse();
                        assert_eq!(found, due, "{what}: by {moment}, the newest first");
                    }
                }
            }
        }
    }
}
