//! Passwords: hashed by argon2id (S22), two at a time, off the threads that serve.
//!
//! **Invariant:** a password that is compared with none costs what any other does.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::{
    document,
    secret::{self, NoRandomness},
};

/// Memory of one hash, in KiB (S22).
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over it.
const PASSES: u32 = 2;
/// Hashes that are made at a time: each takes its memory, and a thread for tens of milliseconds.
const AT_ONCE: usize = 2;
/// Whoever asks behind so many hears that there is no time now: two seconds' work.
const IN_LINE_MAX: usize = 64;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Characters that a password has at least.
const CHARS_MIN: usize = 12;
/// Bytes that it has at most.
pub(crate) const BYTES_MAX: usize = 256;

/// What a password is known by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Digest {
    /// Its bytes are those of this text.
    salt: String,
    /// Argon2id, version 19, one lane.
    #[serde(with = "document::hex")]
    argon2id: [u8; 32],
    /// KiB.
    memory: u32,
    passes: u32,
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

/// There is no answer whether a password is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    /// Too many are being looked at.
    #[error("too many passwords are being looked at")]
    Busy,
    /// There was no memory, or no salt.
    #[error(transparent)]
    NoMeans(#[from] NoRandomness),
}

/// Where passwords are hashed.
#[derive(Debug)]
pub(super) struct Passwords {
    at_once: Arc<Semaphore>,
    in_line: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { at_once: Arc::new(Semaphore::new(AT_ONCE)), in_line: Semaphore::new(IN_LINE_MAX) }
    }
}

impl Passwords {
    /// Whether this is the password that is known by `kept`. None is known by nothing, at the same cost.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub(super) async fn is_right(&self, password: String, kept: Option<Digest>) -> Result<bool, PasswordError> {
        let (known, kept) = (kept.is_some(), kept.unwrap_or_else(Digest::of_nobody));
        let made = self.hash(password, kept.clone()).await?;
        Ok(secret::same(&made, &kept.argon2id) && known)
    }

    /// What a new password is known by.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub(super) async fn digest(&self, password: String) -> Result<Digest, PasswordError> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| NoRandomness)?;
        let with = Digest { salt: secret::hex(&salt), ..Digest::of_nobody() };
        let argon2id = self.hash(password, with.clone()).await?;
        Ok(Digest { argon2id, ..with })
    }

    /// Cancel safety: a hash that was begun is made, and keeps its place until then.
    async fn hash(&self, password: String, with: Digest) -> Result<[u8; 32], PasswordError> {
        let _in_line = self.in_line.try_acquire().map_err(|_| PasswordError::Busy)?;
        let place = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let made = tokio::task::spawn_blocking(move || {
            let _place = place;
            with.hash(password.as_bytes())
        });
        made.await.ok().flatten().ok_or(PasswordError::NoMeans(NoRandomness))
    }
}

impl Digest {
    /// That of no password: nobody has its digest.
    fn of_nobody() -> Self {
        Self { salt: "nobody's".to_owned(), argon2id: [0; 32], memory: MEMORY_KIB, passes: PASSES }
    }

    fn hash(&self, password: &[u8]) -> Option<[u8; 32]> {
        let params = Params::new(self.memory, self.passes, 1, Some(32)).ok()?;
        let mut made = [0; 32];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password, self.salt.as_bytes(), &mut made).ok()?;
        Some(made)
    }
}

/// What is wrong with a new password, and what would be right.
pub(crate) fn fault(password: &str, name: &str) -> Option<String> {
    let chars = password.chars().count();
    if chars < CHARS_MIN {
        return Some(format!("the password has {chars} characters; want {CHARS_MIN} or more, four words for example"));
    }
    if password.len() > BYTES_MAX {
        return Some(format!("the password has {} bytes; want {BYTES_MAX} at most", password.len()));
    }
    if password.chars().any(char::is_control) {
        return Some("the password holds a control character; want what can be typed".to_owned());
    }
    let first = password.chars().next();
    let rest = password.to_lowercase().replace(&name.to_lowercase(), "");
    if rest.chars().count() < CHARS_MIN / 2 || password.chars().all(|char| Some(char) == first) {
        return Some("the password is the name, or one character; want one that nobody guesses".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use relay_core::time::Wall;
    use relay_net::origin::Origin;
    use relay_store::memory::MemoryStore;

    use super::*;
    use crate::{
        clock::Clock,
        guesses::Guesses,
        people::{People, Seen, SignInError, UserChange},
        principal::{Principal, Role},
    };

    /// Nothing here takes this long.
    const STUCK: Duration = Duration::from_secs(60);

    fn people() -> People {
        let clock = Clock::start(Wall::MIN);
        let guesses = Arc::new(Guesses::new(clock, Arc::default(), Arc::default()));
        People::new(Arc::new(MemoryStore::new()), clock, guesses)
    }

    /// S22: the algorithm and its cost are those of the row, and what is kept shows nothing.
    #[tokio::test]
    async fn a_password_is_known_by_its_digest_and_no_other_is() {
        let passwords = Passwords::default();
        let kept = passwords.digest("correct horse battery".to_owned()).await.unwrap();
        assert_eq!((kept.memory, kept.passes), (19 * 1024, 2));
        let stored = serde_json::to_string(&kept).unwrap();
        assert!(!stored.contains("horse") && !format!("{kept:?}").contains(&kept.salt));
        let kept: Digest = serde_json::from_str(&stored).unwrap();
        assert!(passwords.is_right("correct horse battery".to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!passwords.is_right("correct horse batterz".to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!passwords.is_right("correct horse battery".to_owned(), None).await.unwrap());
        let again = passwords.digest("correct horse battery".to_owned()).await.unwrap();
        assert_ne!(again, kept, "each has a salt of its own");
    }

    /// S22: a name that is none, one that is disabled, one without a password and a wrong password each have a hash made, of the same memory
    /// and passes.
    #[tokio::test]
    async fn whoever_is_not_let_in_costs_a_hash() {
        let nobodys = Digest::of_nobody();
        assert_eq!((nobodys.memory, nobodys.passes), (MEMORY_KIB, PASSES));
        let (people, who) = (people(), Principal::nobody("cli"));
        for (name, password) in
            [("alice", Some("correct horse battery")), ("bob", Some("battery horse correct")), ("carol", None)]
        {
            let password = password.map(str::to_owned);
            people.create(name.parse().unwrap(), Role::Viewer, password, &who).await.unwrap();
        }
        let off = UserChange { disabled: Some(true), ..UserChange::default() };
        people.change(&"bob".parse().unwrap(), off, &who).await.unwrap();
        let seen = Seen { origin: Origin::local(), agent: String::new() };
        for (name, password) in [
            ("alice", "a wrong horse battery"),
            ("bob", "battery horse correct"),
            ("carol", ""),
            ("nobody", "correct horse battery"),
            ("No name at all", "correct horse battery"),
        ] {
            let Passwords { at_once, in_line } = &people.passwords;
            let busy = at_once.acquire_many(AT_ONCE as u32).await.unwrap();
            let waits = async {
                while in_line.available_permits() == IN_LINE_MAX {
                    tokio::task::yield_now().await;
                }
                drop(busy);
            };
            let (entered, ()) = tokio::join!(people.sign_in(name, password.to_owned(), &seen), async {
                tokio::time::timeout(STUCK, waits).await.unwrap_or_else(|_| panic!("{name} has none made"));
            });
            assert!(matches!(entered, Err(SignInError::Wrong)), "{name}");
        }
    }

    /// A vector of the reference program's own tests: what is stored, any other argon2 reads.
    #[test]
    fn a_digest_is_that_of_the_reference() {
        let with = Digest { salt: "somesalt".to_owned(), memory: 256, passes: 2, argon2id: [0; 32] };
        let made = with.hash(b"password").unwrap();
        assert_eq!(secret::hex(&made), "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
    }

    /// Whoever asks while many do is told so, and takes no memory.
    #[tokio::test]
    async fn many_at_once_are_not_waited_for() {
        let passwords = Passwords::default();
        let _all = passwords.in_line.acquire_many(IN_LINE_MAX as u32).await.unwrap();
        assert_eq!(passwords.is_right("a".to_owned(), None).await, Err(PasswordError::Busy));
    }

    #[test]
    fn a_password_that_is_guessed_is_refused() {
        for (password, words) in [
            ("short", "5 characters; want 12"),
            ("aaaaaaaaaaaaaaaa", "one character"),
            ("alicealicealice", "the name"),
            ("Alice-alice1", "the name"),
            ("tab\tin between them", "control"),
        ] {
            let said = fault(password, "alice").unwrap_or_default();
            assert!(said.contains(words), "{password:?}: {said}");
        }
        assert!(fault(&"a1".repeat(200), "alice").unwrap().contains("256 at most"));
        for good in ["correct horse battery", "dröhnende Büroklammer", "alice in wonderland"] {
            assert_eq!(fault(good, "alice"), None);
        }
    }
}
