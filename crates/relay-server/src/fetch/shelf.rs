//! Fetched keys in the store, a document per URL, so that a restart knows them.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use relay_core::{limits, storage::StoreError, time::Wall};
use relay_store::seam::{DocumentKey, DocumentKind, Registry};
use serde::{Deserialize, Serialize};

use crate::document::{is_later, parse};

/// Keys and certificates that were fetched, kept.
pub(super) struct KeyShelf(Arc<dyn Registry>);

/// One as it is stored; its URL is the document's name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Base64.
    body: String,
    /// When it was fetched, in microseconds since the epoch.
    fetched_at: i64,
}

/// One as it was found.
pub(super) struct Found {
    pub(super) url: String,
    pub(super) body: Bytes,
    pub(super) age: Duration,
}

impl KeyShelf {
    pub(super) fn new(store: Arc<dyn Registry>) -> Self {
        Self(store)
    }

    /// All that is kept. What does not read is passed over: it is fetched again.
    pub(super) async fn all(&self, now: Wall) -> Result<Vec<Found>, StoreError> {
        let found = self.0.documents(DocumentKind::FetchedKey).await?.into_iter().filter_map(|document| {
            let stored: Stored = parse(&document.body).ok()?;
            let body = STANDARD.decode(stored.body).ok()?.into();
            Some(Found { url: document.key.name, body, age: now.since(Wall::from_micros(stored.fetched_at)) })
        });
        Ok(found.collect())
    }

    /// Keeps what was just fetched; the oldest goes if they are too many. What a later version keeps there stays as it is.
    pub(super) async fn keep(&self, url: &str, body: &[u8], now: Wall) -> Result<(), StoreError> {
        let key = |name: &str| DocumentKey { kind: DocumentKind::FetchedKey, name: name.to_owned() };
        let known = self.0.documents(DocumentKind::FetchedKey).await?;
        let there = known.iter().find(|document| document.key.name == url);
        if there.is_some_and(|document| is_later::<Stored>(&document.body)) {
            return Ok(());
        }
        let expect = there.map_or(0, |document| document.version);
        if expect == 0 && known.len() >= limits::KEYS_MAX {
            let fetched_at = |body: &str| parse::<Stored>(body).map_or(i64::MIN, |stored| stored.fetched_at);
            let ours = known.iter().filter(|document| !is_later::<Stored>(&document.body));
            if let Some(oldest) = ours.min_by_key(|document| fetched_at(&document.body)) {
                self.0.put_document(oldest.key.clone(), oldest.version, None, Vec::new()).await?;
            }
        }
        let stored = Stored { body: STANDARD.encode(body), fetched_at: now.as_micros() };
        let text = serde_json::to_string(&stored).expect("it has string keys and whole numbers only");
        // Somebody else was faster: what is there is as good.
        self.0.put_document(key(url), expect, Some(text), Vec::new()).await?;
        Ok(())
    }
}

impl fmt::Debug for KeyShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyShelf")
    }
}

#[cfg(test)]
mod tests {
    use relay_store::memory::MemoryStore;

    use super::*;
    use crate::document::golden;

    /// I23: what a later version keeps is used by nobody else, is not written over, and does not go where there is no room; what is damaged
    /// is fetched again and written over.
    #[tokio::test]
    async fn what_a_later_version_keeps_stays() {
        let store = Arc::new(MemoryStore::new());
        let shelf = KeyShelf::new(store.clone());
        let key = |name: &str| DocumentKey { kind: DocumentKind::FetchedKey, name: name.to_owned() };
        let later = r#"{"body":"","fetched_at":0,"etag":"x"}"#;
        for (url, body) in [("later", later), ("damaged", "{")] {
            store.put_document(key(url), 0, Some(body.to_owned()), Vec::new()).await.unwrap().unwrap();
        }
        let now = Wall::from_micros(1);
        assert!(shelf.all(now).await.unwrap().is_empty());
        for url in ["later", "damaged"] {
            shelf.keep(url, b"pem", now).await.unwrap();
        }
        assert_eq!(shelf.all(now).await.unwrap().iter().map(|found| &found.url[..]).collect::<Vec<_>>(), ["damaged"]);
        for number in 0..limits::KEYS_MAX {
            shelf.keep(&number.to_string(), b"pem", now).await.unwrap();
        }
        assert_eq!(store.documents(DocumentKind::FetchedKey).await.unwrap().len(), limits::KEYS_MAX);
        assert_eq!(store.document(key("later")).await.unwrap().unwrap().body, later);
    }

    #[test]
    fn a_document_of_version_1_is_read_and_written_byte_for_byte() {
        golden::holds::<Stored>("fetched_key");
    }
}
