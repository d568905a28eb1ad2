//! Watches the server for its operator: warnings when a destination waits for a client or half a TTL has passed, and
//! the summary line.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use relay_core::{id::Partition, name::Name, partitions::Partitions};

use crate::{
    health::{Health, Reason},
    hub::Handle,
    secret,
};

/// Between two looks: well below the minute after which a destination without a client is announced.
const EVERY: Duration = Duration::from_secs(5);

/// What was announced and is still so, so that it is announced once.
#[derive(Debug, Default)]
pub(crate) struct Announced(BTreeSet<(&'static str, Option<Name>)>);

/// Looks until it is dropped.
pub(crate) async fn run(health: Arc<Health>, hub: Handle) {
    let mut announced = Announced::default();
    // A store that is away for an hour is told once.
    let mut is_unknown = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let report = health.report().await;
        let was_unknown = std::mem::replace(&mut is_unknown, report.is_err());
        match report {
            Ok(report) => {
                let Some(mine) = hub.partitions().await else { continue };
                announced.announce(&report.reasons, mine);
            }
            Err(_) if was_unknown => {}
            Err(error) => tracing::warn!(event = "health_unknown", %error),
        }
    }
}

/// One INFO line every `interval`, until it is dropped.
pub(crate) async fn summarize(health: Arc<Health>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Ok(report) = health.report().await else { continue };
        let totals = report.totals();
        tracing::info!(
            event = "summary",
            received = totals.received,
            processed = totals.processed,
            failed = totals.failed,
            retried = totals.retried,
            queue_depth = totals.queue_depth,
            clients = report.hub.clients(),
            degraded = !report.reasons.is_empty(),
        );
    }
}

impl Announced {
    /// Warns of what is new; forgets what is over, so that it is announced again when it comes back. `mine`: what this server looks
    /// after.
    pub(crate) fn announce(&mut self, reasons: &[Reason], mine: Partitions) -> usize {
        let reasons = reasons.iter().filter(|reason| is_for(reason, mine));
        let now: BTreeSet<_> = reasons.clone().filter_map(subject).collect();
        let mut lines = 0;
        for reason in reasons {
            let Some(subject) = subject(reason) else { continue };
            if !self.0.contains(&subject) {
                lines += 1;
                let (event, destination) = subject;
                let destination = destination.as_ref().map(Name::as_str);
                tracing::warn!(event, destination, "{reason}");
            }
        }
        self.0 = now;
        lines
    }
}

/// Whether whoever looks after these partitions warns of it. What is so of the store, and not of a server, one of all warns of.
fn is_for(reason: &Reason, mine: Partitions) -> bool {
    let about = match reason {
        Reason::HalfTtl { destination, .. } | Reason::NoClient { destination, .. } => destination.as_str(),
        Reason::Full { .. } | Reason::NearlyFull { .. } | Reason::MemoryFull { .. } | Reason::MemoryRunsOut { .. } => {
            ""
        }
        // Of what is connected here, of this machine, or said by who knows it first.
        Reason::Stalled { .. }
        | Reason::CircuitOpen { .. }
        | Reason::Damaged { .. }
        | Reason::DeadLetters { .. }
        | Reason::Paused { .. }
        | Reason::SourceBroken { .. }
        | Reason::OldSecretBroken { .. }
        | Reason::Backup(_)
        | Reason::Untold { .. }
        | Reason::Store { .. }
        | Reason::NoCommit { .. }
        | Reason::ClockMoved(_)
        | Reason::ClockApart(_)
        | Reason::OtherConfiguration { .. }
        | Reason::CertificateEnds { .. } => return true,
    };
    mine.hold(Partition::of_digest(&secret::sha256(about.as_bytes())))
}

/// What a reason is about: the `event=` of its line, and the destination. `None`: whoever knows it first says it.
fn subject(reason: &Reason) -> Option<(&'static str, Option<Name>)> {
    match reason {
        Reason::NoClient { destination, .. } => Some(("no_client", Some(destination.clone()))),
        Reason::CircuitOpen { .. }
        | Reason::Damaged { .. }
        | Reason::DeadLetters { .. }
        | Reason::Paused { .. }
        | Reason::SourceBroken { .. }
        | Reason::OldSecretBroken { .. }
        | Reason::Untold { .. } => None,
        // One that failed has said so.
        Reason::Backup(wanting) => wanting.missed.map(|_| ("backup_missed", None)),
        Reason::Store { .. } => Some(("store_condition", None)),
        Reason::NoCommit { .. } => Some(("no_commit", None)),
        // One that was there at the start is told by the clock as `clock_set_back`.
        Reason::ClockMoved(drift) => (!drift.from_start).then_some(("clock_moved", None)),
        Reason::ClockApart(_) => Some(("clock_apart", None)),
        Reason::OtherConfiguration { .. } => Some(("other_configuration", None)),
        Reason::CertificateEnds { left: Some(_), .. } => Some(("certificate_ends", None)),
        Reason::CertificateEnds { left: None, .. } => Some(("certificate_ended", None)),
        Reason::Stalled { destination, .. } => Some(("stalled", Some(destination.clone()))),
        Reason::HalfTtl { destination, .. } => Some(("half_ttl", Some(destination.clone()))),
        Reason::Full { .. } | Reason::MemoryFull { .. } => Some(("store_full", None)),
        Reason::NearlyFull { .. } | Reason::MemoryRunsOut { .. } => Some(("store_nearly_full", None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_announced_once_until_it_is_over() {
        let reason = |waiting| Reason::NoClient {
            destination: "crm".parse().unwrap(),
            since: Duration::from_secs(61),
            waiting,
            first_expiry: None,
        };
        let mut announced = Announced::default();
        let all = Partitions::ALL;
        assert_eq!(announced.announce(&[reason(1)], all), 1);
        assert_eq!(announced.announce(&[reason(2)], all), 0);
        assert_eq!(announced.announce(&[], all), 0);
        assert_eq!(announced.announce(&[reason(3)], all), 1);
    }

    /// What is so of the store is one server's to warn of, whoever else is there; once that one is gone, another's. What stalls does so where
    /// its clients are, and each says so of its own.
    #[test]
    fn of_several_servers_one_warns_of_what_is_of_the_store() {
        let runs = [1, 2, 3];
        let mut announced = runs.map(|_| Announced::default());
        let of = |name: &str| -> [Reason; 2] {
            let (destination, waiting) = (|| name.parse().unwrap(), 1);
            [
                Reason::HalfTtl { destination: destination(), waiting, first_expiry: Duration::from_hours(1) },
                Reason::NoClient {
                    destination: destination(),
                    since: Duration::from_secs(61),
                    waiting,
                    first_expiry: None,
                },
            ]
        };
        let of_all = [
            Reason::MemoryFull { used: 2, bound: 1 },
            Reason::NearlyFull { free: 1 },
            Reason::Full { free: None, reserve: 1 },
        ];
        for reason in ["crm", "erp", "shop", "mail"].into_iter().flat_map(of).chain(of_all) {
            let (name, reasons) = (format!("{reason:?}"), [reason]);
            let mut lines = runs.map(|_| 0);
            for (at, run) in runs.into_iter().enumerate() {
                let mine = Partitions::looked_after_by(run, &runs, 16);
                lines[at] = announced[at].announce(&reasons, mine);
            }
            assert_eq!(lines.iter().sum::<usize>(), 1, "{name}: {lines:?}");
            let gone = lines.iter().position(|lines| *lines == 1).unwrap();
            let left: Vec<u64> = runs.into_iter().filter(|run| *run != runs[gone]).collect();
            let later = left
                .iter()
                .map(|run| Announced::default().announce(&reasons, Partitions::looked_after_by(*run, &left, 16)));
            assert_eq!(later.sum::<usize>(), 1, "{name}");
            announced = runs.map(|_| Announced::default());
        }
        let destination = "crm".parse().unwrap();
        let stalls = [Reason::Stalled { destination, oldest: Duration::from_mins(2), waiting: 1 }];
        for run in runs {
            assert_eq!(Announced::default().announce(&stalls, Partitions::looked_after_by(run, &runs, 16)), 1);
        }
    }
}
