//! Sealing anew, with the newest key, what is stored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A step of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RekeyAsk {
    /// `next` of the step before; without it a pass begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RekeyDto {
    /// The number of the newest key; `null`: the server has none, and nothing was done.
    pub key: Option<u32>,
    /// Records that were looked at.
    pub read: u64,
    /// Those of them that were clear, or sealed with an older key.
    pub sealed: u64,
    /// Those that are as they were: they are damaged, or changed meanwhile.
    pub left: u64,
    /// Where the next step begins; `null`: this was the last one.
    pub next: Option<String>,
    /// Older keys that nothing is sealed with any more, once a pass has left nothing.
    pub retired: Vec<u32>,
}
