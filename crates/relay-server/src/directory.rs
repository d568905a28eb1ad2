//! The registry as one immutable snapshot: what ingress, hub, client endpoint and admin API look things up in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use relay_core::{
    hub::Serves,
    name::Name,
    routing::{self, Routing},
};

use relay_providers::{StoredKey, Verifier};

use crate::{
    config::RouteDefaults,
    ingress,
    registry::document::{Dedupe, Destination, Key, Retry, Route, Source, Token},
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
    /// The same as the hub wants it.
    pub routing: Arc<Routing>,
    /// The sources as the ingress wants them.
    pub intakes: BTreeMap<Name, Arc<ingress::Source>>,
}

impl Directory {
    /// The same directory with [`Self::routing`] reckoned from its documents.
    pub(crate) fn routed(mut self, defaults: &RouteDefaults) -> Self {
        let mut routes: BTreeMap<Name, Vec<routing::Route>> = BTreeMap::new();
        for route in self.routes.values().map(|entry| &entry.document).filter(|route| !route.paused) {
            routes.entry(route.source.clone()).or_default().push(routing::Route {
                destination: route.destination.clone(),
                ttl: route.ttl_ms.map_or(defaults.ttl, std::time::Duration::from_millis),
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
    /// the keys that were made for it.
    ///
    /// # Errors
    /// When a source's parameters are not those of its provider: which source, and all that is wrong with it.
    pub(crate) fn with_intakes(mut self, api_key: [u8; 32]) -> Result<Self, (Name, String)> {
        let mut intakes = BTreeMap::new();
        for Source { name, provider, parameters, allow_empty, dedupe, paused, .. } in
            self.sources.values().map(|entry| entry.document.clone())
        {
            let stored = |key: &Key| StoredKey { name: key.name.to_string(), digest: key.sha256 };
            let mut keys: Vec<StoredKey> = self.live_keys(&name).map(stored).collect();
            if name == Name::fallback() {
                keys.push(StoredKey { name: "API_KEY".into(), digest: api_key });
            }
            let verifier = Verifier::with_keys(&provider, &parameters, keys).map_err(|faults| {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                (name.clone(), faults.join("; "))
            })?;
            let resends = !verifier.provider().retries && dedupe == Dedupe::Auto;
            let intake = ingress::Source { name: name.clone(), verifier, provider, allow_empty, resends, paused };
            intakes.insert(name, Arc::new(intake));
        }
        self.intakes = intakes;
        Ok(self)
    }

    /// Destinations that a route leads to or an operator spoke of.
    pub fn destination_names(&self) -> BTreeSet<Name> {
        let routed = self.routes.keys().map(|(_, destination)| destination);
        routed.chain(self.destinations.keys()).cloned().collect()
    }

    /// Whether some route leads to this destination.
    pub fn leads_to(&self, destination: &str) -> bool {
        self.routes.values().any(|entry| !entry.document.paused && entry.document.destination.as_str() == destination)
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
    /// What this token may serve, as the hub wants it.
    pub(crate) fn serves(&self) -> Serves {
        match &self.destinations {
            None => Serves::All,
            Some(names) => Serves::Only(names.iter().filter_map(|name| name.parse().ok()).collect()),
        }
    }
}
