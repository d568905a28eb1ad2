//! Backup, restore and check of the embedded store.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use relay_server::clock::rfc3339;
use relay_store::{
    sqlite::{self, CheckReport, OpenError, RestoreError, Restored},
    watch::Watch,
};
use serde_json::json;

use crate::{
    admin_client::Found,
    backup::{self, Source},
    config::{self, data_dirs, layers::Layers, looked_in},
    credentials,
    exit::{Exit, Failure, Outcome, reason},
    opening,
    output::{pretty, print, tell},
    place,
    render::{progress::Progress, style, time},
    runtime::block_on,
    signals,
};

/// Faults that are listed for people; a broken page may make thousands.
const FAULTS_SHOWN: usize = 50;

/// Writes a consistent copy, from the server if one runs.
///
/// # Errors
/// Those of the store, of the way to it, and of the directory.
pub(crate) fn backup(layers: &Layers, json: bool, directory: &Path) -> Outcome {
    let into = std::path::absolute(directory)
        .map_err(|error| Failure::usage(format!("{}: {}", directory.display(), reason(&error))))?;
    block_on(async {
        let holds_store = |dirs: Vec<PathBuf>| dirs.into_iter().find(|dir| place::holds_store(dir));
        let source = match Found::server_or_store(layers, holds_store).await? {
            Found::Server(api) => Source::Server(api),
            Found::Store { store, .. } => Source::Closed(store),
            Found::Nothing => return Err(no_store(layers)),
        };
        let done = backup::take(source, &into).await?.backup;
        let value = json!({"bytes": done.bytes, "events": done.events});
        let text = format!("{} holds {} events, {} bytes", into.display(), done.events, done.bytes);
        if json { print(&pretty(&value)) } else { tell(&text) }?;
        Ok(Exit::Done)
    })
}

/// Puts a copy into a data directory that holds no store.
///
/// # Errors
/// There is a store already, or the copy is damaged.
pub(crate) fn restore(layers: &Layers, json: bool, directory: &Path) -> Outcome {
    let dir = config::data_dir(layers);
    if !directory.is_dir() {
        let text = format!("{} is not a directory; want one that store backup wrote", directory.display());
        return Err(Failure::usage(text));
    }
    let (from, into) = (directory.to_owned(), dir.clone());
    let work = move |watch: &Arc<Watch>| sqlite::restore_watched(&from, &into, time::wall(), watch);
    let done = block_on(watched(Progress::bytes(0), work))?.map_err(|error| restore_failed(&error))?;
    if json {
        let credentials = credentials::are_there(&dir);
        let value = json!({
            "bytes": done.bytes,
            "events": done.events,
            "credentials": credentials,
            "unknown": {
                "since": rfc3339(done.gap.since),
                "until": rfc3339(done.gap.until),
                "commits": done.gap.commits,
                "events": done.gap.events,
            },
        });
        print(&pretty(&value))?;
    } else {
        tell(&restored_in_words(&dir, &done))?;
    }
    Ok(Exit::Done)
}

/// What is there again, what nobody knows, and what has to be done before the server starts.
fn restored_in_words(dir: &Path, done: &Restored) -> String {
    let shown = dir.display();
    let mut lines = vec![format!("{shown} holds {} events again", done.events)];
    lines.push(format!(
        "What was accepted and delivered from {} until now is not in it{}; crm-relay audit goes on to say so",
        rfc3339(done.gap.since),
        match done.gap.events {
            Some(events) => format!(": at most {events} events, by the ledger that was left here"),
            None => String::new(),
        }
    ));
    if !credentials::are_there(dir) {
        lines.push(style::warn(format!(
            "There are no credentials: a backup holds none. Put the file of the old server back now ({shown}/credentials, \
             its owner's alone), or give API_KEY, RELAY_TOKEN and ADMIN_TOKEN. Otherwise the next start makes new ones, and \
             every sender of the source default and every client gets 401 until it has them"
        )));
    }
    let owner = fs::metadata(dir).map_or(0, |found| found.uid());
    if owner == 0 && rustix::process::geteuid().is_root() {
        lines.push(format!(
            "It belongs to root: if the server runs as another user, give it to that one: chown -R USER {shown}"
        ));
    }
    lines.push("Start the server".to_owned());
    lines.join("\n")
}

/// Reads and recounts everything.
///
/// # Errors
/// The store is in use, or cannot be read at all.
pub(crate) fn check(layers: &Layers, json: bool, accept_loss: bool) -> Outcome {
    let dir = data_dir(layers)?;
    let place = dir.clone();
    let ciphers = config::ciphers(layers)?;
    let work = move |watch: &Arc<Watch>| sqlite::check_watched(&place, &ciphers, accept_loss, time::wall(), watch);
    let report = block_on(watched(Progress::new(0), work))?.map_err(|error| check_failed(&dir, &error))?;
    if json {
        print(&pretty(&json!({
            "ok": report.is_healthy(),
            "events": report.events,
            "deliveries": report.deliveries,
            "faults": report.faults,
            "accepted": report.accepted,
            "sealed_with": report.sealed_with,
            "lost": report.gap.map(|gap| json!({
                "since": rfc3339(gap.since),
                "until": rfc3339(gap.until),
                "commits": gap.commits,
                "events": gap.events,
            })),
        })))?;
    } else {
        tell(&in_words(&dir, &report))?;
    }
    Ok(if report.is_healthy() || report.accepted { Exit::Done } else { Exit::No })
}

/// What was read, what is wrong, what to do.
fn in_words(dir: &Path, report: &CheckReport) -> String {
    let read = format!("{}: {} events and {} deliveries read", dir.display(), report.events, report.deliveries);
    if report.is_healthy() {
        return format!("{read}: {}{}", style::good("the store is healthy"), sealed_in_words(&report.sealed_with));
    }
    let count = report.faults.len();
    let mut lines = vec![format!("{read}, {count} fault{}:", if count == 1 { "" } else { "s" })];
    lines.extend(report.faults.iter().take(FAULTS_SHOWN).map(|fault| style::bad(format!("- {fault}"))));
    if let Some(more) = report.faults.len().checked_sub(FAULTS_SHOWN).filter(|more| *more > 0) {
        lines.push(format!("... and {more} more: --json shows all"));
    }
    lines.push(if report.accepted {
        let missing = match report.gap.map(|gap| gap.events) {
            None => "Of events nothing is missing",
            Some(Some(1)) => "1 event is missing",
            Some(Some(events)) => &format!("{events} events are missing"),
            Some(None) => "How many events are missing, nobody can tell",
        };
        format!(
            "the loss is accepted: what is damaged was taken out and counted as lost, and the audit log says so. {missing}{}. \
             Start the server",
            if report.gap.is_some() { ", which crm-relay audit goes on to say" } else { "" }
        )
    } else {
        "Put back a backup: crm-relay store restore DIR, into an empty data directory. Or go on without what is lost: \
         crm-relay store check --accept-loss"
            .to_owned()
    });
    lines.join("\n")
}

/// With what it is sealed.
fn sealed_in_words(numbers: &[u32]) -> String {
    let shown: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    match numbers.len() {
        0 => String::new(),
        1 => format!(", sealed with key {}", shown[0]),
        _ => format!(", sealed with keys {}: crm-relay store rekey leaves the newest", shown.join(", ")),
    }
}

/// Does long work in a thread of its own, tells how far it is, and ends it early when somebody asks for that.
async fn watched<T: Send + 'static>(
    mut progress: Progress,
    work: impl FnOnce(&Arc<Watch>) -> T + Send + 'static,
) -> Result<T, Failure> {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let stop = signals::listen()?;
    let watch = Arc::new(Watch::default());
    let worker = Arc::clone(&watch);
    let mut done = tokio::task::spawn_blocking(move || work(&worker));
    loop {
        tokio::select! {
            done = &mut done => {
                return done.map_err(|error| Failure::new(Exit::StoreFailed, format!("the store's thread ended: {error}")));
            }
            () = tokio::time::sleep(LOOK_EVERY) => {
                let (done, total) = watch.progress();
                progress.reach(done, Some(total));
                if stop.is_asked() {
                    watch.stop();
                }
            }
        }
    }
}

/// The data directory that holds a store.
fn data_dir(layers: &Layers) -> Result<PathBuf, Failure> {
    let dirs = data_dirs(layers);
    let holds_store = |dir: &&PathBuf| place::holds_store(dir);
    dirs.iter().find(holds_store).cloned().ok_or_else(|| no_store(layers))
}

fn no_store(layers: &Layers) -> Failure {
    Failure::unreachable(format!("no store in {}. Say where it is: --data-dir DIR", looked_in(layers)))
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
    opening::failed(error)
}

fn restore_failed(error: &RestoreError) -> Failure {
    match error {
        RestoreError::Open(error) => opening::failed(error),
        RestoreError::NotEmpty(_) => {
            Failure::no(format!("{error}. Move it away, or choose another directory: --data-dir DIR"))
        }
        RestoreError::NoRoom { .. } => {
            Failure::no(format!("{error}. Make room there, or choose another directory: --data-dir DIR"))
        }
        RestoreError::Unusable { .. } => Failure::new(
            Exit::StoreFailed,
            format!("{error}. Take another copy: the directory that crm-relay store backup wrote, whole"),
        ),
    }
}
