//! The recount, and lines of the audit log.

use std::collections::BTreeMap;

use relay_store::seam::{AuditEntry, DestinationStats, Recount, Stats};
use serde::Serialize;

use crate::{asker::Place, clock::rfc3339};

/// The recount.
#[derive(Debug, Serialize)]
pub(crate) struct AuditDto {
    pub(crate) ok: bool,
    events: Vec<AuditEventsDto>,
    deliveries: Vec<AuditDeliveriesDto>,
    /// Stretches of time of which something is missing or may be.
    unknown: Vec<GapDto>,
    /// Records known to be damaged, be it from an earlier run: they are counted above, and cannot be used.
    damaged: u64,
}

#[derive(Debug, Serialize)]
struct GapDto {
    /// `restored`, `accepted` or `unvouched`.
    why: &'static str,
    since: String,
    until: String,
    /// At most; `null`: nothing is left to tell.
    commits: Option<u64>,
    events: Option<u64>,
}

#[derive(Debug, Serialize)]
struct AuditEventsDto {
    source: String,
    accepted: u64,
    stored: u64,
    retired: u64,
}

#[derive(Debug, Serialize)]
struct AuditDeliveriesDto {
    destination: String,
    created: u64,
    ready: u64,
    scheduled: u64,
    leased: u64,
    delivered: u64,
    dead: u64,
    expired: u64,
    cancelled: u64,
    retired: u64,
    lost: u64,
}

/// A line of the audit log.
#[derive(Debug, Serialize)]
pub(crate) struct AuditLineDto {
    at: String,
    who: String,
    action: String,
    subject: String,
    /// From where; `null` where nobody asked.
    origin: Option<OriginDto>,
}

/// From where somebody asked.
#[derive(Debug, Serialize)]
struct OriginDto {
    peer: Option<String>,
    /// Of the user who opened the admin socket, as the system knows it.
    uid: Option<u32>,
    /// The name of what let it in.
    credential: Option<String>,
    /// Who it said it is; nobody checked that.
    claimed_user: Option<String>,
}

impl AuditLineDto {
    pub(crate) fn new(entry: &AuditEntry) -> Self {
        let AuditEntry { at, who, action, subject, origin } = entry.clone();
        let origin = Place::read(&origin).map(|Place { peer, uid, credential, claimed_user }| OriginDto {
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
            why: gap.why.as_str(),
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
