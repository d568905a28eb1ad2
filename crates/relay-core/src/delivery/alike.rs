//! What dead letters have in common that failed alike: where they went, and what came of it, without what differs from one event to the
//! next.

use super::{Delivery, Reason};
use crate::{limits, name::Name};

/// Quotation marks, and what closes them.
const QUOTES: [(char, char); 6] = [('"', '"'), ('`', '`'), ('\'', '\''), ('“', '”'), ('‘', '’'), ('«', '»')];

/// What deliveries have in common that failed alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    /// Where they went.
    pub destination: Name,
    /// Why they ended.
    pub reason: Option<Reason>,
    /// Of the last answer.
    pub status: Option<u16>,
    /// The gist of what went wrong last.
    pub error: Option<String>,
}

impl Alike {
    /// What one delivery has in common with others.
    pub fn of(delivery: &Delivery) -> Self {
        let last = delivery.last.as_ref();
        Self {
            destination: delivery.destination.clone(),
            reason: delivery.reason,
            status: last.and_then(|last| last.status),
            error: last.and_then(|last| last.error.as_deref()).map(gist),
        }
    }
}

/// As far as it tells an error from others: see [`without_details`].
fn gist(error: &str) -> String {
    without_details(error).chars().take(limits::GIST_CHARS_MAX).collect()
}

/// A text without what differs from one event to the next: words with digits in them (numbers, ids, times) become `#`, and what stands in
/// quotation marks `…`. What is left stands in the order in which it stood.
pub fn without_details(text: &str) -> String {
    let mut rest = beginning(text);
    // What none closes further on: looked for once.
    let (mut out, mut unclosed) = (String::new(), String::new());
    while let Some(first) = rest.chars().next() {
        // One within a word is an apostrophe.
        let may_begin = !out.ends_with(char::is_alphanumeric) && !unclosed.contains(first);
        let found = if may_begin { quoted(rest, first) } else { None };
        if may_begin && found.is_none() && QUOTES.iter().any(|(open, _)| *open == first) {
            unclosed.push(first);
        }
        if let Some((inside, after)) = found {
            out.push(first);
            if !inside.is_empty() {
                out.push('…');
            }
            out.extend(rest[..rest.len() - after.len()].chars().next_back());
            rest = after;
            continue;
        }
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len());
        let (part, after) = rest.split_at(if word == 0 { first.len_utf8() } else { word });
        if !part.contains(|c: char| c.is_numeric()) {
            out.push_str(part);
        } else if !out.ends_with('#') {
            out.push('#');
        }
        rest = after;
    }
    out
}

/// As much of it as is looked at.
fn beginning(text: &str) -> &str {
    let end = (0..=limits::GIST_LOOKED_AT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// What stands between this quotation mark, which a text begins with, and the one that closes it; and what follows.
fn quoted(text: &str, first: char) -> Option<(&str, &str)> {
    let (_, close) = QUOTES.into_iter().find(|(open, _)| *open == first)?;
    let inside = &text[first.len_utf8()..];
    let ends = |(at, mark): (usize, &str)| {
        let after = &inside[at + mark.len()..];
        (first != '\'' || !after.starts_with(char::is_alphanumeric)).then_some((&inside[..at], after))
    };
    inside.match_indices(close).find_map(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_one_event_to_the_next_is_left_out() {
        for (error, gist) in [
            ("order 4711 of evt_0192f3c2-7d4e-7a31: no such customer (17 ms)", "order # of #: no such customer (# ms)"),
            ("no such customer \"Ada Lovelace\"", "no such customer \"…\""),
            ("no such customer \"\"", "no such customer \"\""),
            ("can't find 'a b' or 'c', it's `x y`", "can't find '…' or '…', it's `…`"),
            ("Datei „x“ und “y” und «z» fehlt", "Datei „x“ und “…” und «…» fehlt"),
            ("\"error\": \"lock 12\" 13 14", "\"…\": \"…\" # #"),
            ("an open \" quote 7", "an open \" quote #"),
            ("'tis", "'tis"),
            ("١٢ ٣", "# #"),
            ("", ""),
        ] {
            assert_eq!(without_details(error), gist, "{error}");
        }
    }

    /// Whatever a target says: it is bounded, and takes no longer than it is long.
    #[test]
    fn any_text_has_a_gist() {
        let hostile = ["\"", "'", "“", "é", "\u{202e}", "\u{1b}[2J", "#", "…", "<script>", "a'", "'a", "1", "\0"];
        for piece in hostile {
            let long = piece.repeat(100_000);
            assert!(gist(&long).chars().count() <= limits::GIST_CHARS_MAX, "{piece:?}");
            for other in hostile {
                let once = without_details(&format!("{piece}{other}{piece} x{other}"));
                assert_eq!(
                    without_details(&once).matches('#').count(),
                    once.matches('#').count(),
                    "{piece:?} {other:?}"
                );
            }
        }
    }
}
