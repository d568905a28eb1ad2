//! What we show of ourselves where a peer asks for it: a certificate in files, which may be another by the next handshake.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use tokio::time::Instant;

use super::identity::{Identity, IdentityError};

/// How soon another certificate is shown.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A certificate and its key for whoever asks for one, kept in step with their files.
pub struct Presented {
    certificate: PathBuf,
    key: PathBuf,
    shown: Mutex<Shown>,
}

struct Shown {
    identity: Identity,
    looked: Instant,
}

impl Presented {
    /// Reads the files.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn in_files(certificate: &Path, key: &Path) -> Result<Arc<Self>, IdentityError> {
        let shown = Shown { identity: Identity::in_files(certificate, key)?, looked: Instant::now() };
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Arc::new(Self { certificate, key, shown: Mutex::new(shown) }))
    }

    /// As it stands in the files now; as it was before, while these are half written, gone or wrong.
    fn current(&self) -> Identity {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.looked.elapsed() >= LOOK_EVERY {
            shown.looked = Instant::now();
            match Identity::in_files(&self.certificate, &self.key) {
                Ok(identity) => shown.identity = identity,
                Err(error) => {
                    tracing::warn!(event = "certificate_refused", %error, "the certificate of before goes on being shown");
                }
            }
        }
        shown.identity.clone()
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.current().key()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
