//! The snapshot of the registry: read from the store, and made anew with each change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use relay_core::{limits, name::Name};
use relay_store::seam::{DocumentKey, DocumentKind};
use serde::de::DeserializeOwned;

use super::{Registry, RegistryError, put::Written};
use crate::{
    directory::{Directory, Versioned},
    document::{self, Destination, Unread},
};

/// Longest pause before documents that could not be read are read again: they may say that somebody is let in no more (I21).
const AGAIN_MAX: Duration = Duration::from_secs(4);

/// What names a document among those of its kind.
trait Named: Ord {
    fn of(name: &str) -> Option<Self>
    where
        Self: Sized;
}

impl Named for Name {
    fn of(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

impl Named for (Name, Name) {
    fn of(name: &str) -> Option<Self> {
        let (first, second) = name.split_once('/')?;
        Some((first.parse().ok()?, second.parse().ok()?))
    }
}

impl Registry {
    /// Reads all documents, as a server does at its start: one that is damaged has to be seen to first.
    pub(super) async fn load(&self) -> Result<(), RegistryError> {
        let directory = self.read_all(None).await?;
        self.publish(directory).await;
        Ok(())
    }

    /// Reads all documents anew. One that is damaged by now stays as it was when it was last read, and nothing else waits for
    /// it.
    pub(crate) async fn reload(&self) -> Result<(), RegistryError> {
        let directory = self.read_all(Some(&self.directory())).await?;
        self.publish(directory).await;
        Ok(())
    }

    /// The same after a change. Where the documents cannot be read, what was written holds all the same (I21), and they are
    /// read later.
    pub(super) async fn renew(&self, written: Vec<Written>) -> Result<(), RegistryError> {
        let Err(error) = self.reload().await else { return Ok(()) };
        tracing::warn!(
            event = "registry_unread",
            %error,
            "what was changed holds; the other documents of the registry are read again until they can be"
        );
        let mut directory = Directory::clone(&self.directory());
        for Written { key, version, body } in written {
            apply(&mut directory, &key, version, body.as_deref());
        }
        self.publish(directory).await;
        self.stale.notify_one();
        Err(error)
    }

    /// Reads, for as long as the server runs, what other servers changed, and again whatever could not be read.
    pub(crate) async fn keep_fresh(&self) {
        let (mut unread, mut pause) = (false, limits::REGISTRY_LOOK);
        loop {
            // Asked for before the look: of what is written after it there is a hint.
            let hint = self.store.changes();
            let looks = match self.catch_up(unread).await {
                Ok(()) => {
                    if std::mem::take(&mut unread) {
                        tracing::info!(event = "registry_read", "the documents of the registry could be read again");
                    }
                    pause = limits::REGISTRY_LOOK;
                    // Nobody else writes where there is one owner.
                    self.directory().version.is_some()
                }
                Err(error) => {
                    if !std::mem::replace(&mut unread, true) {
                        let what = "what other servers changed is read once it can be";
                        tracing::warn!(event = "registry_unread", %error, "{what}");
                    }
                    pause = (2 * pause).min(AGAIN_MAX);
                    true
                }
            };
            // Cancel safety: each look is at everything.
            tokio::select! {
                () = hint => {}
                () = tokio::time::sleep(pause), if looks => {}
                () = self.stale.notified() => unread = true,
            }
        }
    }

    /// Reads all documents anew if others wrote some since, or if the last ones could not be read.
    async fn catch_up(&self, unread: bool) -> Result<(), RegistryError> {
        if !unread && self.store.version().await? == self.directory().version {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        // What moved it may have been a change of this server's own, which has read it by now.
        if unread {
            self.reload().await?;
        } else {
            self.has_moved().await?;
        }
        Ok(())
    }

    /// Whether others wrote something that the present snapshot does not have; if so, it has it now. It is this change's turn.
    pub(super) async fn has_moved(&self) -> Result<bool, RegistryError> {
        if self.store.version().await? == self.directory().version {
            return Ok(false);
        }
        self.reload().await?;
        Ok(true)
    }

    async fn read_all(&self, before: Option<&Directory>) -> Result<Directory, RegistryError> {
        // What a destination may be whose document does not read: nothing is lost of a paused one.
        let paused = |name: &Name| Some(Destination { name: name.clone(), paused: true });
        // Before the documents: what is written meanwhile moves it, and is read again.
        let version = self.store.version().await?;
        Ok(Directory {
            version,
            sources: self.read(DocumentKind::Source, before.map(|directory| &directory.sources), no_other).await?,
            routes: self.read(DocumentKind::Route, before.map(|directory| &directory.routes), no_other).await?,
            destinations: self
                .read(DocumentKind::Destination, before.map(|directory| &directory.destinations), paused)
                .await?,
            keys: self.read(DocumentKind::Key, before.map(|directory| &directory.keys), no_other).await?,
            tokens: self.read(DocumentKind::Token, before.map(|directory| &directory.tokens), no_other).await?,
            ..Directory::default()
        })
    }

    /// The documents of one kind. One that is damaged is as it was before, or what `unread` makes of it; else it is an error.
    async fn read<N: Named, T: DeserializeOwned + Clone>(
        &self,
        kind: DocumentKind,
        before: Option<&BTreeMap<N, Versioned<T>>>,
        unread: impl Fn(&N) -> Option<T>,
    ) -> Result<BTreeMap<N, Versioned<T>>, RegistryError> {
        let mut all = BTreeMap::new();
        for stored in self.store.documents(kind).await? {
            let (name, version) = (stored.key.name, stored.version);
            let why = match named(&name, &stored.body) {
                Ok((named, document)) => {
                    all.insert(named, Versioned { version, document });
                    continue;
                }
                Err(why) => why,
            };
            if let Some(before) = before {
                tracing::error!(event = "document_damaged", ?kind, name, %why, "left as it was when it was last read");
                let kept = N::of(&name).and_then(|named| before.get(&named).cloned().map(|kept| (named, kept)));
                all.extend(kept);
            } else {
                let (named, document) = at_start(kind, &name, &why, &unread)?;
                all.insert(named, Versioned { version, document });
            }
        }
        Ok(all)
    }

    /// Puts a new snapshot in the place of the present one; completes when all who have to know of it do.
    async fn publish(&self, mut directory: Directory) {
        self.places.load().put_into(&mut directory);
        let directory = directory.routed(&self.defaults).with_intakes(self.api_key, self.memory);
        self.directory.store(Arc::new(directory));
        self.follow().await;
    }

    /// Tells what follows from the present snapshot and the time.
    pub(super) async fn follow(&self) {
        self.follower.follow(&self.directory, &self.clock).await;
    }
}

/// A document and what it is called.
fn named<N: Named, T: DeserializeOwned>(name: &str, body: &str) -> Result<(N, T), Unread> {
    let named = N::of(name).ok_or_else(|| Unread::Damaged("it has no name".to_owned()))?;
    if body.is_empty() {
        return Err(Unread::Damaged("its checksum differs".to_owned()));
    }
    Ok((named, document::parse(body)?))
}

/// What stands, where nobody knows what was there before, for a document that does not read.
fn at_start<N: Named, T>(
    kind: DocumentKind,
    name: &str,
    why: &Unread,
    unread: impl Fn(&N) -> Option<T>,
) -> Result<(N, T), RegistryError> {
    if matches!(why, Unread::Later(_)) {
        return Err(RegistryError::unread(kind, name, why));
    }
    match N::of(name).and_then(|named| Some((unread(&named)?, named))) {
        None => Err(RegistryError::unread(kind, name, why)),
        Some((document, named)) => {
            let mend = "paused, until it is taken out: stop the server and run crm-relay store check --accept-loss";
            tracing::error!(event = "document_damaged", ?kind, name, what = %why, "{mend}");
            Ok((named, document))
        }
    }
}

/// Nothing stands for a document that does not read.
const fn no_other<N, T>(_: &N) -> Option<T> {
    None
}

/// Puts into a snapshot what was written.
fn apply(directory: &mut Directory, key: &DocumentKey, version: u64, body: Option<&str>) {
    match key.kind {
        DocumentKind::Source => put(&mut directory.sources, &key.name, version, body),
        DocumentKind::Route => put(&mut directory.routes, &key.name, version, body),
        DocumentKind::Destination => put(&mut directory.destinations, &key.name, version, body),
        DocumentKind::Key => put(&mut directory.keys, &key.name, version, body),
        DocumentKind::Token => put(&mut directory.tokens, &key.name, version, body),
        // Not of the registry.
        DocumentKind::User
        | DocumentKind::Session
        | DocumentKind::FetchedKey
        | DocumentKind::Alert
        | DocumentKind::Shared
        | DocumentKind::Migration
        | DocumentKind::Cipher => {}
    }
}

fn put<N: Named, T: DeserializeOwned>(
    entries: &mut BTreeMap<N, Versioned<T>>,
    name: &str,
    version: u64,
    body: Option<&str>,
) {
    let Some(named) = N::of(name) else { return };
    match body.map(document::parse) {
        None => {
            entries.remove(&named);
        }
        Some(Ok(document)) => {
            entries.insert(named, Versioned { version, document });
        }
        // Written by this process a moment ago.
        Some(Err(_)) => {}
    }
}
