//! How somebody comes in: by a name and a password, or by a link that is good once. Either way a new session begins (S24).

use std::time::Duration;

use relay_core::{name::Name, time::Wall};
use relay_store::seam::DocumentKind;

use super::{
    Kept, People, Seen,
    document::{Entry, Holder, Link, Reading, SignIn, User},
    password::PasswordError,
    present::{Ended, SESSION_PREFIX, is_over},
};
use crate::{
    document::render,
    principal::Principal,
    registry::RegistryError,
    secret::{self, NoRandomness},
};

/// What the secret of a link begins with.
const LINK_PREFIX: &str = "crl_";
/// Sessions of one holder; with another one that was used the longest ago ends.
const SESSIONS_EACH_MAX: usize = 16;
/// Sessions and links in all: those who sign in behind so many are told that there are too many.
const ENTRIES_MAX: usize = 8_192;
/// What the name of nobody is charged to is no longer than this.
const ACCOUNT_CHARS_MAX: usize = 64;

/// A session that has begun.
pub(crate) struct Entered {
    /// For the cookie; known to nobody else.
    pub(crate) secret: String,
    /// Who came in: `user:alice`, `cli`.
    pub(crate) name: String,
    /// He has a password, or needs none since he is no user.
    pub(crate) has_password: bool,
}

/// Why nobody came in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignInError {
    /// There is nobody of that name, or that is not his password, or he may not in: the same answer, at the same cost (S22).
    #[error("the name or the password is wrong")]
    Wrong,
    /// It was used, or is over.
    #[error("this link was used already, or is over; another one: crm-relay dashboard, or crm-relay user reset NAME")]
    LinkOver,
    /// Too many were tried from there.
    #[error("too many passwords were tried; come again in {} s", .0.as_secs() + 1)]
    TooMany(Duration),
    /// Too many passwords are being looked at.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store did not do it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<NoRandomness> for SignInError {
    fn from(error: NoRandomness) -> Self {
        Self::Registry(error.into())
    }
}

impl People {
    /// Lets in whoever knows a user's password.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub(crate) async fn sign_in(&self, name: &str, password: String, seen: &Seen) -> Result<Entered, SignInError> {
        let account: String = name.chars().take(ACCOUNT_CHARS_MAX).collect();
        self.guesses.may_sign_in(&account, seen.origin).map_err(SignInError::TooMany)?;
        let known = match name.parse::<Name>() {
            Ok(name) => self.user(&name).await?.filter(|user| !user.document.disabled),
            Err(_) => None,
        };
        let kept = known.as_ref().and_then(|user| user.document.password.clone());
        let is_right = self.passwords.is_right(password, kept).await?;
        let Some(user) = known.filter(|_| is_right) else {
            self.guesses.wrong_password(seen.origin);
            self.note_refused(&account, seen).await;
            return Err(SignInError::Wrong);
        };
        self.guesses.right_password(&account, seen.origin);
        let secret = self.begin(user.document.holder(), "password", seen).await?;
        self.note_signed_in(user.clone()).await;
        Ok(Entered { secret, name: user.document.holder().name, has_password: true })
    }

    /// Lets in whoever has a link, once.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub(crate) async fn enter(&self, link: &str, seen: &Seen) -> Result<Entered, SignInError> {
        let over = || {
            self.guesses.wrong_link(seen.origin);
            SignInError::LinkOver
        };
        if !secret::is_generated_as(LINK_PREFIX, link.as_bytes()) {
            return Err(over());
        }
        let name = secret::hex(&secret::sha256(link.as_bytes()));
        let found: Option<Kept<Entry>> = self.readable(DocumentKind::Session, &name).await?;
        let Some(Kept { version, document: Entry::Link(Link { holder, until }) }) = found else { return Err(over()) };
        let user = self.standing(&holder).await?;
        if until <= self.clock.wall() || user.is_err() {
            return Err(over());
        }
        // Whoever takes it away is the one whom it lets in.
        if !self.put((DocumentKind::Session, &name), version, None, &[]).await? {
            return Err(over());
        }
        let secret = self.begin(holder.clone(), "link", seen).await?;
        let mut has_password = true;
        if let Ok(Some(user)) = user {
            has_password = user.document.password.is_some();
            self.note_signed_in(user).await;
        }
        Ok(Entered { secret, name: holder.name, has_password })
    }

    /// A link that lets `who`, who is no user, in once within that time; and until when.
    ///
    /// # Errors
    /// No randomness, or the store failed.
    pub(crate) async fn link(&self, who: &Principal, within: Duration) -> Result<(String, Wall), RegistryError> {
        self.link_for(Holder { name: who.name.to_string(), generation: self.of_token }, who, within).await
    }

    pub(super) async fn link_for(
        &self,
        holder: Holder,
        who: &Principal,
        within: Duration,
    ) -> Result<(String, Wall), RegistryError> {
        let now = self.clock.wall();
        self.sweep(None, now).await?;
        let (secret, until) = (secret::generate(LINK_PREFIX)?, now + within);
        let audit = who.audited(now, "session.link", holder.name.clone());
        let name = secret::hex(&secret::sha256(secret.as_bytes()));
        let body = render(&Entry::Link(Link { holder, until }));
        // Nobody else has that name.
        self.put((DocumentKind::Session, &name), 0, Some(body), &[audit]).await?;
        Ok((secret, until))
    }

    /// A new session, whose secret is in the answer and nowhere else.
    pub(super) async fn begin(&self, holder: Holder, by: &str, seen: &Seen) -> Result<String, RegistryError> {
        let now = self.clock.wall();
        self.sweep(Some(&holder), now).await?;
        let secret = secret::generate(SESSION_PREFIX)?;
        let name = secret::hex(&secret::sha256(secret.as_bytes()));
        let audit = seen.principal(holder.name.clone(), Some(by)).audited(now, "session.begin", holder.name.clone());
        let (peer, agent, reading) = (seen.peer(), seen.agent.clone(), Reading::default());
        let session = SignIn { holder, began_at: now, used_at: now, peer, agent, reading };
        self.put((DocumentKind::Session, &name), 0, Some(render(&Entry::SignIn(session))), &[audit]).await?;
        Ok(secret)
    }

    /// Removes what is over; and of a holder who is to get another one, the session that was used the longest ago if he has as many as
    /// one may have.
    async fn sweep(&self, holder: Option<&Holder>, now: Wall) -> Result<(), RegistryError> {
        let all = self.all::<Entry>(DocumentKind::Session).await?;
        let (mut left, mut of_holder) = (0, Vec::new());
        for (name, Kept { version, document }) in all {
            if is_over(&document, now) {
                // Whoever sees it next does it otherwise.
                self.put((DocumentKind::Session, &name), version, None, &[]).await?;
                continue;
            }
            left += 1;
            if let Entry::SignIn(session) = document
                && holder.is_some_and(|holder| holder.name == session.holder.name)
            {
                of_holder.push((session.used_at, name, version));
            }
        }
        of_holder.sort();
        let too_many = (of_holder.len() + 1).saturating_sub(SESSIONS_EACH_MAX);
        for (_, name, version) in of_holder.into_iter().take(too_many) {
            self.put((DocumentKind::Session, &name), version, None, &[]).await?;
            left -= 1;
            self.tell_end();
        }
        if left >= ENTRIES_MAX {
            let text =
                format!("there are {ENTRIES_MAX} sessions and links, which is all there may be; end some of them");
            return Err(RegistryError::Conflict(text));
        }
        Ok(())
    }

    /// The user whose session or link this is, if that stands; `None` of a holder who is no user, which stands as long as the token does.
    pub(super) async fn standing(&self, holder: &Holder) -> Result<Result<Option<Kept<User>>, Ended>, RegistryError> {
        let user = match holder.user() {
            Some(name) => self.user(&name).await?,
            None => None,
        };
        let stands = holder.stands(user.as_ref().map(|user| &user.document), self.of_token);
        Ok(if stands { Ok(user) } else { Err(Ended) })
    }

    /// Says on the user when he last came in. A line of the audit log says it already: where this cannot be written, it is left.
    async fn note_signed_in(&self, user: Kept<User>) {
        let name = user.document.name.clone();
        let signed_in_at = Some(self.clock.wall().as_micros());
        let body = render(&User { signed_in_at, ..user.document });
        let written = self.put((DocumentKind::User, name.as_str()), user.version, Some(body), &[]).await;
        if let Err(error) = written {
            tracing::debug!(%error, user = name.as_str(), "when he signed in is not written down");
        }
    }

    /// One line a minute: strangers can cause as many as they like.
    async fn note_refused(&self, account: &str, seen: &Seen) {
        let Some(left_out) = self.guesses.may_tell(crate::guesses::Entrance::SignIn, "audited") else { return };
        // A password that was typed for a name is nobody's, and stays out of what others read.
        let name = match account.parse::<Name>() {
            Ok(name) if self.user(&name).await.is_ok_and(|user| user.is_some()) => format!("{}{name}", Principal::USER),
            _ => "-".to_owned(),
        };
        let who = Principal::stranger(seen.origin);
        let entry = who.audited(self.clock.wall(), "session.refuse", name);
        if let Err(error) = self.store.audit(vec![entry]).await {
            tracing::warn!(event = "audit_unwritten", %error, left_out, "a refused sign-in is not in the audit log");
        }
    }
}
