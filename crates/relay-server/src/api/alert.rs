//! Alerts, and what they are told of.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who is told when something is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertDto {
    /// Its name.
    pub name: String,
    /// How somebody is told: `standard-webhooks`, `slack`, `teams`, `pagerduty` or `command`.
    pub format: String,
    /// The host that is asked, or the program; never the whole URL.
    pub to: String,
    /// Of which kinds; empty: all.
    pub kinds: Vec<String>,
    /// From which severity on: `info`, `warning` or `critical`.
    pub severity: String,
    /// Messages that arrived since the server started.
    pub told: u64,
    /// Messages that were given up since then.
    pub untold: u64,
    /// Messages that wait or are being sent.
    pub waiting: u64,
    /// When one last arrived.
    pub told_at: Option<String>,
    /// Why the latest try failed; `null`: it did not.
    pub error: Option<String>,
}

/// Something that is not as it should be, or was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConditionDto {
    /// What kind: `dead_letters`, `no_client` and so on.
    pub kind: String,
    /// Of which destination, source or alert; `null`: of the server or its store.
    pub subject: Option<String>,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// In words.
    pub words: String,
    /// How many, where that is counted.
    pub count: u64,
    /// Since when.
    pub since: String,
    /// Until when; `null`: it is so now.
    pub over_at: Option<String>,
    /// It comes and goes.
    pub flapping: bool,
    /// The alerts that are for it.
    pub alerts: Vec<String>,
}
