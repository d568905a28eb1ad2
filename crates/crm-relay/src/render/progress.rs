//! How far something is that takes long: one line on a terminal, written over again and again, and nothing elsewhere.

use std::{io::Write as _, time::Duration};

use tokio::time::Instant;

use super::{human_duration, style};

/// Between two looks of whoever watches.
const EVERY: Duration = Duration::from_millis(200);

/// A line that tells how far it is.
pub(crate) struct Progress {
    total: u64,
    done: u64,
    began: Instant,
    said: Option<Instant>,
    is_watched: bool,
}

impl Progress {
    /// Of so many, where somebody watches.
    pub(crate) fn new(total: u64) -> Self {
        Self { total, done: 0, began: Instant::now(), said: None, is_watched: style::is_attended() }
    }

    /// So many more are done.
    pub(crate) fn add(&mut self, more: u64) {
        self.done += more;
        let last = self.said.unwrap_or(self.began);
        if self.is_watched && last.elapsed() >= EVERY {
            self.said = Some(Instant::now());
            anstream::eprint!("\r\u{1b}[K{}", words(self.done, self.total, self.began.elapsed()));
            // A terminal that is gone is told by the next result.
            let _gone = std::io::stderr().flush();
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if self.said.take().is_some() {
            anstream::eprint!("\r\u{1b}[K");
        }
    }
}

fn words(done: u64, total: u64, took: Duration) -> String {
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let left = Duration::from_secs_f64(total.saturating_sub(done) as f64 / rate.max(0.001));
    let rate = if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") };
    format!("{done} of {total}, {rate}/s, {} left", human_duration(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_many_how_fast_and_how_long() {
        assert_eq!(words(1_000, 5_000, Duration::from_secs(10)), "1000 of 5000, 100/s, 40 s left");
        assert_eq!(words(0, 5, Duration::ZERO), "0 of 5, 0.0/s, 1 h 23 min left");
    }
}
