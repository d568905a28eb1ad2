//! A body on a terminal: laid out as people read it, in colours, and bounded. Only what is shown changes; what is stored and forwarded stays as it
//! came (S12).

use std::ops::ControlFlow;

use relay_core::pretty::{BodyFields, Inflated, Laid, LaidPiece, Layout, Weight};

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

/// The lines of a body, at most about `max` bytes of them, then what was left out. Nothing in it can move the cursor or
/// fake a line.
pub(crate) fn lines(body: &[u8], about: BodyFields<'_>, max: usize) -> Vec<String> {
    if body.is_empty() {
        return vec![style::dim("(no body)")];
    }
    let mut out = Vec::new();
    let inflated = Inflated::of(body, about, READ_MAX);
    if let Some(inflated) = &inflated {
        let end = if inflated.is_whole { "" } else { " at least" };
        let coding = visible(about.coding.unwrap_or("gzip"));
        out.push(style::dim(format!("({coding}, {} bytes; inflated{end} {})", body.len(), inflated.bytes.len())));
    }
    let text = inflated.as_ref().map_or_else(|| std::str::from_utf8(body).ok(), Inflated::text);
    let Some(text) = text else {
        let bytes = inflated.map_or(body.len(), |inflated| inflated.bytes.len());
        out.push(style::dim(format!("({bytes} bytes that are not text)")));
        return out;
    };
    let is_whole = inflated.as_ref().is_none_or(|inflated| inflated.is_whole);
    let mut room = Room { max, shown: 0, lines: out, has_more: false };
    match Layout::of(text, is_whole, about).filter(|_| text.len() <= READ_MAX) {
        Some(layout) => layout.lines(text, |line| room.put(|| TextLine::laid(&line))),
        None => {
            let _ = text.lines().try_for_each(|line| room.put(|| TextLine::plain(line.trim_end_matches('\r'))));
        }
    }
    let is_cut = room.has_more || !text.contains('\n') && text.chars().count() > LINE_MAX;
    if is_cut {
        room.lines.push(style::dim(format!("... {} bytes in all", body.len())));
    }
    room.lines
}

/// Lines as long as there is room.
struct Room {
    max: usize,
    shown: usize,
    lines: Vec<String>,
    has_more: bool,
}

impl Room {
    fn put(&mut self, line: impl FnOnce() -> TextLine) -> ControlFlow<()> {
        if self.shown > 0 && self.shown >= self.max {
            self.has_more = true;
            return ControlFlow::Break(());
        }
        let line = line();
        self.shown += line.bytes;
        self.lines.push(line.text);
        ControlFlow::Continue(())
    }
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

    fn laid(line: &Laid<'_>) -> Self {
        let pieces = line.pieces.iter().map(coloured);
        Self { text: line.margin() + &pieces.collect::<String>(), bytes: line.bytes() }
    }
}

fn coloured(piece: &LaidPiece<'_>) -> String {
    let text = visible_bytes(piece.text.as_bytes(), LINE_MAX);
    match piece.weight {
        Weight::Mark => style::dim(text),
        Weight::Name => style::copy(text),
        Weight::Text => style::good(text),
        Weight::Value => style::warn(text),
        Weight::Plain => text,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use anstream::adapter::strip_str;

    use super::*;

    fn shown(body: &[u8], kind: &str) -> String {
        let about = BodyFields { media_type: Some(kind), coding: None };
        strip_str(&lines(body, about, SHOWN_MAX).join("\n")).to_string()
    }

    #[test]
    fn what_can_be_laid_out_is_and_all_else_stays_as_it_came() {
        let body = br#"{"b":1.50,"a":[{}]}"#;
        assert_eq!(shown(body, "application/json"), "{\n  \"b\": 1.50,\n  \"a\": [\n    {}\n  ]\n}");
        assert_eq!(shown(b"{\"a\":1", "application/json"), "{\"a\":1", "what is no JSON stays as it is");
        assert_eq!(shown(b"a=1&b=+2", "text/plain"), "a = 1\nb =  2");
        assert_eq!(shown(b"1+1=2 & more", "text/plain"), "1+1=2 & more");
        assert_eq!(shown(b"<a><b>c</b></a>", "text/xml"), "<a>\n  <b>c</b>\n</a>");
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
