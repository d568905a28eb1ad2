//! What libraries warn of, as lines of ours: `event="library"`, one a minute for each part of a library, for strangers and
//! targets can cause as many as they like.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use relay_core::{limits, lines::LogLines, time::Mono};
use tokio::time::Instant;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::{
    printer::{Printer, Stream},
    render::{time, visible::visible_bytes},
};

/// Characters of a library's words that are told.
const WORDS_MAX: usize = 300;

/// Writes the lines.
pub(super) struct Libraries {
    printer: &'static Printer,
    is_json: bool,
    began: Instant,
    /// By part of a library, of which a program has so many.
    lines: Mutex<LogLines<String>>,
}

/// What a library says.
#[derive(Debug, Default)]
struct Said {
    words: String,
    /// Where lines of another way of logging come from.
    target: Option<String>,
}

impl Libraries {
    pub(super) fn new(printer: &'static Printer, is_json: bool) -> Self {
        Self { printer, is_json, began: Instant::now(), lines: Mutex::default() }
    }

    /// The line, unless there was one about that part within this minute.
    fn line(&self, library: &str, level: &str, words: &str, now: Mono) -> Option<String> {
        let left_out = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.may_tell(library, limits::LINES_OF_STRANGERS, now)?
        };
        let what = visible_bytes(words.as_bytes(), WORDS_MAX);
        let at = Timestamp::try_from(time::now()).unwrap_or_default();
        // Not ours to act on: what follows from it is told by a line of its own.
        Some(if self.is_json {
            let line = serde_json::json!({
                "timestamp": at.to_string(), "level": "WARN", "event": "library", "library": library, "said_as": level,
                "what": what, "left_out": left_out,
            });
            format!("{line}\n")
        } else {
            format!(
                "{at}  WARN event=\"library\" library={library:?} said_as={level:?} what={what:?} left_out={left_out}\n"
            )
        })
    }
}

impl<S: Subscriber> Layer<S> for Libraries {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let metadata = event.metadata();
        let library = said.target.as_deref().unwrap_or(metadata.target());
        let level = metadata.level().as_str().to_ascii_lowercase();
        let now = Mono::default() + self.began.elapsed();
        if let Some(line) = self.line(library, &level, &said.words, now) {
            self.printer.print(Stream::Err, line.as_bytes());
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "log.target" => self.target = Some(value.to_owned()),
            "message" => value.clone_into(&mut self.words),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.words = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: however much a library has to say, one line a minute, with what was left out; nothing in it steers or goes on.
    #[tokio::test]
    async fn a_library_has_one_line_a_minute() {
        for is_json in [false, true] {
            let libraries = Libraries::new(crate::printer::begin().unwrap(), is_json);
            let seconds = |seconds: u64| Mono::from_micros(seconds * 1_000_000);
            let words = format!("invalid peer certificate\u{1b}[2J\n{}", "x".repeat(5_000));
            let line = libraries.line("tls::verify", "error", &words, seconds(0)).unwrap();
            assert!(line.contains("\"library\"") && line.contains("invalid peer certificate"), "{line}");
            assert!(line.len() < 600 && line.matches('\n').count() == 1 && !line.contains('\u{1b}'), "{line}");
            let more = (1..60).filter(|second| libraries.line("tls::verify", "error", "x", seconds(*second)).is_some());
            assert_eq!(more.count(), 0);
            assert!(libraries.line("other", "warn", "x", seconds(30)).is_some(), "another part");
            let next = libraries.line("tls::verify", "error", "x", seconds(60)).unwrap();
            assert!(next.contains(if is_json { "\"left_out\":59" } else { "left_out=59" }), "{next}");
        }
    }
}
