//! Values that are never shown.

use std::fmt;

use relay_server::registry::secret::{ADMIN_PREFIX, KEY_PREFIX, TOKEN_PREFIX};

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

/// Ours begin with what they are; each with the setting it belongs to.
const PREFIXES: [(&str, &str, &str); 3] = [
    (KEY_PREFIX, "API_KEY", "an API key"),
    (TOKEN_PREFIX, "RELAY_TOKEN", "a client's token"),
    (ADMIN_PREFIX, "ADMIN_TOKEN", "the admin token"),
];

/// What a secret of ours is, if it is not one for this setting.
pub(crate) fn crossed(name: &str, text: &str) -> Option<String> {
    let (_, _, want) = PREFIXES.iter().find(|(_, setting, _)| *setting == name)?;
    let (prefix, _, what) =
        PREFIXES.iter().find(|(prefix, setting, _)| text.starts_with(prefix) && *setting != name)?;
    let (own, _, _) = PREFIXES.iter().find(|(_, setting, _)| *setting == name)?;
    Some(format!("this is {what} ({prefix}...); want {want} ({own}...)"))
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
    fn a_secret_in_the_place_of_another_is_named() {
        let said = crossed("RELAY_TOKEN", "crk_0123").expect("an API key is no token");
        assert!(said.contains("an API key") && said.contains("crt_") && !said.contains("0123"), "{said}");
        assert!(crossed("RELAY_TOKEN", "cra_0123").is_some() && crossed("API_KEY", "crt_0123").is_some());
        for (name, text) in
            [("RELAY_TOKEN", "crt_0123"), ("RELAY_TOKEN", "made-by-hand"), ("REDIS_PASSWORD", "crk_0123")]
        {
            assert_eq!(crossed(name, text), None, "{name}");
        }
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
