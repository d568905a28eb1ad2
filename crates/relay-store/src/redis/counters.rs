//! Counters: a hash in each partition, moved by the scripts that change what they count.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

use relay_core::{name::Name, storage::StoreError, time::Wall};

use super::{
    Core,
    client::Command,
    keys::Keys,
    place::Place,
    reply::{Fault, Reply},
    text,
};
use crate::tally::{DestinationTally, SourceTally};

/// Everything that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) sources: BTreeMap<Name, SourceTally>,
    pub(super) destinations: BTreeMap<Name, DestinationTally>,
    /// Highest sequence; `None`: it is not there, or does not read.
    pub(super) floor: Option<i64>,
    /// Latest moment, likewise.
    pub(super) latest: Option<Wall>,
    /// Somebody counted what was there when they began.
    pub(super) begun: bool,
    /// Where the group of each destination's stream is.
    pub(super) cursors: BTreeMap<Name, String>,
    /// Fields that do not read, and those that a script found so: they are to be counted again.
    pub(super) spoilt: BTreeSet<String>,
}

/// A number as Redis takes one that it is to add to.
fn count(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() < 16)?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

impl Counters {
    /// Reads those of one partition.
    pub(super) fn read(all: Reply) -> Result<Self, Fault> {
        let mut counters = Self::default();
        let mut fields = all.many()?.into_iter();
        while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
            let (field, value) = (field.bytes()?, value.bytes()?);
            let field = String::from_utf8_lossy(&field);
            if counters.take(&field, &value).is_none() {
                counters.spoilt.insert(field.into_owned());
            }
        }
        Ok(counters)
    }

    /// Nothing is counted of the names of these listings.
    pub(super) fn of_listings(listings: &[String]) -> Self {
        let mut counters = Self::default();
        for listing in listings {
            match listing.split_once(':') {
                Some(("s", name)) => counters.take_source(name, "stored", 0),
                Some((_, name)) => counters.take_destination(name, "created", 0),
                None => {}
            }
        }
        counters
    }

    /// Something of this sequence is there, and happened at this moment.
    pub(super) fn raise(&mut self, sequence: i64, moment: Wall) {
        self.floor = self.floor.max(Some(sequence));
        self.latest = self.latest.max(Some(moment));
    }

    /// Whether all of them were made, and read.
    pub(super) fn are_whole(&self) -> bool {
        // Who counts writes both, and every append does.
        let (is_seen, is_empty) =
            (self.floor.is_some() && self.latest.is_some(), self.sources.is_empty() && self.destinations.is_empty());
        self.begun && self.spoilt.is_empty() && (is_seen || is_empty)
    }

    /// Destinations where something waits, or may: where a number does not read nobody knows.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Name> {
        let is_spoilt = |name: &Name| {
            let begin = format!("d:{name}:");
            self.spoilt.iter().any(|field| field.trim_start_matches("spoilt:").starts_with(&begin))
        };
        let waits = move |(name, tally): &(&Name, &DestinationTally)| {
            tally.states[..2].iter().sum::<u64>() > 0 || (!self.spoilt.is_empty() && is_spoilt(name))
        };
        self.destinations.iter().filter(waits).map(|(name, _)| name)
    }

    /// Nothing: it does not read.
    fn take(&mut self, field: &str, value: &[u8]) -> Option<()> {
        match field.split(':').collect::<Vec<_>>()[..] {
            ["floor"] => self.floor = Some(text::read_sequence(text::once(value)?)?),
            ["begun"] => self.begun = true,
            ["latest"] => self.latest = Some(text::read_moment(text::once(value)?)?),
            ["again"] => drop(count(value)?),
            // Of the next two the scripts have the same opinion, or they would be made again for ever.
            ["last", _] => {
                let is_moment = value.len() == text::MOMENT && value.iter().all(u8::is_ascii_digit);
                is_moment.then_some(())?;
            }
            ["cursor", name] => {
                let cursor = Place::read(value).filter(|place| *place != Place::LAST).map(|place| place.to_string());
                let cursor = cursor.filter(|cursor| cursor.as_bytes() == value)?;
                self.cursors.extend(name.parse().ok().map(|name| (name, cursor)));
            }
            // Whose name it is stays known.
            ["s", name, what] => {
                self.take_source(name, what, count(value).unwrap_or_default());
                count(value)?;
            }
            ["d", name, what] => {
                self.take_destination(name, what, count(value).unwrap_or_default());
                count(value)?;
            }
            ["spoilt", ..] => return None,
            _ => {}
        }
        Some(())
    }

    fn take_source(&mut self, name: &str, what: &str, by: i64) {
        let Ok(name) = name.parse::<Name>() else { return };
        let tally = self.sources.entry(name).or_default();
        let counter = match what {
            "accepted" => &mut tally.accepted,
            "stored" => &mut tally.stored,
            "retired" => &mut tally.retired,
            "duplicates" => &mut tally.duplicates,
            _ => return,
        };
        *counter += by.max(0) as u64;
    }

    fn take_destination(&mut self, name: &str, what: &str, by: i64) {
        let Ok(name) = name.parse::<Name>() else { return };
        let tally = self.destinations.entry(name).or_default();
        let digit = |text: &str| text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let counter = match what {
            "created" => Some(&mut tally.created),
            "retired" => Some(&mut tally.retired),
            "lost" => Some(&mut tally.lost),
            "retried" => Some(&mut tally.retried),
            _ => match what.strip_prefix('o') {
                Some(class) => digit(class).and_then(|at| tally.outcomes.get_mut(at)),
                None => digit(what).and_then(|at| tally.states.get_mut(at)),
            },
        };
        if let Some(counter) = counter {
            *counter += by.max(0) as u64;
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.floor = self.floor.max(other.floor);
        self.latest = self.latest.max(other.latest);
        self.spoilt.extend(other.spoilt);
        for (name, tally) in other.sources {
            let into = self.sources.entry(name).or_default();
            into.accepted += tally.accepted;
            into.stored += tally.stored;
            into.retired += tally.retired;
            into.duplicates += tally.duplicates;
        }
        for (name, tally) in other.destinations {
            let into = self.destinations.entry(name).or_default();
            into.created += tally.created;
            into.retired += tally.retired;
            into.lost += tally.lost;
            into.retried += tally.retried;
            let pairs = into.states.iter_mut().zip(tally.states).chain(into.outcomes.iter_mut().zip(tally.outcomes));
            pairs.for_each(|(into, tally)| *into += tally);
        }
    }
}

impl Core {
    /// Those of each partition.
    pub(super) async fn counters(&self) -> Result<Vec<Counters>, Fault> {
        let all = self.space.partitions().iter().map(|keys| Command::new("HGETALL").arg(keys.counters()));
        self.nodes.ask(all.collect()).await?.into_iter().map(Counters::read).collect()
    }

    /// Those of each partition, as they were last read where its node is away; and of which that is so.
    pub(super) async fn counters_last_read(&self) -> Result<(Vec<Counters>, BTreeSet<usize>), Fault> {
        let ask = |keys: &Keys| vec![Command::new("HGETALL").arg(keys.counters())];
        let came = self.nodes.ask_parts(self.space.partitions().iter().map(ask).collect()).await?;
        let mut away = BTreeSet::new();
        let mut last = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        last.resize_with(came.len(), Counters::default);
        for (place, (last, came)) in last.iter_mut().zip(came).enumerate() {
            match came.and_then(|mut replies| replies.pop()) {
                Some(reply) => *last = Counters::read(reply)?,
                None => drop(away.insert(place)),
            }
        }
        Ok((last.clone(), away))
    }

    /// Those of all partitions together.
    pub(super) async fn counted(&self) -> Result<Counters, StoreError> {
        let mut all = Counters::default();
        for (place, mut counters) in self.counters().await?.into_iter().enumerate() {
            if !counters.are_whole() {
                self.newest(place, &mut counters).await?;
            }
            all.join(counters);
        }
        Ok(all)
    }
}
