//! `crm-relay store migrate`: opens both stores, and moves all of one into the other.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use relay_core::storage::StoreError;
use relay_store::{
    Store,
    cipher::Ciphers,
    migrate::{self, MigrateError, Move, Moved, Standing, Survey},
    redis,
    seam::Registry,
    sqlite::Options,
    watch::Watch,
};
use serde_json::json;

use crate::{
    exit::{Exit, Failure, Outcome},
    opening,
    output::{pretty, print, tell},
    place,
    render::{progress::Progress, style, time},
    runtime::block_on,
    signals,
};

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Ids that were changed are listed for people up to so many; JSON has all.
const RENAMED_SHOWN: usize = 20;

/// Where a store is.
pub(crate) enum StoreAt {
    /// In a data directory, sealed with these if it is.
    Directory(PathBuf, Ciphers),
    /// In a Redis.
    Redis(Box<redis::Options>),
}

impl fmt::Display for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir, _) => dir.display().fmt(f),
            // The first database is as good as none.
            Self::Redis(options) if options.login.database == 0 => {
                write!(f, "{}, {}", options.address, options.stream_name)
            }
            Self::Redis(options) => {
                write!(f, "{} database {}, {}", options.address, options.login.database, options.stream_name)
            }
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Move it.
    Move,
    /// Say what would be moved.
    DryRun,
    /// Give up a move that is not over.
    Abandon,
}

/// Does it.
///
/// # Errors
/// One of the stores cannot be used, or they are not what a move is between.
pub(crate) fn run(from: &StoreAt, to: &StoreAt, what: What, json: bool) -> Outcome {
    block_on(async {
        if what == What::DryRun {
            let survey = migrate::survey(&*look(from).await?).await.map_err(|error| failed(&error, from, to))?;
            return survey_told(survey, from, json);
        }
        let source = open_source(from).await?;
        let target = open(to).await?;
        let (from_name, to_name) = (from.to_string(), to.to_string());
        let stores = Move { source: &*source, target: &*target, from: &from_name, to: &to_name };
        let done = if what == What::Abandon {
            migrate::abandon(stores, time::wall()).await.map(|()| None)
        } else {
            watched(stores).await?.map(Some)
        };
        source.close().await;
        target.close().await;
        if let Some(moved) = done.map_err(|error| failed(&error, from, to))? {
            return moved_told(&moved, from, to, json);
        }
        let text = format!(
            "{from} may be served again. What was moved to {to} by now is of no use: remove it before anything else is moved there"
        );
        if json { print(&pretty(&json!({"abandoned": true}))) } else { tell(&text) }?;
        Ok(Exit::Done)
    })
}

/// Moves, tells how far it is, and ends early when somebody asks for that.
async fn watched(stores: Move<'_>) -> Result<Result<Moved, MigrateError>, Failure> {
    let (stop, watch, mut progress) = (signals::listen()?, Watch::default(), Progress::new(0));
    let mut moving = std::pin::pin!(migrate::migrate(stores, time::wall(), &watch));
    loop {
        tokio::select! {
            done = &mut moving => return Ok(done),
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

/// Opens one to be read alone, and in nobody's way.
async fn look(at: &StoreAt) -> Result<Arc<dyn Store>, Failure> {
    match at {
        StoreAt::Directory(dir, ciphers) => {
            refuse_nothing(dir)?;
            Ok(Arc::new(opening::to_look(dir, ciphers).map_err(|error| opening::failed(&error))?))
        }
        StoreAt::Redis(options) => Ok(Arc::new(opening::there(options).await?)),
    }
}

async fn open_source(at: &StoreAt) -> Result<Arc<dyn Store>, Failure> {
    match at {
        StoreAt::Directory(dir, _) => refuse_nothing(dir)?,
        // Whoever begins makes one where there is none.
        StoreAt::Redis(options) => drop(opening::there(options).await?),
    }
    open(at).await
}

/// Opens one as a server does: nobody else is let into a directory.
async fn open(at: &StoreAt) -> Result<Arc<dyn Store>, Failure> {
    match at {
        StoreAt::Directory(dir, ciphers) => {
            let ciphers = ciphers.clone();
            Ok(Arc::new(opening::open(Options { ciphers, ..Options::new(dir) })?))
        }
        StoreAt::Redis(options) => {
            let store = opening::redis((**options).clone());
            opening::begin(&store, &options.address.to_string(), opening::REDIS_WITHIN_OF_COMMAND).await?;
            Ok(Arc::new(store))
        }
    }
}

fn refuse_nothing(dir: &Path) -> Result<(), Failure> {
    if place::holds_store(dir) {
        return Ok(());
    }
    Err(Failure::unreachable(format!("no store in {}. Say where it is: --from DIR", dir.display())))
}

fn survey_told(survey: Survey, from: &StoreAt, json: bool) -> Outcome {
    let Survey { events, deliveries, open, documents, bytes } = survey;
    if json {
        let counts =
            json!({"events": events, "deliveries": deliveries, "open": open, "documents": documents, "bytes": bytes});
        print(&pretty(&counts))?;
    } else {
        tell(&format!(
            "{from} would be moved: {events} events with {deliveries} deliveries, {open} of which still have a way to go, and {documents} \
             documents. It takes up {bytes} bytes. Nothing is changed"
        ))?;
    }
    Ok(Exit::Done)
}

fn moved_told(moved: &Moved, from: &StoreAt, to: &StoreAt, json: bool) -> Outcome {
    if json {
        let renamed = moved.renamed.iter().map(|(old, new)| json!({"from": old, "to": new}));
        let renamed: Vec<_> = renamed.collect();
        print(&pretty(&json!({
            "events": moved.events,
            "deliveries": moved.deliveries,
            "attempts": moved.attempts,
            "keys": moved.keys,
            "documents": moved.documents,
            "audit_lines": moved.lines,
            "renamed": renamed,
            "digest": moved.digest,
            "was_done": moved.was_done,
        })))?;
        return Ok(Exit::Done);
    }
    let Moved { events, deliveries, attempts, keys, documents, lines, .. } = moved;
    let before = if moved.was_done { "was moved before" } else { "is moved, and the same in both" };
    let mut said = vec![style::good(format!(
        "{from} {before}: {events} events, {deliveries} deliveries, {attempts} earlier attempts, {keys} dedupe keys, {documents} \
         documents, {lines} lines of the audit log"
    ))];
    said.push(format!("digest {}", moved.digest));
    if !moved.renamed.is_empty() {
        said.push(format!("{} ids had their place taken, and are others now:", moved.renamed.len()));
        said.extend(moved.renamed.iter().take(RENAMED_SHOWN).map(|(old, new)| format!("  {old} is {new}")));
    }
    said.push(next(to));
    tell(&said.join("\n"))?;
    Ok(Exit::Done)
}

/// What to do next.
fn next(to: &StoreAt) -> String {
    let how = match to {
        StoreAt::Directory(dir, _) => format!("without REDIS_URL and with --data-dir {}", dir.display()),
        StoreAt::Redis(options) => {
            format!("with REDIS_URL for {} and STREAM_NAME={}", options.address, options.stream_name)
        }
    };
    format!("Start the server {how}, with the credentials that it had; none starts on what was moved from any more")
}

fn failed(error: &MigrateError, from: &StoreAt, to: &StoreAt) -> Failure {
    let exit = match error {
        MigrateError::Store { error: StoreError::Full, .. } => Exit::No,
        MigrateError::Store { error: StoreError::Later { .. }, .. } => Exit::NewerVersion,
        MigrateError::Store { error: StoreError::Away | StoreError::Unknown, .. } | MigrateError::Served { .. } => {
            Exit::Unreachable
        }
        MigrateError::NotEmpty(_) | MigrateError::Another { .. } | MigrateError::Left(_) | MigrateError::Stopped => {
            Exit::No
        }
        MigrateError::Store { .. } | MigrateError::Damaged(_) | MigrateError::Differs(_) | MigrateError::Random => {
            Exit::StoreFailed
        }
    };
    Failure::new(exit, format!("from {from} to {to}: {error}"))
}

/// Refuses a store that a move says is not, or not yet, one to be served.
///
/// # Errors
/// It is so; or the store does not tell.
pub(crate) async fn refuse_moved(store: &dyn Registry, at: &str) -> Result<(), Failure> {
    let asked = migrate::standing(store).await;
    let said = asked.map_err(|error| Failure::new(Exit::StoreFailed, format!("the store in {at}: {error}")))?;
    let text = match said {
        None => return Ok(()),
        Some(Standing::Left(to)) => format!("what was in {at} was moved to {to}. Start the server on that"),
        Some(Standing::Leaving(to)) => format!(
            "{at} is being moved to {to}. Let that end: crm-relay store migrate --from and --to as before; or give it up with --abandon"
        ),
        Some(Standing::Arriving(from)) => format!(
            "{at} holds a part of what is being moved from {from}. Let that end: crm-relay store migrate --from and --to as before"
        ),
    };
    Err(Failure::new(Exit::Configuration, text))
}
