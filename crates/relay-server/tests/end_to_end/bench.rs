//! A server with everything around it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use relay_core::{
    delivery::retry::{RetryPolicy, Schedule},
    limits,
};
use relay_server::{
    Attached, Config, Outcome, Outside, Server,
    config::{Credentials, Fetching, ProxyProtocol, RouteDefaults},
};
use relay_store::{Store, memory::MemoryStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    bound,
    http::{self, Reply},
};

pub(crate) const API_KEY: &str = "crk_a-key-of-the-end-to-end-tests";
pub(crate) const RELAY_TOKEN: &str = "crt_a-token-of-the-end-to-end-tests";
pub(crate) const ADMIN_TOKEN: &str = "cra_an-admin-of-the-end-to-end-tests";

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server over a store.
pub(crate) struct Bench<S = MemoryStore> {
    pub(crate) store: Arc<S>,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) data_dir: PathBuf,
    attached: Option<Attached>,
    shutdown: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Outcome>>,
    dir: Option<TempDir>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::start_over(Arc::new(MemoryStore::new()), tempfile::tempdir().unwrap(), adjust).await
    }
}

impl<S: Store> Bench<S> {
    pub(crate) async fn start_over(store: Arc<S>, dir: TempDir, adjust: impl FnOnce(&mut Config)) -> Self {
        bound::begin();
        let mut config = config(dir.path().to_owned());
        adjust(&mut config);
        let server = Server::start(config, Arc::clone(&store) as Arc<dyn Store>, Outside::default()).await.unwrap();
        let (public, admin) = (server.public_addr().unwrap(), server.admin_addr().unwrap());
        let attached = Some(server.attach());
        let (shutdown, told) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async move { drop(told.await) }));
        let data_dir = dir.path().to_owned();
        let (shutdown, running) = (Some(shutdown), Some(running));
        Self { store, public, admin, data_dir, attached, shutdown, running, dir: Some(dir) }
    }

    /// The data directory, once the server has ended.
    pub(crate) fn into_dir(mut self) -> TempDir {
        self.dir.take().expect("taken once")
    }

    /// The session that joins a client of the same process.
    pub(crate) fn attached(&mut self) -> Attached {
        self.attached.take().expect("one client is attached at most")
    }

    /// A webhook to the source `default`.
    pub(crate) async fn post(&self, body: &[u8]) -> Reply {
        self.post_to("/webhook", &format!("X-API-Key: {API_KEY}\r\n"), body).await
    }

    pub(crate) async fn post_to(&self, path: &str, headers: &str, body: &[u8]) -> Reply {
        http::tcp(self.public, "POST", path, headers, body).await
    }

    /// A request to the public listener.
    pub(crate) async fn get(&self, path: &str, headers: &str) -> Reply {
        http::tcp(self.public, "GET", path, headers, b"").await
    }

    /// A command on the admin socket.
    pub(crate) async fn command(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        http::unix(&self.data_dir.join("admin.sock"), method, path, &body).await
    }

    /// The answer to a question on the admin socket.
    pub(crate) async fn ask(&self, path: &str) -> Value {
        let reply = self.command("GET", path, Value::Null).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    /// Waits until that many deliveries are in that state.
    pub(crate) async fn until(&self, state: &str, count: usize) {
        let path = format!("/api/v1/deliveries?state={state}&limit=1000");
        self.until_holds(|| async { self.ask(&path).await["items"].as_array().unwrap().len() == count }).await;
    }

    /// Waits until something holds that a test can see from outside.
    pub(crate) async fn until_holds<F: Future<Output = bool>>(&self, holds: impl Fn() -> F) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        let in_time = waited.await.is_ok();
        assert!(in_time, "waited in vain; deliveries: {:#}", self.ask("/api/v1/deliveries").await);
    }

    /// Tells the server to stop.
    pub(crate) fn shut_down(&mut self) {
        self.shutdown.take().expect("stopped once").send(()).unwrap();
    }

    /// How the server ended.
    pub(crate) async fn ended(&mut self) -> Outcome {
        let running = self.running.take().expect("ends once");
        tokio::time::timeout(PATIENCE, running).await.expect("the server ends").unwrap()
    }

    /// Stops the server and checks both sums (I5).
    pub(crate) async fn finish(mut self) {
        let audit = self.ask("/api/v1/audit").await;
        assert_eq!(audit["ok"], true, "{audit:#}");
        self.shut_down();
        assert_eq!(self.ended().await, Outcome::Stopped);
    }
}

fn config(data_dir: PathBuf) -> Config {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let day = Duration::from_hours(24);
    Config {
        backups: None,
        relay_name: None,
        runtime_dir: None,
        listen: any,
        tls: Vec::new(),
        acme: None,
        redirect_listen: None,
        clients: None,
        admin_listen: Some(any),
        proxies: Arc::default(),
        proxy_protocol: ProxyProtocol::default(),
        allowed_hosts: Vec::new(),
        admin_hosts: Vec::new(),
        dashboard: true,
        admin_url: None,
        server: String::new(),
        accepts: false,
        data_dir,
        public_url: None,
        fetching: Fetching::default(),
        sealed_with: None,
        traces: None,
        credentials: Credentials::of([API_KEY, RELAY_TOKEN, ADMIN_TOKEN]),
        route_defaults: RouteDefaults {
            ttl: limits::MESSAGE_TTL,
            retry: RetryPolicy {
                max_retries: 1,
                schedule: Schedule::Exponential { delay: Duration::from_millis(10), multiplier: 1.0 },
            },
        },
        sources: Vec::new(),
        routes: Vec::new(),
        alerts: Vec::new(),
        cors_origins: Vec::new(),
        body_bytes_max: limits::MAX_BODY_BYTES,
        inflight_bytes_max: limits::MAX_INFLIGHT_BYTES,
        disk_reserve_bytes: 0,
        dedupe_window: limits::DEDUPE_WINDOW,
        retention_delivered: 7 * day,
        retention_dead: 30 * day,
        lease: limits::LEASE,
        retry_after_max: limits::RETRY_AFTER_MAX,
        circuit_pause_max: limits::CIRCUIT_PAUSE_MAX,
        shutdown_grace: Duration::from_secs(10),
        summary_interval: Duration::ZERO,
    }
}
