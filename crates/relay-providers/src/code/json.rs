//! JSON as a check reads it: only the members it asks for, and each at most once.
//!
//! Readers disagree about a name that stands twice in an object (the first counts, or the last), and some take `Token`
//! for `token`. Whoever could make the relay check one of them and the application read the other would pass anything
//! for genuine, so an object in which a name that matters stands twice, in whatever case, is refused.
//!
//! **Invariant:** nothing is built of what was not asked for, and what is nested is skipped without recursion; the work is
//! linear in the number of bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Refusal, pruned::unmarked};

/// Items of a list that are looked at; more than any platform puts in one request.
const ITEMS_MAX: usize = 10_000;

/// The members of an object by these names, as they are written.
pub(crate) fn members<'a, const N: usize>(
    json: &'a [u8],
    what: &str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], Refusal> {
    let text = str::from_utf8(unmarked(json)).map_err(|_| malformed(what, "is not text in UTF-8"))?;
    let mut twice = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let object = Object { names: &names, twice: &mut twice };
    let found = reader.deserialize_map(object).and_then(|found| reader.end().map(|()| found));
    match (found, twice) {
        (Ok(found), _) => Ok(found),
        (Err(_), Some(name)) => {
            Err(malformed(what, &format!("has {name} more than once, and readers differ in which they take")))
        }
        (Err(_), None) => Err(malformed(what, "is not a JSON object")),
    }
}

/// The items of a list, as they are written.
pub(crate) fn items<'a>(json: &'a str, what: &str) -> Result<Vec<&'a str>, Refusal> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let items = reader.deserialize_seq(List).and_then(|items| reader.end().map(|()| items));
    items.map_err(|_| malformed(what, &format!("is not a JSON list of at most {ITEMS_MAX} items")))
}

/// The text that a JSON string stands for.
pub(crate) fn string(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// The text of a string, and what is written of a number or truth value.
pub(crate) fn scalar(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => string(json),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.to_owned()),
    }
}

/// The text at a path of member names; nothing if any of them is not there, or there twice.
pub(crate) fn at(json: &[u8], path: &[&str]) -> Option<String> {
    let (last, parents) = path.split_last()?;
    let mut json = json;
    for name in parents {
        let [member] = members(json, "", [name]).ok()?;
        json = member?.as_bytes();
    }
    let [member] = members(json, "", [last]).ok()?;
    scalar(member?)
}

fn malformed(what: &str, detail: &str) -> Refusal {
    Refusal::new("malformed_body", format!("{what} {detail}"))
}

struct Object<'a, const N: usize> {
    names: &'a [&'a str; N],
    twice: &'a mut Option<String>,
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = [Option<&'de str>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut seen = [false; N];
        while let Some(key) = map.next_key_seed(Key { names: self.names })? {
            let Some((index, exact)) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen[index] {
                *self.twice = Some(self.names[index].to_owned());
                return Err(A::Error::custom("twice"));
            }
            seen[index] = true;
            let value = map.next_value::<&'de RawValue>()?.get();
            // Another spelling is not what was asked for; beside the right one it is a second.
            found[index] = exact.then_some(value);
        }
        Ok(found)
    }
}

/// Which of the names a key is, and whether to the letter.
struct Key<'a> {
    names: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<(usize, bool)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<(usize, bool)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let index = self.names.iter().position(|name| name.eq_ignore_ascii_case(key));
        Ok(index.map(|index| (index, self.names[index] == key)))
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Vec<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<&'de RawValue>()? {
            if items.len() == ITEMS_MAX {
                return Err(A::Error::custom("too many"));
            }
            items.push(item.get());
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_as_they_are_written() {
        let body = br#" {"a": 1.50, "b": {"c": [null, "x"]}, "d": "\u00fc", "e": null} "#;
        let found = members(body, "the body", ["d", "a", "b", "z"]).expect("an object");
        assert_eq!(found, [Some(r#""\u00fc""#), Some("1.50"), Some(r#"{"c": [null, "x"]}"#), None]);
        assert_eq!(string(found[0].unwrap_or_default()).as_deref(), Some("ü"));
        assert_eq!(at(body, &["a"]).as_deref(), Some("1.50"));
        assert_eq!(at(body, &["b", "c"]), None);
        assert_eq!(at(body, &["e"]), None);
        assert_eq!(at("\u{feff}{\"a\":1}".as_bytes(), &["a"]).as_deref(), Some("1"));
    }

    #[test]
    fn a_name_that_matters_stands_once_in_whatever_case_or_escape() {
        for body in [
            r#"{"token": "a", "token": "b"}"#,
            r#"{"token": "a", "Token": "b"}"#,
            r#"{"TOKEN": "a", "token": "b"}"#,
            r#"{"token": "a", "t\u006fken": "b"}"#,
        ] {
            let refusal = members(body.as_bytes(), "the body", ["token"]).expect_err("twice");
            assert!(refusal.detail.contains("more than once"), "{}", refusal.detail);
        }
        let other = members(br#"{"x": 1, "x": 2, "token": "a"}"#, "the body", ["token"]).expect("nobody reads x");
        assert_eq!(other, [Some(r#""a""#)]);
        assert_eq!(members(br#"{"Token": "a"}"#, "the body", ["token"]), Ok([None]));
    }

    #[test]
    fn what_is_no_object_is_refused_and_never_quoted() {
        for body in [&b""[..], b"[]", b"1", b"\"canary\"", b"{", b"{}{}", b"{\"a\":1,}", b"{\"a\":\xff}"] {
            let refusal = members(body, "the body", ["a"]).expect_err("not an object");
            assert_eq!(refusal.check, "malformed_body");
            assert!(!refusal.detail.contains("canary"), "{}", refusal.detail);
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        let found = members(deep.as_bytes(), "the body", ["a", "b"]).expect("an object");
        assert_eq!(found.map(|member| member.map(str::len)), [Some(deep.len() - 6), None]);
    }

    #[test]
    fn a_list_is_bounded() {
        assert_eq!(items("[1, \"a\", {}]", "value").map(|items| items.len()), Ok(3));
        assert!(items("{}", "value").is_err());
        assert!(items(&format!("[{}0]", "0,".repeat(ITEMS_MAX)), "value").is_err());
    }
}
