//! Named failure points at every edge of a commit, so that a test can end the store exactly there.

use std::{fmt, sync::Arc};

use crate::sqlite::fault::Fault;

/// A point in the life of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// Operations were taken from the queues; nothing is written.
    BeforeBegin,
    /// Everything is written inside the transaction.
    BeforeCommit,
    /// The commit is on disk; ledger and answers are not written.
    AfterCommit,
    /// The ledger is written; nobody was answered.
    AfterLedger,
    /// Everybody was answered.
    AfterAnswers,
    /// A checkpoint is about to move pages from the WAL into the database.
    BeforeCheckpoint,
}

impl Edge {
    /// All of them, in the order a commit meets them.
    pub const ALL: [Self; 6] = [
        Self::BeforeBegin,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::AfterLedger,
        Self::AfterAnswers,
        Self::BeforeCheckpoint,
    ];
}

/// What happens at an [`Edge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeAction {
    /// Nothing special.
    Continue,
    /// The writer stops as if the process had been killed: nothing more is written, nobody is answered.
    Crash,
    /// An IO error.
    Io,
    /// No room on the disk. Right behind the commit it is the ledger that finds none; behind that this is an IO error.
    Full,
}

/// Decides what happens at each edge.
#[derive(Clone)]
pub struct Edges(Arc<dyn Fn(Edge) -> EdgeAction + Send + Sync>);

impl Edges {
    /// Asks `decide` at each edge.
    pub fn new(decide: impl Fn(Edge) -> EdgeAction + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    pub(in crate::sqlite) fn meet(&self, edge: Edge) -> Result<(), Fault> {
        let may_be_full = match edge {
            Edge::BeforeBegin | Edge::BeforeCommit | Edge::AfterCommit | Edge::BeforeCheckpoint => true,
            Edge::AfterLedger | Edge::AfterAnswers => false,
        };
        match (self.0)(edge) {
            EdgeAction::Continue => Ok(()),
            EdgeAction::Crash => Err(Fault::Crash),
            EdgeAction::Full if may_be_full => Err(Fault::Full),
            EdgeAction::Full | EdgeAction::Io => Err(Fault::Broken(format!("injected fault at {edge:?}"))),
        }
    }
}

impl Default for Edges {
    fn default() -> Self {
        Self::new(|_| EdgeAction::Continue)
    }
}

impl fmt::Debug for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edges")
    }
}
