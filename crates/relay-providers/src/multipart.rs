//! `multipart/form-data`: the texts in it. Files are passed over.
//!
//! **Source** RFC 7578, RFC 2046 section 5.1.1.

use crate::form::Pairs;

/// Parts that are looked at; more than any platform sends.
const PARTS_MAX: usize = 1_024;
/// Longest text that is kept: what proves a request is short, and a message's own text is nothing to look at.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Longest boundary there may be.
const BOUNDARY_BYTES_MAX: usize = 70;

/// Names and values of the parts that are no files, in order, as they stand; values that are too long are left out. Nothing if
/// the body is not of that kind, or is broken.
pub(crate) fn texts(content_type: &[u8], body: &[u8]) -> Option<Pairs> {
    let boundary = boundary(content_type)?;
    let delimiter = [b"--", boundary].concat();
    let mut rest = body;
    // What stands before the first delimiter is nobody's.
    if !rest.starts_with(&delimiter) {
        rest = &rest[find(rest, &[b"\r\n", &delimiter[..]].concat())? + 2..];
    }
    let line = [b"\r\n", &delimiter[..]].concat();
    let mut found = Pairs::new();
    for _ in 0..PARTS_MAX {
        rest = rest.strip_prefix(&delimiter[..])?;
        if rest.starts_with(b"--") {
            return Some(found);
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest = rest[padding..].strip_prefix(b"\r\n")?;
        let end = find(rest, &line)?;
        let part = &rest[..end];
        rest = &rest[end + 2..];
        let head = if part.starts_with(b"\r\n") { 0 } else { find(part, b"\r\n\r\n")? + 2 };
        let value = &part[head + 2..];
        if let Some(name) = name_of_text(&part[..head])
            && value.len() <= TEXT_BYTES_MAX
        {
            found.push((name, value.to_vec()));
        }
    }
    None
}

/// The boundary of a multipart form.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let mut items = content_type.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !items.next()?.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let value = items.find_map(|item| {
        let (name, value) = item.split_at_checked(b"boundary=".len())?;
        name.eq_ignore_ascii_case(b"boundary=").then_some(value)
    })?;
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    (1..=BOUNDARY_BYTES_MAX).contains(&value.len()).then_some(value)
}

/// The name of a part that is no file.
fn name_of_text(head: &[u8]) -> Option<Vec<u8>> {
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let is_disposition = |line: &&[u8]| {
        line.split_at_checked(b"content-disposition:".len())
            .is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"content-disposition:"))
    };
    let line = lines.into_iter().find(is_disposition)?;
    let mut name = None;
    for item in line.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii) {
        let at = item.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (item[..at].trim_ascii().to_ascii_lowercase(), item[at + 1..].trim_ascii());
        match &key[..] {
            b"filename" | b"filename*" => return None,
            b"name" => {
                name = Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value));
            }
            _ => {}
        }
    }
    name.map(<[u8]>::to_vec)
}

/// Where `needle` begins. Linear for a delimiter, which no sender repeats within itself.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0;
    loop {
        at += text.get(at..)?.iter().position(|byte| *byte == first)?;
        if text[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(content_type: &str, body: &str) -> Option<Vec<(String, String)>> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let found = texts(content_type.as_bytes(), body.as_bytes())?;
        Some(found.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    #[test]
    fn texts_are_found_and_files_are_passed_over() {
        let body = "preamble\r\n--B\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\na\r\nb\r\n--B \r\n\
            content-type: text/plain\r\nCONTENT-DISPOSITION: form-data; name=attachment-1; filename=\"a.txt\"\r\n\r\nhi\r\n\
            --B\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--B--\r\nepilogue";
        let expected = [("token", "a\r\nb"), ("empty", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs("Multipart/Form-Data; charset=utf-8; Boundary=\"B\"", body), Some(expected.to_vec()));
        assert_eq!(pairs("multipart/form-data; boundary=B", "--B--"), Some(Vec::new()));
    }

    #[test]
    fn what_is_broken_or_of_another_kind_is_nothing() {
        let good = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B--";
        for content_type in ["", "multipart/mixed; boundary=B", "multipart/form-data", "multipart/form-data; boundary="]
        {
            assert_eq!(pairs(content_type, good), None, "{content_type}");
        }
        for body in
            ["", "--B", "--B\r\n", "--B\r\nContent-Disposition: form-data\r\n--B--", "--Bx\r\n\r\n\r\n--B--", "B"]
        {
            assert_eq!(pairs("multipart/form-data; boundary=B", body), None, "{body:?}");
        }
    }
}
