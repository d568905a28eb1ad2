//! Whether what proved an event proves it still.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event judged again, by the secrets that its source has now; its age refutes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictDto {
    /// Of which event.
    pub event_id: String,
    /// `genuine`: its proof holds; `refused`: it does not, for a secret was replaced since or the event is not what came; `unknown`: there is
    /// nothing to judge it by.
    pub verdict: String,
    /// Of one that is genuine: `present`, or `old` where its secret is being replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Of one that is refused the check, as `bad_signature`; of one that is unknown why: `erased`, `no_source`, `source_broken`, `not_kept`
    /// (its source takes a key, password or token for proof), `key_fetched`, `handshake`, `body_unread` (signed decoded, and over 4 MiB then or not
    /// to be decoded), `age` (the time in it is apart from that at which it came).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The named API key that proved it when it came; `null`: `API_KEY`, or no key at all.
    pub key: Option<String>,
    /// When it was received.
    pub received_at: String,
}
