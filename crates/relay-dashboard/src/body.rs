//! A part of a body for a page: laid out, as it came, or in hex. Bounded by what it takes in a page, whatever it is.

use std::{fmt::Display, ops::ControlFlow};

use relay_core::pretty::{BodyFields, Inflated, Layout};

use crate::{escape, url::Url};

/// Bytes of a text that is laid out, and of one that is inflated for that.
const PRETTY_BYTES_MAX: usize = 1024 * 1024;
/// Characters of a line, but where all is asked for.
const LINE_CHARS_MAX: usize = 10_000;
/// Bytes of one line in hex.
const HEX_LINE: usize = 16;

/// How a body is looked at: all of it stands in the URL (R3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// As what.
    pub view: View,
    /// From which line on, counted from one; in hex, from which byte on, counted from none.
    pub from: u64,
    /// More than a part is asked for.
    pub is_all: bool,
    /// Where it is shown.
    pub room: Room,
    /// Values of header fields that are secrets are shown too.
    pub reveals: bool,
}

/// As what a body is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// As text that is laid out, if it is one; else in hex.
    #[default]
    Pretty,
    /// As the text that it is, if it is one; else in hex.
    Raw,
    /// In hex.
    Hex,
    /// Within the command that sends it again.
    Curl,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// That of a page of its own.
    #[default]
    Page,
    /// That beside a list.
    Pane,
}

/// What a page shows of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What is shown.
    pub shown: BodyLines,
    /// The first line that is shown, from one; in hex, the first byte, from none.
    pub first: u64,
    /// The last line, or byte.
    pub last: u64,
    /// Where the next part begins.
    pub next: Option<u64>,
    /// A line was longer than is shown.
    pub is_cut: bool,
    /// Bytes of the body.
    pub of: u64,
    /// What is shown was compressed.
    pub is_inflated: bool,
    /// Only its beginning is laid out.
    pub is_beginning: bool,
}

/// The lines of a preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyLines {
    /// Text, without line ends, and the numbers of its lines.
    Text(Vec<(u64, String)>),
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
    /// All there are, in their order on a page.
    pub const ALL: [Self; 4] = [Self::Pretty, Self::Raw, Self::Hex, Self::Curl];

    /// Its word in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Raw => "raw",
            Self::Hex => "hex",
            Self::Curl => "curl",
        }
    }

    /// The view of that word; the usual one if it is none.
    pub fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|view| view.as_str() == word).unwrap_or_default()
    }

    /// Its word in a URL that says no more than it has to.
    pub(crate) fn word(self) -> Option<&'static str> {
        (self != Self::default()).then(|| self.as_str())
    }

    /// An event, seen so.
    pub(crate) fn url(self, here: &Url) -> Url {
        here.clone().with_some("view", self.word())
    }

    pub(crate) fn is_of(self, look: &Look) -> bool {
        look.view == self
    }
}

impl Look {
    /// The whole of it, as the first part of a page shows it.
    pub fn at(view: View) -> Self {
        Self { view, ..Self::default() }
    }

    /// Its next part.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand over references")]
    pub(crate) fn next(&self, here: &Url, from: &u64) -> Url {
        let all = self.is_all.then_some("1");
        self.view.url(here).with("from", &from.to_string()).with_some("all", all)
    }

    /// More of it at once, from the first line that is shown.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand over references")]
    pub(crate) fn all(&self, here: &Url, from: &u64) -> Url {
        self.view.url(here).with("from", &from.to_string()).with("all", "1")
    }

    /// Bytes that the text of a part may take in a page.
    const fn bytes_max(&self) -> usize {
        match (self.is_all, self.room) {
            (true, _) => 1024 * 1024,
            (false, Room::Page) => 16 * 1024,
            (false, Room::Pane) => 2 * 1024,
        }
    }

    const fn lines_max(&self) -> usize {
        match (self.is_all, self.room) {
            (true, _) => 20_000,
            (false, Room::Page) => 200,
            (false, Room::Pane) => 40,
        }
    }

    const fn hex_bytes_max(&self) -> usize {
        match self.room {
            Room::Page => 4 * 1024,
            Room::Pane => 192,
        }
    }
}

impl Preview {
    /// Of a body, or of its beginning where `of` says that there is more.
    pub fn new(body: &[u8], of: u64, about: BodyFields<'_>, look: Look) -> Self {
        let text = match look.view {
            View::Hex => None,
            View::Pretty => Self::pretty(body, of, about, look),
            View::Raw | View::Curl => Self::raw(body, of, look),
        };
        match text {
            // Nothing is there: it begins at its beginning.
            Some(text) if text.is_none() && look.from > 1 => Self::new(body, of, about, Look { from: 0, ..look }),
            Some(text) => text,
            None => Self::hex(body, of, look),
        }
    }

    /// Not all of the body is shown, or not as it came.
    pub const fn is_part(&self) -> bool {
        self.first > 1 || self.next.is_some() || self.is_cut || self.is_inflated || self.is_beginning
    }

    /// There is more to it than a part shows.
    pub const fn has_more(&self) -> bool {
        (self.next.is_some() || self.is_cut) && matches!(self.shown, BodyLines::Text(_))
    }

    fn is_none(&self) -> bool {
        matches!(&self.shown, BodyLines::Text(lines) if lines.is_empty())
    }

    fn raw(body: &[u8], of: u64, look: Look) -> Option<Self> {
        let mut part = Part::new(look);
        let _ = text_of(body, of)?.lines().try_for_each(|line| part.put(line));
        Some(part.preview(of))
    }

    fn pretty(body: &[u8], of: u64, about: BodyFields<'_>, look: Look) -> Option<Self> {
        let inflated = Inflated::of(body, about, PRETTY_BYTES_MAX);
        let text = inflated.as_ref().map_or_else(|| text_of(body, of), Inflated::text)?;
        let beginning = &text[..text.floor_char_boundary(PRETTY_BYTES_MAX)];
        let is_all = inflated.as_ref().map_or(body.len() as u64 == of, |inflated| inflated.is_whole);
        let is_whole = is_all && beginning.len() == text.len();
        let mut part = Part::new(look);
        let layout = Layout::of(beginning, is_whole, about);
        match layout {
            Some(layout) => layout.lines(beginning, |line| part.put(line)),
            None => {
                let _ = text.lines().try_for_each(|line| part.put(line));
            }
        }
        let is_beginning = !is_whole && (layout.is_some() || inflated.is_some());
        Some(Self { is_inflated: inflated.is_some(), is_beginning, ..part.preview(of) })
    }

    fn hex(body: &[u8], of: u64, look: Look) -> Self {
        let from = usize::try_from(look.from).unwrap_or(usize::MAX);
        let first = if from < body.len() { from - from % HEX_LINE } else { 0 };
        let end = body.len().min(first + look.hex_bytes_max());
        let lines = body[first..end].chunks(HEX_LINE).zip((first..).step_by(HEX_LINE));
        Self {
            shown: BodyLines::Hex(lines.map(|(bytes, at)| hex_line(at, bytes)).collect()),
            first: first as u64,
            last: end.saturating_sub(1) as u64,
            next: (end < body.len()).then_some(end as u64),
            is_cut: false,
            of,
            is_inflated: false,
            is_beginning: false,
        }
    }
}

/// Lines of a text, as many as there is room for.
struct Part {
    look: Look,
    /// The number of the line that comes next.
    at: u64,
    room: usize,
    lines: Vec<(u64, String)>,
    next: Option<u64>,
    is_cut: bool,
}

impl Part {
    const fn new(look: Look) -> Self {
        Self { look, at: 1, room: look.bytes_max(), lines: Vec::new(), next: None, is_cut: false }
    }

    fn put(&mut self, line: impl Display) -> ControlFlow<()> {
        let number = self.at;
        self.at += 1;
        if number < self.look.from {
            return ControlFlow::Continue(());
        }
        if self.lines.len() == self.look.lines_max() {
            return self.full_at(number);
        }
        let mut line = line.to_string();
        let chars_max = if self.look.is_all { usize::MAX } else { LINE_CHARS_MAX };
        let fit = fitting(&line, chars_max, self.room);
        if fit.is_out_of_room && !self.lines.is_empty() {
            return self.full_at(number);
        }
        self.is_cut |= fit.bytes < line.len();
        line.truncate(fit.bytes);
        self.room -= fit.width;
        self.lines.push((number, line));
        ControlFlow::Continue(())
    }

    fn full_at(&mut self, number: u64) -> ControlFlow<()> {
        self.next = Some(number);
        ControlFlow::Break(())
    }

    fn preview(self, of: u64) -> Preview {
        let number = |line: Option<&(u64, String)>| line.map_or(0, |(number, _)| *number);
        Preview {
            first: number(self.lines.first()),
            last: number(self.lines.last()),
            shown: BodyLines::Text(self.lines),
            next: self.next,
            is_cut: self.is_cut,
            of,
            is_inflated: false,
            is_beginning: false,
        }
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

/// How much of a line is shown.
struct Fit {
    bytes: usize,
    /// What they take in a page.
    width: usize,
    /// There is no room for more.
    is_out_of_room: bool,
}

fn fitting(line: &str, chars_max: usize, room: usize) -> Fit {
    let mut width = 0;
    for (number, (at, character)) in line.char_indices().enumerate() {
        let next = width + escape::width(character);
        if number == chars_max || next > room {
            return Fit { bytes: at, width, is_out_of_room: number < chars_max };
        }
        width = next;
    }
    Fit { bytes: line.len(), width, is_out_of_room: false }
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
            BodyLines::Text(lines) => lines.iter().map(|(_, line)| line.as_str()).collect(),
            BodyLines::Hex(lines) => lines.iter().map(|line| line.text.as_str()).collect(),
        }
    }

    fn seen(body: &[u8], look: Look) -> Preview {
        Preview::new(body, body.len() as u64, BodyFields::default(), look)
    }

    fn of(body: &[u8]) -> Preview {
        seen(body, Look::default())
    }

    #[test]
    fn text_is_lines_and_what_is_none_is_hex() {
        assert_eq!(lines(&seen(b"{\r\n  \"a\": 1\n}\n", Look::at(View::Raw))), ["{", "  \"a\": 1", "}"]);
        assert_eq!(lines(&of(b"{\"b\":1.0,\"b\":2}")), ["{", "  \"b\": 1.0,", "  \"b\": 2", "}"]);
        assert_eq!(lines(&of(b"no {json}\r\nat all")), ["no {json}", "at all"]);
        let binary = of(b"\x00PNG\xff0123456789abc");
        assert_eq!(lines(&binary), [".PNG.0123456789a", "bc"]);
        let BodyLines::Hex(hex) = &binary.shown else { panic!("it is no text") };
        assert_eq!((hex[1].offset.as_str(), hex[1].hex.as_str()), ("00000010", "62 63"));
        assert_eq!(lines(&seen(b"ab", Look::at(View::Hex))), ["ab"]);
        assert_eq!(lines(&of(b"")), [""; 0]);
    }

    /// A beginning that ends within a character is text all the same; a whole body that does is none.
    #[test]
    fn a_cut_character_is_no_reason_for_hex() {
        let euro = "1 €".as_bytes();
        assert_eq!(lines(&Preview::new(&euro[..4], 100, BodyFields::default(), Look::default())), ["1 "]);
        assert!(matches!(of(&euro[..4]).shown, BodyLines::Hex(_)));
    }

    /// S26: whatever it is, a preview takes no more of a page than it may, and says what it left out.
    #[test]
    fn no_body_outgrows_its_part_of_a_page() {
        let json = format!("[{}]", vec!["{\"<\":1}"; 40_000].join(","));
        for body in ["<".repeat(1 << 20), "\u{202e}".repeat(1 << 18), "\n".repeat(1 << 20), "a\n".repeat(1 << 19), json]
        {
            for (view, room, is_all) in
                [(View::Pretty, Room::Page, false), (View::Raw, Room::Pane, false), (View::Pretty, Room::Page, true)]
            {
                let look = Look { view, is_all, room, ..Look::default() };
                let preview = seen(body.as_bytes(), look);
                let taken: usize = lines(&preview).iter().flat_map(|line| line.chars().map(escape::width)).sum();
                assert!(taken <= look.bytes_max() && lines(&preview).len() <= look.lines_max(), "{taken}");
                assert!(preview.has_more() && preview.is_part());
            }
        }
    }

    /// R10: whoever goes from part to part has read each line once, and each byte.
    #[test]
    fn parts_follow_each_other_to_the_end() {
        let all: Vec<String> = (1..=1_000).map(|number| format!("line {number} {}", "<".repeat(number % 90))).collect();
        let text = all.join("\n");
        for view in [View::Pretty, View::Raw, View::Hex] {
            let (mut look, mut read, mut parts) = (Look::at(view), Vec::new(), 0);
            loop {
                let preview = seen(text.as_bytes(), look);
                assert!(preview.first <= preview.last);
                read.extend(lines(&preview).into_iter().map(str::to_owned));
                parts += 1;
                let Some(next) = preview.next else { break };
                assert_eq!(next, preview.last + 1);
                look.from = next;
            }
            let whole = if view == View::Hex { text.replace('\n', ".") } else { text.replace('\n', "") };
            assert!(parts > 3 && read.concat() == whole, "{view:?}: {parts}");
        }
        let beyond = seen(text.as_bytes(), Look { from: 5_000, ..Look::default() });
        assert_eq!(beyond.first, 1);
    }

    /// A line that is longer than anybody reads is cut, and all of it is there for who asks.
    #[test]
    fn a_long_line_is_cut_and_said_to_be() {
        let long = format!("{}\nlast", "x".repeat(12_000));
        let preview = of(long.as_bytes());
        assert_eq!((lines(&preview)[0].len(), lines(&preview)[1]), (LINE_CHARS_MAX, "last"));
        assert!(preview.is_cut && preview.has_more() && preview.next.is_none());
        let all = seen(long.as_bytes(), Look { is_all: true, ..Look::default() });
        assert_eq!((lines(&all)[0].len(), all.is_cut), (12_000, false));
    }

    #[test]
    fn a_large_body_is_laid_out_as_far_as_it_may_be() {
        let large = format!("[{}]", vec!["1234567"; 200_000].join(","));
        let preview = of(large.as_bytes());
        assert_eq!(lines(&preview)[..2], ["[", "  1234567,"]);
        assert!(preview.is_beginning);
        let raw = seen(large.as_bytes(), Look::at(View::Raw));
        assert!(!raw.is_beginning && raw.is_cut);
    }
}
