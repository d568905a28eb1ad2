//! The recount that checks the counters: exact, whatever is written meanwhile.

use std::time::Duration;

use aws_lc_rs::rand;
use relay_core::{name::Name, storage::StoreError};
use tokio::time::{Instant, sleep};

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    counters::Counters,
    keys::Keys,
    reply::{Fault, Replies, Reply},
    scripts::Script,
    text,
};
use crate::seam::Recount;

/// What counters were that were counted again.
pub(super) struct Recounted {
    pub(super) were_others: bool,
    /// Those that did not read.
    pub(super) spoilt: Vec<String>,
}

/// So often one begins anew that another put an end to, or that a spoilt tally did.
const BEGUN_MAX: usize = 5;
/// Another that has not got on for so long is taken for one whose server is gone.
const STANDS_STILL: Duration = Duration::from_secs(2);
/// So often it is looked whether it does.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(50);

impl Core {
    /// Counts what is stored, one partition after the other. What only a counter knows (retired, duplicates, outcomes) is taken over. It waits
    /// for others that count there, as long as they get on: of two that put an end to each other neither would come to its own.
    pub(super) async fn recount(&self) -> Result<Recount, StoreError> {
        let _alone = self.counting.lock().await;
        let run = fresh_run()?;
        let (mut kept, mut counted) = (Counters::default(), Counters::default());
        for keys in self.space.partitions() {
            let (kept_here, counted_here) = self.recount_in(keys, &run, &[], &["end"]).await?;
            kept.join(kept_here);
            counted.join(counted_here);
        }
        self.look().await;
        let all = self.counters().await?;
        let parts: Vec<_> = self.some_of_parts(&all, |_| true).collect();
        let waiting = self.first_waiting(&parts).await?;
        let (counted, kept) = (self.shown(&counted, &waiting), self.shown(&kept, &waiting));
        Ok(Recount { counted, kept, gaps: Vec::new(), damaged: self.damage.count() })
    }

    /// Counts anew what counters of one partition can be made of again, and says what they were. What only they knew is as far
    /// as it is still known: outcomes, duplicates and what was removed.
    pub(super) async fn mend_counters(&self, place: usize, listings: &[String]) -> Result<Recounted, Fault> {
        let _alone = self.counting.lock().await;
        let (run, keys) = (fresh_run()?, &self.space.partitions()[place]);
        let mut newest = Counters::of_listings(listings);
        self.newest(place, &mut newest).await?;
        let latest = text::moment(newest.latest.unwrap_or_default());
        let floor = text::sequence(newest.floor.unwrap_or_default());
        let (kept, counted) = self.recount_in(keys, &run, listings, &["mend", &latest, &floor]).await?;
        // A script that met one that does not read says which.
        let spoilt = kept.spoilt.iter().map(|field| field.trim_start_matches("spoilt:").to_owned()).collect();
        let were_others =
            !kept.spoilt.is_empty() || kept.sources != counted.sources || kept.destinations != counted.destinations;
        Ok(Recounted { were_others, spoilt })
    }

    /// The counters of one partition, and what is counted there at the same moment.
    async fn recount_in(
        &self,
        keys: &Keys,
        run: &str,
        listings: &[String],
        end: &[&str],
    ) -> Result<(Counters, Counters), Fault> {
        for _ in 0..BEGUN_MAX {
            match self.count_in(keys, run, listings, end).await {
                Err(Fault::Strayed) => {}
                counted => return counted,
            }
        }
        Err(Fault::Away)
    }

    async fn count_in(
        &self,
        keys: &Keys,
        run: &str,
        listings: &[String],
        end: &[&str],
    ) -> Result<(Counters, Counters), Fault> {
        self.begin_count(keys, run).await?;
        for listing in listings {
            self.count_listing(keys, run, listing.as_bytes()).await?;
        }
        let end: Vec<&[u8]> = std::iter::once(&run).chain(end).map(|argument| argument.as_bytes()).collect();
        loop {
            let mut answers = Replies::new(self.recount_call(keys, &end).await?.many()?);
            let missing = answers.next()?.many()?;
            if missing.is_empty() {
                let kept = Counters::read(answers.next()?)?;
                let counted = tallied(&kept, answers.next()?)?;
                return Ok((kept, counted));
            }
            for listing in missing {
                // As it stands there: by another name it would be missing again.
                self.count_listing(keys, run, &listing.bytes()?).await?;
            }
        }
    }

    /// Begins a tally once no other is under way there.
    async fn begin_count(&self, keys: &Keys, run: &str) -> Result<(), Fault> {
        let mut other = self.other_count(keys).await?;
        let mut since = Instant::now();
        loop {
            let [run_there, _] = &other;
            if run_there.is_empty() || since.elapsed() >= STANDS_STILL {
                match self.recount_call(keys, &[run.as_bytes(), b"begin", run_there]).await {
                    Err(Fault::Strayed) => {}
                    begun => return begun.map(drop),
                }
            }
            sleep(LOOKED_AT_EVERY).await;
            let now = self.other_count(keys).await?;
            if now != other {
                (other, since) = (now, Instant::now());
            }
        }
    }

    /// The run of the tally that is there, and how far it is; empty without one.
    async fn other_count(&self, keys: &Keys) -> Result<[Vec<u8>; 2], Fault> {
        let ask = Command::new("HMGET").arg(keys.tally()).arg("run").arg("steps");
        // One of another type is none.
        let Some(Reply::Many(fields)) = self.nodes.readable(vec![ask]).await?.pop() else {
            return Ok([vec![], vec![]]);
        };
        let mut fields = Replies::new(fields);
        Ok([fields.next()?.maybe_bytes()?.unwrap_or_default(), fields.next()?.maybe_bytes()?.unwrap_or_default()])
    }

    async fn count_listing(&self, keys: &Keys, run: &str, listing: &[u8]) -> Result<(), Fault> {
        while self.recount_call(keys, &[run.as_bytes(), b"next", listing]).await?.number()? > 0 {
            // It waits for whoever counts here, or counts itself.
            self.scrubs.goes_on();
        }
        Ok(())
    }

    async fn recount_call(&self, keys: &Keys, arguments: &[&[u8]]) -> Result<Reply, Fault> {
        let mut written = keys.written(Vec::new());
        written.push(keys.tally());
        let call = Script::Recount.call(&written, arguments);
        match self.nodes.commit(Urgency::Upkeep, call).await? {
            // Another began since.
            Reply::Nil => Err(Fault::Strayed),
            answer => Ok(answer),
        }
    }
}

/// What tells this recount from all others, of whatever server.
pub(super) fn fresh_run() -> Result<String, Fault> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Fault::Away)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

/// Counters as a tally has them; what it does not count is as it is kept.
fn tallied(kept: &Counters, tally: Reply) -> Result<Counters, Fault> {
    let mut counted = kept.clone();
    for source in counted.sources.values_mut() {
        (source.stored, source.accepted) = (0, source.retired);
    }
    for destination in counted.destinations.values_mut() {
        (destination.states, destination.created) = ([0; 7], destination.retired + destination.lost);
    }
    let mut fields = tally.many()?.into_iter();
    while let (Some(field), Some(count)) = (fields.next(), fields.next()) {
        let field = String::from_utf8_lossy(&field.bytes()?).into_owned();
        let parts: Vec<&str> = field.split(':').collect();
        match parts[..] {
            ["s", name] => {
                let (Ok(name), count) = (name.parse::<Name>(), count.number()?.max(0) as u64) else { continue };
                let source = counted.sources.entry(name).or_default();
                source.stored += count;
                source.accepted += count;
            }
            ["d", name, state] => {
                let (Ok(name), count) = (name.parse::<Name>(), count.number()?.max(0) as u64) else { continue };
                let destination = counted.destinations.entry(name).or_default();
                let at = state.parse::<usize>().ok().and_then(|state| state.checked_sub(1));
                if let Some(states) = at.and_then(|at| destination.states.get_mut(at)) {
                    *states += count;
                    destination.created += count;
                }
            }
            _ => {}
        }
    }
    Ok(counted)
}
