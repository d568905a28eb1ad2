//! What goes over the wire of the admin API, both ways: the server writes it, the command line reads it.
//!
//! Times are RFC 3339 in UTC, spans end in `_ms`. What is asked refuses fields that it does not know, so that a slip is
//! noticed; what is answered may have more of them in a later version. `docs/reference/admin-api.md` describes it.

mod bulk;

pub use self::bulk::{BulkAsk, BulkDto, ReplayAsk};

/// For members that are left out where they say nothing.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}
