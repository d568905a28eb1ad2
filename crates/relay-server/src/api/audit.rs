//! The recount, and lines of the audit log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The recount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditDto {
    /// Both sums hold, the count is what the counters say, and nothing is known to be damaged.
    pub ok: bool,
    /// By source.
    pub events: Vec<AuditEventsDto>,
    /// By destination.
    pub deliveries: Vec<AuditDeliveriesDto>,
    /// Stretches of time of which something is missing or may be.
    pub unknown: Vec<GapDto>,
    /// Records known to be damaged, be it from an earlier run: they are counted above, and cannot be used.
    pub damaged: u64,
}

/// A stretch of time of which something is missing or may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GapDto {
    /// `restored`, `accepted` or `unvouched`.
    pub why: String,
    /// From then on.
    pub since: String,
    /// Until then.
    pub until: String,
    /// At most; `null`: nothing is left to tell.
    pub commits: Option<u64>,
    /// At most; `null`: nothing is left to tell.
    pub events: Option<u64>,
}

/// The events of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEventsDto {
    /// Of this source.
    pub source: String,
    /// Ever accepted.
    pub accepted: u64,
    /// Counted now.
    pub stored: u64,
    /// Whose retention is over.
    pub retired: u64,
}

/// The deliveries of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditDeliveriesDto {
    /// Of this destination.
    pub destination: String,
    /// Ever made.
    pub created: u64,
    /// Counted now.
    pub ready: u64,
    /// Counted now.
    pub scheduled: u64,
    /// Counted now.
    pub leased: u64,
    /// Counted now.
    pub delivered: u64,
    /// Counted now.
    pub dead: u64,
    /// Counted now.
    pub expired: u64,
    /// Counted now.
    pub cancelled: u64,
    /// Whose retention is over, or that were purged.
    pub retired: u64,
    /// Whose loss an operator accepted.
    pub lost: u64,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLineDto {
    /// When.
    pub at: String,
    /// `cli`, `admin`, `config`, `sender`, `server`, `stranger` or `user:NAME`.
    pub who: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// From where; `null` where nobody asked.
    pub origin: Option<OriginDto>,
}

/// From where somebody asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OriginDto {
    /// The other end of the socket.
    pub peer: Option<String>,
    /// Of the user who opened the admin socket, as the system knows it.
    pub uid: Option<u32>,
    /// The name of what let it in.
    pub credential: Option<String>,
    /// Who it said it is; nobody checked that.
    pub claimed_user: Option<String>,
}
