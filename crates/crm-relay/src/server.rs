//! Runs the server: from its plan to its end.

use crate::{
    config::{Logging, server::Plan},
    credentials,
    exit::{Exit, Failure, Outcome},
    telemetry,
};

/// Runs until stopped.
///
/// # Errors
/// It could not start, or the store failed.
pub(crate) fn run(plan: Plan, logging: &Logging) -> Outcome {
    telemetry::start(logging);
    for note in &plan.notes {
        tracing::warn!("{note}");
    }
    let kept = credentials::complete(plan.data_dir(), plan.given.clone())?;
    let _config = plan.complete(kept.credentials);
    Err(Failure::new(Exit::Unreachable, "the server is not wired in this build"))
}
