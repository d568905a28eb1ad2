//! Values that are never shown.

use std::fmt;

/// Values of our own examples, beside those of others that the providers' crate knows.
const SAMPLES: &[&str] = &[
    "change-me-to-a-long-secret",
    "replace-with-a-secret",
    "replace-me-with-a-secret",
    "your-relay-token-here",
    "your-admin-token-here",
    "secretsecretsecret",
    "passwordpassword",
];

/// A value whose `Debug` and `Display` print `redacted`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub(crate) fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// Whether `text` may serve as a secret of ours.
///
/// # Errors
/// What is wrong with it, without the value.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let is_sample = SAMPLES.contains(&text.to_ascii_lowercase().as_str());
    let fault = if is_sample { Some("stands in an example") } else { relay_providers::secret_fault(text) };
    fault.map_or(Ok(()), |fault| Err(fault.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: a secret that slips into a log line or a panic shows nothing.
    #[test]
    fn a_secret_prints_redacted() {
        let secret = Secret::new("crk_very-secret-value");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "redacted redacted Some(redacted)");
    }

    #[test]
    fn short_samples_and_odd_characters_are_refused() {
        for bad in [
            "",
            "changeme",
            "CHANGE-ME-TO-A-LONG-SECRET",
            "your-api-key",
            "fifteen-letters",
            " a space at its start",
            "ümlaut-ümlaut-ümlaut",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&"xy".repeat(129)).is_err() && check(&"x".repeat(20)).is_err());
        assert_eq!(check("sixteen-letters!"), Ok(()));
    }
}
