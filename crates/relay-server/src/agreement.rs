//! Agreement: the one configuration of the servers that share a store, and their secrets, of which each may know the digests alone.
//!
//! What is shared stands in documents of their own. A server that starts beside others is to have just that: else it does not start,
//! unless its operator says that what it has is to be shared from now on. Alone it writes down what it has. One that runs and has
//! something else than is shared by now says so each minute, and declares nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use relay_core::{
    storage::{Presence, StoreError},
    time::Wall,
};
use relay_store::seam::{self, Document, DocumentKey, DocumentKind, Unread};
use serde::de::DeserializeOwned;

use crate::{
    Config, again,
    clock::Clock,
    config::{Credentials, Difference, likeness::DIGITS},
    document::{Likeness, SharedConfiguration, SharedSecret, parse, render},
    principal::Principal,
    registry::RegistryError,
    secret::hex,
    start_error::{Disagreement, StartError, listed},
};

/// What the document of the configuration is called; those of secrets are called as these are.
const CONFIGURATION: &str = "configuration";
/// How often all of it is read anew where another server writes at the same time.
const TRIES: u32 = 8;
/// So often a server says that it has something else.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// What a server has agreed on with the others.
pub(crate) struct Agreement {
    store: Arc<dyn seam::Registry>,
    clock: Clock,
    server: String,
    credentials: Credentials,
    mine: Mutex<Likeness>,
}

/// What is shared by now, each with its version; 0: there is none.
#[derive(Default)]
struct Shared {
    configuration: (u64, Option<SharedConfiguration>),
    secrets: BTreeMap<String, (u64, Option<SharedSecret>)>,
}

/// What the servers on a store know each other's secrets by.
///
/// # Errors
/// The store does not tell, or a later version wrote what stands there.
pub async fn shared_secrets(store: &dyn seam::Registry) -> Result<Vec<SharedSecret>, RegistryError> {
    let shared = read(store).await?;
    Ok(shared.secrets.into_values().filter_map(|(_, secret)| secret).collect())
}

/// Shares a secret that was made just now, unless another server shared one before: then that one.
///
/// # Errors
/// The store does not tell, or a later version wrote what stands there.
pub async fn claim(
    store: &dyn seam::Registry,
    secret: &SharedSecret,
    at: Wall,
) -> Result<Option<SharedSecret>, RegistryError> {
    let body = render(secret);
    for _ in 0..TRIES {
        let shared = read(store).await?;
        let (version, known) = shared.secrets.get(&secret.name).cloned().unwrap_or_default();
        if let Some(known) = known {
            return Ok((known.sha256 != secret.sha256).then_some(known));
        }
        put(store, &secret.name, version, &body, at).await?;
    }
    Err(RegistryError::Contended)
}

async fn read(store: &dyn seam::Registry) -> Result<Shared, RegistryError> {
    let mut shared = Shared::default();
    for Document { key, version, body } in store.documents(DocumentKind::Shared).await? {
        if key.name == CONFIGURATION {
            shared.configuration = (version, read_back(&key.name, &body)?);
        } else {
            let secret = read_back(&key.name, &body)?;
            shared.secrets.insert(key.name, (version, secret));
        }
    }
    Ok(shared)
}

/// What is damaged is written anew, as if there were none. What a later version wrote is not: the servers of that version have it.
fn read_back<T: DeserializeOwned>(name: &str, body: &str) -> Result<Option<T>, RegistryError> {
    match parse(body) {
        Ok(document) => Ok(Some(document)),
        Err(Unread::Damaged(_)) => Ok(None),
        Err(why @ Unread::Later(_)) => Err(RegistryError::unread(DocumentKind::Shared, name, &why)),
    }
}

/// Writes one document if it is at that version still. Whether it was is seen by who reads again.
async fn put(store: &dyn seam::Registry, name: &str, expect: u64, body: &str, at: Wall) -> Result<(), StoreError> {
    let key = DocumentKey { kind: DocumentKind::Shared, name: name.to_owned() };
    let audit = Principal::CONFIG.audited(at, "configuration.share", name);
    let put = |_| store.put_document(key.clone(), expect, Some(body.to_owned()), vec![audit.clone()]);
    again::until_answered(put).await.map(drop)
}

/// Digests of two secrets for whoever is to tell them apart, the same for both in either order. Both together are their key: to try
/// guesses with what is said takes the other one of them.
fn digests_beside_each_other(mine: [u8; 32], theirs: [u8; 32]) -> [String; 2] {
    let mut pair = [mine, theirs];
    pair.sort_unstable();
    let key = hmac::Key::new(hmac::HMAC_SHA256, pair.as_flattened());
    [mine, theirs].map(|digest| hex(hmac::sign(&key, &digest).as_ref())[..DIGITS].to_owned())
}

impl Agreement {
    /// Comes to one with what the servers share that live, as `others` tells who asks: `false` for those of which something was
    /// heard lately, `true` for those that surely are there.
    ///
    /// # Errors
    /// [`StartError::Differs`]; or the store does not tell.
    pub(crate) async fn reach(
        store: Arc<dyn seam::Registry>,
        clock: Clock,
        config: &Config,
        others: impl AsyncFn(bool) -> Result<Vec<Presence>, StoreError>,
    ) -> Result<Self, StartError> {
        let live = async |surely| -> Result<Vec<String>, StoreError> {
            let others = others(surely).await?;
            // An earlier run of this server is over.
            let others = others.iter().filter(|other| !other.stopping && *other.server.name != *config.server);
            Ok(others.map(|other| format!("{} at {}", other.server.name, other.server.address)).collect())
        };
        let (server, credentials) = (config.server.clone(), config.credentials.clone());
        let agreement = Self { store, clock, server, credentials, mine: Mutex::new(config.likeness()) };
        for _ in 0..TRIES {
            let shared = read(&*agreement.store).await?;
            let differences = agreement.differences(&config.likeness(), &shared);
            if !differences.is_empty() && !config.accepts && !live(false).await?.is_empty() {
                let servers = live(true).await?;
                if !servers.is_empty() {
                    return Err(StartError::Differs(Disagreement { differences, servers }));
                }
            }
            if agreement.share(config, shared).await? {
                return Ok(agreement);
            }
        }
        Err(StartError::Registry(RegistryError::Contended))
    }

    /// Writes what is not shared as this server has it; whether there was nothing to write.
    async fn share(&self, config: &Config, shared: Shared) -> Result<bool, RegistryError> {
        let mut is_shared = true;
        for (name, sha256) in Credentials::NAMES.into_iter().zip(config.credentials.digests()) {
            let (version, known) = shared.secrets.get(name).cloned().unwrap_or_default();
            if known.is_none_or(|known| known.sha256 != sha256) {
                is_shared = false;
                let secret = SharedSecret { name: name.to_owned(), sha256, server: self.server.clone(), kept: None };
                put(&*self.store, name, version, &render(&secret), self.clock.wall()).await?;
            }
        }
        let mine = config.likeness();
        let (version, known) = shared.configuration;
        if known.is_none_or(|known| known.likeness != mine) {
            is_shared = false;
            self.put_configuration(version, mine).await?;
        }
        Ok(is_shared)
    }

    async fn put_configuration(&self, expect: u64, likeness: Likeness) -> Result<(), StoreError> {
        let (server, version) = (self.server.clone(), env!("CARGO_PKG_VERSION").to_owned());
        let body = render(&SharedConfiguration { server, version, likeness });
        put(&*self.store, CONFIGURATION, expect, &body, self.clock.wall()).await
    }

    /// This server has read its file anew: what all shared before is changed for all; one that had something else may only come to
    /// what is shared.
    ///
    /// # Errors
    /// [`RegistryError::Conflict`]: nothing is changed. Or the store does not tell.
    pub(crate) async fn renew(&self, anew: Likeness) -> Result<(), RegistryError> {
        for _ in 0..TRIES {
            let shared = read(&*self.store).await?;
            let (version, known) = &shared.configuration;
            let known = known.as_ref().map(|known| &known.likeness);
            if known == Some(&anew) {
                *self.mine() = anew;
                return Ok(());
            }
            if known.is_some_and(|shared| *shared != *self.mine()) {
                let differences = listed(&self.differences(&anew, &shared));
                return Err(RegistryError::Conflict(format!(
                    "the servers on this store share another configuration: {differences}. Give this one the same file, or start it \
                     anew with --accept-config, and what it has is shared"
                )));
            }
            self.put_configuration(*version, anew.clone()).await?;
        }
        Err(RegistryError::Contended)
    }

    /// Says, each minute until it is dropped, what this server has otherwise than is shared by now.
    pub(crate) async fn watch(&self) {
        loop {
            tokio::time::sleep(SAID_EVERY).await;
            let shared = match read(&*self.store).await {
                Ok(shared) => shared,
                Err(error @ RegistryError::Later { .. }) => {
                    tracing::warn!(event = "configuration_differs", "{error}");
                    continue;
                }
                // A store that does not tell is somebody else's to notice.
                Err(_) => continue,
            };
            let differences = self.differences(&self.mine(), &shared);
            if !differences.is_empty() {
                tracing::warn!(
                    event = "configuration_differs",
                    of = shared.configuration.1.map(|theirs| theirs.server),
                    "{}; give all servers on the store the same settings, file and secrets",
                    listed(&differences)
                );
            }
        }
    }

    /// What this server, with a configuration like `mine`, has otherwise than is shared: its secrets too.
    fn differences(&self, mine: &Likeness, shared: &Shared) -> Vec<Difference> {
        let mut all = Vec::new();
        for (name, mine) in Credentials::NAMES.into_iter().zip(self.credentials.digests()) {
            let known = shared.secrets.get(name).and_then(|(_, secret)| secret.as_ref());
            if let Some(theirs) = known.filter(|known| known.sha256 != mine) {
                let [mine, digest] = digests_beside_each_other(mine, theirs.sha256);
                all.push(Difference {
                    setting: name.to_owned(),
                    mine: format!("one with the digest {mine}"),
                    theirs: format!("one with the digest {digest}, {},", theirs.whereabouts()),
                });
            }
        }
        let theirs = shared.configuration.1.as_ref();
        all.extend(theirs.into_iter().flat_map(|theirs| mine.differences(&theirs.likeness)));
        all
    }

    fn mine(&self) -> std::sync::MutexGuard<'_, Likeness> {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use relay_core::storage::About;
    use relay_store::{memory::MemoryStore, seam::Registry as _};

    use super::*;

    fn config(server: &str, ttl: Duration) -> Config {
        let mut config = Config { server: server.into(), ..Config::sample("/nonexistent".into()) };
        config.route_defaults.ttl = ttl;
        config
    }

    /// Another server, as it is heard of.
    fn heard(run: u64, server: &str, stopping: bool) -> Presence {
        let server = About { name: server.into(), address: "192.0.2.1:80".into(), ..About::default() };
        let (clock, clients, circuits) = (None, Vec::new(), Vec::new());
        Presence { run, at: Wall::MIN, server, stopping, clock, clients, circuits }
    }

    async fn reach(store: &MemoryStore, config: &Config, others: &[Presence]) -> Result<Agreement, StartError> {
        let clock = Clock::start(Wall::MIN);
        Agreement::reach(Arc::new(store.second_owner()), clock, config, async |_| Ok(others.to_vec())).await
    }

    const HOUR: Duration = Duration::from_hours(1);

    /// Who is alone has what he has; beside others it is to be the same, unless his is to be shared from now on.
    #[tokio::test]
    async fn a_server_comes_to_one_with_those_that_are_there() {
        let store = MemoryStore::new();
        let others = [heard(1, "a", false)];
        reach(&store, &config("a", HOUR), &[]).await.unwrap();
        reach(&store, &config("b", HOUR), &others).await.unwrap();
        let differs = reach(&store, &config("b", HOUR * 2), &others).await.err();
        let Some(StartError::Differs(found)) = differs else { panic!("{differs:?}") };
        assert_eq!(found.to_string(), "MESSAGE_TTL is 2h here and 1h there (theirs: a at 192.0.2.1:80)");
        // Its own earlier run is over, and so is one that says so.
        for over in [heard(1, "b", false), heard(1, "a", true)] {
            reach(&store, &config("b", HOUR * 2), &[over]).await.unwrap();
            reach(&store, &config("b", HOUR), &[]).await.unwrap();
        }
        let accepts = Config { accepts: true, ..config("b", HOUR * 2) };
        reach(&store, &accepts, &others).await.unwrap();
        assert!(reach(&store, &config("a", HOUR), &others[..0]).await.is_ok(), "alone again");
    }

    /// Of whom nothing new is heard is not there.
    #[tokio::test]
    async fn a_server_that_was_killed_keeps_nobody_from_starting() {
        let store = MemoryStore::new();
        reach(&store, &config("a", HOUR), &[]).await.unwrap();
        let known = async |surely| Ok(if surely { Vec::new() } else { vec![heard(1, "a", false)] });
        let (clock, anew) = (Clock::start(Wall::MIN), config("b", HOUR * 2));
        assert!(Agreement::reach(Arc::new(store.second_owner()), clock, &anew, known).await.is_ok());
    }

    /// Who had what is shared changes it for all; who had something else may only come to it.
    #[tokio::test]
    async fn a_file_that_is_read_anew_changes_what_is_shared_by_those_who_share_it() {
        let store = MemoryStore::new();
        let one = reach(&store, &config("a", HOUR), &[]).await.unwrap();
        let other = reach(&store, &config("b", HOUR), &[]).await.unwrap();
        one.renew(config("a", HOUR * 2).likeness()).await.unwrap();
        let refused = other.renew(config("b", HOUR * 3).likeness()).await.unwrap_err().to_string();
        assert!(refused.contains("MESSAGE_TTL is 3h here and 2h there"), "{refused}");
        other.renew(config("b", HOUR * 2).likeness()).await.unwrap();
        other.renew(config("b", HOUR * 3).likeness()).await.unwrap();
    }

    /// S27: who has other secrets than are shared by now says which, with the digests of both, by which whoever knows one secret learns
    /// nothing of the other; each server names the same two.
    #[tokio::test]
    async fn other_secrets_are_told_with_both_digests() {
        let store = MemoryStore::new();
        let of = |key: &str| Credentials::of([key, "crt_one", "cra_one"]);
        let one = reach(&store, &Config { credentials: of("crk_one"), ..config("a", HOUR) }, &[]).await.unwrap();
        let told = async |of: &Agreement| {
            let shared = read(&store).await.unwrap();
            listed(&of.differences(&of.mine(), &shared))
        };
        assert_eq!(told(&one).await, "");
        let accepts = Config { accepts: true, credentials: of("crk_other"), ..config("b", HOUR) };
        let other = reach(&store, &accepts, &[heard(1, "a", false)]).await.unwrap();
        let said = told(&one).await;
        let (setting, rest) = said.split_once(" is one with the digest ").unwrap();
        let (mine, theirs) = rest.split_once(" here and one with the digest ").unwrap();
        assert_eq!(setting, "API_KEY");
        let theirs = theirs.strip_suffix(", that which server b was given, there").unwrap();
        assert!(mine.len() == 16 && theirs.len() == 16 && mine != theirs, "{said}");
        // As the other would say it if it were the one that has something else.
        let mine_again = Config { credentials: of("crk_one"), ..config("a", HOUR) };
        one.share(&mine_again, read(&store).await.unwrap()).await.unwrap();
        let said = told(&other).await;
        assert!(said.contains(&format!("digest {theirs} here and one with the digest {mine}")), "{said}");
        let same = other.mine().clone();
        let refused = other.renew(same).await.unwrap_err().to_string();
        assert!(refused.contains("API_KEY is one with the digest"), "{refused}");
    }

    /// I23: what a later version shares is not written over by an earlier one, which says so and does not start, and tells no secret; what is
    /// damaged is written anew.
    #[tokio::test]
    async fn what_a_later_version_shares_is_left_to_it() {
        for name in [CONFIGURATION, "API_KEY", "a secret of later"] {
            let store = MemoryStore::new();
            reach(&store, &config("a", HOUR), &[]).await.unwrap();
            let key = DocumentKey { kind: DocumentKind::Shared, name: name.to_owned() };
            let stored = async || store.document(key.clone()).await.unwrap();
            let version = stored().await.map_or(0, |document| document.version);
            let later = r#"{"since":"a later version"}"#.to_owned();
            store.put_document(key.clone(), version, Some(later), Vec::new()).await.unwrap().unwrap();
            let before = stored().await;
            let started = reach(&store, &Config { accepts: true, ..config("b", HOUR * 2) }, &[]).await;
            let is_later = matches!(started.err(), Some(StartError::Registry(RegistryError::Later { .. })));
            assert!(is_later, "{name}");
            let secret = SharedSecret { name: name.into(), sha256: [1; 32], server: "b".into(), kept: None };
            assert!(matches!(claim(&store, &secret, Wall::MIN).await, Err(RegistryError::Later { .. })), "{name}");
            assert!(matches!(shared_secrets(&store).await, Err(RegistryError::Later { .. })), "{name}");
            assert_eq!(stored().await, before, "{name}");
            let version = before.unwrap().version;
            store.put_document(key.clone(), version, Some("{".into()), Vec::new()).await.unwrap().unwrap();
            reach(&store, &config("b", HOUR * 2), &[]).await.unwrap();
        }
    }

    /// Of a secret that several make at once one counts.
    #[tokio::test]
    async fn a_secret_is_claimed_once() {
        let store = MemoryStore::new();
        let made = |server: &str, digit| {
            let (name, kept) = ("API_KEY".to_owned(), Some("/a/file".to_owned()));
            SharedSecret { name, sha256: [digit; 32], server: server.to_owned(), kept }
        };
        let (one, other) = (made("a", 1), made("b", 2));
        assert_eq!(claim(&store, &one, Wall::MIN).await.unwrap(), None);
        assert_eq!(claim(&store, &other, Wall::MIN).await.unwrap(), Some(one.clone()));
        assert_eq!(claim(&store, &one, Wall::MIN).await.unwrap(), None, "again");
        assert_eq!(shared_secrets(&store).await.unwrap(), vec![one]);
    }
}
