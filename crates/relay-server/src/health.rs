//! Health: whether the server does what it is for, and if not, why (I24).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use relay_core::{
    delivery::State,
    hub::{DestinationView, ServerView},
    limits,
    name::Name,
    storage::{Apart, StoreError},
    time::{Mono, Now, Wall},
};
use relay_store::seam::{Condition, DestinationStats, Memory, Stats, Upkeep};

use crate::{
    backups::{Backups, CopiesShown, Wanting},
    certificate::{Certificate, Ends},
    clock::{Clock, Drift, rough},
    depth::{count, open, waiting},
    directory::Directory,
    hub::{Handle, OldestCommit, View},
    metrics::Metrics,
    registry::Registry,
    shared_look::SharedLook,
    trend::Trend,
    untold::{Failing, Untold},
};

/// Due work may be this old while a client could take it, before it counts as a stall of our own.
const STALL_AFTER: Duration = Duration::from_mins(1);
/// A day.
const DAY: Duration = Duration::from_hours(24);
/// Servers that one reason names.
const SERVERS_SHOWN: usize = 5;
/// How old a look at the counters may be that is shared with whoever asks: `/health` is public and must not be a lever on the store.
const LOOK_FRESH: Duration = Duration::from_millis(500);

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Deliveries wait and no client serves their destination.
    NoClient { destination: Name, since: Duration, waiting: u64, first_expiry: Option<Duration> },
    /// A circuit is open.
    CircuitOpen {
        destination: Name,
        client: String,
        since: Duration,
        waiting: u64,
        /// Until the next try; `None`: one is under way.
        next_try: Option<Duration>,
        error: Option<String>,
    },
    /// Due work is old although a client could take it.
    Stalled { destination: Name, oldest: Duration, waiting: u64 },
    /// Half the TTL of a waiting delivery has passed.
    HalfTtl { destination: Name, waiting: u64, first_expiry: Duration },
    /// Deliveries ended without success and nobody has looked at them.
    DeadLetters { destination: Name, dead: u64, expired: u64 },
    /// Deliveries wait at a destination that an operator paused.
    Paused { destination: Name, waiting: u64 },
    /// There is no room.
    Full { free: Option<u64>, reserve: u64 },
    /// Room runs out.
    NearlyFull { free: u64 },
    /// The memory that the store is in has no room for webhooks.
    MemoryFull { used: u64, bound: u64 },
    /// It will have none, at the rate of the last day: what stays for so long comes to more than there is.
    MemoryRunsOut { bytes_a_day: u64, kept: Duration, bound: u64 },
    /// Records of the store are damaged.
    Damaged { records: u64 },
    /// A source's parameters do not read: it takes nothing.
    SourceBroken { source: Name, what: String },
    /// The old secret of a rotation under way does not read: what is signed by it gets 401.
    OldSecretBroken { source: Name, what: String },
    /// The store says so of itself.
    Store { what: String, commits: bool },
    /// A commit was asked for and has not come: senders get 503.
    NoCommit { since: Duration },
    /// The system's clock is not where this process's time is.
    ClockMoved(Drift),
    /// This process's time is not that of the other servers on the store: it takes no leases.
    ClockApart(Apart),
    /// Servers on the store are configured otherwise than this one.
    OtherConfiguration { servers: Vec<String> },
    /// A certificate of the public listener ends soon, or has ended: `None`.
    CertificateEnds { left: Option<Duration>, file: String, trouble: Option<String> },
    /// The store is not copied as it should be.
    Backup(Wanting),
    /// An alert reaches nobody.
    Untold { alert: Name, since: Duration, why: String },
}

/// The state of the whole server, for `/health` and `crm-relay status`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// The store's counters.
    pub(crate) stats: Stats,
    /// What the store says of itself.
    pub(crate) condition: Condition,
    /// What the hub knows.
    pub(crate) hub: View,
    /// Why it is degraded; empty: it is not.
    pub(crate) reasons: Vec<Reason>,
}

/// Sums over everything, as `/health` shows them. From the store, so a restart does not reset them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Events accepted.
    pub(crate) received: u64,
    /// Deliveries made.
    pub(crate) processed: u64,
    /// Deliveries now dead or expired.
    pub(crate) failed: u64,
    /// Tries after the first.
    pub(crate) retried: u64,
    /// Deliveries on their way.
    pub(crate) queue_depth: u64,
}

/// Answers questions about health.
pub(crate) struct Health {
    upkeep: Arc<dyn Upkeep>,
    hub: Handle,
    registry: Arc<Registry>,
    clock: Clock,
    commits: OldestCommit,
    disk_reserve: u64,
    /// How long what was delivered stays.
    retention: Duration,
    /// What the public listener shows of itself.
    certificate: Option<Certificate>,
    untold: Untold,
    backups: Option<Arc<Backups>>,
    trend: Arc<Trend>,
    stopping: AtomicBool,
    unserved: Mutex<BTreeMap<Name, Now>>,
    look: SharedLook<Result<Report, StoreError>>,
}

impl Health {
    pub(crate) fn new(
        upkeep: Arc<dyn Upkeep>,
        hub: Handle,
        registry: Arc<Registry>,
        clock: Clock,
        commits: OldestCommit,
        disk_reserve: u64,
    ) -> Self {
        Self {
            upkeep,
            hub,
            registry,
            clock,
            commits,
            disk_reserve,
            retention: Duration::ZERO,
            certificate: None,
            untold: Untold::default(),
            backups: None,
            trend: Arc::default(),
            stopping: AtomicBool::new(false),
            unserved: Mutex::default(),
            look: SharedLook::fresh_for(LOOK_FRESH),
        }
    }

    /// The same, which looks after a certificate too.
    pub(crate) fn with(self, certificate: Option<Certificate>) -> Self {
        Self { certificate, ..self }
    }

    /// The same, where what was delivered stays for so long.
    pub(crate) fn keeping(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// The same, which knows which alerts reach nobody.
    pub(crate) fn hearing(self, untold: Untold) -> Self {
        Self { untold, ..self }
    }

    /// The same, which looks after copies of the store too.
    pub(crate) fn copying(self, backups: Option<Arc<Backups>>) -> Self {
        Self { backups, ..self }
    }

    /// The same, which has each of its looks counted by the minute, from these counters on.
    pub(crate) fn counting(self, metrics: &Arc<Metrics>, stats: &Stats) -> Self {
        let trend = Trend::new(Arc::clone(metrics));
        let now = self.clock.now().mono;
        trend.note(stats, now, now);
        Self { trend: Arc::new(trend), ..self }
    }

    /// Now, as [`Self::judge`] has it.
    pub(crate) fn moment(&self) -> Mono {
        self.clock.now().mono
    }

    /// How much came and went by the minute, as far as was looked.
    pub(crate) fn trend(&self) -> &Trend {
        &self.trend
    }

    /// How copies of the store stand; none: nobody takes any.
    pub(crate) fn backups(&self) -> Option<CopiesShown> {
        self.backups.as_ref().map(|backups| backups.shown(self.clock.now()))
    }

    /// When the public listener's certificate ends; none: it speaks no TLS.
    pub(crate) fn certificate_ends(&self) -> Option<Ends> {
        self.certificate.as_ref().map(Certificate::ends)
    }

    /// Whether the store commits and no shutdown has begun. A full store is ready: it settles, and clients that come in
    /// here are what makes room.
    pub(crate) fn is_ready(&self) -> bool {
        let commits = self.late_commit(self.clock.now()).is_none();
        commits && self.upkeep.condition().commits && !self.stopping.load(Ordering::Relaxed)
    }

    /// What a probe of readiness is told.
    pub(crate) fn probe(&self) -> (StatusCode, &'static str) {
        match (self.is_ready(), self.stopping.load(Ordering::Relaxed)) {
            (true, _) => (StatusCode::OK, "ready\n"),
            (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down\n"),
            (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        }
    }

    /// How long the oldest commit has been under way, if its sender has its 503 by now.
    fn late_commit(&self, now: Now) -> Option<Duration> {
        self.commits.age(now.mono).filter(|age| *age > limits::COMMIT_WITHIN)
    }

    /// From now on the server is not ready: it stops, or is about to.
    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// A report at most [`LOOK_FRESH`] old: for strangers, and for what comes round by itself.
    ///
    /// # Errors
    /// When the store does not tell, or did not a moment ago.
    pub(crate) async fn report(&self) -> Result<Report, StoreError> {
        self.look.at(|| self.clock.now().mono, || self.examine()).await
    }

    /// A report of now, for an operator: what was acknowledged to anybody before he asked is counted in it. Those who ask while a look is
    /// under way share the next one.
    ///
    /// # Errors
    /// When the store does not tell.
    pub(crate) async fn report_now(&self) -> Result<Report, StoreError> {
        self.look.begun_since(|| self.clock.now().mono, || self.examine()).await
    }

    /// The next report is a fresh one.
    #[cfg(test)]
    pub(crate) async fn forget(&self) {
        self.look.forget().await;
    }

    async fn examine(&self) -> Result<Report, StoreError> {
        let began = self.clock.now().mono;
        let stats = self.upkeep.stats().await?;
        let hub = self.hub.view().await;
        let reasons = self.judge(&stats, &hub, began);
        Ok(Report { stats, condition: self.upkeep.condition(), hub, reasons })
    }

    /// What is not as it should be, by these counters and what the hub knows. What moved since the last look is noted, by a look that
    /// began then.
    pub(crate) fn judge(&self, stats: &Stats, hub: &View, began: Mono) -> Vec<Reason> {
        let now = self.clock.now();
        self.trend.note(stats, began, now.mono);
        let unserved = {
            let mut unserved = self.unserved.lock().unwrap_or_else(PoisonError::into_inner);
            note_unserved(&mut unserved, stats, &hub.destinations, now);
            unserved.clone()
        };
        let directory = self.registry.directory();
        let (ttl_default, retention) = (self.registry.defaults().ttl, self.retention);
        let known = Known { directory: &directory, unserved: &unserved, ttl_default, retention, now };
        let mut reasons = assess(stats, &hub.destinations, &known, self.disk_reserve);
        let broken = |(source, what): (&Name, &str)| Reason::SourceBroken { source: source.clone(), what: what.into() };
        reasons.extend(directory.broken().map(broken));
        let broken =
            |(source, what): (&Name, &str)| Reason::OldSecretBroken { source: source.clone(), what: what.into() };
        reasons.extend(directory.broken_old().map(broken));
        let condition = self.upkeep.condition();
        let of_store = |what: &String| Reason::Store { what: what.clone(), commits: condition.commits };
        reasons.extend(condition.reasons.iter().map(of_store));
        reasons.extend(self.late_commit(now).map(|since| Reason::NoCommit { since }));
        reasons.extend(self.clock.drift().map(Reason::ClockMoved));
        reasons.extend(hub.clock_apart.map(Reason::ClockApart));
        reasons.extend(other_configuration(&hub.servers));
        let ends = self.certificate.as_ref().map(Certificate::ends);
        reasons.extend(ends.and_then(|ends| certificate_ends(&ends, self.clock.present())));
        reasons.extend(self.backups.as_ref().and_then(|backups| backups.wanting(now)).map(Reason::Backup));
        let since = |failing: &Failing| now.mono.since(failing.since);
        let untold = self.untold.all().into_iter();
        reasons.extend(untold.map(|(alert, failing)| Reason::Untold {
            alert,
            since: since(&failing),
            why: failing.why,
        }));
        reasons
    }
}

impl Report {
    /// See [`Totals`].
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { received: self.stats.sources.iter().map(|s| s.accepted).sum(), ..Totals::default() };
        for stats in &self.stats.destinations {
            totals.processed += stats.outcomes[0];
            totals.failed += State::DEAD_LETTER.iter().map(|state| count(stats, *state)).sum::<u64>();
            totals.retried += stats.retried;
            totals.queue_depth += open(stats);
        }
        totals
    }
}

/// Whether a certificate ends so soon that whoever renews it should have done so: by the system's clock, as peers do.
fn certificate_ends(ends: &Ends, present: Wall) -> Option<Reason> {
    let left = (present < ends.at).then(|| ends.at.since(present));
    let file = ends.file.display().to_string();
    (present > ends.told_from).then(|| {
        let trouble = ends.trouble.clone();
        Reason::CertificateEnds { left, file, trouble }
    })
}

/// Servers whose configuration is to be this one's, and is not.
fn other_configuration(servers: &[ServerView]) -> Option<Reason> {
    let other = servers.iter().filter(|server| !server.same_config);
    let named = |server: &ServerView| match (&*server.about.name, &*server.about.address) {
        ("", "") => format!("run {:016x}", server.run),
        ("", address) => address.to_owned(),
        (name, "") => name.to_owned(),
        (name, address) => format!("{name} ({address})"),
    };
    let servers: Vec<String> = other.map(named).collect();
    (!servers.is_empty()).then_some(Reason::OtherConfiguration { servers })
}

/// Keeps since when destinations have waiting deliveries and no client, at whatever server.
fn note_unserved(unserved: &mut BTreeMap<Name, Now>, stats: &Stats, view: &[DestinationView], now: Now) {
    let is_unserved = |stats: &&DestinationStats| {
        let seen = view.iter().find(|seen| seen.destination == stats.destination);
        let nobody = seen.is_none_or(|seen| seen.clients.is_empty() && seen.elsewhere == 0);
        nobody && waiting(stats) > 0
    };
    let names: Vec<&Name> = stats.destinations.iter().filter(is_unserved).map(|stats| &stats.destination).collect();
    unserved.retain(|name, _| names.contains(&name));
    for name in names {
        unserved.entry(name.clone()).or_insert(now);
    }
}

/// What the rules look at beside the counters.
struct Known<'a> {
    directory: &'a Directory,
    /// Since when destinations have waiting deliveries and no client.
    unserved: &'a BTreeMap<Name, Now>,
    /// TTL of deliveries whose route is gone.
    ttl_default: Duration,
    /// How long what was delivered stays.
    retention: Duration,
    now: Now,
}

/// The rules of I24, as a function of what is known.
fn assess(stats: &Stats, view: &[DestinationView], known: &Known<'_>, disk_reserve: u64) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(memory) = &stats.memory {
        reasons.extend(assess_memory(memory, stats.full, known.retention));
    } else if stats.full {
        reasons.push(Reason::Full { free: stats.disk_free_bytes, reserve: disk_reserve });
    } else if let Some(free) = stats.disk_free_bytes.filter(|free| *free < disk_reserve.saturating_mul(2)) {
        reasons.push(Reason::NearlyFull { free });
    }
    if stats.damaged > 0 {
        reasons.push(Reason::Damaged { records: stats.damaged });
    }
    for stats in &stats.destinations {
        if known.directory.routing.paused.contains(&stats.destination) {
            let (destination, waiting) = (stats.destination.clone(), waiting(stats));
            reasons.extend((waiting > 0).then_some(Reason::Paused { destination, waiting }));
        } else {
            let seen = view.iter().find(|seen| seen.destination == stats.destination);
            assess_destination(stats, seen, known, &mut reasons);
        }
        // Also of a paused destination: what waits there expires all the same.
        reasons.extend(half_ttl(stats, known));
        let (dead, expired) = (count(stats, State::Dead), count(stats, State::Expired));
        let destination = stats.destination.clone();
        reasons.extend((dead + expired > 0).then_some(Reason::DeadLetters { destination, dead, expired }));
    }
    reasons
}

/// What is in memory stays as long as retention says: what comes in a day, so many times, is what it comes to.
fn assess_memory(memory: &Memory, is_full: bool, kept: Duration) -> Option<Reason> {
    let Memory { used, bound, bytes_a_day } = *memory;
    if is_full {
        return Some(Reason::MemoryFull { used, bound });
    }
    let bytes_a_day = bytes_a_day?;
    let comes_to = u128::from(bytes_a_day) * kept.as_millis() / DAY.as_millis();
    (bound > 0 && comes_to > u128::from(bound)).then_some(Reason::MemoryRunsOut { bytes_a_day, kept, bound })
}

fn assess_destination(
    stats: &DestinationStats,
    seen: Option<&DestinationView>,
    known: &Known<'_>,
    reasons: &mut Vec<Reason>,
) {
    let (destination, waiting) = (stats.destination.clone(), waiting(stats));
    let now = known.now;
    let alone = known.unserved.get(&destination).map(|since| now.mono.since(since.mono));
    if let Some(since) = alone.filter(|since| *since >= limits::NO_CLIENT_WARN_AFTER) {
        let first_expiry = stats.next_expiry.map(|at| at.since(now.wall));
        reasons.push(Reason::NoClient { destination: destination.clone(), since, waiting, first_expiry });
    }
    for client in seen.iter().flat_map(|seen| &seen.clients).filter(|client| client.circuit_open) {
        let since = client.open_since.map_or(Duration::ZERO, |since| now.mono.since(since));
        let next_try = client.next_try.map(|at| at.since(now.mono));
        let (client, error) = (client.label.clone(), client.error.clone());
        reasons.push(Reason::CircuitOpen { destination: destination.clone(), client, since, waiting, next_try, error });
    }
    let oldest = stats.oldest_due.map_or(Duration::ZERO, |due| now.wall.since(due));
    if seen.is_some_and(|seen| seen.served) && waiting > 0 && oldest > STALL_AFTER {
        reasons.push(Reason::Stalled { destination, oldest, waiting });
    }
}

fn half_ttl(stats: &DestinationStats, known: &Known<'_>) -> Option<Reason> {
    let (destination, waiting) = (stats.destination.clone(), waiting(stats));
    let first_expiry = stats.next_expiry?.since(known.now.wall);
    // With several routes the shortest TTL is taken: a reason too late is better than one that is always there.
    let routes = known.directory.routing.routes.values().flatten().filter(|route| route.destination == destination);
    let ttl = routes.map(|route| route.ttl).min().unwrap_or(known.ttl_default);
    (waiting > 0 && first_expiry < ttl / 2).then_some(Reason::HalfTtl { destination, waiting, first_expiry })
}

/// Bytes, as people say them.
fn bytes_rough(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoClient { destination, since, waiting, first_expiry } => {
                write!(f, "destination {destination}: no client for {}, {waiting} waiting", rough(*since))?;
                first_expiry.map_or(Ok(()), |span| write!(f, ", first expires in {}", rough(span)))?;
                write!(f, "; start one where the target is: crm-relay client --to {destination}=URL")
            }
            Self::CircuitOpen { destination, client, since, waiting, next_try, error } => {
                write!(f, "destination {destination}: down through client {client} for {}", rough(*since))?;
                write!(f, ", {waiting} waiting, ")?;
                match next_try {
                    Some(span) if *span >= Duration::from_secs(1) => write!(f, "next try in {}", rough(*span))?,
                    Some(_) => f.write_str("next try now")?,
                    None => f.write_str("a try is under way")?,
                }
                error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
            }
            Self::Stalled { destination, oldest, waiting } => write!(
                f,
                "destination {destination}: {waiting} waiting, the oldest due for {} although a client has room",
                rough(*oldest)
            ),
            Self::HalfTtl { destination, waiting, first_expiry } => write!(
                f,
                "destination {destination}: half the TTL has passed, {waiting} waiting, first expires in {}",
                rough(*first_expiry)
            ),
            Self::DeadLetters { destination, dead, expired } => {
                write!(
                    f,
                    "destination {destination}: {dead} dead and {expired} expired; crm-relay dead list, then redrive or purge"
                )
            }
            Self::Paused { destination, waiting } => {
                write!(
                    f,
                    "destination {destination}: paused, {waiting} waiting; crm-relay destination resume {destination}"
                )
            }
            Self::Full { free: Some(free), reserve } => write!(
                f,
                "the store is full: {free} bytes free on its disk, DISK_RESERVE keeps {reserve}; make room, or lower it"
            ),
            Self::Full { free: None, .. } => f.write_str("the store is full"),
            Self::NearlyFull { free } => write!(f, "room runs out: {free} bytes free on the disk of the store"),
            Self::MemoryFull { used, bound } => write!(
                f,
                "the store is full: Redis uses {}, and webhooks are taken up to {}; raise its maxmemory, or shorten \
                 RETENTION_DELIVERED. What waits is delivered meanwhile",
                bytes_rough(*used),
                bytes_rough(*bound)
            ),
            Self::MemoryRunsOut { bytes_a_day, kept, bound } => write!(
                f,
                "the memory of Redis runs out: {} a day came in lately and stay for {}, and webhooks are taken up to {}; raise its \
                 maxmemory, or shorten RETENTION_DELIVERED",
                bytes_rough(*bytes_a_day),
                rough(*kept),
                bytes_rough(*bound)
            ),
            Self::Damaged { records } => write!(
                f,
                "{records} damaged records in the store, named in the log: stop the server and run crm-relay store check"
            ),
            Self::SourceBroken { source, what } => {
                write!(f, "source {source} answers 503 until it is put right: {what}")
            }
            Self::OldSecretBroken { source, what } => {
                write!(f, "source {source} takes its new secret alone, though the old one is to hold: {what}")
            }
            Self::Store { what, commits: false } => write!(f, "the store takes nothing, webhooks get 503: {what}"),
            Self::Store { what, commits: true } => write!(f, "the store: {what}"),
            Self::NoCommit { since } => {
                write!(f, "no commit for {}: the disk of the store does not answer, webhooks get 503", rough(*since))
            }
            Self::ClockMoved(Drift { by, ahead, .. }) => write!(
                f,
                "the system's clock is {} {} the time of this process: it was set, or the machine slept. Retries, TTLs and \
                 recorded times follow the process until a restart; signed timestamps are judged by the system's clock",
                rough(*by),
                if *ahead { "ahead of" } else { "behind" }
            ),
            Self::ClockApart(Apart { by, ahead }) => write!(
                f,
                "this server's time is {} {} that of the other servers on its store: its clients get nothing, and what it \
                 stores is dated by theirs; restart it",
                rough(*by),
                if *ahead { "ahead of" } else { "behind" }
            ),
            Self::OtherConfiguration { servers } => {
                let shown: Vec<&str> = servers.iter().take(SERVERS_SHOWN).map(String::as_str).collect();
                write!(f, "configured otherwise than this server: {}", shown.join(", "))?;
                let more = servers.len().saturating_sub(SERVERS_SHOWN);
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                f.write_str("; give all servers on the store the same settings, file and secrets")
            }
            Self::Backup(wanting) => write!(f, "{wanting}"),
            Self::Untold { alert, since, why } => {
                write!(f, "alert {alert}: nobody is told for {}: {why}; crm-relay alert test {alert}", rough(*since))
            }
            Self::CertificateEnds { left, file, trouble } => {
                match left {
                    Some(left) => write!(f, "the certificate of the public listener ends in {}", rough(*left))?,
                    None => f.write_str(
                        "the certificate of the public listener has ended, and senders and clients refuse it",
                    )?,
                }
                match trouble {
                    Some(why) => write!(f, ": no other was obtained for ACME_DOMAIN: {why}"),
                    None => write!(f, ": renew it in {file}, and its key"),
                }
            }
        }
    }
}

/// How long ago, or none.
pub(crate) fn age(at: Option<Wall>, now: Wall) -> Option<Duration> {
    at.map(|at| now.since(at))
}

#[cfg(test)]
mod tests {
    use relay_core::{
        hub::ClientView,
        id::InstanceId,
        routing::{Route, Routing},
        storage::About,
        time::Mono,
    };

    use super::*;

    /// I24: waiting deliveries without a client are a reason after 60 s, and not before.
    #[test]
    fn a_destination_without_a_client_degrades_after_a_minute() {
        let (stats, directory) = (stats(at(0)), directory());
        let mut unserved = BTreeMap::new();
        note_unserved(&mut unserved, &stats, &[], at(0));
        assert_eq!(assessed(&stats, &[], &directory, &unserved, at(59)), []);
        note_unserved(&mut unserved, &stats, &[], at(60));
        let reasons = assessed(&stats, &[], &directory, &unserved, at(840));
        assert_eq!(reasons.len(), 1);
        assert_eq!(
            reasons[0].to_string(),
            "destination crm: no client for 14 min, 212 waiting, first expires in 23 h; start one where the target is: \
             crm-relay client --to crm=URL"
        );
        note_unserved(&mut unserved, &stats, &view(false, true), at(900));
        assert_eq!(assessed(&stats, &view(false, true), &directory, &unserved, at(30)), []);
    }

    /// I24: a destination that is served at another server has a client.
    #[test]
    fn a_client_of_another_server_is_one() {
        let (stats, directory) = (stats(at(0)), directory());
        let mut view = view(false, false);
        view[0].clients.clear();
        let mut unserved = BTreeMap::new();
        note_unserved(&mut unserved, &stats, &view, at(0));
        assert_eq!(unserved.len(), 1);
        view[0].elsewhere = 1;
        note_unserved(&mut unserved, &stats, &view, at(60));
        assert_eq!(assessed(&stats, &view, &directory, &unserved, at(90)), []);
    }

    /// I24: an open circuit.
    #[test]
    fn an_open_circuit_degrades_at_once() {
        let reasons = assessed(&stats(at(0)), &view(true, false), &directory(), &BTreeMap::new(), at(1));
        assert_eq!(
            reasons[0].to_string(),
            "destination crm: down through client laptop for 0 s, 212 waiting, next try in 3 min: refused"
        );
    }

    /// I24: a stall of our own.
    #[test]
    fn old_due_work_beside_a_free_client_is_a_stall() {
        let served = view(false, true);
        assert_eq!(assessed(&stats(at(0)), &served, &directory(), &BTreeMap::new(), at(60)), []);
        let reasons = assessed(&stats(at(0)), &served, &directory(), &BTreeMap::new(), at(61));
        assert!(matches!(reasons[..], [Reason::Stalled { waiting: 212, .. }]));
        let busy = view(false, false);
        assert_eq!(assessed(&stats(at(0)), &busy, &directory(), &BTreeMap::new(), at(61)), []);
    }

    /// I24: a clock that is not the others'.
    #[test]
    fn a_clock_apart_says_what_follows() {
        let reason = Reason::ClockApart(Apart { by: Duration::from_hours(3), ahead: false });
        assert_eq!(
            reason.to_string(),
            "this server's time is 3 h behind that of the other servers on its store: its clients get nothing, and what \
             it stores is dated by theirs; restart it"
        );
    }

    /// I24: servers that are not configured alike name each other.
    #[test]
    fn another_configuration_is_named() {
        let server = |run, name: &str, address: &str, same_config| ServerView {
            run,
            about: About { name: name.into(), address: address.into(), ..About::default() },
            clock: None,
            clients: 0,
            same_config,
        };
        assert_eq!(other_configuration(&[server(1, "a", "", true)]), None);
        let others = [server(1, "a", "", true), server(2, "b", "192.0.2.1:80", false), server(255, "", "", false)];
        assert_eq!(
            other_configuration(&others).map(|reason| reason.to_string()).as_deref(),
            Some(
                "configured otherwise than this server: b (192.0.2.1:80), run 00000000000000ff; give all servers on the store \
                 the same settings, file and secrets"
            )
        );
    }

    /// I24: a certificate that nobody has renewed in time, and none that is as young as any.
    #[test]
    fn a_certificate_that_ends_soon_degrades() {
        let day = |day: i64| Wall::from_micros(day * 86_400_000_000);
        let ends =
            |at| Ends { at, told_from: at - limits::CERTIFICATE_ENDS_WARN, file: "tls.pem".into(), trouble: None };
        assert_eq!(certificate_ends(&ends(day(90)), day(70)), None);
        let said =
            |present| certificate_ends(&ends(day(90)), present).map(|reason| reason.to_string()).unwrap_or_default();
        assert!(said(day(71)).contains("ends in 19 d"), "{}", said(day(71)));
        assert!(said(day(90)).contains("has ended") && said(day(100)).contains("has ended"));
        assert_eq!(certificate_ends(&ends(Wall::from_micros(i64::MAX)), day(90)), None, "one without an end");
        assert!(said(day(71)).ends_with("renew it in tls.pem, and its key"));
        let failing = Ends { trouble: Some("no answer".into()), ..ends(day(90)) };
        assert_eq!(certificate_ends(&failing, day(69)), None);
        let told = certificate_ends(&failing, day(71)).unwrap().to_string();
        assert!(told.ends_with("ends in 19 d: no other was obtained for ACME_DOMAIN: no answer"), "{told}");
    }

    /// I13, I24: half the TTL.
    #[test]
    fn half_a_ttl_degrades() {
        let half = 12 * 3600;
        let busy = view(false, false);
        assert_eq!(assessed(&stats(at(0)), &busy, &directory(), &BTreeMap::new(), at(half)), []);
        let reasons = assessed(&stats(at(0)), &busy, &directory(), &BTreeMap::new(), at(half + 1));
        assert!(matches!(reasons[..], [Reason::HalfTtl { waiting: 212, .. }]));
    }

    /// I16, I24: room.
    #[test]
    fn running_out_of_room_degrades() {
        let stats = Stats { disk_free_bytes: Some(150), ..Stats::default() };
        let (directory, unserved) = (directory(), BTreeMap::new());
        let known = known(&directory, &unserved, at(0));
        let reasons = |stats: &Stats| assess(stats, &[], &known, 100);
        assert_eq!(reasons(&stats), [Reason::NearlyFull { free: 150 }]);
        assert_eq!(reasons(&Stats { full: true, ..stats.clone() }), [Reason::Full { free: Some(150), reserve: 100 }]);
        assert_eq!(reasons(&Stats { disk_free_bytes: Some(200), ..stats }), []);
    }

    /// I16, I24: what is in memory is full, or will be by what comes in and how long it stays; with how much, and what to do.
    #[test]
    fn running_out_of_memory_degrades() {
        let memory = Memory { used: 3 << 30, bound: 4 << 30, bytes_a_day: Some(2 << 30) };
        let judged = |memory: Memory, is_full| assess_memory(&memory, is_full, Duration::from_hours(48));
        assert_eq!(judged(memory, false), None);
        let more = Memory { bytes_a_day: Some((2 << 30) + 1), ..memory };
        let told = judged(more, false).expect("it is too much").to_string();
        assert!(told.contains("2.0 GiB a day") && told.contains("up to 4.0 GiB; raise its maxmemory"), "{told}");
        let told = judged(memory, true).expect("it is full").to_string();
        assert!(told.contains("Redis uses 3.0 GiB") && told.contains("RETENTION_DELIVERED"), "{told}");
        assert_eq!(judged(Memory { bytes_a_day: None, ..memory }, false), None);
        assert_eq!(judged(Memory { bound: 0, ..more }, false), None);
    }

    /// I18, I24: damage.
    #[test]
    fn a_damaged_record_degrades() {
        let stats = Stats { damaged: 2, ..Stats::default() };
        let reasons = assessed(&stats, &[], &directory(), &BTreeMap::new(), at(0));
        assert_eq!(reasons, [Reason::Damaged { records: 2 }]);
    }

    /// I24: dead letters.
    #[test]
    fn dead_letters_degrade() {
        let mut stats = stats(at(0));
        (stats.destinations[0].states, stats.destinations[0].next_expiry) = ([0, 0, 0, 9, 3, 2, 0], None);
        stats.destinations[0].oldest_due = None;
        let reasons = assessed(&stats, &[], &directory(), &BTreeMap::new(), at(1));
        assert!(matches!(reasons[..], [Reason::DeadLetters { dead: 3, expired: 2, .. }]), "{reasons:?}");
    }

    /// I24: a pause is a reason of its own, and nothing else of that destination is.
    #[test]
    fn a_paused_destination_degrades_while_something_waits() {
        let mut directory = directory();
        let paused = std::iter::once("crm".parse().unwrap()).collect();
        directory.routing = Arc::new(Routing { paused, ..(*directory.routing).clone() });
        let unserved = BTreeMap::from([("crm".parse().unwrap(), at(0))]);
        let reasons = assessed(&stats(at(0)), &[], &directory, &unserved, at(500));
        assert!(matches!(reasons[..], [Reason::Paused { waiting: 212, .. }]), "{reasons:?}");
        let mut empty = stats(at(0));
        empty.destinations[0].states = [0; 7];
        assert_eq!(assessed(&empty, &[], &directory, &BTreeMap::new(), at(500)), []);
    }

    /// I13, I24: what waits expires, whether or not its destination is paused and its route still there.
    #[test]
    fn half_a_ttl_degrades_a_paused_destination_and_one_without_a_route() {
        let paused = std::iter::once("crm".parse().unwrap()).collect();
        let routing = Arc::new(Routing { paused, ..Routing::default() });
        let directory = Directory { routing, ..Directory::default() };
        let unserved = BTreeMap::new();
        let reasons = assessed(&stats(at(0)), &[], &directory, &unserved, at(12 * 3600));
        assert!(matches!(reasons[..], [Reason::Paused { .. }]));
        let reasons = assessed(&stats(at(0)), &[], &directory, &unserved, at(12 * 3600 + 1));
        assert!(matches!(reasons[..], [Reason::Paused { .. }, Reason::HalfTtl { waiting: 212, .. }]));
    }

    fn assessed(
        stats: &Stats,
        view: &[DestinationView],
        directory: &Directory,
        unserved: &BTreeMap<Name, Now>,
        now: Now,
    ) -> Vec<Reason> {
        assess(stats, view, &known(directory, unserved, now), 0)
    }

    fn known<'a>(directory: &'a Directory, unserved: &'a BTreeMap<Name, Now>, now: Now) -> Known<'a> {
        Known { directory, unserved, ttl_default: limits::MESSAGE_TTL, retention: Duration::ZERO, now }
    }

    fn at(seconds: u64) -> Now {
        Now { wall: Wall::from_micros(1_000_000), mono: Mono::default() } + Duration::from_secs(seconds)
    }

    fn stats(ready_at: Now) -> Stats {
        let destination = DestinationStats {
            destination: "crm".parse().unwrap(),
            created: 212,
            states: [200, 12, 0, 0, 0, 0, 0],
            retired: 0,
            lost: 0,
            outcomes: [0; 5],
            retried: 0,
            oldest_due: Some(ready_at.wall),
            next_expiry: Some(ready_at.wall + limits::MESSAGE_TTL),
        };
        Stats { destinations: vec![destination], ..Stats::default() }
    }

    fn view(circuit_open: bool, served: bool) -> Vec<DestinationView> {
        let client = ClientView {
            instance: InstanceId::from_u128(1),
            label: "laptop".into(),
            token: "crm".parse().unwrap(),
            peer: String::new(),
            since: Wall::MIN,
            held: 0,
            slots: 8,
            circuit_open,
            open_since: circuit_open.then_some(Mono::from_micros(1_000_000)),
            next_try: circuit_open.then_some(Mono::from_micros(181_000_000)),
            error: circuit_open.then(|| "refused".to_owned()),
        };
        vec![DestinationView {
            destination: "crm".parse().unwrap(),
            clients: vec![client],
            elsewhere: 0,
            elsewhere_down: 0,
            served,
        }]
    }

    fn directory() -> Directory {
        let route = Route {
            destination: "crm".parse().unwrap(),
            ttl: limits::MESSAGE_TTL,
            retry: relay_core::delivery::retry::RetryPolicy::default(),
        };
        let routes = BTreeMap::from([("default".parse().unwrap(), vec![route])]);
        Directory { routing: Arc::new(Routing { routes, ..Routing::default() }), ..Directory::default() }
    }
}
