//! Documents of the registry that somebody took out of Redis past the servers: written back, and named once.
//!
//! Whoever removes a document that is followed gives the registry another version in the same step. What is gone at the version at which it was there was
//! removed by nobody of ours; what is gone at another one may have been, and stays so (I21).

use std::collections::BTreeMap;

use relay_core::storage::AuditEntry;

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    commit::ROWS_MAX,
    lost,
    registry::{self, fresh_version},
    reply::{Fault, Replies},
    scripts::Script,
};
use crate::seam::{Document, DocumentKind};

/// Whether a document is better than none although it may be an earlier one. Users and sessions are read where somebody comes in, and are
/// remembered as they were then: one who was disabled since, or a session that was ended, would be let in again (I21, S24). Whoever has
/// the admin token or the admin socket makes users anew.
pub(super) const fn comes_back(kind: DocumentKind) -> bool {
    !matches!(kind, DocumentKind::User | DocumentKind::Session)
}

impl Core {
    /// Looks whether all documents are there that should be, in the Redis of this epoch: those that are followed, since a removal of others
    /// moves no version.
    pub(super) async fn look_at_documents(&self, epoch: &[u8]) -> Result<(), Fault> {
        let followed = || DocumentKind::ALL.into_iter().filter(|kind| kind.is_followed());
        let mut asked = vec![Command::new("GET").arg(self.space.version())];
        asked.extend(followed().map(|kind| Command::new("HLEN").arg(self.space.documents(kind))));
        // One that is of another type has none, until it is put aside.
        let mut replies = Replies::new(self.nodes.readable(asked).await?);
        let found = replies.next()?.maybe_bytes()?;
        let Some(version) = found.as_deref().and_then(registry::read_version) else {
            return self.give_a_version(epoch, found.as_deref()).await;
        };
        let mut gone = Vec::new();
        for kind in followed() {
            let count = replies.next()?.number().unwrap_or_default();
            if !self.acknowledged.are_read(kind, version, usize::try_from(count).unwrap_or_default()) {
                gone.extend(self.documents_gone(kind, epoch).await?);
            }
        }
        // One that did not read when it was there is not known.
        let (back, lost): (Vec<_>, Vec<_>) = gone.into_iter().partition(|gone| !gone.body.is_empty());
        if !lost.is_empty() {
            let named = lost.iter().map(|gone| gone.key.clone()).collect();
            self.acknowledged.will_say(lost::missed_line(&named, self.clock().await?));
            self.acknowledged.give_up(&lost);
        }
        if back.is_empty() { Ok(()) } else { self.restore(epoch, version, &back).await }
    }

    /// Somebody removed the registry's version, or what was found there is none: nobody knows what else, so what is missing is named.
    async fn give_a_version(&self, epoch: &[u8], found: Option<&[u8]>) -> Result<(), Fault> {
        // Where nothing stands, and none was ever read, no document may have been written yet.
        if found.is_none() && !self.acknowledged.has_read() {
            return Ok(());
        }
        self.look_for_documents(epoch).await?;
        let fresh = fresh_version()?;
        self.restore_some(epoch, found.unwrap_or_default(), &fresh, DocumentKind::Source, &[]).await.map(drop)
    }

    /// Writes these back, each once, whoever else does. The version moves with the last of them, so that whoever has read the registry
    /// without them reads it again.
    async fn restore(&self, epoch: &[u8], version: u64, gone: &[Document]) -> Result<(), Fault> {
        let mut of_kind: BTreeMap<DocumentKind, Vec<&Document>> = BTreeMap::new();
        for document in gone {
            of_kind.entry(document.key.kind).or_default().push(document);
        }
        let mut chunks = Vec::new();
        for (kind, all) in &of_kind {
            chunks.extend(all.chunks(ROWS_MAX).map(|some| (*kind, some)));
        }
        let fresh = fresh_version()?;
        for (number, (kind, some)) in chunks.iter().enumerate() {
            let is_last = number + 1 == chunks.len();
            let next = if is_last { &fresh } else { "" };
            let written = self.restore_some(epoch, version.to_string().as_bytes(), next, *kind, some).await?;
            if !written.is_empty() {
                let documents = named(&written);
                tracing::error!(
                    event = "documents_written_back",
                    documents,
                    "somebody removed these from Redis past crm-relay: they are there again as this server knew them"
                );
            }
        }
        Ok(())
    }

    /// Some of one kind, while that is the version; gives those that were not there.
    async fn restore_some<'a>(
        &self,
        epoch: &[u8],
        version: &[u8],
        next: &str,
        kind: DocumentKind,
        some: &[&'a Document],
    ) -> Result<Vec<&'a Document>, Fault> {
        self.life.check()?;
        let space = &self.space;
        let keys = [space.documents(kind), space.version(), space.registry_audit(), space.meta()];
        let mut arguments = vec![epoch.to_vec(), version.to_vec(), next.as_bytes().to_vec()];
        arguments.push(some.len().to_string().into_bytes());
        arguments.extend(some.iter().flat_map(|document| registry::named(document)));
        let line = AuditEntry {
            at: self.clock().await?,
            who: "store".to_owned(),
            action: "store.written-back".to_owned(),
            subject: named(some),
            origin: String::new(),
        };
        arguments.extend([b"1".to_vec(), audit::write(&line), audit::place(&line).into_bytes()]);
        let written = self.nodes.commit(Urgency::Other, Script::Restore.call(&keys, arguments)).await?.many()?;
        let mut found = Vec::with_capacity(written.len());
        for number in written {
            found.extend(usize::try_from(number.number()?).ok().and_then(|number| some.get(number)).copied());
        }
        Ok(found)
    }
}

fn named(documents: &[&Document]) -> String {
    lost::shown(&documents.iter().map(|one| &one.key).collect::<Vec<_>>())
}
