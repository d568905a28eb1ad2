//! Rows by which events are found.

use std::collections::{BTreeMap, BTreeSet};

use relay_core::{id::EventId, name::Name, storage::Indexed};

/// Each slot that has rows.
pub(super) type Slots = BTreeMap<(Name, u8), Slot>;

/// What stands in one.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) indexed: Indexed,
    pub(super) rows: BTreeSet<([u8; 32], EventId)>,
}
