//! The `Retry-After` header (RFC 9110 section 10.2.3): seconds, or an HTTP date.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822};

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
    let at: Timestamp = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let now = Timestamp::try_from(now).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
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
