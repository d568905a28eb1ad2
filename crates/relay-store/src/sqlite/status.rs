//! Whether the store still works: set once by whoever finds out first, seen by everybody.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::watch;

/// How the store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Doing {
    failed: Option<String>,
    writer_gone: bool,
}

/// Shared by the writer, the readers and the store itself.
#[derive(Debug)]
pub(super) struct Status(watch::Sender<Doing>);

impl Default for Status {
    fn default() -> Self {
        Self(watch::Sender::new(Doing::default()))
    }
}

impl Status {
    /// The store has failed for good; the first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        let first = self.0.send_if_modified(|doing| {
            let first = doing.failed.is_none();
            doing.failed.get_or_insert_with(|| reason.to_owned());
            first
        });
        if first {
            tracing::error!(event = "store_failed", reason, "the store stops: nothing is acknowledged any more");
        }
    }

    /// Does the work of one of the store's threads. A panic in it is a bug in what reads or writes the store: everything
    /// stops, for a store of which a thread is missing would leave its askers waiting.
    pub(super) fn guard(&self, thread: &str, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            self.fail(&format!("{thread} panicked"));
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.borrow().failed.is_some()
    }

    /// Why the store has failed, if it has.
    pub(super) fn reason(&self) -> Option<String> {
        self.0.borrow().failed.clone()
    }

    /// The writer has ended, for whatever reason; database and lock are free.
    pub(super) fn writer_is_gone(&self) {
        self.0.send_modify(|doing| doing.writer_gone = true);
    }

    /// Completes with the reason once the store has failed.
    pub(super) fn failure(&self) -> impl Future<Output = String> + Send + 'static {
        let mut seen = self.0.subscribe();
        async move {
            let failed = seen.wait_for(|doing| doing.failed.is_some()).await.ok();
            let reason = failed.and_then(|doing| doing.failed.clone());
            match reason {
                Some(reason) => reason,
                // The store was dropped without having failed.
                None => std::future::pending().await,
            }
        }
    }

    /// Completes once the writer has ended.
    pub(super) fn end(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut seen = self.0.subscribe();
        async move {
            // An error means that the store is dropped, which waits for the writer too.
            drop(seen.wait_for(|doing| doing.writer_gone).await);
        }
    }
}
