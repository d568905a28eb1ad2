//! The public listener's certificate: read at the start, and again whenever its files are other ones.
//!
//! Whoever renews certificates writes two files, one after the other, and tells nobody. So they are looked at every few seconds, and
//! a pair that does not belong together yet is read again at the next look. What is wrong with them is said once, and the certificate
//! of before goes on being shown.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use relay_core::time::Wall;
use relay_net::tls::{self, Identity, IdentityError};
use tokio::{sync::Notify, time::timeout};

/// How soon another certificate is shown.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where a certificate stands, with those that lead to its authority, and where its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the server's own first.
    pub certificate: PathBuf,
    /// PEM, without a passphrase.
    pub key: PathBuf,
}

/// A certificate that is kept in step with its files.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    files: TlsFiles,
    server: Arc<tls::Server>,
    /// When the one that is shown ends, in seconds since the epoch.
    ends: Arc<AtomicI64>,
    look: Arc<Notify>,
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub(crate) fn open(files: TlsFiles) -> Result<(Self, Kept), IdentityError> {
        let bytes = read(&files)?;
        let identity = identity(&files, &bytes)?;
        let server = tls::Server::new(&identity)?;
        let ends = Arc::new(AtomicI64::new(identity.not_after()));
        let certificate = Self { files, server, ends, look: Arc::default() };
        Ok((certificate, Kept { in_use: bytes, refused: None }))
    }

    /// Who shows it.
    pub(crate) fn server(&self) -> Arc<tls::Server> {
        Arc::clone(&self.server)
    }

    /// When the one that is shown ends.
    pub(crate) fn ends(&self) -> Wall {
        Wall::from_micros(self.ends.load(Ordering::Relaxed).saturating_mul(1_000_000))
    }

    /// Its files are looked at now.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    /// Keeps it in step with its files for as long as it is polled.
    pub(crate) async fn keep(&self, mut kept: Kept) {
        loop {
            // Nobody tells: look again all the same.
            let _ = timeout(LOOK_EVERY, self.look.notified()).await;
            let files = self.files.clone();
            // A file system that is away holds up this task alone.
            let Ok(bytes) = tokio::task::spawn_blocking(move || read(&files)).await else { continue };
            self.take(&mut kept, bytes);
        }
    }

    fn take(&self, kept: &mut Kept, bytes: Result<Files, IdentityError>) {
        if bytes.as_ref().is_ok_and(|bytes| *bytes == kept.in_use) {
            kept.refused = None;
            return;
        }
        match bytes.and_then(|bytes| Ok((identity(&self.files, &bytes)?, bytes))) {
            Ok((identity, bytes)) => {
                self.server.show(&identity);
                self.ends.store(identity.not_after(), Ordering::Relaxed);
                *kept = Kept { in_use: bytes, refused: None };
                tracing::info!(event = "certificate_replaced", file = %self.files.certificate.display());
            }
            Err(error) => {
                let error = error.to_string();
                if kept.refused.as_ref() != Some(&error) {
                    tracing::warn!(
                        event = "certificate_refused",
                        error,
                        "the certificate of before goes on being shown"
                    );
                    kept.refused = Some(error);
                }
            }
        }
    }
}

/// What is known of the files.
#[derive(Debug)]
pub(crate) struct Kept {
    in_use: Files,
    /// What was said of those that are there.
    refused: Option<String>,
}

/// What stands in the two files.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

fn read(TlsFiles { certificate, key }: &TlsFiles) -> Result<Files, IdentityError> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|source| IdentityError::File { file: path.display().to_string(), source })
    };
    Ok(Files { certificate: read(certificate)?, key: read(key)? })
}

fn identity(TlsFiles { certificate, key }: &TlsFiles, bytes: &Files) -> Result<Identity, IdentityError> {
    Identity::of((&bytes.certificate, certificate), (&bytes.key, key))
}
