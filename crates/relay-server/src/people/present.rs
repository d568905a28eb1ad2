//! Who is in: the session of a cookie, and the sessions that somebody has.

use std::time::Duration;

use relay_core::{name::Name, time::Wall};
use relay_store::seam::{AuditEntry, DocumentKind};

use super::{
    Kept, People, Seen,
    document::{Entry, Reading, SignIn},
};
use crate::{
    document::render,
    principal::{Principal, Role, Via},
    registry::RegistryError,
    secret,
};

/// What the secret of a session begins with.
pub(super) const SESSION_PREFIX: &str = "crs_";
/// A session that is not used for so long is over (S24).
const IDLE: Duration = Duration::from_hours(12);
/// And one that began so long ago, used or not.
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// How often it is written down that a session is used: the end of one that is idle is late by this at most, and looking at pages
/// writes little.
const USED_EVERY: Duration = Duration::from_mins(10);
/// Hex digits of a session's name that tell it from the others of its holder.
const HANDLE_DIGITS: usize = 16;

/// It is over: its user may not in, or it is of a time before his last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended;

/// Somebody who is in.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    /// As the audit log calls him.
    pub(crate) name: String,
    /// The user, if he is one.
    pub(crate) user: Option<Name>,
    /// What he may do.
    pub(crate) role: Role,
    /// He has a password.
    pub(crate) has_password: bool,
    /// How he reads.
    pub(crate) reading: Reading,
    /// Of the document of his session.
    pub(super) id: String,
}

impl Present {
    /// What the session is called by whoever ends it.
    pub(crate) fn handle(&self) -> &str {
        handle(&self.id)
    }

    /// For whom commands are done.
    pub(crate) fn principal(&self, seen: &Seen) -> Principal {
        let via = Via { peer: seen.origin.shown(), credential: Some(Principal::SESSION.to_owned()), ..Via::default() };
        Principal { name: self.name.clone().into(), role: self.role, via }
    }
}

impl People {
    /// Who shows this secret; `None`: nobody, any more.
    ///
    /// # Errors
    /// The store does not tell.
    pub(crate) async fn present(&self, secret: &str) -> Result<Option<Present>, RegistryError> {
        self.shows(secret, true).await
    }

    /// The same, by a page that stands open and asks on by itself: that is no use of a session (S24).
    ///
    /// # Errors
    /// As [`Self::present`].
    pub(crate) async fn open_page(&self, secret: &str) -> Result<Option<Present>, RegistryError> {
        self.shows(secret, false).await
    }

    async fn shows(&self, secret: &str, is_use: bool) -> Result<Option<Present>, RegistryError> {
        if !secret::is_generated_as(SESSION_PREFIX, secret.as_bytes()) {
            return Ok(None);
        }
        self.present_as(&secret::hex(&secret::sha256(secret.as_bytes())), is_use).await
    }

    /// The same, of the session that somebody was seen with before. That a page stands open is no use of it.
    ///
    /// # Errors
    /// As [`Self::present`].
    pub(crate) async fn still(&self, present: &Present) -> Result<Option<Present>, RegistryError> {
        self.present_as(&present.id, false).await
    }

    async fn present_as(&self, id: &str, is_use: bool) -> Result<Option<Present>, RegistryError> {
        let found: Option<Kept<Entry>> = self.readable(DocumentKind::Session, id).await?;
        let Some(Kept { version, document: Entry::SignIn(session) }) = found else { return Ok(None) };
        let now = self.clock.wall();
        let entry = Entry::SignIn(session.clone());
        let Ok(user) = self.standing(&session.holder).await? else { return Ok(None) };
        if is_over(&entry, now) {
            return Ok(None);
        }
        if is_use && now.since(session.used_at) >= USED_EVERY {
            self.note_used(id, version, SignIn { used_at: now, ..session.clone() }).await;
        }
        let user = user.map(|kept| kept.document);
        Ok(Some(Present {
            name: session.holder.name,
            role: user.as_ref().map_or(Role::Admin, |user| user.role),
            has_password: user.as_ref().is_some_and(|user| user.password.is_some()),
            reading: user.as_ref().map_or(session.reading, |user| user.reading.clone()),
            user: user.map(|user| user.name),
            id: id.to_owned(),
        }))
    }

    /// A session that cannot be written, as on a full disk, ends as if it was not used.
    async fn note_used(&self, id: &str, version: u64, session: SignIn) {
        let body = render(&Entry::SignIn(session));
        if let Err(error) = self.put((DocumentKind::Session, id), version, Some(body), &[]).await {
            tracing::debug!(%error, "that a session is used is not written down");
        }
    }

    /// Ends one of somebody's own sessions; `false` if he has none of that handle.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn end(&self, present: &Present, handle_of: &str, who: &Principal) -> Result<bool, RegistryError> {
        let Some(id) = self.id_of(present, handle_of).await? else { return Ok(false) };
        let audit: AuditEntry = who.audited(self.clock.wall(), "session.end", handle_of);
        // Another version of it is one that was just used: it ends all the same.
        while let Some(Kept { version, .. }) = self.readable::<Entry>(DocumentKind::Session, &id).await? {
            if self.put((DocumentKind::Session, &id), version, None, std::slice::from_ref(&audit)).await? {
                break;
            }
        }
        self.tell_end();
        Ok(true)
    }

    /// The document of one of somebody's own sessions.
    async fn id_of(&self, present: &Present, handle_of: &str) -> Result<Option<String>, RegistryError> {
        // Whoever signs out does, also where it began at another server a moment ago.
        if present.handle() == handle_of {
            return Ok(Some(present.id.clone()));
        }
        let everybody = self.everybody().await?;
        let mut his = everybody.sessions_of(&present.name).iter();
        Ok(his.find(|session| session.handle() == handle_of).map(|session| session.id.clone()))
    }

    /// How somebody reads from now on.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn read_as(&self, present: &Present, reading: Reading) -> Result<(), RegistryError> {
        if let Some(name) = &present.user {
            return self.prefer(name, reading).await;
        }
        let found: Option<Kept<Entry>> = self.readable(DocumentKind::Session, &present.id).await?;
        let Some(Kept { version, document: Entry::SignIn(session) }) = found else { return Ok(()) };
        let body = render(&Entry::SignIn(SignIn { reading, ..session }));
        let written = self.put((DocumentKind::Session, &present.id), version, Some(body), &[]).await?;
        if written { Ok(()) } else { Err(RegistryError::Contended) }
    }
}

/// Whether a session or a link is over by time.
pub(super) fn is_over(entry: &Entry, now: Wall) -> bool {
    match entry {
        Entry::SignIn(session) => now.since(session.used_at) >= IDLE || now.since(session.began_at) >= LONGEST,
        Entry::Link(link) => link.until <= now,
    }
}

/// What a session is called by whoever ends it.
pub(super) fn handle(id: &str) -> &str {
    id.get(..HANDLE_DIGITS).unwrap_or(id)
}
