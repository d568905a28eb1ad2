//! Values that are never shown.

use std::{fmt, path::Path};

use relay_providers::{ADMIN_PREFIX, Given, KEY_PREFIX, TOKEN_PREFIX, own_secret, pasted};

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

/// A secret of ours that was given for a setting, without what editors, shells and web pages put around it.
///
/// # Errors
/// What is wrong with it, without the value.
pub(crate) fn read(name: &str, text: &str) -> Result<String, String> {
    if pasted::trimmed(text).contains('/') && Path::new(pasted::trimmed(text)).is_file() {
        return Err(format!(
            "is the path of a file; want {name}_FILE in the environment, or {{ file = \"PATH\" }} in the file"
        ));
    }
    let value = own_secret(name, text)?;
    if let Some(crossed) = crossed(name, value) {
        return Err(crossed);
    }
    if SAMPLES.contains(&value.to_ascii_lowercase().as_str()) {
        return Err("stands in an example".to_owned());
    }
    Ok(value.to_owned())
}

/// A secret that a target shares, as [`relay_client::Resigner`] takes it: its shape shows what is around it.
pub(crate) fn of_resigning(text: &str) -> String {
    let given = Given::read("standard-webhooks", &[("secret".to_owned(), text.to_owned())]);
    let cleaned = given.ok().and_then(|given| given.parameters.into_iter().next());
    cleaned.map_or_else(|| pasted::trimmed(text).to_owned(), |(_, value)| value)
}

/// What a target wants to see in the field `name`, out of a file of its own. It may be nearly anything; what no field of HTTP
/// begins with is refused, and can still be written into the configuration file itself.
///
/// # Errors
/// What is wrong with it, without the value.
pub(crate) fn of_target(name: &str, text: &str) -> Result<String, String> {
    let text = pasted::trimmed(text);
    let value = text.split_once(':').filter(|(field, _)| field.trim().eq_ignore_ascii_case(name));
    let value = value.map_or(text, |(_, value)| pasted::trimmed(value));
    if pasted::unquoted(value.trim_end_matches([',', ';'])).is_some() {
        return Err("stands in quotes there: leave them out of the file".to_owned());
    }
    if let Some((at, hidden)) = pasted::hidden(value) {
        let code = u32::from(hidden);
        return Err(format!("holds an invisible character (U+{code:04X}) after {at} others: copy it as plain text"));
    }
    if let Some((variable, _)) = pasted::assigned(value).filter(|(name, _)| name.len() > 2 && pasted::is_variable(name))
    {
        return Err(format!("the file has {variable}= before the value: leave that out"));
    }
    filled_in(value).map(str::to_owned)
}

/// A value that is sent as it stands: not empty, and no place that somebody was to fill in.
///
/// # Errors
/// What is wrong with it, without the value.
pub(crate) fn filled_in(value: &str) -> Result<&str, String> {
    if value.trim().is_empty() {
        return Err("is empty; leave the line out".to_owned());
    }
    let mut rest = value;
    while let Some((_, inner)) = rest.split_once("${") {
        if let Some((word, _)) = inner.split_once('}')
            && pasted::is_placeholder(&format!("${{{word}}}"))
        {
            return Err(format!("${{{word}}} is not expanded here; a value that begins with @ is read from that file"));
        }
        rest = inner;
    }
    if pasted::is_placeholder(value) {
        return Err(
            "is a placeholder that nobody filled in; a value that begins with @ is read from that file".to_owned()
        );
    }
    Ok(value)
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
    fn samples_and_paths_are_refused() {
        for bad in
            ["", "changeme", "CHANGE-ME-TO-A-LONG-SECRET", "your-api-key", "fifteen-letters", "crt_0123456789abcdef"]
        {
            assert!(read("API_KEY", bad).is_err(), "{bad}");
        }
        assert!(read("API_KEY", &"x".repeat(20)).is_err());
        assert_eq!(read("API_KEY", "\"sixteen-letters!\""), Ok("sixteen-letters!".to_owned()));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read("API_KEY", &file.path().display().to_string()).is_err_and(|said| said.contains("API_KEY_FILE")));
    }

    /// S27: what a target wants to see is its own; what no field of HTTP holds is refused and not shown.
    #[test]
    fn a_field_of_a_target_is_read_out_of_its_file() {
        for (given, want) in [
            ("Bearer abc\r\n", "Bearer abc"),
            ("Authorization: Bearer abc", "Bearer abc"),
            ("\u{feff}a b=c", "a b=c"),
            ("W/\"abc\"", "W/\"abc\""),
        ] {
            assert_eq!(of_target("Authorization", given), Ok(want.to_owned()), "{given}");
        }
        for (given, want) in [
            ("\"canary\"", "quotes"),
            ("TOKEN=canary", "TOKEN="),
            ("export TOKEN='canary'", "TOKEN="),
            ("Bearer ${TOKEN}", "${TOKEN} is not expanded"),
            ("", "empty"),
        ] {
            assert!(
                of_target("X-Token", given).is_err_and(|said| said.contains(want) && !said.contains("canary")),
                "{given}"
            );
        }
        let secret = format!("whsec_{}", "QUJD".repeat(8));
        for given in [format!("{secret}\n"), format!("'{secret}'"), format!("RESIGN_SECRET=\"{secret}\"")] {
            assert_eq!(of_resigning(&given), secret, "{given}");
        }
    }
}
