//! What health and metrics of a client show.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use relay_core::{
    client::{Notice, View},
    delivery::outcome::Class,
    name::Name,
};

use crate::{
    health::{DestinationHealth, Health},
    lacking::Lacking,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tried {
    destination: String,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    destination: String,
}

/// Shared by the driver, which writes, and the listener, which reads.
#[derive(Debug)]
pub(crate) struct Status {
    registry: Registry,
    connected: AtomicBool,
    up: Gauge,
    polling: Gauge,
    reconnects: Counter,
    panics: Counter,
    /// Counted by whoever prints the log; what the metrics show of it.
    lost_lines: (OnceLock<Arc<AtomicU64>>, Counter),
    sessions: AtomicI64,
    tries: Family<Tried, Counter>,
    held: Family<At, Gauge>,
    lacking: Arc<Lacking>,
    /// Per destination that is or was served; a new configuration adds some.
    served: RwLock<BTreeMap<Name, Counters>>,
}

/// Counters of one destination, resolved once, so that counting makes no label.
#[derive(Debug)]
struct Counters {
    /// A counter per class.
    forwarded: [Counter; 5],
    held: Gauge,
}

impl Status {
    pub(crate) fn new(destinations: impl Iterator<Item = Name>) -> Self {
        let mut registry = Registry::with_prefix("crm_relay_client");
        let (up, reconnects, panics) = (Gauge::default(), Counter::default(), Counter::default());
        let (tries, held) = (Family::<Tried, Counter>::default(), Family::<At, Gauge>::default());
        registry.register("up", "1 while the session with the server is up", up.clone());
        let polling = Gauge::default();
        registry.register("polling", "1 while requests carry the session (long-poll)", polling.clone());
        registry.register("reconnects", "Sessions after the first", reconnects.clone());
        registry.register("panics", "Connections of this listener that ended in a panic: bugs", panics.clone());
        let lost_lines = (OnceLock::new(), Counter::default());
        let help = "Lines of the log that could not be written or were not taken";
        registry.register("log_lines_lost", help, lost_lines.1.clone());
        registry.register("forwarded", "Webhooks forwarded, by outcome class", tries.clone());
        registry.register("held", "Webhooks at the target now", held.clone());
        let status = Self {
            registry,
            connected: AtomicBool::new(false),
            up,
            polling,
            reconnects,
            panics,
            lost_lines,
            sessions: AtomicI64::new(0),
            tries,
            held,
            lacking: Arc::default(),
            served: RwLock::default(),
        };
        status.serve(destinations);
        status
    }

    /// Counts for these destinations too.
    pub(crate) fn serve(&self, destinations: impl Iterator<Item = Name>) {
        let mut served = self.served.write().unwrap_or_else(PoisonError::into_inner);
        for name in destinations {
            let counter = |class: Class| {
                let label = Tried { destination: name.to_string(), class: class.as_str() };
                self.tries.get_or_create(&label).clone()
            };
            let (forwarded, at) = (Class::ALL.map(counter), At { destination: name.to_string() });
            let held = self.held.get_or_create(&at).clone();
            served.entry(name).or_insert(Counters { forwarded, held });
        }
    }

    /// Whether requests carry the session from now on.
    pub(crate) fn polls(&self, polls: bool) {
        self.polling.set(i64::from(polls));
    }

    pub(crate) fn forwarded(&self, destination: &Name, class: Class) {
        if let Some(served) = self.served().get(destination) {
            served.forwarded[class as usize - 1].inc();
            served.held.dec();
        }
    }

    /// A forward is over, whatever came of it.
    pub(crate) fn ended(&self, destination: &Name) {
        if let Some(served) = self.served().get(destination) {
            served.held.dec();
        }
    }

    pub(crate) fn began(&self, destination: &Name) {
        if let Some(served) = self.served().get(destination) {
            served.held.inc();
        }
    }

    fn served(&self) -> RwLockReadGuard<'_, BTreeMap<Name, Counters>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn noticed(&self, notice: &Notice) {
        match notice {
            Notice::Up { .. } => {
                self.connected.store(true, Relaxed);
                self.up.set(1);
                if self.sessions.fetch_add(1, Relaxed) > 0 {
                    self.reconnects.inc();
                }
            }
            Notice::Down { .. } | Notice::Renewing => {
                self.connected.store(false, Relaxed);
                self.up.set(0);
                self.polls(false);
            }
            Notice::Peers { .. } | Notice::Corrupt(_) => {}
        }
    }

    /// Shows how many lines of the log were lost.
    pub(crate) fn count_lost_lines(&self, lost: Arc<AtomicU64>) {
        // Set once: a process has one log.
        let _ = self.lost_lines.0.set(lost);
    }

    /// What is lacking for requests at targets.
    pub(crate) const fn lacking(&self) -> &Arc<Lacking> {
        &self.lacking
    }

    /// A connection of the listener ended in a panic.
    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Tries so far with this outcome class, over all destinations.
    pub(crate) fn tries(&self, class: Class) -> u64 {
        let index = class as usize - 1;
        self.served().values().map(|served| served.forwarded[index].get()).sum()
    }

    /// In the text format of `OpenMetrics`.
    pub(crate) fn metrics(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        if let Some(lost) = self.lost_lines.0.get() {
            self.lost_lines.1.inner().store(lost.load(Relaxed), Relaxed);
        }
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    pub(crate) fn health(&self) -> Health {
        let count = |(class, counter): (&Class, &Counter)| (class.as_str().to_owned(), counter.get());
        let destination = |(name, counters): (&Name, &Counters)| DestinationHealth {
            destination: name.as_str().to_owned(),
            held: counters.held.get(),
            forwarded: Class::ALL.iter().zip(&counters.forwarded).map(count).collect(),
        };
        let destinations = self.served().iter().map(destination).collect();
        let lacking = self.lacking.now();
        let reasons: Vec<_> = lacking.map(|what| format!("lacks {what}; {}", what.remedy())).into_iter().collect();
        let is_well = self.is_connected() && reasons.is_empty();
        Health {
            status: if is_well { "ok" } else { "degraded" }.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reasons,
            connected: self.is_connected(),
            reconnects: self.reconnects.get(),
            destinations,
        }
    }
}

/// Deliveries held, for a line of the log.
pub(crate) fn held(view: &View) -> u32 {
    view.destinations.iter().map(|one| one.assembling + one.waiting + one.forwarding + one.reported).sum()
}
