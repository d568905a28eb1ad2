//! Pages: where one starts, what is on it, and of which time.

use crate::time::Wall;

/// Where a page starts and how long it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Opaque; from the previous page's `next`.
    pub cursor: Option<String>,
    /// 1 to 1,000.
    pub limit: u32,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// Half-open time range by id, i.e. by when the event was received or the delivery was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// From then on.
    pub since: Option<Wall>,
    /// Before then.
    pub until: Option<Wall>,
}

impl Range {
    /// Whether a moment is in it.
    pub fn contains(&self, at: Wall) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}
