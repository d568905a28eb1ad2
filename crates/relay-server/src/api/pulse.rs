//! The numbers that say that something has moved.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What has moved, without a row of it: whoever shows some reads them anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PulseDto {
    /// Events ever accepted, of all sources.
    pub accepted: u64,
    /// By name; the first of them, where there are very many.
    pub sources: Vec<SourcePulseDto>,
    /// By name; the first of them, where there are very many.
    pub destinations: Vec<DestinationPulseDto>,
    /// Sources and destinations that are not among those.
    pub left_out: u64,
    /// Tries ever reported, at all destinations.
    pub tries: u64,
    /// Things that are not as they should be.
    pub reasons: u64,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourcePulseDto {
    /// Its name.
    pub name: String,
    /// Events ever accepted.
    pub accepted: u64,
    /// Requests refused since the server started.
    pub refused: u64,
}

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationPulseDto {
    /// Its name.
    pub name: String,
    /// Deliveries that are ready, scheduled or leased.
    pub waiting: u64,
    /// Leased ones of those.
    pub leased: u64,
    /// Delivered ones that are kept.
    pub delivered: u64,
    /// Dead and expired ones.
    pub dead: u64,
    /// Clients that serve it.
    pub clients: u64,
    /// A circuit is open there.
    pub circuit_open: bool,
}
