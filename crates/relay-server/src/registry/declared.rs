//! What the configuration file declares, and what exists out of the box.

use std::collections::BTreeSet;

use relay_core::name::Name;
use relay_store::seam::{AuditEntry, DocumentKey, DocumentKind};

use super::{
    Registry, RegistryError,
    document::{Dedupe, Retry, Route, Source, millis, render},
    key_of, key_of_pair,
    route::plain_route,
    source::{delete_key, delete_route},
};
use crate::{
    Config,
    asker::Asker,
    config::{DeclaredRoute, DeclaredSource},
    directory::wrong_with,
};

/// Provider of the source `default`.
const FALLBACK_PROVIDER: &str = "api-key";

impl Registry {
    /// Merges the configuration file: what it declares is written over, what it no longer declares is paused. Killed in
    /// the middle, the next start does the rest. A route is written before its source, so that at no time a source is
    /// without one.
    pub(super) async fn declare(&self, config: &Config) -> Result<(), RegistryError> {
        self.make_fallback(config).await?;
        for declared in &config.routes {
            self.declare_route(declared).await?;
        }
        self.route_the_routeless(config).await?;
        for declared in &config.sources {
            self.declare_source(declared).await?;
        }
        self.pause_undeclared(config).await?;
        self.sweep(config).await?;
        self.reload().await
    }

    /// Merges what the configuration file declares by now, while the server runs. One source that cannot be keeps all as it is.
    ///
    /// # Errors
    /// Every source that cannot be, or the store fails: the next time does the rest.
    pub(crate) async fn declare_anew(&self, config: &Config) -> Result<(), RegistryError> {
        let wrong = |declared: &DeclaredSource| {
            let what = wrong_with(&declared.provider, &declared.parameters, self.memory)?;
            Some(RegistryError::Source { name: declared.name.to_string(), what }.to_string())
        };
        let wrong: Vec<String> = config.sources.iter().filter_map(wrong).collect();
        if !wrong.is_empty() {
            return Err(RegistryError::Invalid(wrong.join("; ")));
        }
        let _turn = self.turn.lock().await;
        let declared = self.declare(config).await;
        // Also after a failure: what was written before it holds.
        declared.and(self.reload().await)
    }

    async fn declare_source(&self, declared: &DeclaredSource) -> Result<(), RegistryError> {
        let directory = self.directory();
        let present = directory.sources.get(&declared.name);
        let wanted = Source {
            name: declared.name.clone(),
            provider: declared.provider.clone(),
            parameters: declared.parameters.clone(),
            allow_empty: declared.allow_empty,
            dedupe: declared.dedupe,
            adopted: Vec::new(),
            adopts_until: None,
            rotation: None,
            paused: false,
            declared: Some(declared.at.clone()),
            created_at: present.map_or_else(|| self.clock.now().wall, |entry| entry.document.created_at),
        };
        if present.is_some_and(|entry| entry.document == wanted) {
            return Ok(());
        }
        // What stands in the store already is kept, if broken; what is new has to be right.
        if let Some(what) = wrong_with(&wanted.provider, &wanted.parameters, self.memory) {
            return Err(RegistryError::Source { name: declared.name.to_string(), what });
        }
        let key = key_of(DocumentKind::Source, &declared.name);
        let audit = self.audited(&Asker::CONFIG, "source.declare", declared.name.as_str());
        self.declared(key, present.map_or(0, |entry| entry.version), Some(render(&wanted)), audit).await
    }

    async fn declare_route(&self, declared: &DeclaredRoute) -> Result<(), RegistryError> {
        let directory = self.directory();
        let present = directory.routes.get(&(declared.source.clone(), declared.destination.clone()));
        let wanted = Route {
            source: declared.source.clone(),
            destination: declared.destination.clone(),
            ttl_ms: declared.ttl.map(millis),
            retry: declared.retry.as_ref().map(Retry::of),
            paused: false,
            declared: Some(declared.at.clone()),
            created_at: present.map_or_else(|| self.clock.now().wall, |entry| entry.document.created_at),
        };
        if present.is_some_and(|entry| entry.document == wanted) {
            return Ok(());
        }
        let key = key_of_pair(DocumentKind::Route, &declared.source, &declared.destination);
        let audit =
            self.audited(&Asker::CONFIG, "route.declare", format!("{} -> {}", declared.source, declared.destination));
        self.declared(key, present.map_or(0, |entry| entry.version), Some(render(&wanted)), audit).await
    }

    /// Writes while nobody else may: the data directory is locked, and either the listeners are not served yet or it is this
    /// change's turn.
    async fn declared(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: AuditEntry,
    ) -> Result<(), RegistryError> {
        self.put(key, expect, body, audit).await?.map(drop).ok_or(RegistryError::Contended)
    }

    async fn pause_undeclared(&self, config: &Config) -> Result<(), RegistryError> {
        self.reload().await?;
        let directory = self.directory();
        for entry in directory.sources.values().filter(|entry| entry.document.declared.is_some()) {
            let source = &entry.document;
            if source.paused || config.sources.iter().any(|declared| declared.name == source.name) {
                continue;
            }
            tracing::warn!(event = "undeclared", source = %source.name, "no longer in the configuration file: paused");
            let paused = Source { paused: true, ..source.clone() };
            let audit = self.audited(&Asker::CONFIG, "source.pause", source.name.as_str());
            self.declared(key_of(DocumentKind::Source, &source.name), entry.version, Some(render(&paused)), audit)
                .await?;
        }
        for entry in directory.routes.values().filter(|entry| entry.document.declared.is_some()) {
            let route = &entry.document;
            if route.paused || declares(config, route) {
                continue;
            }
            let (source, destination) = (&route.source, &route.destination);
            tracing::warn!(event = "undeclared", %source, %destination, "no longer in the configuration file: paused");
            let paused = Route { paused: true, ..route.clone() };
            let key = key_of_pair(DocumentKind::Route, &route.source, &route.destination);
            let audit =
                self.audited(&Asker::CONFIG, "route.pause", format!("{} -> {}", route.source, route.destination));
            self.declared(key, entry.version, Some(render(&paused)), audit).await?;
        }
        self.reload().await
    }

    /// Source `default`, in a relay that has none yet: once deleted it stays so, unless it was the last.
    async fn make_fallback(&self, config: &Config) -> Result<(), RegistryError> {
        let name = Name::fallback();
        if !self.directory().sources.is_empty() || config.sources.iter().any(|declared| declared.name == name) {
            return Ok(());
        }
        self.declare_plain_route(&name).await?;
        let source = Source {
            name: name.clone(),
            provider: FALLBACK_PROVIDER.into(),
            parameters: Vec::new().into(),
            allow_empty: false,
            dedupe: Dedupe::default(),
            adopted: Vec::new(),
            adopts_until: None,
            rotation: None,
            paused: false,
            declared: None,
            created_at: self.clock.now().wall,
        };
        let audit = self.audited(&Asker::CONFIG, "source.create", name.as_str());
        self.declared(key_of(DocumentKind::Source, &name), 0, Some(render(&source)), audit).await?;
        self.reload().await
    }

    /// A source never is without a route: one that has none, or is about to lose its last, leads to the destination
    /// `default`.
    async fn route_the_routeless(&self, config: &Config) -> Result<(), RegistryError> {
        self.reload().await?;
        let directory = self.directory();
        let stays = |route: &Route| !route.paused && (route.declared.is_none() || declares(config, route));
        let routed = |name: &Name| {
            directory.routes.values().any(|entry| entry.document.source == *name && stays(&entry.document))
        };
        let declared = config.sources.iter().map(|declared| &declared.name);
        let names: BTreeSet<&Name> = directory.sources.keys().chain(declared).collect();
        for name in names.into_iter().filter(|name| !routed(name)) {
            self.declare_plain_route(name).await?;
        }
        self.reload().await
    }

    async fn declare_plain_route(&self, source: &Name) -> Result<(), RegistryError> {
        let destination = Name::fallback();
        let directory = self.directory();
        let present = directory.routes.get(&(source.clone(), destination.clone()));
        let route = plain_route(source, &destination, self.clock.now().wall);
        let key = key_of_pair(DocumentKind::Route, source, &destination);
        let audit = self.audited(&Asker::CONFIG, "route.create", format!("{source} -> {destination}"));
        self.declared(key, present.map_or(0, |entry| entry.version), Some(render(&route)), audit).await
    }

    /// Removes what a change left that was killed in the middle: routes and keys of a source that is not there. A later
    /// source of that name must not find them.
    async fn sweep(&self, config: &Config) -> Result<(), RegistryError> {
        let directory = self.directory();
        let gone = |source: &Name| !directory.sources.contains_key(source);
        for entry in directory.keys.values().filter(|entry| gone(&entry.document.source)) {
            let write = delete_key(self, &Asker::CONFIG, entry);
            self.declared(write.key, write.expect, None, write.audit).await?;
        }
        let orphaned = |route: &Route| gone(&route.source) && !declares(config, route);
        for entry in directory.routes.values().filter(|entry| orphaned(&entry.document)) {
            let write = delete_route(self, &Asker::CONFIG, entry);
            self.declared(write.key, write.expect, None, write.audit).await?;
        }
        Ok(())
    }
}

fn declares(config: &Config, route: &Route) -> bool {
    config.routes.iter().any(|declared| declared.source == route.source && declared.destination == route.destination)
}
