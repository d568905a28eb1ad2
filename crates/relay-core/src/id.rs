//! Ids: what is stored under which name.
//!
//! Events and deliveries carry a `UUIDv7` (RFC 9562 section 5.7). [`IdMint`] fills `rand_a` with a counter, so the ids of
//! one mint rise strictly and their first 60 significant bits, the [sequence](EventId::sequence), are unique within a
//! store: a store may use it as the row's key, and a time range is a range of sequences.

use std::{fmt, str::FromStr};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use uuid::Uuid;

use crate::time::Wall;

/// Bits of the counter inside one millisecond (`rand_a` of `UUIDv7`).
const COUNTER_BITS: u32 = 12;

macro_rules! minted_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What its text form starts with.
            pub const PREFIX: &str = $prefix;

            /// From the 128 bits of the UUID.
            pub const fn from_u128(bits: u128) -> Self {
                Self(bits)
            }

            /// The 128 bits of the UUID.
            pub const fn as_u128(self) -> u128 {
                self.0
            }

            /// Millisecond and counter as one positive number of 60 bits: unique within a store, rising with time.
            pub const fn sequence(self) -> i64 {
                let ms = (self.0 >> 80) as i64;
                let counter = ((self.0 >> 64) & 0xfff) as i64;
                (ms << COUNTER_BITS) | counter
            }

            /// The millisecond in which it was minted.
            pub const fn minted_at(self) -> Wall {
                Wall::from_micros((self.0 >> 80) as i64 * 1_000)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, Uuid::from_u128(self.0).hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let rest = text.strip_prefix($prefix).ok_or(IdError { prefix: $prefix })?;
                let uuid = Uuid::try_parse(rest).map_err(|_| IdError { prefix: $prefix })?;
                Ok(Self(uuid.as_u128()))
            }
        }
    };
}

minted_id!(
    /// Names one stored request: `evt_` and a `UUIDv7`.
    EventId,
    "evt_"
);
minted_id!(
    /// Names one delivery, an event on its way along one route: `dlv_` and a `UUIDv7`.
    DeliveryId,
    "dlv_"
);
minted_id!(
    /// Names one bulk command, so that its repetition does nothing twice: `job_` and a `UUIDv7`.
    JobId,
    "job_"
);

/// Text that is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: want {prefix} and a UUID, like {prefix}0192f3c2-7d4e-7a31-8f5e-2b1c9d0e4f6a")]
pub struct IdError {
    prefix: &'static str,
}

/// Names one run of a client process: random per process start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(u128);

impl InstanceId {
    /// From its 128 bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Its 128 bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for InstanceId {
    /// The first 8 hex digits: enough to tell clients apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", (self.0 >> 96) as u32)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Mints the ids of one store: strictly rising, also when the wall clock stands still or goes back.
#[derive(Debug)]
pub struct IdMint {
    last: i64,
    rng: StdRng,
}

impl IdMint {
    /// A mint that goes on above `floor`, the highest sequence that the store holds (0 for an empty one).
    pub fn new(floor: i64, seed: u64) -> Self {
        Self { last: floor, rng: StdRng::seed_from_u64(seed) }
    }

    /// The next event id.
    pub fn event(&mut self, now: Wall) -> EventId {
        EventId(self.next(now))
    }

    /// The next delivery id.
    pub fn delivery(&mut self, now: Wall) -> DeliveryId {
        DeliveryId(self.next(now))
    }

    /// The next job id.
    pub fn job(&mut self, now: Wall) -> JobId {
        JobId(self.next(now))
    }

    fn next(&mut self, now: Wall) -> u128 {
        let at_least = (now.as_millis() as i64) << COUNTER_BITS;
        self.last = at_least.max(self.last + 1);
        let ms = (self.last >> COUNTER_BITS) as u128;
        let counter = (self.last & 0xfff) as u128;
        let tail = u128::from(self.rng.random::<u64>() >> 2);
        (ms << 80) | (0x7 << 76) | (counter << 64) | (0b10 << 62) | tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_when_the_clock_goes_back() {
        let mut mint = IdMint::new(0, 1);
        let first = mint.event(Wall::from_micros(5_000_000));
        let second = mint.event(Wall::from_micros(1_000_000));
        assert!(second > first && second.sequence() == first.sequence() + 1);
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7_and_survives_text() {
        let id = IdMint::new(0, 7).delivery(Wall::from_micros(1_700_000_000_123_456));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.parse::<EventId>(), Err(IdError { prefix: "evt_" }));
        assert_eq!(Uuid::from_u128(id.as_u128()).get_version_num(), 7);
        assert_eq!(id.minted_at(), Wall::from_micros(1_700_000_000_123_000));
    }
}
