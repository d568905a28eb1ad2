//! Steps of sealing anew what is stored.

/// What one step of a rekeying came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Records that were looked at.
    pub read: u64,
    /// Those of them that were clear, or sealed with an older key, and are sealed with the newest one now.
    pub sealed: u64,
    /// What was damaged, or changed meanwhile, and is as it was.
    pub left: u64,
    /// Where the next step begins; `None`: that was the last one. It is the store's own.
    pub next: Option<String>,
    /// After the last step of a pass that left nothing: the numbers of older keys that the store has no more use for.
    pub retired: Vec<u32>,
}
