//! What the configuration file declares, and what exists out of the box.

use relay_core::name::Name;
use relay_store::seam::{AuditEntry, DocumentKey, DocumentKind};

use super::{
    Registry, RegistryError,
    document::{Retry, Route, Source, millis, render},
    key_of, key_of_pair,
    route::plain_route,
};
use crate::{
    Config,
    config::{DeclaredRoute, DeclaredSource},
};

/// Provider of the source `default`.
const FALLBACK_PROVIDER: &str = "api-key";

impl Registry {
    /// Merges the configuration file: what it declares is written over, what it no longer declares is paused. Killed in
    /// the middle, the next start does the rest.
    pub(super) async fn declare(&self, config: &Config) -> Result<(), RegistryError> {
        for declared in &config.sources {
            self.declare_source(declared).await?;
        }
        for declared in &config.routes {
            self.declare_route(declared).await?;
        }
        self.pause_undeclared(config).await?;
        self.make_fallback().await?;
        self.route_the_routeless().await?;
        self.reload().await
    }

    async fn declare_source(&self, declared: &DeclaredSource) -> Result<(), RegistryError> {
        let directory = self.directory();
        let present = directory.sources.get(&declared.name);
        let wanted = Source {
            name: declared.name.clone(),
            provider: declared.provider.clone(),
            parameters: declared.parameters.clone(),
            allow_empty: declared.allow_empty,
            paused: false,
            declared: Some(declared.at.clone()),
            created_at: present.map_or_else(|| self.clock.now().wall, |entry| entry.document.created_at),
        };
        if present.is_some_and(|entry| entry.document == wanted) {
            return Ok(());
        }
        let key = key_of(DocumentKind::Source, &declared.name);
        let audit = self.audited("config", "source.declare", declared.name.as_str());
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
        let audit = self.audited("config", "route.declare", format!("{} -> {}", declared.source, declared.destination));
        self.declared(key, present.map_or(0, |entry| entry.version), Some(render(&wanted)), audit).await
    }

    /// Writes while nobody else may: the data directory is locked, and the listeners are not served yet.
    async fn declared(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: AuditEntry,
    ) -> Result<(), RegistryError> {
        if self.put(key, expect, body, audit).await? { Ok(()) } else { Err(RegistryError::Contended) }
    }

    async fn pause_undeclared(&self, config: &Config) -> Result<(), RegistryError> {
        let directory = self.directory();
        for entry in directory.sources.values().filter(|entry| entry.document.declared.is_some()) {
            let source = &entry.document;
            if source.paused || config.sources.iter().any(|declared| declared.name == source.name) {
                continue;
            }
            tracing::warn!(event = "undeclared", source = %source.name, "no longer in the configuration file: paused");
            let paused = Source { paused: true, ..source.clone() };
            let audit = self.audited("config", "source.pause", source.name.as_str());
            self.declared(key_of(DocumentKind::Source, &source.name), entry.version, Some(render(&paused)), audit)
                .await?;
        }
        for entry in directory.routes.values().filter(|entry| entry.document.declared.is_some()) {
            let route = &entry.document;
            let still =
                |declared: &DeclaredRoute| declared.source == route.source && declared.destination == route.destination;
            if route.paused || config.routes.iter().any(still) {
                continue;
            }
            let (source, destination) = (&route.source, &route.destination);
            tracing::warn!(event = "undeclared", %source, %destination, "no longer in the configuration file: paused");
            let paused = Route { paused: true, ..route.clone() };
            let key = key_of_pair(DocumentKind::Route, &route.source, &route.destination);
            let audit = self.audited("config", "route.pause", format!("{} -> {}", route.source, route.destination));
            self.declared(key, entry.version, Some(render(&paused)), audit).await?;
        }
        self.reload().await
    }

    /// Source `default`, unless somebody made one of that name already.
    async fn make_fallback(&self) -> Result<(), RegistryError> {
        let name = Name::fallback();
        if self.directory().sources.contains_key(&name) {
            return Ok(());
        }
        let source = Source {
            name: name.clone(),
            provider: FALLBACK_PROVIDER.into(),
            parameters: Vec::new(),
            allow_empty: false,
            paused: false,
            declared: None,
            created_at: self.clock.now().wall,
        };
        let audit = self.audited("config", "source.create", name.as_str());
        self.declared(key_of(DocumentKind::Source, &name), 0, Some(render(&source)), audit).await?;
        self.reload().await
    }

    /// A source never is without a route: one that has none leads to the destination `default`.
    async fn route_the_routeless(&self) -> Result<(), RegistryError> {
        let directory = self.directory();
        for source in directory.sources.keys().filter(|name| !directory.routing.routes.contains_key(*name)) {
            let destination = Name::fallback();
            let present = directory.routes.get(&(source.clone(), destination.clone()));
            let route = plain_route(source, &destination, self.clock.now().wall);
            let key = key_of_pair(DocumentKind::Route, source, &destination);
            let audit = self.audited("config", "route.create", format!("{source} -> {destination}"));
            self.declared(key, present.map_or(0, |entry| entry.version), Some(render(&route)), audit).await?;
        }
        Ok(())
    }
}
