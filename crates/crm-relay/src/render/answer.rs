//! What a target said with its refusal, in few words and in full.
//!
//! The words are a target's: all of them pass [`visible`] or the rendering of bodies, which do the same.

use serde_json::Value;

use super::{
    body::{self, About, SHOWN_MAX},
    style,
    visible::visible,
};

/// Characters of an answer in a list.
const GIST_MAX: usize = 60;
/// Members of a JSON object that say what is wrong, the best first.
const SAYS: [&str; 6] = ["detail", "message", "error_description", "error", "title", "reason"];

/// An attempt's answer in a few words, after its status; empty if it has none.
pub(crate) fn gist(attempt: &Value) -> String {
    let Some(answer) = attempt.get("answer").filter(|answer| !answer.is_null()) else { return String::new() };
    let said = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default();
    let words = match (said("location"), said("body"), said("reason")) {
        ("", "", reason) => reason.to_owned(),
        ("", body, _) => essence(body),
        (location, ..) => format!("-> {location}"),
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(GIST_MAX) {
        Some((end, _)) => format!("{}...", visible(&words[..end])),
        None => visible(&words).into_owned(),
    }
}

/// An attempt's answer in full, as lines below its delivery; none if it has none.
pub(crate) fn lines(attempt: &Value) -> Vec<String> {
    let Some(answer) = attempt.get("answer").filter(|answer| !answer.is_null()) else { return Vec::new() };
    let said = |field: &str| answer.get(field).and_then(Value::as_str);
    let fields = [("reason", said("reason")), ("location", said("location"))];
    let mut lines: Vec<String> = fields
        .into_iter()
        .filter_map(|(name, text)| Some(format!("{}  {}", style::dim(format!("{name:<8}")), visible(text?))))
        .collect();
    if let Some(text) = said("body") {
        lines.extend(body::lines(text.as_bytes(), About::default(), SHOWN_MAX));
    }
    if answer.get("cut") == Some(&Value::Bool(true)) {
        lines.push(style::dim("(there was more, or it broke off; at most 2 KiB are kept)"));
    }
    lines
}

/// What a body says: the telling member of a JSON object, the text of a page.
fn essence(body: &str) -> String {
    if let Ok(Value::Object(members)) = serde_json::from_str(body)
        && let Some(text) = SAYS.iter().find_map(|name| members.get(*name)?.as_str())
    {
        return text.to_owned();
    }
    if !body.trim_start().starts_with('<') {
        return body.to_owned();
    }
    let mut text = String::new();
    for part in body.split('<') {
        let (_, behind) = part.split_once('>').unwrap_or(("", part));
        text.push(' ');
        text.push_str(behind);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_says_what_is_wrong_in_a_few_words() {
        let gist = |answer: Value| gist(&json!({"status": 422, "answer": answer}));
        assert_eq!(gist(json!({"body": "{\"error\": {}, \"message\": \"no such customer\"}"})), "no such customer");
        assert_eq!(gist(json!({"body": "[1,\n 2]"})), "[1, 2]");
        assert_eq!(gist(json!({"body": "<html><title>403</title>\n<p>CSRF  failed</p>"})), "403 CSRF failed");
        assert_eq!(gist(json!({"body": "<a", "location": "/hooks/"})), "-> /hooks/");
        assert_eq!(gist(json!({"reason": "Not Today", "body": null})), "Not Today");
        assert_eq!(gist(json!(null)), "");
        assert_eq!(gist(json!({"body": "é".repeat(70)})), format!("{}...", "é".repeat(60)));
        assert_eq!(super::gist(&json!({"status": 422})), "");
    }

    /// S27: a target cannot steer the terminal of whoever looks.
    #[test]
    fn the_words_of_a_target_are_shown_and_not_obeyed() {
        let attempt = json!({"answer": {"body": "a\u{1b}[2J\nb\u{202e}", "location": "/\u{9b}2J", "reason": "\u{7f}"}});
        let shown = [lines(&attempt).join("\n"), gist(&attempt)].concat();
        assert!(!shown.contains(['\u{9b}', '\u{7f}', '\u{202e}']) && !shown.contains("\u{1b}[2J"), "{shown:?}");
        assert!(shown.contains("\\u{9b}2J") && shown.contains("\\u{1b}[2J"), "{shown:?}");
    }
}
