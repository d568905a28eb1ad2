//! Variables of the environment that were probably meant to be a setting. The environment is full of names that are not ours,
//! so this is worth a note and never a fault.

use super::settings::{SETTINGS, find};

/// What people put before the name of a setting.
const PREFIX: &str = "CRM_RELAY_";
/// Shorter names are too much alike for one slip to say anything.
const SLIP_BYTES_MIN: usize = 8;

/// A note for each of these names that is nearly a setting.
pub(crate) fn notes(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut notes: Vec<String> = names
        .into_iter()
        .filter_map(|name| {
            let meant = meant(&name)?;
            Some(format!("{name} in the environment is no setting; did you mean {meant}?"))
        })
        .collect();
    notes.sort();
    notes
}

/// The setting that a name was meant to be; `None` if it is one, or like none.
fn meant(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let (stem, file) = upper.strip_suffix("_FILE").map_or((upper.as_str(), ""), |stem| (stem, "_FILE"));
    if name == "CRM_RELAY_CONFIG" || (name == upper && find(stem).is_some()) {
        return None;
    }
    let stem = stem.strip_prefix(PREFIX).unwrap_or(stem);
    let plain = |text: &str| text.replace(['_', '-', '.'], "");
    let is_meant = |known: &str| {
        plain(known) == plain(stem) || (known.len() >= SLIP_BYTES_MIN && strsim::osa_distance(known, stem) == 1)
    };
    // Behind our own name nothing but a setting is meant: CRM_RELAY_PORT, CRM_RELAY_KEY.
    let is_ours = upper.starts_with(PREFIX) && !stem.is_empty();
    let is_end = |known: &str| is_ours && known.strip_suffix(stem).is_some_and(|before| before.ends_with('_'));
    let found = SETTINGS.iter().find(|setting| is_meant(setting.name));
    let found = found.or_else(|| SETTINGS.iter().find(|setting| is_end(setting.name)));
    found.map(|setting| format!("{}{file}", setting.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_a_setting_is_noted() {
        for (name, meant) in [
            ("SERVERPORT", Some("SERVER_PORT")),
            ("server_port", Some("SERVER_PORT")),
            ("CRM_RELAY_SERVER_PORT", Some("SERVER_PORT")),
            ("RELAY_TOKN", Some("RELAY_TOKEN")),
            ("RELAY_TOEKN_FILE", Some("RELAY_TOKEN_FILE")),
            ("SERVER_PORTT", Some("SERVER_PORT")),
            ("MAX_BODY_BYTE", Some("MAX_BODY_BYTES")),
            ("APIKEY", Some("API_KEY")),
            ("CRM_RELAY_PORT", Some("SERVER_PORT")),
            ("CRM_RELAY_KEY_FILE", Some("API_KEY_FILE")),
            ("LEASES", None),
            ("SERVER_PORT", None),
            ("RELAY_TOKEN_FILE", None),
            ("CRM_RELAY_CONFIG", None),
            ("CRM_RELAY_HOME", None),
            ("PATH", None),
            ("HTTPS_PROXY", None),
            ("NO_PROXY", None),
        ] {
            let expected: Vec<String> = meant
                .map(|meant| format!("{name} in the environment is no setting; did you mean {meant}?"))
                .into_iter()
                .collect();
            assert_eq!(notes([name.to_owned()]), expected);
        }
    }
}
