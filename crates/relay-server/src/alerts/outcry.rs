//! What is told when nobody is left who looks: the store keeps the server from its work, or failed for good, and the process ends.
//!
//! Everybody whom it concerns is told at once, beside the store, within [`limits::OUTCRY_WITHIN`]. What was told stands in a file, for a
//! service manager starts such a server again every few seconds: within an hour nothing is told twice. The next start that goes well tells
//! it as over by that file.
//!
//! **Invariant:** what cannot be written down is told only by a process that had run for a while: never a storm.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use relay_core::{
    alert::{Item, Key, Kind, Memory, Message, News, Scope, Severity, Told},
    limits,
    name::Name,
    time::{Now, Wall},
};
use relay_store::private;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::{
    notice::{Notice, Speaker},
    receiver::Receiver,
};
use crate::{
    Config,
    clock::Clock,
    config::DeclaredAlert,
    fetch::{Fetcher, Fetching},
    metrics::Metrics,
    relay_name::{RelayName, by_place},
    untold::Untold,
};

/// How long a disk may take that may be the one that failed.
const DISK_WITHIN: Duration = Duration::from_secs(2);
/// Between two tries to tell somebody.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes of the file at most.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// What it is a condition of.
const KEY: Key = Key { kind: Kind::Store, subject: None, scope: Scope::Server };

/// What is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cry {
    /// The process ends: the store failed, or cannot be opened.
    Ends,
    /// The store is being verified, and nothing is taken in meanwhile.
    Verifies,
}

impl Cry {
    const ALL: [Self; 2] = [Self::Ends, Self::Verifies];

    /// What the file is called.
    const fn file(self) -> &'static str {
        match self {
            Self::Ends => "told-failed",
            Self::Verifies => "told-verifying",
        }
    }
}

/// Tells everybody, where there are no alerts any more or not yet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outcry {
    declared: Vec<DeclaredAlert>,
    fetching: Fetching,
    speaker: Speaker,
    /// As of which relay it is told.
    mark: String,
    /// Directories for the file, the best first, which outlive the process: no temporary ones, of which a service manager makes new ones.
    places: Vec<PathBuf>,
    clock: Clock,
}

/// What was told, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// When, in microseconds since the epoch.
    at: i64,
    words: String,
    relay: String,
    /// To whom, until it is known in the store.
    alerts: Vec<String>,
}

impl Outcry {
    /// Of a server whose store nobody can ask.
    pub fn of(config: &Config) -> Self {
        let clock = Clock::start(Wall::MIN);
        Self::named(config, &RelayName::without_store(config, &by_place(config)), clock)
    }

    /// Of one that knows its name.
    pub(crate) fn named(config: &Config, relay: &RelayName, clock: Clock) -> Self {
        Self {
            declared: config.alerts.clone(),
            fetching: config.fetching.clone(),
            speaker: Speaker { relay: relay.shown.clone(), server: config.server.clone() },
            mark: relay.mark.clone(),
            places: [Some(&config.data_dir), config.runtime_dir.as_ref()].into_iter().flatten().cloned().collect(),
            clock,
        }
    }

    /// Tells everybody whom it concerns, in [`limits::OUTCRY_WITHIN`] at most, unless it was told within the hour. `ran`: for how long the
    /// process did what it is for.
    pub async fn tell(&self, cry: Cry, words: &str, ran: Duration) {
        let concerned = |alert: &&DeclaredAlert| alert.rule().is_for(KEY.kind, Severity::Critical);
        let told: Vec<&DeclaredAlert> = self.declared.iter().filter(concerned).collect();
        if told.is_empty() {
            return;
        }
        let outcome = timeout(limits::OUTCRY_WITHIN, async {
            if let Some(mark) = self.note(cry, words, &told, ran).await {
                join_all(told.iter().map(|alert| self.tell_one(alert, words, &mark))).await;
            }
        });
        if outcome.await.is_err() {
            let within = limits::OUTCRY_WITHIN.as_secs();
            tracing::error!(event = "alert_untold", "not everybody could be told within {within} s that {words}");
        }
    }

    /// What it told that nobody told as over yet, for those who look after alerts from now on.
    pub(super) fn left(&self) -> Vec<(Name, Memory)> {
        let mut left: Vec<(Name, Memory)> = Vec::new();
        for note in Cry::ALL.into_iter().filter_map(|cry| self.read(cry)) {
            for alert in note.alerts.iter().filter_map(|name| name.parse::<Name>().ok()) {
                if left.iter().all(|(known, _)| *known != alert) {
                    let at = Wall::from_micros(note.at);
                    let told = Told { is_sent: true, ..told_at(at, &note.words, &note.relay) };
                    left.push((alert, Memory { at, interval: Duration::ZERO, told: vec![told] }));
                }
            }
        }
        left
    }

    /// What is [left](Self::left) is known elsewhere; that it was told is still known here.
    pub(super) fn is_known(&self) {
        for cry in Cry::ALL {
            if let Some(note) = self.read(cry).filter(|note| !note.alerts.is_empty()) {
                // Told as over once more after the next start, if it cannot be written.
                let _ = self.write(cry, &Note { alerts: Vec::new(), ..note });
            }
        }
    }

    /// The server has run for so long that the next failure is another one.
    pub(super) fn forget(&self) {
        for (place, cry) in self.places.iter().flat_map(|place| Cry::ALL.map(|cry| (place, cry))) {
            drop(fs::remove_file(place.join(cry.file())));
        }
    }

    /// The same, where that is written down elsewhere.
    #[cfg(test)]
    pub(super) fn noted_in(self, places: Vec<PathBuf>) -> Self {
        Self { places, ..self }
    }

    /// As of which relay it is told now; `None`: it was told within the hour. That it is told is written down.
    async fn note(&self, cry: Cry, words: &str, told: &[&DeclaredAlert], ran: Duration) -> Option<String> {
        let now = self.clock.now().wall;
        let alerts = told.iter().map(|alert| alert.name.to_string()).collect();
        let note = Note { at: now.as_micros(), words: words.to_owned(), relay: self.mark.clone(), alerts };
        let outcry = self.clone();
        let noted = tokio::task::spawn_blocking(move || {
            if outcry.read(cry).is_some_and(|before| is_recent(Wall::from_micros(before.at), now)) {
                return Noted::Before;
            }
            // What nobody told as over yet is the same incident, whatever this process knows of its name.
            let known = Cry::ALL.into_iter().filter_map(|cry| outcry.read(cry)).find(|note| !note.alerts.is_empty());
            let relay = known.map_or(note.relay.clone(), |known| known.relay);
            if outcry.write(cry, &Note { relay: relay.clone(), ..note }) { Noted::Now(relay) } else { Noted::Nowhere }
        });
        match timeout(DISK_WITHIN, noted).await {
            Ok(Ok(Noted::Now(relay))) => Some(relay),
            Ok(Ok(Noted::Before)) => {
                tracing::info!(event = "alert_held", "told within the last hour, and not again: {words}");
                None
            }
            // A disk that hangs, or no place at all: a process that is started again and again would tell it each time.
            Ok(Ok(Noted::Nowhere) | Err(_)) | Err(_) if ran >= limits::OUTCRY_RAN => Some(self.mark.clone()),
            Ok(Ok(Noted::Nowhere) | Err(_)) | Err(_) => {
                tracing::error!(event = "alert_untold", "it cannot be written down that it was told: {words}");
                None
            }
        }
    }

    /// Until it is told; whoever waits has a bound.
    async fn tell_one(&self, alert: &DeclaredAlert, words: &str, mark: &str) {
        let fetcher = match Fetcher::new(self.fetching.clone()) {
            Ok(fetcher) => Arc::new(fetcher),
            Err(error) => {
                tracing::error!(event = "alert_untold", alert = alert.name.as_str(), %error);
                return;
            }
        };
        let (metrics, untold) = (Arc::<Metrics>::default(), Untold::default());
        let receiver = Receiver::new(alert.clone(), self.speaker.clone(), fetcher, self.clock, metrics, untold);
        let notice = Notice::of(message(alert, words, mark, self.clock.now()));
        while let Err(why) = receiver.send_once(&notice).await {
            tracing::warn!(event = "alert_failed", alert = alert.name.as_str(), why, "tried again in a second");
            sleep(RETRY).await;
        }
    }

    fn read(&self, cry: Cry) -> Option<Note> {
        let notes = self.places.iter().filter_map(|place| read(&place.join(cry.file())));
        notes.max_by_key(|note| note.at)
    }

    /// Whether one of the places takes it.
    fn write(&self, cry: Cry, note: &Note) -> bool {
        let Ok(bytes) = serde_json::to_vec(note) else { return false };
        let is_safe = |place: &Path| place.is_dir() && private::check_dir(place, private::Owners::Us).is_ok();
        self.places.iter().any(|place| is_safe(place) && private::replace(&place.join(cry.file()), &bytes).is_ok())
    }
}

/// What came of writing it down.
enum Noted {
    /// It is, as of that relay.
    Now(String),
    Before,
    Nowhere,
}

fn message(alert: &DeclaredAlert, words: &str, mark: &str, now: Now) -> Message {
    let Told { key, severity, words, since, count, relay, .. } = told_at(now.wall, words, mark);
    let item = Item { key, severity, words, since, count, news: News::Begun, relay };
    let (over, lasting) = (Vec::new(), Vec::new());
    Message { alert: alert.name.clone(), at: now.wall, begun: vec![item], over, lasting, more: 0 }
}

/// By the wall clock, which may have been set: what lies ahead by more than an hour says nothing.
fn is_recent(at: Wall, now: Wall) -> bool {
    at.since(now).max(now.since(at)) < limits::ALERT_REMIND_FIRST
}

fn read(path: &Path) -> Option<Note> {
    let mut bytes = Vec::new();
    let file = private::open_existing(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn told_at(since: Wall, words: &str, relay: &str) -> Told {
    let words: String = words.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let words = words[..words.floor_char_boundary(limits::WORDS_BYTES_MAX)].to_owned();
    Told {
        key: KEY,
        severity: Severity::Critical,
        words,
        since,
        count: 0,
        is_flapping: false,
        is_sent: false,
        is_named: true,
        relay: relay.to_owned(),
    }
}
