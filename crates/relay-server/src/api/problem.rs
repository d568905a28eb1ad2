//! What is answered where something was not done.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem document (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ProblemDto {
    /// Of the status.
    pub title: String,
    /// As in the head.
    pub status: u16,
    /// A stable word for what was wrong.
    pub code: String,
    /// What was wrong, and what would be right.
    pub detail: String,
}
