//! Timestamps: read from text, compared with the time of the check, and written.

use std::time::Duration;

use relay_core::time::Wall;

use crate::{Refusal, parameters::Parameters};

/// How a timestamp is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Whole seconds since 1970.
    Seconds,
    /// Whole milliseconds since 1970.
    Millis,
    /// `2024-02-29T12:00:00.5+01:00`.
    Rfc3339,
}

const DAY_MILLIS: i64 = 86_400_000;

impl Unit {
    /// Milliseconds since 1970.
    pub(crate) fn read(self, text: &[u8]) -> Option<i64> {
        let text = str::from_utf8(text).ok()?;
        match self {
            Self::Seconds => whole(text)?.checked_mul(1_000),
            Self::Millis => whole(text),
            Self::Rfc3339 => read_rfc3339(text),
        }
    }

    pub(crate) fn write(self, now: Wall) -> String {
        match self {
            Self::Seconds => (now.as_millis() / 1_000).to_string(),
            Self::Millis => now.as_millis().to_string(),
            Self::Rfc3339 => rfc3339(now),
        }
    }

    /// What a reader should have found.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "whole seconds since 1970",
            Self::Millis => "whole milliseconds since 1970",
            Self::Rfc3339 => "a date and time as in RFC 3339",
        }
    }
}

/// Refuses a timestamp that cannot be read, is too old, or too far ahead. Without a tolerance any age is good.
pub(crate) fn check_window(
    text: &[u8],
    unit: Unit,
    place: &str,
    tolerance: Option<Duration>,
    now: Wall,
) -> Result<(), Refusal> {
    let Some(stamp) = unit.read(text) else {
        return Err(Refusal::new("malformed_timestamp", format!("{place} must be {}", unit.name())));
    };
    let Some(tolerance) = tolerance else { return Ok(()) };
    let now = now.as_micros().div_euclid(1_000);
    // A sender that counts in seconds has cut off up to one.
    let apart =
        if unit == Unit::Seconds { now.div_euclid(1_000).abs_diff(stamp / 1_000) * 1_000 } else { now.abs_diff(stamp) };
    if u128::from(apart) <= tolerance.as_millis() {
        return Ok(());
    }
    let (apart, limit) = (apart.div_ceil(1_000), tolerance.as_secs());
    if stamp < now {
        Err(Refusal::new("stale_timestamp", format!("timestamp {apart} s old, limit {limit} s")))
    } else {
        Err(Refusal::new("future_timestamp", format!("timestamp {apart} s ahead, limit {limit} s")))
    }
}

/// How far a signed timestamp may be off at a source; `None`: any age.
pub(crate) fn tolerance(parameters: &mut Parameters<'_>) -> Option<Duration> {
    let text = parameters.one("tolerance");
    if text.is_empty() {
        return None;
    }
    let tolerance = read_tolerance(text);
    if tolerance.is_none() {
        parameters.fault("tolerance", format!("{text:?} must be a time like 300s, 10m or 1h, or off"));
    }
    tolerance.filter(|tolerance| *tolerance != Duration::MAX)
}

/// A duration as a parameter has it: `300`, `300s`, `10m`, `1h`, `2d`; `off` is [`Duration::MAX`].
pub(crate) fn read_tolerance(text: &str) -> Option<Duration> {
    if text == "off" {
        return Some(Duration::MAX);
    }
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = u64::try_from(whole(digits)?).ok()?.checked_mul(unit)?;
    (seconds > 0).then_some(Duration::from_secs(seconds))
}

/// A number in its one canonical form.
fn whole(text: &str) -> Option<i64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Digits of exactly this many places.
fn digits(text: &str, places: usize) -> Option<i64> {
    (text.len() == places && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn read_rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let date = [date.get(..4)?, date.get(4..5)?, date.get(5..7)?, date.get(7..8)?, date.get(8..)?];
    let time = [time.get(..2)?, time.get(2..3)?, time.get(3..5)?, time.get(5..6)?, time.get(6..)?];
    if (date[1], date[3], time[1], time[3]) != ("-", "-", ":", ":") {
        return None;
    }
    let (millis, zone) = fraction(rest)?;
    let day = days(digits(date[0], 4)?, digits(date[2], 2)?, digits(date[4], 2)?)?;
    let time = clock(digits(time[0], 2)?, digits(time[2], 2)?, digits(time[4], 2)?)?;
    Some(day * DAY_MILLIS + time + millis - offset(zone)?)
}

/// A fraction of a second, of which milliseconds count, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(fraction) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = fraction.find(|digit: char| !digit.is_ascii_digit())?;
    let padded = format!("{:0<3}", &fraction[..end]);
    (end > 0).then_some((digits(&padded[..3], 3)?, &fraction[end..]))
}

/// The offset from UTC in milliseconds.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    // ISO 8601 has it without the colon, or without minutes, too.
    let (hours, minutes) = match &zone[1..] {
        hours if hours.len() == 2 => (hours, "00"),
        basic if basic.len() == 4 => basic.split_at_checked(2)?,
        extended => extended.split_once(':')?,
    };
    Some(sign * clock(digits(hours, 2)?, digits(minutes, 2)?, 0)?)
}

fn clock(hours: i64, minutes: i64, seconds: i64) -> Option<i64> {
    // A leap second is written as the sixtieth.
    (hours < 24 && minutes < 60 && seconds <= 60).then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000)
}

/// Days since 1970-01-01 in the Gregorian calendar.
///
/// **Source:** "chrono-compatible low-level date algorithms", Howard Hinnant, `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Year, month and day of a day since 1970-01-01.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// `2024-02-29T12:00:00.500Z`.
pub(crate) fn rfc3339(now: Wall) -> String {
    let millis = now.as_micros().div_euclid(1_000);
    let (year, month, day) = civil(millis.div_euclid(DAY_MILLIS));
    let (hours, minutes, seconds) = time_of(millis);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", millis.rem_euclid(1_000))
}

fn time_of(millis: i64) -> (i64, i64, i64) {
    let seconds = millis.rem_euclid(DAY_MILLIS) / 1_000;
    (seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_in_every_spelling_of_their_unit() {
        for (unit, text, expected) in [
            (Unit::Seconds, "1700000000", Some(1_700_000_000_000)),
            (Unit::Seconds, "0", Some(0)),
            (Unit::Seconds, "01", None),
            (Unit::Seconds, "+1", None),
            (Unit::Seconds, "", None),
            (Unit::Seconds, "99999999999999999999", None),
            (Unit::Millis, "1700000000123", Some(1_700_000_000_123)),
            (Unit::Rfc3339, "2020-01-01T00:00:00-07:00", Some(1_577_862_000_000)),
            (Unit::Rfc3339, "2023-11-14T22:13:20Z", Some(1_700_000_000_000)),
            (Unit::Rfc3339, "2023-11-14T22:13:20.123456789Z", Some(1_700_000_000_123)),
            (Unit::Rfc3339, "2023-11-14T22:13:20.5Z", Some(1_700_000_000_500)),
            (Unit::Rfc3339, "2023-11-14T23:13:20+0100", Some(1_700_000_000_000)),
            (Unit::Rfc3339, "2023-11-14T23:13:20.5+01", Some(1_700_000_000_500)),
            (Unit::Rfc3339, "2023-11-14 22:13:20-00", Some(1_700_000_000_000)),
            (Unit::Rfc3339, "2023-11-14T22:13:20+1", None),
            (Unit::Rfc3339, "2023-11-14T22:13:20+010", None),
            (Unit::Rfc3339, "2023-11-14T22:13:20+01000", None),
            (Unit::Rfc3339, "2023-11-14T22:13:20+0é0", None),
            (Unit::Rfc3339, "2023-11-14T22:13:20.Z", None),
            (Unit::Rfc3339, "2023-11-14T22:13:20", None),
            (Unit::Rfc3339, "2023-13-14T22:13:20Z", None),
            (Unit::Rfc3339, "2023-1é-14T22:13:20Z", None),
            (Unit::Rfc3339, "1969-12-31T23:59:59Z", Some(-1_000)),
        ] {
            assert_eq!(unit.read(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [0, 951_782_400, 1_700_000_000, 1_709_208_000, 4_102_444_799] {
            let now = Wall::from_micros(seconds * 1_000_000);
            for unit in [Unit::Seconds, Unit::Millis, Unit::Rfc3339] {
                assert_eq!(unit.read(unit.write(now).as_bytes()), Some(seconds * 1_000), "{unit:?} {seconds}");
            }
        }
    }

    #[test]
    fn a_tolerance_is_a_number_with_a_unit_or_off() {
        for (text, expected) in [
            ("300", Some(Duration::from_mins(5))),
            ("10m", Some(Duration::from_mins(10))),
            ("2d", Some(Duration::from_hours(48))),
            ("off", Some(Duration::MAX)),
            ("0", None),
            ("5x", None),
            ("", None),
            ("s", None),
        ] {
            assert_eq!(read_tolerance(text), expected, "{text}");
        }
    }
}
