//! How a server is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DestinationDto;

/// `/health`; `reasons` only for those who may know them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthDto {
    /// `ok` or `degraded`.
    pub status: String,
    /// What the relay is called in messages of alerts; only for those who may know the reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// Of the server.
    pub version: String,
    /// What its store promises.
    pub store: StoreDto,
    /// Since the store was made.
    #[serde(flatten)]
    pub totals: TotalsDto,
    /// What is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
}

/// What a store promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreDto {
    /// Which it is.
    pub backend: String,
    /// How it makes a commit durable.
    pub durability: String,
    /// A killed process loses nothing.
    pub survives_kill: bool,
    /// A loss of power loses nothing.
    pub survives_power_loss: bool,
    /// It takes commits at the moment. One that is full does, for settling.
    #[serde(default)]
    pub commits: bool,
    /// When it answers one at the moment: `fsync`, once its disk has it.
    #[serde(default)]
    pub profile: String,
    /// The number of the key that what it stores is sealed with; it is not there where that is stored as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_with: Option<u32>,
}

/// Sums over all sources and destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TotalsDto {
    /// Accepted.
    pub webhooks_received: u64,
    /// Delivered.
    pub webhooks_processed: u64,
    /// Now dead or expired.
    pub webhooks_failed: u64,
    /// Tries after the first.
    pub webhooks_retried: u64,
    /// Ready, scheduled or leased.
    pub queue_depth: u64,
}

/// Everything that `crm-relay status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusDto {
    /// As `/health` has it.
    #[serde(flatten)]
    pub health: HealthDto,
    /// The server's process.
    pub pid: u32,
    /// Its public listener.
    pub public: String,
    /// It speaks TLS.
    pub tls: bool,
    /// A name under which it is asked, where it is under some alone.
    #[serde(default)]
    pub host: Option<String>,
    /// It hears nobody whom no proxy brings by the PROXY protocol.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Its admin listener.
    pub admin: Option<String>,
    /// How copies of its store stand; `null`: it takes none.
    #[serde(default)]
    pub backup: Option<BackupDto>,
    /// Under which URL senders reach it.
    pub public_url: Option<String>,
    /// For how long it has run.
    pub uptime_ms: u64,
    /// Of the newest event that is kept.
    pub last_received_at: Option<String>,
    /// How large the store is.
    pub store_bytes: u64,
    /// Room on its disk.
    pub disk_free_bytes: Option<u64>,
    /// There is no room.
    pub full: bool,
    /// What its sources took.
    pub sources: Vec<SourceCountsDto>,
    /// What waits where.
    pub destinations: Vec<DestinationDto>,
    /// The other servers that share the store.
    #[serde(default)]
    pub servers: Vec<ServerDto>,
    /// The latest requests that found nothing.
    pub missed: Vec<MissedDto>,
    /// What is worth a look although it works, in words.
    pub hints: Vec<String>,
}

/// How the copies that a server takes of its store stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupDto {
    /// Where they are.
    pub dir: String,
    /// When the newest was taken; `null`: there is none.
    pub newest_at: Option<String>,
    /// Where it is.
    pub path: Option<String>,
    /// Events in it.
    pub events: Option<u64>,
    /// Its length.
    pub bytes: Option<u64>,
    /// Why the latest could not be taken; `null`: it could.
    pub error: Option<String>,
}

/// Another server that shares the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerDto {
    /// The number of its run, another at each start.
    pub run: String,
    /// As its operator calls it; may be empty.
    pub name: String,
    /// Where senders and clients reach it.
    pub address: String,
    /// Of the program.
    pub version: String,
    /// How many clients it has.
    pub clients: usize,
    /// How far its clock is ahead of the store's; below zero: behind. `null`: it is not known.
    pub clock_ahead_ms: Option<i64>,
    /// What is to be the same at all servers is as it is here.
    pub same_configuration: bool,
}

/// A request that found no source, or nothing at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissedDto {
    /// When.
    pub at: String,
    /// Its method.
    pub method: String,
    /// How its path begins.
    pub path: String,
    /// From where: the address that a trusted proxy named, else that of the socket.
    pub peer: Option<String>,
    /// The trusted proxy at the socket that brought it; the same as `peer` where it named nobody.
    #[serde(default)]
    pub proxy: Option<String>,
    /// What it was answered.
    pub status: u16,
}

/// What a source took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceCountsDto {
    /// Its name.
    pub name: String,
    /// Events that were ever accepted.
    pub accepted: u64,
    /// Events that are kept.
    pub stored: u64,
    /// Events whose retention is over.
    pub retired: u64,
    /// Webhooks that were sent again.
    pub duplicates: u64,
}
