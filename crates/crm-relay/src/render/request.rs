//! A request as a person reads it.

use std::fmt::Write as _;

use http::{HeaderMap, Method, StatusCode, Uri};

use super::style;

/// Longest part of a body that is shown.
const BODY_SHOWN_MAX: usize = 4 * 1024;
/// Longest value of a header that is shown.
const VALUE_SHOWN_MAX: usize = 400;

/// What came and what was answered.
pub(crate) struct Seen<'a> {
    /// When, for the reader.
    pub(crate) clock: &'a str,
    /// How many came before, and this one.
    pub(crate) number: u64,
    /// Method.
    pub(crate) method: &'a Method,
    /// Path and query.
    pub(crate) uri: &'a Uri,
    /// Headers.
    pub(crate) headers: &'a HeaderMap,
    /// Body.
    pub(crate) body: &'a [u8],
    /// The answer.
    pub(crate) status: StatusCode,
}

/// A request with its headers and the beginning of its body. Nothing in it can move the cursor or fake a line.
pub(crate) fn describe(seen: &Seen<'_>) -> String {
    let status = if seen.status.is_success() { style::good(seen.status) } else { style::bad(seen.status) };
    let target = seen.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut text = format!(
        "{} {} {} {} {status}\n",
        style::dim(format!("#{} {}", seen.number, seen.clock)),
        style::bold(seen.method),
        style::bold(visible(target.as_bytes(), VALUE_SHOWN_MAX)),
        style::dim("->"),
    );
    for (name, value) in seen.headers {
        let value = visible(value.as_bytes(), VALUE_SHOWN_MAX);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} {value}", style::dim(format!("{name}:")));
    }
    if seen.body.is_empty() {
        text.push_str(&style::dim("  (no body)\n"));
    } else {
        for line in body_text(seen.body).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// JSON indented, other text as it is, the rest as a count of bytes.
fn body_text(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        return style::dim(format!("({} bytes that are not text)", body.len()));
    };
    let pretty = (body.len() <= BODY_SHOWN_MAX)
        .then(|| serde_json::from_str::<serde_json::Value>(text).ok())
        .flatten()
        .filter(|value| value.is_object() || value.is_array())
        .and_then(|value| serde_json::to_string_pretty(&value).ok());
    let shown: String = pretty.as_deref().unwrap_or(text).chars().take(BODY_SHOWN_MAX).collect();
    let lines: Vec<String> = shown.lines().map(|line| visible(line.as_bytes(), BODY_SHOWN_MAX)).collect();
    let mut out = lines.join("\n");
    if text.len() > BODY_SHOWN_MAX && pretty.is_none() {
        let _ = write!(out, "\n{}", style::dim(format!("... {} bytes in all", body.len())));
    }
    out
}

/// S27: control characters are escaped, so that a payload cannot steer the terminal.
fn visible(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == max {
            out.push_str("...");
            break;
        }
        match character {
            '\t' => out.push(character),
            c if c.is_control() || is_direction(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Characters that turn the direction of a text round.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: what a sender wrote cannot steer the terminal of whoever reads it.
    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(visible(b"a\x1b[31mb\nc", 100), "a\\u{1b}[31mb\\u{a}c");
        assert_eq!(visible("a\u{202e}b".as_bytes(), 100), "a\\u{202e}b");
        assert_eq!(visible(b"abcdef", 3), "abc...");
    }

    #[test]
    fn a_body_of_json_is_indented_and_an_odd_one_is_counted() {
        assert_eq!(body_text(br#"{"b":1,"a":[2]}"#).lines().count(), 6);
        assert_eq!(body_text(b"a=b&c=d"), "a=b&c=d");
        assert!(body_text(&[0xff, 0xfe]).contains("2 bytes"));
        assert!(body_text("x".repeat(5_000).as_bytes()).contains("5000 bytes in all"));
    }
}
