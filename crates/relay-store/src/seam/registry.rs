//! The trade of the registry: documents with compare-and-set, and what was done to them.
//!
//! # When the answer is lost
//!
//! | operation | again | resolved by |
//! | --- | --- | --- |
//! | `put_document` | safe: by version | reading the document: it is what was written, at the next version, or another |
//! | `audit` | writes the lines once more | |
//! | all others | safe: they read | asking again |

use relay_core::storage::StoreError;

use super::{AuditEntry, Document, DocumentKey, DocumentKind};
use crate::Later;

/// Registry documents and the audit log's writer.
pub trait Registry: Send + Sync + 'static {
    /// Reads one registry document.
    fn document(&self, key: DocumentKey) -> Later<Result<Option<Document>, StoreError>>;

    /// Reads all registry documents of a kind, by name. One that is damaged is among them, without a body.
    fn documents(&self, kind: DocumentKind) -> Later<Result<Vec<Document>, StoreError>>;

    /// Writes (or, without `body`, deletes) a document if its stored version is still `expect` (0: there is none).
    /// Answers the new version, or `None` if the stored one differs. `audit` entries go in the same commit.
    fn put_document(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: Vec<AuditEntry>,
    ) -> Later<Result<Option<u64>, StoreError>>;

    /// Writes audit entries: what an operator did.
    fn audit(&self, entries: Vec<AuditEntry>) -> Later<Result<(), StoreError>>;

    /// The version of what is [followed](DocumentKind::is_followed): another one after each such document that was written, whoever wrote
    /// it. `None`: the store has [one owner](super::Promises::several_owners), who knows what he wrote.
    fn version(&self) -> Later<Result<Option<u64>, StoreError>>;

    /// A hint: completes soon after a document that is followed was written since this call, by another owner or by this one; never where the
    /// store has one owner. It may come for nothing, and be lost: whoever has to know looks at [`Self::version`] now and then.
    fn changes(&self) -> Later<()>;
}
