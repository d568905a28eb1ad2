//! Routes and destinations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// A route with the policy that holds: its own or the default one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteDto {
    /// From.
    pub source: String,
    /// To.
    pub destination: String,
    /// `MESSAGE_TTL` of its deliveries.
    pub ttl_ms: u64,
    /// How often they are tried again.
    pub max_retries: u32,
    /// Before the first retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_delay_ms: Option<u64>,
    /// From retry to retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_multiplier: Option<f64>,
    /// In place of these two: the delays themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule_ms: Vec<u64>,
    /// The configuration file no longer declares it.
    pub paused: bool,
    /// Where the configuration file declares it.
    pub declared: Option<String>,
    /// When it was made.
    pub created_at: String,
}

/// A route to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteAsk {
    /// From.
    pub source: String,
    /// To.
    pub destination: String,
    /// Its own `MESSAGE_TTL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Its own `MAX_RETRIES`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Its own `RETRY_DELAY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_delay_ms: Option<u64>,
    /// Its own `RETRY_MULTIPLIER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_multiplier: Option<f64>,
    /// In place of these two: the delays themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_ms: Option<Vec<u64>>,
}

/// What is to change of a route's policy; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyAsk {
    /// Its own `MESSAGE_TTL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Its own `MAX_RETRIES`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Its own `RETRY_DELAY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_delay_ms: Option<u64>,
    /// Its own `RETRY_MULTIPLIER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_multiplier: Option<f64>,
    /// In place of these two: the delays themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_ms: Option<Vec<u64>>,
}

/// A destination with what waits there and who serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationDto {
    /// Its name.
    pub name: String,
    /// Nothing of it is handed out.
    pub paused: bool,
    /// From where routes lead there.
    pub sources: Vec<String>,
    /// Deliveries that were ever made.
    pub created: u64,
    /// Deliveries by state.
    #[serde(with = "words::counts")]
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub deliveries: [u64; 7],
    /// For how long the oldest has been due.
    pub oldest_due_age_ms: Option<u64>,
    /// When the next one expires.
    pub next_expiry_at: Option<String>,
    /// How many client instances serve it, at whatever server.
    pub clients: usize,
    /// How many of them are at other servers that share the store.
    #[serde(default)]
    pub elsewhere: usize,
    /// No client gets through to the target.
    pub circuit_open: bool,
    /// Those clients that are at this server.
    pub instances: Vec<ClientDto>,
}

/// A client that serves a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientDto {
    /// Its instance.
    pub instance: String,
    /// As it calls itself.
    pub label: String,
    /// What let it in.
    pub token: String,
    /// From where it came; with `(long-poll)` behind it where requests carry its session, and no WebSocket.
    pub peer: String,
    /// Deliveries that it holds.
    pub held: u32,
    /// Deliveries that it may hold.
    pub slots: u32,
    /// It does not get through to the target.
    pub circuit_open: bool,
    /// Since when.
    pub open_since: Option<String>,
    /// When it tries again; `null`: a try is under way.
    pub next_try_at: Option<String>,
    /// Why it does not get through.
    pub error: Option<String>,
}
