//! Routing: which destinations a source leads to, and under which policy. A snapshot; replaced whole when it changes.

use std::{collections::BTreeMap, time::Duration};

use crate::{delivery::retry::RetryPolicy, name::Name};

/// All routes and destinations at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// The routes of each source; a source never is without one.
    pub routes: BTreeMap<Name, Vec<Route>>,
    /// Destinations that are paused: nothing of theirs is leased.
    pub paused: std::collections::BTreeSet<Name>,
}

/// Source to destination; owns retry policy and TTL.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Where it leads.
    pub destination: Name,
    /// `MESSAGE_TTL` of its deliveries.
    pub ttl: Duration,
    /// When its failed deliveries are tried again.
    pub retry: RetryPolicy,
}

impl Routing {
    /// The route from `source` to `destination`, if it still exists.
    pub fn route(&self, source: &Name, destination: &Name) -> Option<&Route> {
        self.routes.get(source)?.iter().find(|route| route.destination == *destination)
    }
}
