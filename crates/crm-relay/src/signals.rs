//! SIGTERM and SIGINT: the first asks for a graceful stop, the second ends the process at once.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::exit::{Exit, Failure};

/// Tells whoever listens that the process shall stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Completes once a stop was asked for. Cancel safe.
    pub(crate) async fn asked(mut self) {
        // The sender lives as long as the process: an error cannot come before a stop.
        let _closed = self.0.wait_for(|stop| *stop).await;
    }
}

/// Begins to listen for signals.
///
/// # Errors
/// The system refuses handlers.
pub(crate) fn listen() -> Result<Stop, Failure> {
    let handler = |kind| {
        signal(kind).map_err(|error| Failure::new(Exit::StoreFailed, format!("cannot listen for signals: {error}")))
    };
    let (mut interrupt, mut terminate) = (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        next(&mut interrupt, &mut terminate).await;
        sender.send_replace(true);
        next(&mut interrupt, &mut terminate).await;
        end_at_once();
    });
    Ok(Stop(receiver))
}

/// Whichever comes first. Cancel safe: a signal is not lost when the other branch wins.
async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "a second signal ends the process without further ado")]
fn end_at_once() {
    std::process::exit(i32::from(Exit::OverGrace as u8));
}
