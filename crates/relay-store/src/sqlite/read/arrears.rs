//! How far retention is behind: what was stored while more was due than one commit removes.

/// Rows stored that retention has not made good yet.
#[derive(Debug, Default)]
pub(crate) struct Arrears {
    is_behind: bool,
    stored: usize,
}

impl Arrears {
    /// Counts rows that were stored: a delivery, an event without any, an attempt, and those that a body stands for.
    pub(crate) fn on_stored(&mut self, rows: usize) {
        self.stored += if self.is_behind { rows } else { 0 };
    }

    /// So many were.
    pub(crate) const fn stored(&self) -> usize {
        self.stored
    }

    /// Takes so many of them at most, for a commit that begins now.
    pub(crate) fn take(&mut self, most: usize) -> usize {
        let taken = self.stored.min(most);
        self.stored -= taken;
        taken
    }

    /// What a commit left.
    pub(crate) fn note(&mut self, more: bool) {
        if !more {
            self.stored = 0;
        }
        self.is_behind = more;
    }
}
