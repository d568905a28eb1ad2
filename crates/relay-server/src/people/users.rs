//! Users: made, changed and let in anew by administrators; and what each changes of himself.

use std::time::Duration;

use relay_core::{name::Name, time::Wall};
use relay_store::seam::DocumentKind;

use super::{
    Kept, People, Seen, TRIES,
    document::{Reading, User},
    enter::SignInError,
    password,
    present::Present,
};
use crate::{
    document::render,
    principal::{Principal, Role},
    registry::{RegistryError, listed},
};

/// Users that there may be.
const USERS_MAX: usize = 1_000;
/// How long a link for a user is good: until he comes to his desk.
const LINK_KEPT: Duration = Duration::from_hours(24);

/// What an administrator changes of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserChange {
    /// His role.
    pub(crate) role: Option<Role>,
    /// Whether he may in at all.
    pub(crate) disabled: Option<bool>,
}

impl People {
    /// All users that read, by name.
    ///
    /// # Errors
    /// The store does not tell.
    pub(crate) async fn users(&self) -> Result<Vec<User>, RegistryError> {
        let all = self.all::<User>(DocumentKind::User).await?;
        Ok(all.into_iter().map(|(_, kept)| kept.document).collect())
    }

    /// Makes a user, with a password or without one.
    ///
    /// # Errors
    /// `Taken`, `Invalid` for a password that is none, `Conflict` where there are too many, `Store`.
    pub(crate) async fn create(
        &self,
        name: Name,
        role: Role,
        password: Option<String>,
        who: &Principal,
    ) -> Result<User, SignInError> {
        if self.users().await?.len() >= USERS_MAX {
            let text = format!("there are {USERS_MAX} users, which is all there may be");
            return Err(RegistryError::Conflict(text).into());
        }
        let password = match password {
            Some(password) => Some(self.new_digest(password, &name).await?),
            None => None,
        };
        let (generation, disabled, reading, signed_in_at) = (0, false, Reading::default(), None);
        let created_at = self.clock.wall();
        let user = User { name, role, password, generation, disabled, reading, created_at, signed_in_at };
        let subject = format!("{} as {}", user.name, role.as_str());
        let audit = who.audited(created_at, "user.create", subject);
        let key = (DocumentKind::User, user.name.as_str());
        if self.put(key, 0, Some(render(&user)), &[audit]).await? {
            return Ok(user);
        }
        Err(RegistryError::Taken { kind: "user", name: user.name.to_string() }.into())
    }

    /// Changes what a user may do. One who may not in any more has no session from then on.
    ///
    /// # Errors
    /// `Unknown`, `Conflict` for one's own, `Contended`, `Store`.
    pub(crate) async fn change(&self, name: &Name, change: UserChange, who: &Principal) -> Result<User, RegistryError> {
        if is_himself(who, name) {
            let text =
                "nobody changes his own role, or disables himself: another administrator does, or crm-relay user";
            return Err(RegistryError::Conflict(text.to_owned()));
        }
        let action = match change {
            UserChange { disabled: Some(true), .. } => "user.disable",
            UserChange { disabled: Some(false), .. } => "user.enable",
            UserChange { disabled: None, .. } => "user.role",
        };
        let next = |user: &User| {
            let (role, disabled) = (change.role.unwrap_or(user.role), change.disabled.unwrap_or(user.disabled));
            let generation = user.generation + u64::from(disabled && !user.disabled);
            User { role, generation, disabled, ..user.clone() }
        };
        let subject = change.role.map_or_else(|| name.to_string(), |role| format!("{name} as {}", role.as_str()));
        self.rewrite(name, Some((who, action, subject)), next).await
    }

    /// Takes a user's password and sessions, and gives a link by which he comes in and chooses another one.
    ///
    /// # Errors
    /// `Unknown`, `Contended`, `Store`; `Conflict` for oneself, who would be out with the first click.
    pub(crate) async fn reset(&self, name: &Name, who: &Principal) -> Result<(User, String, Wall), RegistryError> {
        if is_himself(who, name) {
            let text = "nobody resets himself: a password is changed on the page of one's own account";
            return Err(RegistryError::Conflict(text.to_owned()));
        }
        let next = |user: &User| User { password: None, generation: user.generation + 1, ..user.clone() };
        let user = self.rewrite(name, Some((who, "user.reset", name.to_string())), next).await?;
        let (link, until) = self.link_for(user.holder(), who, LINK_KEPT).await?;
        Ok((user, link, until))
    }

    /// A link for a user who was just made.
    ///
    /// # Errors
    /// No randomness, or the store failed.
    pub(crate) async fn first_link(&self, user: &User, who: &Principal) -> Result<(String, Wall), RegistryError> {
        self.link_for(user.holder(), who, LINK_KEPT).await
    }

    /// Gives somebody who is in another password: all his sessions end, and what is answered begins another one.
    ///
    /// # Errors
    /// `Wrong` if the old one is, `TooMany`, `Invalid`; `Conflict` for who is no user; see [`SignInError`].
    pub(crate) async fn set_password(
        &self,
        present: &Present,
        old: Option<String>,
        new: String,
        seen: &Seen,
    ) -> Result<String, SignInError> {
        let Some(name) = &present.user else {
            return Err(RegistryError::Conflict("only users have a password".to_owned()).into());
        };
        let Some(Kept { document, .. }) = self.stored(name).await? else {
            return Err(unknown(self, name).await.into());
        };
        if let Some(kept) = document.password.clone() {
            self.guesses.may_sign_in(name.as_str(), seen.origin).map_err(SignInError::TooMany)?;
            if !self.passwords.is_right(old.unwrap_or_default(), Some(kept)).await? {
                self.guesses.wrong_password(seen.origin);
                return Err(SignInError::Wrong);
            }
            self.guesses.right_password(name.as_str(), seen.origin);
        }
        let digest = self.new_digest(new, name).await?;
        // Whoever was reset or disabled meanwhile is not let in by what he had before.
        let next = |user: &User| {
            if user.disabled || user.generation != document.generation {
                return user.clone();
            }
            User { password: Some(digest.clone()), generation: user.generation + 1, ..user.clone() }
        };
        let who = present.principal(seen);
        let user = self.rewrite(name, Some((&who, "user.password", name.to_string())), next).await?;
        if user.password.as_ref() != Some(&digest) {
            return Err(SignInError::Wrong);
        }
        Ok(self.begin(user.holder(), "password", seen).await?)
    }

    pub(super) async fn prefer(&self, name: &Name, reading: Reading) -> Result<(), RegistryError> {
        self.rewrite(name, None, |user| User { reading: reading.clone(), ..user.clone() }).await.map(drop)
    }

    async fn new_digest(&self, password: String, name: &Name) -> Result<password::Digest, SignInError> {
        if let Some(fault) = password::fault(&password, name.as_str()) {
            return Err(RegistryError::Invalid(fault).into());
        }
        Ok(self.passwords.digest(password).await?)
    }

    /// A user who is to be changed: a document that is damaged is not written over.
    async fn stored(&self, name: &Name) -> Result<Option<Kept<User>>, RegistryError> {
        self.read(DocumentKind::User, name.as_str()).await
    }

    /// Writes a user anew, decided on what is stored; and tells where something ends by it.
    async fn rewrite(
        &self,
        name: &Name,
        audited: Option<(&Principal, &str, String)>,
        next: impl Fn(&User) -> User,
    ) -> Result<User, RegistryError> {
        for _ in 0..TRIES {
            let Some(Kept { version, document }) = self.stored(name).await? else {
                return Err(unknown(self, name).await);
            };
            let changed = next(&document);
            if changed == document {
                return Ok(document);
            }
            let now = self.clock.wall();
            let audit = audited.iter().map(|(who, action, subject)| who.audited(now, action, subject.clone()));
            let audit: Vec<_> = audit.collect();
            if self.put((DocumentKind::User, name.as_str()), version, Some(render(&changed)), &audit).await? {
                self.tell_end();
                return Ok(changed);
            }
        }
        Err(RegistryError::Contended)
    }
}

async fn unknown(people: &People, name: &Name) -> RegistryError {
    let known = match people.users().await {
        Ok(users) => listed(users.iter().map(|user| &user.name)),
        Err(error) => return error,
    };
    RegistryError::Unknown { kind: "user", name: name.to_string(), known }
}

/// Whether somebody is that user.
fn is_himself(who: &Principal, name: &Name) -> bool {
    who.name.strip_prefix(Principal::USER) == Some(name.as_str())
}
