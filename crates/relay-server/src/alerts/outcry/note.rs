//! What somebody was told where nobody looks, as it is written down beside the store.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use relay_core::{limits, time::Wall};
use relay_store::private;
use serde::{Deserialize, Serialize};

/// Bytes of the file at most: of each alert its words, and as much again.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Who has not heard it is tried again so much later.
const UNHEARD_AFTER: Duration = Duration::from_mins(1);

/// What one alert was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) alert: String,
    /// When it was last told, or tried, in microseconds since the epoch.
    pub(super) at: i64,
    /// Since when it is so.
    pub(super) since: i64,
    /// When it began, each time within the last hour.
    began: Vec<i64>,
    pub(super) words: String,
    /// As of which relay: what was not told as over keeps that.
    pub(super) relay: String,
    pub(super) arrival: Arrival,
    /// Somebody may have heard of the incident before, whatever became of this message.
    #[serde(default)]
    pub(super) was_heard: bool,
    /// It was told as over.
    pub(super) is_over: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Arrival {
    /// It is on its way; of a process that ended, nobody knows.
    OnItsWay,
    /// Somebody has it.
    Arrived,
    /// Nobody has it.
    Failed,
}

impl Note {
    pub(super) fn of(alert: String, words: String, relay: String, now: Wall) -> Self {
        let at = now.as_micros();
        let (arrival, was_heard, is_over) = (Arrival::OnItsWay, false, false);
        Self { alert, at, since: at, began: vec![at], words, relay, arrival, was_heard, is_over }
    }

    /// Somebody may have heard it, and nobody has heard that it is over.
    pub(super) fn is_open(&self) -> bool {
        !self.is_over && (self.was_heard || self.arrival != Arrival::Failed)
    }

    /// It began so often within an hour that it comes and goes.
    pub(super) const fn is_flapping(&self) -> bool {
        self.began.len() >= limits::ALERT_FLAPS
    }

    /// Whether it is not told again yet.
    fn holds(&self, now: Wall) -> bool {
        let within = if self.arrival == Arrival::Arrived { limits::ALERT_REMIND_FIRST } else { UNHEARD_AFTER };
        !self.is_over && is_within(self.at, now, within)
    }

    /// Goes on where that is.
    fn follow(&mut self, before: &Self, now: Wall) {
        let recent = before.began.iter().copied().filter(|at| is_within(*at, now, limits::ALERT_FLAPPING_WITHIN));
        self.began = if before.is_over { recent.chain(self.began.iter().copied()).collect() } else { recent.collect() };
        if before.is_open() {
            (self.since, self.relay, self.was_heard) = (before.since, before.relay.clone(), true);
        }
    }
}

/// Puts what is new among what was told; gives what is to be told of it. `others`: what was told beside that, of the same incident.
pub(super) fn begin(notes: &mut Vec<Note>, fresh: Vec<Note>, others: &[Note], now: Wall) -> Vec<Note> {
    let mut due = Vec::new();
    for mut note in fresh {
        let of_alert = |other: &&Note| other.alert == note.alert;
        let before = notes.iter().find(of_alert);
        if before.is_some_and(|before| before.holds(now)) {
            continue;
        }
        // One incident has one name, whatever this process knows of its relay.
        if let Some(open) = others.iter().filter(of_alert).find(|other| other.is_open()) {
            note.relay.clone_from(&open.relay);
        }
        if let Some(before) = before {
            let before = before.clone();
            note.follow(&before, now);
        }
        notes.retain(|other| other.alert != note.alert);
        notes.push(note.clone());
        due.push(note);
    }
    due
}

/// Where notes are.
pub(super) struct Pad<'a> {
    /// The best first.
    pub(super) places: &'a [PathBuf],
    pub(super) file: &'a str,
}

impl Pad<'_> {
    /// The latest of them.
    pub(super) fn read(&self) -> Vec<Note> {
        let all = self.places.iter().filter_map(|place| read(&place.join(self.file)));
        all.max_by_key(|notes| notes.iter().map(|note| note.at).max()).unwrap_or_default()
    }

    /// Whether one of the places takes them.
    pub(super) fn write(&self, notes: &[Note]) -> bool {
        let Ok(bytes) = serde_json::to_vec(notes) else { return false };
        let is_safe = |place: &Path| place.is_dir() && private::check_dir(place, private::Owners::Us).is_ok();
        let takes = |place: &PathBuf| is_safe(place) && private::replace(&place.join(self.file), &bytes).is_ok();
        let Some(taken) = self.places.iter().position(takes) else { return false };
        // What stands in a worse place is of a time when this one took nothing: it would be read, if it is of the same moment.
        for place in &self.places[taken + 1..] {
            let _gone = std::fs::remove_file(place.join(self.file));
        }
        true
    }
}

/// By the wall clock, which may have been set: what lies ahead by more than that says nothing.
fn is_within(at: i64, now: Wall, span: Duration) -> bool {
    let at = Wall::from_micros(at);
    at.since(now).max(now.since(at)) < span
}

fn read(path: &Path) -> Option<Vec<Note>> {
    let mut bytes = Vec::new();
    let file = private::open_existing(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Wall = Wall::from_micros(1_800_000_000_000_000);

    fn fresh(relay: &str, now: Wall) -> Vec<Note> {
        vec![Note::of("ops".into(), "x".into(), relay.into(), now)]
    }

    /// Who has heard it is told again after an hour, and who has not after a minute.
    #[test]
    fn only_who_has_heard_it_is_left_in_peace_for_an_hour() {
        let minutes = |count| NOON + Duration::from_mins(count);
        let mut notes = Vec::new();
        let mut is_told = |at, arrival| {
            let due = begin(&mut notes, fresh("a", at), &[], at);
            for note in &mut notes {
                note.arrival = arrival;
            }
            !due.is_empty()
        };
        assert!(is_told(NOON, Arrival::OnItsWay));
        // Of a process that was killed nobody knows.
        let of = |arrival| Note { arrival, ..fresh("a", NOON).remove(0) };
        let is_open = [Arrival::OnItsWay, Arrival::Arrived, Arrival::Failed].map(|arrival| of(arrival).is_open());
        assert_eq!(is_open, [true, true, false]);
        assert!(!is_told(NOON + Duration::from_secs(59), Arrival::Failed));
        assert!(is_told(minutes(1), Arrival::Failed));
        assert!(is_told(minutes(2), Arrival::Arrived));
        assert!(!is_told(minutes(61), Arrival::Arrived));
        assert!(is_told(minutes(62), Arrival::Arrived));
    }

    /// A reminder that nobody got leaves open what was told before it.
    #[test]
    fn what_was_heard_once_stays_open_though_its_reminder_fails() {
        let mut notes = Vec::new();
        begin(&mut notes, fresh("a", NOON), &[], NOON);
        notes[0].arrival = Arrival::Arrived;
        let later = NOON + Duration::from_hours(1);
        begin(&mut notes, fresh("b", later), &[], later);
        notes[0].arrival = Arrival::Failed;
        assert_eq!((notes[0].is_open(), notes[0].relay.as_str()), (true, "a"));
    }

    /// What was written down where there was no better place does not come back once there is one.
    #[test]
    fn a_better_place_takes_what_stood_in_a_worse_one() {
        let dir = tempfile::tempdir().unwrap();
        let places = ["best", "worse"].map(|name| dir.path().join(name));
        let pad = Pad { places: &places, file: "note" };
        let make = |place: &PathBuf| {
            std::fs::DirBuilder::new().create(place).unwrap();
            std::fs::set_permissions(place, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        };
        make(&places[1]);
        let mut notes = fresh("a", NOON);
        assert!(pad.write(&notes));
        make(&places[0]);
        notes[0].is_over = true;
        assert!(pad.write(&notes));
        assert_eq!(pad.read(), notes);
    }

    /// What fails after it was told as over is told at once; the fourth time within an hour it comes and goes.
    #[test]
    fn what_was_told_as_over_is_told_anew() {
        let mut notes = Vec::new();
        for (count, minute) in [0, 7, 14, 21].into_iter().enumerate() {
            let now = NOON + Duration::from_mins(minute);
            let due = begin(&mut notes, fresh("a", now), &[], now);
            assert_eq!((due.len(), due[0].is_flapping(), due[0].since), (1, count == 3, now.as_micros()));
            notes[0].arrival = Arrival::Arrived;
            assert!(begin(&mut notes, fresh("a", now), &[], now + Duration::from_mins(1)).is_empty());
            notes[0].is_over = true;
        }
        let later = NOON + Duration::from_mins(70);
        assert!(!begin(&mut notes, fresh("a", later), &[], later)[0].is_flapping());
    }

    /// What was not told as over keeps the name that it was told by, however long it lasts, and lends it to what else is told of it.
    #[test]
    fn an_incident_keeps_its_name_until_it_is_over() {
        let mut notes = Vec::new();
        begin(&mut notes, fresh("a", NOON), &[], NOON);
        notes[0].arrival = Arrival::Arrived;
        let beside = begin(&mut Vec::new(), fresh("b", NOON), &notes, NOON);
        let later = NOON + Duration::from_hours(2);
        let after = begin(&mut notes, fresh("b", later), &[], later);
        assert_eq!((beside[0].relay.as_str(), after[0].relay.as_str(), after[0].since), ("a", "a", NOON.as_micros()));
        notes[0].is_over = true;
        assert_eq!(begin(&mut notes, fresh("b", later), &[], later)[0].relay, "b");
    }
}
