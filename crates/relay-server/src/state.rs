//! What all rooms of a server share: the admin API, the public side, and commands that read a store without a server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderMap, header};
use relay_dashboard::url::Site;
use relay_net::origin::Origin;
use relay_store::seam::{Archive, AuditEntry, Promises, Queue, Upkeep};

use tokio::sync::Semaphore;

use crate::{
    alerts::Alerts,
    clock::Clock,
    guesses::{Entrance, Guesses, bearer},
    health::Health,
    hub::Handle,
    live::Live,
    marks::Marks,
    metrics::Metrics,
    newest::Newest,
    own_request::OwnRequests,
    people::People,
    preview::Previews,
    principal::Principal,
    quotas::Quotas,
    reach::Reach,
    recounts::Recounts,
    refusals::Refusals,
    registry::Registry,
    scan::Scans,
    secret,
    supervise::Supervisor,
};

/// What all rooms of a server share.
pub(crate) struct State {
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) upkeep: Arc<dyn Upkeep>,
    /// For replays.
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) hub: Handle,
    pub(crate) registry: Arc<Registry>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    /// What sources refused lately.
    pub(crate) refusals: Arc<Refusals>,
    /// What sources took today, of those that bound it.
    pub(crate) quotas: Arc<Quotas>,
    /// Who shows wrong tokens.
    pub(crate) guesses: Arc<Guesses>,
    /// Who is told what.
    pub(crate) alerts: Arc<Alerts>,
    /// Who may in by the dashboard.
    pub(crate) people: Arc<People>,
    /// What moves, for whoever looks.
    pub(crate) live: Arc<Live>,
    /// Counts everything anew.
    pub(crate) recounts: Recounts,
    /// Looks through bodies.
    pub(crate) scans: Scans,
    /// Finds events by what is in them.
    pub(crate) marks: Arc<Marks>,
    /// When the newest event of each source came.
    pub(crate) newest: Newest,
    /// Events with bodies that are read and shown at a time.
    pub(crate) bodies: Arc<Semaphore>,
    /// Dead letters that are put into groups at a time.
    pub(crate) groupings: Semaphore,
    /// Bodies that are on their way to whoever wants them as they are.
    pub(crate) downloads: Arc<Semaphore>,
    /// Where browsers find the dashboard; none: it is off.
    pub(crate) dashboard: Option<Dashboard>,
    pub(crate) clock: Clock,
    pub(crate) supervisor: Supervisor,
    pub(crate) promises: Promises,
    pub(crate) token: [u8; 32],
    /// What it asks itself by way of its public address.
    pub(crate) own_requests: Arc<OwnRequests>,
    /// What came of that lately.
    pub(crate) reach: Reach,
    /// What dry runs counted, for the commands that bring it.
    pub(crate) previews: Previews,
    /// What the relay is called, if it has to be told from others.
    pub(crate) relay: Option<String>,
    /// Under which URL senders reach the public listener, if anybody said so.
    pub(crate) public_url: Option<String>,
    /// Addresses, known once the listeners are bound.
    pub(crate) listening: OnceLock<Listening>,
}

/// Bodies of any length that are in memory for pages: each may be as large as any body is.
pub(crate) const BODIES_AT_ONCE: usize = 4;

/// Groupings at a time, each of thousands of records: whoever comes next waits.
pub(crate) const GROUPINGS_AT_ONCE: usize = 2;

/// Those on their way at a time; whoever wants one more is told to come again. He may read slowly, and holds up no page.
pub(crate) const DOWNLOADS_AT_ONCE: usize = 16;

/// Where browsers find the dashboard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dashboard {
    /// `ADMIN_URL`, with a slash at its end; none: the address of the admin listener.
    pub(crate) url: Option<String>,
    /// The path of that.
    pub(crate) site: Site,
}

impl Dashboard {
    /// At `ADMIN_URL`.
    pub(crate) fn at(url: Option<&str>) -> Self {
        let path = |url: &str| url.parse::<http::Uri>().map(|url| Site::new(url.path())).unwrap_or_default();
        Self { site: url.map(path).unwrap_or_default(), url: url.map(|url| format!("{}/", url.trim_end_matches('/'))) }
    }
}

/// Where the server listens.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) public: String,
    /// Its public listener speaks TLS.
    pub(crate) tls: bool,
    /// A name under which that is asked, where it is under these alone.
    pub(crate) host: Option<String>,
    /// It hears nobody whom no proxy brings by the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    pub(crate) admin: Option<String>,
}

/// What a request shows of the admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is the right one.
    Yes,
    /// It is another.
    No,
    /// It shows none.
    Nothing,
}

impl State {
    /// Whether the request carries the admin token. One that does not is taken note of.
    ///
    /// # Errors
    /// How long to wait, after too many wrong ones.
    pub(crate) async fn looks_at(
        &self,
        headers: &HeaderMap,
        entrance: Entrance,
        origin: Origin,
    ) -> Result<Known, Duration> {
        if !headers.contains_key(header::AUTHORIZATION) {
            // Anybody may ask for the short answer of /health.
            if entrance == Entrance::Admin {
                self.guesses.missing(entrance, origin);
            }
            return Ok(Known::Nothing);
        }
        let token = bearer(headers);
        self.guesses.may_try(entrance, origin, token)?;
        if let Some(token) = token.filter(|token| secret::same(&secret::sha256(token), &self.token)) {
            self.guesses.right(entrance, origin, token);
            return Ok(Known::Yes);
        }
        self.guesses.wrong(entrance, origin, token).await;
        Ok(Known::No)
    }

    /// Under which URL a browser finds the dashboard, with a slash at its end; `None`: under none.
    pub(crate) fn dashboard_url(&self) -> Option<String> {
        let dashboard = self.dashboard.as_ref()?;
        let listening = self.listening.get()?.admin.as_deref()?;
        dashboard.url.clone().or_else(|| {
            let address: SocketAddr = listening.parse().ok()?;
            let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
            Some(format!("http://{}/", SocketAddr::new(ip, address.port())))
        })
    }

    /// `ADMIN_URL`, with a slash at its end, where the dashboard is there.
    pub(crate) fn admin_url(&self) -> Option<&str> {
        self.dashboard.as_ref()?.url.as_deref()
    }

    /// An audit entry of now.
    pub(crate) fn audited(&self, who: &Principal, action: &str, subject: impl Into<String>) -> AuditEntry {
        who.audited(self.clock.wall(), action, subject)
    }
}
