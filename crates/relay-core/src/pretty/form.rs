//! A form with a field on each line, decoded; one that holds JSON, as GitHub and Slack send it, is indented below its name.

use std::ops::ControlFlow;

use super::{
    BodyFields, json,
    lines::{Sheet, Weight},
};

pub(super) fn is_form(text: &str, about: BodyFields<'_>) -> bool {
    if about.is("json") || about.is("xml") || about.is("multipart") || text.contains(char::is_whitespace) {
        return false;
    }
    let is_pair = |pair: &str| pair.contains('=') && !pair.starts_with('=');
    about.is("x-www-form-urlencoded") && is_pair(text)
        || text.contains('=') && text.contains('&') && text.split('&').all(is_pair)
}

pub(super) fn lay_out<'a>(text: &'a str, sheet: &mut Sheet<'a, '_>) {
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if sheet.is_enough() {
            return;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        sheet.push(Weight::Name, decoded(name));
        if value.starts_with(['{', '[']) && json::is_json(&value, true) {
            sheet.push(Weight::Mark, " =");
            sheet.next();
            below(&value, sheet);
        } else {
            sheet.push(Weight::Mark, " = ");
            sheet.push(Weight::Plain, value);
            sheet.next();
        }
    }
}

/// JSON that nobody else has: its lines are copied, a level deeper.
fn below(value: &str, sheet: &mut Sheet<'_, '_>) {
    let mut put = |line: super::Laid<'_>| {
        sheet.copy(&line, 1);
        if sheet.is_enough() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut inner = Sheet::new(&mut put);
    json::lay_out(value, &mut inner);
    inner.next();
}

/// `+` is a blank, `%2B` a plus.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()), byte) {
            (Some(value), _) => {
                out.push(value);
                at += 3;
                continue;
            }
            (None, b'+') => out.push(b' '),
            (None, other) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
