//! The recount, and lines of the audit log.

use std::collections::BTreeMap;

use relay_store::seam::{AuditEntry, DestinationStats, Recount, Stats};

use crate::{
    api::{AuditDeliveriesDto, AuditDto, AuditEventsDto, AuditLineDto, GapDto, OriginDto},
    clock::rfc3339,
    principal::Via,
};

impl AuditLineDto {
    pub(crate) fn new(entry: &AuditEntry) -> Self {
        let AuditEntry { at, who, action, subject, origin } = entry.clone();
        let origin = Via::read(&origin).map(|Via { peer, uid, credential, claimed_user }| OriginDto {
            peer,
            uid,
            credential,
            claimed_user,
        });
        Self { at: rfc3339(at), who, action, subject, origin }
    }
}

impl AuditDto {
    /// What was counted beside the counters that only ever rise; `ok` when both sums hold, the count is what the counters
    /// say (I5), and nothing of it is known to be damaged.
    pub(crate) fn new(recount: &Recount) -> Self {
        let (events, events_ok) = audit_events(&recount.counted, &recount.kept);
        let (deliveries, deliveries_ok) = audit_deliveries(&recount.counted, &recount.kept);
        let unknown = recount.gaps.iter().map(|gap| GapDto {
            why: gap.why.as_str().to_owned(),
            since: rfc3339(gap.since),
            until: rfc3339(gap.until),
            commits: gap.commits,
            events: gap.events,
        });
        let ok = events_ok && deliveries_ok && recount.damaged == 0;
        Self { ok, events, deliveries, unknown: unknown.collect(), damaged: recount.damaged }
    }
}

fn audit_events(counted: &Stats, kept: &Stats) -> (Vec<AuditEventsDto>, bool) {
    let mut rows: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    for source in &kept.sources {
        rows.insert(source.source.as_str(), [source.accepted, 0, source.retired, source.stored]);
    }
    for source in &counted.sources {
        rows.entry(source.source.as_str()).or_default()[1] = source.stored;
    }
    let ok = rows.values().all(|[accepted, stored, retired, kept]| *accepted == stored + retired && stored == kept);
    let row = |(source, [accepted, stored, retired, _]): (&str, [u64; 4])| AuditEventsDto {
        source: source.to_owned(),
        accepted,
        stored,
        retired,
    };
    (rows.into_iter().map(row).collect(), ok)
}

fn audit_deliveries(counted: &Stats, kept: &Stats) -> (Vec<AuditDeliveriesDto>, bool) {
    let none = |name: &str| -> [u64; 7] {
        counted
            .destinations
            .iter()
            .find(|stats| stats.destination.as_str() == name)
            .map_or([0; 7], |stats| stats.states)
    };
    let unknown = |stats: &&DestinationStats| {
        stats.states != [0; 7] && !kept.destinations.iter().any(|known| known.destination == stats.destination)
    };
    let mut ok = !counted.destinations.iter().any(|stats| unknown(&stats));
    let mut rows = Vec::new();
    for stats in &kept.destinations {
        let states = none(stats.destination.as_str());
        ok &= states == stats.states && stats.created == states.iter().sum::<u64>() + stats.retired + stats.lost;
        let [ready, scheduled, leased, delivered, dead, expired, cancelled] = states;
        rows.push(AuditDeliveriesDto {
            destination: stats.destination.to_string(),
            created: stats.created,
            ready,
            scheduled,
            leased,
            delivered,
            dead,
            expired,
            cancelled,
            retired: stats.retired,
            lost: stats.lost,
        });
    }
    (rows, ok)
}
