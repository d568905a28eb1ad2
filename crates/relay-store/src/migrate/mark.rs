//! What both stores say of a move while it is under way, and afterwards.

use std::collections::BTreeMap;

use relay_core::storage::{AuditEntry, StoreError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{End, MigrateError, Moved, patiently, whole::Renamed};
use crate::seam::{Document, DocumentKey, DocumentKind, Registry, Unread, parse};

/// In a store that is moved elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Departure {
    /// Of the move: both ends have the same.
    pub(super) id: String,
    pub(super) to: String,
    pub(super) at_ms: i64,
    pub(super) done: bool,
}

/// In a store that something is moved into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arrival {
    pub(super) id: String,
    pub(super) from: String,
    pub(super) at_ms: i64,
    pub(super) done: bool,
    pub(super) phase: Phase,
    /// Where the next page of events begins.
    pub(super) cursor: Option<String>,
    /// Lines of the audit log that are there, from the oldest.
    pub(super) lines: u64,
    /// What came of it: events, deliveries, attempts, keys, documents, lines.
    pub(super) counts: [u64; 6],
    pub(super) digest: String,
}

/// What is moved at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    #[default]
    Events,
    Audit,
    Documents,
    Totals,
    /// Nothing: they are compared.
    Comparison,
}

impl Arrival {
    /// It is over, with this.
    pub(super) fn found(&mut self, found: &Moved) {
        let Moved { events, deliveries, attempts, keys, documents, lines, .. } = found;
        self.counts = [events, deliveries, attempts, keys, documents, lines].map(|count| *count);
        self.digest.clone_from(&found.digest);
        (self.done, self.cursor) = (true, None);
    }

    /// What came of it.
    pub(super) fn moved(&self, names: &RenamedIds, was_done: bool) -> Moved {
        let [events, deliveries, attempts, keys, documents, lines] = self.counts;
        let (renamed, digest) = (names.renamed.texts(), self.digest.clone());
        Moved { events, deliveries, attempts, keys, documents, lines, renamed, digest, was_done }
    }
}

/// What a store says of moves, for whoever is to start on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is moved there, which is not over.
    Leaving(String),
    /// It was moved there.
    Left(String),
    /// Something is moved into it from there, which is not over.
    Arriving(String),
}

/// What it says; `None`: nothing that keeps a server from it.
///
/// # Errors
/// The store does not tell.
pub async fn standing(store: &dyn Registry) -> Result<Option<Standing>, StoreError> {
    if let Some(Departure { to, done, .. }) = find(store.documents(DocumentKind::Migration).await?) {
        return Ok(Some(if done { Standing::Left(to) } else { Standing::Leaving(to) }));
    }
    let arrival: Option<Arrival> = find(store.documents(DocumentKind::Migration).await?);
    Ok(arrival.filter(|arrival| !arrival.done).map(|arrival| Standing::Arriving(arrival.from)))
}

fn find<T: Mark>(documents: Vec<Document>) -> Option<T> {
    let found = documents.into_iter().find(|document| document.key.name == T::NAME)?;
    // One that does not read keeps servers away as one that is not over does.
    Some(serde_json::from_str(&found.body).unwrap_or_default())
}

/// One of the two documents.
pub(super) trait Mark: Serialize + DeserializeOwned + Default + Clone {
    /// What it is called.
    const NAME: &'static str;
    /// Which store it is in.
    const END: End;
}

impl Mark for Departure {
    const NAME: &'static str = "out";
    const END: End = End::Source;
}

impl Mark for Arrival {
    const NAME: &'static str = "in";
    const END: End = End::Target;
}

/// A document as it was last read or written; of version 0 there is none.
#[derive(Debug)]
pub(super) struct Marked<T> {
    pub(super) version: u64,
    pub(super) mark: T,
}

impl<T: Mark> Marked<T> {
    /// Reads that of a store.
    pub(super) async fn read(end: End, store: &dyn Registry) -> Result<Self, MigrateError> {
        match patiently(end, || store.document(Self::key())).await? {
            None => Ok(Self { version: 0, mark: T::default() }),
            Some(Document { version, body, .. }) => {
                let mark = parse(&body).map_err(|unread| not_read(end, "what it says of moves", &unread))?;
                Ok(Self { version, mark })
            }
        }
    }

    /// Writes it as it is by now, and these lines with it.
    pub(super) async fn put(&mut self, store: &dyn Registry, lines: Vec<AuditEntry>) -> Result<(), MigrateError> {
        // Of strings, numbers and maps of strings there always is a text.
        let body = serde_json::to_string(&self.mark).unwrap_or_default();
        self.version = self.write(store, Some(body), lines).await?;
        Ok(())
    }

    /// Removes it.
    pub(super) async fn remove(&mut self, store: &dyn Registry, lines: Vec<AuditEntry>) -> Result<(), MigrateError> {
        self.write(store, None, lines).await?;
        self.version = 0;
        Ok(())
    }

    async fn write(
        &self,
        store: &dyn Registry,
        body: Option<String>,
        lines: Vec<AuditEntry>,
    ) -> Result<u64, MigrateError> {
        let put = || store.put_document(Self::key(), self.version, body.clone(), lines.clone());
        if let Some(version) = patiently(T::END, put).await? {
            return Ok(version);
        }
        // Written by an earlier try whose answer was lost, or by somebody else.
        let found = patiently(T::END, || store.document(Self::key())).await?;
        let is_ours = found.as_ref().map(|found| &found.body) == body.as_ref();
        if is_ours {
            return Ok(self.version + 1);
        }
        Err(MigrateError::Another { end: T::END, what: "which goes on at this moment".into() })
    }

    fn key() -> DocumentKey {
        DocumentKey { kind: DocumentKind::Migration, name: T::NAME.to_owned() }
    }
}

/// Nothing is done by what was not understood.
fn not_read(end: End, what: &str, unread: &Unread) -> MigrateError {
    let what = format!("{what}: {unread}");
    match unread {
        Unread::Later(_) => MigrateError::Store { end, error: StoreError::Later { what: what.into() } },
        Unread::Damaged(_) => MigrateError::Damaged(what),
    }
}

/// What documents are called that hold names.
const NAMES: &str = "renamed-";

/// Ids of the source that are others in the target, which holds them in documents of their own: one for each group of events that
/// has any, so that what is written does not grow with what was written before.
#[derive(Debug, Default)]
pub(super) struct RenamedIds {
    pub(super) renamed: Renamed,
    documents: u64,
}

impl RenamedIds {
    /// Reads those of a target.
    pub(super) async fn read(target: &dyn Registry) -> Result<Self, MigrateError> {
        let mut names = Self::default();
        for document in patiently(End::Target, || target.documents(DocumentKind::Migration)).await? {
            if !document.key.name.starts_with(NAMES) {
                continue;
            }
            let texts = parse(&document.body).map_err(|unread| not_read(End::Target, &document.key.name, &unread))?;
            names.renamed.read(&texts);
            names.documents += 1;
        }
        Ok(names)
    }

    /// These too: written down, with these lines of the audit log.
    pub(super) async fn put(
        &mut self,
        target: &dyn Registry,
        texts: BTreeMap<String, String>,
        lines: Vec<AuditEntry>,
    ) -> Result<(), MigrateError> {
        // Of a map of strings there always is a text.
        let body = serde_json::to_string(&texts).unwrap_or_default();
        let key = DocumentKey { kind: DocumentKind::Migration, name: format!("{NAMES}{:08}", self.documents) };
        let put = || target.put_document(key.clone(), 0, Some(body.clone()), lines.clone());
        if patiently(End::Target, put).await?.is_none() {
            // Written by an earlier try whose answer was lost, or by somebody else.
            let found = patiently(End::Target, || target.document(key.clone())).await?;
            if found.is_none_or(|found| found.body != body) {
                let what = "which goes on at this moment".into();
                return Err(MigrateError::Another { end: End::Target, what });
            }
        }
        self.renamed.read(&texts);
        self.documents += 1;
        Ok(())
    }
}
