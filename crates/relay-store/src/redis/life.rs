//! Whether a store is open, and what ends it.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use super::reply::Fault;
use crate::seam::{Condition, Durability};

/// A point of every writing operation at which a test can let the process die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Nothing was sent.
    BeforeSend,
    /// All of it is done, and nobody was told.
    AfterReplies,
}

impl Edge {
    /// Both.
    pub const ALL: [Self; 2] = [Self::BeforeSend, Self::AfterReplies];
}

type Dies = Arc<dyn Fn(Edge) -> bool + Send + Sync>;

/// Says at which edges the process dies. None by itself.
#[derive(Clone, Default)]
pub struct Edges(Option<Dies>);

impl Edges {
    /// By this.
    pub fn new(dies: impl Fn(Edge) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(dies)))
    }

    pub(super) fn dies_at(&self, edge: Edge) -> bool {
        self.0.as_ref().is_some_and(|dies| dies(edge))
    }
}

impl fmt::Debug for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Edges").field(&self.0.is_some()).finish()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Failed(String),
}

/// The life of a store, known to all parts of it.
#[derive(Debug)]
pub(super) struct Life(watch::Sender<State>);

impl Life {
    /// It begins.
    pub(super) fn begin() -> Self {
        Self(watch::Sender::new(State::Open))
    }

    /// It is open.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if *self.0.borrow() == State::Open { Ok(()) } else { Err(Fault::Unavailable) }
    }

    /// It was closed.
    pub(super) fn close(&self) {
        self.0.send_if_modified(|state| {
            let was_open = *state == State::Open;
            if was_open {
                *state = State::Closed;
            }
            was_open
        });
    }

    /// It failed for good.
    pub(super) fn fail(&self, why: String) {
        self.0.send_replace(State::Failed(why));
    }

    /// Completes when it has failed, with the reason; never if it ends otherwise.
    pub(super) fn failed(&self) -> impl Future<Output = String> + use<> {
        let mut seen = self.0.subscribe();
        async move {
            loop {
                if let State::Failed(why) = &*seen.borrow_and_update() {
                    return why.clone();
                }
                if seen.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }

    /// How it is, as long as it is open; `reasons`: why it does not commit at the moment, or not all of it.
    pub(super) fn condition(&self, durability: Durability, commits: bool, reasons: Vec<String>) -> Condition {
        match &*self.0.borrow() {
            State::Open => Condition { commits, durability, reasons },
            State::Closed => Condition::broken(durability, "it is closed"),
            State::Failed(why) => Condition::broken(durability, why.clone()),
        }
    }
}
