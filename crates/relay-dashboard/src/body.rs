//! A part of a body for a page: lines of text, or hex where it is none. Bounded by what it takes in a page, whatever it is.

use crate::escape;

/// Bytes that the text of a preview may take in a page.
const PAGE_BYTES_MAX: usize = 16 * 1024;
/// Lines of a preview.
const LINES_MAX: usize = 200;
/// Characters of a line.
const LINE_CHARS_MAX: usize = 2_000;
/// Bytes of a body that is shown in hex.
const HEX_BYTES_MAX: usize = 1_024;
/// Bytes of one line in hex.
const HEX_LINE: usize = 16;

/// How a body is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// As text, if it is one; else as hex.
    #[default]
    Text,
    /// As hex.
    Hex,
}

/// What a page shows of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What is shown.
    pub shown: BodyLines,
    /// Bytes of the body that are shown.
    pub bytes: u64,
    /// Bytes of the body.
    pub of: u64,
    /// A line was longer than is shown.
    pub is_cut: bool,
}

/// The lines of a preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyLines {
    /// Text, without line ends.
    Text(Vec<String>),
    /// Hex.
    Hex(Vec<HexLine>),
}

/// Sixteen bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HexLine {
    /// Where they are: `00000010`.
    pub offset: String,
    /// In hex, with a gap in the middle.
    pub hex: String,
    /// Those that are printable ASCII; others are dots.
    pub text: String,
}

impl View {
    /// Its word in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Hex => "hex",
        }
    }

    /// The view of that word; text if it is none.
    pub fn of(word: &str) -> Self {
        if word == Self::Hex.as_str() { Self::Hex } else { Self::Text }
    }
}

impl Preview {
    /// Of a body, or of its beginning where `of` says that there is more.
    pub fn new(body: &[u8], of: u64, view: View) -> Self {
        match (view, text_of(body, of)) {
            (View::Text, Some(text)) => Self::text(text, of),
            (View::Text, None) | (View::Hex, _) => Self::hex(body, of),
        }
    }

    /// Bytes of the body that are not shown.
    pub const fn rest(&self) -> u64 {
        self.of.saturating_sub(self.bytes)
    }

    fn text(text: &str, of: u64) -> Self {
        let (mut lines, mut room, mut bytes, mut is_cut) = (Vec::new(), PAGE_BYTES_MAX, 0, false);
        for line in text.split_inclusive('\n') {
            if lines.len() == LINES_MAX {
                break;
            }
            let words = line.strip_suffix('\n').unwrap_or(line);
            let words = words.strip_suffix('\r').unwrap_or(words);
            let (shown, left) = fitting(words, room);
            room = left;
            lines.push(shown.to_owned());
            if shown.len() < words.len() && room == 0 {
                bytes += shown.len();
                break;
            }
            is_cut |= shown.len() < words.len();
            bytes += line.len();
        }
        Self { shown: BodyLines::Text(lines), bytes: bytes as u64, of, is_cut }
    }

    fn hex(body: &[u8], of: u64) -> Self {
        let shown = &body[..body.len().min(HEX_BYTES_MAX)];
        let lines = shown.chunks(HEX_LINE).enumerate().map(|(number, bytes)| hex_line(number * HEX_LINE, bytes));
        Self { shown: BodyLines::Hex(lines.collect()), bytes: shown.len() as u64, of, is_cut: false }
    }
}

/// The body as text. Of a beginning, the last character may have been cut.
fn text_of(body: &[u8], of: u64) -> Option<&str> {
    match str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() && (body.len() as u64) < of => {
            str::from_utf8(&body[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

/// As much of a line as a page has room for, and the room that is left: none if that is why it was cut.
fn fitting(line: &str, room: usize) -> (&str, usize) {
    let mut left = room;
    for (number, (at, character)) in line.char_indices().enumerate() {
        if number == LINE_CHARS_MAX {
            return (&line[..at], left.max(1));
        }
        match left.checked_sub(escape::width(character)) {
            Some(rest) if rest > 0 => left = rest,
            _ => return (&line[..at], 0),
        }
    }
    (line, left)
}

fn hex_line(offset: usize, bytes: &[u8]) -> HexLine {
    let mut hex = String::with_capacity(3 * HEX_LINE + 1);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            hex.push_str(if at == HEX_LINE / 2 { "  " } else { " " });
        }
        for half in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(u32::from(half), 16).unwrap_or('?'));
        }
    }
    let text = bytes.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' });
    HexLine { offset: format!("{offset:08x}"), hex, text: text.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(preview: &Preview) -> Vec<&str> {
        match &preview.shown {
            BodyLines::Text(lines) => lines.iter().map(String::as_str).collect(),
            BodyLines::Hex(lines) => lines.iter().map(|line| line.text.as_str()).collect(),
        }
    }

    fn of(body: &[u8]) -> Preview {
        Preview::new(body, body.len() as u64, View::Text)
    }

    #[test]
    fn text_is_lines_and_what_is_none_is_hex() {
        assert_eq!(lines(&of(b"{\r\n  \"a\": 1\n}\n")), ["{", "  \"a\": 1", "}"]);
        let binary = of(b"\x00PNG\xff0123456789abc");
        assert_eq!(lines(&binary), [".PNG.0123456789a", "bc"]);
        let BodyLines::Hex(hex) = &binary.shown else { panic!("it is no text") };
        assert_eq!((hex[1].offset.as_str(), hex[1].hex.as_str()), ("00000010", "62 63"));
        assert_eq!(lines(&Preview::new(b"ab", 2, View::Hex)), ["ab"]);
        assert_eq!(lines(&of(b"")), [""; 0]);
    }

    /// A beginning that ends within a character is text all the same; a whole body that does is none.
    #[test]
    fn a_cut_character_is_no_reason_for_hex() {
        let euro = "1 €".as_bytes();
        assert_eq!(lines(&Preview::new(&euro[..4], 100, View::Text)), ["1 "]);
        assert!(matches!(of(&euro[..4]).shown, BodyLines::Hex(_)));
    }

    /// S26: whatever it is, a preview takes no more of a page than it may, and says what it left out.
    #[test]
    fn no_body_outgrows_its_part_of_a_page() {
        for body in ["<".repeat(1 << 20), "\u{202e}".repeat(1 << 18), "\n".repeat(1 << 20), "a\n".repeat(1 << 19)] {
            let preview = of(body.as_bytes());
            let taken: usize = lines(&preview).iter().flat_map(|line| line.chars().map(escape::width)).sum();
            assert!(taken <= PAGE_BYTES_MAX && lines(&preview).len() <= LINES_MAX, "{taken}");
            assert!(preview.rest() > 0 || preview.is_cut);
        }
        let long = format!("{}\nlast", "x".repeat(5_000));
        let preview = of(long.as_bytes());
        assert_eq!((lines(&preview)[1], preview.is_cut, preview.rest()), ("last", true, 0));
    }
}
