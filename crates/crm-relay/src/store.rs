//! Backup, restore and check of the embedded store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use http::Method;
use relay_core::{storage::StoreError, time::Wall};
use relay_store::{
    Store as _,
    seam::Backup,
    sqlite::{self, CheckReport, OpenError, RestoreError},
};
use serde_json::json;

use crate::{
    admin_client::Api,
    cli::{Common, block_on, data_dirs, pretty, print},
    exit::{Exit, Failure, Outcome, reason},
    render::{style, time},
    server,
};

/// Faults that are listed for people; a broken page may make thousands.
const FAULTS_SHOWN: usize = 50;

/// Writes a consistent copy, through the server if one runs.
///
/// # Errors
/// Those of the store.
pub(crate) fn backup(common: &Common, directory: &Path) -> Outcome {
    let into = std::path::absolute(directory)
        .map_err(|error| Failure::usage(format!("{}: {}", directory.display(), reason(&error))))?;
    block_on(async {
        let layers = common.layers()?;
        let done = if let Some(api) = Api::find(&layers).await? {
            let body = json!({"into": into});
            api.call(Method::POST, "/api/v1/store/backup", Some(&body)).await?
        } else {
            let done = backup_closed(&data_dir(&layers)?, into.clone()).await?;
            json!({"bytes": done.bytes, "events": done.events})
        };
        let text = format!("{} holds {} events, {} bytes", into.display(), done["events"], done["bytes"]);
        print(&if common.json { pretty(&done) } else { text })?;
        Ok(Exit::Done)
    })
}

/// Puts a copy into a data directory that holds no store.
///
/// # Errors
/// There is a store already, or the copy is damaged.
pub(crate) fn restore(common: &Common, directory: &Path) -> Outcome {
    let layers = common.layers()?;
    let dir = crate::config::data_dir(&layers);
    if !directory.is_dir() {
        let text = format!("{} is not a directory; want one that store backup wrote", directory.display());
        return Err(Failure::usage(text));
    }
    let done = sqlite::restore(directory, &dir, now()).map_err(|error| restore_failed(&error, &dir))?;
    let value = json!({"bytes": done.bytes, "events": done.events});
    let text = format!("{} holds {} events again; start the server", dir.display(), done.events);
    print(&if common.json { pretty(&value) } else { text })?;
    Ok(Exit::Done)
}

/// Reads and recounts everything.
///
/// # Errors
/// The store is in use, or cannot be read at all.
pub(crate) fn check(common: &Common, accept_loss: bool) -> Outcome {
    let dir = data_dir(&common.layers()?)?;
    let report = sqlite::check(&dir, accept_loss, now()).map_err(|error| check_failed(&dir, &error))?;
    if common.json {
        print(&pretty(&json!({
            "ok": report.is_healthy(),
            "events": report.events,
            "deliveries": report.deliveries,
            "faults": report.faults,
            "accepted": report.accepted,
        })))?;
    } else {
        print(&in_words(&dir, &report))?;
    }
    Ok(if report.is_healthy() || report.accepted { Exit::Done } else { Exit::No })
}

/// What was read, what is wrong, what to do.
fn in_words(dir: &Path, report: &CheckReport) -> String {
    let read = format!("{}: {} events and {} deliveries read", dir.display(), report.events, report.deliveries);
    if report.is_healthy() {
        return format!("{read}: {}", style::good("the store is healthy"));
    }
    let count = report.faults.len();
    let mut lines = vec![format!("{read}, {count} fault{}:", if count == 1 { "" } else { "s" })];
    lines.extend(report.faults.iter().take(FAULTS_SHOWN).map(|fault| style::bad(format!("- {fault}"))));
    if let Some(more) = report.faults.len().checked_sub(FAULTS_SHOWN).filter(|more| *more > 0) {
        lines.push(format!("... and {more} more: --json shows all"));
    }
    lines.push(if report.accepted {
        "the loss is accepted: what is damaged was taken out and counted as lost, and the audit log says so; start the server"
            .to_owned()
    } else {
        "Put back a backup: crm-relay store restore DIR, into an empty data directory. Or go on without what is lost: \
         crm-relay store check --accept-loss"
            .to_owned()
    });
    lines.join("\n")
}

/// Without a server this command opens the store itself.
async fn backup_closed(dir: &Path, into: PathBuf) -> Result<Backup, Failure> {
    let store = Arc::new(server::open_store(dir, 0)?);
    let failed = |error: StoreError| Failure::new(Exit::StoreFailed, format!("cannot write the copy: {error}"));
    let done = store.backup(into).await.map_err(failed)?;
    store.close().await;
    Ok(done)
}

/// The data directory that holds a store.
fn data_dir(layers: &crate::config::layers::Layers) -> Result<PathBuf, Failure> {
    let dirs = data_dirs(layers);
    let holds_store = |dir: &&PathBuf| ["store.db", "ledger"].iter().any(|name| dir.join(name).exists());
    dirs.iter().find(holds_store).cloned().ok_or_else(|| {
        let looked: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        Failure::unreachable(format!("no store in {}. Say where it is: --data-dir DIR", looked.join(" or ")))
    })
}

/// What a check cannot even read, accepting the loss cannot mend.
fn check_failed(dir: &Path, error: &OpenError) -> Failure {
    if matches!(error, OpenError::Damaged { .. }) {
        let text = format!(
            "{error}. That is more than a check can mend: put back a backup (crm-relay store restore DIR), or move {} away \
             and begin anew",
            dir.display()
        );
        return Failure::new(Exit::StoreFailed, text);
    }
    server::open_failed(dir, error)
}

fn restore_failed(error: &RestoreError, dir: &Path) -> Failure {
    match error {
        RestoreError::Open(error) => server::open_failed(dir, error),
        RestoreError::NotEmpty(_) => {
            Failure::no(format!("{error}. Move it away, or choose another directory: --data-dir DIR"))
        }
        RestoreError::Unusable { .. } => Failure::new(Exit::StoreFailed, error.to_string()),
    }
}

fn now() -> Wall {
    let since = time::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall::from_micros(since.as_micros() as i64)
}
