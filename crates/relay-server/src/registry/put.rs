//! One document written, and known to be or not to be: an answer that is lost is looked for.

use relay_core::storage::StoreError;
use relay_store::seam::{AuditEntry, Document, DocumentKey};

use super::{Registry, RegistryError};
use crate::again;

/// A write that is durable.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) key: DocumentKey,
    pub(super) version: u64,
    pub(super) body: Option<String>,
}

impl Registry {
    /// Writes one document if it is still at `expect`; `None` if it is not. Where the store did not answer, the same is asked
    /// for again: if the document is another by then, it is read, and is what was written, at the next version, or somebody
    /// else's.
    pub(super) async fn put(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: AuditEntry,
    ) -> Result<Option<Written>, RegistryError> {
        let put = |may_be_done| {
            let (key, body, audit) = (key.clone(), body.clone(), vec![audit.clone()]);
            async move {
                match self.store.put_document(key.clone(), expect, body.clone(), audit).await {
                    Ok(None) if may_be_done => self.found(key, expect + 1, body).await,
                    other => other,
                }
            }
        };
        let version = again::until_answered(put).await?;
        Ok(version.map(|version| Written { key, version, body }))
    }

    /// The version of a document, if it is this one.
    async fn found(&self, key: DocumentKey, version: u64, body: Option<String>) -> Result<Option<u64>, StoreError> {
        let found = self.store.document(key.clone()).await?;
        let written = body.map(|body| Document { key, version, body });
        Ok((found == written).then_some(version))
    }
}
