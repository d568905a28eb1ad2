//! The registry as one immutable snapshot: what ingress, hub, client endpoint and admin API look things up in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use relay_core::{
    hub::Serves,
    name::Name,
    routing::{self, Routing},
    time::Wall,
};

use relay_net::tls::Pin;
use relay_providers::{ParameterFault, StoredKey, Verifier};

use crate::{
    clock::rough,
    config::RouteDefaults,
    document::{Dedupe, Destination, Key, Retry, Route, Source, Token},
    intake::{Intake, Old},
    network_policy::Terms,
};

/// A document and its version, for compare-and-set.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<T> {
    /// As stored.
    pub version: u64,
    /// Its content.
    pub document: T,
}

/// Everything the registry held when it was last read.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Sources by name.
    pub sources: BTreeMap<Name, Versioned<Source>>,
    /// Routes by source and destination.
    pub routes: BTreeMap<(Name, Name), Versioned<Route>>,
    /// What operators said of destinations.
    pub destinations: BTreeMap<Name, Versioned<Destination>>,
    /// API keys by source and name.
    pub keys: BTreeMap<(Name, Name), Versioned<Key>>,
    /// Tokens by name.
    pub tokens: BTreeMap<Name, Versioned<Token>>,
    /// The registry's version when this was read, or an earlier one; `None`: the store has one owner.
    pub version: Option<u64>,
    /// The same as the hub wants it.
    pub routing: Arc<Routing>,
    /// The sources as the door wants them.
    pub intakes: BTreeMap<Name, Arc<Intake>>,
}

impl Directory {
    /// The same directory with [`Self::routing`] reckoned from its documents.
    pub(crate) fn routed(mut self, defaults: &RouteDefaults) -> Self {
        let mut routes: BTreeMap<Name, Vec<routing::Route>> = BTreeMap::new();
        for route in self.routes.values().map(|entry| &entry.document).filter(|route| !route.paused) {
            routes.entry(route.source.clone()).or_default().push(routing::Route {
                destination: route.destination.clone(),
                ttl: route.ttl_ms.map_or(defaults.ttl, Duration::from_millis),
                retry: route.retry.as_ref().map_or_else(|| defaults.retry.clone(), Retry::policy),
            });
        }
        let paused = self.destinations.values().filter(|entry| entry.document.paused);
        let paused = paused.map(|entry| entry.document.name.clone()).collect();
        self.routing =
            Arc::new(Routing { routes, paused, standard_ttl: defaults.ttl, standard_retry: defaults.retry.clone() });
        self
    }

    /// The same directory with [`Self::intakes`] made from its documents. `api_key` opens the source `default`, beside
    /// the keys that were made for it. A source whose parameters are not those of its provider (any more) is kept as broken:
    /// it takes nothing, and the others go on. `memory` is how long ids of webhooks are remembered.
    pub(crate) fn with_intakes(mut self, api_key: [u8; 32], memory: Duration) -> Self {
        let mut live: BTreeMap<&Name, Vec<StoredKey>> = BTreeMap::new();
        for key in self.keys.values().map(|entry| &entry.document).filter(|key| key.revoked_at.is_none()) {
            let stored = StoredKey { name: key.name.as_str().into(), digest: key.sha256 };
            live.entry(&key.source).or_default().push(stored);
        }
        let mut intake = |entry: &Versioned<Source>| {
            let Source {
                name, provider, parameters, network, allow_empty, dedupe, paused, declared, adopts_until, ..
            } = entry.document.clone();
            let mut keys = live.remove(&name).unwrap_or_default();
            if name == Name::fallback() {
                keys.push(StoredKey { name: "API_KEY".into(), digest: api_key });
            }
            let read = Verifier::with_keys(&provider, &parameters, keys).map_err(|faults| joined(&faults));
            let (verifier, broken) = match read.and_then(|verifier| remembered(verifier, memory)) {
                Ok(verifier) if adopts_until.is_some() && !entry.document.adopted.is_empty() => {
                    (verifier.taking_another(), None)
                }
                Ok(verifier) => (verifier, None),
                Err(what) => (Verifier::closed(), Some(what)),
            };
            // Whom it is closed to is not known then.
            let (terms, broken) = match network.terms() {
                Ok(terms) => (terms, broken),
                Err(what) => (Terms::default(), broken.or(Some(what))),
            };
            let (old, broken_old) = match old_half(&entry.document, memory).transpose() {
                Ok(old) => (old, None),
                Err(what) => (None, Some(what)),
            };
            let resends = !verifier.provider().retries && dedupe == Dedupe::Auto;
            // Nothing is kept for a source of the configuration file; the registry says what to do then.
            let adopts_until = if declared.is_some() { Some(Wall::MAX) } else { adopts_until.map(Wall::from_micros) };
            let intake = Intake {
                name: name.clone(),
                verifier,
                old,
                provider,
                terms,
                allow_empty,
                resends,
                paused,
                broken,
                broken_old,
                adopts_until,
            };
            (name, Arc::new(intake))
        };
        let intakes = self.sources.values().map(&mut intake).collect();
        self.intakes = intakes;
        self
    }

    /// When rotations of secrets end, those of which the time is known.
    pub(crate) fn rotations_end(&self) -> impl Iterator<Item = Wall> {
        let sources = self.sources.values().filter_map(|entry| entry.document.rotation.as_ref()?.until());
        let tokens = self.tokens.values().filter_map(|entry| entry.document.rotation.as_ref()?.until());
        sources.chain(tokens)
    }

    /// Sources that take nothing, because their parameters do not read: which, and why.
    pub(crate) fn broken(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.intakes.iter().filter_map(|(name, intake)| Some((name, intake.broken.as_deref()?)))
    }

    /// Sources whose old secret proves nothing although its rotation goes on, because it does not read: which, and why.
    pub(crate) fn broken_old(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.intakes.iter().filter_map(|(name, intake)| Some((name, intake.broken_old.as_deref()?)))
    }

    /// Destinations that a route leads to or an operator spoke of.
    pub fn destination_names(&self) -> BTreeSet<Name> {
        let routed = self.routes.keys().map(|(_, destination)| destination);
        routed.chain(self.destinations.keys()).cloned().collect()
    }

    /// API keys of a source that are not revoked.
    pub fn live_keys<'a>(&'a self, source: &'a Name) -> impl Iterator<Item = &'a Key> {
        self.keys
            .values()
            .map(|entry| &entry.document)
            .filter(move |key| key.source == *source && key.revoked_at.is_none())
    }
}

impl Token {
    /// Whether whoever has this key may come with it. What does not read as a key is nobody's.
    pub(crate) fn may_come_with(&self, key: Option<Pin>) -> bool {
        self.pins.is_empty() || self.pins.iter().any(|pin| pin.parse().is_ok_and(|pin: Pin| Some(pin) == key))
    }

    /// SHA-256 of the secrets that let its clients in.
    pub(crate) fn digests(&self, now: Wall) -> impl Iterator<Item = &[u8; 32]> {
        let old = self.rotation.as_ref().filter(|rotation| rotation.goes_on(now)).map(|rotation| &rotation.old.sha256);
        std::iter::once(&self.sha256).chain(old).filter(|_| self.revoked_at.is_none())
    }

    /// What this token may serve, as the hub wants it.
    pub(crate) fn serves(&self) -> Serves {
        match &self.destinations {
            None => Serves::All,
            Some(names) => Serves::Only(names.iter().filter_map(|name| name.parse().ok()).collect()),
        }
    }
}

/// What proves requests beside the present secret while a rotation is under way, or why it does not; none: there is no
/// rotation.
fn old_half(source: &Source, memory: Duration) -> Option<Result<Old, String>> {
    let rotation = source.rotation.as_ref()?;
    let parameters = source.old_parameters(relay_providers::provider(&source.provider)?)?;
    let read = Verifier::new(&source.provider, &parameters).map_err(|faults| joined(&faults));
    let verifier = read.and_then(|verifier| remembered(verifier, memory));
    Some(verifier.map(|verifier| Old { verifier, since: rotation.since, until: rotation.until() }))
}

/// What is wrong with parameters for a source of this provider, where ids are remembered for so long.
pub fn wrong_with(provider: &str, parameters: &[(String, String)], memory: Duration) -> Option<String> {
    let read = Verifier::new(provider, parameters).map_err(|faults| joined(&faults));
    read.and_then(|verifier| remembered(verifier, memory)).err()
}

fn joined(faults: &[ParameterFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Refuses what would be forgotten while it can still be used: a proof that was seen carries any body, and nothing but the
/// memory of its id is in the way.
fn remembered(verifier: Verifier, memory: Duration) -> Result<Verifier, String> {
    match verifier.remembers_for() {
        Some(needed) if needed > memory => {
            let (needed, memory) = (rough(needed), rough(memory));
            Err(format!(
                "tolerance: a signed time may be {needed} off, and ids are remembered for {memory} (DEDUPE_WINDOW): after that \
                 whoever has seen a request could send another body with its signature; lower tolerance, or raise DEDUPE_WINDOW"
            ))
        }
        _ => Ok(verifier),
    }
}
