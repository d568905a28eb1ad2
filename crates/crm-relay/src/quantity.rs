//! Durations, sizes, rates and counts as people write them.

use std::{ops::RangeInclusive, time::Duration};

use relay_core::limits;

/// Unit of a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// `RETRY_DELAY=1000` has always meant milliseconds.
    Millis,
    /// Everything else.
    Seconds,
}

/// Reads `250ms`, `30s`, `5m`, `36h`, `7d`, or a bare number.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str, bare: Bare) -> Result<Duration, String> {
    const WANT: &str = "not a duration: want a number with ms, s, m, h or d, like 250ms, 30s or 7d";
    let (number, unit) = split(text);
    let unit_ms: f64 = match (unit, bare) {
        ("", Bare::Millis) | ("ms", _) => 1.0,
        ("", Bare::Seconds) | ("s", _) => 1_000.0,
        ("m" | "min", _) => 60_000.0,
        ("h", _) => 3_600_000.0,
        ("d", _) => 86_400_000.0,
        _ => return Err(WANT.to_owned()),
    };
    let value: f64 = number.parse().map_err(|_| WANT.to_owned())?;
    let ms = value * unit_ms;
    // Beyond 1,000 years nothing is meant seriously, and microseconds must fit 63 bits.
    if !(0.0..=3.2e13).contains(&ms) {
        return Err(WANT.to_owned());
    }
    Ok(Duration::from_micros((ms * 1_000.0).round() as u64))
}

/// Reads `4096`, `64KiB`, `25MiB`, `1GiB`; `MB` counts as `MiB`, as it does nearly everywhere.
///
/// # Errors
/// What would be right.
pub fn size(text: &str) -> Result<u64, String> {
    const WANT: &str = "not a size: want a number with KiB, MiB or GiB, like 25MiB, or bytes";
    let (number, unit) = split(text);
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(WANT.to_owned()),
    };
    let value: f64 = number.parse().map_err(|_| WANT.to_owned())?;
    let bytes = value * factor;
    if !(0.0..=9.0e15).contains(&bytes) {
        return Err(WANT.to_owned());
    }
    Ok(bytes.round() as u64)
}

/// Reads a whole number of these, for an option.
///
/// # Errors
/// What would be right.
pub fn whole(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text: &str| {
        let number = text.trim().parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| match (range.start(), range.end()) {
            (min, &u64::MAX) => format!("want a whole number, {min} or more"),
            (min, max) => format!("want a whole number from {min} to {max}"),
        })
    }
}

/// Reads so many a second: `20`, `0.5` and `20/s`.
///
/// # Errors
/// What would be right.
pub fn rate(text: &str) -> Result<f64, String> {
    let (min, max) = (limits::RATE_MIN, limits::RATE_MAX);
    let number = text.trim().strip_suffix("/s").unwrap_or(text).trim().parse().ok();
    let number = number.filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("want a number a second from {min} to {max}, like 20 or 0.5"))
}

/// Writes a duration the way a setting takes it, in the largest unit that leaves no rest.
pub fn show_duration(span: Duration) -> String {
    let ms = span.as_millis();
    for (unit_ms, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if ms >= unit_ms && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

/// Writes a size the way a setting takes it.
pub fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Number and unit; blanks between them do not matter.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_a_unit() {
        for (text, ms) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("30", 30_000),
            ("1.5h", 5_400_000),
            ("7d", 604_800_000),
            ("5 min", 300_000),
        ] {
            assert_eq!(duration(text, Bare::Seconds), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(duration("1000", Bare::Millis), Ok(Duration::from_secs(1)));
        for bad in ["", "s", "-1s", "1w", "1e3", "7 fortnights", "999999999999d", "1..5s", "NaN"] {
            assert!(duration(bad, Bare::Seconds).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_in_powers_of_two() {
        for (text, bytes) in
            [("4096", 4096), ("25MiB", 26_214_400), ("25 mb", 26_214_400), ("64k", 65_536), ("0.5GiB", 536_870_912)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "1 MiBs", "lots", "99999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_told_what_would_be_one() {
        assert_eq!(whole(1..=1000)(" 50 "), Ok(50));
        for bad in ["", " ", "0", "-1", "1001", "1.5", "99999999999999999999", "many"] {
            assert_eq!(whole(1..=1000)(bad), Err("want a whole number from 1 to 1000".to_owned()), "{bad}");
        }
        assert_eq!(whole(1..=u64::MAX)("0"), Err("want a whole number, 1 or more".to_owned()));
        assert_eq!((rate("20"), rate(" 0.5/s "), rate("10000")), (Ok(20.0), Ok(0.5), Ok(10_000.0)));
        for bad in ["", "0", "-1", "1e-320", "1e308", "inf", "NaN", "fast"] {
            assert!(rate(bad).unwrap_err().starts_with("want a number a second from 0.01 to 10000"), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for ms in [1, 250, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000, 259_200_000] {
            let span = Duration::from_millis(ms);
            assert_eq!(duration(&show_duration(span), Bare::Seconds), Ok(span));
        }
        for bytes in [0, 1, 1023, 1024, 26_214_400, 268_435_456, 1 << 40] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
    }
}
