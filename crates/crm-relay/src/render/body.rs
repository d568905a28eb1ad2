//! A body as a person reads it: JSON and XML indented, forms taken apart, gzip inflated. Only what is shown changes; what
//! is stored and forwarded stays as it came (S12).

use std::io::Read as _;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::{
    style,
    visible::{visible, visible_bytes},
};

/// Bytes of a body that are shown, about two screens.
pub(crate) const SHOWN_MAX: usize = 4 * 1024;
/// Bytes that are looked at: what is larger is shown as it came. Also the end of inflating.
const READ_MAX: usize = 1 << 20;
/// Characters of one line.
const LINE_MAX: usize = 4 * 1024;
/// Levels that are still indented; deeper ones stay on their line.
const DEPTH_MAX: usize = 64;

/// What is known of a body beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    /// `Content-Type`.
    pub(crate) kind: Option<&'a str>,
    /// `Content-Encoding`.
    pub(crate) coding: Option<&'a str>,
}

impl<'a> About<'a> {
    /// Picks the two fields out of all.
    pub(crate) fn of(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut about = Self::default();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("content-type") {
                about.kind = Some(value);
            } else if name.eq_ignore_ascii_case("content-encoding") {
                about.coding = Some(value);
            }
        }
        about
    }

    fn is(&self, word: &str) -> bool {
        self.kind.is_some_and(|kind| kind.to_ascii_lowercase().contains(word))
    }
}

/// The lines of a body, at most about `max` bytes of them, then what was left out. Nothing in it can move the cursor or
/// fake a line.
pub(crate) fn lines(body: &[u8], about: About<'_>, max: usize) -> Vec<String> {
    if body.is_empty() {
        return vec![style::dim("(no body)")];
    }
    let mut out = Vec::new();
    let inflated = inflate(body, about.coding);
    if let Some(inflated) = &inflated {
        let end = if inflated.len() == READ_MAX { " at least" } else { "" };
        let text = format!("({}, {} bytes; inflated{end} {})", coding(about), body.len(), inflated.len());
        out.push(style::dim(text));
    }
    let bytes = inflated.as_deref().unwrap_or(body);
    let Ok(text) = std::str::from_utf8(bytes).or_else(|error| whole_characters(bytes, &error)) else {
        out.push(style::dim(format!("({} bytes that are not text)", bytes.len())));
        return out;
    };
    let shown = formatted(text, about);
    let whole = shown.len();
    let mut bytes_shown = 0;
    let mut count = 0;
    for line in shown {
        if bytes_shown >= max && count > 0 {
            break;
        }
        bytes_shown += line.bytes;
        count += 1;
        out.push(line.text);
    }
    if count < whole || whole == 1 && text.chars().count() > LINE_MAX {
        out.push(style::dim(format!("... {} bytes in all", body.len())));
    }
    out
}

/// One line and how many bytes of the body it stands for, about.
struct TextLine {
    text: String,
    bytes: usize,
}

impl TextLine {
    fn plain(text: &str) -> Self {
        Self { text: visible_bytes(text.as_bytes(), LINE_MAX).replace("\\u{9}", "\t"), bytes: text.len() + 1 }
    }
}

fn coding(about: About<'_>) -> String {
    visible(about.coding.unwrap_or("gzip")).into_owned()
}

/// A text cut off in the middle of a character, without that character.
fn whole_characters<'a>(bytes: &'a [u8], error: &std::str::Utf8Error) -> Result<&'a str, std::str::Utf8Error> {
    let is_cut = bytes.len() == READ_MAX && error.error_len().is_none();
    if is_cut { std::str::from_utf8(&bytes[..error.valid_up_to()]) } else { Err(*error) }
}

/// At most [`READ_MAX`] bytes, however far it would go on.
fn inflate(body: &[u8], coding: Option<&str>) -> Option<Vec<u8>> {
    let is_gzip = body.starts_with(&[0x1f, 0x8b]);
    let is_zlib = coding.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("deflate"));
    let mut out = Vec::new();
    // What breaks off in the middle is shown as far as it goes.
    let read = match (is_gzip, is_zlib) {
        (true, _) => MultiGzDecoder::new(body).take(READ_MAX as u64).read_to_end(&mut out),
        (false, true) => ZlibDecoder::new(body).take(READ_MAX as u64).read_to_end(&mut out),
        (false, false) => return None,
    };
    (read.is_ok() || !out.is_empty()).then_some(out)
}

fn formatted(text: &str, about: About<'_>) -> Vec<TextLine> {
    if text.len() <= READ_MAX {
        let trimmed = text.trim_start_matches('\u{feff}').trim();
        if trimmed.starts_with(['{', '[']) && is_json(trimmed) {
            return json(trimmed);
        }
        if trimmed.starts_with('<') && (about.is("xml") || about.is("html") || trimmed.starts_with("<?xml")) {
            return xml(trimmed);
        }
        if is_form(trimmed, about) {
            return form(trimmed);
        }
    }
    text.lines().map(|line| TextLine::plain(line.trim_end_matches('\r'))).collect()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// JSON with each member on a line of its own: the text as it came, but for the blanks between its parts. Members keep
/// their order, numbers their digits.
fn json(text: &str) -> Vec<TextLine> {
    let mut page = Page::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '{' | '[' | '}' | ']' | ',' | ':' => 1,
            c if c.is_whitespace() => {
                rest = &rest[c.len_utf8()..];
                continue;
            }
            _ => rest.find(['{', '[', '}', ']', ',', ':', ' ', '\n', '\r', '\t']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        rest = after.trim_start();
        match first {
            '{' | '[' if rest.starts_with(['}', ']']) => {
                page.push(token, &style::dim(token));
                page.push("}", &style::dim(&rest[..1]));
                rest = &rest[1..];
            }
            '{' | '[' => {
                page.push(token, &style::dim(token));
                page.open();
            }
            '}' | ']' => {
                page.close();
                page.push(token, &style::dim(token));
            }
            ',' => {
                page.push(token, &style::dim(token));
                page.next();
            }
            ':' => page.push(": ", &style::dim(": ")),
            '"' if rest.starts_with(':') => page.push(token, &style::copy(cut(token))),
            '"' => page.push(token, &style::good(cut(token))),
            _ => page.push(token, &style::warn(cut(token))),
        }
    }
    page.lines()
}

/// Bytes of the string at the beginning, with both of its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn cut(text: &str) -> String {
    visible_bytes(text.as_bytes(), LINE_MAX)
}

/// Lines that are being written, each indented.
#[derive(Default)]
struct Page {
    lines: Vec<TextLine>,
    line: String,
    bytes: usize,
    depth: usize,
}

impl Page {
    fn push(&mut self, plain: &str, shown: &str) {
        if self.line.is_empty() {
            let indent = "  ".repeat(self.depth.min(DEPTH_MAX));
            self.bytes = indent.len();
            self.line = indent;
        }
        self.bytes += plain.len();
        self.line.push_str(shown);
    }

    fn open(&mut self) {
        self.depth += 1;
        if self.depth <= DEPTH_MAX {
            self.next();
        }
    }

    fn close(&mut self) {
        if self.depth <= DEPTH_MAX {
            self.next();
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn next(&mut self) {
        if !self.line.is_empty() {
            self.lines.push(TextLine { text: std::mem::take(&mut self.line), bytes: self.bytes + 1 });
        }
    }

    fn lines(mut self) -> Vec<TextLine> {
        self.next();
        self.lines
    }
}

/// Each element and each text on a line; one that holds nothing but a short text stays together.
fn xml(text: &str) -> Vec<TextLine> {
    const TOGETHER_MAX: usize = 120;
    let mut page = Page::default();
    let mut rest = text;
    while !rest.is_empty() {
        let end = match (rest.starts_with("<!--"), rest.starts_with("<![CDATA["), rest.starts_with('<')) {
            (true, _, _) => rest.find("-->").map(|at| at + 3),
            (_, true, _) => rest.find("]]>").map(|at| at + 3),
            (_, _, true) => rest.find('>').map(|at| at + 1),
            _ => rest.find('<'),
        };
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let is_end = part.starts_with("</");
        let is_start = is_element(part);
        if is_end {
            page.depth = page.depth.saturating_sub(1);
        }
        let mut whole = part.to_owned();
        if is_start
            && let Some((together, length)) = together(part, rest).filter(|(text, _)| text.len() <= TOGETHER_MAX)
        {
            rest = &rest[length..];
            page.push(&together, &tagged(&together));
            page.next();
            continue;
        }
        whole.retain(|character| character != '\r');
        for line in whole.lines() {
            page.push(line, &tagged(line.trim()));
            page.next();
        }
        if is_start {
            page.depth += 1;
        }
    }
    page.lines()
}

/// `<a ...>` that is not ended at once.
fn is_element(part: &str) -> bool {
    part.starts_with('<')
        && !part.starts_with("</")
        && !part.starts_with("<!")
        && !part.starts_with("<?")
        && !part.ends_with("/>")
}

/// `<a>text</a>`, and how much of `rest` that takes.
fn together(start: &str, rest: &str) -> Option<(String, usize)> {
    let end = rest.find('<')?;
    let length = end + rest[end..].find('>')? + 1;
    let text = &rest[..end];
    (rest[end..].starts_with("</") && !text.contains('\n'))
        .then(|| (format!("{start}{}{}", text.trim(), &rest[end..length]), length))
}

/// Tags of less weight than what they hold.
fn tagged(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (part, after) = if rest.starts_with('<') {
            rest.split_at(rest.find('>').map_or(rest.len(), |at| at + 1))
        } else {
            rest.split_at(rest.find('<').unwrap_or(rest.len()))
        };
        out.push_str(&if part.starts_with('<') { style::dim(cut(part)) } else { cut(part) });
        rest = after;
    }
    out
}

fn is_form(text: &str, about: About<'_>) -> bool {
    if about.is("json") || about.is("xml") || about.is("multipart") || text.contains(char::is_whitespace) {
        return false;
    }
    let is_pair = |pair: &str| pair.contains('=') && !pair.starts_with('=');
    about.is("x-www-form-urlencoded") && is_pair(text)
        || text.contains('=') && text.contains('&') && text.split('&').all(is_pair)
}

/// A field on each line, decoded; one that holds JSON, as GitHub and Slack send it, is indented below its name.
fn form(text: &str) -> Vec<TextLine> {
    let mut out = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name), decoded(value));
        let name = style::copy(cut(&name));
        if value.starts_with(['{', '[']) && is_json(&value) {
            out.push(TextLine { text: format!("{name} {}", style::dim("=")), bytes: 1 });
            out.extend(json(&value).into_iter().map(|line| TextLine { text: format!("  {}", line.text), ..line }));
        } else {
            out.push(TextLine { text: format!("{name} {} {}", style::dim("="), cut(&value)), bytes: pair.len() + 1 });
        }
    }
    out
}

/// `+` is a blank, `%2B` a plus.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use anstream::adapter::strip_str;

    use super::*;

    fn shown(body: &[u8], kind: &str) -> String {
        let about = About { kind: Some(kind), coding: None };
        strip_str(&lines(body, about, SHOWN_MAX).join("\n")).to_string()
    }

    #[test]
    fn json_keeps_its_order_and_its_digits() {
        let body = br#"{"b":1.50,"a":[12345678901234567890123,{}, "x:,{"],"c":{"d":null},"e":[]}"#;
        assert_eq!(
            shown(body, "application/json"),
            "{\n  \"b\": 1.50,\n  \"a\": [\n    12345678901234567890123,\n    {},\n    \"x:,{\"\n  ],\n  \"c\": {\n    \
             \"d\": null\n  },\n  \"e\": []\n}"
        );
        assert_eq!(shown(b"{\"a\":1", "application/json"), "{\"a\":1", "what is no JSON stays as it is");
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(shown(deep.as_bytes(), "text/plain").lines().count() < 200);
    }

    #[test]
    fn a_form_is_taken_apart_and_json_in_it_indented() {
        let text = shown(b"payload=%7B%22a%22%3A1%7D&name=Ada+L%26x&e=", "application/x-www-form-urlencoded");
        assert_eq!(text, "payload =\n  {\n    \"a\": 1\n  }\nname = Ada L&x\ne = ");
        assert_eq!(shown(b"1+1=2 & more", "text/plain"), "1+1=2 & more");
    }

    #[test]
    fn xml_is_indented() {
        let text = shown(b"<?xml version=\"1.0\"?><a x=\"1\"><b>two</b><c/><!-- d --></a>", "text/xml");
        assert_eq!(text, "<?xml version=\"1.0\"?>\n<a x=\"1\">\n  <b>two</b>\n  <c/>\n  <!-- d -->\n</a>");
    }

    /// S12 holds for what is stored; what is shown is inflated within a bound, however far it would go on.
    #[test]
    fn gzip_is_inflated_within_a_bound() {
        let pack = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let text = shown(&pack(b"{\"a\":1}"), "application/json");
        assert!(text.contains("inflated 7)") && text.ends_with("{\n  \"a\": 1\n}"), "{text}");
        let bomb = pack(&vec![b'x'; 50 << 20]);
        let text = shown(&bomb, "text/plain");
        assert!(text.contains("inflated at least 1048576") && text.len() < 3 * LINE_MAX, "{}", text.len());
        let broken = &pack(&vec![b'y'; 3000])[..30];
        assert!(!shown(broken, "text/plain").is_empty());
    }

    /// S27: a body steers no terminal.
    #[test]
    fn a_body_cannot_steer_the_terminal_and_an_odd_one_is_counted() {
        assert_eq!(shown("a\u{1b}[2J\tb\u{202e}\r\nc".as_bytes(), "text/plain"), "a\\u{1b}[2J\tb\\u{202e}\nc");
        assert_eq!(shown("{\"a\":\"\u{9b}\"}".as_bytes(), "application/json"), "{\n  \"a\": \"\\u{9b}\"\n}");
        assert!(shown(&[0xff, 0xfe], "text/plain").contains("2 bytes that are not text"));
        assert!(shown("x".repeat(5_000).as_bytes(), "text/plain").contains("5000 bytes in all"));
        let long = format!("[{}]", vec!["1"; 5_000].join(","));
        let text = shown(long.as_bytes(), "application/json");
        assert!(text.contains("bytes in all") && text.len() < 2 * SHOWN_MAX, "{}", text.len());
        assert_eq!(shown(b"", "text/plain"), "(no body)");
    }
}
