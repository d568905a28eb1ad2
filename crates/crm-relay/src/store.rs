//! Backup, restore and check of the embedded store.

use std::path::Path;

use crate::{
    cli::Common,
    exit::{Exit, Failure, Outcome},
};

/// Writes a consistent copy.
///
/// # Errors
/// Those of the store.
pub(crate) fn backup(_common: &Common, _directory: &Path) -> Outcome {
    Err(Failure::new(Exit::StoreFailed, "not wired in this build"))
}

/// Puts a copy in the place of the store.
///
/// # Errors
/// Those of the store.
pub(crate) fn restore(_common: &Common, _directory: &Path, _yes: bool) -> Outcome {
    Err(Failure::new(Exit::StoreFailed, "not wired in this build"))
}

/// Reads and recounts everything.
///
/// # Errors
/// Those of the store.
pub(crate) fn check(_common: &Common, _accept_loss: bool) -> Outcome {
    Err(Failure::new(Exit::StoreFailed, "not wired in this build"))
}
