//! Points in time and spans, for people.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use relay_core::time::Wall;

use super::visible::visible;
use crate::quantity::{self, Bare};

/// The present, for whoever shows or reads a time.
#[expect(clippy::disallowed_methods, reason = "the one place of the commands that asks")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// The same, for what is written down in a store.
pub(crate) fn wall() -> Wall {
    let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall::from_micros(since.as_micros() as i64)
}

/// A moment that a store wrote down, in RFC 3339.
pub(crate) fn rfc3339(at: Wall) -> String {
    Timestamp::from_microsecond(at.as_micros()).map_or_else(|_| String::new(), |at| at.to_string())
}

/// The two largest units: `3 s`, `14 min`, `2 h 5 min`, `3 d 4 h`.
pub fn human_duration(span: Duration) -> String {
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

/// `12s`, `3m`, `5h`, `2d`: how long ago, for a column; `in 3m` if it is still to come. Text that is no point in time
/// stays as it is.
pub(crate) fn short(rfc3339: &str, now: SystemTime) -> String {
    let (Ok(then), Ok(now)) = (rfc3339.parse::<Timestamp>(), Timestamp::try_from(now)) else {
        return visible(rfc3339).into_owned();
    };
    let span = now.duration_since(then);
    let seconds = span.unsigned_abs().as_secs();
    let text = match seconds {
        0..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds / 60),
        6_000..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    };
    if span.is_negative() && seconds > 0 { format!("in {text}") } else { text }
}

/// `in 3m`, `now`, `late by 3m`: when something is to happen, for a column. What is a second or two behind is on its way.
pub(crate) fn due(rfc3339: &str, now: SystemTime) -> String {
    const NOW: i64 = 2;
    let (Ok(then), Ok(present)) = (rfc3339.parse::<Timestamp>(), Timestamp::try_from(now)) else {
        return visible(rfc3339).into_owned();
    };
    match present.duration_since(then).as_secs() {
        ..0 => short(rfc3339, now),
        0..=NOW => "now".to_owned(),
        _ => format!("late by {}", short(rfc3339, now)),
    }
}

/// A point in time as people write it: RFC 3339, a day, or a span before `now`. Gives RFC 3339.
///
/// # Errors
/// What would be right.
pub(crate) fn point(text: &str, now: SystemTime) -> Result<String, String> {
    if let Ok(time) = moment(text) {
        return Ok(time);
    }
    let span = quantity::duration(text, Bare::Seconds).ok().and_then(|span| now.checked_sub(span));
    let time = span.and_then(|then| Timestamp::try_from(then).ok());
    time.map(|time| time.to_string())
        .ok_or_else(|| "want a time like 2026-01-31T12:00:00Z, a day, or 2h for two hours ago".to_owned())
}

/// A point in time that may be still to come: RFC 3339, or a day. Gives RFC 3339.
///
/// # Errors
/// What would be right.
pub(crate) fn moment(text: &str) -> Result<String, String> {
    let day = || format!("{text}T00:00:00Z").parse::<Timestamp>();
    let time = text.parse::<Timestamp>().or_else(|_| day());
    time.map(|time| time.to_string()).map_err(|_| "want a time like 2026-01-31T12:00:00Z, or a day".to_owned())
}

/// Whether a point in time, in RFC 3339, is before another; of what is none, nobody knows, and so it may be.
pub(crate) fn is_before(first: &str, second: &str) -> bool {
    match (first.parse::<Timestamp>(), second.parse::<Timestamp>()) {
        (Ok(first), Ok(second)) => first < second,
        _ => true,
    }
}

/// A point in time that is so long before another, in RFC 3339; what is none stays as it is.
pub(crate) fn before(rfc3339: &str, span: Duration) -> String {
    let then = rfc3339.parse::<Timestamp>().ok().and_then(|at| at.checked_sub(span).ok());
    then.map_or_else(|| rfc3339.to_owned(), |then| then.to_string())
}

/// The time of day in UTC, for lines that come one after the other.
pub(crate) fn clock(now: SystemTime) -> String {
    Timestamp::try_from(now).map_or_else(|_| String::new(), |now| now.strftime("%H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_their_two_largest_units() {
        for (ms, text) in [
            (0, "0 s"),
            (250, "250 ms"),
            (3_000, "3 s"),
            (90_000, "1 min 30 s"),
            (840_000, "14 min"),
            (7_500_000, "2 h 5 min"),
            (86_400_000, "1 d"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(human_duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn points_in_time_are_told_from_now() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(short("1970-01-12T13:46:28Z", now), "12s");
        assert_eq!(short("1970-01-12T13:49:40Z", now), "in 3m");
        assert_eq!(short("1970-01-12T11:46:28Z", now), "2h");
        assert_eq!(short("1970-01-01T00:00:00Z", now), "11d");
        assert_eq!(short("so\u{9b}on", now), "so\\u{9b}on");
        assert_eq!(due("1970-01-12T13:49:40Z", now), "in 3m");
        assert_eq!(due("1970-01-12T13:46:39Z", now), "now");
        assert_eq!(due("1970-01-12T13:46:40.7Z", now), "now", "less than a second is no time");
        assert_eq!(due("1970-01-12T13:46:28Z", now), "late by 12s");
        assert_eq!(due("so\u{9b}on", now), "so\\u{9b}on");
    }
}
