//! Changes of the registry that operators ask for.

use std::time::Duration;

use relay_core::{delivery::retry::RetryPolicy, name::Name, time::Wall};
use relay_providers::{Verifier, provider};
use relay_store::seam::{AuditEntry, DocumentKey, DocumentKind};

use super::{
    CHANGE_TRIES, Registry, RegistryError,
    document::{Destination, Key, Retry, Route, Source, Token, millis, render},
    key_of, key_of_pair, listed, secret,
};
use crate::{connect::STATIC_TOKEN, directory::Directory};

/// A source to be made.
#[derive(Clone, Debug)]
pub struct NewSource {
    /// Its name.
    pub name: Name,
    /// Its provider.
    pub provider: String,
    /// The provider's parameters.
    pub parameters: Vec<(String, String)>,
    /// See [`Source::allow_empty`].
    pub allow_empty: bool,
    /// Where its first route leads.
    pub destination: Name,
}

/// What shall change in a source; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct SourceUpdate {
    /// All of the provider's parameters anew.
    pub parameters: Option<Vec<(String, String)>>,
    /// See [`Source::allow_empty`].
    pub allow_empty: Option<bool>,
}

/// A route to be made, or what shall stand in it.
#[derive(Clone, Debug)]
pub struct NewRoute {
    /// From.
    pub source: Name,
    /// To.
    pub destination: Name,
    /// Its own TTL.
    pub ttl: Option<Duration>,
    /// Its own retry policy.
    pub retry: Option<RetryPolicy>,
}

/// An API key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Whose.
    pub source: Name,
    /// Its name.
    pub name: Name,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: Name,
    /// What it may serve; `None`: every destination.
    pub destinations: Option<Vec<Name>>,
}

/// A secret that is shown once, with the document that keeps its digest.
#[derive(Clone, Debug)]
pub struct Shown<T> {
    /// The secret itself.
    pub secret: String,
    /// What is kept.
    pub document: T,
}

/// One write that a change comes to.
struct Write {
    key: DocumentKey,
    expect: u64,
    body: Option<String>,
    audit: AuditEntry,
}

impl Registry {
    /// Makes a source and its route.
    ///
    /// # Errors
    /// `Taken`, `Invalid` for a provider or parameters that cannot be, `Store`.
    pub async fn create_source(&self, new: NewSource, who: &str) -> Result<Source, RegistryError> {
        let now = self.clock.now().wall;
        let source = Source {
            name: new.name.clone(),
            provider: new.provider,
            parameters: new.parameters,
            allow_empty: new.allow_empty,
            paused: false,
            declared: None,
            created_at: now,
        };
        check_parameters(&source)?;
        let route = plain_route(&new.name, &new.destination, now);
        // The route first: killed between the two writes, there is no source without a route.
        self.change(|directory| {
            if directory.sources.contains_key(&new.name) {
                return Err(RegistryError::Taken { kind: "source", name: new.name.to_string() });
            }
            let present = directory.routes.get(&(new.name.clone(), new.destination.clone()));
            Ok(vec![
                Write {
                    key: key_of_pair(DocumentKind::Route, &new.name, &new.destination),
                    expect: present.map_or(0, |entry| entry.version),
                    body: Some(render(&route)),
                    audit: self.audited(who, "route.create", format!("{} -> {}", new.name, new.destination)),
                },
                Write {
                    key: key_of(DocumentKind::Source, &new.name),
                    expect: 0,
                    body: Some(render(&source)),
                    audit: self.audited(who, "source.create", new.name.as_str()),
                },
            ])
        })
        .await?;
        Ok(source)
    }

    /// Changes a source.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Invalid`, `Store`.
    pub async fn update_source(&self, name: &Name, update: SourceUpdate, who: &str) -> Result<Source, RegistryError> {
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            undeclared("source", name.as_str(), entry.document.declared.as_deref())?;
            let mut source = entry.document.clone();
            source.parameters = update.parameters.clone().unwrap_or(source.parameters);
            source.allow_empty = update.allow_empty.unwrap_or(source.allow_empty);
            check_parameters(&source)?;
            Ok(vec![Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: Some(render(&source)),
                audit: self.audited(who, "source.update", name.as_str()),
            }])
        })
        .await?;
        self.directory()
            .sources
            .get(name)
            .map(|entry| entry.document.clone())
            .ok_or_else(|| unknown_source(&self.directory(), name))
    }

    /// Deletes a source with its routes and keys. Its events and deliveries stay until their retention is over.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Store`.
    pub async fn delete_source(&self, name: &Name, who: &str) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            let still_declared = entry.document.declared.as_deref().filter(|_| !entry.document.paused);
            undeclared("source", name.as_str(), still_declared)?;
            let mut writes = vec![Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: None,
                audit: self.audited(who, "source.delete", name.as_str()),
            }];
            writes.extend(directory.routes.values().filter(|entry| entry.document.source == *name).map(|entry| {
                Write {
                    key: key_of_pair(DocumentKind::Route, name, &entry.document.destination),
                    expect: entry.version,
                    body: None,
                    audit: self.audited(who, "route.delete", format!("{name} -> {}", entry.document.destination)),
                }
            }));
            writes.extend(directory.keys.values().filter(|entry| entry.document.source == *name).map(|entry| Write {
                key: key_of_pair(DocumentKind::Key, name, &entry.document.name),
                expect: entry.version,
                body: None,
                audit: self.audited(who, "key.delete", format!("{name}/{}", entry.document.name)),
            }));
            Ok(writes)
        })
        .await
    }

    /// Makes a route.
    ///
    /// # Errors
    /// `Unknown` source, `Taken`, `Invalid`, `Store`.
    pub async fn create_route(&self, new: NewRoute, who: &str) -> Result<Route, RegistryError> {
        let route = self.route_of(&new)?;
        self.change(|directory| {
            if !directory.sources.contains_key(&new.source) {
                return Err(unknown_source(directory, &new.source));
            }
            let present = directory.routes.get(&(new.source.clone(), new.destination.clone()));
            if present.is_some_and(|entry| !entry.document.paused) {
                let name = format!("{}/{}", new.source, new.destination);
                return Err(RegistryError::Taken { kind: "route", name });
            }
            Ok(vec![Write {
                key: key_of_pair(DocumentKind::Route, &new.source, &new.destination),
                expect: present.map_or(0, |entry| entry.version),
                body: Some(render(&route)),
                audit: self.audited(who, "route.create", format!("{} -> {}", new.source, new.destination)),
            }])
        })
        .await?;
        Ok(route)
    }

    /// Gives a route another policy.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Invalid`, `Store`.
    pub async fn update_route(&self, new: NewRoute, who: &str) -> Result<Route, RegistryError> {
        let wanted = self.route_of(&new)?;
        self.change(|directory| {
            let pair = (new.source.clone(), new.destination.clone());
            let entry = directory.routes.get(&pair).ok_or_else(|| unknown_route(directory, &new.source, &pair.1))?;
            let name = format!("{}/{}", new.source, new.destination);
            undeclared("route", &name, entry.document.declared.as_deref())?;
            let route = Route { created_at: entry.document.created_at, ..wanted.clone() };
            Ok(vec![Write {
                key: key_of_pair(DocumentKind::Route, &new.source, &new.destination),
                expect: entry.version,
                body: Some(render(&route)),
                audit: self.audited(who, "route.update", format!("{} -> {}", new.source, new.destination)),
            }])
        })
        .await?;
        Ok(wanted)
    }

    /// Deletes a route. Deliveries under way go on; no new ones are made.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `LastRoute`, `Store`.
    pub async fn delete_route(&self, source: &Name, destination: &Name, who: &str) -> Result<(), RegistryError> {
        self.change(|directory| {
            let pair = (source.clone(), destination.clone());
            let entry = directory.routes.get(&pair).ok_or_else(|| unknown_route(directory, source, destination))?;
            let name = format!("{source}/{destination}");
            undeclared("route", &name, entry.document.declared.as_deref().filter(|_| !entry.document.paused))?;
            let others = directory
                .routing
                .routes
                .get(source)
                .map_or(0, |routes| routes.iter().filter(|route| route.destination != *destination).count());
            if others == 0 && directory.sources.contains_key(source) {
                let (source_name, destination) = (source.to_string(), destination.to_string());
                return Err(RegistryError::LastRoute { source_name, destination });
            }
            Ok(vec![Write {
                key: key_of_pair(DocumentKind::Route, source, destination),
                expect: entry.version,
                body: None,
                audit: self.audited(who, "route.delete", format!("{source} -> {destination}")),
            }])
        })
        .await
    }

    /// Pauses or resumes a destination: nothing of a paused one is leased.
    ///
    /// # Errors
    /// `Unknown` when no route leads there, `Store`.
    pub async fn set_paused(&self, name: &Name, paused: bool, who: &str) -> Result<Destination, RegistryError> {
        let wanted = Destination { name: name.clone(), paused };
        self.change(|directory| {
            let known = directory.destination_names();
            if !known.contains(name) {
                let known = listed(&known);
                return Err(RegistryError::Unknown { kind: "destination", name: name.to_string(), known });
            }
            let present = directory.destinations.get(name);
            if present.map_or(!paused, |entry| entry.document.paused == paused) {
                return Ok(Vec::new());
            }
            let action = if paused { "destination.pause" } else { "destination.resume" };
            Ok(vec![Write {
                key: key_of(DocumentKind::Destination, name),
                expect: present.map_or(0, |entry| entry.version),
                body: Some(render(&wanted)),
                audit: self.audited(who, action, name.as_str()),
            }])
        })
        .await?;
        Ok(wanted)
    }

    /// Makes an API key; the key itself is in the answer and nowhere else.
    ///
    /// # Errors
    /// `Unknown` source, `Invalid` for a source without keys, `Taken`, `NoRandomness`, `Store`.
    pub async fn create_key(&self, new: NewKey, who: &str) -> Result<Shown<Key>, RegistryError> {
        let secret = secret::generate(secret::KEY_PREFIX)?;
        let key = Key {
            source: new.source.clone(),
            name: new.name.clone(),
            sha256: secret::sha256(secret.as_bytes()),
            prefix: secret::shown(&secret),
            created_at: self.clock.now().wall,
            revoked_at: None,
        };
        self.change(|directory| {
            let source = directory.sources.get(&new.source).ok_or_else(|| unknown_source(directory, &new.source))?;
            if !provider(&source.document.provider).is_some_and(|provider| provider.key_source) {
                return Err(RegistryError::Invalid(format!(
                    "source {:?} is of provider {:?}, which has no API keys; change its parameters instead",
                    new.source, source.document.provider
                )));
            }
            if directory.keys.contains_key(&(new.source.clone(), new.name.clone())) {
                return Err(RegistryError::Taken { kind: "key", name: format!("{}/{}", new.source, new.name) });
            }
            Ok(vec![Write {
                key: key_of_pair(DocumentKind::Key, &new.source, &new.name),
                expect: 0,
                body: Some(render(&key)),
                audit: self.audited(who, "key.create", format!("{}/{}", new.source, new.name)),
            }])
        })
        .await?;
        Ok(Shown { secret, document: key })
    }

    /// Revokes an API key: refused from the next request on.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn revoke_key(&self, source: &Name, name: &Name, who: &str) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.keys.get(&(source.clone(), name.clone())).ok_or_else(|| {
                let known = directory.keys.keys().filter(|(of, _)| of == source).map(|(_, name)| name);
                RegistryError::Unknown { kind: "key", name: format!("{source}/{name}"), known: listed(known) }
            })?;
            if entry.document.revoked_at.is_some() {
                return Ok(Vec::new());
            }
            let revoked = Key { revoked_at: Some(self.clock.now().wall.as_micros()), ..entry.document.clone() };
            Ok(vec![Write {
                key: key_of_pair(DocumentKind::Key, source, name),
                expect: entry.version,
                body: Some(render(&revoked)),
                audit: self.audited(who, "key.revoke", format!("{source}/{name}")),
            }])
        })
        .await
    }

    /// Makes a token; the token itself is in the answer and nowhere else.
    ///
    /// # Errors
    /// `Unknown` destination, `Taken`, `NoRandomness`, `Store`.
    pub async fn create_token(&self, new: NewToken, who: &str) -> Result<Shown<Token>, RegistryError> {
        let secret = secret::generate(secret::TOKEN_PREFIX)?;
        let token = Token {
            name: new.name.clone(),
            sha256: secret::sha256(secret.as_bytes()),
            prefix: secret::shown(&secret),
            destinations: new.destinations.as_ref().map(|names| names.iter().map(Name::to_string).collect()),
            created_at: self.clock.now().wall,
            revoked_at: None,
        };
        self.change(|directory| {
            if new.name.as_str() == STATIC_TOKEN {
                let text = format!("{STATIC_TOKEN} is the name of RELAY_TOKEN; choose another");
                return Err(RegistryError::Invalid(text));
            }
            let present = directory.tokens.get(&new.name);
            if present.is_some_and(|entry| entry.document.revoked_at.is_none()) {
                return Err(RegistryError::Taken { kind: "token", name: new.name.to_string() });
            }
            known_destinations(directory, new.destinations.as_deref().unwrap_or_default())?;
            Ok(vec![Write {
                key: key_of(DocumentKind::Token, &new.name),
                expect: present.map_or(0, |entry| entry.version),
                body: Some(render(&token)),
                audit: self.audited(who, "token.create", new.name.as_str()),
            }])
        })
        .await?;
        Ok(Shown { secret, document: token })
    }

    /// Says anew what a token may serve. Its sockets are closed, so that its clients come back with what they may.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn update_token(
        &self,
        name: &Name,
        destinations: Option<Vec<Name>>,
        who: &str,
    ) -> Result<Token, RegistryError> {
        let wanted: Option<Vec<String>> =
            destinations.as_ref().map(|names| names.iter().map(Name::to_string).collect());
        self.change_token(name, "token.update", who, |directory, token| {
            known_destinations(directory, destinations.as_deref().unwrap_or_default())?;
            Ok(Token { destinations: wanted.clone(), ..token.clone() })
        })
        .await?;
        self.directory()
            .tokens
            .get(name)
            .map(|entry| entry.document.clone())
            .ok_or_else(|| unknown_token(&self.directory(), name))
    }

    /// Revokes a token: its sockets are closed, and it lets nobody in again.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn revoke_token(&self, name: &Name, who: &str) -> Result<(), RegistryError> {
        let now = self.clock.now().wall.as_micros();
        self.change_token(name, "token.revoke", who, |_, token| {
            Ok(Token { revoked_at: token.revoked_at.or(Some(now)), ..token.clone() })
        })
        .await
    }

    async fn change_token(
        &self,
        name: &Name,
        action: &str,
        who: &str,
        decide: impl Fn(&Directory, &Token) -> Result<Token, RegistryError>,
    ) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.tokens.get(name).ok_or_else(|| unknown_token(directory, name))?;
            let next = decide(directory, &entry.document)?;
            if next == entry.document {
                return Ok(Vec::new());
            }
            Ok(vec![Write {
                key: key_of(DocumentKind::Token, name),
                expect: entry.version,
                body: Some(render(&next)),
                audit: self.audited(who, action, name.as_str()),
            }])
        })
        .await
    }

    /// Decides on the present directory and writes; decides anew if somebody was faster. Nothing to write is no change.
    async fn change(
        &self,
        decide: impl Fn(&Directory) -> Result<Vec<Write>, RegistryError>,
    ) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        for _ in 0..CHANGE_TRIES {
            let writes = decide(&self.directory())?;
            let mut applied = true;
            for write in writes {
                applied = self.put(write.key, write.expect, write.body, write.audit).await?;
                if !applied {
                    break;
                }
            }
            self.reload().await?;
            if applied {
                return Ok(());
            }
        }
        Err(RegistryError::Contended)
    }

    fn route_of(&self, new: &NewRoute) -> Result<Route, RegistryError> {
        let ttl = new.ttl.unwrap_or(self.defaults.ttl);
        let policy = new.retry.as_ref().unwrap_or(&self.defaults.retry);
        if ttl.is_zero() {
            return Err(RegistryError::Invalid("a TTL of 0 would expire every delivery at once".into()));
        }
        let longest = policy.span();
        if new.retry.is_some() && longest > ttl {
            let text =
                format!("the retries take {longest:?}, longer than the TTL of {ttl:?}: the last ones never happen");
            return Err(RegistryError::Invalid(text));
        }
        Ok(Route {
            source: new.source.clone(),
            destination: new.destination.clone(),
            ttl_ms: new.ttl.map(millis),
            retry: new.retry.as_ref().map(Retry::of),
            paused: false,
            declared: None,
            created_at: self.clock.now().wall,
        })
    }
}

/// What is wrong with a source's provider or parameters, all of it together.
fn check_parameters(source: &Source) -> Result<(), RegistryError> {
    match Verifier::new(&source.provider, &source.parameters) {
        Ok(_) => Ok(()),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(RegistryError::Invalid(faults.join("; ")))
        }
    }
}

fn plain_route(source: &Name, destination: &Name, created_at: Wall) -> Route {
    Route {
        source: source.clone(),
        destination: destination.clone(),
        ttl_ms: None,
        retry: None,
        paused: false,
        declared: None,
        created_at,
    }
}

fn undeclared(kind: &'static str, name: &str, declared: Option<&str>) -> Result<(), RegistryError> {
    match declared {
        None => Ok(()),
        Some(at) => Err(RegistryError::Declared { kind, name: name.into(), at: at.into() }),
    }
}

fn unknown_source(directory: &Directory, name: &Name) -> RegistryError {
    RegistryError::Unknown { kind: "source", name: name.to_string(), known: listed(directory.sources.keys()) }
}

fn unknown_route(directory: &Directory, source: &Name, destination: &Name) -> RegistryError {
    let known: Vec<&Name> = directory.routes.keys().filter(|(from, _)| from == source).map(|(_, to)| to).collect();
    RegistryError::Unknown { kind: "route", name: format!("{source}/{destination}"), known: listed(known) }
}

fn unknown_token(directory: &Directory, name: &Name) -> RegistryError {
    RegistryError::Unknown { kind: "token", name: name.to_string(), known: listed(directory.tokens.keys()) }
}

fn known_destinations(directory: &Directory, names: &[Name]) -> Result<(), RegistryError> {
    let known = directory.destination_names();
    match names.iter().find(|name| !known.contains(*name)) {
        None => Ok(()),
        Some(name) => {
            let text = format!("no route leads to {:?}; known: {}", name.as_str(), listed(&known));
            Err(RegistryError::Invalid(text))
        }
    }
}
