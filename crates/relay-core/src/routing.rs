//! Routing: which destinations a source leads to, and under which policy, and which of them a token may
//! serve. A snapshot; replaced whole when it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{delivery::retry::RetryPolicy, limits, name::Name};

/// All routes and destinations at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// The routes of each source; a source never is without one.
    pub routes: BTreeMap<Name, Vec<Route>>,
    /// Destinations that are paused: nothing of theirs is leased.
    pub paused: BTreeSet<Name>,
    /// TTL of what is redriven and whose route is gone or paused: the operator's own default.
    pub standard_ttl: Duration,
    /// When the failed deliveries of such a route are tried again.
    pub standard_retry: RetryPolicy,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
            paused: BTreeSet::new(),
            standard_ttl: limits::MESSAGE_TTL,
            standard_retry: RetryPolicy::default(),
        }
    }
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

/// Which destinations a token may serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Every destination.
    All,
    /// These.
    Only(BTreeSet<Name>),
}

impl Serves {
    /// Whether there is anything at all that a token that serves this may serve.
    pub fn any(&self) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => !names.is_empty(),
        }
    }

    /// Whether a token that serves this may serve `destination`.
    pub fn allows(&self, destination: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(destination),
        }
    }
}
