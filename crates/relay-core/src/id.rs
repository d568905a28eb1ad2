//! Ids: what is stored under which name.
//!
//! Events and deliveries carry a `UUIDv7` (RFC 9562 section 5.7). [`IdMint`] fills `rand_a` with a counter, so the ids of
//! one mint rise strictly and no two of them have the same first 60 significant bits, the [sequence](EventId::sequence): a
//! store with one mint may use it as the row's key. Where several servers mint, only all 128 bits are unique. A time range is
//! a range of sequences either way.
//!
//! The last 14 bits are the [`Partition`]: an event, its deliveries and its replays share it, so that a store which is spread
//! over several places keeps them, and the dedupe key that led there, in one.

use std::{fmt, str::FromStr};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use uuid::{Uuid, fmt::Hyphenated};

use crate::{mixed::mixed_bytes, name::Name, time::Wall};

/// Bits of the counter inside one millisecond (`rand_a` of `UUIDv7`): the low ones of a sequence.
pub const COUNTER_BITS: u32 = 12;
/// What these say.
pub const COUNTER_MASK: i64 = (1 << COUNTER_BITS) - 1;
/// Bytes of what the text form of an id starts with.
const PREFIX_BYTES: usize = 4;
/// Bits of the variant, in front of the tail.
const TAIL_BITS: u32 = 62;

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
                let counter = (self.0 >> 64) as i64 & COUNTER_MASK;
                (ms << COUNTER_BITS) | counter
            }

            /// The same with the next sequence: for where another one has its own.
            #[must_use]
            pub const fn one_behind(self) -> Self {
                let next = self.sequence() + 1;
                let (ms, counter) = ((next >> COUNTER_BITS) as u128, (next & COUNTER_MASK) as u128);
                let rest = self.0 & !(u128::MAX << 80 | (COUNTER_MASK as u128) << 64);
                Self((ms << 80) | (counter << 64) | rest)
            }

            /// The partition it is in.
            pub const fn partition(self) -> Partition {
                Partition(self.0 as u16 & Partition::MASK)
            }

            /// The millisecond in which it was minted.
            pub const fn minted_at(self) -> Wall {
                Wall::from_micros((self.0 >> 80) as i64 * 1_000)
            }
        }

        impl fmt::Display for $name {
            /// In one piece, so that a string of it is allocated once.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; PREFIX_BYTES + Hyphenated::LENGTH];
                let (prefix, uuid) = text.split_at_mut(PREFIX_BYTES);
                prefix.copy_from_slice($prefix.as_bytes());
                Uuid::from_u128(self.0).hyphenated().encode_lower(uuid);
                f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
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

impl DeliveryId {
    /// The same, in the partition of the event that it delivers.
    #[must_use]
    pub const fn beside(self, event: EventId) -> Self {
        Self(event.partition().put(self.0))
    }

    /// The same, in the place of its random bits those of a number of these three: every delivery that a job makes of an event
    /// for a destination has them, whichever process makes it and however often.
    #[must_use]
    pub fn of_job(self, job: JobId, event: EventId, to: &Name) -> Self {
        let of = [&job.0.to_be_bytes()[..], &event.0.to_be_bytes(), to.as_str().as_bytes()].concat();
        let random = ((1 << TAIL_BITS) - 1) & !u128::from(Partition::MASK);
        Self(self.0 & !random | u128::from(mixed_bytes(&of)) & random)
    }
}

/// Which of 16,384 parts an event belongs to, with all that is stored about it. A store that is spread takes the remainder by
/// the number of its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    /// Bits of it: those at an id's end.
    pub const BITS: u32 = 14;
    const MASK: u16 = (1 << Self::BITS) - 1;

    /// That of a dedupe key, or of what else a SHA-256 stands for: all that has to meet in one place.
    pub const fn of_digest(digest: &[u8; 32]) -> Self {
        Self(u16::from_be_bytes([digest[0], digest[1]]) >> (u16::BITS - Self::BITS))
    }

    /// Its number, below 16,384.
    pub const fn number(self) -> u16 {
        self.0
    }

    const fn put(self, id: u128) -> u128 {
        (id & !(Self::MASK as u128)) | self.0 as u128
    }
}

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

    /// The next event id, in any partition.
    pub fn event(&mut self, now: Wall) -> EventId {
        EventId(self.next(now))
    }

    /// The next event id, in this partition.
    pub fn event_in(&mut self, partition: Partition, now: Wall) -> EventId {
        EventId(partition.put(self.next(now)))
    }

    /// The next delivery id; [`Delivery::ready`](crate::delivery::Delivery::ready) puts it beside its event.
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
        let counter = (self.last & COUNTER_MASK) as u128;
        let tail = u128::from(self.rng.random::<u64>() >> (u64::BITS - TAIL_BITS));
        (ms << 80) | (0x7 << 76) | (counter << 64) | (0b10 << TAIL_BITS) | tail
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

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

    /// All 14 bits are used, and keys that differ in their first bits meet nowhere else than by chance.
    #[test]
    fn partitions_of_keys_are_all_there_are() {
        let of = |high: u8, low: u8| {
            let mut digest = [0xff; 32];
            (digest[0], digest[1]) = (high, low);
            Partition::of_digest(&digest).number()
        };
        let all: BTreeSet<u16> = (0..=u8::MAX).flat_map(|high| (0..=u8::MAX).map(move |low| of(high, low))).collect();
        assert_eq!((all.len(), all.first(), all.last()), (1 << 14, Some(&0), Some(&0x3fff)));
        assert_eq!(of(0x80, 0x03), of(0x80, 0x00), "the two bits behind them play no part");
    }

    /// Servers that share a store mint at the same moment: no two ids are the same, though their sequences may be.
    #[test]
    fn ids_of_two_mints_differ_though_their_sequences_do_not() {
        let (mut one, mut other) = (IdMint::new(0, 1), IdMint::new(0, 2));
        let (partition, now) = (Partition::of_digest(&[7; 32]), Wall::from_micros(5_000_000));
        let mut seen = BTreeSet::new();
        for _ in 0..10_000 {
            let (first, second) = (one.event_in(partition, now), other.event_in(partition, now));
            assert_eq!((first.sequence(), first.partition()), (second.sequence(), second.partition()));
            assert!(seen.insert(first) && seen.insert(second));
        }
    }

    /// Processes of other versions, on other machines, make the same of a job, and none of another one.
    #[test]
    fn what_a_job_makes_is_the_same_in_every_process() {
        let (job, event) =
            (JobId(0x0192_f3c2_7d4e_7a31_8f5e_2b1c_9d0e_4f6a), EventId(0x0192_0000_0000_7000_8000_0000_0000_0123));
        let [to, other_to]: [Name; 2] = ["crm", "erp"].map(|name| name.parse().unwrap());
        let tail = |id: DeliveryId| id.0 as u64;
        let now = Wall::from_micros(5_000_000);
        let mut made = Vec::new();
        for (seed, floor) in [(1, 0), (2, 7 << 40)] {
            let id = IdMint::new(floor, seed).delivery(now).beside(event);
            let of = id.of_job(job, event, &to);
            assert_eq!((of.sequence(), of.partition(), of.beside(event)), (id.sequence(), event.partition(), of));
            let uuid = Uuid::from_u128(of.0);
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
            made.push(of);
        }
        assert!(made[0] != made[1] && made.iter().all(|id| tail(*id) == 0xa8d5_b7fc_d101_c123), "{:#x}", tail(made[0]));
        let others = [
            made[0].of_job(JobId(job.0 ^ 1), event, &to),
            made[0].of_job(job, EventId(event.0 ^ 1 << 14), &to),
            made[0].of_job(job, event, &other_to),
        ];
        let tails: BTreeSet<u64> = others.iter().chain(&made).map(|id| tail(*id)).collect();
        assert_eq!(tails.len(), 4, "{tails:x?}");
    }

    proptest! {
        /// The next sequence is one more, over the end of a millisecond too, and all else is the same.
        #[test]
        fn one_behind_differs_in_its_sequence_alone(seed: u64, micros in 0..4_000_000_000_000_000_i64, steps in 1..5_000) {
            let first = IdMint::new(0, seed).event(Wall::from_micros(micros));
            let behind = (0..steps).fold(first, |id, _| id.one_behind());
            prop_assert_eq!(behind.sequence(), first.sequence() + i64::from(steps));
            prop_assert_eq!((behind.partition(), behind.as_u128() as u64), (first.partition(), first.as_u128() as u64));
            prop_assert_eq!(Uuid::from_u128(behind.as_u128()).get_version_num(), 7);
        }

        /// Whatever partition an id is in: it is a `UUIDv7`, and its place in time and in the order of its mint is its own.
        #[test]
        fn a_partition_changes_nothing_but_itself(
            seed: u64,
            key: [u8; 32],
            moments in prop::collection::vec(0..4_000_000_000_000_000_i64, 1..50),
        ) {
            let (mut plain, mut placed) = (IdMint::new(0, seed), IdMint::new(0, seed));
            let partition = Partition::of_digest(&key);
            let mut last = None;
            for now in moments.into_iter().map(Wall::from_micros) {
                let (any, event) = (plain.event(now), placed.event_in(partition, now));
                prop_assert_eq!(event.partition(), partition);
                prop_assert_eq!(event.as_u128() >> Partition::BITS, any.as_u128() >> Partition::BITS);
                prop_assert_eq!((event.sequence(), event.minted_at()), (any.sequence(), any.minted_at()));
                let of = placed.delivery(now);
                plain.delivery(now);
                let delivery = of.beside(event);
                prop_assert_eq!(delivery.partition(), partition);
                prop_assert_eq!((delivery.sequence(), delivery.minted_at()), (of.sequence(), of.minted_at()));
                prop_assert_eq!(delivery.beside(event), delivery);
                prop_assert_eq!(delivery.to_string().parse(), Ok(delivery));
                for bits in [event.as_u128(), delivery.as_u128()] {
                    let uuid = Uuid::from_u128(bits);
                    prop_assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
                }
                prop_assert!(last < Some(event.sequence()) && event.sequence() < delivery.sequence());
                last = Some(delivery.sequence());
            }
        }
    }
}
