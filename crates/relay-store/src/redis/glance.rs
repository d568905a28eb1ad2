//! A glance at a partition: whether as much stands in its indexes as its counters say.

use std::collections::BTreeMap;

use relay_core::name::Name;

use super::{
    Core,
    client::Command,
    counters::Counters,
    keys::{Key, Keys},
    reply::{Fault, Replies, Reply},
};
use crate::tally::DestinationTally;

/// What a glance saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    /// Somebody counted here before, and all that he counted reads: counters that are gone do not say so.
    pub(super) is_whole: bool,
    /// How many more stand in an index than should; nothing where it is as it should be.
    pub(super) apart: BTreeMap<String, i64>,
}

impl Core {
    /// Looks at one partition, at one moment.
    pub(super) async fn glance(&self, place: usize) -> Result<Glance, Fault> {
        let keys = &self.space.partitions()[place];
        let names = Counters::read(self.nodes.one(Command::new("HGETALL").arg(keys.counters())).await?)?;
        let (destinations, sources): (Vec<Name>, Vec<Name>) =
            (names.destinations.into_keys().collect(), names.sources.into_keys().collect());
        let mut asked = vec![Command::new("MULTI"), Command::new("HGETALL").arg(keys.counters())];
        asked.push(members(keys.leases()));
        for name in &destinations {
            asked.extend(of_destination(keys, name));
        }
        asked.extend(sources.iter().map(|name| entries(keys.source(name))));
        asked.push(Command::new("EXEC"));
        // What is refused among them, a key of another type or a group that is not there, counts for none.
        let seen = match self.nodes.ask_leniently(asked).await?.pop() {
            Some(Reply::Many(seen)) => seen,
            other => return Err(other.and_then(|reply| reply.refusal()).unwrap_or(Fault::Away)),
        };
        let mut seen = Replies::new(seen);
        let counters = Counters::read(seen.next()?)?;
        let mut glance = Glance { is_whole: counters.are_whole(), apart: BTreeMap::new() };
        let held: u64 = counters.destinations.values().map(|tally| tally.states[2]).sum();
        glance.compare("leases".to_owned(), number(seen.next()?), held);
        for name in destinations {
            let tally = counters.destinations.get(&name).cloned().unwrap_or_default();
            glance.compare_destination(&name, &tally, &mut seen)?;
        }
        for name in sources {
            let tally = counters.sources.get(&name).cloned().unwrap_or_default();
            glance.compare(format!("src:{name}"), number(seen.next()?), tally.stored);
            glance.compare(format!("accepted:{name}"), (tally.stored + tally.retired) as i64, tally.accepted);
        }
        Ok(glance)
    }
}

impl Glance {
    fn compare(&mut self, index: String, there: i64, wanted: u64) {
        let apart = there - wanted as i64;
        if apart != 0 {
            self.apart.insert(index, apart);
        }
    }

    fn compare_destination(&mut self, name: &Name, tally: &DestinationTally, seen: &mut Replies) -> Result<(), Fault> {
        let [ready, scheduled, _leased, delivered, dead, expired, cancelled] = tally.states;
        let mut next = || Ok::<_, Fault>(number(seen.next()?));
        let (back, due, tries, expires) = (next()?, next()?, next()?, next()?);
        let (done, ended, log, made) = (next()?, next()?, next()?, next()?);
        let unread = next()? - pending(&seen.next()?);
        let waits = ready + scheduled;
        let present: u64 = tally.states.iter().sum();
        let compared = [
            ("waiting", unread + back + due, waits),
            ("tries", tries, due.max(0) as u64),
            ("exp", expires, waits),
            ("done", done, delivered + cancelled),
            ("ended", ended, dead + expired),
            ("log", log + made, present),
            ("created", (present + tally.retired + tally.lost) as i64, tally.created),
        ];
        for (index, there, wanted) in compared {
            self.compare(format!("{index}:{name}"), there, wanted);
        }
        Ok(())
    }
}

fn of_destination(keys: &Keys, name: &Name) -> [Command; 10] {
    [
        members(keys.back(name)),
        members(keys.due(name)),
        members(keys.tries(name)),
        members(keys.expiries(name)),
        entries(keys.done(name)),
        members(keys.ended(name)),
        entries(keys.log(name)),
        members(keys.made(name)),
        entries(keys.ready(name)),
        Command::new("XPENDING").arg(keys.ready(name)).arg("relay"),
    ]
}

fn members(set: Key) -> Command {
    Command::new("ZCARD").arg(set)
}

fn entries(stream: Key) -> Command {
    Command::new("XLEN").arg(stream)
}

fn number(reply: Reply) -> i64 {
    reply.number().unwrap_or(0)
}

/// How many the group has read, and they have not left yet. A group that is not there has read none.
fn pending(reply: &Reply) -> i64 {
    match reply {
        Reply::Many(parts) => parts.first().map_or(0, |count| number(count.clone())),
        _ => 0,
    }
}
