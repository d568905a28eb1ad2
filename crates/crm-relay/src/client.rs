//! Runs the client: from its configuration to its end.

use relay_client::Config;

use crate::{
    config::Logging,
    exit::{Exit, Failure, Outcome},
    telemetry,
};

/// Runs until stopped.
///
/// # Errors
/// The server refused it for good.
pub(crate) fn run(config: Config, notes: &[String], logging: &Logging) -> Outcome {
    telemetry::start(logging);
    for note in notes {
        tracing::warn!("{note}");
    }
    drop(config);
    Err(Failure::new(Exit::Unreachable, "the client is not wired in this build"))
}
