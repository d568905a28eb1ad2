//! The two sums that say that nothing was lost (I5).

/// I5 for events: accepted = stored + retired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventsSum {
    /// Ever accepted.
    pub accepted: u64,
    /// Kept.
    pub stored: u64,
    /// Whose retention is over.
    pub retired: u64,
}

/// I5 for deliveries: created = open + delivered + dead + expired + cancelled + retired + lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveriesSum {
    /// Ever made.
    pub created: u64,
    /// Ready, scheduled or leased.
    pub open: u64,
    /// Delivered, and kept.
    pub delivered: u64,
    /// Dead or expired.
    pub dead: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Whose retention is over, or that were purged.
    pub retired: u64,
    /// Whose loss an operator accepted.
    pub lost: u64,
}

impl EventsSum {
    /// Whether it is one.
    pub const fn holds(&self) -> bool {
        self.accepted == self.stored.saturating_add(self.retired)
    }
}

impl DeliveriesSum {
    /// Whether it is one.
    pub const fn holds(&self) -> bool {
        let ended = self.delivered.saturating_add(self.dead).saturating_add(self.cancelled);
        let gone = self.retired.saturating_add(self.lost);
        self.created == self.open.saturating_add(ended).saturating_add(gone)
    }
}
