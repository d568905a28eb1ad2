//! Numbers as text of a fixed width, for scripts: what they compare is below 2^53.

use relay_core::{
    id::{COUNTER_BITS, COUNTER_MASK},
    time::Wall,
};

/// Digits of a moment.
pub(super) const MOMENT: usize = 16;
/// The latest moment that a script can tell from the one before it; the year 2255.
const LATEST: i64 = (1 << 53) - 1;

/// A moment, no later than scripts can tell apart.
pub(super) fn moment(at: Wall) -> String {
    format!("{:016}", at.as_micros().clamp(0, LATEST))
}

/// The moment behind a text.
pub(super) fn read_moment(text: &[u8]) -> Option<Wall> {
    let micros = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    Some(Wall::from_micros(micros))
}

/// A sequence of an id: its millisecond, then its counter.
pub(super) fn sequence(sequence: i64) -> String {
    format!("{:016}{:04}", sequence >> COUNTER_BITS, sequence & COUNTER_MASK)
}

/// The sequence behind a text.
pub(super) fn read_sequence(text: &[u8]) -> Option<i64> {
    let (ms, counter) = std::str::from_utf8(text).ok()?.split_at_checked(MOMENT)?;
    Some((ms.parse::<i64>().ok()? << COUNTER_BITS) | counter.parse::<i64>().ok()?)
}

/// Digits twice: as they are, and each as what is missing to nine.
pub(super) fn twice(digits: &str) -> String {
    let missing = digits.bytes().map(|digit| char::from(b'0' + b'9'.saturating_sub(digit)));
    digits.chars().chain(missing).collect()
}

/// Digits that were written [`twice`]; nothing where that does not agree.
pub(super) fn once(text: &[u8]) -> Option<&[u8]> {
    let (digits, missing) = text.split_at_checked(text.len() / 2)?;
    let agrees = |(digit, missing): (&u8, &u8)| digit.is_ascii_digit() && *missing == b'0' + b'9' - digit;
    (digits.len() == missing.len() && digits.iter().zip(missing).all(agrees)).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for micros in [0, 1, 1_800_000_000_000_001, LATEST] {
            let at = Wall::from_micros(micros);
            assert_eq!(read_moment(moment(at).as_bytes()), Some(at));
        }
        assert_eq!(moment(Wall::MAX).len(), MOMENT);
        for number in [0, 4_095, 4_096, (1 << 59) + 7] {
            assert_eq!(read_sequence(sequence(number).as_bytes()), Some(number));
        }
    }

    /// F7, I18: no bit of what stands there twice flips unseen.
    #[test]
    fn what_stands_there_twice_agrees_or_is_nothing() {
        let whole = b"0179900000000000012398200999999999999876";
        assert_eq!(once(whole), Some(&whole[..20]));
        assert_eq!(twice("01799000000000000123").as_bytes(), whole);
        for bit in 0..whole.len() * 8 {
            let mut bad = whole.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(once(&bad), None, "bit {bit}");
        }
        for length in 1..whole.len() {
            assert_eq!(once(&whole[..length]), None, "cut to {length}");
        }
    }
}
