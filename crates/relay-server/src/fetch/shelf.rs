//! Fetched keys in the store, a document per URL, so that a restart knows them.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use relay_core::{limits, storage::StoreError, time::Wall};
use relay_store::seam::{DocumentKey, DocumentKind, Registry};
use serde::{Deserialize, Serialize};

/// Keys and certificates that were fetched, kept.
pub(super) struct Shelf(Arc<dyn Registry>);

/// One as it is stored; its URL is the document's name.
#[derive(Serialize, Deserialize)]
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

impl Shelf {
    pub(super) fn new(store: Arc<dyn Registry>) -> Self {
        Self(store)
    }

    /// All that is kept. What does not read is passed over: it is fetched again.
    pub(super) async fn all(&self, now: Wall) -> Result<Vec<Found>, StoreError> {
        let found = self.0.documents(DocumentKind::FetchedKey).await?.into_iter().filter_map(|document| {
            let stored: Stored = serde_json::from_str(&document.body).ok()?;
            let body = STANDARD.decode(stored.body).ok()?.into();
            Some(Found { url: document.key.name, body, age: now.since(Wall::from_micros(stored.fetched_at)) })
        });
        Ok(found.collect())
    }

    /// Keeps what was just fetched; the oldest goes if they are too many.
    pub(super) async fn keep(&self, url: &str, body: &[u8], now: Wall) -> Result<(), StoreError> {
        let key = |name: &str| DocumentKey { kind: DocumentKind::FetchedKey, name: name.to_owned() };
        let known = self.0.documents(DocumentKind::FetchedKey).await?;
        let expect = known.iter().find(|document| document.key.name == url).map_or(0, |document| document.version);
        if expect == 0 && known.len() >= limits::KEYS_MAX {
            let fetched_at =
                |body: &str| serde_json::from_str::<Stored>(body).map_or(i64::MIN, |stored| stored.fetched_at);
            if let Some(oldest) = known.iter().min_by_key(|document| fetched_at(&document.body)) {
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

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}
