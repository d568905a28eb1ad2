//! Numbers, spans and moments as people read them. Moments are in UTC here; the module shows them in the viewer's zone.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use relay_core::time::Wall;

/// `1,204,331`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `0 B`, `999 B`, `1.2 KiB`, `25 MiB`: at most three digits before the unit.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// The two largest units: `41 ms`, `3 s`, `14 min`, `2 h 5 min`, `3 d 4 h`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match seconds {
        0 if span.as_millis() > 0 => format!("{} ms", span.as_millis()),
        0..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", if seconds < 600 { seconds % 60 } else { 0 }, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A moment for machines: `2026-11-28T18:25:44.120Z`.
pub fn iso(at: Wall) -> String {
    written(at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// A moment for a column: `18:25:44.120` on the day of `now`, else `Nov 28 18:25`, in another year `2025-11-28`.
pub fn clock(at: Wall, now: Wall) -> String {
    let (same_day, same_year) = (written(at, "%F") == written(now, "%F"), written(at, "%Y") == written(now, "%Y"));
    written(
        at,
        if same_day {
            "%H:%M:%S%.3f"
        } else if same_year {
            "%b %-d %H:%M"
        } else {
            "%F"
        },
    )
}

/// A moment alone: `2026-11-28 18:25:44.120`.
pub fn full(at: Wall) -> String {
    written(at, "%F %H:%M:%S%.3f")
}

/// How long ago, or until when, in the largest unit: `2 h ago`, `in 4 s`, `now`.
pub fn ago(at: Wall, now: Wall) -> String {
    let (past, ahead) = (now.since(at), at.since(now));
    if ahead >= Duration::from_secs(1) {
        return format!("in {}", largest(ahead));
    }
    if past < Duration::from_secs(1) {
        return "now".to_owned();
    }
    format!("{} ago", largest(past))
}

fn largest(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// What is no moment of any calendar is shown as the number that it is.
fn written(at: Wall, format: &str) -> String {
    match Timestamp::from_microsecond(at.as_micros()) {
        Ok(at) => TimeZone::UTC.to_datetime(at).strftime(format).to_string(),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_groups_and_units() {
        assert_eq!([0, 999, 1000, 1_204_331].map(count), ["0", "999", "1,000", "1,204,331"]);
        let sizes = [0, 999, 1000, 1229, 10_189, 1_048_576, 26_214_400, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 KiB", "1.2 KiB", "10 KiB", "1.0 MiB", "25 MiB", "16 EiB"]);
    }

    #[test]
    fn a_moment_is_as_long_as_it_needs() {
        let at = |text: &str| Wall::from_micros(text.parse::<Timestamp>().unwrap().as_microsecond());
        let now = at("2026-11-28T18:25:44.120Z");
        assert_eq!(clock(now, now), "18:25:44.120");
        assert_eq!(clock(at("2026-11-02T08:05:00Z"), now), "Nov 2 08:05");
        assert_eq!(clock(at("2025-11-28T18:25:44Z"), now), "2025-11-28");
        assert_eq!(iso(now), "2026-11-28T18:25:44.120Z");
        assert_eq!(ago(at("2026-11-28T16:20:44Z"), now), "2 h ago");
        assert_eq!(ago(at("2026-11-28T18:25:48.9Z"), now), "in 4 s");
        assert_eq!(ago(now, now), "now");
        assert_eq!(clock(Wall::MAX, now), format!("{}us", i64::MAX));
    }
}
