//! What we show of ourselves where a peer asks for it: a certificate in files, which may be another by the next handshake.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use tokio::{runtime::Handle, task::spawn_blocking, time::sleep};

use super::identity::{Identity, IdentityError};

/// How soon another certificate is shown.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A certificate and its key for whoever asks for one, kept in step with their files.
pub struct Presented {
    certificate: PathBuf,
    key: PathBuf,
    shown: Mutex<Identity>,
}

impl Presented {
    /// Reads the files. Inside a runtime they are looked at again for as long as this is in use, aside: a file system that is away
    /// holds up no handshake, nor whatever else its task does.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn in_files(certificate: &Path, key: &Path) -> Result<Arc<Self>, IdentityError> {
        let shown = Mutex::new(Identity::in_files(certificate, key)?);
        let presented = Arc::new(Self { certificate: certificate.to_owned(), key: key.to_owned(), shown });
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(keep(Arc::downgrade(&presented)));
        }
        Ok(presented)
    }

    fn lock(&self) -> MutexGuard<'_, Identity> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows what the files hold, as it was before while they are half written, gone or wrong, which is said once.
async fn keep(presented: Weak<Presented>) {
    let mut refused = None;
    loop {
        sleep(LOOK_EVERY).await;
        let Some(files) = presented.upgrade().map(|presented| (presented.certificate.clone(), presented.key.clone()))
        else {
            return;
        };
        let looked = spawn_blocking(move || Identity::in_files(&files.0, &files.1)).await;
        let (Ok(looked), Some(presented)) = (looked, presented.upgrade()) else { return };
        match looked {
            Ok(identity) => {
                refused = None;
                *presented.lock() = identity;
            }
            Err(error) => {
                let error = error.to_string();
                if refused.as_ref() != Some(&error) {
                    tracing::warn!(
                        event = "certificate_refused",
                        error,
                        "the certificate of before goes on being shown"
                    );
                    refused = Some(error);
                }
            }
        }
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.lock().key()))
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
