//! What a mark is taken from, as operators say it, and which slot of the store it gets.

use std::str::FromStr;

use relay_core::{limits, name::Name};

use crate::{
    document::MarkDefinition,
    scan::json_path::{JsonPlace, JsonPlaceError},
};

/// Bytes of a path.
const PATH_BYTES_MAX: usize = 1024;

/// What a path begins with that is the name of a header.
const HEADER: &str = "header:";

/// Where a value stands in JSON bodies, `$.data.object.customer`, or in which header, `header:X-GitHub-Delivery`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkPath(String);

/// The same, as it is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MarkPlace {
    /// There in JSON bodies.
    Json(JsonPlace),
    /// In the values of this header.
    Header(String),
}

impl MarkPath {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is looked for.
    pub(crate) fn place(&self) -> Option<MarkPlace> {
        place(&self.0).ok()
    }
}

fn place(text: &str) -> Result<MarkPlace, String> {
    let Some(name) = text.strip_prefix(HEADER) else {
        return text.parse().map(MarkPlace::Json).map_err(|error: JsonPlaceError| format!("{error} or {HEADER}NAME"));
    };
    let read = name.trim().parse::<http::HeaderName>();
    let name = read.map_err(|_| format!("{name:?} is no name of a header; want one like {HEADER}X-GitHub-Delivery"))?;
    Ok(MarkPlace::Header(name.as_str().to_owned()))
}

impl FromStr for MarkPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("a path of {} bytes; want {PATH_BYTES_MAX} at most", text.len()));
        }
        place(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// What is wrong with marks that are to be made for a source which has so many others.
pub(crate) fn wrong_with_marks(marks: &[(Name, MarkPath)], others: usize, are_kept: bool) -> Option<String> {
    let twice = marks.iter().enumerate().find(|(at, (name, _))| marks[..*at].iter().any(|(known, _)| known == name));
    if let Some((_, (name, _))) = twice {
        return Some(format!("the mark {:?} is there twice; each name stands for one place", name.as_str()));
    }
    let count = marks.len() + others;
    if count > limits::MARKS_MAX {
        return Some(format!("{count} marks; a source has {} at most", limits::MARKS_MAX));
    }
    (!are_kept && !marks.is_empty()).then(|| {
        "marks are not kept in Redis yet: take them out, or look through the events (crm-relay event list --json-path)"
            .to_owned()
    })
}

/// The marks of a source as they are kept, where these are all: what stays has its slot, what is new gets one that nobody had, if there is one.
pub(crate) fn redefined(present: &[MarkDefinition], wanted: &[(Name, MarkPath)]) -> Vec<MarkDefinition> {
    let is = |known: &MarkDefinition, (name, path): &(Name, MarkPath)| known.name == *name && known.path == path.0;
    let stays: Vec<&MarkDefinition> =
        wanted.iter().filter_map(|mark| present.iter().find(|known| is(known, mark))).collect();
    let mut free = free_slots(present, &stays);
    let define = |mark: &(Name, MarkPath)| match stays.iter().find(|known| is(known, mark)) {
        Some(known) => Some((*known).clone()),
        None => Some(defined(mark, free.next()?)),
    };
    wanted.iter().map_while(define).collect()
}

/// The same where these are changed or added, and all others but those that go stay as they are.
pub(crate) fn remarked(present: &[MarkDefinition], add: &[(Name, MarkPath)], go: &[Name]) -> Vec<MarkDefinition> {
    let is_kept = |known: &&MarkDefinition| {
        let same = add.iter().find(|(name, _)| *name == known.name);
        same.map_or(!go.contains(&known.name), |(_, path)| path.0 == known.path)
    };
    let stays: Vec<&MarkDefinition> = present.iter().filter(is_kept).collect();
    let new = add.iter().filter(|(name, _)| stays.iter().all(|known| known.name != *name));
    let made: Vec<MarkDefinition> =
        new.zip(free_slots(present, &stays)).map(|(mark, slot)| defined(mark, slot)).collect();
    stays.into_iter().cloned().chain(made).collect()
}

fn defined((name, path): &(Name, MarkPath), slot: u8) -> MarkDefinition {
    MarkDefinition { name: name.clone(), slot, path: path.0.clone() }
}

/// Slots for what is new, those first that nobody had.
fn free_slots(present: &[MarkDefinition], stays: &[&MarkDefinition]) -> impl Iterator<Item = u8> + use<> {
    let slots = 1..=limits::MARKS_MAX as u8;
    let mut free: Vec<u8> = slots.filter(|slot| stays.iter().all(|known| known.slot != *slot)).collect();
    free.sort_by_key(|slot| (present.iter().any(|known| known.slot == *slot), *slot));
    free.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(marks: &[(&str, &str)]) -> Vec<(Name, MarkPath)> {
        marks.iter().map(|(name, path)| (name.parse().unwrap(), path.parse().unwrap())).collect()
    }

    fn slots(marks: &[MarkDefinition]) -> Vec<(&str, u8)> {
        marks.iter().map(|mark| (mark.name.as_str(), mark.slot)).collect()
    }

    #[test]
    fn what_stays_has_its_slot_and_what_is_new_gets_one_that_nobody_had() {
        let first = redefined(&[], &wanted(&[("a", "$.a"), ("b", "$.b")]));
        assert_eq!(slots(&first), [("a", 1), ("b", 2)]);
        let second = redefined(&first, &wanted(&[("b", "$.b"), ("a", "$.other"), ("c", "$.c")]));
        assert_eq!(slots(&second), [("b", 2), ("a", 3), ("c", 4)], "slot 1 has rows of another place");
        assert_eq!(redefined(&second, &wanted(&[("b", "$.b"), ("a", "$.other"), ("c", "$.c")])), second);
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let all = names.map(|name| (name, "$.x"));
        let full = redefined(&[], &wanted(&all));
        let mut other = all;
        other[7].1 = "$.y";
        assert_eq!(redefined(&full, &wanted(&other))[7].slot, 8, "there is no other; it waits until that is empty");
    }

    #[test]
    fn what_cannot_be_says_what_would_be_right() {
        let path: Result<MarkPath, _> = "data.id".parse();
        let what = path.unwrap_err();
        assert!(what.contains("$.data.object.customer") && what.ends_with("or header:NAME"), "{what}");
        let header: Result<MarkPath, _> = "header:X GitHub".parse();
        assert!(header.unwrap_err().contains("header:X-GitHub-Delivery"));
        assert_eq!(
            "header:X-GitHub-Delivery".parse::<MarkPath>().unwrap().place(),
            Some(MarkPlace::Header("x-github-delivery".to_owned()))
        );
        assert!(format!("$.{}", "x".repeat(1024)).parse::<MarkPath>().unwrap_err().contains("1024 at most"));
        assert_eq!(wrong_with_marks(&wanted(&[("a", "$.a")]), 7, true), None);
        assert!(wrong_with_marks(&wanted(&[("a", "$.a"), ("a", "$.b")]), 0, true).unwrap().contains("twice"));
        let nine: Vec<(String, &str)> = (0..9).map(|number| (format!("m{number}"), "$.a")).collect();
        let nine: Vec<(&str, &str)> = nine.iter().map(|(name, path)| (name.as_str(), *path)).collect();
        assert!(wrong_with_marks(&wanted(&nine[..2]), 7, true).unwrap().contains("8 at most"));
        assert!(wrong_with_marks(&wanted(&[("a", "$.a")]), 0, false).unwrap().contains("Redis"));
        assert_eq!(wrong_with_marks(&[], 2, false), None);
    }
}
