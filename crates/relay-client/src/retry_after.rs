//! The `Retry-After` header (RFC 9110 section 10.2.3): seconds, or an HTTP date in any of its three forms (section 5.6.7).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header::RETRY_AFTER};
use jiff::{
    Timestamp,
    civil::DateTime,
    fmt::{rfc2822, strtime},
    tz::TimeZone,
};

/// The span that an answer asks to wait, from now; a date that has passed is zero, nonsense is `None`.
pub(crate) fn of(headers: &HeaderMap) -> Option<Duration> {
    of_at(headers, SystemTime::now())
}

fn of_at(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a wish for very long.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let now = Timestamp::try_from(now).ok()?;
    let at = date(text, now)?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// An IMF-fixdate, with what senders make of it, or one of the two obsolete forms that are to be read all the same.
fn date(text: &str, now: Timestamp) -> Option<Timestamp> {
    let in_1123 = || rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    // The C library's: a day of one digit stands after two spaces.
    let in_asctime = || utc(strtime::parse("%a %b %e %H:%M:%S %Y", text).ok()?.to_datetime().ok()?);
    in_1123().or_else(in_asctime).or_else(|| in_850(text, now))
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`. A year that would be more than fifty years ahead is the last one that ends so.
fn in_850(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (weekday, rest) = text.strip_suffix(" GMT")?.split_once(", ")?;
    if !WEEKDAYS.contains(&weekday) {
        return None;
    }
    let at = strtime::parse("%d-%b-%y %H:%M:%S", rest).ok()?.to_datetime().ok()?;
    let this_year = TimeZone::UTC.to_datetime(now).year();
    let mut year = this_year - this_year.rem_euclid(100) + at.year().rem_euclid(100);
    if year <= this_year - 50 {
        year += 100;
    }
    if year > this_year + 50 {
        year -= 100;
    }
    utc(at.with().year(year).build().ok()?)
}

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn utc(at: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(at).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_nonsense_is_not() {
        let now = UNIX_EPOCH + Duration::from_secs(1_445_412_421);
        for (text, want) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(59)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("  5\t", Some(5)),
            ("007", Some(7)),
            ("Wed, 21 Oct 2015 07:28:00 +0000", Some(59)),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", Some(59)),
            ("Wed Oct 21 07:28:00 2015", Some(59)),
            ("Sun Nov  6 08:49:37 1994", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(0)),
            ("Friday, 21-Oct-65 07:28:00 GMT", Some(59 + 1_577_923_200)),
            ("Wednesday, 21-Oct-66 07:28:00 GMT", Some(0)),
            ("Wednesday, 32-Oct-15 07:28:00 GMT", None),
            ("Someday, 21-Oct-15 07:28:00 GMT", None),
            ("Wednesday, 21-Oct-15 07:28:00", None),
            ("Wed Oct 21 25:28:00 2015", None),
            ("+5", None),
            ("1.5", None),
            ("5, 6", None),
            ("5s", None),
            ("Wed, 32 Oct 2015 07:28:00 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(of_at(&headers, now), want.map(Duration::from_secs), "{text}");
        }
        assert_eq!(of_at(&HeaderMap::new(), now), None);
        let mut two = HeaderMap::new();
        two.append(RETRY_AFTER, "5".parse().unwrap());
        two.append(RETRY_AFTER, "\u{e9}".parse().unwrap());
        assert_eq!(of_at(&two, now), Some(Duration::from_secs(5)));
    }
}
