//! How a change of the registry comes about: decided on the present directory, written by compare-and-set.

use std::fmt;

use relay_core::name::Name;
use relay_store::seam::{AuditEntry, DocumentKey};

use super::{Registry, RegistryError, listed, put::Written};
use crate::directory::Directory;

/// How often a change is tried when somebody else keeps changing the same document.
const TRIES: u32 = 8;

/// A secret that is shown once, with the document that keeps its digest.
#[derive(Clone)]
pub struct ShownOnce<T> {
    /// The secret itself.
    pub secret: String,
    /// What is kept.
    pub document: T,
}

impl<T: fmt::Debug> fmt::Debug for ShownOnce<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownOnce").field("document", &self.document).finish_non_exhaustive()
    }
}

/// One write that a change comes to.
pub(super) struct Write {
    pub(super) key: DocumentKey,
    pub(super) expect: u64,
    pub(super) body: Option<String>,
    pub(super) audit: AuditEntry,
}

impl Registry {
    /// Decides on the present directory and writes; decides anew if somebody was faster. Nothing to write is no change. What
    /// was written is in force when this returns, also if the store did not let the rest be read.
    pub(super) async fn change(
        &self,
        decide: impl Fn(&Directory) -> Result<Vec<Write>, RegistryError>,
    ) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        for _ in 0..TRIES {
            let writes = match decide(&self.directory()) {
                Ok(writes) => writes,
                // It may be about what another server changed a moment ago.
                Err(refused) => match self.has_moved().await {
                    Ok(true) => continue,
                    Ok(false) | Err(_) => return Err(refused),
                },
            };
            let mut written = Vec::new();
            let all = writes.len();
            let applied = self.write_all(writes, &mut written).await;
            let done = written.len();
            // Also after a failure: what was written before it holds.
            let renewed = self.renew(written).await;
            let applied = applied.map_err(|error| match error {
                RegistryError::Store(error) if done > 0 => RegistryError::Partly { done, all, error },
                other => other,
            });
            if applied? {
                return Ok(());
            }
            renewed?;
        }
        Err(RegistryError::Contended)
    }

    /// Writes one after the other; `Ok(false)`, and the rest unwritten, once a document is not what was decided on.
    async fn write_all(&self, writes: Vec<Write>, written: &mut Vec<Written>) -> Result<bool, RegistryError> {
        for write in writes {
            let Some(put) = self.put(write.key, write.expect, write.body, write.audit).await? else { return Ok(false) };
            written.push(put);
        }
        Ok(true)
    }
}

/// Refuses what the configuration file declares.
pub(super) fn undeclared(kind: &'static str, name: &str, declared: Option<&str>) -> Result<(), RegistryError> {
    match declared {
        None => Ok(()),
        Some(at) => Err(RegistryError::Declared { kind, name: name.into(), at: at.into() }),
    }
}

/// There is no such source.
pub(super) fn unknown_source(directory: &Directory, name: &Name) -> RegistryError {
    RegistryError::Unknown { kind: "source", name: name.to_string(), known: listed(directory.sources.keys()) }
}
