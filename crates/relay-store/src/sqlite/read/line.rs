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
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use crate::sqlite::{fault::Fault, files::schema::SEQ_BITS};

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
    WHERE dest = ?1 AND state = 10 AND line = ?2 AND seq <= ?3 ORDER BY seq DESC LIMIT 1";

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

    /// Those due behind one moment and not behind another, at most so many, in order.
    pub(crate) fn between(self, db: &Connection, behind: i64, by: i64, limit: usize) -> Result<Vec<Waits>, Fault> {
        let mut statement = db.prepare_cached(BEHIND)?;
        let found = self.until(&mut statement, i64::MIN, by, limit)?;
        if found.first().is_none_or(|head| head.due > behind) {
            return Ok(found);
        }
        match self.first_behind(db, behind)? {
            Some(first) => self.until(&mut statement, first.seq - 1, by, limit),
            None => Ok(Vec::new()),
        }
    }

    /// The same, the newest first.
    pub(crate) fn newest(self, db: &Connection, behind: i64, by: i64, limit: usize) -> Result<Vec<Waits>, Fault> {
        let end = self.first_behind(db, by)?.map_or(i64::MAX, |first| first.seq);
        let mut statement = db.prepare_cached(NEWEST)?;
        let found = statement.query_map(params![self.dest, self.ttl, end, limit as i64], Waits::read)?;
        let mut found = found.collect::<rusqlite::Result<Vec<_>>>()?;
        found.retain(|waits| waits.due > behind);
        Ok(found)
    }

    /// The first whose due time lies behind a moment.
    pub(crate) fn first_behind(self, db: &Connection, moment: i64) -> Result<Option<Waits>, Fault> {
        let mut statement = db.prepare_cached(BEHIND)?;
        let Some(head) = self.walk(&mut statement, i64::MIN, 1)?.pop() else { return Ok(None) };
        if head.due > moment {
            return Ok(Some(head));
        }
        let Some(last) = self.last(db)?.filter(|last| last.due > moment) else { return Ok(None) };
        let (mut low, mut found) = (head.seq, last);
        // Ids tell when they were made, and a delivery is due when it is made.
        let near = (moment / 1000).clamp(0, i64::MAX >> SEQ_BITS) << SEQ_BITS;
        if let Some(before) = self.before(db, near)?
            && before.due <= moment
        {
            low = before.seq;
            for waits in self.walk(&mut statement, low, NEAR)? {
                if waits.due > moment {
                    return Ok(Some(waits));
                }
                low = waits.seq;
            }
        }
        // The one looked for lies behind `low`, and if it is not `found`, not behind `high`.
        let mut high = found.seq;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.walk(&mut statement, middle, 1)?.pop() {
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

    fn last(self, db: &Connection) -> Result<Option<Waits>, Fault> {
        self.before(db, i64::MAX)
    }

    fn before(self, db: &Connection, seq: i64) -> Result<Option<Waits>, Fault> {
        let mut statement = db.prepare_cached(BEFORE)?;
        Ok(statement.query_row(params![self.dest, self.ttl, seq], Waits::read).optional()?)
    }

    fn until(
        self,
        statement: &mut CachedStatement<'_>,
        behind: i64,
        by: i64,
        limit: usize,
    ) -> Result<Vec<Waits>, Fault> {
        let mut rows = statement.query(params![self.dest, self.ttl, behind, limit as i64])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let waits = Waits::read(row)?;
            if waits.due > by {
                break;
            }
            found.push(waits);
        }
        Ok(found)
    }

    fn walk(self, statement: &mut CachedStatement<'_>, behind: i64, limit: i64) -> Result<Vec<Waits>, Fault> {
        let found = statement.query_map(params![self.dest, self.ttl, behind, limit], Waits::read)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

impl Waits {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { seq: row.get(0)?, due: row.get(1)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::files::schema;

    /// A database with a line of destination 1 and TTL 9: rows and due times.
    fn with_line(waits: &[(i64, i64)]) -> Connection {
        let db = Connection::open_in_memory().expect("opens");
        schema::create(&db).expect("makes tables");
        for (seq, due) in waits {
            let insert = "INSERT INTO deliveries VALUES (?1, 1, 10, 9, 0, ?2, ?2 + 9, 0, x'', NULL)";
            db.execute(insert, params![seq, due]).expect("writes");
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
            let db = with_line(&waits);
            let line = Line { dest: 1, ttl: 9 };
            let moments = waits.iter().flat_map(|(_, due)| [due - 1, *due, due + 1]).chain([i64::MIN, -1, i64::MAX]);
            for moment in moments {
                let expected =
                    waits.iter().find(|(_, due)| *due > moment).map(|(seq, due)| Waits { seq: *seq, due: *due });
                assert_eq!(line.first_behind(&db, moment).expect("reads"), expected, "{moment}");
            }
            assert_eq!(line.out_of_order(&db).expect("reads"), None);
        }
        let line = Line { dest: 1, ttl: 9 };
        let db = with_line(&[(1, 5), (2, 5), (3, 6), (4, 8), (5, 9)]);
        let seqs = |behind, by, limit| -> Vec<i64> {
            line.between(&db, behind, by, limit).expect("reads").iter().map(|waits| waits.seq).collect()
        };
        assert_eq!(
            (seqs(i64::MIN, 5, 9), seqs(5, 8, 9), seqs(4, i64::MAX, 4)),
            (vec![1, 2], vec![3, 4], vec![1, 2, 3, 4])
        );
        assert_eq!((seqs(9, i64::MAX, 9), seqs(i64::MIN, 4, 9)), (Vec::new(), Vec::new()));
        let newest = |behind, by, limit| -> Vec<i64> {
            line.newest(&db, behind, by, limit).expect("reads").iter().map(|waits| waits.seq).collect()
        };
        assert_eq!(
            (newest(i64::MIN, 8, 9), newest(5, 8, 9), newest(i64::MIN, i64::MAX, 2), newest(i64::MIN, 4, 2)),
            (vec![4, 3, 2, 1], vec![4, 3], vec![5, 4], Vec::new())
        );
        let db = with_line(&[(1, 5), (2, 4)]);
        assert_eq!(Line { dest: 1, ttl: 9 }.out_of_order(&db).expect("reads"), Some(1));
    }
}
