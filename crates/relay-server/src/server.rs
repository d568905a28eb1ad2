//! The server as a whole: started, running, stopped.

mod others;
mod run_file;
mod side_doors;
mod sockets;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use futures_util::FutureExt as _;
use relay_core::{
    hub::{Hub, Input, Setup},
    storage::About,
    time::{Mono, Wall},
};
use relay_net::{
    origin::Origin,
    serve::{Bounds, Listener},
};
use relay_store::{
    Store,
    seam::{Promises, Stats},
};
use tokio::{
    net::UnixListener,
    sync::{Semaphore, mpsc},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config,
    acme::{Acme, AcmeConfig, Challenges},
    admin::{self, Offer, Sites},
    agreement::Agreement,
    alerts::{self, Alerts, Cry, Outcry, Watched},
    backups::Backups,
    budget::{self, Budget},
    certificate::{self, Certificate},
    clients::Trusted,
    clock::Clock,
    connect::{Attached, Gate},
    dashboard,
    fetch::{Fetcher, Keyring},
    front::Front,
    guesses::Guesses,
    health::Health,
    hub::{self, Driver, OldestCommit},
    ingress::{self, Backend, Books},
    live::Live,
    marks::Marks,
    metrics::Metrics,
    newest::Newest,
    own_request::OwnRequests,
    people::People,
    preview::Previews,
    principal::{Entrance, Principal},
    pulse::Pulse,
    quotas::Quotas,
    reach::Reach,
    recounts::Recounts,
    refusals::Refusals,
    registry::{Registry, RegistryError},
    relay_name::RelayName,
    retention::{self, Keep},
    scan::Scans,
    secret,
    start_error::StartError,
    state::{BODIES_AT_ONCE, DOWNLOADS_AT_ONCE, Dashboard, GROUPINGS_AT_ONCE, State},
    supervise::{Failure, Supervisor, TaskKind},
    traces::Traces,
    trend::Trend,
    untold::Untold,
    waiting::{Bound, Inherited},
    watch,
};
use others::{about, agreed, start_clock};
use sockets::{addr_of, bind_socket};

/// How long the store of a server that has failed may take to close; otherwise it has what is left of the grace.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the hub may take to say what a stop waits for.
const VIEW_TIMEOUT: Duration = Duration::from_millis(200);
/// How much longer than they may those take that had begun when the server was to stop, before the hub refuses them.
const INTAKE_LATE: Duration = Duration::from_millis(250);
/// Kept of the grace for closing the store and ending sessions.
const CLOSE_SHARE: u32 = 10;

/// A server that is bound, serving, and waiting for its end.
pub struct Server {
    config: Config,
    store: Arc<dyn Store>,
    admin: Arc<State>,
    gate: Gate,
    /// With the other servers on the store, where there may be some.
    agreement: Option<Arc<Agreement>>,
    supervisor: Supervisor,
    failures: mpsc::Receiver<Failure>,
    /// Stops the public listener.
    accepting: CancellationToken,
    /// It has ended, and all its connections.
    accepted: CancellationToken,
    /// No webhook is taken any more.
    refusing: CancellationToken,
    public: Option<SocketAddr>,
    admin_addr: Option<SocketAddr>,
    stopping: Option<OnStop>,
    /// Tells that it failed.
    outcry: Outcry,
    /// Copies its store.
    backups: Option<Arc<Backups>>,
    /// The latest moment that any run before it stored.
    stored_until: Wall,
    /// Where everybody is sent elsewhere.
    redirect_addr: Option<SocketAddr>,
    /// Where clients alone are taken.
    clients_addr: Option<SocketAddr>,
    /// What the public listener shows of itself.
    certificate: Option<Certificate>,
    /// Where it is told what came of webhooks.
    traces: Option<Arc<Traces>>,
    /// Whoever tells it there: no store waits for that.
    telling: Supervisor,
}

/// Hears at a stop how many webhooks are at clients, and how long they may take.
pub type OnStop = Box<dyn FnOnce(u32, Duration) + Send + Sync>;

/// What reaches a server from outside, and what is told there.
#[derive(Default)]
pub struct Outside {
    /// Hears what a graceful stop waits for.
    pub stopping: Option<OnStop>,
    /// The lines of the log that were lost, counted by whoever prints them; a metric.
    pub lost_lines: Arc<AtomicU64>,
    /// Sockets that listen already.
    pub inherited: Inherited,
}

/// Where it listens.
struct Listeners {
    /// For senders and clients.
    public: Option<Listener>,
    /// For who asks them without TLS.
    redirect: Option<Listener>,
    /// For clients alone, and whom it takes.
    clients: Option<(Listener, Trusted)>,
    /// For operators, over TCP.
    admin: Option<Listener>,
    /// For operators on this machine.
    socket: UnixListener,
}

/// Lets a client of the same process in; see [`Server::joiner`].
#[derive(Clone)]
pub struct Joiner(Gate);

impl Joiner {
    /// Joins it, without a socket and without a token.
    pub fn attach(&self) -> Attached {
        self.0.attach()
    }
}

/// Takes over what a configuration file declares by now; see [`Server::reloader`].
#[derive(Clone)]
pub struct Reloader {
    registry: Arc<Registry>,
    certificate: Option<Certificate>,
    agreement: Option<Arc<Agreement>>,
    hub: hub::Handle,
    /// What the server was started with.
    started: Arc<Config>,
}

impl Reloader {
    /// Sources and routes as `config` declares them; what it no longer declares is paused. Nothing else of it is looked at. The
    /// files with the certificate are read anew.
    ///
    /// # Errors
    /// A source that cannot be: nothing has changed. Or the store failed: the next time does the rest.
    pub async fn reload(&self, config: &Config) -> Result<(), RegistryError> {
        if let Some(certificate) = &self.certificate {
            certificate.look();
        }
        let sections = [("tls", config.tls != self.started.tls), ("alert", config.alerts != self.started.alerts)];
        for (settings, _) in sections.into_iter().filter(|(_, changed)| *changed) {
            tracing::warn!(event = "reload_incomplete", settings, "changed, and in effect from the next start on");
        }
        let likeness = self.started.redeclared(config).likeness();
        let digest = likeness.digest();
        self.registry.check_declared(config)?;
        if let Some(agreement) = &self.agreement {
            agreement.renew(likeness).await?;
        }
        self.registry.declare_anew(config).await?;
        // The other servers compare it with theirs. A hub that has ended has nobody to tell.
        self.hub.tell(hub::Event::Configured(digest)).await;
        tracing::info!(event = "reloaded", sources = config.sources.len(), routes = config.routes.len());
        Ok(())
    }
}

/// How a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop, and everything is settled or handed back.
    Stopped,
    /// It was told to stop, and something did not end within the grace. Nothing is lost: what was leased is leased again.
    GraceExceeded,
    /// The store has failed: the process must end with 74 and verify on its next start.
    StoreFailed(String),
    /// A task without which the server would lie about what it does has ended.
    TaskFailed(Failure),
}

/// Starts a server and runs it until `shutdown` completes or it fails.
///
/// # Errors
/// See [`StartError`]; nothing runs then.
pub async fn run(
    config: Config,
    store: Arc<dyn Store>,
    shutdown: impl Future<Output = ()>,
) -> Result<Outcome, StartError> {
    Ok(Server::start(config, store, Outside::default()).await?.run(shutdown).await)
}

impl Server {
    /// Binds, recovers, serves, and announces itself: log lines `event=listening` and `DATA_DIR/run.json`.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(config: Config, store: Arc<dyn Store>, mut outside: Outside) -> Result<Self, StartError> {
        let bound = Bound::to(&config, std::mem::take(&mut outside.inherited)).await?;
        Self::start_on(bound, config, store, outside).await
    }

    /// The same where it listens already; see [`Waiting`](crate::Waiting).
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start_on(
        bound: Bound,
        config: Config,
        store: Arc<dyn Store>,
        outside: Outside,
    ) -> Result<Self, StartError> {
        let fetcher = || Fetcher::new(config.fetching.clone());
        let (fetcher, telling, asking) = (fetcher()?, fetcher()?, fetcher()?);
        let Bound { public, admin: admin_listener, redirect, clients, shown } = bound;
        let stats = store.stats().await?;
        let shares = store.promises().several_owners;
        let public_addr = match &public {
            Some(listener) => Some(addr_of(listener, config.listen)?),
            None => None,
        };
        let mut machine = machine(&config, about(&config, public_addr), &stats, &store.promises());
        let (clock, others) = start_clock(&*store, shares, &machine, stats.latest).await?;
        // Deadlines are reckoned with this clock, so they are compared with it too.
        store.keep_time(Arc::new(move || clock.wall()));
        let agreement = if shares { Some(agreed(&store, clock, &config, &machine, &others).await?) } else { None };
        let kept = (store.clone() as Arc<dyn relay_store::seam::Registry>, store.promises().marks);
        let registry = Arc::new(Registry::open_on(kept, clock, &config).await?);

        let metrics = Arc::new(Metrics::new(outside.lost_lines));
        let (supervisor, failures) = Supervisor::new(Arc::clone(&metrics));
        let (handle, inlet) = hub::Handle::new();
        begin(&mut machine, &registry, &stats, clock);
        registry.tell(handle.clone());
        let commits = OldestCommit::default();
        let traces = config.traces.as_ref().map(|to| Traces::open(to, &config.server, &config.fetching, &metrics));
        let (traces, exporter) = traces.transpose()?.unzip();
        let driver =
            Driver::new(machine, clock, (store.clone(), store.clone()), Arc::clone(&metrics), inlet, commits.clone())
                .tracing(traces.clone())
                .linking(Dashboard::declared(&config));
        let reserve = config.disk_reserve_bytes;
        let health = Health::new(store.clone(), handle.clone(), Arc::clone(&registry), clock, commits, reserve);
        let untold = Untold::default();
        let health = health.with(shown.as_ref().map(|(certificate, _)| certificate.clone())).hearing(untold.clone());
        let backups = backups(&config, &store, clock);
        let trend = Trend::new(Arc::clone(&metrics));
        let now = clock.now().mono;
        trend.note(&stats, now, now);
        let health = health.keeping(config.retention_delivered).copying(backups.clone()).counting(Arc::new(trend));
        let relay = Box::pin(RelayName::of(&config, &*store)).await;
        let outcry = Outcry::named(&config, &relay, clock);
        let alerts = Alerts::new(alerts::Setup {
            declared: config.alerts.clone(),
            server: config.server.clone(),
            relay: relay.clone(),
            dashboard: Dashboard::declared(&config),
            fetcher: telling,
            store: store.clone(),
            clock,
            metrics: Arc::clone(&metrics),
            untold,
            outcry: Some(outcry.clone()),
        });
        let refusals = Arc::new(Refusals::default());
        let guesses = Arc::new(Guesses::new(clock, Arc::clone(&metrics), Arc::clone(&refusals)));
        let people = People::new(store.clone(), clock, Arc::clone(&guesses));
        let people = Arc::new(people.of_token(&config.credentials.admin_token));
        let health = Arc::new(health);
        let (looked_at, counted) = (Arc::clone(&health), Arc::clone(&metrics));
        let connections = Bounds::private().all();
        let live = Live::new(store.clone(), handle.clone(), looked_at, counted, supervisor.clone(), connections);
        let (recounts, scans) = (Recounts::new(store.clone(), clock), Scans::new(store.clone()));
        let bodies = Arc::new(Semaphore::new(BODIES_AT_ONCE));
        let marks = Marks::new((store.clone(), store.clone()), Arc::clone(&registry), clock, Arc::clone(&bodies));
        let admin = Arc::new(State {
            archive: store.clone(),
            upkeep: store.clone(),
            queue: store.clone(),
            hub: handle.clone(),
            registry: Arc::clone(&registry),
            health,
            metrics,
            refusals,
            quotas: Arc::new(Quotas::open(&config.data_dir)),
            guesses: Arc::clone(&guesses),
            alerts: Arc::new(alerts),
            people,
            live: Arc::new(live),
            recounts,
            scans,
            marks: Arc::new(marks),
            newest: Newest::default(),
            bodies,
            groupings: Semaphore::new(GROUPINGS_AT_ONCE),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE)),
            dashboard: config.dashboard.then(|| Dashboard::at(config.admin_url.as_deref())),
            clock,
            supervisor: supervisor.clone(),
            promises: store.promises(),
            token: config.credentials.admin_token,
            own_requests: Arc::new(if shares {
                OwnRequests::new(config.credentials.digests().as_flattened())
            } else {
                OwnRequests::alone()
            }),
            reach: Reach::new(asking),
            previews: Previews::of(shares.then(|| config.credentials.digests()).as_ref()),
            relay: Some(relay.shown).filter(|name| !name.is_empty()),
            public_url: config.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
            listening: OnceLock::new(),
        });
        let telling = supervisor.beside();
        let gate = Gate::new(handle, registry, config.credentials.relay_token, supervisor.clone(), guesses);
        let accepting = CancellationToken::new();
        let server = Self {
            public: public_addr,
            admin_addr: match &admin_listener {
                Some(listener) => Some(addr_of(listener, config.admin_listen.unwrap_or(config.listen))?),
                None => None,
            },
            redirect_addr: match &redirect {
                Some(listener) => Some(addr_of(listener, config.redirect_listen.unwrap_or(config.listen))?),
                None => None,
            },
            clients_addr: match (&clients, &config.clients) {
                (Some((listener, _)), Some(asked)) => Some(addr_of(listener, asked.addr)?),
                (_, _) => None,
            },
            config,
            store,
            admin,
            gate,
            agreement,
            supervisor,
            failures,
            accepting,
            accepted: CancellationToken::new(),
            refusing: CancellationToken::new(),
            stopping: outside.stopping,
            outcry,
            backups,
            stored_until: stats.latest,
            certificate: shown.as_ref().map(|(certificate, _)| certificate.clone()),
            traces,
            telling,
        };
        let socket = bind_socket(&server.config.data_dir)?;
        // Before anything is answered: whoever has an answer of it may ask where it listens. Until then connections wait.
        if let Err(error) = server.announce() {
            server.withdraw();
            return Err(error);
        }
        let listeners = Listeners { public, redirect, clients, admin: admin_listener, socket };
        if let Some(exporter) = exporter {
            exporter.spawn(&server.telling);
        }
        server.spawn(driver, fetcher, shown.map(|(_, kept)| kept), listeners);
        Ok(server)
    }

    /// Where senders and clients reach it; `None`: nowhere.
    pub fn public_addr(&self) -> Option<SocketAddr> {
        self.public
    }

    /// Whether it speaks TLS with them.
    pub const fn speaks_tls(&self) -> bool {
        self.certificate.is_some()
    }

    /// Where operators reach it over TCP.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Signs of life of it, also once it runs.
    pub fn pulse(&self) -> Pulse {
        Pulse::new(self.store.clone(), self.admin.hub.clone())
    }

    /// A link that opens the dashboard once, within that time, for whoever runs the machine; `None` where there is no dashboard.
    ///
    /// # Errors
    /// No randomness, or the store failed.
    pub async fn dashboard_link(&self, within: Duration) -> Result<Option<String>, RegistryError> {
        let Some(base) = self.admin.dashboard_url() else { return Ok(None) };
        let who = Principal::at(&Entrance::SOCKET, Origin::local(), &http::HeaderMap::new());
        let (link, _until) = self.admin.people.link(&who, within).await?;
        Ok(Some(format!("{base}login#{link}")))
    }

    /// Joins a client of the same process, without a socket and without a token.
    pub fn attach(&self) -> Attached {
        self.gate.attach()
    }

    /// Joins such a client again whenever its session ended, also once the server runs.
    pub fn joiner(&self) -> Joiner {
        Joiner(self.gate.clone())
    }

    /// Takes over, while it runs, what its configuration file declares by then.
    pub fn reloader(&self) -> Reloader {
        let (registry, hub) = (Arc::clone(&self.admin.registry), self.admin.hub.clone());
        let (certificate, agreement) = (self.certificate.clone(), self.agreement.clone());
        Reloader { registry, certificate, agreement, hub, started: Arc::new(self.config.clone()) }
    }

    /// Has it say from then on that it is not ready, for whoever sends others elsewhere by that; it serves on.
    pub fn unready(&self) -> impl Fn() + Send + Sync + use<> {
        let health = Arc::clone(&self.admin.health);
        move || health.stopping()
    }

    /// Runs until `shutdown` completes or the server fails, then stops (I22).
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Outcome {
        let store_failed = self.store.failed();
        let ended = tokio::select! {
            () = shutdown => None,
            reason = store_failed => {
                tracing::error!(event = "store_failed", reason, "the store has failed; nothing is accepted any more");
                Some(Outcome::StoreFailed(reason))
            }
            Some(failure) = self.failures.recv() => Some(Outcome::TaskFailed(failure)),
        };
        if let Some(told) = self.stopping.take().filter(|_| ended.is_none()) {
            // For people: not worth waiting for a hub that is busy.
            let view = timeout(VIEW_TIMEOUT, self.admin.hub.view()).await.unwrap_or_default();
            told(
                view.destinations.iter().flat_map(|at| &at.clients).map(|client| client.held).sum(),
                self.config.shutdown_grace,
            );
        }
        let Some(failed) = ended else {
            let stopped = self.stop(true).await;
            let Some(failed) = self.failed_at_the_end() else { return stopped };
            self.cry(&failed).await;
            return failed;
        };
        tokio::join!(self.stop(false), self.cry(&failed));
        failed
    }

    /// Tells everybody that it failed: those who look after alerts have ended with it.
    async fn cry(&self, failed: &Outcome) {
        let words = match failed {
            Outcome::StoreFailed(why) => {
                format!("the store has failed, and the server ends: {why}; nothing is taken in until it is mended")
            }
            Outcome::TaskFailed(failure) => format!("the server ends: {failure}; this is a bug"),
            Outcome::Stopped | Outcome::GraceExceeded => return,
        };
        self.outcry.tell(Cry::Ends, &words, self.admin.clock.now().mono.since(Mono::default())).await;
    }

    /// What failed while the server stopped: its last commits may be missing, so that is no orderly end (I17).
    fn failed_at_the_end(&mut self) -> Option<Outcome> {
        if let Some(reason) = self.store.failed().now_or_never() {
            return Some(Outcome::StoreFailed(reason));
        }
        self.failures.try_recv().ok().map(Outcome::TaskFailed)
    }

    /// Readiness off, no new connections, requests at hand finished, sessions told, leases settled or handed back, store
    /// closed. A server that has failed only lets go.
    async fn stop(&self, graceful: bool) -> Outcome {
        self.admin.health.stopping();
        self.supervisor.stop();
        self.accepting.cancel();
        tracing::info!(event = "stopping", grace_ms = self.config.shutdown_grace.as_millis() as u64);
        let grace = if graceful { self.config.shutdown_grace } else { Duration::ZERO };
        let deadline = Instant::now() + grace;
        let in_time = timeout(grace.saturating_sub(grace / CLOSE_SHARE), async {
            // What has come by now is stored, if it is whole soon; who comes later finds nobody, and goes to another server.
            let _late = timeout(ingress::INTAKE_WITHIN + INTAKE_LATE, self.accepted.cancelled()).await;
            self.refusing.cancel();
            self.admin.hub.stop().await;
            self.end_traces();
            self.supervisor.finished().await;
        });
        let in_time = in_time.await.is_ok();
        self.end_traces();
        self.supervisor.cancel();
        // A task that is stuck cannot be dropped, and must not keep a server that has failed half alive.
        let _stuck = timeout(CLOSE_TIMEOUT, self.supervisor.finished()).await;
        let left = if graceful { deadline.saturating_duration_since(Instant::now()) } else { CLOSE_TIMEOUT };
        // Before the store lets go of the directory: the next server may begin the moment it does.
        self.write_quotas(left).await;
        self.withdraw();
        let closed = timeout(left, self.store.close()).await.is_ok();
        // The store is another server's by now, and a collector that hangs makes no end a failed one.
        let _told = timeout_at(deadline, self.telling.finished()).await;
        self.telling.cancel();
        let outcome = if in_time && closed { Outcome::Stopped } else { Outcome::GraceExceeded };
        tracing::info!(event = "stopped", in_time, closed);
        outcome
    }

    /// What is in line is sent, and no more.
    fn end_traces(&self) {
        self.traces.iter().for_each(|traces| traces.end());
    }

    fn spawn(
        &self,
        driver: Driver,
        fetcher: Fetcher,
        shown: Option<certificate::Kept>,
        Listeners { public, redirect, clients, admin, socket }: Listeners,
    ) {
        let supervisor = &self.supervisor;
        supervisor.spawn(TaskKind::Hub, "hub", async move {
            driver.run().await;
            Ok(())
        });
        let budget = Budget::new(budget::intake_bytes(self.config.inflight_bytes_max));
        let settings = ingress::Settings::new(&self.config, budget, self.certificate.as_ref().map(Certificate::server));
        if let Some((certificate, kept)) = self.certificate.clone().zip(shown) {
            supervisor.spawn(TaskKind::Watch, "certificate", async move {
                certificate.keep(kept).await;
                Ok(())
            });
        }
        let challenges = Arc::<Challenges>::default();
        if let (Some(acme), Some(certificate)) = (self.config.acme.clone(), self.certificate.clone()) {
            self.spawn_acme(acme, &certificate, redirect.is_some().then(|| Arc::clone(&challenges)));
        }
        let keyring = Keyring::new(fetcher, self.admin.clock, self.store.clone());
        // Where clients have a listener of their own they have no other.
        let gate = clients.is_none().then(|| self.gate.clone());
        if let Some((listener, trusted)) = clients {
            self.spawn_clients(listener, trusted);
        }
        let front = Front { admin: Arc::clone(&self.admin), gate };
        let (books, backend) = (self.books(), self.backend(keyring));
        let (stop, accepted) = (self.accepting.clone(), self.accepted.clone());
        match public {
            Some(public) => supervisor.spawn(TaskKind::Public, "public", async move {
                ingress::serve(public, (settings, books), Some(backend), front, stop).await;
                accepted.cancel();
                Ok(())
            }),
            None => accepted.cancel(),
        }
        if let Some(listener) = redirect {
            self.spawn_redirect(listener, Arc::clone(&challenges));
        }
        if let Some(listener) = admin {
            let offer = Offer {
                desk: admin::guarded(Arc::clone(&self.admin), dashboard::pages(&self.admin)),
                sites: Some(Sites::new(&self.config.admin_hosts)),
                proxies: Arc::clone(&self.config.proxies),
            };
            let (metrics, stop) = (Arc::clone(&self.admin.metrics), supervisor.stopping());
            supervisor.spawn(TaskKind::Admin, "admin", async move {
                admin::serve(listener, "admin", offer, metrics, stop).await;
                Ok(())
            });
        }
        let desk = admin::unguarded(Entrance::SOCKET, Arc::clone(&self.admin));
        let offer = Offer { desk, sites: None, proxies: Arc::default() };
        let (metrics, stop) = (Arc::clone(&self.admin.metrics), supervisor.stopping());
        supervisor.spawn(TaskKind::Admin, "admin-socket", async move {
            admin::serve(socket, "admin-socket", offer, metrics, stop).await;
            Ok(())
        });
        self.spawn_watchers();
    }

    /// What is written down of requests.
    fn books(&self) -> Books {
        let State { clock, metrics, refusals, .. } = &*self.admin;
        Books { clock: *clock, metrics: Arc::clone(metrics), refusals: Arc::clone(refusals) }
    }

    /// What webhooks are taken in with.
    fn backend(&self, keyring: Arc<Keyring>) -> Backend {
        let State { registry, hub, quotas, guesses, own_requests, .. } = &*self.admin;
        Backend {
            registry: Arc::clone(registry),
            hub: hub.clone(),
            keyring,
            quotas: Arc::clone(quotas),
            guesses: Arc::clone(guesses),
            own_requests: Arc::clone(own_requests),
            supervisor: self.supervisor.clone(),
            refusing: self.refusing.clone(),
            traces: self.traces.clone(),
        }
    }

    /// Writes down what the sources took today, within this time: the disk may hang, and the process ends all the same.
    async fn write_quotas(&self, within: Duration) {
        let (quotas, data_dir) = (Arc::clone(&self.admin.quotas), self.config.data_dir.clone());
        let now = self.admin.clock.wall();
        let written = tokio::task::spawn_blocking(move || quotas.write(&data_dir, now));
        let error = match timeout(within, written).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the disk does not answer".to_owned(),
        };
        tracing::warn!(
            event = "quotas_unwritten",
            error,
            "what came in the last seconds is not counted among what the sources took today"
        );
    }

    /// Obtains certificates, and has them be shown.
    fn spawn_acme(&self, config: AcmeConfig, certificate: &Certificate, over_http: Option<Arc<Challenges>>) {
        let (data_dir, clock, certificate) = (self.config.data_dir.clone(), self.admin.clock, certificate.clone());
        let (server, trouble) = (certificate.server(), certificate.trouble());
        let acme = match Acme::new(config, data_dir, &self.config.fetching, server, over_http, trouble) {
            Ok(acme) => acme,
            Err(error) => {
                tracing::error!(event = "acme_failed", %error, "no certificate is obtained: this machine trusts no authority");
                return;
            }
        };
        self.supervisor.spawn(TaskKind::Watch, "acme", async move {
            acme.keep(clock, || certificate.look()).await;
            Ok(())
        });
    }

    fn spawn_watchers(&self) {
        let (upkeep, hub, stored_until) = (self.store.clone(), self.admin.hub.clone(), self.stored_until);
        let clock = self.admin.clock;
        let keep = Keep { delivered: self.config.retention_delivered, dead: self.config.retention_dead };
        self.supervisor.spawn(TaskKind::Retention, "retention", async move {
            retention::run(upkeep, hub, clock, keep, stored_until).await;
            Ok(())
        });
        let marks = Arc::clone(&self.admin.marks);
        self.supervisor.spawn(TaskKind::Marks, "marks", async move {
            marks.run().await;
            Ok(())
        });
        let keep = Arc::clone(&self.admin.quotas).keep(self.config.data_dir.clone(), clock);
        self.supervisor.spawn(TaskKind::Watch, "quotas", async move {
            keep.await;
            Ok(())
        });
        let registry = Arc::clone(&self.admin.registry);
        self.supervisor.spawn(TaskKind::Watch, "rotations", async move {
            registry.keep_time().await;
            Ok(())
        });
        let registry = Arc::clone(&self.admin.registry);
        self.supervisor.spawn(TaskKind::Watch, "registry", async move {
            registry.keep_fresh().await;
            Ok(())
        });
        if let Some(agreement) = self.agreement.clone() {
            self.supervisor.spawn(TaskKind::Watch, "agreement", async move {
                agreement.watch().await;
                Ok(())
            });
        }
        self.spawn_alerts();
        if let Some(backups) = self.backups.clone() {
            self.supervisor.spawn(TaskKind::Watch, "backups", async move {
                backups.run().await;
                Ok(())
            });
        }
        let (health, hub) = (Arc::clone(&self.admin.health), self.admin.hub.clone());
        self.supervisor.spawn(TaskKind::Watch, "watch", async move {
            watch::run(health, hub).await;
            Ok(())
        });
        let (health, interval) = (Arc::clone(&self.admin.health), self.config.summary_interval);
        if !interval.is_zero() {
            self.supervisor.spawn(TaskKind::Summary, "summary", async move {
                watch::summarize(health, interval).await;
                Ok(())
            });
        }
    }

    /// One task looks, and one for each alert tells: who is slow holds up nobody else.
    fn spawn_alerts(&self) {
        let (alerts, watched) = (Arc::clone(&self.admin.alerts), self.watched());
        self.supervisor.spawn(TaskKind::Alert, "alerts", async move {
            alerts.run(watched).await;
            Ok(())
        });
        for receiver in self.admin.alerts.receivers() {
            let receiver = Arc::clone(receiver);
            self.supervisor.spawn(TaskKind::Alert, "alert", async move {
                receiver.run().await;
                Ok(())
            });
        }
    }

    /// Who is told what.
    #[cfg(test)]
    pub(crate) fn alerts(&self) -> Arc<Alerts> {
        Arc::clone(&self.admin.alerts)
    }

    /// What the alerts look at.
    pub(crate) fn watched(&self) -> Watched {
        let State { health, hub, registry, metrics, promises, .. } = &*self.admin;
        let (health, registry, metrics) = (Arc::clone(health), Arc::clone(registry), Arc::clone(metrics));
        Watched { health, hub: hub.clone(), registry, metrics, shares: promises.several_owners }
    }
}

/// What copies the store, where it is to be copied.
fn backups(config: &Config, store: &Arc<dyn Store>, clock: Clock) -> Option<Arc<Backups>> {
    let plan = config.backups.clone()?;
    let epoch = store.epoch()?;
    let place = (config.data_dir.clone(), config.disk_reserve_bytes);
    Some(Arc::new(Backups::new(plan, epoch, store.clone(), place, clock)))
}

/// The core's machine, before its first input.
fn machine(config: &Config, server: About, stats: &Stats, promises: &Promises) -> Hub {
    Hub::new(Setup {
        server,
        lease: config.lease,
        retry_after_max: config.retry_after_max,
        circuit_pause_max: config.circuit_pause_max,
        outgoing_bytes_max: config.inflight_bytes_max / 2,
        public_url: config.public_url.clone(),
        seed: rand::random(),
        shares: promises.several_owners,
        partitions: promises.partitions,
        parts: promises.parts,
        id_floor: stats.id_floor,
        sha256: secret::sha256,
        traces: config.traces.as_ref().map(|to| to.sampling),
    })
}

/// Its first inputs: what the store knows, then the routes.
fn begin(hub: &mut Hub, registry: &Registry, stats: &Stats, clock: Clock) {
    let delivered = stats.destinations.iter().map(|stats| (stats.destination.clone(), stats.outcomes[0])).collect();
    hub.handle(Input::DeliveredSoFar(delivered), clock.own());
    hub.handle(Input::Routing(Arc::clone(&registry.directory().routing)), clock.own());
}

#[cfg(test)]
mod tests {
    use std::{fs, future::pending};

    use relay_store::memory::MemoryStore;

    use super::*;

    /// A hub that is gone takes the whole process with it; a session that is gone only itself.
    #[tokio::test]
    async fn a_panic_of_the_hub_ends_the_server_and_one_of_a_session_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::sample(dir.path().to_owned());
        let server = Server::start(config, Arc::new(MemoryStore::new()), Outside::default()).await.unwrap();
        let supervisor = server.supervisor.clone();
        supervisor.spawn(TaskKind::Session, "session", async { panic!("hostile bytes") });
        let mut running = std::pin::pin!(server.run(pending()));
        assert!(timeout(Duration::from_millis(50), running.as_mut()).await.is_err(), "the server goes on");
        supervisor.spawn(TaskKind::Hub, "hub", async { panic!("a bug") });
        let Outcome::TaskFailed(failure) = running.await else { panic!("the server ends as failed") };
        assert_eq!(failure.to_string(), "the task hub panicked: a bug");
        assert!(!dir.path().join("run.json").exists(), "it does not say that it runs");
    }

    /// I17: an error of the last commit or checkpoint is no orderly end.
    #[tokio::test]
    async fn a_store_that_fails_at_its_close_is_told() {
        use relay_store::sqlite::{Edge, EdgeAction, Edges, Options, SqliteStore};
        let dir = tempfile::tempdir().unwrap();
        let fails = |edge| if edge == Edge::BeforeCheckpoint { EdgeAction::Io } else { EdgeAction::Continue };
        let options = Options { edges: Edges::new(fails), disk_reserve: 0, ..Options::new(dir.path()) };
        let store = Arc::new(SqliteStore::open(options).unwrap());
        let server = Server::start(Config::sample(dir.path().to_owned()), store, Outside::default()).await.unwrap();
        let outcome = server.run(std::future::ready(())).await;
        assert!(matches!(&outcome, Outcome::StoreFailed(reason) if reason.contains("BeforeCheckpoint")), "{outcome:?}");
    }

    /// I10: servers that share a store begin on its clock, or on that of those which are there.
    #[tokio::test]
    async fn a_server_starts_on_the_clock_of_the_others() {
        use relay_core::storage::{Presence, Reading};
        use relay_store::seam::Queue as _;
        let at = Wall::from_micros(1_700_000_000_000_000);
        let hour = Duration::from_hours(1);
        for (others, wanted) in [(None, at), (Some(hour), at + hour)] {
            let store = MemoryStore::new();
            store.tell_clock(at);
            if let Some(ahead) = others {
                let clock = Some(Reading { ahead: ahead.as_micros() as i64, within: Duration::ZERO });
                let (server, clients, circuits) = (About::default(), Vec::new(), Vec::new());
                store
                    .presence(Presence { run: 1, at, server, stopping: false, clock, clients, circuits })
                    .await
                    .unwrap();
            }
            let dir = tempfile::tempdir().unwrap();
            let config = Config::sample(dir.path().to_owned());
            let server = Server::start(config, Arc::new(store.second_owner()), Outside::default()).await.unwrap();
            let started = server.admin.clock.wall();
            assert!(started >= wanted && started < wanted + Duration::from_mins(5), "{started:?}");
            assert!(matches!(server.run(std::future::ready(())).await, Outcome::Stopped));
        }
    }

    /// I22: nothing waits for a collector, neither the grace nor whoever takes the store over.
    #[tokio::test]
    async fn a_collector_that_never_answers_makes_no_stop_a_failed_one() {
        use relay_core::{
            id::IdMint,
            trace::{Acceptance, Sampling, Traced},
        };
        let collector = alerts::tests::target::Target::start().await;
        collector.answer(&[""]);
        let dir = tempfile::tempdir().unwrap();
        let sampling = Sampling::of_share(1.0).unwrap();
        let url = format!("http://{}/v1/traces", collector.addr).parse().unwrap();
        let config = Config {
            traces: Some(crate::config::TracesConfig { url, headers: Vec::new(), sampling }),
            shutdown_grace: Duration::from_secs(1),
            ..Config::sample(dir.path().to_owned())
        };
        let store = Arc::new(MemoryStore::new());
        let server = Server::start(config, store, Outside::default()).await.unwrap();
        let at = Wall::from_micros(1_700_000_000_000_000);
        let event = IdMint::new(0, 1).event(at);
        let (trace, source) = (sampling.trace_of(event, &[]).unwrap(), "shop".parse().unwrap());
        let (begun, asked, durable, ended) = (at, at, at, at);
        let accepted = Acceptance { trace, event, source, begun, asked, durable, ended, status: 202 };
        server.traces.as_ref().unwrap().put(Traced::Accepted(Box::new(accepted)));
        let outcome = server.run(async { drop(collector.until(1).await) }).await;
        assert!(matches!(outcome, Outcome::Stopped), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_start_leaves_nothing_running() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("run.json")).unwrap();
        let config = Config::sample(dir.path().to_owned());
        let started = Server::start(config, Arc::new(MemoryStore::new()), Outside::default()).await;
        assert!(matches!(started.err(), Some(StartError::Write { .. })));
        assert!(!dir.path().join("admin.sock").exists());
    }
}
