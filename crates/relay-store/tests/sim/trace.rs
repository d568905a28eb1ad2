//! What happened, line by line: kept only when somebody wants to read or compare it.

use std::fmt::{Arguments, Write as _};

/// A log in virtual time.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    text: Option<String>,
    steps: u64,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { text: keep.then(String::new), steps: 0 }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, clock: u64, what: Arguments<'_>) {
        self.steps += 1;
        if let Some(text) = &mut self.text {
            let (seconds, micros) = (clock / 1_000_000, clock % 1_000_000);
            writeln!(text, "{seconds:>6}.{micros:06} {what}").expect("writing to a string works");
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text.unwrap_or_default()
    }
}
