//! When a certificate is ordered: pure functions of its times, of what its authority suggests, and of failures.

use std::time::Duration;

use relay_core::time::Wall;

/// A failed order is tried again after this long, and after twice that each further time, up to [`RETRY_MAX`]: an authority counts
/// failures by the hour.
const RETRY_FIRST: Duration = Duration::from_mins(1);
/// See [`RETRY_FIRST`]: often enough that a name that was mended is noticed within the day.
const RETRY_MAX: Duration = Duration::from_hours(8);

/// The part of a certificate's life that is left for orders that fail, whatever its authority suggests.
const LAST_TENTH: f64 = 0.1;

/// From when to when an authority would like a certificate to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: Wall,
    pub(super) end: Wall,
}

/// The life of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) from: Wall,
    pub(super) until: Wall,
}

/// When it is renewed: somewhere in the window that its authority suggests (RFC 9773, section 4.2), else when about a third of its life
/// is left. `roll` is anything from 0 to 1, the same for one certificate, so that not everybody comes at once.
pub(super) fn renew_at(life: Life, suggested: Option<Window>, roll: f64) -> Wall {
    let between = |from: Wall, until: Wall| from + until.since(from).mul_f64(roll.clamp(0.0, 1.0));
    let whole = life.until.since(life.from);
    // At the very end the first order that fails would leave everybody without a certificate.
    let last = life.until - whole.mul_f64(LAST_TENTH);
    match suggested {
        Some(Window { start, end }) if start <= end && start < last => between(start, end.min(last)),
        _ => between(life.from + whole.mul_f64(0.6), life.from + whole.mul_f64(0.67)),
    }
}

/// How long after so many failures in a row the next try is made.
pub(super) fn retry_in(failures: u32, roll: f64) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(RETRY_MAX).mul_f64(roll.clamp(0.0, 1.0).mul_add(0.4, 0.8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: u64) -> Wall {
        Wall::MIN + Duration::from_hours(24 * days)
    }

    #[test]
    fn a_certificate_is_renewed_when_its_authority_likes_and_in_time() {
        let life = Life { from: day(0), until: day(90) };
        assert_eq!(renew_at(life, None, 0.0), day(54));
        assert!(renew_at(life, None, 1.0) < day(61), "well before somebody has to be told");
        let window = |start, end| Some(Window { start: day(start), end: day(end) });
        assert_eq!(renew_at(life, window(10, 20), 0.5), day(15), "as for one that is to be revoked");
        assert_eq!(renew_at(life, window(80, 200), 1.0), day(81), "there is time for orders that fail");
        for senseless in [window(20, 10), window(85, 89), window(95, 100)] {
            assert_eq!(renew_at(life, senseless, 0.0), day(54));
        }
        let short = Life { from: day(0), until: day(6) };
        assert!(renew_at(short, None, 1.0) < day(5), "six days are enough");
        assert_eq!(renew_at(Life { from: day(9), until: day(1) }, None, 1.0), day(9), "one that never held");
    }

    #[test]
    fn failures_are_tried_again_less_and_less_often() {
        assert_eq!(retry_in(1, 0.5), RETRY_FIRST);
        assert_eq!((retry_in(3, 0.0), retry_in(3, 1.0)), (Duration::from_secs(192), Duration::from_secs(288)));
        assert_eq!((retry_in(10, 0.5), retry_in(u32::MAX, 0.5)), (RETRY_MAX, RETRY_MAX));
    }
}
