//! The store of a server that does not run.

use std::path::Path;

use relay_core::storage::StoreError;
use relay_server::api::{CheckDto, Hop};
use relay_store::{seam::Upkeep as _, sqlite::SqliteStore};

use super::Examined;
use crate::{
    exit::{Exit, Failure},
    migrate,
};

/// What is wrong with a store that nobody has open, each with what mends it; and that nobody has.
///
/// # Errors
/// The store does not tell.
pub(super) async fn examine(dir: &Path, store: &SqliteStore) -> Result<Examined, Failure> {
    let wrong = |check, said: String| CheckDto::wrong(Hop::Server, check, said);
    let shown = dir.display().to_string();
    let mut checks = vec![
        wrong(
            "runs",
            format!("no server runs here: nothing is taken and nothing delivered; this is its store in {shown}"),
        )
        .mended_by("crm-relay server, or: systemctl start crm-relay-server; its log says why it ended"),
    ];
    let failed = |error: StoreError| Failure::new(Exit::StoreFailed, error.to_string());
    let stats = store.stats().await.map_err(failed)?;
    if stats.damaged > 0 {
        let said = format!("{} records do not read", stats.damaged);
        checks.push(wrong("store", said).mended_by("crm-relay store check names them"));
    }
    if stats.full {
        checks.push(wrong("disk", "its disk is full".to_owned()).mended_by("make room, or lower DISK_RESERVE"));
    }
    if let Err(failure) = migrate::refuse_moved(store, &shown).await {
        checks.push(wrong("store", failure.text));
    }
    if checks.len() == 1 {
        checks.push(CheckDto::ok(Hop::Server, "store", "the store keeps what it is given"));
    }
    Ok(Examined { at: vec![shown], checks })
}
