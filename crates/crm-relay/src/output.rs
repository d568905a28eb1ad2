//! What commands print: results to standard output, all else to standard error. Lines and colours are ours; nothing else in
//! it steers the terminal.

use std::io::Write as _;

use serde_json::Value;

use crate::{
    exit::Failure,
    render::{
        style,
        visible::{safe, safe_json},
        wrap,
    },
};

/// Prints a result. Lines and colours are ours; nothing else in it steers the terminal.
///
/// # Errors
/// Standard output is gone.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}", safe(text))?;
    Ok(out.flush()?)
}

/// Prints sentences: on a terminal they are broken between words.
///
/// # Errors
/// Standard output is gone.
pub(crate) fn tell(text: &str) -> Result<(), Failure> {
    print(&wrap::results(text))
}

/// Says something beside the result.
pub(crate) fn say(text: &str) {
    anstream::eprintln!("{}", safe(&wrap::beside(text)));
}

/// Says why a command did not do what was asked.
pub(crate) fn failed(text: &str) {
    say(&format!("{}{text}", style::error("crm-relay: ")));
}

/// JSON for people and scripts alike.
pub(crate) fn pretty(value: &Value) -> String {
    safe_json(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()))
}

/// The same on one line.
pub(crate) fn compact(value: &Value) -> String {
    safe_json(&value.to_string())
}
