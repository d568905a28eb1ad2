//! Listings: streams and sets in one order, newest or oldest first, behind a place.

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

/// Read of each shelf at once.
const CHUNK: usize = 256;

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
pub(super) enum Shelf {
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
    shelves: Vec<Shelf>,
    oldest_first: bool,
    /// The first place and the last one, in time.
    between: (Place, Place),
    behind: Option<At>,
}

impl Walk {
    /// Newest first, over all there is.
    pub(super) fn new(shelves: Vec<Shelf>) -> Self {
        Self { shelves, oldest_first: false, between: (Place::FIRST, Place::LAST), behind: None }
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

    /// What is next of it, as an inclusive range in time; `None`: nothing.
    fn range(&self) -> Option<(Place, Place)> {
        let (mut first, mut last) = self.between;
        if let Some(At { place, .. }) = self.behind {
            if self.oldest_first {
                first = first.max(place);
            } else {
                last = last.min(place);
            }
        }
        (first <= last).then_some((first, last))
    }

    fn is_behind(&self, at: At) -> bool {
        self.behind.is_none_or(|behind| self.comes_after(at, behind))
    }

    fn comes_after(&self, at: At, other: At) -> bool {
        if self.oldest_first { at > other } else { at < other }
    }
}

impl Core {
    /// The next ids of a walk, which then stands behind them.
    pub(super) async fn next_of(&self, walk: &mut Walk) -> Result<Option<Vec<u128>>, Fault> {
        let found = self.chunk(walk).await?;
        walk.behind = found.last().copied().or(walk.behind);
        Ok(Some(found.into_iter().map(|at| at.id).collect()).filter(|ids: &Vec<u128>| !ids.is_empty()))
    }

    /// The next of a walk, in its order; none: it is over.
    pub(super) async fn chunk(&self, walk: &Walk) -> Result<Vec<At>, Fault> {
        let Some((first, last)) = walk.range() else { return Ok(Vec::new()) };
        let mut count = CHUNK + 1;
        loop {
            let asked = walk.shelves.iter().map(|shelf| shelf.ask(first, last, walk.oldest_first, count));
            let replies = self.reads.readable(asked.collect()).await?;
            let (mut all, mut horizons) = (Vec::new(), Vec::new());
            for (shelf, reply) in walk.shelves.iter().zip(replies) {
                let found = shelf.read(reply)?;
                // Behind its last nothing is known of a shelf that has more.
                horizons.extend(found.last().copied().filter(|_| found.len() >= count));
                all.extend(found.into_iter().filter(|at| walk.is_behind(*at)));
            }
            all.retain(|at| horizons.iter().all(|horizon| !walk.comes_after(*at, *horizon)));
            // Many may share one place, those that were listed before among them.
            if !all.is_empty() || horizons.is_empty() {
                all.sort_unstable();
                if !walk.oldest_first {
                    all.reverse();
                }
                all.truncate(CHUNK);
                return Ok(all);
            }
            count *= 2;
        }
    }
}

impl Shelf {
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
