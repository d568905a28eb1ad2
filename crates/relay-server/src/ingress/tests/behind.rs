//! What stands behind the listener in tests: the hub, the registry and all else that a server has, over a store in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use relay_core::{
    event::Event,
    hub::{Hub, Input, Setup},
    limits,
    storage::{About, StoreError},
    time::Wall,
};
use relay_net::origin::Origin;
use relay_store::{
    memory::{MemoryStore, Trouble},
    seam::{DocumentKey, DocumentKind, Registry as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::{KEY, webhooks};
use crate::{
    Config,
    clock::Clock,
    config::{Credentials, DeclaredRoute, DeclaredSource},
    document::{Dedupe, Source, render},
    error::Problem,
    fetch::{Fetcher, Keyring},
    guesses::Guesses,
    hub::{Driver, Handle, OldestCommit},
    ingress::{Backend, Body, Books, Elsewhere},
    metrics::Metrics,
    network_policy::NetworkPolicy,
    own_request::OwnRequests,
    quotas::Quotas,
    refusals::Refusals,
    registry::Registry,
    secret,
    supervise::Supervisor,
};

/// Bytes of the answer at `/large`: more than socket buffers take.
pub(super) const LARGE_BYTES: usize = 32 * 1024 * 1024;

/// A source: its name, its provider, its parameters.
type Declared = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The sources that there are.
const SOURCES: &[Declared] = &[
    ("empty", "api-key", &[("key", KEY)]),
    ("chosen", "api-key", &[("key", KEY), ("ack_status", "200"), ("ack_body", "<ok/>"), ("ack_type", "text/xml")]),
    ("silent", "api-key", &[("key", KEY), ("ack_status", "204")]),
    ("named", "api-key", &[("key", KEY), ("ack_status", "201")]),
    ("bounded", "api-key", &[("key", KEY)]),
    ("daily", "api-key", &[("key", KEY)]),
    ("signed", "standard-webhooks", &[("secret", webhooks::SECRET)]),
    ("basic", "basic", &[("username", "crm"), ("password", KEY)]),
    ("token", "telegram", &[("secret_token", KEY)]),
    ("query", "cloudevents", &[("token", KEY)]),
    ("jwt", "monday", &[("signing_secret", KEY), ("audience", "https://relay.test")]),
    ("either", "hmac", &[("secret", KEY), ("header", "X-Signature")]),
    ("sent", "hmac", &[("secret", KEY), ("header", "X-Signature"), ("signed", "sent")]),
    ("plain", "stripe", &[("endpoint_secret", KEY), ("signed", "decoded")]),
    ("header", "mercadopago", &[("secret", KEY)]),
    ("bare", "xero", &[("webhook_key", KEY)]),
];

/// What stands behind the listener.
pub(super) struct Behind {
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: Clock,
    pub(super) backend: Backend,
    /// What sources refused lately.
    pub(super) seen: Arc<Refusals>,
    metrics: Arc<Metrics>,
    /// Refusals that were asked for, as they were counted then.
    told: Mutex<BTreeMap<(String, &'static str), u64>>,
    /// The hub takes what has come.
    runs: Arc<Notify>,
}

impl Behind {
    /// All of it; the hub stands still until [`Self::run`].
    pub(super) async fn still() -> Self {
        let (store, clock, config) = (Arc::new(MemoryStore::new()), Clock::start(Wall::MIN), config());
        let registry = Arc::new(Registry::open(store.clone(), clock, &config).await.unwrap());
        // As no operator could make them.
        put_source(&store, "paused", 0, |source| source.paused = true).await;
        put_source(&store, "broken", 0, |source| source.provider = "stripe".into()).await;
        registry.reload().await.unwrap();
        let (metrics, seen) = (Arc::<Metrics>::default(), Arc::<Refusals>::default());
        let (supervisor, _failures) = Supervisor::new(Arc::clone(&metrics));
        let (hub, inlet) = Handle::new();
        // Its own, so that it is the test that puts the other right.
        let own = Clock::start(Wall::MIN);
        let mut machine = Hub::new(setup());
        machine.handle(Input::Routing(Arc::clone(&registry.directory().routing)), own.own());
        registry.tell(hub.clone());
        let stores = (store.clone() as _, store.clone() as _);
        let driver = Driver::new(machine, own, stores, Arc::clone(&metrics), inlet, OldestCommit::default());
        let runs = Arc::new(Notify::new());
        let begin = Arc::clone(&runs);
        tokio::spawn(async move {
            begin.notified().await;
            driver.run().await;
        });
        let backend = Backend {
            registry,
            hub,
            keyring: Keyring::new(Fetcher::default(), clock, store.clone()),
            quotas: Arc::<Quotas>::default(),
            guesses: Arc::new(Guesses::new(clock, Arc::clone(&metrics), Arc::clone(&seen))),
            own_requests: Arc::new(OwnRequests::new(&[0; 32])),
            supervisor,
            refusing: CancellationToken::new(),
            traces: None,
        };
        Self { store, clock, backend, seen, metrics, told: Mutex::default(), runs }
    }

    /// Lets the hub run, and the store know what time it is by then.
    pub(super) fn run(&self) {
        self.store.tell_time(self.clock.own().wall);
        self.runs.notify_one();
    }

    pub(super) fn books(&self) -> Books {
        Books { clock: self.clock, metrics: Arc::clone(&self.metrics), refusals: Arc::clone(&self.seen) }
    }

    pub(super) fn now(&self) -> Wall {
        self.clock.wall()
    }

    /// Each webhook that is to be stored is answered so by the store, until told otherwise.
    pub(super) fn store_answers(&self, error: Option<StoreError>) {
        self.store.set_trouble(error.map(|error| (Trouble::Append, error)).into_iter().collect());
    }

    /// The source `default` does not read any more.
    pub(super) async fn break_default(&self) {
        let version = self.backend.registry.directory().sources["default"].version;
        put_source(&self.store, "default", version, |source| source.provider = "stripe".into()).await;
        self.backend.registry.reload().await.unwrap();
    }

    /// What is stored and not forgotten, oldest first.
    pub(super) fn events(&self) -> Vec<Arc<Event>> {
        self.store.event_ids().into_iter().filter_map(|id| self.store.event_now(id)).collect()
    }

    /// How much that is.
    pub(super) fn heard(&self) -> u64 {
        self.store.open_deliveries()
    }

    pub(super) fn forget(&self) {
        self.store.purge_all();
    }

    /// What was refused since this was asked last: of which source, and why, in the order of these.
    pub(super) fn refusals(&self) -> Vec<(String, &'static str)> {
        let (now, mut told) = (self.metrics.refused_by_reason(), self.told.lock().unwrap());
        let more = now.iter().map(|(of, count)| (of, count - told.get(of).unwrap_or(&0)));
        let more: Vec<_> = more.flat_map(|(of, more)| (0..more).map(|_| of.clone())).collect();
        *told = now;
        more
    }

    pub(super) fn panics(&self) -> u64 {
        self.metrics.panics()
    }
}

/// Writes a source past the registry.
async fn put_source(store: &MemoryStore, name: &str, version: u64, edit: impl FnOnce(&mut Source)) {
    let mut source = Source {
        name: name.parse().unwrap(),
        provider: "api-key".into(),
        parameters: vec![("key".to_owned(), KEY.to_owned())].into(),
        network: NetworkPolicy::default(),
        allow_empty: false,
        dedupe: Dedupe::Auto,
        marks: Vec::new(),
        adopted: Vec::new(),
        adopts_until: None,
        rotation: None,
        paused: false,
        declared: None,
        declared_by: std::collections::BTreeSet::new(),
        created_at: Wall::MIN,
    };
    edit(&mut source);
    let key = DocumentKey { kind: DocumentKind::Source, name: name.to_owned() };
    let put = store.put_document(key, version, Some(render(&source)), Vec::new()).await.unwrap();
    assert!(put.is_some(), "{name} is at another version");
}

fn config() -> Config {
    let mut config = Config::sample("/nonexistent".into());
    config.credentials = Credentials::of([KEY, "crt_test", "cra_test"]);
    for (name, provider, parameters) in SOURCES {
        let source: relay_core::name::Name = name.parse().unwrap();
        config.sources.push(DeclaredSource {
            name: source.clone(),
            provider: (*provider).to_owned(),
            parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            network: match *name {
                "bounded" => webhooks::bounded(),
                "daily" => webhooks::daily(),
                _ => NetworkPolicy::default(),
            },
            allow_empty: *name == "empty",
            dedupe: Dedupe::Auto,
            marks: Vec::new(),
            at: "a test".into(),
        });
        let destination = "crm".parse().unwrap();
        config.routes.push(DeclaredRoute { source, destination, ttl: None, retry: None, at: "a test".into() });
    }
    config
}

fn setup() -> Setup {
    Setup {
        server: About { version: "test".into(), ..About::default() },
        lease: limits::LEASE,
        retry_after_max: limits::RETRY_AFTER_MAX,
        circuit_pause_max: limits::CIRCUIT_PAUSE_MAX,
        outgoing_bytes_max: limits::MAX_INFLIGHT_BYTES,
        public_url: None,
        seed: 1,
        shares: false,
        partitions: 1,
        parts: 1,
        id_floor: 0,
        sha256: secret::sha256,
        traces: None,
    }
}

/// Answers beside the door as probes and the client endpoint do, and worse.
pub(super) struct Aside;

impl Elsewhere for Aside {
    async fn answer(&self, mut request: Request<Incoming>, _origin: Origin) -> Response<Body> {
        match request.uri().path() {
            "/livez" => Response::new(Full::new(Bytes::from_static(b"alive\n"))),
            "/large" => Response::new(Full::new(Bytes::from(vec![b'x'; LARGE_BYTES]))),
            "/panic" => panic!("an answer panics, as the test wants"),
            "/connect" => {
                tokio::spawn(async move {
                    let mut raw = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
                    let mut piece = [0; 1024];
                    while let Ok(read @ 1..) = raw.read(&mut piece).await {
                        raw.write_all(&piece[..read]).await.unwrap();
                    }
                });
                let mut response = Response::new(Full::new(Bytes::new()));
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let headers = response.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static("echo"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                response
            }
            _ => Problem::not_found().respond(),
        }
    }
}
