//! What waits for the next commit, and what goes into it.

use std::collections::{BTreeMap, VecDeque};

use relay_core::{name::Name, storage::AppendError, time::Wall};
use tokio::sync::oneshot;

use super::{
    client::Command,
    keys::Key,
    reply::{Fault, Reply},
};

/// Bytes of one commit, unless a single one of its parts has more.
const COMMIT_BYTES: usize = 8 * 1024 * 1024;
/// Parts of one commit.
const COMMIT_PARTS: usize = 512;
/// Of so many parts one may be upkeep.
const UPKEEP_SHARE: usize = 5;

/// In this order what waits is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Ends of leases.
    Settle,
    /// Leases that go on.
    Extend,
    /// New leases.
    Lease,
    /// All else: presence, documents, replays.
    Other,
    /// Jobs and retention, a fifth at most.
    Upkeep,
}

/// Commands that are done as one.
pub(super) struct Ask {
    pub(super) urgency: Urgency,
    pub(super) commands: Vec<Command>,
    pub(super) answer: oneshot::Sender<Result<Vec<Reply>, Fault>>,
}

/// An event to be appended.
pub(super) struct Appending {
    pub(super) partition: usize,
    pub(super) source: Name,
    /// Its key and value.
    pub(super) event: (Key, Vec<u8>),
    /// What the script is told of it.
    pub(super) arguments: Vec<Vec<u8>>,
    /// Where its deliveries go.
    pub(super) destinations: Vec<Name>,
    /// When it was received: it is no earlier by now.
    pub(super) received_at: Wall,
    pub(super) deadline: Wall,
    pub(super) answer: oneshot::Sender<Result<Reply, AppendError>>,
}

impl Appending {
    fn bytes(&self) -> usize {
        self.event.1.len() + self.arguments.iter().map(Vec::len).sum::<usize>()
    }
}

/// What waits.
#[derive(Default)]
pub(super) struct Backlog {
    asks: BTreeMap<Urgency, VecDeque<Ask>>,
    appends: BTreeMap<Name, VecDeque<Appending>>,
    /// The source that was served last.
    turn: Option<Name>,
}

/// One commit.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) asks: Vec<Ask>,
    pub(super) appends: Vec<Appending>,
}

impl Batch {
    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.asks.is_empty() && self.appends.is_empty()
    }
}

impl Backlog {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.asks.values().all(VecDeque::is_empty) && self.appends.is_empty()
    }

    /// One more.
    pub(super) fn ask(&mut self, ask: Ask) {
        self.asks.entry(ask.urgency).or_default().push_back(ask);
    }

    /// One more.
    pub(super) fn append(&mut self, appending: Appending) {
        self.appends.entry(appending.source.clone()).or_default().push_back(appending);
    }

    /// The next commit: what is urgent, appends with their sources in turn, then upkeep.
    pub(super) fn next(&mut self) -> Batch {
        let mut batch = Batch::default();
        for urgency in [Urgency::Settle, Urgency::Extend, Urgency::Lease, Urgency::Other] {
            let waiting = self.asks.entry(urgency).or_default();
            let room = COMMIT_PARTS.saturating_sub(batch.asks.len());
            batch.asks.extend(waiting.drain(..room.min(waiting.len())));
        }
        let mut bytes = 0;
        while bytes < COMMIT_BYTES && batch.asks.len() + batch.appends.len() < COMMIT_PARTS {
            let Some(appending) = self.next_append() else { break };
            bytes += appending.bytes();
            batch.appends.push(appending);
        }
        let upkeep = self.asks.entry(Urgency::Upkeep).or_default();
        let share = 1 + (batch.asks.len() + batch.appends.len()) / (UPKEEP_SHARE - 1);
        batch.asks.extend(upkeep.drain(..share.min(upkeep.len())));
        batch
    }

    fn next_append(&mut self) -> Option<Appending> {
        let behind = self.turn.as_ref().and_then(|turn| {
            let from = (std::ops::Bound::Excluded(turn.clone()), std::ops::Bound::Unbounded);
            self.appends.range(from).next().map(|(source, _)| source.clone())
        });
        let source = behind.or_else(|| self.appends.keys().next().cloned())?;
        let waiting = self.appends.get_mut(&source)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.appends.remove(&source);
        }
        self.turn = Some(source);
        next
    }
}
