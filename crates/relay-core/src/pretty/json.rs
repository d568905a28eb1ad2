//! JSON with each member on a line of its own: the text as it came, but for the blanks between its parts. Members keep their order, numbers
//! their digits, and a name that comes twice stands there twice.

use super::lines::{Sheet, Weight};

pub(super) fn lay_out<'a>(text: &'a str, sheet: &mut Sheet<'a, '_>) {
    let mut tokens = Tokens(text).peekable();
    while let Some(token) = tokens.next() {
        if sheet.is_enough() {
            return;
        }
        let is_before = |next: Option<&&str>, ends: [char; 2]| next.is_some_and(|next| next.starts_with(ends));
        match token.as_bytes()[0] {
            b'{' | b'[' if is_before(tokens.peek(), ['}', ']']) => {
                sheet.push(Weight::Mark, token);
                sheet.push(Weight::Mark, tokens.next().unwrap_or_default());
            }
            b'{' | b'[' => {
                sheet.push(Weight::Mark, token);
                sheet.open();
            }
            b'}' | b']' => {
                sheet.close();
                sheet.push(Weight::Mark, token);
            }
            b',' => {
                sheet.push(Weight::Mark, token);
                sheet.next();
            }
            b':' => sheet.push(Weight::Mark, ": "),
            b'"' if is_before(tokens.peek(), [':', ':']) => sheet.push(Weight::Name, token),
            b'"' => sheet.push(Weight::Text, token),
            _ => sheet.push(Weight::Value, token),
        }
    }
}

/// Whether a text is JSON, or may be its beginning where it is not whole. However deep it is, it costs no stack.
pub(super) fn is_json(text: &str, is_whole: bool) -> bool {
    let mut shape = Shape { wanted: Wanted::Value, open: Vec::new() };
    let mut tokens = Tokens(text);
    while let Some(token) = tokens.next() {
        let is_cut = !is_whole && tokens.0.is_empty();
        let is_taken = shape.take(token) || is_cut && shape.takes_cut(token);
        if !is_taken {
            return false;
        }
    }
    !is_whole || shape.is_whole()
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
}

struct Shape {
    wanted: Wanted,
    /// How what is open ends.
    open: Vec<u8>,
}

impl Shape {
    fn take(&mut self, token: &str) -> bool {
        let first = token.as_bytes()[0];
        let is_value = matches!(self.wanted, Wanted::Value | Wanted::ValueOrEnd);
        self.wanted = match first {
            b'{' if is_value => self.opened(b'}', Wanted::NameOrEnd),
            b'[' if is_value => self.opened(b']', Wanted::ValueOrEnd),
            b'}' | b']' if self.may_end() && self.open.last() == Some(&first) => {
                self.open.pop();
                Wanted::CommaOrEnd
            }
            b',' if self.wanted == Wanted::CommaOrEnd => match self.open.last() {
                Some(b'}') => Wanted::Name,
                Some(_) => Wanted::Value,
                None => return false,
            },
            b':' if self.wanted == Wanted::Colon => Wanted::Value,
            b'"' if !is_string(token) => return false,
            b'"' if is_value => Wanted::CommaOrEnd,
            b'"' if matches!(self.wanted, Wanted::Name | Wanted::NameOrEnd) => Wanted::Colon,
            _ if is_value && is_word(token) => Wanted::CommaOrEnd,
            _ => return false,
        };
        true
    }

    fn opened(&mut self, end: u8, wanted: Wanted) -> Wanted {
        self.open.push(end);
        wanted
    }

    fn may_end(&self) -> bool {
        matches!(self.wanted, Wanted::ValueOrEnd | Wanted::NameOrEnd | Wanted::CommaOrEnd)
    }

    /// Whether it may be the beginning of what may come.
    fn takes_cut(&self, token: &str) -> bool {
        let is_value = matches!(self.wanted, Wanted::Value | Wanted::ValueOrEnd);
        let is_text = token.starts_with('"') && self.wanted != Wanted::Colon && self.wanted != Wanted::CommaOrEnd;
        is_text || is_value && ["true", "false", "null"].iter().any(|word| word.starts_with(token))
    }

    fn is_whole(&self) -> bool {
        self.open.is_empty() && self.wanted == Wanted::CommaOrEnd
    }
}

fn is_string(token: &str) -> bool {
    token.len() > 1
        && token.ends_with('"')
        && length(token) == Some(token.len())
        && token.bytes().all(|byte| byte >= b' ')
}

fn is_word(token: &str) -> bool {
    let is_of_number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let is_number = token.starts_with(|c: char| c.is_ascii_digit() || c == '-') && token.bytes().all(is_of_number);
    is_number || ["true", "false", "null"].contains(&token)
}

/// What may stand between the parts (RFC 8259, section 2). Any other blank is a part, and none that JSON has.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// The parts of a text, without the blanks between them. What is left of it.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches(BLANKS);
        let length = match rest.bytes().next()? {
            b'"' => length(rest).unwrap_or(rest.len()),
            b'{' | b'[' | b'}' | b']' | b',' | b':' => 1,
            _ => rest
                .find(|c: char| matches!(c, '{' | '[' | '}' | ']' | ',' | ':' | '"') || BLANKS.contains(&c))
                .unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at(length);
        self.0 = behind;
        Some(token)
    }
}

/// Bytes of the string at the beginning, with both of its quotes; none: it does not end.
fn length(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::*;
    use crate::pretty::{BodyFields, Layout, inner};

    fn laid(text: &str) -> String {
        let mut lines = Vec::new();
        Layout::Json.lines(text, |line| {
            lines.push(line.to_string());
            ControlFlow::Continue(())
        });
        lines.join("\n")
    }

    /// Without the blanks that stand outside of its strings.
    fn tight(text: &str) -> String {
        Tokens(text).collect()
    }

    #[test]
    fn json_keeps_its_order_its_digits_and_what_stands_twice() {
        assert_eq!(
            laid(r#"{"b":1.50,"a":[12345678901234567890123,{}, "x:,{"],"c":{"d":null},"c":[]}"#),
            "{\n  \"b\": 1.50,\n  \"a\": [\n    12345678901234567890123,\n    {},\n    \"x:,{\"\n  ],\n  \"c\": {\n    \
             \"d\": null\n  },\n  \"c\": []\n}"
        );
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(is_json(&deep, true) && laid(&deep).lines().count() < 200);
    }

    #[test]
    fn what_is_no_json_is_taken_for_none() {
        for none in [
            "",
            "{",
            "}",
            "[1",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "[1]]",
            "[\"a\nb\"]",
            "[tru]",
            "{\"a\"}",
            "[1}",
            "[,]",
            "{}{}",
            "[nul",
            "[\"x",
        ] {
            assert!(!is_json(none, true), "{none}");
        }
        for whole in ["{}", "[]", " [ ] ", "1", "\"\\\"\"", "[-1.5e+9,true,false,null,{\"\":\"\"}]"] {
            assert!(is_json(whole, true), "{whole}");
        }
        assert!(is_json(&"[".repeat(1 << 20), false) && !is_json(&"[".repeat(1 << 20), true));
    }

    fn json() -> impl Strategy<Value = String> {
        let blank = "[ \n\t\r]{0,2}";
        let text = r#"(\\["\\nu]|[^"\\\x00-\x1f]){0,6}"#.prop_map(|text| format!("\"{text}\""));
        let leaf = prop_oneof!["-?[0-9]{1,30}(\\.[0-9]{1,4})?([eE][+-]?[0-9])?", text.clone(), "true|false|null"];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            let member = (text.clone(), blank, inner.clone(), blank)
                .prop_map(|(name, before, value, behind)| format!("{before}{name}{behind}:{before}{value}"));
            let element = (inner, blank).prop_map(|(value, blank)| format!("{blank}{value}{blank}"));
            prop_oneof![
                proptest::collection::vec(element, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
                proptest::collection::vec(member, 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// R10: nothing but blanks outside of strings is added or taken, and each beginning of JSON is seen to be one.
        #[test]
        fn laid_out_json_is_the_same_json(text in json(), cut in any::<prop::sample::Index>()) {
            prop_assert!(is_json(&text, true), "{}", text);
            prop_assert_eq!(tight(&laid(&text)), tight(&text));
            let cut = text.floor_char_boundary(cut.index(text.len()));
            prop_assert!(is_json(&text[..cut], false), "{}", &text[..cut]);
            prop_assert_eq!(tight(&laid(&text[..cut])), tight(inner(&text[..cut])));
        }

        /// Whatever the bytes are, each layout comes to an end and loses no word.
        #[test]
        fn any_text_is_laid_out(text in "[\\PC<>{}\\[\\]\",:=&% \n-]{0,200}") {
            prop_assert_eq!(tight(&laid(&text)), tight(inner(&text)));
            for layout in [Layout::Xml, Layout::Form] {
                layout.lines(&text, |_| ControlFlow::Continue(()));
            }
            let _ = Layout::of(&text, false, BodyFields::default());
        }
    }
}
