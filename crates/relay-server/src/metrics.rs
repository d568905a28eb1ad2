//! Metrics: what is counted here, and the exposition of that and of the store's durable counters.
//!
//! The text is the Prometheus format 0.0.4, written by hand: the fixed names hold a counter `crm_relay_deliveries_total`
//! beside a gauge `crm_relay_deliveries`, which `OpenMetrics` cannot tell apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Display, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::{
    alert::Severity,
    delivery::{Reason, State, outcome::Class},
    hub::DestinationView,
    name::Name,
    quota::Measure,
    throttle::Rate,
    time::Wall,
};
use relay_store::seam::Stats;

/// Upper bounds of the commit histogram, in seconds: an fsync takes 0.1 ms on good disks and seconds on bad ones.
const COMMIT_BUCKETS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Of what came to no source.
pub(crate) const UNKNOWN_SOURCE: &str = "unknown";

/// How often one may come to a source that bounds it.
#[derive(Clone, Debug)]
pub(crate) struct Limited {
    /// Which.
    pub(crate) source: Name,
    /// Who: `source`, all together; `address`, each of them.
    pub(crate) per: &'static str,
    /// So often.
    pub(crate) rate: Rate,
}

/// What a source takes in a day, and took today at this server.
#[derive(Clone, Debug)]
pub(crate) struct Daily {
    pub(crate) source: Name,
    pub(crate) measure: Measure,
    pub(crate) quota: u64,
    pub(crate) used: u64,
}

/// What became of a message of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Telling {
    /// Somebody has it.
    Told,
    /// It was given up.
    Untold,
}

impl Telling {
    const ALL: [Self; 2] = [Self::Told, Self::Untold];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Untold => "untold",
        }
    }
}

/// What this process counts itself. Everything durable is counted by the store.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    refused: Mutex<BTreeMap<(String, &'static str), u64>>,
    /// Requests to sources that were answered 2xx, repeats among them.
    accepted: Mutex<BTreeMap<String, u64>>,
    handshakes: Mutex<BTreeMap<String, u64>>,
    tokens_refused: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// Deliveries that this server ended without success, by destination and reason.
    ended: Mutex<BTreeMap<(Name, Reason), u64>>,
    /// Messages of each alert, by what became of them.
    alerts: Mutex<BTreeMap<String, [u64; Telling::ALL.len()]>>,
    /// Spans that the collector of traces has, and that it will not get.
    spans: [AtomicU64; 2],
    /// Conditions of each severity at the latest look.
    conditions: [AtomicU64; Severity::ALL.len()],
    panics: AtomicU64,
    /// Lines of the log, counted by whoever prints them.
    lost_lines: Arc<AtomicU64>,
    commits: [AtomicU64; COMMIT_BUCKETS.len()],
    commit_count: AtomicU64,
    commit_micros: AtomicU64,
}

impl Metrics {
    /// None counted yet; of lost lines of the log, what their printer counts.
    pub(crate) fn new(lost_lines: Arc<AtomicU64>) -> Self {
        Self { lost_lines, ..Self::default() }
    }

    /// Counts a refused request. `source` is a known source's name or `unknown`, so that strangers add no series.
    pub(crate) fn refused(&self, source: &str, reason: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry((source.to_owned(), reason)).or_default() += 1;
    }

    /// Counts a request to a source that is stored, or was.
    pub(crate) fn accepted(&self, source: &str) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        match accepted.get_mut(source) {
            Some(count) => *count += 1,
            None => drop(accepted.insert(source.to_owned(), 1)),
        }
    }

    /// Requests that this process accepted since it began, by source.
    pub(crate) fn accepted_by_source(&self) -> BTreeMap<String, u64> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts an answered handshake.
    pub(crate) fn handshake(&self, source: &str) {
        let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        *handshakes.entry(source.to_owned()).or_default() += 1;
    }

    /// Counts a request that was not let in for want of a token.
    pub(crate) fn token_refused(&self, entrance: &'static str, wrong: &'static str) {
        let mut refused = self.tokens_refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry((entrance, wrong)).or_default() += 1;
    }

    /// Refused requests since the process began, by source and reason.
    #[cfg(test)]
    pub(crate) fn refused_by_reason(&self) -> BTreeMap<(String, &'static str), u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Panics that were contained since the process began.
    #[cfg(test)]
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Refused requests of a source since the process began, by reason.
    pub(crate) fn refused_by_source(&self) -> BTreeMap<String, u64> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = BTreeMap::new();
        refused.iter().for_each(|((source, _), count)| *sums.entry(source.clone()).or_default() += count);
        sums
    }

    /// Refused requests of a source, by reason.
    pub(crate) fn refused_of(&self, source: &str) -> BTreeMap<&'static str, u64> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().filter(|((name, _), _)| name == source).map(|((_, reason), count)| (*reason, *count)).collect()
    }

    /// Answered handshakes of a source since the process began.
    pub(crate) fn handshakes_of(&self, source: &str) -> u64 {
        let handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        handshakes.get(source).copied().unwrap_or_default()
    }

    /// Counts a delivery that ended without success.
    pub(crate) fn ended(&self, destination: &Name, reason: Reason) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended.entry((destination.clone(), reason)).or_default() += 1;
    }

    /// Deliveries that ended so since the process began.
    pub(crate) fn ended_so_far(&self) -> u64 {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Counts what became of a message of an alert; with nothing, that there is one.
    pub(crate) fn alert(&self, alert: &str, telling: Option<Telling>) {
        let mut alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = alerts.entry(alert.to_owned()).or_default();
        if let Some(telling) = telling {
            counts[telling as usize] += 1;
        }
    }

    /// Counts spans that the collector of traces has, or that it will not get.
    pub(crate) fn spans(&self, are_sent: bool, count: usize) {
        self.spans[usize::from(!are_sent)].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Spans so far that the collector of traces has, and that it will not get.
    pub(crate) fn spans_so_far(&self) -> [u64; 2] {
        [0, 1].map(|at| self.spans[at].load(Ordering::Relaxed))
    }

    /// Notes how many conditions of each severity there are, as this server sees it.
    pub(crate) fn conditions(&self, counts: [u64; Severity::ALL.len()]) {
        self.conditions.iter().zip(counts).for_each(|(known, count)| known.store(count, Ordering::Relaxed));
    }

    /// Counts a contained panic.
    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one append call of the store and how long it took until durable.
    pub(crate) fn committed(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(at) = COMMIT_BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.commits[at].fetch_add(1, Ordering::Relaxed);
        }
        self.commit_count.fetch_add(1, Ordering::Relaxed);
        self.commit_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    /// The whole exposition.
    pub(crate) fn render(
        &self,
        stats: &Stats,
        view: &[DestinationView],
        paused: &BTreeSet<Name>,
        bounds: (&[Limited], &[Daily]),
        now: Wall,
    ) -> String {
        let mut page = Page(String::with_capacity(4096));
        self.render_ingress(&mut page, stats);
        render_rates(&mut page, bounds.0);
        render_quotas(&mut page, bounds.1);
        render_deliveries(&mut page, stats, now);
        self.render_ended(&mut page, stats);
        render_clients(&mut page, stats, view);
        render_pauses(&mut page, stats, paused);
        self.render_alerts(&mut page);
        self.render_traces(&mut page);
        self.render_store(&mut page, stats);
        page.0
    }

    fn render_ingress(&self, page: &mut Page, stats: &Stats) {
        page.head("events_accepted_total", "counter", "Events stored, by source.");
        for source in &stats.sources {
            page.sample("events_accepted_total", &[("source", source.source.as_str())], source.accepted);
        }
        page.head("requests_refused_total", "counter", "Requests refused, by source and reason.");
        for ((source, reason), count) in &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            page.sample("requests_refused_total", &[("source", source), ("reason", reason)], count);
        }
        page.head("tokens_refused_total", "counter", "Requests not let in for want of a token, by entrance.");
        for ((entrance, wrong), count) in &*self.tokens_refused.lock().unwrap_or_else(PoisonError::into_inner) {
            let labels = [("entrance", *entrance), ("reason", *wrong)];
            page.sample("tokens_refused_total", &labels, count);
        }
        page.head("handshakes_total", "counter", "Handshakes answered, by source.");
        for (source, count) in &*self.handshakes.lock().unwrap_or_else(PoisonError::into_inner) {
            page.sample("handshakes_total", &[("source", source)], count);
        }
        page.head("duplicates_total", "counter", "Repeats answered with the first event's id.");
        for source in &stats.sources {
            page.sample("duplicates_total", &[("source", source.source.as_str())], source.duplicates);
        }
        page.head("events", "gauge", "Events stored now and events retired so far.");
        for source in &stats.sources {
            let name = source.source.as_str();
            page.sample("events", &[("source", name), ("state", "stored")], source.stored);
            page.sample("events", &[("source", name), ("state", "retired")], source.retired);
        }
    }

    /// Of every destination, and for every reason: what rises from nothing to one is seen only where there was a sample before.
    fn render_ended(&self, page: &mut Page, stats: &Stats) {
        page.head("deliveries_ended_total", "counter", "Deliveries that this server ended without success, by reason.");
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let known = stats.destinations.iter().map(|stats| &stats.destination);
        for name in known.chain(ended.keys().map(|(name, _)| name)).collect::<BTreeSet<_>>() {
            for reason in Reason::ALL {
                let count = ended.get(&(name.clone(), reason)).copied().unwrap_or_default();
                let labels = [("destination", name.as_str()), ("reason", reason.as_str())];
                page.sample("deliveries_ended_total", &labels, count);
            }
        }
    }

    fn render_alerts(&self, page: &mut Page) {
        page.head("conditions", "gauge", "What is not as it should be, of what this server tells, by severity.");
        for (severity, count) in Severity::ALL.iter().zip(&self.conditions) {
            page.sample("conditions", &[("severity", severity.as_str())], count.load(Ordering::Relaxed));
        }
        page.head("alert_messages_total", "counter", "Messages of alerts, by what became of them.");
        for (alert, counts) in &*self.alerts.lock().unwrap_or_else(PoisonError::into_inner) {
            for (telling, count) in Telling::ALL.iter().zip(counts) {
                page.sample("alert_messages_total", &[("alert", alert), ("result", telling.as_str())], count);
            }
        }
    }

    fn render_traces(&self, page: &mut Page) {
        page.head("trace_spans_total", "counter", "Spans of traces, by whether the collector has them.");
        for (result, count) in ["sent", "dropped"].iter().zip(self.spans_so_far()) {
            page.sample("trace_spans_total", &[("result", result)], count);
        }
    }

    fn render_store(&self, page: &mut Page, stats: &Stats) {
        page.head("commit_seconds", "histogram", "From handing appends to the store until they are durable.");
        let mut below = 0;
        for (bound, count) in COMMIT_BUCKETS.iter().zip(&self.commits) {
            below += count.load(Ordering::Relaxed);
            page.sample("commit_seconds_bucket", &[("le", &bound.to_string())], below);
        }
        let count = self.commit_count.load(Ordering::Relaxed);
        page.sample("commit_seconds_bucket", &[("le", "+Inf")], count);
        page.sample("commit_seconds_sum", &[], self.commit_micros.load(Ordering::Relaxed) as f64 / 1e6);
        page.sample("commit_seconds_count", &[], count);
        page.head(
            "panics_total",
            "counter",
            "Panics of tasks; those of a connection, session or command are contained.",
        );
        page.sample("panics_total", &[], self.panics.load(Ordering::Relaxed));
        page.head("log_lines_lost_total", "counter", "Lines of the log that could not be written or were not taken.");
        page.sample("log_lines_lost_total", &[], self.lost_lines.load(Ordering::Relaxed));
        if let Some(free) = stats.disk_free_bytes {
            page.head("disk_free_bytes", "gauge", "Free bytes on the disk of the store.");
            page.sample("disk_free_bytes", &[], free);
        }
        if let Some(memory) = stats.memory {
            page.head("memory_free_bytes", "gauge", "Bytes that Redis may take yet before webhooks are refused.");
            page.sample("memory_free_bytes", &[], memory.bound.saturating_sub(memory.used));
        }
        page.head("store_bytes", "gauge", "Bytes that the store's files take, or that Redis uses.");
        page.sample("store_bytes", &[], stats.store_bytes);
    }
}

fn render_rates(page: &mut Page, limited: &[Limited]) {
    page.head("source_rate_limit", "gauge", "Requests a second that may come to a source that bounds them.");
    for one in limited {
        let rate = 1.0 / one.rate.every.as_secs_f64();
        page.sample("source_rate_limit", &[("source", one.source.as_str()), ("per", one.per)], rate);
    }
}

fn render_quotas(page: &mut Page, daily: &[Daily]) {
    let mut each = |name: &str, help: &str, value: fn(&Daily) -> u64| {
        page.head(name, "gauge", help);
        for one in daily {
            page.sample(name, &[("source", one.source.as_str()), ("measure", one.measure.as_str())], value(one));
        }
    };
    each("source_quota", "What a source takes in a day (UTC).", |one| one.quota);
    each("source_quota_used", "What a source took today at this server, of those that bound it.", |one| one.used);
}

fn render_deliveries(page: &mut Page, stats: &Stats, now: Wall) {
    let destinations = || stats.destinations.iter().map(|stats| (stats.destination.as_str(), stats));
    page.head("deliveries_created_total", "counter", "Deliveries ever made: routed and replayed.");
    for (name, stats) in destinations() {
        page.sample("deliveries_created_total", &[("destination", name)], stats.created);
    }
    page.head("deliveries_retired_total", "counter", "Deliveries removed by retention or purge.");
    for (name, stats) in destinations() {
        page.sample("deliveries_retired_total", &[("destination", name)], stats.retired);
    }
    page.head("deliveries_lost_total", "counter", "Deliveries in ranges that an operator accepted as lost.");
    for (name, stats) in destinations() {
        page.sample("deliveries_lost_total", &[("destination", name)], stats.lost);
    }
    page.head("deliveries_total", "counter", "Tries recorded, by outcome.");
    for (name, stats) in destinations() {
        for (class, count) in Class::ALL.iter().zip(stats.outcomes) {
            page.sample("deliveries_total", &[("destination", name), ("outcome", class.as_str())], count);
        }
    }
    page.head("deliveries", "gauge", "Deliveries now in each state.");
    for (name, stats) in destinations() {
        for (state, count) in State::ALL.iter().zip(stats.states) {
            page.sample("deliveries", &[("destination", name), ("state", state.as_str())], count);
        }
    }
    page.head("oldest_due_age_seconds", "gauge", "How long the earliest waiting delivery has been due.");
    for (name, stats) in destinations() {
        let age = stats.oldest_due.map_or(0.0, |due| now.since(due).as_secs_f64());
        page.sample("oldest_due_age_seconds", &[("destination", name)], age);
    }
}

/// Of all servers that share the store, so that each says the same. Also of destinations that no client ever served: an alert on 0 needs a sample.
fn render_clients(page: &mut Page, stats: &Stats, view: &[DestinationView]) {
    let mut served: BTreeMap<&Name, (u32, u32)> = BTreeMap::new();
    for stats in &stats.destinations {
        served.insert(&stats.destination, (0, 0));
    }
    for seen in view {
        let open = seen.clients.iter().filter(|client| client.circuit_open).count();
        let (clients, open) = (seen.clients.len() as u32 + seen.elsewhere, open as u32 + seen.elsewhere_down);
        served.insert(&seen.destination, (clients, open));
    }
    page.head("clients", "gauge", "Client instances that serve a destination, at whatever server.");
    for (name, (clients, _)) in &served {
        page.sample("clients", &[("destination", name.as_str())], clients);
    }
    page.head("circuit_open", "gauge", "Client instances whose circuit to a destination is open, at whatever server.");
    for (name, (_, open)) in &served {
        page.sample("circuit_open", &[("destination", name.as_str())], open);
    }
}

/// Of every destination that has or had something: an alert that a pause was forgotten needs a sample.
fn render_pauses(page: &mut Page, stats: &Stats, paused: &BTreeSet<Name>) {
    page.head("destination_paused", "gauge", "Whether an operator paused the destination.");
    let names = stats.destinations.iter().map(|stats| &stats.destination).chain(paused);
    for name in names.collect::<BTreeSet<_>>() {
        page.sample("destination_paused", &[("destination", name.as_str())], u8::from(paused.contains(name)));
    }
}

/// How old the newest copy of the store is; none: `+Inf`.
pub(crate) fn backup_age(age: Option<Duration>) -> String {
    let mut page = Page(String::new());
    page.head("backup_age_seconds", "gauge", "How old the newest copy of the store in BACKUP_DIR is.");
    match age {
        Some(age) => page.sample("backup_age_seconds", &[], age.as_secs_f64()),
        None => page.sample("backup_age_seconds", &[], "+Inf"),
    }
    page.0
}

/// The text as it grows.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP crm_relay_{name} {help}\n# TYPE crm_relay_{name} {kind}\n");
    }

    /// Label values are names and our own words: nothing in them needs escaping.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "crm_relay_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use relay_store::seam::{DestinationStats, SourceStats};

    use super::*;

    /// The names that scripts and alerts rely on.
    #[test]
    fn every_fixed_name_is_exposed() {
        let metrics = Metrics::default();
        metrics.refused("stripe", "not_genuine");
        metrics.committed(Duration::from_millis(3));
        metrics.ended(&"erp".parse().unwrap(), Reason::Expired);
        let page = metrics.render(
            &stats(),
            &view(),
            &std::iter::once("crm".parse().unwrap()).collect(),
            (
                &[Limited { source: "stripe".parse().unwrap(), per: "address", rate: "120/min".parse().unwrap() }],
                &[Daily { source: "stripe".parse().unwrap(), measure: Measure::Bytes, quota: 100, used: 81 }],
            ),
            Wall::from_micros(9_000_000),
        );
        for line in [
            "crm_relay_events_accepted_total{source=\"stripe\"} 5",
            "crm_relay_requests_refused_total{source=\"stripe\",reason=\"not_genuine\"} 1",
            "crm_relay_duplicates_total{source=\"stripe\"} 2",
            "crm_relay_events{source=\"stripe\",state=\"stored\"} 4",
            "crm_relay_events{source=\"stripe\",state=\"retired\"} 1",
            "crm_relay_deliveries_created_total{destination=\"crm\"} 28",
            "crm_relay_deliveries_retired_total{destination=\"crm\"} 0",
            "crm_relay_deliveries_lost_total{destination=\"crm\"} 0",
            "crm_relay_deliveries_total{destination=\"crm\",outcome=\"busy\"} 3",
            "crm_relay_deliveries{destination=\"crm\",state=\"scheduled\"} 2",
            "crm_relay_deliveries_ended_total{destination=\"crm\",reason=\"refused\"} 0",
            "crm_relay_deliveries_ended_total{destination=\"erp\",reason=\"expired\"} 1",
            "crm_relay_oldest_due_age_seconds{destination=\"crm\"} 8",
            "crm_relay_clients{destination=\"crm\"} 0",
            "crm_relay_circuit_open{destination=\"crm\"} 0",
            "crm_relay_destination_paused{destination=\"crm\"} 1",
            "crm_relay_commit_seconds_bucket{le=\"0.005\"} 1",
            "crm_relay_commit_seconds_bucket{le=\"+Inf\"} 1",
            "crm_relay_disk_free_bytes 77",
            "crm_relay_source_rate_limit{source=\"stripe\",per=\"address\"} 2",
            "crm_relay_memory_free_bytes 30",
            "crm_relay_source_quota{source=\"stripe\",measure=\"bytes\"} 100",
            "crm_relay_source_quota_used{source=\"stripe\",measure=\"bytes\"} 81",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} is missing in\n{page}");
        }
    }

    /// An alert on `crm_relay_clients == 0` fires only if there is a sample.
    #[test]
    fn a_destination_that_nobody_ever_served_has_no_clients() {
        let page = Metrics::default().render(&stats(), &[], &BTreeSet::new(), (&[], &[]), Wall::MIN);
        assert!(page.contains("crm_relay_clients{destination=\"crm\"} 0\n"), "{page}");
        assert!(page.contains("crm_relay_circuit_open{destination=\"crm\"} 0\n"), "{page}");
    }

    /// I24: servers that share a store say the same of its clients.
    #[test]
    fn clients_of_other_servers_are_among_the_clients() {
        let mut view = view();
        (view[0].elsewhere, view[0].elsewhere_down) = (2, 1);
        let page = Metrics::default().render(&stats(), &view, &BTreeSet::new(), (&[], &[]), Wall::MIN);
        assert!(page.contains("crm_relay_clients{destination=\"crm\"} 2\n"), "{page}");
        assert!(page.contains("crm_relay_circuit_open{destination=\"crm\"} 1\n"), "{page}");
    }

    #[test]
    fn each_name_is_declared_once() {
        let page = Metrics::default().render(
            &stats(),
            &view(),
            &std::iter::once("crm".parse().unwrap()).collect(),
            (&[], &[]),
            Wall::MIN,
        );
        let mut names: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    fn stats() -> Stats {
        Stats {
            sources: vec![SourceStats {
                source: "stripe".parse().unwrap(),
                accepted: 5,
                stored: 4,
                retired: 1,
                duplicates: 2,
            }],
            destinations: vec![DestinationStats {
                destination: "crm".parse().unwrap(),
                created: 28,
                states: [1, 2, 3, 4, 5, 6, 7],
                retired: 0,
                lost: 0,
                outcomes: [1, 2, 3, 4, 5],
                retried: 2,
                oldest_due: Some(Wall::from_micros(1_000_000)),
                next_expiry: None,
            }],
            disk_free_bytes: Some(77),
            memory: Some(relay_store::seam::Memory { used: 50, bound: 80, bytes_a_day: None }),
            ..Stats::default()
        }
    }

    fn view() -> Vec<DestinationView> {
        vec![DestinationView {
            destination: "crm".parse().unwrap(),
            clients: Vec::new(),
            elsewhere: 0,
            elsewhere_down: 0,
            served: false,
        }]
    }
}
