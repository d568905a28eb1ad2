//! Routes: made, changed and deleted by operators.

use std::{collections::BTreeSet, time::Duration};

use relay_core::{delivery::retry::RetryPolicy, name::Name, time::Wall};
use relay_store::seam::DocumentKind;

use super::{
    Registry, RegistryError,
    change::{Write, undeclared, unknown_source},
    key_of_pair,
};
use crate::{
    directory::Directory,
    document::{Retry, Route, millis, render},
    principal::Principal,
};

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

/// What a route has of its own.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Its own TTL.
    pub ttl: Option<Duration>,
    /// Its own retry policy.
    pub retry: Option<RetryPolicy>,
}

impl Registry {
    /// Makes a route.
    ///
    /// # Errors
    /// `Unknown` source, `Taken`, `Invalid`, `Store`.
    pub async fn create_route(&self, new: NewRoute, who: &Principal) -> Result<Route, RegistryError> {
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

    /// Gives a route another policy: `revise` says which, from the one that it has then.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Invalid`, `Store`.
    pub async fn update_route(
        &self,
        source: &Name,
        destination: &Name,
        who: &Principal,
        revise: impl Fn(&Route) -> Result<Policy, RegistryError>,
    ) -> Result<Route, RegistryError> {
        let pair = (source.clone(), destination.clone());
        self.change(|directory| {
            let entry = directory.routes.get(&pair).ok_or_else(|| unknown_route(directory, source, destination))?;
            let name = format!("{source}/{destination}");
            undeclared("route", &name, entry.document.declared.as_deref())?;
            let Policy { ttl, retry } = revise(&entry.document)?;
            let new = NewRoute { source: source.clone(), destination: destination.clone(), ttl, retry };
            let route = Route { created_at: entry.document.created_at, ..self.route_of(&new)? };
            Ok(vec![Write {
                key: key_of_pair(DocumentKind::Route, source, destination),
                expect: entry.version,
                body: Some(render(&route)),
                audit: self.audited(who, "route.update", format!("{source} -> {destination}")),
            }])
        })
        .await?;
        let directory = self.directory();
        let entry = directory.routes.get(&pair).ok_or_else(|| unknown_route(&directory, source, destination))?;
        Ok(entry.document.clone())
    }

    /// Deletes a route. Deliveries under way go on; no new ones are made.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `LastRoute`, `Store`.
    pub async fn delete_route(&self, source: &Name, destination: &Name, who: &Principal) -> Result<(), RegistryError> {
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

    fn route_of(&self, new: &NewRoute) -> Result<Route, RegistryError> {
        let ttl = new.ttl.unwrap_or(self.defaults.ttl);
        let policy = new.retry.as_ref().unwrap_or(&self.defaults.retry);
        if ttl.is_zero() {
            return Err(RegistryError::Invalid("a TTL of 0 would expire every delivery at once".into()));
        }
        let longest = policy.span();
        if new.retry.is_some() && longest > ttl {
            let text = format!(
                "the retries take {longest:?}, longer than the TTL of {ttl:?}: the last ones never happen; want a longer \
                 TTL, or fewer or earlier retries"
            );
            return Err(RegistryError::Invalid(text));
        }
        Ok(Route {
            source: new.source.clone(),
            destination: new.destination.clone(),
            ttl_ms: new.ttl.map(millis),
            retry: new.retry.as_ref().map(Retry::of),
            paused: false,
            declared: None,
            declared_by: BTreeSet::new(),
            created_at: self.clock.now().wall,
        })
    }
}

/// A route without a policy of its own.
pub(super) fn plain_route(source: &Name, destination: &Name, created_at: Wall) -> Route {
    Route {
        source: source.clone(),
        destination: destination.clone(),
        ttl_ms: None,
        retry: None,
        paused: false,
        declared: None,
        declared_by: BTreeSet::new(),
        created_at,
    }
}

fn unknown_route(directory: &Directory, source: &Name, destination: &Name) -> RegistryError {
    let of_source = directory.routes.keys().filter(|(from, _)| from == source);
    let known: Vec<String> = of_source.map(|(from, to)| format!("{from} -> {to}")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    RegistryError::Unknown { kind: "route", name: format!("{source} -> {destination}"), known }
}
