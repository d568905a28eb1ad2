//! Bytes by the kind of body that took them, and what of a bound each kind may have.

use crate::limits;

/// Of which kind a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bulk {
    #[default]
    Small,
    Large,
}

/// Bytes by the kind of body that took them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) small: u64,
    pub(super) large: u64,
}

impl Taken {
    pub(super) fn all(self) -> u64 {
        self.small + self.large
    }

    /// What is left of it without another, as far as that was a part of it.
    pub(super) fn without(self, other: Self) -> Self {
        Self { small: self.small.saturating_sub(other.small), large: self.large.saturating_sub(other.large) }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.small += other.small;
        self.large += other.large;
    }

    /// Whether a large one of so many bytes goes where it leaves nothing for others: alone but for small ones in their part.
    pub(super) fn is_free_for(self, bytes: u64, most: u64) -> bool {
        bytes > for_large(most) && self.large == 0 && self.small <= most / limits::ROOM_SMALL_PART
    }

    pub(super) fn of(&mut self, bulk: Bulk) -> &mut u64 {
        match bulk {
            Bulk::Small => &mut self.small,
            Bulk::Large => &mut self.large,
        }
    }

    /// Whether a small one of so many bytes goes into the part for small ones alone.
    pub(super) fn keeps_room_for(self, bytes: u64, most: u64) -> bool {
        self.small + bytes <= most / limits::ROOM_SMALL_PART
    }

    /// Whether so many bytes more are within a bound, and leave small ones their part of it.
    pub(super) fn takes(self, bulk: Bulk, bytes: u64, most: u64) -> bool {
        let all = self.all().saturating_add(bytes) <= most;
        match bulk {
            Bulk::Small => all,
            Bulk::Large => all && self.large.saturating_add(bytes) <= for_large(most),
        }
    }
}

/// What large ones may have of a bound.
pub(super) fn for_large(most: u64) -> u64 {
    most - most / limits::ROOM_SMALL_PART
}
