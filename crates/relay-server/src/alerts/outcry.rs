//! What is told when nobody is left who looks: the store keeps the server from its work, or failed for good, and the process ends.
//!
//! Everybody whom it concerns is told at once, beside the store, within [`limits::OUTCRY_WITHIN`]. What was told stands in a file, for a
//! service manager starts such a server again every few seconds: within an hour nobody who has heard it is told twice, and who has not is
//! tried once a minute. A server that runs again tells by that file that it is over; what fails after that is told anew, and what fails
//! again and again is told to come and go.
//!
//! **Invariant:** what cannot be written down is told only by a process that had run for a while: never a storm.

mod note;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use relay_core::{
    alert::{Item, Key, Kind, Memory, Message, News, Scope, Severity, Told},
    limits,
    name::Name,
    time::Wall,
};
use tokio::time::{sleep, timeout};

use self::note::{Arrival, Note, Pad};
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
    relay_name::{self, RelayName},
    untold::Untold,
};

/// How long a disk may take that may be the one that failed.
const DISK_WITHIN: Duration = Duration::from_secs(2);
/// Between two tries to tell somebody.
const RETRY: Duration = Duration::from_secs(1);
/// What it is a condition of.
const KEY: Key = Key { kind: Kind::Store, subject: None, scope: Scope::Server };

/// What is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cry {
    /// The process ends: the store failed, or cannot be opened.
    Ends,
    /// The store takes long to open, and nothing is taken in meanwhile.
    Opens,
}

impl Cry {
    const ALL: [Self; 2] = [Self::Ends, Self::Opens];

    /// What the file is called.
    const fn file(self) -> &'static str {
        match self {
            Self::Ends => "told-failed",
            Self::Opens => "told-opening",
        }
    }
}

/// Tells everybody, where there are no alerts any more or not yet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outcry {
    declared: Vec<DeclaredAlert>,
    fetching: Fetching,
    speaker: Speaker,
    /// As of which relay it is told; `None`: as of what is known beside the store.
    mark: Option<String>,
    data_dir: PathBuf,
    /// Directories for the file, the best first, which outlive the process: no temporary ones, of which a service manager makes new ones.
    places: Vec<PathBuf>,
    /// Held by whoever reads what was told to write it anew.
    writing: Arc<Mutex<()>>,
    clock: Clock,
}

impl Outcry {
    /// Of a server whose store nobody can ask.
    pub fn of(config: &Config) -> Self {
        let relay = RelayName::without_store(config, "");
        let mark = Some(relay.mark.clone()).filter(|mark| !mark.is_empty());
        Self { mark, ..Self::named(config, &relay, Clock::start(Wall::MIN)) }
    }

    /// Of one that knows its name.
    pub(crate) fn named(config: &Config, relay: &RelayName, clock: Clock) -> Self {
        Self {
            declared: config.alerts.clone(),
            fetching: config.fetching.clone(),
            speaker: Speaker {
                relay: relay.shown.clone(),
                server: config.server.clone(),
                dashboard: config.dashboard_url(),
            },
            mark: Some(relay.mark.clone()),
            data_dir: config.data_dir.clone(),
            places: [Some(&config.data_dir), config.runtime_dir.as_ref()].into_iter().flatten().cloned().collect(),
            writing: Arc::default(),
            clock,
        }
    }

    /// Where the dashboard is, if anybody said so.
    pub(super) fn dashboard(&self) -> Option<String> {
        self.speaker.dashboard.clone()
    }

    /// Tells everybody whom it concerns, in [`limits::OUTCRY_WITHIN`] at most, and nobody who has heard it within the hour. `ran`: for how
    /// long the process did what it is for.
    pub async fn tell(&self, cry: Cry, words: &str, ran: Duration) {
        let concerned = |alert: &&DeclaredAlert| alert.rule().is_for(KEY.kind, Severity::Critical);
        let told: Vec<&DeclaredAlert> = self.declared.iter().filter(concerned).collect();
        if told.is_empty() {
            return;
        }
        let outcome = timeout(limits::OUTCRY_WITHIN, async {
            let due = self.due(cry, words, &told, ran).await;
            let of = |note: &Note| told.iter().find(|alert| alert.name.as_str() == note.alert);
            let pairs = due.iter().filter_map(|note| Some((of(note)?, note)));
            join_all(pairs.map(|(alert, note)| self.tell_one(cry, alert, note))).await;
        });
        if outcome.await.is_err() {
            let within = limits::OUTCRY_WITHIN.as_secs();
            tracing::error!(event = "alert_untold", "not everybody could be told within {within} s that {words}");
        }
    }

    /// What was told that nobody told as over yet, for those who look after alerts from now on. `is_steady`: what came and went, once the
    /// server has kept running.
    pub(super) async fn left(&self, is_steady: bool) -> Vec<(Name, Memory)> {
        let read = self.on_disk(|outcry| Cry::ALL.map(|cry| outcry.pad(cry).read()).concat()).await;
        let mut left: Vec<(Name, Memory)> = Vec::new();
        for note in read.unwrap_or_default() {
            let is_told = note.is_open() && note.is_flapping() == is_steady;
            let Some(alert) = note.alert.parse::<Name>().ok().filter(|_| is_told) else { continue };
            let at = Wall::from_micros(note.at);
            let memory = Memory { at, interval: Duration::ZERO, told: vec![told_of(&note)] };
            // Whatever else was told beside it is of the same incident.
            if left.iter().all(|(known, _)| *known != alert) {
                left.push((alert, memory));
            }
        }
        left
    }

    /// An alert has told it as over: what fails now is another failure.
    pub(super) async fn is_over(&self, alert: &Name) {
        let alert = alert.to_string();
        let end = move |outcry: &Self| {
            for cry in Cry::ALL {
                outcry.change(cry, |notes| {
                    notes.iter_mut().filter(|note| note.alert == alert).for_each(|note| note.is_over = true);
                });
            }
        };
        // Told as over once more after the next start, if it cannot be written.
        self.on_disk(end).await;
    }

    /// The same, where that is written down elsewhere.
    #[cfg(test)]
    pub(super) fn noted_in(self, places: Vec<PathBuf>) -> Self {
        Self { places, ..self }
    }

    /// Who is to be told now, which is written down.
    async fn due(&self, cry: Cry, words: &str, told: &[&DeclaredAlert], ran: Duration) -> Vec<Note> {
        let (now, words) = (self.clock.now().wall, plain(words));
        let alerts: Vec<String> = told.iter().map(|alert| alert.name.to_string()).collect();
        let fresh = {
            let (alerts, words) = (alerts, words.clone());
            move |mark: &str| -> Vec<Note> {
                alerts.iter().map(|alert| Note::of(alert.clone(), words.clone(), mark.to_owned(), now)).collect()
            }
        };
        let stand_in = self.mark.clone().unwrap_or_else(|| relay_name::by_place(&self.data_dir));
        let unwritten = fresh(&stand_in);
        let noted = self.on_disk(move |outcry| {
            let mark = outcry.mark.clone().or_else(|| relay_name::beside(&outcry.data_dir)).unwrap_or(stand_in);
            let others = Cry::ALL.into_iter().filter(|other| *other != cry).flat_map(|other| outcry.pad(other).read());
            let others: Vec<Note> = others.collect();
            let mut due = Vec::new();
            let is_written = outcry.change(cry, |notes| due = note::begin(notes, fresh(&mark), &others, now));
            is_written.then_some(due)
        });
        match noted.await {
            Some(Some(due)) => {
                if due.len() < told.len() {
                    tracing::info!(
                        event = "alert_held",
                        "told within the last hour, and not to everybody again: {words}"
                    );
                }
                due
            }
            // A disk that hangs, or no place at all: a process that is started again and again would tell it each time.
            Some(None) | None if ran >= limits::OUTCRY_RAN => unwritten,
            Some(None) | None => {
                tracing::error!(event = "alert_untold", "it cannot be written down that it was told: {words}");
                Vec::new()
            }
        }
    }

    /// Until it is told; whoever waits has a bound.
    async fn tell_one(&self, cry: Cry, alert: &DeclaredAlert, note: &Note) {
        let fetcher = match Fetcher::new(self.fetching.clone()) {
            Ok(fetcher) => Arc::new(fetcher),
            Err(error) => {
                tracing::error!(event = "alert_untold", alert = alert.name.as_str(), %error);
                return self.came(cry, note, Arrival::Failed).await;
            }
        };
        let (metrics, untold) = (Arc::<Metrics>::default(), Untold::default());
        let mut speaker = self.speaker.clone();
        if speaker.relay.is_empty() {
            speaker.relay.clone_from(&note.relay);
        }
        let receiver = Receiver::new(alert.clone(), speaker, fetcher, self.clock, metrics, untold);
        let notice = Notice::of(message(alert, note));
        while let Err(why) = receiver.send_once(&notice).await {
            tracing::warn!(event = "alert_failed", alert = alert.name.as_str(), why, "tried again in a second");
            self.came(cry, note, Arrival::Failed).await;
            sleep(RETRY).await;
            // Whoever ends in the middle of the next one does not know what came of it.
            self.came(cry, note, Arrival::OnItsWay).await;
        }
        self.came(cry, note, Arrival::Arrived).await;
    }

    /// Writes down what became of it.
    async fn came(&self, cry: Cry, note: &Note, arrival: Arrival) {
        let alert = note.alert.clone();
        let write = move |outcry: &Self| {
            outcry.change(cry, |notes| {
                notes.iter_mut().filter(|note| note.alert == alert).for_each(|note| note.arrival = arrival);
            });
        };
        self.on_disk(write).await;
    }

    /// Asks a disk that may hang: `None`.
    async fn on_disk<T: Send + 'static>(&self, ask: impl FnOnce(&Self) -> T + Send + 'static) -> Option<T> {
        let outcry = self.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&outcry));
        timeout(DISK_WITHIN, asked).await.ok()?.ok()
    }

    /// Changes what was told; whether one of the places takes that.
    fn change(&self, cry: Cry, change: impl FnOnce(&mut Vec<Note>)) -> bool {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let pad = self.pad(cry);
        let before = pad.read();
        let mut notes = before.clone();
        change(&mut notes);
        // What alerts were told that are there no more nobody ends.
        notes.retain(|note| self.declared.iter().any(|alert| alert.name.as_str() == note.alert));
        notes == before || pad.write(&notes)
    }

    fn pad(&self, cry: Cry) -> Pad<'_> {
        Pad { places: &self.places, file: cry.file() }
    }
}

/// Whether it is what is told here that is told of in `memory`.
pub(super) fn is_in(memory: &Memory) -> bool {
    memory.told.iter().any(|told| told.key == KEY)
}

fn message(alert: &DeclaredAlert, note: &Note) -> Message {
    let Told { key, severity, words, since, count, relay, .. } = told_of(note);
    let news = if note.is_flapping() { News::Flapping } else { News::Begun };
    let item = Item { key, severity, words, since, count, news, relay };
    let (over, lasting) = (Vec::new(), Vec::new());
    Message { alert: alert.name.clone(), at: Wall::from_micros(note.at), begun: vec![item], over, lasting, more: 0 }
}

/// On one line, and cut.
fn plain(words: &str) -> String {
    let words: String = words.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    words[..words.floor_char_boundary(limits::WORDS_BYTES_MAX)].to_owned()
}

fn told_of(note: &Note) -> Told {
    Told {
        key: KEY,
        severity: Severity::Critical,
        words: plain(&note.words),
        since: Wall::from_micros(note.since),
        count: 0,
        is_flapping: note.is_flapping(),
        is_sent: note.was_heard || note.arrival == Arrival::Arrived,
        is_named: true,
        relay: note.relay.clone(),
    }
}
