//! What the code under test writes into the log, for a test to read.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, LazyLock, Mutex},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, set_default},
};

/// Listens to nobody. Where a single subscriber lives, whichever thread first comes by a line decides by its own subscriber, or by having none,
/// whether that line is ever told to any; where two do, both are asked.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Lines::default()));

/// Keeps every line above TRACE as text.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<String>>);

impl Lines {
    /// Keeps what this thread writes, until the guard is dropped.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        LazyLock::force(&ANOTHER);
        let lines = Self::default();
        let guard = set_default(lines.clone());
        (lines, guard)
    }

    /// All that was written.
    pub(crate) fn written(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// How many of them are of this `event=`.
    pub(crate) fn of(&self, event: &str) -> usize {
        self.written().matches(&format!("event=\"{event}\"")).count()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0, "{field}={value:?}").unwrap();
    }
}

/// What another thread came by first, with nobody to listen, is told here all the same.
#[test]
fn no_other_test_takes_a_line_away() {
    let tell = || tracing::info!(event = "nothing_there");
    let (lines, _guard) = Lines::listen();
    std::thread::spawn(tell).join().unwrap();
    assert_eq!(lines.written(), "", "that thread is listened to by nobody");
    tell();
    assert_eq!(lines.of("nothing_there"), 1);
}
