//! What the last try of a delivery came to, in the words that screens show: those that an operator copies to select it.
//!
//! Screens cut words at their edge, wrap them, put numbers and ids together as `#`, and show an answer by what is telling
//! in it. So words are compared in any case and without spaces, with each form in which a screen has them.

use std::fmt;

use http::StatusCode;
use relay_core::delivery::{Delivery, alike::without_details, answer::Answer};
use serde_json::Value;

/// Words that are looked for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Words {
    text: String,
    bare: String,
    /// They are from a summary: in place of each number or id stands `#`, and of what was quoted `…`.
    likened: bool,
}

impl Words {
    /// As somebody wrote or copied them.
    pub(super) fn new(text: &str) -> Self {
        let whole = text.trim();
        let whole = whole.strip_suffix("...").unwrap_or(whole);
        let likened = whole.contains(['#', '…']) && !whole.bytes().any(|byte| byte.is_ascii_digit());
        Self { text: text.to_owned(), bare: bare(whole), likened }
    }

    /// Whether nothing is left to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.bare.is_empty()
    }

    /// Whether a screen shows them of the delivery's last try.
    pub(super) fn are_of(&self, delivery: &Delivery) -> bool {
        let Some(last) = &delivery.last else { return false };
        let mut said: Vec<String> = last.error.iter().map(ToString::to_string).collect();
        said.extend(last.answer.as_deref().map(told).unwrap_or_default());
        if let Some(status) = last.status {
            let usual = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            let told = said.iter().map(String::as_str).chain(usual).chain([""]);
            let lines: Vec<String> = told.map(|words| format!("HTTP {status} {words}")).collect();
            said.extend(lines);
        }
        said.iter().any(|said| self.stand_in(said))
    }

    fn stand_in(&self, said: &str) -> bool {
        bare(said).contains(&self.bare) || (self.likened && bare(&without_details(said)).contains(&self.bare))
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// Everything that a screen may show of an answer.
fn told(answer: &Answer) -> Vec<String> {
    let mut said: Vec<String> = answer.reason.iter().map(ToString::to_string).collect();
    said.extend(answer.location.iter().map(|location| format!("-> {location}")));
    let Some(body) = answer.body.as_deref() else { return said };
    said.push(body.to_owned());
    match serde_json::from_str::<Value>(body) {
        Ok(value) => {
            said.push(value.to_string());
            texts(&value, &mut said);
        }
        Err(_) if body.trim_start().starts_with('<') => {
            let behind = |part: &str| part.split_once('>').map_or(part, |(_, text)| text).to_owned();
            said.push(body.split('<').map(behind).collect());
        }
        Err(_) => {}
    }
    said
}

/// The texts in a JSON value, unescaped. How deep it is, its reader has bounded.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// In any case, without spaces, marks that are beyond ASCII, and what would steer a terminal, for which screens have
/// `\u{1b}`.
fn bare(text: &str) -> String {
    let (begin, rest) = text.split_once("\\u{").unwrap_or((text, ""));
    let behind = |part: &str| part.split_once('}').map_or(part, |(_, rest)| rest).to_owned();
    let escaped = if rest.is_empty() { String::new() } else { rest.split("\\u{").map(behind).collect() };
    let is_kept = |c: &char| c.is_ascii_graphic() || c.is_alphanumeric();
    begin.chars().chain(escaped.chars()).filter(is_kept).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_summary_shows_stands_in_what_it_is_of() {
        let error = "422 Unprocessable Entity: order 4711";
        for words in ["# Unprocessable Entity", "# Unprocessable E…", "unprocessable", "ORDER 4711", "order #", error]
        {
            assert!(Words::new(words).stand_in(error), "{words}");
        }
        for words in ["order 4712", "# Entity", "order #4711", "order # of 4711"] {
            assert!(!Words::new(words).stand_in(error), "{words}");
        }
        assert!(!Words::new("order #18").stand_in("order #17"), "a number is that number");
        assert!(Words::new(" … ").is_empty());
        let quoted = "no such customer \"Ada\" in shop 7";
        for words in ["no such customer \"…\" in shop #", "customer \"…\""] {
            assert!(Words::new(words).stand_in(quoted), "{words}");
        }
    }

    #[test]
    fn what_a_list_shows_of_an_answer_stands_in_it() {
        let stands = |answer: Answer, words: &str| told(&answer).iter().any(|said| Words::new(words).stand_in(said));
        let body = |text: &str| Answer { body: Some(text.into()), ..Answer::default() };
        let json = body(r#"{"error":{},"message":"no \"such\" caf\u00e9","code":7}"#);
        let steering = body("a\u{1b}[2J\u{202e}b");
        assert!(stands(steering.clone(), "a\\u{1b}[2J\\u{202e}b") && stands(steering, "[2Jb"));
        for words in ["no \"such\" café", "no \"such\" ca…", "no \"such\" ca...", "\"code\": 7", "NO \"SUCH\""] {
            assert!(stands(json.clone(), words), "{words}");
        }
        assert!(stands(body("<html><title>403</title>\n<p>CSRF  failed</p>"), "403 CSRF failed"));
        assert!(stands(Answer { location: Some("/hooks/".into()), ..Answer::default() }, "-> /hooks/"));
        assert!(stands(Answer { reason: Some("Not Today".into()), ..Answer::default() }, "Not Today"));
        assert!(!stands(json, "none such"));
    }
}
