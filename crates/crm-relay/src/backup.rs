//! Takes a copy of the store, from a running server or from the store itself, and writes it where the operator says: the
//! server may not be able to write there.

use std::{path::Path, sync::Arc};

use bytes::BytesMut;
use relay_server::api::BackupAsk;
use relay_store::{
    copy::{
        Backup, BackupError, Copying, Frame, Manifest, NoFrame, Piece,
        dir::{CopyDir, CopyDirError},
    },
    seam::Upkeep as _,
    sqlite::SqliteStore,
};

use crate::{
    admin_client::{Api, Arriving},
    exit::{Exit, Failure, reason},
    output::say,
    render::progress::Progress,
    signals,
};

/// Where a copy comes from.
pub(crate) enum Source {
    /// A server.
    Server(Api),
    /// A data directory that no server uses.
    Closed(Arc<SqliteStore>),
}

/// Writes a copy into `into`, which does not exist yet. Whatever goes wrong, nothing is left of it.
///
/// # Errors
/// In words, with the exit code that says whose turn it is.
pub(crate) async fn take(source: Source, into: &Path) -> Result<Manifest, Failure> {
    let stop = signals::listen()?;
    // Made first: what cannot be written is said before anything is read.
    let mut copy = Copy::begin(into)?;
    let taken = tokio::select! {
        taken = pieces(source, &mut copy) => taken,
        () = stop.asked() => Err(Failure::no("interrupted")),
    };
    match taken.and_then(|manifest| copy.finish(&manifest).map(|()| manifest)) {
        Ok(manifest) => Ok(manifest),
        Err(failure) => Err(copy.undo(&failure)),
    }
}

async fn pieces(source: Source, copy: &mut Copy) -> Result<Manifest, Failure> {
    match source {
        Source::Server(api) => {
            let mut arriving = api.stream("/api/v1/store/backup", &BackupAsk::default()).await?;
            let taken = streamed(&mut arriving, copy).await;
            taken.map_err(|why| match why {
                Ended::Failure(failure) => failure,
                Ended::Away(why) => {
                    Failure::unreachable(format!("the copy from {api} ended early: {why}. Take it again"))
                }
            })
        }
        Source::Closed(store) => closed(&store, copy).await,
    }
}

/// How a stream ended that did not end well.
enum Ended {
    Away(String),
    Failure(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<NoFrame> for Ended {
    fn from(error: NoFrame) -> Self {
        Self::Away(error.to_string())
    }
}

async fn streamed(arriving: &mut Arriving, copy: &mut Copy) -> Result<Manifest, Ended> {
    let mut arrived = BytesMut::new();
    while let Some(bytes) = arriving.next().await.map_err(Ended::Away)? {
        arrived.extend_from_slice(&bytes);
        while let Some(frame) = Frame::take(&mut arrived)? {
            match frame {
                Frame::About(backup) => copy.expect(&backup)?,
                Frame::Bytes(bytes) => copy.write(&bytes)?,
                Frame::End(manifest) => return Ok(*manifest),
                Frame::Failed { code, detail } => return Err(failed(&code, detail).into()),
            }
        }
    }
    Err(Ended::Away("the connection was closed".into()))
}

/// Without a server this command reads the store itself, in the way of none that starts meanwhile.
async fn closed(store: &SqliteStore, copy: &mut Copy) -> Result<Manifest, Failure> {
    let taken = async {
        let Copying { backup, mut pieces } = store.backup().await?;
        copy.expect(&backup)?;
        while let Some(piece) = pieces.recv().await {
            match piece? {
                Piece::Bytes(bytes) => copy.write(&bytes)?,
                Piece::End(manifest) => return Ok(*manifest),
            }
        }
        Err(BackupError::Unavailable.into())
    };
    let taken = taken.await;
    store.close().await;
    taken
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        failed(error.code(), error.to_string())
    }
}

/// Only a store that has failed is one.
fn failed(code: &str, detail: String) -> Failure {
    match code {
        "store_unavailable" | "damaged" => Failure::new(Exit::StoreFailed, detail),
        "shutting_down" => Failure::unreachable(detail),
        _ => Failure::no(detail),
    }
}

/// A copy that is being written, and how far it is.
struct Copy {
    dir: CopyDir,
    progress: Progress,
}

impl Copy {
    fn begin(into: &Path) -> Result<Self, Failure> {
        let removed = |path: &Path| {
            let path = path.display().to_string();
            say(&format!("removed {path}: what was left of a backup whose command was killed"));
        };
        Ok(Self { dir: CopyDir::begin(into, removed)?, progress: Progress::bytes(0) })
    }

    fn expect(&mut self, backup: &Backup) -> Result<(), Failure> {
        self.progress = Progress::bytes(backup.bytes);
        Ok(self.dir.expect(backup, 0)?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.dir.write(bytes)?;
        self.progress.add(bytes.len() as u64);
        Ok(())
    }

    fn finish(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        self.progress.clear();
        self.dir.finish(manifest)?;
        Ok(self.dir.name()?)
    }

    /// Removes what was written; says so, or what is left.
    fn undo(self, failure: &Failure) -> Failure {
        drop(self.progress);
        let left = match self.dir.undo() {
            Ok(()) => "nothing of it is left".to_owned(),
            Err((dir, error)) => format!("remove what is left of it in {}: {}", dir.display(), reason(&error)),
        };
        Failure::new(failure.exit, format!("{}; {left}", failure.text))
    }
}

impl From<CopyDirError> for Failure {
    fn from(error: CopyDirError) -> Self {
        match error {
            CopyDirError::Differs => Self::unreachable(error.to_string()),
            CopyDirError::Later { .. } => Self::new(Exit::NewerVersion, error.to_string()),
            CopyDirError::IsThere(_)
            | CopyDirError::UnderWay(_)
            | CopyDirError::NoParent { .. }
            | CopyDirError::NoRoom { .. }
            | CopyDirError::Io { .. } => Self::no(error.to_string()),
        }
    }
}
