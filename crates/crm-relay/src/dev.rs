//! Runs server and client in one process, joined without a socket.

use crate::{
    config::{Logging, server::Plan},
    exit::{Exit, Failure, Outcome},
    telemetry,
};

/// Runs until stopped.
///
/// # Errors
/// It could not start, or the store failed.
pub(crate) fn run(plan: Plan, joined: relay_client::Config, logging: &Logging) -> Outcome {
    telemetry::start(logging);
    drop((plan, joined));
    Err(Failure::new(Exit::Unreachable, "dev is not wired in this build"))
}
