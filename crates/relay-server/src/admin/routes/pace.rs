//! How fast a command makes deliveries due: their times are spread when they are written, so that neither the command's end
//! nor a restart of the server changes anything about it.

use std::time::Duration;

use relay_core::{jobs::Pace, limits, time::Wall};

use super::filter;
use crate::admin::problem::AdminError;

/// From `rate`, so many a second, and `start_at`, where a command before this one ended.
///
/// # Errors
/// `Invalid` for what is no rate or no time.
pub(super) fn pace(rate: Option<f64>, start_at: Option<&str>, now: Wall) -> Result<Option<Pace>, AdminError> {
    let start_at = start_at.map(|text| filter::time("start_at", text)).transpose()?;
    let Some(rate) = rate else {
        return match start_at {
            None => Ok(None),
            Some(_) => Err(AdminError::Invalid("start_at goes with rate".into())),
        };
    };
    if !(limits::RATE_MIN..=limits::RATE_MAX).contains(&rate) {
        let (min, max) = (limits::RATE_MIN, limits::RATE_MAX);
        return Err(AdminError::Invalid(format!("rate is {rate}; want {min} to {max} a second")));
    }
    let from = start_at.unwrap_or(now).max(now);
    if from > now + limits::START_AHEAD_MAX {
        return Err(AdminError::Invalid("start_at is more than a year ahead".into()));
    }
    Ok(Some(Pace { from, every: Duration::from_secs_f64(1.0 / rate) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_span_from_now_or_from_where_the_last_one_ended() {
        let now = Wall::from_micros(1_000_000);
        let read = |rate, start_at| pace(rate, start_at, now);
        assert_eq!(read(None, None), Ok(None));
        let quarter = Duration::from_millis(250);
        assert_eq!(read(Some(4.0), None), Ok(Some(Pace { from: now, every: quarter })));
        let later = read(Some(4.0), Some("1970-01-01T00:00:09Z")).unwrap().unwrap();
        assert_eq!((later.from, later.due(3)), (Wall::from_micros(9_000_000), Wall::from_micros(9_750_000)));
        assert_eq!(read(Some(4.0), Some("1970-01-01T00:00:00Z")).unwrap().unwrap().from, now, "never before now");
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(read(Some(wrong), None).unwrap_err().to_string().contains("want 0.01 to 10000"));
        }
        assert!(
            read(None, Some("1970-01-01T00:00:09Z")).is_err() && read(Some(1.0), Some("2970-01-01T00:00:00Z")).is_err()
        );
    }
}
