//! What people write as the value of a setting: one line, a number, a port.

use relay_core::limits;
use relay_providers::pasted;

/// A whole number in this range.
pub(super) fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(format!("want a whole number from {min} to {max}")),
    }
}

/// A number of at least 1.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (1.0..=limits::RETRY_MULTIPLIER_MAX).contains(&value) => Ok(value),
        _ => Err(format!("want a number from 1 to {}, like 2.0", limits::RETRY_MULTIPLIER_MAX)),
    }
}

/// A port; 0 takes any.
pub(super) fn port(text: &str) -> Result<u64, String> {
    number(text, 0, u64::from(u16::MAX)).map_err(|want| match text.rsplit_once(':') {
        Some((before, _)) if before.contains("//") => format!("{want}, not a URL"),
        Some(_) => format!("{want}; the address goes into SERVER_HOST"),
        None => want,
    })
}

/// Other words for the same.
pub(super) fn synonym(word: &str) -> &str {
    if word.eq_ignore_ascii_case("warning") { "warn" } else { word }
}

/// A value of one line, without quotes and a `NAME=` around it.
pub(super) fn plain<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    let mut value = pasted::trimmed(text);
    if let Some((_, inner)) = pasted::assigned(value).filter(|(given, _)| *given == name) {
        value = inner;
    }
    value = pasted::unquoted(value).unwrap_or(value);
    if value.contains(char::is_control) || value.contains('\u{fffd}') {
        return Err(
            "holds a line break, another control character, or bytes that are not UTF-8; leave them out".to_owned()
        );
    }
    Ok(value)
}
