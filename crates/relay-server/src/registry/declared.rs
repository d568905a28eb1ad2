//! What the configuration file declares, and what exists out of the box.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use relay_core::{name::Name, time::Wall};
use relay_store::seam::DocumentKind;

use super::{
    Registry, RegistryError,
    change::Write,
    key_of, key_of_pair,
    route::plain_route,
    source::{delete_key, delete_route},
};
use crate::{
    Config,
    config::{DeclaredRoute, DeclaredSource},
    directory::{Directory, wrong_with},
    document::{Dedupe, Retry, Route, Source, millis, render},
    mark_path::{redefined, wrong_with_marks},
    network_policy::NetworkPolicy,
    principal::Principal,
};

/// Provider of the source `default`.
const FALLBACK_PROVIDER: &str = "api-key";

/// Writes that are given to the store together: it commits what waits at once.
const TOGETHER: usize = 512;

/// How often all of it is merged anew where another server writes the same documents at the same time.
const TRIES: u32 = 8;

/// How old a route without a source is before it counts as left over, where several servers share the store: another may be
/// about to write the source.
const LEFT_OVER_AFTER: Duration = Duration::from_mins(1);

/// Where in the configuration file what it declares stands. Not a matter of the stored documents, which would all be written
/// anew for a comment on top of the file; the present directory has it.
#[derive(Debug, Default)]
pub(super) struct Places {
    sources: BTreeMap<Name, String>,
    routes: BTreeMap<(Name, Name), String>,
}

impl Places {
    fn of(config: &Config) -> Self {
        let sources = config.sources.iter().map(|declared| (declared.name.clone(), declared.at.clone()));
        let pair = |declared: &DeclaredRoute| (declared.source.clone(), declared.destination.clone());
        let routes = config.routes.iter().map(|declared| (pair(declared), declared.at.clone()));
        Self { sources: sources.collect(), routes: routes.collect() }
    }

    /// Puts them where documents say where they stood when they were written.
    pub(super) fn put_into(&self, directory: &mut Directory) {
        for (name, entry) in &mut directory.sources {
            put_place(&mut entry.document.declared, self.sources.get(name));
        }
        for (pair, entry) in &mut directory.routes {
            put_place(&mut entry.document.declared, self.routes.get(pair));
        }
    }

    fn declares(&self, route: &Route) -> bool {
        self.routes.contains_key(&(route.source.clone(), route.destination.clone()))
    }
}

fn put_place(known: &mut Option<String>, present: Option<&String>) {
    if let (Some(known), Some(present)) = (known, present) {
        known.clone_from(present);
    }
}

impl Registry {
    /// Merges the configuration file: what it declares is written over, what it no longer declares is paused, unless the file
    /// of another server that shares the store does. Killed in the middle, the next start does the rest. A route is written
    /// before its source, so that at no time a source is without one.
    pub(super) async fn declare(&self, config: &Config) -> Result<(), RegistryError> {
        for _ in 1..TRIES {
            match self.declare_once(config).await {
                Err(RegistryError::Contended) => {}
                done => return done,
            }
        }
        self.declare_once(config).await
    }

    async fn declare_once(&self, config: &Config) -> Result<(), RegistryError> {
        let places = Arc::new(Places::of(config));
        self.places.store(Arc::clone(&places));
        self.reload().await?;
        self.make_fallback(config).await?;
        let directory = self.directory();
        self.put_all(config.routes.iter().filter_map(|declared| self.declared_route(&directory, declared))).await?;
        self.put_all(self.routes_of_the_routeless(&places)).await?;
        let sources =
            config.sources.iter().filter_map(|declared| self.declared_source(&directory, declared).transpose());
        self.put_all(sources.collect::<Result<Vec<_>, _>>()?).await?;
        self.put_all(self.undeclared(&places)).await?;
        self.put_all(self.swept(&places)).await
    }

    /// Merges what the configuration file declares by now, while the server runs. One source that cannot be keeps all as it is.
    ///
    /// # Errors
    /// Every source that cannot be, or the store fails: the next time does the rest.
    pub(crate) async fn declare_anew(&self, config: &Config) -> Result<(), RegistryError> {
        self.check_declared(config)?;
        let _turn = self.turn.lock().await;
        let declared = self.declare(config).await;
        // Also after a failure: what was written before it holds.
        declared.and(self.reload().await)
    }

    /// Whether what a file declares can be.
    ///
    /// # Errors
    /// Every source that cannot be.
    pub(crate) fn check_declared(&self, config: &Config) -> Result<(), RegistryError> {
        let wrong = |declared: &DeclaredSource| {
            let what = wrong_with(&declared.provider, &declared.parameters, self.memory);
            let what = what.or_else(|| wrong_with_marks(&declared.marks, 0, self.keeps_marks))?;
            Some(RegistryError::Source { name: declared.name.to_string(), what }.to_string())
        };
        let wrong: Vec<String> = config.sources.iter().filter_map(wrong).collect();
        if wrong.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(wrong.join("; "))) }
    }

    /// Writes all of them together while nobody else here may, and reads what is there by then: either the listeners are not
    /// served yet or it is this change's turn. `Contended` where another server was faster with one of them.
    async fn put_all(&self, writes: impl IntoIterator<Item = Write>) -> Result<(), RegistryError> {
        let put = |Write { key, expect, body, audit }: Write| async move {
            self.put(key, expect, body, audit).await?.map(drop).ok_or(RegistryError::Contended)
        };
        let puts: Vec<_> = writes.into_iter().map(put).collect();
        if puts.is_empty() {
            return Ok(());
        }
        stream::iter(puts).buffered(TOGETHER).try_collect::<()>().await?;
        self.reload().await
    }

    /// What makes a source as it is declared, if it is not.
    fn declared_source(
        &self,
        directory: &Directory,
        declared: &DeclaredSource,
    ) -> Result<Option<Write>, RegistryError> {
        let present = directory.sources.get(&declared.name);
        let wanted = Source {
            name: declared.name.clone(),
            provider: declared.provider.clone(),
            parameters: declared.parameters.clone(),
            network: declared.network.clone(),
            allow_empty: declared.allow_empty,
            dedupe: declared.dedupe,
            marks: redefined(present.map_or(&[], |entry| &entry.document.marks), &declared.marks),
            adopted: Vec::new(),
            adopts_until: None,
            rotation: None,
            paused: false,
            declared: Some(declared.at.clone()),
            declared_by: self.among(present.map(|entry| &entry.document.declared_by)),
            created_at: present.map_or_else(|| self.clock.now().wall, |entry| entry.document.created_at),
        };
        if present.is_some_and(|entry| entry.document == wanted) {
            return Ok(None);
        }
        // What stands in the store already is kept, if broken; what is new has to be right.
        let what = wrong_with(&wanted.provider, &wanted.parameters, self.memory);
        if let Some(what) = what.or_else(|| wrong_with_marks(&declared.marks, 0, self.keeps_marks)) {
            return Err(RegistryError::Source { name: declared.name.to_string(), what });
        }
        Ok(Some(Write {
            key: key_of(DocumentKind::Source, &declared.name),
            expect: present.map_or(0, |entry| entry.version),
            body: Some(render(&wanted)),
            audit: self.audited(&Principal::CONFIG, "source.declare", declared.name.as_str()),
        }))
    }

    /// What makes a route as it is declared, if it is not.
    fn declared_route(&self, directory: &Directory, declared: &DeclaredRoute) -> Option<Write> {
        let (source, destination) = (&declared.source, &declared.destination);
        let present = directory.routes.get(&(source.clone(), destination.clone()));
        let wanted = Route {
            source: source.clone(),
            destination: destination.clone(),
            ttl_ms: declared.ttl.map(millis),
            retry: declared.retry.as_ref().map(Retry::of),
            paused: false,
            declared: Some(declared.at.clone()),
            declared_by: self.among(present.map(|entry| &entry.document.declared_by)),
            created_at: present.map_or_else(|| self.clock.now().wall, |entry| entry.document.created_at),
        };
        if present.is_some_and(|entry| entry.document == wanted) {
            return None;
        }
        Some(Write {
            key: key_of_pair(DocumentKind::Route, source, destination),
            expect: present.map_or(0, |entry| entry.version),
            body: Some(render(&wanted)),
            audit: self.audited(&Principal::CONFIG, "route.declare", format!("{source} -> {destination}")),
        })
    }

    /// What pauses that which the file declared and does not any more. What another server's file declares goes on, and is not
    /// this one's any more.
    fn undeclared(&self, places: &Places) -> Vec<Write> {
        let directory = self.directory();
        let mut writes = Vec::new();
        for entry in directory.sources.values() {
            let source = &entry.document;
            if source.declared.is_none() || source.paused || places.sources.contains_key(&source.name) {
                continue;
            }
            let Some((declared_by, paused)) = self.without_this(&source.declared_by) else { continue };
            if paused {
                tracing::warn!(event = "undeclared", source = %source.name, "no longer in the configuration file: paused");
            }
            let action = if paused { "source.pause" } else { "source.undeclare" };
            writes.push(Write {
                key: key_of(DocumentKind::Source, &source.name),
                expect: entry.version,
                body: Some(render(&Source { paused, declared_by, ..source.clone() })),
                audit: self.audited(&Principal::CONFIG, action, source.name.as_str()),
            });
        }
        for entry in directory.routes.values() {
            let route = &entry.document;
            if route.declared.is_none() || route.paused || places.declares(route) {
                continue;
            }
            let Some((declared_by, paused)) = self.without_this(&route.declared_by) else { continue };
            let (source, destination) = (&route.source, &route.destination);
            if paused {
                let what = "no longer in the configuration file: paused";
                tracing::warn!(event = "undeclared", %source, %destination, "{what}");
            }
            let action = if paused { "route.pause" } else { "route.undeclare" };
            writes.push(Write {
                key: key_of_pair(DocumentKind::Route, source, destination),
                expect: entry.version,
                body: Some(render(&Route { paused, declared_by, ..route.clone() })),
                audit: self.audited(&Principal::CONFIG, action, format!("{source} -> {destination}")),
            });
        }
        writes
    }

    /// Those whose files declare something, and this server.
    fn among(&self, declared_by: Option<&BTreeSet<String>>) -> BTreeSet<String> {
        let this = Some(&self.server).filter(|name| !name.is_empty());
        declared_by.into_iter().flatten().chain(this).cloned().collect()
    }

    /// The other servers whose files declare something.
    fn others(&self, declared_by: &BTreeSet<String>) -> BTreeSet<String> {
        if self.server.is_empty() {
            return BTreeSet::new();
        }
        declared_by.iter().filter(|name| **name != self.server).cloned().collect()
    }

    /// Who still declares what this server does not any more, and whether it is paused for want of them; `None`: it is no matter
    /// of this one's.
    fn without_this(&self, declared_by: &BTreeSet<String>) -> Option<(BTreeSet<String>, bool)> {
        let others = self.others(declared_by);
        let paused = others.is_empty();
        (paused || others.len() < declared_by.len()).then_some((others, paused))
    }

    /// Source `default`, in a relay that has none yet: once deleted it stays so, unless it was the last.
    async fn make_fallback(&self, config: &Config) -> Result<(), RegistryError> {
        let name = Name::fallback();
        let directory = self.directory();
        if !directory.sources.is_empty() || config.sources.iter().any(|declared| declared.name == name) {
            return Ok(());
        }
        self.put_all([self.plain_route_of(&directory, &name)]).await?;
        let source = Source {
            name: name.clone(),
            provider: FALLBACK_PROVIDER.into(),
            parameters: Vec::new().into(),
            network: NetworkPolicy::default(),
            allow_empty: false,
            dedupe: Dedupe::default(),
            marks: Vec::new(),
            adopted: Vec::new(),
            adopts_until: None,
            rotation: None,
            paused: false,
            declared: None,
            declared_by: BTreeSet::new(),
            created_at: self.clock.now().wall,
        };
        let audit = self.audited(&Principal::CONFIG, "source.create", name.as_str());
        let key = key_of(DocumentKind::Source, &name);
        self.put_all([Write { key, expect: 0, body: Some(render(&source)), audit }]).await
    }

    /// A source never is without a route: one that has none, or is about to lose its last, leads to the destination
    /// `default`.
    fn routes_of_the_routeless(&self, places: &Places) -> Vec<Write> {
        let directory = self.directory();
        let is_declared = |route: &Route| places.declares(route) || !self.others(&route.declared_by).is_empty();
        let stays = |route: &&Route| !route.paused && (route.declared.is_none() || is_declared(route));
        let routes = directory.routes.values().map(|entry| &entry.document).filter(stays);
        let routed: BTreeSet<&Name> = routes.map(|route| &route.source).collect();
        let names: BTreeSet<&Name> = directory.sources.keys().chain(places.sources.keys()).collect();
        names.difference(&routed).map(|name| self.plain_route_of(&directory, name)).collect()
    }

    fn plain_route_of(&self, directory: &Directory, source: &Name) -> Write {
        let destination = Name::fallback();
        let present = directory.routes.get(&(source.clone(), destination.clone()));
        Write {
            key: key_of_pair(DocumentKind::Route, source, &destination),
            expect: present.map_or(0, |entry| entry.version),
            body: Some(render(&plain_route(source, &destination, self.clock.now().wall))),
            audit: self.audited(&Principal::CONFIG, "route.create", format!("{source} -> {destination}")),
        }
    }

    /// What removes that which a change left that was killed in the middle: routes and keys of a source that is not there. A
    /// later source of that name must not find them.
    fn swept(&self, places: &Places) -> Vec<Write> {
        let directory = self.directory();
        let gone = |source: &Name| !directory.sources.contains_key(source);
        let now = self.clock.now().wall;
        // One owner sees no half of another's change.
        let is_left = |made: Wall| self.server.is_empty() || now.since(made) > LEFT_OVER_AFTER;
        let keys = directory.keys.values().map(|entry| (entry, &entry.document));
        let keys = keys.filter(|(_, key)| gone(&key.source) && is_left(key.created_at)).map(|(entry, _)| entry);
        let orphaned = |route: &Route| {
            let declared = places.declares(route) || !self.others(&route.declared_by).is_empty();
            gone(&route.source) && !declared && is_left(route.created_at)
        };
        let routes = directory.routes.values().filter(|entry| orphaned(&entry.document));
        let keys = keys.map(|entry| delete_key(self, &Principal::CONFIG, entry));
        keys.chain(routes.map(|entry| delete_route(self, &Principal::CONFIG, entry))).collect()
    }
}
