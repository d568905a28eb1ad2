//! A request as a person reads it.

use std::fmt::Write as _;

use http::{HeaderMap, Method, StatusCode};
use relay_core::pretty::BodyFields;

use super::{body, style, visible::visible_bytes as visible};

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
    /// Path and query, as they came.
    pub(crate) target: &'a [u8],
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
    let mut text = format!(
        "{} {} {} {} {status}\n",
        style::dim(format!("#{} {}", seen.number, seen.clock)),
        style::bold(seen.method),
        style::bold(visible(seen.target, VALUE_SHOWN_MAX)),
        style::dim("->"),
    );
    for (name, value) in seen.headers {
        let value = visible(value.as_bytes(), VALUE_SHOWN_MAX);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} {value}", style::dim(format!("{name}:")));
    }
    let fields = seen.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    for line in body::lines(seen.body, BodyFields::of(fields), body::SHOWN_MAX) {
        let _ = writeln!(text, "  {line}");
    }
    text
}
