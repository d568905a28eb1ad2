//! One document written, and known to be or not to be: an answer that is lost is looked for.

use relay_core::storage::StoreError;
use relay_store::seam::{self, AuditEntry, Document, DocumentKey};

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
    /// See [`put_document`].
    pub(super) async fn put(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: AuditEntry,
    ) -> Result<Option<Written>, RegistryError> {
        let version = put_document(&*self.store, &key, expect, body.as_ref(), &[audit]).await?;
        Ok(version.map(|version| Written { key, version, body }))
    }
}

/// Writes one document if it is still at `expect`, and gives its new version; `None` if it is not. Where the store did not answer, the
/// same is asked for again: if the document is another by then, it is read, and is what was written, at the next version, or somebody
/// else's.
///
/// # Errors
/// What the store says; `Unknown` where nobody knows whether it is written.
pub(crate) async fn put_document(
    store: &dyn seam::Registry,
    key: &DocumentKey,
    expect: u64,
    body: Option<&String>,
    audit: &[AuditEntry],
) -> Result<Option<u64>, StoreError> {
    let put = |may_be_done| async move {
        match store.put_document(key.clone(), expect, body.cloned(), audit.to_vec()).await {
            Ok(None) if may_be_done => found(store, key, expect + 1, body).await,
            other => other,
        }
    };
    again::until_answered(put).await
}

/// The version of a document, if it is this one.
async fn found(
    store: &dyn seam::Registry,
    key: &DocumentKey,
    version: u64,
    body: Option<&String>,
) -> Result<Option<u64>, StoreError> {
    let found = store.document(key.clone()).await?;
    let written = body.map(|body| Document { key: key.clone(), version, body: body.clone() });
    Ok((found == written).then_some(version))
}
