//! An API key, as far as anybody knows it but who has it.

use relay_core::{name::Name, time::Wall};

/// An API key of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// Of which source.
    pub source: Name,
    /// Who uses it.
    pub name: Name,
    /// How it begins.
    pub prefix: String,
    /// When it was made.
    pub created_at: Wall,
    /// When it last proved a request; of this server, since it began.
    pub used_at: Option<Wall>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<Wall>,
}
