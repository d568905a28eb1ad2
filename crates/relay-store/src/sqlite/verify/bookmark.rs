//! Where a pass of the scrub stands, kept in a file of its own: a server that is started anew now and then would never come round.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::private;

/// So often it is written at most.
const KEPT_EVERY: Duration = Duration::from_mins(1);

/// What is read, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ScrubPart {
    /// Events with their bodies.
    #[default]
    Events,
    /// Deliveries with their attempts.
    Deliveries,
    /// Dedupe keys.
    Keys,
    /// Lines of the audit log.
    Audit,
    /// Registry documents, marks of jobs, names, and what is known to be missing: all that is few.
    Few,
}

/// Where a pass stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(super) part: ScrubPart,
    /// The last row read of events or deliveries.
    pub(super) seq: i64,
    /// The last dedupe key read.
    pub(super) key: (u32, Vec<u8>),
}

/// The file.
#[derive(Debug)]
pub(crate) struct Bookmark {
    file: PathBuf,
    kept: Reached,
    kept_at: Instant,
}

impl Bookmark {
    /// That of the store in this directory, and where an earlier run got to.
    pub(crate) fn kept_in(dir: &Path) -> (Self, Reached) {
        let file = dir.join("scrub");
        let reached = fs::read_to_string(&file).ok().and_then(|text| parsed(&text)).unwrap_or_default();
        (Self { file, kept: reached.clone(), kept_at: Instant::now() }, reached)
    }

    /// Keeps it, now and then. Where it cannot be written, the next run begins elsewhere.
    pub(crate) fn keep(&mut self, reached: &Reached) {
        if self.kept_at.elapsed() >= KEPT_EVERY {
            self.keep_now(reached);
        }
    }

    /// Keeps it.
    pub(crate) fn keep_now(&mut self, reached: &Reached) {
        self.kept_at = Instant::now();
        if *reached != self.kept {
            self.kept.clone_from(reached);
            drop(private::replace(&self.file, text(reached).as_bytes()));
        }
    }
}

const PARTS: [(ScrubPart, &str); 5] = [
    (ScrubPart::Events, "events"),
    (ScrubPart::Deliveries, "deliveries"),
    (ScrubPart::Keys, "keys"),
    (ScrubPart::Audit, "audit"),
    (ScrubPart::Few, "few"),
];

fn text(reached: &Reached) -> String {
    let (_, part) = PARTS.iter().find(|(part, _)| *part == reached.part).unwrap_or(&PARTS[0]);
    let mut text = format!("{part} {} {} ", reached.seq, reached.key.0);
    for byte in &reached.key.1 {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// Anything else is no place.
fn parsed(text: &str) -> Option<Reached> {
    let mut words = text.trim_end_matches('\n').split(' ');
    let name = words.next()?;
    let (part, _) = PARTS.iter().find(|(_, part)| *part == name)?;
    let (seq, source) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let digits = words.next()?.as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let key = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let key = key.collect::<Option<Vec<u8>>>()?;
    words.next().is_none().then_some(Reached { part: *part, seq, key: (source, key) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was kept is where the next run goes on; what somebody spoilt is the beginning.
    #[test]
    fn a_place_is_kept_and_anything_else_is_the_beginning() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut bookmark, reached) = Bookmark::kept_in(dir.path());
        assert_eq!(reached, Reached::default());
        for (number, (part, _)) in PARTS.into_iter().enumerate() {
            let reached = Reached { part, seq: number as i64 - 2, key: (number as u32, vec![0xab, 0, number as u8]) };
            bookmark.keep_now(&reached);
            assert_eq!(Bookmark::kept_in(dir.path()).1, reached);
            bookmark.keep(&Reached::default());
            assert_eq!(Bookmark::kept_in(dir.path()).1, reached, "not so soon");
        }
        for text in
            ["", "few", "events x 0 ", "keys 1 2 abc", "keys 1 2 zz", "none 1 2 ", "events 1 2  more", "\u{1f980}"]
        {
            fs::write(dir.path().join("scrub"), text).expect("writes");
            assert_eq!(Bookmark::kept_in(dir.path()).1, Reached::default(), "{text:?}");
        }
    }
}
