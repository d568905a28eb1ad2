//! How much came and went, by the minute.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The latest minutes, the oldest first; the last one is under way. Where there is `null`, nobody looked: the server was not there, or
/// its store did not answer. It begins anew with the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrendDto {
    /// When the first of them began.
    pub since: String,
    /// When this server began to count, where that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_since: Option<String>,
    /// Events that were accepted.
    pub accepted: Vec<Option<u64>>,
    /// Deliveries that targets took.
    pub delivered: Vec<Option<u64>>,
    /// Deliveries that this server ended without success.
    pub dead: Vec<Option<u64>>,
    /// Requests that sources refused at this server.
    pub refused: Vec<Option<u64>>,
}
