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
    SqliteStore::open(options).map_err(|error| failed(&error))
}

/// Opens the store of a data directory for a command that reads: root may look into that of another user.
///
/// # Errors
/// Somebody writes there, or the store cannot be read.
pub(crate) fn to_look(data_dir: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::look(Options { owners: Owners::UsOrServed, ..Options::new(data_dir) })
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
        OpenError::Unsafe(_) => Failure::new(Exit::Configuration, error.to_string()),
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
