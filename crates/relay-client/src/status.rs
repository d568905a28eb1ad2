//! What health and metrics of a client show.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use relay_core::{
    delivery::outcome::Class,
    name::Name,
    session::client::{Notice, View},
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
    reconnects: Counter,
    panics: Counter,
    sessions: AtomicI64,
    /// Per destination: a counter per class, resolved once, so that counting takes no lock and no allocation.
    forwarded: BTreeMap<Name, [Counter; 5]>,
    held: BTreeMap<Name, Gauge>,
}

impl Status {
    pub(crate) fn new(destinations: impl Iterator<Item = Name>) -> Self {
        let mut registry = Registry::with_prefix("crm_relay_client");
        let (up, reconnects, panics) = (Gauge::default(), Counter::default(), Counter::default());
        let (tries, held) = (Family::<Tried, Counter>::default(), Family::<At, Gauge>::default());
        registry.register("up", "1 while the session with the server is up", up.clone());
        registry.register("reconnects", "Sessions after the first", reconnects.clone());
        registry.register("panics", "Connections of this listener that ended in a panic: bugs", panics.clone());
        registry.register("forwarded", "Webhooks forwarded, by outcome class", tries.clone());
        registry.register("held", "Webhooks at the target now", held.clone());
        let names: Vec<Name> = destinations.collect();
        let counter = |destination: &Name, class: Class| {
            let label = Tried { destination: destination.to_string(), class: class.as_str() };
            tries.get_or_create(&label).clone()
        };
        let gauge = |name: &Name| held.get_or_create(&At { destination: name.to_string() }).clone();
        Self {
            registry,
            connected: AtomicBool::new(false),
            up,
            reconnects,
            panics,
            sessions: AtomicI64::new(0),
            forwarded: names.iter().map(|name| (name.clone(), Class::ALL.map(|class| counter(name, class)))).collect(),
            held: names.iter().map(|name| (name.clone(), gauge(name))).collect(),
        }
    }

    pub(crate) fn forwarded(&self, destination: &Name, class: Class) {
        let Some(counters) = self.forwarded.get(destination) else { return };
        let index = class as usize - 1;
        counters[index].inc();
        self.ended(destination);
    }

    /// A forward is over, whatever came of it.
    pub(crate) fn ended(&self, destination: &Name) {
        if let Some(held) = self.held.get(destination) {
            held.dec();
        }
    }

    pub(crate) fn began(&self, destination: &Name) {
        if let Some(held) = self.held.get(destination) {
            held.inc();
        }
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
            Notice::Down { .. } => {
                self.connected.store(false, Relaxed);
                self.up.set(0);
            }
            Notice::Peers { .. } | Notice::Corrupt(_) => {}
        }
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
        self.forwarded.values().map(|counters| counters[index].get()).sum()
    }

    /// In the text format of `OpenMetrics`.
    pub(crate) fn metrics(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    pub(crate) fn health(&self) -> serde_json::Value {
        let destinations: Vec<_> = self
            .forwarded
            .iter()
            .map(|(name, counters)| {
                let held = self.held.get(name).map_or(0, Gauge::get);
                let mut entry = serde_json::json!({ "destination": name.as_str(), "held": held });
                for (class, counter) in Class::ALL.iter().zip(counters) {
                    entry[class.as_str()] = counter.get().into();
                }
                entry
            })
            .collect();
        serde_json::json!({
            "status": if self.is_connected() { "ok" } else { "degraded" },
            "version": env!("CARGO_PKG_VERSION"),
            "connected": self.is_connected(),
            "reconnects": self.reconnects.get(),
            "destinations": destinations,
        })
    }
}

/// Deliveries held, for a line of the log.
pub(crate) fn held(view: &View) -> u32 {
    view.destinations.iter().map(|one| one.assembling + one.waiting + one.forwarding + one.reported).sum()
}
