//! The registry: sources, routes, destinations, keys and tokens, kept as documents in the store.
//!
//! Every change is a compare-and-set with its audit entry in the same commit; afterwards the [`Directory`] is read anew,
//! and the follower tells whoever keeps something of it. What the configuration file declares is merged at start and at a reload, and read-only
//! otherwise.

mod adopt;
mod change;
mod declared;
mod destination;
mod follower;
mod invite;
mod key;
mod put;
mod rotation;
mod route;
pub(crate) mod sessions;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;
mod token;
pub mod uses;

use std::{borrow::Borrow, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use relay_core::{
    fault::{Fault, Retry},
    name::Name,
    storage::StoreError,
    time::Wall,
};
use relay_store::seam::{self, AuditEntry, DocumentKey, DocumentKind};
use tokio::sync::{Mutex, Notify, watch};

pub use change::ShownOnce;
pub use invite::Invited;
pub use key::NewKey;
pub(crate) use put::put_document;
pub use rotation::End;
pub use route::{NewRoute, Policy};
pub use source::{NewSource, SourceUpdate};
pub use token::NewToken;

use self::{follower::Follower, sessions::Sessions, uses::Uses};
use crate::{
    clock::Clock, config::RouteDefaults, directory::Directory, document::Unread, hub::Handle, principal::Principal,
    secret,
};

/// Name of the static token from the credentials.
pub(crate) const STATIC_TOKEN: &str = "relay_token";

/// The one writer of registry documents in this process.
pub struct Registry {
    store: Arc<dyn seam::Registry>,
    clock: Clock,
    defaults: RouteDefaults,
    api_key: [u8; 32],
    /// Names this server among those that share the store; empty where it has one owner.
    server: String,
    /// `PUBLIC_URL` without a trailing `/`: what senders call the relay, where it knows that.
    public_url: Option<String>,
    /// There is such a URL, or nothing is taken in and none is missed.
    knows_own_url: bool,
    /// `DEDUPE_WINDOW`: how long ids of webhooks are remembered.
    memory: Duration,
    /// The store keeps marks.
    keeps_marks: bool,
    directory: ArcSwap<Directory>,
    /// Where in the configuration file stands what it declares.
    places: ArcSwap<declared::Places>,
    /// Tells of each new snapshot before its change counts as done.
    follower: Follower,
    /// Sessions by what let them in.
    sessions: Arc<Sessions>,
    /// How what is being replaced is used.
    uses: Arc<Uses>,
    /// Changes one at a time: each reads the directory that the one before it left.
    turn: Mutex<()>,
    /// The snapshot could not be read anew after a change.
    stale: Notify,
}

/// Why a change of the registry was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A value is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// A source's parameters are not those of its provider.
    #[error("source {name:?}: {what}")]
    Source {
        /// Which.
        name: String,
        /// What is wrong, all of it.
        what: String,
    },
    /// There is no such thing.
    #[error("no {kind} {name:?}; known: {known}")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// Under which name.
        name: String,
        /// What there is.
        known: String,
    },
    /// The name is taken.
    #[error("{kind} {name:?} exists already")]
    Taken {
        /// What was to be made.
        kind: &'static str,
        /// Under which name.
        name: String,
    },
    /// The configuration file declares it.
    #[error("{kind} {name:?} is declared in {at}; change it there and reload the server (SIGHUP)")]
    Declared {
        /// What was to be changed.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it stands.
        at: String,
    },
    /// A source never is without a route.
    #[error(
        "{destination:?} is the last destination of source {source_name:?}; create another route first \
         (crm-relay route create {source_name} NAME) or delete the source"
    )]
    LastRoute {
        /// From.
        source_name: String,
        /// To.
        destination: String,
    },
    /// It cannot be done to it as it is.
    #[error("{0}")]
    Conflict(String),
    /// Somebody else keeps changing it.
    #[error("somebody else keeps changing this; try again")]
    Contended,
    /// No secret could be made.
    #[error(transparent)]
    NoRandomness(#[from] secret::NoRandomness),
    /// A stored document does not read.
    #[error(
        "{kind:?} document {name:?} is damaged: {what}. Put back a backup, or take it out: crm-relay store check --accept-loss"
    )]
    Damaged {
        /// Its kind.
        kind: DocumentKind,
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A later version wrote a stored document.
    #[error("{kind:?} document {name:?}: {what}. Run that version, or a later one")]
    Later {
        /// Its kind.
        kind: DocumentKind,
        /// Its name.
        name: String,
        /// What is not known here.
        what: String,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store did a part of it, and holds to that.
    #[error(
        "{error}: {done} of {all} documents of this change are written and in force; look what is there (list, show), and add the \
         rest or delete it and begin anew"
    )]
    Partly {
        /// Documents that are written.
        done: usize,
        /// Documents that it comes to.
        all: usize,
        /// Why it is not through.
        error: StoreError,
    },
}

impl RegistryError {
    /// Of a document that does not read.
    pub(crate) fn unread(kind: DocumentKind, name: &str, why: &Unread) -> Self {
        let (name, what) = (name.to_owned(), why.to_string());
        match why {
            Unread::Later(_) => Self::Later { kind, name, what },
            Unread::Damaged(_) => Self::Damaged { kind, name, what },
        }
    }

    /// Who has to change something.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Source { .. } | Self::Declared { .. } | Self::Later { .. } => Fault::Operator,
            Self::Invalid(_)
            | Self::Unknown { .. }
            | Self::Taken { .. }
            | Self::LastRoute { .. }
            | Self::Conflict(_) => Fault::Caller,
            Self::Contended | Self::NoRandomness(_) | Self::Damaged { .. } => Fault::Resource,
            Self::Store(error) | Self::Partly { error, .. } => error.fault(),
        }
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Contended => Retry::Backoff,
            Self::Store(error) => error.retry(),
            // The same call does not do the rest.
            Self::Partly { .. }
            | Self::NoRandomness(_)
            | Self::Damaged { .. }
            | Self::Later { .. }
            | Self::Source { .. }
            | Self::Declared { .. }
            | Self::Invalid(_)
            | Self::Unknown { .. }
            | Self::Taken { .. }
            | Self::LastRoute { .. }
            | Self::Conflict(_) => Retry::Never,
        }
    }
}

impl Registry {
    /// Reads the registry, makes what exists out of the box and merges what the configuration file declares.
    ///
    /// # Errors
    /// When the store fails or a document is damaged.
    pub async fn open(
        store: Arc<dyn seam::Registry>,
        clock: Clock,
        config: &crate::Config,
    ) -> Result<Self, RegistryError> {
        Self::open_on((store, true), clock, config).await
    }

    /// The same where a store may not keep marks.
    ///
    /// # Errors
    /// When the store fails or a document is damaged.
    pub(crate) async fn open_on(
        (store, keeps_marks): (Arc<dyn seam::Registry>, bool),
        clock: Clock,
        config: &crate::Config,
    ) -> Result<Self, RegistryError> {
        let api_key = config.credentials.api_key;
        let mut registry = Self::empty(store, clock, config.route_defaults.clone(), api_key);
        registry.server.clone_from(&config.server);
        registry.public_url = config.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
        registry.knows_own_url = config.public_url.is_some();
        registry.memory = config.dedupe_window;
        registry.keeps_marks = keeps_marks;
        registry.load().await?;
        registry.declare(config).await?;
        registry.warn_of_unknown_url();
        registry.warn_of_short_memory();
        registry.tell_broken();
        registry.lapse().await;
        Ok(registry)
    }

    /// Reads the registry and writes nothing.
    ///
    /// # Errors
    /// When the store fails or a document is damaged.
    pub(crate) async fn read_only(
        store: Arc<dyn seam::Registry>,
        clock: Clock,
        defaults: RouteDefaults,
    ) -> Result<Self, RegistryError> {
        let registry = Self::empty(store, clock, defaults, [0; 32]);
        // Who only looks is shown what there is, and told what is damaged.
        registry.reload().await?;
        Ok(registry)
    }

    /// How long ids of webhooks are remembered; `None`: nothing is taken in here.
    pub(crate) fn memory(&self) -> Option<Duration> {
        (self.memory != Duration::MAX).then_some(self.memory)
    }

    /// Where senders reach a source, if the relay knows what they call it.
    pub(crate) fn url_of(&self, source: &Name) -> Option<String> {
        self.public_url.as_ref().map(|base| format!("{base}/webhook/{source}"))
    }

    fn empty(store: Arc<dyn seam::Registry>, clock: Clock, defaults: RouteDefaults, api_key: [u8; 32]) -> Self {
        let (sessions, uses) = (Arc::<Sessions>::default(), Arc::<Uses>::default());
        Self {
            store,
            clock,
            defaults,
            api_key,
            server: String::new(),
            public_url: None,
            knows_own_url: true,
            memory: Duration::MAX,
            keeps_marks: true,
            directory: ArcSwap::default(),
            places: ArcSwap::default(),
            follower: Follower::new(Arc::clone(&sessions), Arc::clone(&uses)),
            sessions,
            uses,
            turn: Mutex::default(),
            stale: Notify::new(),
        }
    }

    /// Writes a line of the audit log about something that changes nothing here.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn note(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.store.audit(vec![entry]).await
    }

    /// Hears of every new snapshot.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.follower.sweeps()
    }

    /// The present snapshot.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Tells this hub, which began with the present snapshot, of every new one within the change that makes it: a command is
    /// answered once what it says holds for the next webhook.
    pub(crate) fn tell(&self, hub: Handle) {
        self.follower.tell(hub);
    }

    /// Sessions by what let them in.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// How what is being replaced is used.
    pub(crate) fn uses(&self) -> &Arc<Uses> {
        &self.uses
    }

    /// When a token last let a client in, or one that it let in was there.
    pub(crate) fn token_used(&self, token: &Name) -> Option<Wall> {
        if self.sessions.has(token) { Some(self.now()) } else { self.uses.token_used(token) }
    }

    /// The time that what is kept here is reckoned by.
    pub(crate) fn now(&self) -> Wall {
        self.clock.wall()
    }

    /// TTL and retry policy of routes that have none of their own.
    pub fn defaults(&self) -> &RouteDefaults {
        &self.defaults
    }

    fn audited(&self, who: &Principal, action: &str, subject: impl Into<String>) -> AuditEntry {
        who.audited(self.clock.now().wall, action, subject)
    }
}

/// Names the document of a source, destination or token.
fn key_of(kind: DocumentKind, name: &Name) -> DocumentKey {
    DocumentKey { kind, name: name.to_string() }
}

/// Names the document of a route (source and destination) or an API key (source and name). Names hold no `/`.
fn key_of_pair(kind: DocumentKind, first: &Name, second: &Name) -> DocumentKey {
    DocumentKey { kind, name: format!("{first}/{second}") }
}

/// Names for people: `crm, erp`.
pub fn listed(names: impl IntoIterator<Item: Borrow<Name>>) -> String {
    /// More of them help nobody who mistyped one.
    const LISTED_MAX: usize = 20;
    let mut names: Vec<String> = names.into_iter().map(|name| name.borrow().to_string()).collect();
    let more = names.len().saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    match (names.is_empty(), more) {
        (true, _) => "none".into(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}
