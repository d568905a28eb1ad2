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

/// Reads `250ms`, `30s`, `5 min`, `36h`, `1h30m`, `7d`, or a bare number.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str, bare: Bare) -> Result<Duration, String> {
    const WANT: &str = "not a duration: want a number with ms, s, m, h or d, like 250ms, 30s, 1h30m or 7d";
    let wrong = || WANT.to_owned();
    let mut rest = text.trim();
    let (mut total, mut above) = (0.0, f64::INFINITY);
    while !rest.is_empty() || above.is_infinite() {
        let (number, unit, after) = first(rest);
        // A number alone has a unit of its own only where it stands alone.
        let is_alone = above.is_infinite() && after.is_empty();
        let unit_ms = match (unit, bare) {
            ("", Bare::Millis) if is_alone => 1.0,
            ("", Bare::Seconds) if is_alone => 1_000.0,
            // An M may be minutes, months or millions.
            ("M", _) => return Err(format!("{WANT}; minutes are m")),
            _ => unit_of(&unit.to_ascii_lowercase()).ok_or_else(wrong)?,
        };
        // From the largest to the smallest, each once.
        if unit_ms >= above {
            return Err(wrong());
        }
        let value: f64 = number.parse().map_err(|_| wrong())?;
        total += value * unit_ms;
        (above, rest) = (unit_ms, after);
    }
    // Beyond 1,000 years nothing is meant seriously, and microseconds must fit 63 bits.
    if !(0.0..=3.2e13).contains(&total) {
        return Err(wrong());
    }
    Ok(Duration::from_micros((total * 1_000.0).round() as u64))
}

/// Milliseconds of a unit.
fn unit_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" | "msec" | "millis" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
        "d" | "day" | "days" => 86_400_000.0,
        _ => return None,
    })
}

/// Reads `true`, `yes`, `on` or `1`, and what is the contrary.
///
/// # Errors
/// What would be right.
pub fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("want true or false".to_owned()),
    }
}

/// Reads `4096`, `64KiB`, `25MiB`, `1GiB`; `MB` counts as `MiB`, as it does nearly everywhere.
///
/// # Errors
/// What would be right.
pub fn size(text: &str) -> Result<u64, String> {
    const WANT: &str = "not a size: want a number with KiB, MiB or GiB, like 25MiB, or bytes";
    let (number, unit, rest) = first(text);
    if !rest.is_empty() {
        return Err(WANT.to_owned());
    }
    if unit.is_empty() && number.contains('.') {
        return Err("a size without a unit is in bytes, and those are whole: want 25MiB, or 26214400".to_owned());
    }
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

/// The first number, its unit, and what follows; blanks between them do not matter.
fn first(text: &str) -> (&str, &str, &str) {
    let text = text.trim();
    let end = |text: &str, of: fn(char) -> bool| text.find(|char| !of(char)).unwrap_or(text.len());
    let (number, rest) = text.split_at(end(text, |char| char.is_ascii_digit() || char == '.'));
    let rest = rest.trim_start();
    let (unit, rest) = rest.split_at(end(rest, |char| !char.is_ascii_digit() && !char.is_whitespace()));
    (number, unit, rest.trim_start())
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
            ("1h30m", 5_400_000),
            ("1d 12h", 129_600_000),
            ("1 day", 86_400_000),
            ("24 hours", 86_400_000),
            ("30sec", 30_000),
            ("24H", 86_400_000),
            (" 10 S ", 10_000),
        ] {
            assert_eq!(duration(text, Bare::Seconds), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(duration("1000", Bare::Millis), Ok(Duration::from_secs(1)));
        for bad in [
            "",
            "s",
            "-1s",
            "1w",
            "1e3",
            "7 fortnights",
            "999999999999d",
            "1..5s",
            "NaN",
            "1,5s",
            "5M",
            "30m1h",
            "1h30",
            "1h1h",
            "\u{661}0s",
            "0x10",
            "1_000",
        ] {
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
        for bad in ["", "MiB", "-1", "1 MiBs", "lots", "99999999TiB", "1.5", "1e6", "1,5MiB", "1MiB 2KiB", "1 2"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flag_is_read_in_every_spelling() {
        for (text, want) in
            [("true", true), ("Yes", true), ("ON", true), ("1", true), ("false", false), ("no", false), ("off", false)]
        {
            assert_eq!(flag(text), Ok(want), "{text}");
        }
        assert!(flag("perhaps").is_err() && flag("").is_err());
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
