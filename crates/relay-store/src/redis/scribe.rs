//! Who writes down what was acknowledged: on a thread of its own, so that a disk that hangs holds up neither answers nor whoever looks
//! whether Redis is another.
//!
//! **Invariant:** one thing is asked for at a time, and nothing is kept for later here: what is not taken is remembered elsewhere, bounded.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{self, Receiver, SyncSender, TryRecvError},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::notebook::{Found, Note, Notebook};

/// A disk that has not answered for so long is said to hang.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// What is to be written down.
#[derive(Debug)]
pub(super) enum Notes {
    /// Behind the others.
    New(Vec<Note>),
    /// In the place of all others.
    All(Vec<Note>),
}

/// What came of what was asked for.
#[derive(Debug)]
enum Came {
    /// What an earlier run wrote down, or why it was not read.
    Opened(io::Result<Found>),
    /// Whether most of it is over now.
    Written(io::Result<bool>),
}

/// Whoever writes it down, as the others see him.
#[derive(Debug)]
pub(super) struct Scribe {
    path: PathBuf,
    asks: SyncSender<Notes>,
    comes: Receiver<Came>,
    /// Since when something is under way.
    since: Option<Instant>,
    /// All is to be written next: the file is as it was found, has grown, or could not be written.
    wants_all: bool,
    /// A disk that has not answered for so long is said to hang.
    hangs_after: Duration,
    /// It was said that nothing is written down at the moment.
    is_told: bool,
}

impl Scribe {
    /// Opens the file of a store of this name, and reads it.
    pub(super) fn begin(path: PathBuf, store: String) -> Self {
        let at = path.clone();
        Self::over(path, move || Notebook::open(&at, &store))
    }

    /// The same, opened so.
    fn over(path: PathBuf, open: impl Fn() -> io::Result<(Notebook, Found)> + Send + 'static) -> Self {
        let (asks, asked) = mpsc::sync_channel(1);
        let (come, comes) = mpsc::sync_channel(1);
        // It ends with whoever asks, or with the process: one whose disk hangs cannot be waited for.
        let begun = thread::Builder::new().name("acknowledged".into()).spawn(move || write_all(&open, &asked, &come));
        if let Err(error) = begun {
            tracing::warn!(event = "acknowledged_unwritten", %error, "what was acknowledged is not remembered over a restart");
        }
        let since = Some(Instant::now());
        Self { path, asks, comes, since, wants_all: true, hangs_after: HANGS_AFTER, is_told: false }
    }

    /// What an earlier run wrote down, when it is read; and what else has come.
    pub(super) fn heard(&mut self) -> Option<Vec<Note>> {
        let came = match self.comes.try_recv() {
            Ok(came) => came,
            Err(TryRecvError::Empty) => {
                if self.since.is_some_and(|since| since.elapsed() > self.hangs_after) {
                    self.tell(&"its disk does not answer");
                }
                return None;
            }
            Err(TryRecvError::Disconnected) => return None,
        };
        self.since = None;
        match came {
            Came::Opened(Ok(Found { notes, unread })) => {
                if unread > 0 {
                    let path = self.path.display();
                    tracing::warn!(
                        event = "acknowledged_unread",
                        %path,
                        unread,
                        "so many bytes of what was acknowledged before this start are damaged, or another STREAM_NAME's: what Redis \
                         lost of that is not named"
                    );
                }
                return Some(notes);
            }
            // It is opened once more.
            Came::Opened(Err(error)) => {
                self.since = Some(Instant::now());
                self.tell(&error);
            }
            Came::Written(Ok(has_grown)) => (self.wants_all, self.is_told) = (has_grown, false),
            Came::Written(Err(error)) => {
                self.wants_all = true;
                self.tell(&error);
            }
        }
        None
    }

    /// Has written down what there is, if nothing is under way. `notes` are told whether they shall be all.
    pub(super) fn write(&mut self, notes: impl FnOnce(bool) -> Option<Notes>) {
        if self.since.is_some() {
            return;
        }
        let Some(notes) = notes(self.wants_all) else { return };
        self.since = Some(Instant::now());
        // Nothing is under way, so there is room; and whoever has no thread writes nothing.
        drop(self.asks.try_send(notes));
    }

    /// Once, until it goes on.
    fn tell(&mut self, why: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.is_told, true) {
            let path = self.path.display();
            tracing::warn!(
                event = "acknowledged_unwritten",
                %path,
                %why,
                "what was acknowledged last is remembered, but not over a restart, until it can be written down again"
            );
        }
    }
}

/// How long a file that cannot be opened is left alone.
const OPENS_EVERY: Duration = Duration::from_secs(5);

fn write_all(open: &dyn Fn() -> io::Result<(Notebook, Found)>, asked: &Receiver<Notes>, come: &SyncSender<Came>) {
    let mut book = loop {
        let opened = open();
        let (book, found) = match opened {
            Ok((book, found)) => (Some(book), Ok(found)),
            Err(error) => (None, Err(error)),
        };
        if come.send(Came::Opened(found)).is_err() {
            return;
        }
        match book {
            Some(book) => break book,
            None => thread::sleep(OPENS_EVERY),
        }
    };
    while let Ok(notes) = asked.recv() {
        let written = match notes {
            Notes::New(notes) => book.add(&notes),
            Notes::All(notes) => book.rewrite(&notes),
        };
        if come.send(Came::Written(written.map(|()| book.has_grown()))).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Mutex};

    use relay_core::{delivery::Delivery, event::Event, id::IdMint, time::Wall};

    use super::{super::acknowledged::Acknowledged, *};

    fn made(count: usize) -> Vec<Delivery> {
        let (at, mut mint) = (Wall::from_micros(1_800_000_000_000_000), IdMint::new(0, 7));
        let event = Event {
            id: mint.event(at),
            source: "in".parse().expect("a name"),
            method: bytes::Bytes::new(),
            path: bytes::Bytes::new(),
            query: None,
            headers: Vec::new(),
            body: bytes::Bytes::new(),
            body_sha256: [0; 32],
            received_at: at,
            name: None,
            key: None,
        };
        let destination: relay_core::name::Name = "crm".parse().expect("a name");
        let ready = |id| Delivery::ready(id, &event, destination.clone(), false, at, Duration::from_hours(1));
        (0..count).map(|_| ready(mint.delivery(at))).collect()
    }

    /// What stands in the file, once there are so many notes.
    fn written(path: &std::path::Path, count: usize) -> Vec<Note> {
        loop {
            let found =
                fs::read(path).map_or_else(|_| Found::default(), |_| Notebook::open(path, "one").expect("opens").1);
            if found.notes.len() >= count {
                return found.notes;
            }
            thread::yield_now();
        }
    }

    /// I16: a disk that hangs holds up nobody, and what is not written down meanwhile does not grow: once it answers, all of it is.
    #[test]
    fn a_disk_that_hangs_holds_up_nobody() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let path = dir.path().join("acknowledged");
        let (answers, waits) = mpsc::channel::<()>();
        let (at, waits) = (path.clone(), Mutex::new(waits));
        let open = move || {
            waits.lock().expect("nobody panics").recv().expect("it answers");
            Notebook::open(&at, "one")
        };
        let (acknowledged, mut scribe) = (Acknowledged::default(), Scribe::over(path.clone(), open));
        scribe.hangs_after = Duration::ZERO;
        acknowledged.is_written_down();
        let all = made(20_000);
        for some in all.chunks(500) {
            acknowledged.remember(0, some);
            assert!(scribe.heard().is_none());
            scribe.write(|all| acknowledged.unwritten(all, None));
            assert!(acknowledged.waiting() <= 4_096, "{}", acknowledged.waiting());
        }
        assert!(scribe.is_told, "it is said, once");
        answers.send(()).expect("somebody waits");
        while scribe.heard().is_none() {
            thread::yield_now();
        }
        scribe.write(|all| acknowledged.unwritten(all, None));
        let notes = written(&path, 4_096);
        assert_eq!(notes.len(), 4_096);
        assert!(matches!(&notes[4_095], Note::Made(id, _) if *id == all[19_999].id));
        // From then on only what is new.
        while scribe.since.is_some() {
            assert!(scribe.heard().is_none());
            thread::yield_now();
        }
        assert!(!scribe.is_told);
        acknowledged.remember(1, &made(1));
        scribe.write(|all| acknowledged.unwritten(all, None));
        assert_eq!(written(&path, 4_097).len(), 4_097);
    }
}
