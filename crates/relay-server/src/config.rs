//! What an operator decides about a server, already checked: bad combinations cannot be built from outside the binary.

pub mod alert;
pub(crate) mod likeness;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use relay_core::{delivery::retry::RetryPolicy, name::Name};
use relay_net::proxies::Proxies;
use relay_store::cipher::Ciphers;

pub use self::{alert::DeclaredAlert, likeness::Difference};
use crate::secret::sha256;
pub use crate::{
    acme::AcmeConfig,
    certificate::TlsFiles,
    document::Dedupe,
    fetch::{Fetching, Names, ProxyChoice},
    mark_path::MarkPath,
    network_policy::NetworkPolicy,
    parameters::Parameters,
    traces::TracesConfig,
};

/// Configuration of a server. Defaults stand in `relay_core::limits`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Public listener; port 0 takes any.
    pub listen: SocketAddr,
    /// What it shows of itself: the first to whoever asks for no host that another is for; none: it speaks plain HTTP.
    pub tls: Vec<TlsFiles>,
    /// From whom a certificate is obtained that is shown before these.
    pub acme: Option<AcmeConfig>,
    /// Where everybody is sent to `public_url` who asks without TLS.
    pub redirect_listen: Option<SocketAddr>,
    /// Where clients alone are taken, if the public listener takes none.
    pub clients: Option<ClientsListen>,
    /// Proxies that are believed whom they bring, to any listener.
    pub proxies: Arc<Proxies>,
    /// On which listeners they say so by the PROXY protocol, and whoever comes without it is not heard.
    pub proxy_protocol: ProxyProtocol,
    /// Names under which the public listener may be asked, that of `public_url` among them; empty: under any.
    pub allowed_hosts: Vec<String>,
    /// Admin listener; `None`: only the socket.
    pub admin_listen: Option<SocketAddr>,
    /// Names under which the admin listener may be asked, beside addresses, `localhost` and names without a dot.
    pub admin_hosts: Vec<String>,
    /// Whether browsers get the dashboard there.
    pub dashboard: bool,
    /// Under which URL browsers and commands reach the admin listener, where they do not by its address; may carry a path.
    pub admin_url: Option<String>,
    /// Names it among the servers that share its store, the same over restarts: what its file declares is known by that. Empty
    /// where the store has one owner.
    pub server: String,
    /// What it is configured with is to be shared from now on by all servers on its store, whatever they have.
    pub accepts: bool,
    /// What the relay, all servers on its store, is called in messages of alerts; `None`: the host of `public_url`.
    pub relay_name: Option<String>,
    /// Holds store, credentials, `admin.sock`, `run.json`.
    pub data_dir: PathBuf,
    /// Where a file outlives the process that wrote it if `data_dir` takes none, until the machine ends: `$RUNTIME_DIRECTORY`.
    pub runtime_dir: Option<PathBuf>,
    /// Under which URL senders reach the public listener, without a trailing `/`.
    pub public_url: Option<String>,
    /// Secrets given or generated.
    pub credentials: Credentials,
    /// TTL and retry policy of routes that do not say otherwise.
    pub route_defaults: RouteDefaults,
    /// Sources that the configuration file declares; read-only for the API.
    pub sources: Vec<DeclaredSource>,
    /// Routes that the configuration file declares.
    pub routes: Vec<DeclaredRoute>,
    /// Who is told when something is not as it should be, by name.
    pub alerts: Vec<DeclaredAlert>,
    /// Where the server copies its store to; `None`: nobody does.
    pub backups: Option<BackupPlan>,
    /// Origins that get CORS headers; empty: none.
    pub cors_origins: Vec<String>,
    /// Largest body.
    pub body_bytes_max: u64,
    /// Bodies coming in, queued and going out.
    pub inflight_bytes_max: u64,
    /// Disk that is never filled.
    pub disk_reserve_bytes: u64,
    /// How long a dedupe key is remembered.
    pub dedupe_window: Duration,
    /// Retention of delivered and cancelled deliveries.
    pub retention_delivered: Duration,
    /// Retention of dead and expired deliveries.
    pub retention_dead: Duration,
    /// `LEASE`.
    pub lease: Duration,
    /// `RETRY_AFTER_MAX`.
    pub retry_after_max: Duration,
    /// `CIRCUIT_PAUSE_MAX`.
    pub circuit_pause_max: Duration,
    /// `SHUTDOWN_GRACE`.
    pub shutdown_grace: Duration,
    /// `HEALTH_CHECK_INTERVAL`: one INFO summary line.
    pub summary_interval: Duration,
    /// How keys and certificates of providers are fetched.
    pub fetching: Fetching,
    /// Number and fingerprint of the key that what is stored is sealed with; `None`: it is stored as it is.
    pub sealed_with: Option<String>,
    /// Who is told of the way of events; `None`: nobody.
    pub traces: Option<TracesConfig>,
}

/// When and where a server copies its store.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    /// `BACKUP_DIR`.
    pub dir: PathBuf,
    /// `BACKUP_EVERY`.
    pub every: Duration,
    /// `BACKUP_KEEP`: so many stay.
    pub keep: usize,
    /// The keys that the store is sealed with: each copy is read through.
    pub ciphers: Ciphers,
}

/// The listeners on which each connection begins with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// The public one.
    pub public: bool,
    /// That of clients alone.
    pub clients: bool,
    /// The one that sends others to TLS.
    pub redirect: bool,
}

/// A listener of clients alone, each of which shows a certificate of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientsListen {
    /// Where it listens; port 0 takes any.
    pub addr: SocketAddr,
    /// The authorities that sign their certificates, and what they have revoked, PEM.
    pub ca_file: PathBuf,
}

/// The server's own secrets, by their SHA-256: all that it takes to know them again. Debug prints none of them.
#[derive(Clone)]
pub struct Credentials {
    /// `API_KEY` of the source `default`.
    pub api_key: [u8; 32],
    /// `RELAY_TOKEN`: serves every destination.
    pub relay_token: [u8; 32],
    /// `ADMIN_TOKEN`.
    pub admin_token: [u8; 32],
}

impl Credentials {
    /// What they are called, in the order of [`Self::digests`].
    pub const NAMES: [&str; 3] = ["API_KEY", "RELAY_TOKEN", "ADMIN_TOKEN"];

    /// Of these secrets, in the order of their names.
    pub fn of(secrets: [&str; 3]) -> Self {
        Self::from_digests(secrets.map(|secret| sha256(secret.as_bytes())))
    }

    /// The same, where no more is known of them.
    pub const fn from_digests([api_key, relay_token, admin_token]: [[u8; 32]; 3]) -> Self {
        Self { api_key, relay_token, admin_token }
    }

    /// All of them.
    pub const fn digests(&self) -> [[u8; 32]; 3] {
        [self.api_key, self.relay_token, self.admin_token]
    }
}

/// TTL and retry policy.
#[derive(Clone, Debug)]
pub struct RouteDefaults {
    /// `MESSAGE_TTL`.
    pub ttl: Duration,
    /// `MAX_RETRIES`, `RETRY_DELAY`, `RETRY_MULTIPLIER`.
    pub retry: RetryPolicy,
}

/// A `[source.NAME]` of the configuration file.
#[derive(Clone, Debug)]
pub struct DeclaredSource {
    /// Its name.
    pub name: Name,
    /// Provider, by name.
    pub provider: String,
    /// Parameters, in order; a name given twice: both values are valid.
    pub parameters: Parameters,
    /// Who may come, and how often.
    pub network: NetworkPolicy,
    /// Key sources take an empty body with POST, PUT and PATCH.
    pub allow_empty: bool,
    /// What a repeat of something delivered is.
    pub dedupe: Dedupe,
    /// What its events can be found by: names, and where that stands.
    pub marks: Vec<(Name, MarkPath)>,
    /// Where it stands, for messages: `crm-relay.toml line 4`.
    pub at: String,
}

/// A `[[route]]` of the configuration file.
#[derive(Clone, Debug)]
pub struct DeclaredRoute {
    /// From.
    pub source: Name,
    /// To.
    pub destination: Name,
    /// Its own TTL.
    pub ttl: Option<Duration>,
    /// Its own retry policy.
    pub retry: Option<RetryPolicy>,
    /// Where it stands, for messages.
    pub at: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

impl Config {
    /// Where the dashboard is, with a slash at its end, where it is on and somebody said where browsers find it.
    pub(crate) fn dashboard_url(&self) -> Option<String> {
        let url = self.admin_url.as_deref().filter(|_| self.dashboard)?;
        Some(format!("{}/", url.trim_end_matches('/')))
    }
}

#[cfg(test)]
impl Config {
    /// A configuration for tests: ports of the system's choice, defaults, nothing declared.
    pub(crate) fn sample(data_dir: PathBuf) -> Self {
        use relay_core::limits;
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: Vec::new(),
            acme: None,
            redirect_listen: None,
            clients: None,
            proxies: Arc::default(),
            proxy_protocol: ProxyProtocol::default(),
            allowed_hosts: Vec::new(),
            admin_listen: None,
            admin_hosts: Vec::new(),
            dashboard: true,
            admin_url: None,
            server: String::new(),
            accepts: false,
            relay_name: None,
            data_dir,
            runtime_dir: None,
            public_url: None,
            credentials: Credentials::of(["crk_test", "crt_test", "cra_test"]),
            route_defaults: RouteDefaults { ttl: limits::MESSAGE_TTL, retry: RetryPolicy::default() },
            sources: Vec::new(),
            routes: Vec::new(),
            alerts: Vec::new(),
            backups: None,
            cors_origins: Vec::new(),
            body_bytes_max: limits::MAX_BODY_BYTES,
            inflight_bytes_max: limits::MAX_INFLIGHT_BYTES,
            disk_reserve_bytes: 0,
            dedupe_window: limits::DEDUPE_WINDOW,
            retention_delivered: Duration::from_hours(1),
            retention_dead: Duration::from_hours(1),
            lease: limits::LEASE,
            retry_after_max: limits::RETRY_AFTER_MAX,
            circuit_pause_max: limits::CIRCUIT_PAUSE_MAX,
            shutdown_grace: Duration::from_secs(1),
            summary_interval: Duration::ZERO,
            fetching: Fetching::default(),
            sealed_with: None,
            traces: None,
        }
    }
}
