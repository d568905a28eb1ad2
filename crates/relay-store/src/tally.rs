//! What is counted of one source, and of one destination, where a store counts in values.

/// See [`SourceStats`](crate::seam::SourceStats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceTally {
    pub(crate) accepted: u64,
    pub(crate) stored: u64,
    pub(crate) retired: u64,
    pub(crate) duplicates: u64,
}

/// See [`DestinationStats`](crate::seam::DestinationStats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DestinationTally {
    pub(crate) created: u64,
    pub(crate) states: [u64; 7],
    pub(crate) retired: u64,
    pub(crate) lost: u64,
    pub(crate) outcomes: [u64; 5],
    pub(crate) retried: u64,
}
