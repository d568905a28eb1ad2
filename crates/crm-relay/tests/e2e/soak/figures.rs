//! What was measured now and then, and whether it stayed the same.

use std::{fmt, time::Duration};

/// Memory is flat if its line through the second half rises by no more than this part of its mean, or by [`RISE_KIB`].
const RISE: f64 = 0.05;
const RISE_KIB: f64 = 2048.0;
/// Open files are flat if the second half has no more of them than the first, and these: of a command that asks, of a file being turned.
const MORE_FILES: f64 = 4.0;
/// An answer is flat if its usual p99 in the second half is no more than that of the first half times this, or by [`LATER_MS`] later.
const LATER: f64 = 1.5;
const LATER_MS: f64 = 10.0;
/// What waits is flat if it is never more than comes in so many seconds.
const WAITING_SECONDS: f64 = 1.0;

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) server_kib: u64,
    pub(super) client_kib: u64,
    pub(super) server_files: u64,
    pub(super) client_files: u64,
    /// Of the answers since the sample before.
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) waiting: u64,
}

impl Sample {
    /// What stands over the samples.
    pub(super) const HEAD: &str =
        "      at  server MiB  client MiB  server files  client files    p50 ms    p99 ms  waiting";
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6.0} s  {:>10.1}  {:>10.1}  {:>12}  {:>12}  {:>8.1}  {:>8.1}  {:>7}",
            self.at.as_secs_f64(),
            self.server_kib as f64 / 1024.0,
            self.client_kib as f64 / 1024.0,
            self.server_files,
            self.client_files,
            ms(self.p50),
            ms(self.p99),
            self.waiting
        )
    }
}

/// What is said of one figure.
#[derive(Debug)]
pub(super) struct Verdict {
    what: &'static str,
    found: f64,
    bound: f64,
    unit: &'static str,
    /// What else is to be known of it.
    more: String,
}

impl Verdict {
    pub(super) fn is_flat(&self) -> bool {
        self.found <= self.bound
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, found, bound, unit, more } = self;
        let is = if self.is_flat() { "flat" } else { "NOT flat" };
        write!(f, "{what}: {is} ({found:.1} {unit}, at most {bound:.1}{more})")
    }
}

/// Judges all of them; `rate` webhooks came a second.
pub(super) fn verdicts(samples: &[Sample], rate: u32) -> Vec<Verdict> {
    let (first, second) = samples.split_at(samples.len() / 2);
    vec![
        memory("server's memory", second, |sample| sample.server_kib),
        memory("client's memory", second, |sample| sample.client_kib),
        files("server's open files", first, second, |sample| sample.server_files),
        files("client's open files", first, second, |sample| sample.client_files),
        answers(first, second),
        Verdict {
            what: "what waits",
            found: most(second, |sample| sample.waiting),
            bound: f64::from(rate) * WAITING_SECONDS,
            unit: "deliveries",
            more: String::new(),
        },
    ]
}

fn memory(what: &'static str, half: &[Sample], kib: impl Fn(&Sample) -> u64) -> Verdict {
    let points: Vec<(f64, f64)> = half.iter().map(|one| (one.at.as_secs_f64(), kib(one) as f64)).collect();
    let mean = points.iter().map(|(_, kib)| kib).sum::<f64>() / points.len().max(1) as f64;
    let lasted = points.last().map_or(0.0, |last| last.0) - points.first().map_or(0.0, |first| first.0);
    let slope = slope(&points);
    let more = format!(" over the second half; {:+.1} MiB an hour", slope * 3600.0 / 1024.0);
    Verdict { what, found: slope * lasted, bound: (mean * RISE).max(RISE_KIB), unit: "KiB more", more }
}

fn files(what: &'static str, first: &[Sample], second: &[Sample], count: impl Fn(&Sample) -> u64) -> Verdict {
    let bound = most(first, &count) + MORE_FILES;
    Verdict { what, found: most(second, &count), bound, unit: "at the most", more: String::new() }
}

fn answers(first: &[Sample], second: &[Sample]) -> Verdict {
    let usual = |half: &[Sample]| {
        let mut all: Vec<Duration> = half.iter().map(|sample| sample.p99).collect();
        all.sort_unstable();
        ms(percentile(&all, 50))
    };
    let before = usual(first);
    let bound = (before * LATER).max(before + LATER_MS);
    Verdict { what: "p99 of the answer", found: usual(second), bound, unit: "ms", more: format!("; first {before:.1}") }
}

fn most(samples: &[Sample], count: impl Fn(&Sample) -> u64) -> f64 {
    samples.iter().map(count).max().unwrap_or(0) as f64
}

/// That of the line with the least squares through these points; none if they are at one place.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let across: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if along > 0.0 { across / along } else { 0.0 }
}

/// Of sorted values; zero if there is none.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[test]
fn what_grows_is_not_flat_and_what_stays_is() {
    let sample = |second: u64| Sample {
        at: Duration::from_secs(second),
        server_kib: 50_000 + second % 3,
        client_kib: 20_000 + 100 * second,
        server_files: 30,
        client_files: 20 + second,
        p50: Duration::from_millis(5),
        p99: Duration::from_millis(20),
        waiting: second,
    };
    let samples: Vec<Sample> = (0..100).map(sample).collect();
    let judge = |rate| verdicts(&samples, rate).iter().map(Verdict::is_flat).collect::<Vec<bool>>();
    assert_eq!(judge(200), [true, false, true, false, true, true]);
    assert_eq!(judge(50), [true, false, true, false, true, false]);
    let later =
        |second: u64| Sample { p99: Duration::from_millis(if second < 50 { 20 } else { 31 }), ..sample(second) };
    let samples: Vec<Sample> = (0..100).map(later).collect();
    assert!(!verdicts(&samples, 200)[4].is_flat());
}

#[test]
fn the_slope_is_that_of_the_line_with_the_least_squares() {
    assert!((slope(&[(0.0, 1.0), (1.0, 2.0), (2.0, 6.0)]) - 2.5).abs() < 1e-9);
    assert!(slope(&[(1.0, 1.0), (1.0, 5.0)]).abs() < 1e-9);
    let hundred: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
    assert_eq!(percentile(&hundred, 99), Duration::from_millis(99));
}
