//! How a store is.

/// How a store is at the moment, for `/readyz` and `/health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is given to it becomes durable, as far as it knows. One that is full commits: it settles.
    pub commits: bool,
    /// What durable means at the moment.
    pub durability: Durability,
    /// Why it does not commit, or what else is not as it should be, in words that say what to do; empty: all is well.
    pub reasons: Vec<String>,
}

/// When a commit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// At once: it is gone with the process.
    None,
    /// At once, and its disk has it within a second.
    Everysec,
    /// Once its disk has it.
    Fsync,
    /// Once its disk has it, and replicas have heard of it.
    Replicated,
    /// Once its disk has it, and those of replicas.
    FsyncReplicated,
}

impl Durability {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [Self::None, Self::Everysec, Self::Fsync, Self::Replicated, Self::FsyncReplicated];

    /// Its word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Everysec => "everysec",
            Self::Fsync => "fsync",
            Self::Replicated => "replicated",
            Self::FsyncReplicated => "fsync-replicated",
        }
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::well(Durability::None)
    }
}

impl Condition {
    /// Nothing is wrong.
    pub const fn well(durability: Durability) -> Self {
        Self { commits: true, durability, reasons: Vec::new() }
    }

    /// It commits nothing, for this reason.
    pub fn broken(durability: Durability, why: impl Into<String>) -> Self {
        Self { commits: false, durability, reasons: vec![why.into()] }
    }
}
