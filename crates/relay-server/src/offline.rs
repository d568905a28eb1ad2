//! The reading part of the admin API over a store that no server serves: what the command line shows while the server is
//! stopped.
//!
//! **Invariant:** nothing is written, leased or expired here.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use relay_net::origin::Origin;
use relay_store::Store;
use tokio::sync::Semaphore;

use crate::{
    admin,
    alerts::{self, Alerts},
    clock::Clock,
    config::RouteDefaults,
    fetch::Fetcher,
    guesses::Guesses,
    health::Health,
    hub,
    live::Live,
    marks::Marks,
    metrics::Metrics,
    newest::Newest,
    own_request::OwnRequests,
    people::People,
    preview::Previews,
    principal::Entrance,
    reach::Reach,
    recounts::Recounts,
    refusals::Refusals,
    registry::{Registry, RegistryError},
    relay_name::RelayName,
    scan::Scans,
    state::{BODIES_AT_ONCE, DOWNLOADS_AT_ONCE, GROUPINGS_AT_ONCE, State},
    supervise::Supervisor,
    untold::Untold,
};

/// Answers reading requests of the admin API from a store alone.
pub struct Offline {
    desk: admin::Desk,
}

impl Offline {
    /// Reads the registry. `defaults` are shown for routes without a policy of their own.
    ///
    /// # Errors
    /// When the store fails or a document is damaged.
    pub async fn open(store: Arc<dyn Store>, defaults: RouteDefaults) -> Result<Self, RegistryError> {
        Ok(Self { desk: admin::unguarded(Entrance::STORE, reading(store, defaults).await?) })
    }

    /// Answers `GET` of a path with its query.
    pub async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        let Ok(request) = Request::get(path).body(Body::empty()) else {
            return (StatusCode::BAD_REQUEST, Bytes::new());
        };
        let response = self.desk.answer(Origin::local(), request).await;
        let status = response.status();
        let body = response.into_body().collect().await;
        (status, body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes))
    }
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Offline")
    }
}

async fn reading(store: Arc<dyn Store>, defaults: RouteDefaults) -> Result<Arc<State>, RegistryError> {
    let clock = Clock::start(relay_core::time::Wall::MIN);
    let registry = Arc::new(Registry::read_only(store.clone(), clock, defaults).await?);
    // A hub that has ended: it knows of no clients.
    let (hub, _ended) = hub::Handle::new();
    let health = Health::new(store.clone(), hub.clone(), Arc::clone(&registry), clock, hub::OldestCommit::default(), 0);
    let promises = store.promises();
    let (metrics, refusals) = (Arc::new(Metrics::default()), Arc::new(Refusals::default()));
    let guesses = Arc::new(Guesses::new(clock, Arc::clone(&metrics), Arc::clone(&refusals)));
    let alerts = Alerts::new(alerts::Setup {
        declared: Vec::new(),
        server: String::new(),
        relay: RelayName::default(),
        fetcher: Fetcher::default(),
        store: store.clone(),
        clock,
        metrics: Arc::clone(&metrics),
        untold: Untold::default(),
        outcry: None,
    });
    let people = Arc::new(People::new(store.clone(), clock, Arc::clone(&guesses)));
    let (health, supervisor) = (Arc::new(health), Supervisor::new(Arc::default()).0);
    let (looked_at, told) = (Arc::clone(&health), supervisor.clone());
    let live = Arc::new(Live::new(store.clone(), hub.clone(), looked_at, Arc::clone(&metrics), told, 0));
    let (recounts, scans) = (Recounts::new(store.clone(), clock), Scans::new(store.clone()));
    let bodies = Arc::new(Semaphore::new(BODIES_AT_ONCE));
    let marks = Marks::new((store.clone(), store.clone()), Arc::clone(&registry), clock, Arc::clone(&bodies));
    Ok(Arc::new(State {
        archive: store.clone(),
        upkeep: store.clone(),
        queue: store,
        hub,
        registry,
        health,
        metrics,
        refusals,
        quotas: Arc::default(),
        guesses,
        alerts: Arc::new(alerts),
        people,
        live,
        recounts,
        scans,
        marks: Arc::new(marks),
        newest: Newest::default(),
        bodies,
        groupings: Semaphore::new(GROUPINGS_AT_ONCE),
        downloads: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE)),
        dashboard: None,
        clock,
        supervisor,
        promises,
        token: [0; 32],
        own_requests: Arc::new(OwnRequests::new(&[0; 32])),
        reach: Reach::new(Fetcher::default()),
        previews: Previews::alone(),
        relay: None,
        public_url: None,
        listening: OnceLock::new(),
    }))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The admin API's state over a store that no server serves.
    pub(crate) async fn admin(store: Arc<dyn Store>) -> Arc<State> {
        let defaults = crate::Config::sample("/nonexistent".into()).route_defaults;
        reading(store, defaults).await.unwrap()
    }
}
