//! A route: from where to where, and how its deliveries are tried.

use std::time::Duration;

use relay_core::name::Name;

use crate::{pace::Pace, text};

/// A route, with the policy that holds.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteLine {
    /// From.
    pub source: Name,
    /// To.
    pub destination: Name,
    /// How long its deliveries wait.
    pub ttl: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Between them.
    pub pace: Pace,
    /// It makes no deliveries: the configuration file no longer declares it.
    pub paused: bool,
    /// Where the configuration file declares it.
    pub declared: Option<String>,
}

impl RouteLine {
    /// `7 d, 3 retries: after 1 s, then ×2 each`.
    pub(crate) fn policy(&self) -> String {
        text::policy(self.ttl, self.retries, &self.pace)
    }
}
