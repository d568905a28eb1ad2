//! Somebody is told: what is not as it should be is looked at every few seconds, and what the core makes of it is sent.
//!
//! **Invariant:** nothing waits for an alert: what cannot be sent or kept is logged, counted and shown, and never stops anything.

mod command;
mod conditions;
mod format;
mod notebook;
mod notice;
mod receiver;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use relay_core::{
    alert::{Alerts as Machine, Came, Condition, Look, Past, Scope, Severity, Shares},
    name::Name,
    storage::StoreError,
    time::Now,
};
use relay_store::seam;
use tokio::time::timeout;

pub(crate) use self::receiver::Receiver;
use self::{notebook::Notebook, notice::Notice};
use crate::{
    clock::Clock, config::DeclaredAlert, fetch::Fetcher, health::Health, hub::Handle, metrics::Metrics,
    registry::Registry, untold::Untold,
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Who is told, what is so, and what was told.
pub(crate) struct Alerts {
    receivers: BTreeMap<Name, Arc<Receiver>>,
    machine: Mutex<Machine>,
    shares: Mutex<Shares>,
    notebook: tokio::sync::Mutex<Notebook>,
    /// This server tells what is of the store.
    is_janitor: AtomicBool,
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
    pub(crate) fetcher: Fetcher,
    pub(crate) store: Arc<dyn seam::Registry>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) untold: Untold,
}

impl Alerts {
    /// Those that are declared.
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { declared, server, fetcher, store, clock, metrics, untold } = setup;
        let rules = declared.iter().map(|alert| (alert.name.clone(), alert.rule())).collect();
        let fetcher = Arc::new(fetcher);
        let receiver = |alert: DeclaredAlert| {
            let name = alert.name.clone();
            let (fetcher, metrics) = (Arc::clone(&fetcher), Arc::clone(&metrics));
            (name, Arc::new(Receiver::new(alert, &server, fetcher, clock, metrics, untold.clone())))
        };
        Self {
            receivers: declared.into_iter().map(receiver).collect(),
            machine: Mutex::new(Machine::new(rules)),
            shares: Mutex::default(),
            notebook: tokio::sync::Mutex::new(Notebook::new(store, server)),
            is_janitor: AtomicBool::new(false),
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
        let look = self.look(watched).await;
        watched.metrics.conditions(severities(&look.conditions));
        let messages = {
            let mut machine = self.machine();
            machine.handle_look(look, self.now());
            std::iter::from_fn(|| machine.poll_output()).collect::<Vec<_>>()
        };
        for message in messages {
            if let Some(receiver) = self.receivers.get(&message.alert) {
                receiver.put(message);
            }
        }
        self.keep().await;
    }

    /// Learns what was told before, once it is known that this server tells it; forgets it when another does.
    async fn take_part(&self, is_janitor: bool) {
        let was = self.is_janitor.swap(is_janitor, Ordering::Relaxed);
        let mut notebook = self.notebook.lock().await;
        if was && !is_janitor {
            notebook.leave();
            self.machine().leave(Scope::Store);
        }
        for scope in self.scopes() {
            let Some(found) = notebook.recall(scope, &self.receivers).await else { continue };
            let mut machine = self.machine();
            for (alert, memory) in found {
                machine.recall(&alert, memory, self.now());
            }
        }
    }

    /// Keeps what was told, of those to whom nothing is on its way: what is, is told again by the next run.
    async fn keep(&self) {
        let mut notebook = self.notebook.lock().await;
        for (alert, _) in self.receivers.iter().filter(|(_, receiver)| receiver.is_idle()) {
            for scope in self.scopes() {
                let memory = self.machine().memory(alert, scope);
                notebook.keep(scope, alert, &memory).await;
            }
        }
    }

    fn scopes(&self) -> impl Iterator<Item = Scope> {
        let is_janitor = self.is_janitor.load(Ordering::Relaxed);
        Scope::ALL.into_iter().filter(move |scope| is_janitor || *scope == Scope::Server)
    }

    async fn look(&self, watched: &Watched) -> Look {
        let report = match timeout(EVERY, watched.health.report()).await.unwrap_or(Err(StoreError::Away)) {
            Ok(report) => report,
            Err(error) => return Look { conditions: vec![conditions::unknown(&error)], is_whole: false },
        };
        let mut all = conditions::of(&report.reasons, watched.shares);
        let accepted = |name: &Name| {
            report.stats.sources.iter().find(|stats| stats.source == *name).map_or(0, |stats| stats.accepted)
        };
        let directory = watched.registry.directory();
        let counts = directory.intakes.keys().map(|source| Came {
            source: source.clone(),
            refused: watched.metrics.refused_of(source.as_str()).values().sum(),
            accepted: accepted(source),
        });
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(shares.look(counts.collect(), self.now().mono).into_iter().map(conditions::refused));
        let is_janitor = self.is_janitor.load(Ordering::Relaxed);
        all.retain(|condition| is_janitor || condition.key.scope == Scope::Server);
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
fn severities(conditions: &[Condition]) -> [u64; Severity::ALL.len()] {
    Severity::ALL.map(|severity| conditions.iter().filter(|one| one.severity == severity).count() as u64)
}
