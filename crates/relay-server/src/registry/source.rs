//! Sources: made, changed and deleted by operators.

use std::collections::BTreeSet;

use relay_core::{limits, name::Name};
use relay_providers::{Given, Provider, provider};
use relay_store::seam::DocumentKind;

use super::{
    Registry, RegistryError,
    adopt::check_awaits,
    change::{Write, undeclared, unknown_source},
    key_of, key_of_pair, listed,
    route::plain_route,
};
use crate::{
    clock::rough,
    directory::{Directory, Versioned, wrong_with},
    document::{Dedupe, Key, MarkDefinition, Route, Source, render},
    mark_path::{MarkPath, remarked, wrong_with_marks},
    network_policy::NetworkPolicy,
    parameters::Parameters,
    principal::Principal,
};

/// A source to be made.
#[derive(Clone, Debug)]
pub struct NewSource {
    /// Its name.
    pub name: Name,
    /// Its provider.
    pub provider: String,
    /// The provider's parameters.
    pub parameters: Parameters,
    /// See [`Source::network`].
    pub network: NetworkPolicy,
    /// See [`Source::allow_empty`].
    pub allow_empty: bool,
    /// See [`Source::dedupe`].
    pub dedupe: Dedupe,
    /// The platform is about to hand over its secret: see [`Registry::await_secret`].
    pub await_secret: bool,
    /// Where its first route leads.
    pub destination: Name,
}

/// What shall change in a source; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct SourceUpdate {
    /// Another provider; it wants parameters of its own.
    pub provider: Option<String>,
    /// All of the provider's parameters anew.
    pub parameters: Option<Parameters>,
    /// These parameters anew, in place of all values they had; the others stay.
    pub set: Parameters,
    /// These parameters go.
    pub unset: Vec<String>,
    /// What shall be of the network policy; `none` takes away what there was.
    pub network: NetworkPolicy,
    /// See [`Source::allow_empty`].
    pub allow_empty: Option<bool>,
    /// See [`Source::dedupe`].
    pub dedupe: Option<Dedupe>,
    /// These marks anew; the others stay.
    pub mark: Vec<(Name, MarkPath)>,
    /// These marks go.
    pub unmark: Vec<Name>,
}

impl Registry {
    /// Makes a source and its route.
    ///
    /// # Errors
    /// `Taken`, `Invalid` for a provider or parameters that cannot be, `Store`.
    pub async fn create_source(&self, new: NewSource, who: &Principal) -> Result<Source, RegistryError> {
        self.create_source_with(new, who, |_| Ok(Vec::new())).await
    }

    /// Makes a source and its route, and `more` in the same change.
    pub(super) async fn create_source_with(
        &self,
        new: NewSource,
        who: &Principal,
        more: impl Fn(&Directory) -> Result<Vec<Write>, RegistryError>,
    ) -> Result<Source, RegistryError> {
        let now = self.clock.now().wall;
        let parameters = self.given(&new.name, &new.provider, &new.parameters)?;
        let source = Source {
            name: new.name.clone(),
            provider: new.provider,
            parameters: parameters.into(),
            network: checked(&new.network)?,
            allow_empty: new.allow_empty,
            dedupe: new.dedupe,
            marks: Vec::new(),
            adopted: Vec::new(),
            adopts_until: new.await_secret.then(|| (now + limits::ADOPTION_WINDOW).as_micros()),
            rotation: None,
            paused: false,
            declared: None,
            declared_by: BTreeSet::new(),
            created_at: now,
        };
        self.check_parameters(&source)?;
        if new.await_secret {
            check_awaits(&source)?;
        }
        let route = plain_route(&new.name, &new.destination, now);
        // The route first: killed between the two writes, there is no source without a route.
        self.change(|directory| {
            if directory.sources.contains_key(&new.name) {
                return Err(RegistryError::Taken { kind: "source", name: new.name.to_string() });
            }
            let pair = (new.name.clone(), new.destination.clone());
            let expect = directory.routes.get(&pair).map_or(0, |entry| entry.version);
            let create_route = Write {
                key: key_of_pair(DocumentKind::Route, &new.name, &new.destination),
                expect,
                body: Some(render(&route)),
                audit: self.audited(who, "route.create", format!("{} -> {}", new.name, new.destination)),
            };
            let create_source = Write {
                key: key_of(DocumentKind::Source, &new.name),
                expect: 0,
                body: Some(render(&source)),
                audit: self.audited(who, "source.create", new.name.as_str()),
            };
            // Left of one whose deletion was broken off: neither its keys nor its other routes are the new one's.
            let leftovers = keys_of(directory, &new.name).map(|entry| delete_key(self, who, entry)).chain(
                routes_of(directory, &new.name)
                    .filter(|entry| entry.document.destination != new.destination)
                    .map(|entry| delete_route(self, who, entry)),
            );
            let more = more(directory)?;
            Ok(leftovers.chain([create_route, create_source]).chain(more).collect())
        })
        .await?;
        Ok(source)
    }

    /// Changes a source.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Invalid`, `Store`.
    pub async fn update_source(
        &self,
        name: &Name,
        update: SourceUpdate,
        who: &Principal,
    ) -> Result<Source, RegistryError> {
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            undeclared("source", name.as_str(), entry.document.declared.as_deref())?;
            let mut source = entry.document.clone();
            if let Some(provider) = update.provider.as_ref().filter(|provider| **provider != source.provider) {
                source.provider.clone_from(provider);
                source.parameters.clear();
                source.adopted.clear();
                source.rotation = None;
            }
            let known_as =
                |name: &str| provider(&source.provider).map_or(name, |provider| provider.known_as(name)).to_owned();
            if let Some(parameters) = &update.parameters {
                let parameters = self.given(name, &source.provider, parameters)?;
                source.parameters.retain(|known| parameters.contains(known));
                source.adopted.retain(|adopted| source.parameters.iter().any(|(name, _)| name == adopted));
                source.parameters = parameters.into();
                source.rotation = None;
            }
            if let Some(name) = update
                .unset
                .iter()
                .find(|name| source.parameters.iter().all(|(known, _)| known_as(known) != known_as(name)))
            {
                let known: Vec<&str> = source.parameters.iter().map(|(name, _)| name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let text = format!("it has no parameter {name:?} to take away; it has: {known}");
                return Err(RegistryError::Invalid(text));
            }
            // By whichever of its two names it was given: an old value must not stay valid beside the new one.
            let named = update.unset.iter().chain(update.set.iter().map(|(name, _)| name));
            let named: Vec<String> = named.map(|name| known_as(name.trim())).collect();
            let is_named = |name: &String| named.contains(&known_as(name));
            source.parameters.retain(|(name, _)| !is_named(name));
            source.adopted.retain(|name| !is_named(name));
            // Whoever says what a secret is says that it is no other.
            if source.rotation.as_ref().is_some_and(|rotation| rotation.old.names.iter().any(is_named)) {
                source.rotation = None;
            }
            source.parameters.extend(update.set.iter().cloned());
            if !update.set.is_empty() {
                source.parameters = self.given(name, &source.provider, &source.parameters)?.into();
            }
            source.network = checked(&source.network.changed(update.network.clone()))?;
            source.allow_empty = update.allow_empty.unwrap_or(source.allow_empty);
            source.dedupe = update.dedupe.unwrap_or(source.dedupe);
            source.marks = self.remarked(&source.marks, &update).map_err(RegistryError::Invalid)?;
            self.check_parameters(&source)?;
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

    /// The marks of a source behind an update.
    fn remarked(&self, present: &[MarkDefinition], update: &SourceUpdate) -> Result<Vec<MarkDefinition>, String> {
        let SourceUpdate { mark, unmark, .. } = update;
        if mark.is_empty() && unmark.is_empty() {
            return Ok(present.to_vec());
        }
        if let Some(name) = unmark.iter().find(|name| present.iter().all(|known| known.name != **name)) {
            let known = listed(present.iter().map(|known| &known.name));
            return Err(format!("it has no mark {:?} to take away; it has: {known}", name.as_str()));
        }
        let is_other =
            |known: &&MarkDefinition| !unmark.contains(&known.name) && mark.iter().all(|(name, _)| *name != known.name);
        match wrong_with_marks(mark, present.iter().filter(is_other).count(), self.keeps_marks) {
            Some(what) => Err(what),
            None => Ok(remarked(present, mark, unmark)),
        }
    }

    /// Deletes a source with its keys and routes. Its events and deliveries stay until their retention is over.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Store`.
    pub async fn delete_source(&self, name: &Name, who: &Principal) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            let still_declared = entry.document.declared.as_deref().filter(|_| !entry.document.paused);
            undeclared("source", name.as_str(), still_declared)?;
            let source = Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: None,
                audit: self.audited(who, "source.delete", name.as_str()),
            };
            // The keys first, the routes last: killed in the middle, no key outlives its source, and the source has its
            // routes as long as it is there. What is left of them goes with the next start.
            let keys = keys_of(directory, name).map(|entry| delete_key(self, who, entry));
            let routes = routes_of(directory, name).map(|entry| delete_route(self, who, entry));
            Ok(keys.chain([source]).chain(routes).collect())
        })
        .await
    }

    /// An operator's parameters as they are to be kept. What looks wrong and may be right is told: who asks here may be a
    /// program.
    pub(super) fn given(
        &self,
        source: &Name,
        provider: &str,
        parameters: &[(String, String)],
    ) -> Result<Vec<(String, String)>, RegistryError> {
        let given = Given::read(provider, parameters).map_err(|faults| {
            let own_url = self.url_fault(provider);
            let faults: Vec<String> = faults.iter().map(ToString::to_string).chain(own_url).collect();
            RegistryError::Invalid(faults.join("; "))
        })?;
        for doubt in given.doubts.into_iter().chain(given.remarks) {
            tracing::warn!(event = "parameter_doubtful", %source, detail = %doubt, "taken as it is");
        }
        self.tell_short_memory(source, provider);
        Ok(given.parameters)
    }

    /// What is wrong with a source's provider or parameters, all of it together.
    pub(super) fn check_parameters(&self, source: &Source) -> Result<(), RegistryError> {
        let old = provider(&source.provider).and_then(|provider| source.old_parameters(provider));
        let faults = [Some(source.parameters.clone()), old.map(Into::into)].into_iter().flatten();
        let faults = faults.filter_map(|parameters| wrong_with(&source.provider, &parameters, self.memory));
        let faults: Vec<String> = faults.chain(self.url_fault(&source.provider)).collect();
        if faults.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(faults.join("; "))) }
    }

    fn url_fault(&self, name: &str) -> Option<String> {
        provider(name).filter(|provider| provider.signs_url && !self.knows_own_url).map(needs_url)
    }

    /// Says at which sources a webhook that the platform sends again can be a new one, because `DEDUPE_WINDOW` is less than both
    /// its default and the time for which that platform tries.
    pub(super) fn warn_of_short_memory(&self) {
        for source in self.directory().sources.values().map(|entry| &entry.document).filter(|source| !source.paused) {
            self.tell_short_memory(&source.name, &source.provider);
        }
    }

    fn tell_short_memory(&self, source: &Name, name: &str) {
        let Some(tries) = provider(name).and_then(|provider| provider.tries_for) else { return };
        if self.memory < tries.time.min(limits::DEDUPE_WINDOW) {
            let (memory, tried) = (rough(self.memory), rough(tries.time));
            tracing::warn!(
                event = "dedupe_window_short",
                %source,
                provider = name,
                "DEDUPE_WINDOW is {memory}, and the platform sends again for {tried}: what it sends again after that is a new event"
            );
        }
    }

    /// Says which sources take nothing because their parameters do not read any more.
    pub(super) fn tell_broken(&self) {
        for (source, what) in self.directory().broken() {
            tracing::error!(
                event = "source_broken",
                %source,
                what,
                "it answers 503 until it is put right: crm-relay source update {source}"
            );
        }
    }

    /// Says which sources refuse everything because `PUBLIC_URL` is gone since they were made.
    pub(super) fn warn_of_unknown_url(&self) {
        for source in self.directory().sources.values().map(|entry| &entry.document) {
            let signs = provider(&source.provider).is_some_and(|provider| provider.signs_url);
            if signs && !self.knows_own_url && !source.paused {
                let (name, provider) = (&source.name, &source.provider);
                tracing::warn!(event = "public_url_missing", source = %name, provider, "it refuses everything until PUBLIC_URL is set");
            }
        }
    }
}

/// A policy as it is kept.
fn checked(network: &NetworkPolicy) -> Result<NetworkPolicy, RegistryError> {
    network.checked().map_err(|faults| {
        let faults: Vec<String> = faults.into_iter().map(|(key, want)| format!("{key}: {want}")).collect();
        RegistryError::Invalid(faults.join("; "))
    })
}

fn keys_of<'a>(directory: &'a Directory, source: &'a Name) -> impl Iterator<Item = &'a Versioned<Key>> {
    directory.keys.values().filter(move |entry| entry.document.source == *source)
}

fn routes_of<'a>(directory: &'a Directory, source: &'a Name) -> impl Iterator<Item = &'a Versioned<Route>> {
    directory.routes.values().filter(move |entry| entry.document.source == *source)
}

pub(super) fn delete_key(registry: &Registry, who: &Principal, entry: &Versioned<Key>) -> Write {
    let Key { source, name, .. } = &entry.document;
    Write {
        key: key_of_pair(DocumentKind::Key, source, name),
        expect: entry.version,
        body: None,
        audit: registry.audited(who, "key.delete", format!("{source}/{name}")),
    }
}

pub(super) fn delete_route(registry: &Registry, who: &Principal, entry: &Versioned<Route>) -> Write {
    let Route { source, destination, .. } = &entry.document;
    Write {
        key: key_of_pair(DocumentKind::Route, source, destination),
        expect: entry.version,
        body: None,
        audit: registry.audited(who, "route.delete", format!("{source} -> {destination}")),
    }
}

/// What to do about a provider that signs the URL.
fn needs_url(provider: &Provider) -> String {
    let title = provider.title;
    format!("{title} signs the URL it calls, so the server must know its own: set PUBLIC_URL and restart it")
}
