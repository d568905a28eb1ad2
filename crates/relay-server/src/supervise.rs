//! The fate of every task of the server, in one place.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::metrics::Metrics;

/// What a task is for; answers what happens when the server stops, when it fails, and when it panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TaskKind {
    /// The hub's loop.
    Hub,
    /// Accepts on the public listener.
    Public,
    /// Accepts on the admin listener or the admin socket.
    Admin,
    /// One client's socket.
    Session,
    /// One command of an operator.
    Command,
    /// Removes what is past its retention.
    Retention,
    /// Watches destinations, for warnings and health.
    Watch,
    /// Writes the summary line.
    Summary,
    /// Tells somebody.
    Alert,
    /// Tells whoever looks at pages that numbers have moved.
    Pulse,
    /// Fills what events are found by.
    Marks,
    /// Sends traces to their collector.
    Traces,
}

/// What becomes of a task when the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnStop {
    /// It ends by itself; the server waits for it within its grace.
    Finish,
    /// It is dropped.
    Cancel,
}

/// What becomes of the process when a task fails or panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// The process stops: without this task it would lie about what it does.
    StopProcess,
    /// It is logged and counted; everything else goes on.
    Contain,
}

impl TaskKind {
    /// When the server stops.
    pub(crate) const fn on_stop(self) -> OnStop {
        match self {
            // Sessions end when the hub has said goodbye to them, listeners when their connections have ended, commands
            // when they are through, and traces once the hub has told its last.
            Self::Hub | Self::Public | Self::Admin | Self::Session | Self::Command | Self::Traces => OnStop::Finish,
            Self::Retention | Self::Watch | Self::Summary | Self::Alert | Self::Pulse | Self::Marks => OnStop::Cancel,
        }
    }

    /// When it returns an error.
    pub(crate) const fn on_error(self) -> OnFailure {
        match self {
            Self::Hub | Self::Public | Self::Admin => OnFailure::StopProcess,
            Self::Session
            | Self::Command
            | Self::Retention
            | Self::Watch
            | Self::Summary
            | Self::Alert
            | Self::Pulse
            | Self::Marks
            | Self::Traces => OnFailure::Contain,
        }
    }

    /// Whether it ends by itself while the server runs. Of any other that is a failure: the server would go on as half of
    /// what it is.
    pub(crate) const fn ends(self) -> bool {
        match self {
            Self::Session | Self::Command | Self::Pulse => true,
            Self::Hub
            | Self::Public
            | Self::Admin
            | Self::Retention
            | Self::Watch
            | Self::Summary
            | Self::Alert
            | Self::Marks
            | Self::Traces => false,
        }
    }

    /// When it panics.
    pub(crate) const fn on_panic(self) -> OnFailure {
        match self {
            Self::Hub | Self::Public | Self::Admin | Self::Retention | Self::Watch => OnFailure::StopProcess,
            // Public input reaches these: stopping would hand strangers a switch.
            Self::Session | Self::Command | Self::Summary | Self::Alert | Self::Pulse | Self::Marks | Self::Traces => {
                OnFailure::Contain
            }
        }
    }
}

/// A task ended in a way that the process must not outlive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {name} {what}")]
pub struct Failure {
    /// Which task.
    pub name: &'static str,
    /// What it did.
    pub what: String,
}

/// Spawns the tasks and knows when they end.
#[derive(Clone)]
pub(crate) struct Supervisor {
    tasks: TaskTracker,
    stop: CancellationToken,
    cancel: CancellationToken,
    failures: mpsc::Sender<Failure>,
    metrics: Arc<Metrics>,
}

impl Supervisor {
    /// A supervisor, and where it reports what the process must not outlive.
    pub(crate) fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Failure>) {
        let (failures, failed) = mpsc::channel(16);
        let supervisor = Self {
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            cancel: CancellationToken::new(),
            failures,
            metrics,
        };
        (supervisor, failed)
    }

    /// A supervisor of tasks that outlast those of this one: they hear of the stop with these, and are waited for and dropped apart from them.
    pub(crate) fn beside(&self) -> Self {
        Self { tasks: TaskTracker::new(), cancel: CancellationToken::new(), ..self.clone() }
    }

    /// Spawns a task. Its error is text for the log.
    pub(crate) fn spawn(
        &self,
        kind: TaskKind,
        name: &'static str,
        task: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let this = self.clone();
        self.tasks.spawn(async move {
            let guarded = AssertUnwindSafe(task).catch_unwind();
            let ended = match kind.on_stop() {
                OnStop::Finish => this.cancel.run_until_cancelled(guarded).await,
                OnStop::Cancel => this.stop.run_until_cancelled(guarded).await,
            };
            match ended {
                Some(Ok(Ok(()))) if !kind.ends() && !this.is_stopping() => {
                    this.failed(kind.on_error(), name, "ended before the server stopped");
                }
                None | Some(Ok(Ok(()))) => {}
                Some(Ok(Err(what))) => this.failed(kind.on_error(), name, &what),
                Some(Err(panic)) => {
                    this.metrics.panicked();
                    let words = panic.downcast_ref::<&str>().copied().map(str::to_owned);
                    let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                    this.failed(kind.on_panic(), name, &format!("panicked: {words}"));
                }
            }
        });
    }

    /// Tells every task that the server stops: those with [`OnStop::Cancel`] are dropped.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether the server stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Is cancelled when the server stops.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Drops every task that is still there.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
        self.cancel.cancel();
    }

    /// Completes when every task has ended. None may be spawned by then.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn failed(&self, fate: OnFailure, name: &'static str, what: &str) {
        // The process is told before anybody reads of it: whatever becomes of the line, it ends.
        match fate {
            OnFailure::Contain => {}
            // A full queue means that the process is already told to stop.
            OnFailure::StopProcess => drop(self.failures.try_send(Failure { name, what: what.to_owned() })),
        }
        tracing::error!(event = "task_failed", task = name, what);
    }
}

#[cfg(test)]
mod tests {
    use relay_core::time::Wall;
    use relay_store::seam::Stats;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_session_is_contained_and_one_in_the_hub_stops_the_process() {
        let metrics = Arc::<Metrics>::default();
        let (supervisor, mut failed) = Supervisor::new(Arc::clone(&metrics));
        supervisor.spawn(TaskKind::Session, "session", async { panic!("hostile bytes") });
        supervisor.spawn(TaskKind::Hub, "hub", async { panic!("a bug") });
        assert_eq!(failed.recv().await.unwrap().name, "hub");
        supervisor.finished().await;
        assert!(failed.try_recv().is_err());
        let page = metrics.render(&Stats::default(), &[], &std::collections::BTreeSet::new(), (&[], &[]), Wall::MIN);
        assert!(page.contains("crm_relay_panics_total 2\n"), "{page}");
    }

    /// F3: a dead hub ends the process whatever becomes of the line that says so.
    #[tokio::test]
    async fn the_process_is_told_of_a_dead_hub_before_the_log_is() {
        struct Broken;
        impl tracing::Subscriber for Broken {
            fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
                true
            }
            fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
                tracing::span::Id::from_u64(1)
            }
            fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
            fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
            fn event(&self, _: &tracing::Event<'_>) {
                panic!("the log cannot be written")
            }
            fn enter(&self, _: &tracing::span::Id) {}
            fn exit(&self, _: &tracing::span::Id) {}
        }
        let _broken = tracing::subscriber::set_default(Broken);
        let (supervisor, mut failed) = Supervisor::new(Arc::default());
        supervisor.spawn(TaskKind::Hub, "hub", async { panic!("a bug") });
        supervisor.finished().await;
        assert_eq!(failed.try_recv().unwrap().to_string(), "the task hub panicked: a bug");
    }

    #[tokio::test]
    async fn stopping_drops_what_may_be_dropped_and_waits_for_the_rest() {
        let (supervisor, _failed) = Supervisor::new(Arc::default());
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        supervisor.spawn(TaskKind::Retention, "retention", std::future::pending());
        supervisor.spawn(TaskKind::Hub, "hub", async move { finished.await.map_err(|e| e.to_string()) });
        supervisor.stop();
        assert!(supervisor.finished().now_or_never().is_none());
        finish.send(()).unwrap();
        supervisor.finished().await;
    }

    /// A listener that is gone while the server runs is a failure, not an end.
    #[tokio::test]
    async fn a_task_that_ends_unasked_stops_the_process() {
        let (supervisor, mut failed) = Supervisor::new(Arc::default());
        supervisor.spawn(TaskKind::Session, "session", async { Ok(()) });
        supervisor.spawn(TaskKind::Public, "public", async { Ok(()) });
        let failure = failed.recv().await.unwrap();
        assert_eq!(failure.to_string(), "the task public ended before the server stopped");
        supervisor.stop();
        supervisor.spawn(TaskKind::Hub, "hub", async { Ok(()) });
        supervisor.finished().await;
        assert!(failed.try_recv().is_err());
    }
}
