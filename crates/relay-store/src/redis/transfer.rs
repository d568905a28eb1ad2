//! What a move to another store or from one reads and writes beside what everybody does.

use std::collections::BTreeMap;

use relay_core::{
    delivery::Attempt,
    id::{DeliveryId, EventId},
    storage::Dedupe,
};

use super::{Core, backlog::Urgency, client::Command, counters::Counters, dedupe, reply::Fault, text};
use crate::{record, seam::Stats};

/// Attempts of so many deliveries go in one commit.
const DELIVERIES_A_COMMIT: usize = 64;

impl Core {
    /// The dedupe keys that these events hold.
    pub(super) async fn keys_of(&self, events: &[EventId]) -> Result<Vec<Option<Dedupe>>, Fault> {
        let mut held = vec![None; events.len()];
        let mut asked = Vec::new();
        for (at, front) in self.fronts(events).await?.into_iter().enumerate() {
            asked.extend(front.and_then(|front| Some((at, front.key()?, front.head.event.source))));
        }
        let get = |(at, key, source): &(usize, [u8; 32], _)| {
            Command::new("GET").arg(self.space.of_event(events[*at]).dedupe(source, key))
        };
        let entries = self.nodes.readable(asked.iter().map(get).collect()).await?;
        for ((at, key, source), entry) in asked.into_iter().zip(entries) {
            let Some(entry) = entry.maybe_bytes()? else { continue };
            let taken =
                self.damage.passed(&format_args!("a dedupe key of {source}"), dedupe::sealed(&source, &key, &entry));
            let taken = taken.filter(|taken| taken.event == events[at]);
            held[at] = taken.map(|taken| Dedupe { key, until: taken.until });
        }
        Ok(held)
    }

    /// Puts these in the place of the earlier attempts of each.
    pub(super) async fn put_attempts(&self, of: &[(DeliveryId, Vec<Attempt>)]) -> Result<(), Fault> {
        self.life.check()?;
        let mut by_partition: BTreeMap<usize, Vec<&(DeliveryId, Vec<Attempt>)>> = BTreeMap::new();
        for one in of {
            by_partition.entry(self.space.place(one.0.partition())).or_default().push(one);
        }
        let mut is_begun = false;
        for deliveries in by_partition.values() {
            for some in deliveries.chunks(DELIVERIES_A_COMMIT) {
                let commands = some.iter().flat_map(|(id, attempts)| self.attempts_commands(*id, attempts)).collect();
                self.nodes.all(Urgency::Other, commands).await.map_err(|fault| fault.behind(is_begun))?;
                is_begun = true;
            }
        }
        Ok(())
    }

    fn attempts_commands(&self, id: DeliveryId, attempts: &[Attempt]) -> Vec<Command> {
        let key = self.space.of_delivery(id).attempts(id);
        let delete = Command::new("DEL").arg(&key);
        if attempts.is_empty() {
            return vec![delete];
        }
        let sealed = attempts.iter().map(|attempt| {
            let mut out = Vec::new();
            record::encode_attempt(attempt, id.sequence(), self.ciphers(), &mut out);
            out
        });
        vec![delete, Command::new("RPUSH").arg(&key).args(sealed)]
    }

    /// Sets what only counters know: the first partition has what the others have not.
    pub(super) async fn put_totals(&self, totals: &Stats) -> Result<(), Fault> {
        self.life.check()?;
        let mut others = Counters::default();
        let (mut floor, mut latest) = (totals.id_floor, totals.latest);
        for (place, counters) in self.counters().await?.into_iter().enumerate() {
            floor = floor.max(counters.floor.unwrap_or_default());
            latest = latest.max(counters.latest.unwrap_or_default());
            if place > 0 {
                others.join(counters);
            }
        }
        let mut set = Command::new("HSET").arg(self.space.partitions()[0].counters());
        set = set.args([b"floor".to_vec(), text::twice(&text::sequence(floor)).into_bytes()]);
        set = set.args([b"latest".to_vec(), text::twice(&text::moment(latest)).into_bytes()]);
        for (field, total) in fields(totals, &others) {
            set = set.args([field.into_bytes(), total.to_string().into_bytes()]);
        }
        self.nodes.commit(Urgency::Other, set).await.map(drop)
    }
}

/// Fields of the first partition's counters, and what they are so that all partitions together come to these totals.
fn fields(totals: &Stats, others: &Counters) -> Vec<(String, u64)> {
    let mut fields = Vec::new();
    for of in &totals.sources {
        let there = others.sources.get(&of.source).cloned().unwrap_or_default();
        for (what, total, there) in [
            ("accepted", of.accepted, there.accepted),
            ("retired", of.retired, there.retired),
            ("duplicates", of.duplicates, there.duplicates),
        ] {
            fields.push((format!("s:{}:{what}", of.source), total.saturating_sub(there)));
        }
    }
    for of in &totals.destinations {
        let there = others.destinations.get(&of.destination).cloned().unwrap_or_default();
        let field = |what: &str| format!("d:{}:{what}", of.destination);
        for (what, total, there) in [
            ("created", of.created, there.created),
            ("retired", of.retired, there.retired),
            ("lost", of.lost, there.lost),
            ("retried", of.retried, there.retried),
        ] {
            fields.push((field(what), total.saturating_sub(there)));
        }
        for (class, (total, there)) in (1..).zip(of.outcomes.into_iter().zip(there.outcomes)) {
            fields.push((field(&format!("o{class}")), total.saturating_sub(there)));
        }
    }
    fields
}
