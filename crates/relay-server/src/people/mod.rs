//! People: who may in by the dashboard. Users, their sessions, and links that begin one.
//!
//! All of it is documents in the store, read by id where somebody asks and never kept: what one server takes away, no server takes for
//! valid any more, and while nobody looks nothing is read. Secrets of sessions and links have 256 random bits and are kept as their SHA-256
//! (S21, S24), passwords as argon2id (S22). Whatever ends a user's sessions raises his generation, in one write with its line of the
//! audit log: there is no moment in which some of them are over and others are not.

pub(crate) mod cookie;
pub(crate) mod document;
mod enter;
mod everybody;
mod password;
mod present;
#[cfg(test)]
mod tests;
mod users;
mod views;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use relay_core::name::Name;
use relay_net::origin::Origin;
use relay_store::seam::{self, DocumentKey, DocumentKind};
use tokio::sync::watch;

use self::{document::User, everybody::Shared, password::Passwords, views::Views};
pub(crate) use self::{
    enter::{Entered, SignInError},
    everybody::SessionSeen,
    password::PasswordError,
    present::Present,
    users::UserChange,
};
use crate::{
    clock::Clock,
    document::parse,
    guesses::Guesses,
    principal::{Principal, Via},
    registry::{RegistryError, put_document},
};

/// How often a change is tried when somebody else keeps changing the same document.
const TRIES: u32 = 8;
/// Characters of a browser's name for itself that are kept.
const AGENT_CHARS_MAX: usize = 120;
/// Damaged documents that were named in the log; of more, some are named twice.
const NAMED_MAX: usize = 1_000;

/// Who may in by the dashboard, and who is.
pub(crate) struct People {
    store: Arc<dyn seam::Registry>,
    clock: Clock,
    guesses: Arc<Guesses>,
    passwords: Passwords,
    /// There is a user: one is never removed.
    has_users: AtomicBool,
    views: Views,
    /// All users and sessions, for whoever lists them.
    shared: Shared,
    /// Damaged documents that the log has named.
    damaged: Mutex<BTreeSet<DocumentKey>>,
    /// Something that lets somebody in has ended at this server: whoever answers for long looks anew.
    ended: watch::Sender<u64>,
    /// Of whom the admin token lets in: a number of it.
    of_token: u64,
}

/// From where somebody comes.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Of his connection.
    pub(crate) origin: Origin,
    /// The browser, as it calls itself.
    pub(crate) agent: String,
}

/// A document, with the version that a change of it expects.
#[derive(Clone, Debug)]
struct Kept<T> {
    version: u64,
    document: T,
}

impl Seen {
    /// By the fields of a request.
    pub(crate) fn of(origin: Origin, headers: &http::HeaderMap) -> Self {
        let agent = headers.get(http::header::USER_AGENT).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let agent = String::from_utf8_lossy(agent);
        let agent = agent.chars().filter(|char| !char.is_control()).take(AGENT_CHARS_MAX).collect();
        Self { origin, agent }
    }

    fn peer(&self) -> String {
        self.origin.ip().map(|ip| ip.to_string()).unwrap_or_default()
    }

    /// Somebody who came in from there, for the audit log.
    fn principal(&self, name: String, credential: Option<&str>) -> Principal {
        let via = Via { peer: self.origin.shown(), credential: credential.map(str::to_owned), ..Via::default() };
        Principal { name: name.into(), ..Principal { via, ..Principal::stranger(self.origin) } }
    }
}

impl People {
    pub(crate) fn new(store: Arc<dyn seam::Registry>, clock: Clock, guesses: Arc<Guesses>) -> Self {
        let (passwords, has_users, views, ended) = Default::default();
        let (shared, damaged) = Default::default();
        Self { store, clock, guesses, passwords, has_users, views, shared, damaged, ended, of_token: 0 }
    }

    /// With this token's digest: whoever came in by it or by the socket is out once it is another one.
    pub(crate) fn of_token(self, digest: &[u8; 32]) -> Self {
        let of_token = digest.first_chunk::<8>().copied().map_or(0, u64::from_be_bytes);
        Self { of_token, ..self }
    }

    /// Whether there is anybody who could have a password. Strangers ask that: once there is one, no store is asked.
    ///
    /// # Errors
    /// The store does not tell.
    pub(crate) async fn has_users(&self) -> Result<bool, RegistryError> {
        if !self.has_users.load(Ordering::Relaxed) && !self.store.documents(DocumentKind::User).await?.is_empty() {
            self.has_users.store(true, Ordering::Relaxed);
        }
        Ok(self.has_users.load(Ordering::Relaxed))
    }

    /// Completes when something may have ended that lets somebody in. What other servers end is not told here.
    pub(crate) fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    fn tell_end(&self) {
        self.ended.send_modify(|count| *count += 1);
    }

    /// A user who may come in, or be in: one whose document is damaged is none.
    async fn user(&self, name: &Name) -> Result<Option<Kept<User>>, RegistryError> {
        self.readable(DocumentKind::User, name.as_str()).await
    }

    /// What lets somebody in. A document that is damaged, or of a later version, lets nobody in, and is named in the log once; all others go on.
    async fn readable<T: serde::de::DeserializeOwned>(
        &self,
        kind: DocumentKind,
        name: &str,
    ) -> Result<Option<Kept<T>>, RegistryError> {
        match self.read(kind, name).await {
            Err(RegistryError::Damaged { kind, name, what } | RegistryError::Later { kind, name, what }) => {
                self.name_damaged(kind, &name, &what);
                Ok(None)
            }
            other => other,
        }
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        kind: DocumentKind,
        name: &str,
    ) -> Result<Option<Kept<T>>, RegistryError> {
        let Some(found) = self.store.document(DocumentKey { kind, name: name.to_owned() }).await? else {
            return Ok(None);
        };
        let document = parse(&found.body).map_err(|why| RegistryError::unread(kind, name, &why))?;
        Ok(Some(Kept { version: found.version, document }))
    }

    /// All of a kind that read, by name. What does not is named in the log once, and lets nobody in.
    async fn all<T: serde::de::DeserializeOwned>(
        &self,
        kind: DocumentKind,
    ) -> Result<Vec<(String, Kept<T>)>, RegistryError> {
        let mut all = Vec::new();
        for found in self.store.documents(kind).await? {
            let name = found.key.name;
            match parse(&found.body) {
                Ok(document) => all.push((name, Kept { version: found.version, document })),
                Err(error) => self.name_damaged(kind, &name, &error.to_string()),
            }
        }
        Ok(all)
    }

    fn name_damaged(&self, kind: DocumentKind, name: &str, what: &str) {
        let is_new = {
            let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
            if damaged.len() >= NAMED_MAX {
                damaged.clear();
            }
            damaged.insert(DocumentKey { kind, name: name.to_owned() })
        };
        if is_new {
            tracing::error!(event = "document_damaged", ?kind, name, what, "it lets nobody in");
        }
    }

    /// Writes a document at its version; `false` if it is another by now.
    async fn put(
        &self,
        (kind, name): (DocumentKind, &str),
        expect: u64,
        body: Option<String>,
        audit: &[seam::AuditEntry],
    ) -> Result<bool, RegistryError> {
        let key = DocumentKey { kind, name: name.to_owned() };
        let put = put_document(&*self.store, &key, expect, body.as_ref(), audit).await;
        // Whatever is known of it: who lists them sees it at once.
        self.shared.forget();
        Ok(put?.is_some())
    }
}
