//! Words of others on a terminal: senders, clients and targets write paths, labels and errors, and none of them may move
//! the cursor, fake a line or turn the text round (S27).
//!
//! Values become visible where they become cells or text ([`visible`]); what is printed passes [`safe`] once more, which
//! lets through line feeds and our own colours and nothing else.

use std::{borrow::Cow, fmt::Write as _};

/// A value of somebody else's: what would steer the terminal is written as `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if steers(character) { out.extend(character.escape_unicode()) } else { out.push(character) }
    }
    Cow::Owned(out)
}

/// As [`visible`], for bytes that may be no text, of which at most `max` characters are shown.
pub(crate) fn visible_bytes(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}...", visible(&text[..end])),
        None => visible(&text).into_owned(),
    }
}

/// A text of lines in which values stand already: line feeds and colours stay, anything else that steers is escaped.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(|character| character != '\n' && character != '\t' && steers(character)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(length) = colour(rest) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if steers(character) && character != '\n' && character != '\t' {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    Cow::Owned(out)
}

/// JSON that steers no terminal either: what JSON may hold as it is and a terminal obeys becomes `\u009b`. The value that
/// it stands for stays the same.
pub(crate) fn safe_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && steers(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// Control characters of both sets, what turns the direction of text, ends lines, or takes no place on the screen.
/// Joiners (U+200C and U+200D) stay: whole scripts need them.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Length of the code of a colour at the beginning of `text`.
fn colour(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\u{1b}[")?;
    let digits = rest.find(|character: char| !character.is_ascii_digit() && character != ';')?;
    rest[digits..].starts_with('m').then_some(2 + digits + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: what somebody else wrote cannot steer the terminal of whoever reads it.
    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(visible("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\u{a}c");
        assert_eq!(visible("a\u{9b}2Jb\u{7f}"), "a\\u{9b}2Jb\\u{7f}");
        assert_eq!(
            visible("a\u{202e}b\u{2066}c\u{200f}d\u{61c}\u{feff}"),
            "a\\u{202e}b\\u{2066}c\\u{200f}d\\u{61c}\\u{feff}"
        );
        assert_eq!(visible("\u{e0041}\u{2028}"), "\\u{e0041}\\u{2028}");
        assert_eq!(visible("Grüße, 日本, نام\u{200c}ها"), "Grüße, 日本, نام\u{200c}ها");
        assert_eq!(visible_bytes(b"abcdef", 3), "abc...");
        assert_eq!(visible_bytes(b"a\xff", 3), "a\u{fffd}");
    }

    #[test]
    fn our_own_colours_and_lines_pass_and_nothing_else() {
        let text = "\u{1b}[1;31mbad\u{1b}[0m\nnext\tcell";
        assert_eq!(safe(text), text);
        assert_eq!(safe("\u{1b}]0;x\u{7}\u{1b}[2J\u{1b}[31\r"), "\\u{1b}]0;x\\u{7}\\u{1b}[2J\\u{1b}[31\\u{d}");
    }

    #[test]
    fn json_is_the_same_value_and_steers_nothing() {
        let value = serde_json::json!({"a\u{9b}": ["\u{202e}x", "\u{1b}", "\u{7f}", "\u{e0041}", "é\n"]});
        let text = safe_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.contains(|c: char| c != '\n' && steers(c)), "{text}");
        assert!(text.contains("\\u009b") && text.contains("\\udb40\\udc41"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
