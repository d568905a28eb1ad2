//! What a target said with its refusal, in few words and in full.
//!
//! The words are a target's: all of them pass [`visible`] or the rendering of bodies, which do the same.

use relay_core::pretty::BodyFields;
use relay_server::api::AnswerDto;
use serde_json::Value;

use super::{
    body::{self, SHOWN_MAX},
    style,
    visible::visible,
};

/// Characters of an answer in a list.
const GIST_MAX: usize = 60;
/// Members of a JSON object that say what is wrong, the best first.
const SAYS: [&str; 6] = ["detail", "message", "error_description", "error", "title", "reason"];

/// An answer in a few words, after its status; empty if it has none.
pub(crate) fn gist(answer: Option<&AnswerDto>) -> String {
    let Some(answer) = answer else { return String::new() };
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let words = match (said(&answer.location).as_str(), said(&answer.body).as_str()) {
        ("", "") => said(&answer.reason),
        ("", body) => essence(body),
        (location, _) => format!("-> {location}"),
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(GIST_MAX) {
        Some((end, _)) => format!("{}...", visible(&words[..end])),
        None => visible(&words).into_owned(),
    }
}

/// An answer in full, as lines below its delivery; none if it has none.
pub(crate) fn lines(answer: Option<&AnswerDto>) -> Vec<String> {
    let Some(answer) = answer else { return Vec::new() };
    let fields = [("reason", &answer.reason), ("location", &answer.location)];
    let mut lines: Vec<String> = fields
        .into_iter()
        .filter_map(|(name, text)| Some(format!("{}  {}", style::dim(format!("{name:<8}")), visible(text.as_ref()?))))
        .collect();
    if let Some(text) = &answer.body {
        lines.extend(body::lines(text.as_bytes(), BodyFields::default(), SHOWN_MAX));
    }
    if answer.cut {
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
    use super::*;

    fn body(text: &str) -> AnswerDto {
        AnswerDto { body: Some(text.to_owned()), ..AnswerDto::default() }
    }

    #[test]
    fn a_list_says_what_is_wrong_in_a_few_words() {
        let of = |answer: AnswerDto| gist(Some(&answer));
        assert_eq!(of(body("{\"error\": {}, \"message\": \"no such customer\"}")), "no such customer");
        assert_eq!(of(body("[1,\n 2]")), "[1, 2]");
        assert_eq!(of(body("<html><title>403</title>\n<p>CSRF  failed</p>")), "403 CSRF failed");
        assert_eq!(of(AnswerDto { location: Some("/hooks/".into()), ..body("<a") }), "-> /hooks/");
        assert_eq!(of(AnswerDto { reason: Some("Not Today".into()), ..AnswerDto::default() }), "Not Today");
        assert_eq!(of(body(&"é".repeat(70))), format!("{}...", "é".repeat(60)));
        assert_eq!(gist(None), "");
    }

    /// S27: a target cannot steer the terminal of whoever looks.
    #[test]
    fn the_words_of_a_target_are_shown_and_not_obeyed() {
        let answer = AnswerDto {
            location: Some("/\u{9b}2J".into()),
            reason: Some("\u{7f}".into()),
            ..body("a\u{1b}[2J\nb\u{202e}")
        };
        let shown = [lines(Some(&answer)).join("\n"), gist(Some(&answer))].concat();
        assert!(!shown.contains(['\u{9b}', '\u{7f}', '\u{202e}']) && !shown.contains("\u{1b}[2J"), "{shown:?}");
        assert!(shown.contains("\\u{9b}2J") && shown.contains("\\u{1b}[2J"), "{shown:?}");
    }
}
