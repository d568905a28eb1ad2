//! Counters: a hash in each partition, moved by the scripts that change what they count.

use std::collections::BTreeMap;

use relay_core::{name::Name, storage::StoreError, time::Wall};

use super::{
    Core,
    client::Command,
    reply::{self, Fault, Reply},
    text,
};
use crate::tally::{DestinationTally, SourceTally};

/// Everything that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) sources: BTreeMap<Name, SourceTally>,
    pub(super) destinations: BTreeMap<Name, DestinationTally>,
    /// Highest sequence.
    pub(super) floor: i64,
    /// Latest moment.
    pub(super) latest: Wall,
    /// Somebody counted what was there when they began.
    pub(super) begun: bool,
    /// Where the group of each destination's stream is.
    pub(super) cursors: BTreeMap<Name, String>,
}

impl Counters {
    /// Reads those of one partition.
    pub(super) fn read(all: Reply) -> Result<Self, Fault> {
        let mut counters = Self::default();
        let mut fields = all.many()?.into_iter();
        while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
            counters.take(&field.bytes()?, &value.bytes()?)?;
        }
        Ok(counters)
    }

    fn take(&mut self, field: &[u8], value: &[u8]) -> Result<(), Fault> {
        let field = std::str::from_utf8(field).unwrap_or_default();
        match field.split(':').collect::<Vec<_>>()[..] {
            ["floor"] => self.floor = self.floor.max(text::read_sequence(value).unwrap_or_default()),
            ["begun"] => self.begun = true,
            ["latest"] => self.latest = self.latest.max(text::read_moment(value).unwrap_or_default()),
            ["cursor", name] => {
                if let Ok(name) = name.parse() {
                    self.cursors.insert(name, String::from_utf8_lossy(value).into_owned());
                }
            }
            ["s", name, what] => self.take_source(name, what, reply::number(value)?),
            ["d", name, what] => self.take_destination(name, what, reply::number(value)?),
            _ => {}
        }
        Ok(())
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
        self.reads.ask(all.collect()).await?.into_iter().map(Counters::read).collect()
    }

    /// Those of all partitions together.
    pub(super) async fn counted(&self) -> Result<Counters, StoreError> {
        let mut all = Counters::default();
        for counters in self.counters().await? {
            all.join(counters);
        }
        Ok(all)
    }
}
