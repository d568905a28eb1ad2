//! Any parameters of a source, and of a signer: keys in hex, base64, PEM and DER, durations, names of header fields. The
//! provider's name and each `name=value` end with a NUL, so that values may have lines.

use relay_providers::{Signer, Verifier};

/// Makes both sides; either there is one, or it is said what is wrong.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut parts = text.split('\0');
    let Some(provider) = parts.next() else { return };
    let pairs: Vec<(String, String)> = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Err(faults) = Verifier::new(provider, &pairs) {
        assert!(!faults.is_empty());
    }
    if let Err(faults) = Signer::new(provider, &pairs) {
        assert!(!faults.is_empty());
    }
}
