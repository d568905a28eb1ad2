//! Runs the client: from its configuration to its end.

use std::{error::Error, pin::pin};

use futures_util::FutureExt as _;
use relay_client::{Config, Ended, Outside, RunError};
use tokio::sync::mpsc;

use crate::{
    config::fault::Faults,
    descriptors,
    exit::{Exit, Failure, Outcome, reason},
    farewell,
    reload::{self, Fixed, Read},
    runtime::block_on,
    signals,
    systemd::Notifier,
    telemetry,
};

/// Settings of a client that do not change while it runs.
const FIXED: Fixed = Fixed::These(&["CLIENT_HOSTS", "CLIENT_LISTEN", "LOG_FORMAT", "LOG_LEVEL"]);

/// What it does, for the service manager: whether the server is there is another question.
const SERVING: &str = "forwarding webhooks";

/// Runs until stopped; `read` gives the configuration anew.
///
/// # Errors
/// The server refused it for good, or it could not start.
pub(crate) fn run(
    found: Read<Config>,
    read: impl Fn() -> Result<Read<Config>, Faults> + Clone + Send + 'static,
) -> Outcome {
    let Read { config, notes, logging, ground } = found;
    let printer = telemetry::start(&logging)?;
    descriptors::raise_limit();
    for note in &notes {
        tracing::warn!(event = "configuration", "{note}");
    }
    let targets: Vec<String> = config.destinations.iter().map(|d| format!("{} -> {}", d.name, d.url)).collect();
    tracing::info!(event = "starting", server = %config.relay_url, targets = targets.join(", "));
    let notifier = Notifier::of_environment();
    block_on(async {
        let (stop, hangups) = signals::attend()?;
        let (taker, reloads) = mpsc::channel(1);
        let outside = Outside {
            stopping: farewell::of_client(),
            reloads: Some(reloads),
            lost_lines: Some(printer.lost()),
            ..Outside::default()
        };
        let stopped = async {
            stop.asked().await;
            notifier.stopping();
        };
        let mut running = pin!(relay_client::run(config, outside, stopped));
        // A client that cannot start says so when it is first asked.
        let ended = if let Some(ended) = running.as_mut().now_or_never() {
            ended
        } else {
            notifier.ready(SERVING);
            // Without a taker the process is about to end.
            let take_over = async |config| drop(taker.send(config).await);
            let told = (notifier.clone(), SERVING.to_owned());
            tokio::select! {
                ended = running => ended,
                never = reload::serve(hangups, read, ground, FIXED, take_over, told) => match never {},
                // It keeps nothing: that its tasks get their turns is all there is to say.
                never = notifier.keep_watchdog(tokio::task::yield_now) => match never {},
            }
        };
        let ended = end(ended);
        farewell::last(&ended);
        ended
    })
}

/// How the end of a client ends the process.
///
/// # Errors
/// It did not end well.
pub(crate) fn end(ended: Result<Ended, RunError>) -> Outcome {
    match ended {
        Ok(Ended::Stopped) => Ok(Exit::Done),
        Ok(Ended::GraceExceeded) => Err(Failure::new(
            Exit::OverGrace,
            "stopped, but requests at targets or the server's confirmations took longer than SHUTDOWN_GRACE; what the server has \
                 not recorded as done it delivers again",
        )),
        Ok(Ended::TokenRefused) => Err(Failure::new(
            Exit::TokenRefused,
            "the server refused this token. On the server: crm-relay token list shows what it knows, and \
                 crm-relay token create NAME makes a new one",
        )),
        Ok(Ended::VersionRefused) => Err(Failure::new(
            Exit::NewerVersion,
            "the server speaks another protocol version than this client; use versions that are next to each other",
        )),
        Err(RunError::Listen { addr, source }) => Err(Failure::unreachable(format!(
            "cannot listen on {addr}: {}. Choose another address: --client-listen ADDR, or off",
            reason(&source)
        ))),
        Err(error @ (RunError::Dialer(_) | RunError::Target { .. })) => {
            Err(Failure::new(Exit::Configuration, chain(&error)))
        }
        Err(error @ RunError::Random) => Err(Failure::new(Exit::StoreFailed, chain(&error))),
    }
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
