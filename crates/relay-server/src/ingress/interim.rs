//! Stands in for the verifier of `relay-providers` until that is merged.

use relay_providers::{Request, Verdict};

/// Judges requests of one source.
pub struct Verifier(pub Box<dyn Fn(&Request<'_>) -> Verdict + Send + Sync>);

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}
