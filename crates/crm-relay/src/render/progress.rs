//! How far something is that takes long: one line on a terminal, written over again and again, and nothing elsewhere.
//!
//! All long commands tell it with this: how much of how much, how fast, how much time is left. They can be interrupted
//! ([`crate::signals`]) and then say how far they came.

use std::{io::Write as _, time::Duration};

use tokio::time::Instant;

use super::{human_duration, style};

/// Between two looks of whoever watches.
const EVERY: Duration = Duration::from_millis(200);
/// The rate is that of the last while, so that a slow beginning is forgotten.
const WINDOW: Duration = Duration::from_secs(5);
/// The way to the beginning of a line that is taken away.
const ANEW: &str = "\r\u{1b}[K";

/// A line that tells how far it is. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    unit: Unit,
    /// How much there is to do, where that is known.
    total: Option<u64>,
    done: u64,
    pace: Pace,
    looked: Instant,
    is_shown: bool,
    is_watched: bool,
}

/// Reckons how fast it goes.
#[derive(Debug)]
struct Pace {
    /// When how much was done: what the rate is reckoned from.
    from: (Instant, u64),
    /// The same, half a window later.
    next: (Instant, u64),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Things,
    Bytes,
}

impl Progress {
    /// Of so many, where somebody watches.
    pub(crate) fn new(total: u64) -> Self {
        Self::start(Unit::Things, Some(total))
    }

    /// Of nobody knows how many.
    pub(crate) fn endless() -> Self {
        Self::start(Unit::Things, None)
    }

    /// Of so many bytes.
    pub(crate) fn bytes(total: u64) -> Self {
        Self::start(Unit::Bytes, Some(total))
    }

    fn start(unit: Unit, total: Option<u64>) -> Self {
        let now = Instant::now();
        Self {
            unit,
            total,
            done: 0,
            pace: Pace { from: (now, 0), next: (now, 0) },
            looked: now,
            is_shown: false,
            is_watched: style::is_attended(),
        }
    }

    /// So many more are done.
    pub(crate) fn add(&mut self, more: u64) {
        self.reach(self.done + more, self.total);
    }

    /// So many are done, of so many.
    pub(crate) fn reach(&mut self, done: u64, total: Option<u64>) {
        (self.done, self.total) = (done, total);
        if !self.is_watched || self.looked.elapsed() < EVERY {
            return;
        }
        let now = Instant::now();
        (self.looked, self.is_shown) = (now, true);
        show(&words(self.unit, done, total, self.pace.rate(now, done)));
    }

    /// Takes the line away, before something else is said.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            show("");
        }
    }
}

/// Writes the line anew.
fn show(words: &str) {
    let mut screen = anstream::stderr().lock();
    // A terminal that is gone is told by the next result.
    let _gone = write!(screen, "{ANEW}{words}").and_then(|()| screen.flush());
}

impl Pace {
    /// So many a second, as of now.
    fn rate(&mut self, now: Instant, done: u64) -> f64 {
        let (since, then) = self.from;
        let rate = done.saturating_sub(then) as f64 / (now - since).as_secs_f64().max(0.001);
        if now - self.next.0 >= WINDOW / 2 {
            self.from = std::mem::replace(&mut self.next, (now, done));
        }
        rate
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `1000 of 5000, 100/s, 40 s left`; short enough for any terminal.
fn words(unit: Unit, done: u64, total: Option<u64>, rate: f64) -> String {
    let amount = |number: u64| match unit {
        Unit::Things => number.to_string(),
        Unit::Bytes => size(number),
    };
    let speed = match unit {
        Unit::Things if rate < 10.0 => format!("{rate:.1}/s"),
        Unit::Things => format!("{rate:.0}/s"),
        Unit::Bytes => format!("{}/s", size(rate as u64)),
    };
    let Some(total) = total else { return format!("{}, {speed}", amount(done)) };
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
    let so_far = format!("{percent:3} %, {} of {}", amount(done), amount(total));
    // Nobody can tell yet, and nobody needs to be told that a standstill takes for ever.
    if rate < 0.01 {
        return so_far;
    }
    let left = Duration::from_secs((total.saturating_sub(done) as f64 / rate).ceil() as u64);
    format!("{so_far}, {speed}, {} left", human_duration(left))
}

/// `3.2 GiB`: for people, who compare it with the size of a disk.
fn size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift {
            return format!("{:.1} {unit}", bytes as f64 / f64::from(1 << shift));
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_many_how_fast_and_how_long() {
        let things = |done, total, rate| words(Unit::Things, done, total, rate);
        assert_eq!(things(1_000, Some(5_000), 100.0), " 20 %, 1000 of 5000, 100/s, 40 s left");
        assert_eq!(things(0, Some(5), 0.0), "  0 %, 0 of 5");
        assert_eq!(things(3, Some(3), 2.5), "100 %, 3 of 3, 2.5/s, 0 s left");
        assert_eq!(things(12_000, None, 4_000.0), "12000, 4000/s");
        assert_eq!(things(0, Some(0), 0.0), "100 %, 0 of 0");
        let bytes = words(Unit::Bytes, 3 << 30, Some(4 << 30), f64::from(64 << 20));
        assert_eq!(bytes, " 75 %, 3.0 GiB of 4.0 GiB, 64.0 MiB/s, 16 s left");
        let longest = words(Unit::Things, 10_u64.pow(12), Some(10_u64.pow(13)), 123_456.7);
        assert!(longest.len() < 80, "{longest}");
    }

    #[test]
    fn the_rate_is_that_of_the_last_while() {
        let began = Instant::now();
        let mut pace = Pace { from: (began, 0), next: (began, 0) };
        let (mut done, mut rate) = (0, 0.0);
        for second in 1..=40_u64 {
            done += if second <= 20 { 1 } else { 1_000 };
            rate = pace.rate(began + Duration::from_secs(second), done);
        }
        assert!((990.0..1_010.0).contains(&rate), "{rate}");
    }
}
