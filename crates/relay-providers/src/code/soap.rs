//! XML as a SOAP message needs it: elements and their text, no document type, no entity beyond the five of XML.

use crate::Refusal;

/// Deepest element that is read.
const DEPTH_MAX: usize = 128;

/// What stands in a message, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// An element begins; of its name, what follows the prefix. What stands between the name and `>` comes as it is.
    Start(&'a str, &'a str),
    /// The innermost element ends.
    End,
    /// Text between tags, escapes as they are.
    Text(&'a str),
}

/// Reads a message piece by piece.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a str,
    /// Names of the elements that are open, with their prefixes.
    open: Vec<&'a str>,
    /// An element without content begins and ends at once.
    ends: bool,
    seen_root: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Result<Self, Refusal> {
        let text = str::from_utf8(body).map_err(|_| malformed("is not text in UTF-8"))?;
        let text = text.trim_start_matches('\u{feff}').trim_ascii_start();
        let mut reader = Self { rest: text, open: Vec::new(), ends: false, seen_root: false };
        if let Some(rest) = text.strip_prefix("<?xml") {
            let (declaration, rest) = rest.split_once("?>").ok_or_else(|| malformed("has an open XML declaration"))?;
            let declaration = declaration.to_ascii_lowercase();
            // In another encoding the same bytes could hold what this reader does not see.
            if declaration.contains("encoding") && !declaration.contains("utf-8") {
                return Err(malformed("must be encoded in UTF-8"));
            }
            reader.rest = rest;
        }
        Ok(reader)
    }

    /// The next piece; nothing at the end of a whole message.
    pub(crate) fn next(&mut self) -> Result<Option<Piece<'a>>, Refusal> {
        if self.ends {
            self.ends = false;
            self.open.pop();
            return Ok(Some(Piece::End));
        }
        loop {
            if self.rest.is_empty() {
                let is_whole = self.open.is_empty() && self.seen_root;
                return if is_whole { Ok(None) } else { Err(malformed("is not a whole XML document")) };
            }
            if let Some(rest) = self.rest.strip_prefix("<!--") {
                (_, self.rest) = rest.split_once("-->").ok_or_else(|| malformed("has an open comment"))?;
            } else if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
                let (text, rest) = rest.split_once("]]>").ok_or_else(|| malformed("has open CDATA"))?;
                self.rest = rest;
                return Ok(Some(Piece::Text(text)));
            } else if self.rest.starts_with("<!") || self.rest.starts_with("<?") {
                // A document type can define entities, and the application's reader might expand them.
                return Err(malformed("has a document type or processing instruction, which SOAP forbids"));
            } else if let Some(rest) = self.rest.strip_prefix('<') {
                return self.tag(rest).map(Some);
            } else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                if !self.open.is_empty() {
                    return Ok(Some(Piece::Text(text)));
                }
                if !text.trim_ascii().is_empty() {
                    return Err(malformed("has text outside its root element"));
                }
            }
        }
    }

    /// Names of the open elements without prefixes, outermost first.
    pub(crate) fn path(&self) -> impl Iterator<Item = &'a str> {
        self.open.iter().map(|name| local(name))
    }

    fn tag(&mut self, rest: &'a str) -> Result<Piece<'a>, Refusal> {
        let end = tag_end(rest).ok_or_else(|| malformed("has an open tag"))?;
        let (tag, rest) = (&rest[..end], &rest[end + 1..]);
        self.rest = rest;
        if let Some(name) = tag.strip_prefix('/') {
            return match self.open.pop() {
                Some(open) if open == name.trim_ascii_end() => Ok(Piece::End),
                _ => Err(malformed("has an end tag that ends nothing")),
            };
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name_end = tag.find(|character: char| character.is_ascii_whitespace()).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(name_end);
        if name.is_empty() || name.contains(['<', '&', '"', '\'', '=']) || (self.open.is_empty() && self.seen_root) {
            return Err(malformed("is not an XML document"));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(malformed(&format!("is deeper than {DEPTH_MAX} elements")));
        }
        self.open.push(name);
        self.seen_root = true;
        self.ends = is_empty;
        Ok(Piece::Start(local(name), attributes))
    }
}

/// The value of an attribute with this name, whatever its prefix.
pub(crate) fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_ascii_start();
        let quote = after.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
        let (value, after) = after[1..].split_once(quote)?;
        if local(key.trim_ascii()) == name {
            return Some(value);
        }
        rest = after;
    }
}

fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

/// Where the `>` of a tag is; inside quotes it is text.
fn tag_end(rest: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new("malformed_body", format!("the body {detail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(xml: &str) -> Result<Vec<Piece<'_>>, Refusal> {
        let mut reader = Reader::new(xml.as_bytes())?;
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[test]
    fn elements_come_without_prefixes_and_text_as_it_is() {
        let xml = "<?xml version='1.0' encoding=\"UTF-8\"?>\n<s:a xmlns:s='x>y'><!-- <b> --><b/>1 &amp; <![CDATA[<2>]]></s:a>\n";
        assert_eq!(
            pieces(xml),
            Ok(vec![
                Piece::Start("a", " xmlns:s='x>y'"),
                Piece::Start("b", ""),
                Piece::End,
                Piece::Text("1 &amp; "),
                Piece::Text("<2>"),
                Piece::End,
            ])
        );
        assert_eq!(attribute(" xmlns:s='x' xsi:type = \"sf:Contact\"", "type"), Some("sf:Contact"));
        assert_eq!(attribute(" a='type=\"x\"'", "type"), None);
        assert_eq!(attribute(" a", "a"), None);
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(100_000);
        for xml in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><a/>",
            "<a/>x",
            "<a",
            "<a b='>",
            "<>",
            "<a><!-- </a>",
            "<a><![CDATA[</a>",
            "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
            "<a><!DOCTYPE a></a>",
            "<?xml version='1.0'?><?xml-stylesheet href='x'?><a/>",
            "<?xml version='1.0' encoding='UTF-7'?><a/>",
            "<?xml version='1.0' encoding='utf-16'?><a/>",
            "<?xml <a/>",
            &deep,
        ] {
            assert!(pieces(xml).is_err(), "{xml:.60}");
        }
        assert!(Reader::new(b"\xff\xfe<\0a\0/\0>\0").is_err());
    }
}
