//! Opens the embedded store of a data directory, and says in words why it could not.

use std::path::Path;

use relay_store::{
    private::Owners,
    sqlite::{OpenError, Options, SqliteStore},
};

use crate::{
    credentials,
    exit::{Exit, Failure},
};

/// Opens the embedded store.
///
/// # Errors
/// In words, with the exit code that says whose turn it is.
pub(crate) fn open(options: Options) -> Result<SqliteStore, Failure> {
    let data_dir = options.dir.clone();
    SqliteStore::open(options).map_err(|error| failed(&data_dir, &error))
}

/// Opens the store of a data directory for a command: root may look after that of another user, and nothing is laid out for
/// a full disk.
///
/// # Errors
/// In words, with the exit code that says whose turn it is.
pub(crate) fn to_look_after(data_dir: &Path) -> Result<SqliteStore, Failure> {
    open(Options { disk_reserve: 0, ballast: false, owners: Owners::UsOrServed, ..Options::new(data_dir) })
}

/// In words, why a store was not opened.
pub(crate) fn failed(data_dir: &Path, error: &OpenError) -> Failure {
    match error {
        OpenError::Io { error, verb: "write", .. } => credentials::not_writable(data_dir, error),
        OpenError::Io { .. }
        | OpenError::LostCommits { .. }
        | OpenError::OtherHistory { .. }
        | OpenError::OtherLog { .. }
        | OpenError::NoLedger { .. }
        | OpenError::NoDatabase { .. }
        | OpenError::UnfinishedRestore { .. }
        | OpenError::OldSqlite(_) => Failure::new(Exit::StoreFailed, error.to_string()),
        OpenError::Unsafe(_) => Failure::new(Exit::Configuration, error.to_string()),
        OpenError::InUse { .. } => {
            Failure::unreachable(format!("{error}. Stop it, or choose another directory: --data-dir DIR"))
        }
        OpenError::Interrupted { .. } => Failure::no(error.to_string()),
        OpenError::Newer { .. } => Failure::new(Exit::NewerVersion, error.to_string()),
        OpenError::NotAStore(_) => {
            Failure::new(Exit::Configuration, format!("{error}. Choose another directory: --data-dir DIR"))
        }
        OpenError::Damaged { .. } => Failure::new(
            Exit::StoreFailed,
            format!("{error}. See what is left: crm-relay store check; or put back a backup"),
        ),
    }
}
