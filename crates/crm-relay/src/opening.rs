//! Opens the store: the embedded one of a data directory, or that in a Redis; and says in words why it could not.

use std::{path::Path, time::Duration};

use relay_core::{delivery::State, fault::Retry, storage::StoreError};
use relay_store::{
    cipher::Ciphers,
    migrate::{self, Standing},
    private::Owners,
    redis::{self, BeginError, RedisStore},
    seam::Upkeep as _,
    sqlite::{Occupied, OpenError, Options, SqliteStore},
};
use tokio::time::{Instant, sleep};

use crate::{
    credentials,
    exit::{Exit, Failure},
    place,
};

/// How long a server tries a Redis that is not there at its start: what starts both may start it first.
pub(crate) const REDIS_WITHIN: Duration = Duration::from_secs(60);
/// How long a command tries one: somebody waits for its answer.
pub(crate) const REDIS_WITHIN_OF_COMMAND: Duration = Duration::from_secs(10);
/// Between two tries.
const REDIS_EVERY: Duration = Duration::from_millis(500);

/// Opens the embedded store.
///
/// # Errors
/// In words, with the exit code that says whose turn it is.
pub(crate) fn open(options: Options) -> Result<SqliteStore, Failure> {
    SqliteStore::open(options).map_err(|error| failed(&error))
}

/// Opens the store of a data directory for a command that reads: root may look into that of another user.
///
/// # Errors
/// Somebody writes there, or the store cannot be read.
pub(crate) fn to_look(data_dir: &Path, ciphers: &Ciphers) -> Result<SqliteStore, OpenError> {
    let ciphers = ciphers.clone();
    SqliteStore::look(Options { owners: Owners::UsOrServed, ciphers, ..Options::new(data_dir) })
}

/// Keeps a data directory for a server whose store is elsewhere: nobody else is let in until that is dropped.
///
/// # Errors
/// Another server has it; or what lies there waits for its delivery, which nobody would see to.
pub(crate) async fn beside_redis(data_dir: &Path, ciphers: &Ciphers) -> Result<Occupied, Failure> {
    if place::holds_store(data_dir) {
        refuse_open(data_dir, ciphers).await?;
    }
    Occupied::take(data_dir).map_err(|error| failed(&error))
}

/// Refuses a directory whose store holds open deliveries.
async fn refuse_open(data_dir: &Path, ciphers: &Ciphers) -> Result<(), Failure> {
    let store = to_look(data_dir, ciphers).map_err(|error| failed(&error))?;
    let failed = |error: StoreError| Failure::new(Exit::StoreFailed, error.to_string());
    let moved = migrate::standing(&store).await.map_err(failed)?;
    let stats = store.stats().await.map_err(failed)?;
    drop(store);
    // What was moved is delivered from where it is now.
    if matches!(moved, Some(Standing::Left(_))) {
        return Ok(());
    }
    // They stand in the order of their numbers, from 1.
    let open = State::ALL.into_iter().filter(|state| state.is_open()).map(|state| state as usize - 1);
    let open: u64 = open.map(|at| stats.destinations.iter().map(|stats| stats.states[at]).sum::<u64>()).sum();
    if open == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Configuration,
        format!(
            "REDIS_URL is set, and the store in {} still holds {open} deliveries that wait, which nobody would deliver. Move \
             them: crm-relay store migrate; or start once without REDIS_URL until they are delivered, or choose another directory: --data-dir DIR",
            data_dir.display()
        ),
    ))
}

/// Waits until a Redis is there and fit for it, at most `within`.
///
/// # Errors
/// In words, with the exit code that says whose turn it is.
pub(crate) async fn begin(store: &RedisStore, at: &str, within: Duration) -> Result<(), Failure> {
    let since = Instant::now();
    let mut is_told = false;
    loop {
        let why = match store.begin().await {
            Ok(()) => return Ok(()),
            Err(error) if error.retry() == Retry::Backoff => error,
            Err(error) => return Err(not_begun(&error, at)),
        };
        if since.elapsed() >= within {
            let seconds = within.as_secs();
            return Err(Failure::unreachable(format!(
                "the Redis at {at} was not there for {seconds} s: {why}. Look at REDIS_URL, and whether it runs; a port that \
                 wants TLS needs rediss://"
            )));
        }
        if !is_told {
            is_told = true;
            let seconds = within.as_secs();
            tracing::warn!(event = "redis_waiting", at, %why, "Redis is not there; it is tried again for {seconds} s");
        }
        sleep(REDIS_EVERY).await;
    }
}

/// In words, why a Redis is not used.
pub(crate) fn not_begun(error: &BeginError, at: &str) -> Failure {
    match error {
        BeginError::Newer(_) => Failure::new(Exit::NewerVersion, format!("the Redis at {at}: {error}")),
        BeginError::Away(why) => Failure::unreachable(format!("the Redis at {at}: {why}")),
        BeginError::Refused(findings) => {
            let mut text = format!("the Redis at {at} is not used as it is:");
            text.extend(findings.iter().map(|finding| format!("\n\n  {}\n      {}", finding.what, finding.mend)));
            if findings.iter().any(|finding| finding.mend.starts_with("CONFIG SET")) {
                text.push_str("\n\nGive it these with redis-cli; CONFIG REWRITE keeps them over restarts.");
            }
            Failure::new(Exit::Configuration, text)
        }
    }
}

/// A store in a Redis, which is not connected yet.
pub(crate) fn redis(options: redis::Options) -> RedisStore {
    RedisStore::open(options)
}

/// The store that is there in a Redis, which nobody makes by looking for it.
///
/// # Errors
/// In words: the Redis cannot be used, or holds no store of that name.
pub(crate) async fn there(options: &redis::Options) -> Result<RedisStore, Failure> {
    let (at, store) = (options.address.to_string(), redis(options.clone()));
    let examined = store.examine().await.map_err(|error| not_begun(&error, &at))?;
    if examined.stored.is_none() {
        return Err(Failure::unreachable(format!("no store in the Redis at {at} under {}", options.stream_name)));
    }
    let findings: Vec<_> = examined.findings().cloned().collect();
    if findings.is_empty() {
        store.fit().await.map_err(|error| not_begun(&error, &at))?;
        Ok(store)
    } else {
        Err(not_begun(&BeginError::Refused(findings), &at))
    }
}

/// In words, why a store was not opened.
pub(crate) fn failed(error: &OpenError) -> Failure {
    match error {
        OpenError::Io { error, verb: "write", path, .. } => credentials::not_writable(path, error),
        OpenError::Io { .. }
        | OpenError::NotOpened { .. }
        | OpenError::LostCommits { .. }
        | OpenError::OtherHistory { .. }
        | OpenError::OtherLog { .. }
        | OpenError::NoLedger { .. }
        | OpenError::NoDatabase { .. }
        | OpenError::UnfinishedRestore { .. }
        | OpenError::OldSqlite(_) => Failure::new(Exit::StoreFailed, error.to_string()),
        OpenError::Unsafe(_) | OpenError::Sealed { .. } => Failure::new(Exit::Configuration, error.to_string()),
        OpenError::Empty { .. } | OpenError::GaveWay { .. } => Failure::unreachable(error.to_string()),
        OpenError::InUse { .. } => {
            Failure::unreachable(format!("{error}. Stop it, or choose another directory: --data-dir DIR"))
        }
        OpenError::Interrupted { .. } => Failure::no(error.to_string()),
        OpenError::Newer { .. } | OpenError::Later { .. } => Failure::new(Exit::NewerVersion, error.to_string()),
        OpenError::NotAStore(_) => {
            Failure::new(Exit::Configuration, format!("{error}. Choose another directory: --data-dir DIR"))
        }
        OpenError::Damaged { .. } => Failure::new(
            Exit::StoreFailed,
            format!("{error}. See what is left: crm-relay store check; or put back a backup"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io, os::unix::fs::MetadataExt as _};

    use super::*;

    /// I24: a Redis that is not there at the start is tried for so long, a minute in a server; then this ends as what is to be started
    /// again.
    #[tokio::test]
    async fn a_redis_that_is_not_there_is_tried_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = redis::Address::Unix(dir.path().join("redis.sock"));
        let (store, began, within) = (redis(redis::Options::new(nobody)), Instant::now(), 2 * REDIS_EVERY);
        let failure = begin(&store, "redis.sock", within).await.unwrap_err();
        assert!(began.elapsed() >= within);
        assert_eq!((failure.exit as u8, REDIS_WITHIN.as_secs()), (69, 60));
        assert!(failure.text.contains("the Redis at redis.sock was not there for 1 s"), "{}", failure.text);
    }

    /// What keeps the relay out is named, with what lets it in; the directory only where it is the directory.
    #[test]
    fn a_file_that_is_not_ours_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.db-wal");
        fs::write(&file, "").unwrap();
        let us = fs::metadata(&file).unwrap().uid();
        let said = |uid, path: &Path| {
            let denied = || io::ErrorKind::PermissionDenied.into();
            let error = OpenError::Io { verb: "write", path: path.to_owned(), uid, error: denied() };
            let failure = failed(&error);
            assert!(uid != us || error.to_string() == failure.text, "{error} | {}", failure.text);
            error.to_string()
        };
        let (dir, file) = (dir.path(), file.as_path());
        let begin = format!("cannot write {} (uid ", file.display());
        let of_another = said(us + 1, file);
        let end = format!("permission denied. Give it to the relay, with what is beside it: chown -R {} ", us + 1);
        assert!(
            of_another.starts_with(&begin) && of_another.ends_with(&format!("{end}{}", dir.display())),
            "{of_another}"
        );
        let read_only = said(us, file);
        assert!(read_only.starts_with(&begin), "{read_only}");
        assert!(read_only.ends_with(&format!("chmod u+rw {}", file.display())), "{read_only}");
        assert!(said(us, dir).ends_with(&format!("chmod u+rwx {}", dir.display())));
        assert!(said(us + 1, dir).ends_with(&format!("chown {} {}", us + 1, dir.display())));
        let few = OpenError::Io { verb: "write", path: dir.into(), uid: us, error: io::Error::from_raw_os_error(24) };
        assert!(failed(&few).text.contains("ulimit -n"), "{few}");
    }
}
