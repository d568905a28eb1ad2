//! The digest under which a store knows a webhook again: made by the door, and by whoever looks one up by its sender's id.

use crate::secret;

/// Of the name of the key that proved it, its id, and what of its body belongs to that; what there is none of is empty.
pub(crate) fn of(key: &[u8], id: &[u8], body: &[u8]) -> [u8; 32] {
    let mut parts = Vec::with_capacity(id.len() + key.len() + body.len() + 24);
    for part in [key, id, body] {
        parts.extend_from_slice(&(part.len() as u64).to_be_bytes());
        parts.extend_from_slice(part);
    }
    secret::sha256(&parts)
}
