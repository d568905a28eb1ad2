//! A body as people read it: inflated, JSON and XML indented, forms taken apart. Only what is shown changes; what is stored and forwarded stays
//! as it came (S12).
//!
//! Lines are laid out one after the other and handed over as they are made, so that whoever wants a few of a large body keeps no others.

mod form;
mod inflated;
mod json;
mod lines;
mod xml;

use std::ops::ControlFlow;

use self::lines::Sheet;
pub use self::{
    inflated::Inflated,
    lines::{Laid, LaidPiece, Weight},
};

/// What the fields of a request say of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyFields<'a> {
    /// `Content-Type`.
    pub media_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub coding: Option<&'a str>,
}

/// How a text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each member and each element on a line of its own.
    Json,
    /// Each element and each text.
    Xml,
    /// Each field, decoded.
    Form,
}

impl<'a> BodyFields<'a> {
    /// Picks the two out of all fields.
    pub fn of(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut about = Self::default();
        for (name, value) in fields {
            if name.eq_ignore_ascii_case("content-type") {
                about.media_type = Some(value);
            } else if name.eq_ignore_ascii_case("content-encoding") {
                about.coding = Some(value);
            }
        }
        about
    }

    fn is(&self, word: &str) -> bool {
        self.media_type.is_some_and(|media_type| media_type.to_ascii_lowercase().contains(word))
    }
}

impl Layout {
    /// Of a text, or of its beginning where it is not whole; none: it is shown as it came.
    pub fn of(text: &str, is_whole: bool, about: BodyFields<'_>) -> Option<Self> {
        let text = inner(text);
        if text.starts_with(['{', '[']) && json::is_json(text, is_whole) {
            Some(Self::Json)
        } else if text.starts_with('<') && (about.is("xml") || about.is("html") || text.starts_with("<?xml")) {
            Some(Self::Xml)
        } else if form::is_form(text, about) {
            Some(Self::Form)
        } else {
            None
        }
    }

    /// Hands over the lines of a text in their order, until `put` breaks off.
    pub fn lines<'a>(self, text: &'a str, put: impl FnMut(Laid<'a>) -> ControlFlow<()>) {
        let (text, mut put) = (inner(text), put);
        let mut sheet = Sheet::new(&mut put);
        match self {
            Self::Json => json::lay_out(text, &mut sheet),
            Self::Xml => xml::lay_out(text, &mut sheet),
            Self::Form => form::lay_out(text, &mut sheet),
        }
        sheet.next();
    }
}

/// Without what stands around a text and says nothing.
fn inner(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(text: &str, media_type: &str) -> Option<String> {
        let about = BodyFields { media_type: Some(media_type), coding: None };
        let layout = Layout::of(text, true, about)?;
        let mut lines = Vec::new();
        layout.lines(text, |line| {
            lines.push(line.to_string());
            ControlFlow::Continue(())
        });
        Some(lines.join("\n"))
    }

    #[test]
    fn a_layout_goes_by_the_text_and_what_is_said_of_it() {
        let about = |media_type| BodyFields { media_type: Some(media_type), coding: None };
        for (text, media_type, layout) in [
            ("{\"a\":1}", "text/plain", Some(Layout::Json)),
            ("\u{feff} [1] \n", "", Some(Layout::Json)),
            ("<a/>", "application/xml", Some(Layout::Xml)),
            ("<a/>", "text/plain", None),
            ("a=1&b=2", "text/plain", Some(Layout::Form)),
            ("a=1", "text/plain", None),
            ("a=1", "application/x-www-form-urlencoded", Some(Layout::Form)),
            ("{\"a\":1", "application/json", None),
            ("hello", "text/plain", None),
        ] {
            assert_eq!(Layout::of(text, true, about(media_type)), layout, "{text}");
        }
        assert_eq!(Layout::of("{\"a\":[1, tr", false, about("")), Some(Layout::Json), "a beginning of JSON is JSON");
        assert_eq!(Layout::of("{\"a\" 1", false, about("")), None);
    }

    #[test]
    fn a_form_is_taken_apart_and_json_in_it_indented() {
        let text = laid("payload=%7B%22a%22%3A1%7D&name=Ada+L%26x&e=", "application/x-www-form-urlencoded").unwrap();
        assert_eq!(text, "payload =\n  {\n    \"a\": 1\n  }\nname = Ada L&x\ne = ");
    }

    #[test]
    fn xml_is_indented() {
        let text = laid("<?xml version=\"1.0\"?><a x=\"1\"><b>two</b><c/><!-- d --></a>", "text/xml").unwrap();
        assert_eq!(text, "<?xml version=\"1.0\"?>\n<a x=\"1\">\n  <b>two</b>\n  <c/>\n  <!-- d -->\n</a>");
        for bent in ["<a", "<!--", "<![CDATA[", "<a><b", "</a></a>", "<a>x</b"] {
            assert!(laid(bent, "text/xml").is_some_and(|text| !text.is_empty()), "{bent}");
        }
    }

    /// Whoever wants the first lines of a large body is handed no others.
    #[test]
    fn whoever_has_enough_is_handed_no_more() {
        let long = format!("[{}]", vec!["1"; 10_000].join(","));
        let mut taken = 0;
        Layout::Json.lines(&long, |_| {
            taken += 1;
            if taken == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(taken, 3);
    }
}
