//! Listings: streams and sets in one order, newest or oldest first, behind a place.

use std::collections::VecDeque;

use relay_core::time::Wall;

use super::{
    Core, audit,
    client::Command,
    due,
    keys::Key,
    place::Place,
    reply::{Fault, Reply},
    rows,
};

/// Given out at once, and read of one shelf at most.
const CHUNK: usize = 256;
/// Of many shelves so many are read of each.
const CHUNK_MIN: usize = 4;

/// Where something stands in the order of all shelves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    place: Place,
    id: u128,
}

impl At {
    /// What stands there.
    pub(super) fn id(self) -> u128 {
        self.id
    }

    /// Its text, for a cursor.
    pub(super) fn text(self) -> String {
        format!("{}-{:x}", self.place, self.id)
    }

    /// From a cursor. Text that no page gave out is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (place, id) = text.rsplit_once('-')?;
        Some(Self { place: Place::read(place.as_bytes())?, id: u128::from_str_radix(id, 16).ok()? })
    }
}

/// Something that is listed.
#[derive(Clone, Debug)]
pub(super) enum Listed {
    /// A stream of ids.
    Stream(Key),
    /// A set of ids by their milliseconds.
    Made(Key),
    /// A set of ids by moments.
    Ended(Key),
}

/// Which way a walk goes, and what it is between.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    rows: Vec<Row>,
    oldest_first: bool,
    /// The first place and the last one, in time.
    between: (Place, Place),
    behind: Option<At>,
}

/// One shelf, and what of it was read and not given out yet. However many shelves there are, little of each is read.
#[derive(Clone, Debug)]
struct Row {
    shelf: Listed,
    found: VecDeque<At>,
    /// The last that was read.
    read: Option<At>,
    /// So many are asked for next.
    count: usize,
    is_over: bool,
}

impl Walk {
    /// Newest first, over all there is.
    pub(super) fn new(shelves: Vec<Listed>) -> Self {
        let count = (CHUNK / shelves.len().max(1)).max(CHUNK_MIN) + 1;
        let row = |shelf| Row { shelf, found: VecDeque::new(), read: None, count, is_over: false };
        let rows = shelves.into_iter().map(row).collect();
        Self { rows, oldest_first: false, between: (Place::FIRST, Place::LAST), behind: None }
    }

    /// The oldest first.
    #[must_use]
    pub(super) fn oldest_first(self, oldest_first: bool) -> Self {
        Self { oldest_first, ..self }
    }

    /// From the first of these units on, and before the other: milliseconds, or microseconds where ends are listed.
    #[must_use]
    pub(super) fn between(self, from: Option<u64>, before: Option<u64>) -> Self {
        let first = from.map_or(Place::FIRST, |ms| Place { ms, number: 0 });
        let last = before.map_or(Some(Place::LAST), |ms| Place { ms, number: 0 }.before());
        Self { between: (first, last.unwrap_or(Place::FIRST)), ..self }
    }

    /// Only what comes behind that.
    #[must_use]
    pub(super) fn behind(self, behind: Option<At>) -> Self {
        Self { behind, ..self }
    }

    /// What is next of a row, as an inclusive range in time; `None`: nothing.
    fn range(&self, row: &Row) -> Option<(Place, Place)> {
        let (mut first, mut last) = self.between;
        if let Some(At { place, .. }) = row.read.or(self.behind) {
            if self.oldest_first {
                first = first.max(place);
            } else {
                last = last.min(place);
            }
        }
        (first <= last).then_some((first, last))
    }

    fn comes_after(&self, at: At, other: At) -> bool {
        if self.oldest_first { at > other } else { at < other }
    }

    /// Takes in what was read of a row.
    fn take(&mut self, row: usize, mut found: Vec<At>) {
        found.sort_unstable();
        if !self.oldest_first {
            found.reverse();
        }
        let asked = self.rows[row].count;
        let behind = self.rows[row].read.or(self.behind);
        let is_all = found.len() < asked;
        found.retain(|at| behind.is_none_or(|behind| self.comes_after(*at, behind)));
        let row = &mut self.rows[row];
        row.is_over = is_all;
        // Many may share one place, those that were read before among them.
        row.count = if found.is_empty() { asked * 2 } else { (asked * 2).min(CHUNK + 1).max(asked) };
        row.read = found.last().copied().or(row.read);
        row.found.extend(found);
    }

    /// The first of all that was read, unless of some row nobody knows what is next.
    fn pop(&mut self) -> Option<At> {
        let mut first: Option<(At, usize)> = None;
        for (number, row) in self.rows.iter().enumerate() {
            match row.found.front() {
                Some(at) if first.is_none_or(|(best, _)| self.comes_after(best, *at)) => first = Some((*at, number)),
                Some(_) => {}
                None if row.is_over => {}
                None => return None,
            }
        }
        let (at, number) = first?;
        self.rows[number].found.pop_front();
        Some(at)
    }
}

impl Core {
    /// The next ids of a walk, which then stands behind them.
    pub(super) async fn next_of(&self, walk: &mut Walk) -> Result<Option<Vec<u128>>, Fault> {
        let found = self.chunk(walk).await?;
        Ok(Some(found.into_iter().map(|at| at.id).collect()).filter(|ids: &Vec<u128>| !ids.is_empty()))
    }

    /// The next of a walk, in its order, which then stands behind them; none: it is over.
    pub(super) async fn chunk(&self, walk: &mut Walk) -> Result<Vec<At>, Fault> {
        loop {
            let mut all = Vec::new();
            while all.len() < CHUNK
                && let Some(at) = walk.pop()
            {
                all.push(at);
            }
            let dry = |row: &Row| row.found.is_empty() && !row.is_over;
            if !all.is_empty() || !walk.rows.iter().any(dry) {
                return Ok(all);
            }
            let (mut asked, mut of) = (Vec::new(), Vec::new());
            for number in 0..walk.rows.len() {
                if !dry(&walk.rows[number]) {
                    continue;
                }
                match walk.range(&walk.rows[number]) {
                    Some((first, last)) => {
                        let row = &walk.rows[number];
                        asked.push(row.shelf.ask(first, last, walk.oldest_first, row.count));
                        of.push(number);
                    }
                    None => walk.rows[number].is_over = true,
                }
            }
            for (number, reply) in of.into_iter().zip(self.nodes.readable(asked).await?) {
                let found = walk.rows[number].shelf.read(reply)?;
                walk.take(number, found);
            }
        }
    }
}

impl Listed {
    fn ask(&self, first: Place, last: Place, oldest_first: bool, count: usize) -> Command {
        let (stream, set) = if oldest_first { ("XRANGE", "ZRANGEBYSCORE") } else { ("XREVRANGE", "ZREVRANGEBYSCORE") };
        let (from, to) = if oldest_first { (first, last) } else { (last, first) };
        match self {
            Self::Stream(key) => {
                let range = Command::new(stream).arg(key).arg(from.to_string()).arg(to.to_string());
                range.arg("COUNT").number(count as i64)
            }
            Self::Made(key) | Self::Ended(key) => {
                let score = |place: Place| place.ms.min(1 << 53).to_string();
                let range = Command::new(set).arg(key).arg(score(from)).arg(score(to)).arg("WITHSCORES");
                range.arg("LIMIT").number(0).number(count as i64)
            }
        }
    }

    fn read(&self, reply: Reply) -> Result<Vec<At>, Fault> {
        match self {
            Self::Stream(_) => {
                // What a stranger put there is no id, and counts for how many there are.
                let at = |(place, id): (Place, Vec<u8>)| At { place, id: rows::id(&id).unwrap_or_default() };
                Ok(audit::entries(reply)?.into_iter().map(at).collect())
            }
            Self::Made(_) => {
                let at = |(id, made): (Vec<u8>, Wall)| match rows::id(&id) {
                    Ok(id) => At { place: Place::of_id(id), id },
                    Err(_) => At { place: Place { ms: made.as_micros().max(0) as u64, number: 0 }, id: 0 },
                };
                Ok(due::scored(reply)?.into_iter().map(at).collect())
            }
            Self::Ended(_) => {
                let at = |(id, end): (Vec<u8>, Wall)| {
                    let place = Place { ms: end.as_micros().max(0) as u64, number: 0 };
                    At { place, id: rows::id(&id).unwrap_or_default() }
                };
                Ok(due::scored(reply)?.into_iter().map(at).collect())
            }
        }
    }
}
