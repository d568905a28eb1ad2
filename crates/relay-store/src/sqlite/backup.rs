//! A consistent copy of the store, made in steps on the writer's own connection between its batches.

use std::path::PathBuf;

use relay_core::storage::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{fault::Fault, writer::Writer};
use crate::seam::Backup;

/// A backup that somebody waits for.
pub(super) struct Order {
    pub(super) into: PathBuf,
    pub(super) answer: oneshot::Sender<Result<Backup, StoreError>>,
}

/// Makes the copy.
pub(super) fn run(_writer: &mut Writer, _db: &Connection, order: Order) -> Result<(), Fault> {
    tracing::error!(into = %order.into.display(), "not there yet");
    drop(order.answer.send(Err(StoreError::Unavailable)));
    Ok(())
}
