//! Somebody is told: what is not as it should be is looked at every few seconds, and what the core makes of it is sent.
//!
//! **Invariant:** nothing waits for an alert: what cannot be sent or kept is logged, counted and shown, and never stops anything.

mod away;
mod command;
mod conditions;
mod format;
mod notebook;
mod notice;
mod outcry;
mod receiver;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use relay_core::{
    alert::{Alerts as Machine, Came, Condition, Look, Memory, Past, Scope, Severity, Shares},
    limits,
    name::Name,
    storage::StoreError,
    time::{Mono, Now},
};
use relay_store::seam;
use tokio::time::timeout;

pub(crate) use self::conditions::kind;
pub use self::outcry::{Cry, Outcry};
pub(crate) use self::receiver::Receiver;
use self::{
    away::Away,
    notebook::Notebook,
    notice::{Notice, Speaker},
};
use crate::{
    clock::Clock, config::DeclaredAlert, fetch::Fetcher, health::Health, hub::Handle, metrics::Metrics,
    registry::Registry, relay_name::RelayName, untold::Untold,
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Who is told, what is so, and what was told.
pub(crate) struct Alerts {
    receivers: BTreeMap<Name, Arc<Receiver>>,
    machine: Mutex<Machine>,
    shares: Mutex<Shares>,
    notebook: tokio::sync::Mutex<Notebook>,
    away: tokio::sync::Mutex<Away>,
    /// This server tells what is of the store.
    is_janitor: AtomicBool,
    /// What was told when nobody looked.
    outcry: Option<Outcry>,
    /// Whom it was told that has not been told yet that it is over.
    cried: Mutex<BTreeSet<Name>>,
    /// This server has run for so long that what came and went is told as over too.
    is_steady: AtomicBool,
    clock: Clock,
    /// How far tests are ahead of the clock.
    #[cfg(test)]
    ahead: Mutex<Duration>,
}

/// What is looked at.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) health: Arc<Health>,
    pub(crate) hub: Handle,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    /// Several servers share the store.
    pub(crate) shares: bool,
}

/// What the alerts of a server are made of.
pub(crate) struct Setup {
    pub(crate) declared: Vec<DeclaredAlert>,
    /// What this server is called among those on its store.
    pub(crate) server: String,
    /// What they are called together.
    pub(crate) relay: RelayName,
    pub(crate) fetcher: Fetcher,
    pub(crate) store: Arc<dyn seam::Registry>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) untold: Untold,
    /// What it told where it could not look.
    pub(crate) outcry: Option<Outcry>,
}

impl Alerts {
    /// Those that are declared.
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { declared, server, relay, fetcher, store, clock, metrics, untold, outcry } = setup;
        let dashboard = outcry.as_ref().and_then(Outcry::dashboard);
        let rules = declared.iter().map(|alert| (alert.name.clone(), alert.rule())).collect();
        let (fetcher, from) = (Arc::new(fetcher), Speaker { relay: relay.shown, server: server.clone(), dashboard });
        let receiver = |alert: DeclaredAlert| {
            let name = alert.name.clone();
            let (fetcher, metrics) = (Arc::clone(&fetcher), Arc::clone(&metrics));
            (name, Arc::new(Receiver::new(alert, from.clone(), fetcher, clock, metrics, untold.clone())))
        };
        Self {
            receivers: declared.into_iter().map(receiver).collect(),
            machine: Mutex::new(Machine::new(rules, &relay.mark)),
            shares: Mutex::default(),
            notebook: tokio::sync::Mutex::new(Notebook::new(store, server)),
            away: tokio::sync::Mutex::default(),
            is_janitor: AtomicBool::new(false),
            outcry,
            cried: Mutex::default(),
            is_steady: AtomicBool::new(false),
            clock,
            #[cfg(test)]
            ahead: Mutex::default(),
        }
    }

    /// Those to whom something is sent: each is run by a task of its own.
    pub(crate) fn receivers(&self) -> impl Iterator<Item = &Arc<Receiver>> {
        self.receivers.values()
    }

    /// The one of this name.
    pub(crate) fn receiver(&self, name: &str) -> Option<&Arc<Receiver>> {
        self.receivers.get(name)
    }

    /// What is so now, the worst first.
    pub(crate) fn firing(&self) -> Vec<Past> {
        self.machine().firing()
    }

    /// What was so and is over, the latest first.
    pub(crate) fn over(&self) -> Vec<Past> {
        self.machine().over().cloned().collect()
    }

    /// Who is told of a condition.
    pub(crate) fn told_to(&self, past: &Past) -> Vec<&Name> {
        let machine = self.machine();
        self.receivers.keys().filter(|name| machine.is_for(name, &past.key, past.severity)).collect()
    }

    /// Looks for as long as it is polled.
    pub(crate) async fn run(&self, watched: Watched) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.step(&watched).await;
        }
    }

    /// One look, and what follows from it.
    async fn step(&self, watched: &Watched) {
        let Some(mine) = watched.hub.partitions().await else { return };
        self.take_part(mine.hold_first()).await;
        self.recall_steady().await;
        self.take_back();
        let look = self.look(watched).await;
        let told_here: Vec<_> = look.conditions.iter().filter(|one| self.tells(one.key.scope)).collect();
        watched.metrics.conditions(severities(&told_here));
        let messages = {
            let mut machine = self.machine();
            machine.handle_look(look, self.now());
            std::iter::from_fn(|| machine.poll_output()).collect::<Vec<_>>()
        };
        // Before they leave: whoever goes on where this ends knows what may have arrived.
        self.keep().await;
        self.end_outcry();
        for message in messages {
            if let Some(receiver) = self.receivers.get(&message.alert) {
                receiver.put(Notice::of(message));
            }
        }
        if self.tells(Scope::Store) {
            self.end_for_others(watched).await;
        }
    }

    /// Learns what was told before, once it is known that this server tells it; forgets it when another does.
    async fn take_part(&self, is_janitor: bool) {
        let was = self.is_janitor.swap(is_janitor, Ordering::Relaxed);
        let mut notebook = self.notebook.lock().await;
        if was && !is_janitor {
            notebook.leave();
            self.machine().leave();
            self.receivers.values().for_each(|receiver| receiver.leave());
        }
        for scope in self.scopes() {
            let Some(mut found) = notebook.recall(scope, &self.receivers).await else { continue };
            if scope == Scope::Server {
                found.extend(self.left_of_outcry(false).await);
            }
            let mut machine = self.machine();
            for (alert, memory) in found {
                machine.recall(&alert, memory, self.now());
            }
            if scope == Scope::Store {
                machine.take();
            }
        }
    }

    /// Hears what became of messages, and whether more are taken.
    fn take_back(&self) {
        let mut machine = self.machine();
        for (alert, receiver) in &self.receivers {
            let is_idle = receiver.is_idle();
            for message in receiver.take_given_up() {
                machine.give_back(message, self.now());
            }
            if is_idle {
                machine.left(alert);
            }
            machine.hold(alert, !receiver.has_room());
        }
    }

    /// Keeps what was told, and what is on its way. A store that does not do it is not asked for the next.
    async fn keep(&self) {
        let mut notebook = self.notebook.lock().await;
        for alert in self.receivers.keys() {
            for scope in self.scopes() {
                let memory = self.machine().memory(alert, scope);
                if !notebook.keep(scope, alert, &memory).await {
                    return;
                }
            }
        }
    }

    /// What was told when nobody looked.
    async fn left_of_outcry(&self, is_steady: bool) -> Vec<(Name, Memory)> {
        let Some(outcry) = &self.outcry else { return Vec::new() };
        let left = outcry.left(is_steady).await;
        let names = left.iter().map(|(alert, _)| alert).filter(|alert| self.receivers.contains_key(*alert)).cloned();
        self.cried.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
        left
    }

    /// What came and went is not over before this server has run for a while.
    async fn recall_steady(&self) {
        let is_due = self.now().mono >= Mono::default() + limits::ALERT_STEADY;
        if is_due && !self.is_steady.swap(true, Ordering::Relaxed) {
            for (alert, memory) in self.left_of_outcry(true).await {
                self.machine().recall(&alert, memory, self.now());
            }
        }
    }

    /// What was told when nobody looked, and is told as over by now, is written down as such. Nobody waits for that: it is on a disk that
    /// may hang.
    fn end_outcry(&self) {
        let Some(outcry) = &self.outcry else { return };
        let over = |alert: &Name| !outcry::is_in(&self.machine().memory(alert, Scope::Server));
        for alert in self.cried.lock().unwrap_or_else(PoisonError::into_inner).extract_if(.., over) {
            let outcry = outcry.clone();
            drop(tokio::spawn(async move { outcry.is_over(&alert).await }));
        }
    }

    /// Ends what servers told of themselves that have been away for so long that they are not expected back.
    async fn end_for_others(&self, watched: &Watched) {
        let mut away = self.away.lock().await;
        let now = self.now();
        if !away.is_due(now.mono) {
            return;
        }
        let present = watched.hub.view().await.servers.iter().map(|server| server.about.name.to_string()).collect();
        let mut notebook = self.notebook.lock().await;
        let Some(left) = notebook.left_by(&present).await else { return };
        for left in away.look(left, now.mono) {
            let receiver = self.receivers.get(&left.alert);
            if receiver.is_some_and(|receiver| !receiver.has_room()) || !notebook.take(&left).await {
                continue;
            }
            tracing::info!(
                event = "alerts_ended",
                alert = left.alert.as_str(),
                server = left.server,
                conditions = left.memory.told.len(),
                "a server is gone: what it told of itself is told as over"
            );
            let Some(receiver) = receiver else { continue };
            for message in left.memory.over(&left.alert, now.wall) {
                receiver.put(Notice::of_other(message, left.server.clone()));
            }
        }
    }

    fn tells(&self, scope: Scope) -> bool {
        scope == Scope::Server || self.is_janitor.load(Ordering::Relaxed)
    }

    fn scopes(&self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(|scope| self.tells(*scope))
    }

    async fn look(&self, watched: &Watched) -> Look {
        let report = match timeout(EVERY, watched.health.report()).await.unwrap_or(Err(StoreError::Away)) {
            Ok(report) => report,
            Err(error) => return Look { conditions: vec![conditions::unknown(&error)], is_whole: false },
        };
        let mut all = conditions::of(&report.reasons, watched.shares);
        let directory = watched.registry.directory();
        // Both as this server counts them: those of all servers would hide that one of them refuses what comes to it.
        let (refused, accepted) = (watched.metrics.refused_by_source(), watched.metrics.accepted_by_source());
        let of =
            |counts: &BTreeMap<String, u64>, source: &Name| counts.get(source.as_str()).copied().unwrap_or_default();
        let counts = directory.intakes.keys().map(|source| Came {
            source: source.clone(),
            refused: of(&refused, source),
            accepted: of(&accepted, source),
        });
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(shares.look(counts.collect(), self.now().mono).into_iter().map(conditions::refused));
        Look { conditions: all, is_whole: true }
    }

    /// A message that says that it can be told, tried once.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) async fn test(&self, receiver: &Receiver) -> Result<(), String> {
        receiver.send_once(&Notice::test(receiver.name(), self.now().wall)).await
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(not(test))]
    fn now(&self) -> Now {
        self.clock.now()
    }

    #[cfg(test)]
    fn now(&self) -> Now {
        self.clock.now() + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many there are of each severity.
fn severities(conditions: &[&Condition]) -> [u64; Severity::ALL.len()] {
    Severity::ALL.map(|severity| conditions.iter().filter(|one| one.severity == severity).count() as u64)
}
