//! What a relay is called where several tell the same people, and by what it is known there: servers on one store are one relay.

use std::{
    io::Read as _,
    path::{self, Path},
};

use http::Uri;
use relay_core::storage::StoreError;
use relay_store::{
    private,
    seam::{DocumentKey, DocumentKind, Registry},
};
use rustix::system::uname;
use serde_json::{Value, json};

use crate::{
    Config, again,
    secret::{hex, sha256},
};

/// The document with what a relay is known by that nobody named. No alert is called so.
const DOCUMENT: &str = "@relay";
/// The file in the data directory with the same, for whoever cannot ask the store.
const FILE: &str = "relay-id";
/// Digits of what is made.
const DIGITS: usize = 16;
/// How often it is read anew where another server writes it at the same time.
const TRIES: u32 = 8;

/// How a relay is told from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RelayName {
    /// For people; empty: nobody has to tell it from others.
    pub(crate) shown: String,
    /// In the keys of incidents: it stays what it is when `PUBLIC_URL` changes.
    pub(crate) mark: String,
}

impl RelayName {
    /// `RELAY_NAME`; else for people the host of `PUBLIC_URL`, and in keys what the store keeps, which is made where somebody is told, and
    /// put down beside the store. A store that does not do it (a full disk, a damaged row) keeps nobody from starting: it is known by
    /// what lies beside it, or by its place, until it can.
    pub(crate) async fn of(config: &Config, store: &dyn Registry) -> Self {
        if config.relay_name.is_some() || config.alerts.is_empty() {
            return Self::without_store(config, "");
        }
        let (error, dir) = match kept(store).await {
            Ok(id) => (put_beside(&config.data_dir, &id).err().map(|error| error.to_string()), Ok(id)),
            Err(error) => (Some(error.to_string()), Err(&config.data_dir)),
        };
        if let Some(error) = error {
            tracing::warn!(event = "relay_name_unkept", error, "what the relay is known by is kept at a later start");
        }
        let mark = dir.unwrap_or_else(|dir| beside(dir).unwrap_or_else(|| by_place(dir)));
        Self::without_store(config, &mark)
    }

    /// The same, where `otherwise` is what it is known by if nobody named it.
    pub(crate) fn without_store(config: &Config, otherwise: &str) -> Self {
        let host = config.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok()?.host().map(str::to_owned));
        let mark = config.relay_name.as_deref().unwrap_or(otherwise);
        let shown = config.relay_name.clone().or(host).unwrap_or_else(|| mark.to_owned());
        Self { shown, mark: mark.to_owned() }
    }
}

/// What a relay is known by where nobody can ask its store, and nothing lies beside that: its machine and its data directory.
pub(crate) fn by_place(data_dir: &Path) -> String {
    let dir = path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let place = [uname().nodename().to_bytes(), dir.as_os_str().as_encoded_bytes()].join(&0);
    hex(&sha256(&place))[..DIGITS].to_owned()
}

/// What the last good start put down beside the store.
pub(crate) fn beside(data_dir: &Path) -> Option<String> {
    let mut id = String::new();
    let file = private::open_existing(&data_dir.join(FILE)).ok()?;
    file.take(DIGITS as u64 + 1).read_to_string(&mut id).ok()?;
    let id = id.trim_end();
    (id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

fn put_beside(data_dir: &Path, id: &str) -> std::io::Result<()> {
    if beside(data_dir).as_deref() == Some(id) {
        return Ok(());
    }
    private::replace(&data_dir.join(FILE), format!("{id}\n").as_bytes())
}

/// What a store keeps, by which it is told from others, whatever the relay is called; made now if it keeps none, by one of those that
/// share it.
///
/// # Errors
/// The store does not say, or does not take it.
async fn kept(store: &dyn Registry) -> Result<String, StoreError> {
    let key = || DocumentKey { kind: DocumentKind::Alert, name: DOCUMENT.to_owned() };
    let made = hex(&rand::random::<[u8; DIGITS / 2]>());
    for _ in 0..TRIES {
        let found = store.document(key()).await?;
        if let Some(id) = found.as_ref().and_then(|found| read(&found.body)) {
            return Ok(id);
        }
        let (version, body) = (found.map_or(0, |found| found.version), json!({ "id": made }).to_string());
        again::until_answered(|_| store.put_document(key(), version, Some(body.clone()), Vec::new())).await?;
    }
    Err(StoreError::Unknown)
}

/// What is damaged is made anew; what a later version adds is left alone.
fn read(body: &str) -> Option<String> {
    let found: Value = serde_json::from_str(body).ok()?;
    found["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use relay_core::alert::Severity;
    use relay_store::memory::{MemoryStore, Trouble};

    use super::*;
    use crate::config::{
        DeclaredAlert,
        alert::{Command, Way},
    };
    use crate::document::golden;

    fn config(relay_name: Option<&str>, public_url: Option<&str>) -> Config {
        let way = Way::Command(Command { program: "/bin/true".into(), arguments: Vec::new() });
        let (kinds, severity) = (std::collections::BTreeSet::new(), Severity::Warning);
        Config {
            alerts: vec![DeclaredAlert { name: "ops".parse().unwrap(), way, kinds, severity }],
            relay_name: relay_name.map(str::to_owned),
            public_url: public_url.map(str::to_owned),
            ..Config::sample("/nonexistent".into())
        }
    }

    /// A relay is known by the same over restarts, at each server on its store, and whatever its `PUBLIC_URL`; another store is another
    /// relay. What is damaged is made anew, and what a later version wrote is left as it is.
    #[tokio::test]
    async fn a_relay_that_nobody_named_is_known_by_what_its_store_keeps() {
        let store = MemoryStore::new();
        let dir = tempfile::tempdir().unwrap();
        let config = |name, url| Config { data_dir: dir.path().to_owned(), ..config(name, url) };
        let of = async |config: &Config, store: &MemoryStore| RelayName::of(config, store).await;
        let first = of(&config(None, None), &store).await;
        assert!(!first.mark.is_empty() && first.shown == first.mark, "{first:?}");
        let url = Some("https://hooks.example.com/relay");
        let second = of(&config(None, url), &store.second_owner()).await;
        assert_eq!((second.shown.as_str(), &second.mark), ("hooks.example.com", &first.mark));
        assert_ne!(of(&config(None, url), &MemoryStore::new()).await.mark, first.mark);
        let named = of(&config(Some("staging"), url), &store).await;
        assert_eq!((named.shown.as_str(), named.mark.as_str()), ("staging", "staging"));
        let key = DocumentKey { kind: DocumentKind::Alert, name: DOCUMENT.into() };
        let later = r#"{"id":"later","since":1}"#.to_owned();
        store.put_document(key.clone(), 1, Some(later.clone()), Vec::new()).await.unwrap().unwrap();
        assert_eq!(of(&config(None, url), &store).await.mark, "later");
        assert_eq!(store.document(key.clone()).await.unwrap().unwrap().body, later);
        store.put_document(key, 2, Some("{".into()), Vec::new()).await.unwrap().unwrap();
        assert_ne!(of(&config(None, url), &store).await.mark, "later");
    }

    /// I16: a store that does not say what it keeps, or takes nothing, keeps nobody from starting: the relay is known by its place until it
    /// does, and from then on by what lies beside the store.
    #[tokio::test]
    async fn a_store_that_keeps_no_id_keeps_nobody_from_starting() {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        let config = Config { data_dir: dir.path().to_owned(), ..config(None, None) };
        let place = by_place(dir.path());
        let of = async || RelayName::of(&config, &store).await.mark;
        let troubles = [Trouble::PutDocument, Trouble::Documents].map(|trouble| vec![(trouble, StoreError::Away)]);
        for trouble in troubles.clone() {
            store.set_trouble(trouble);
            assert_eq!(of().await, place);
        }
        store.set_trouble(Vec::new());
        let kept = of().await;
        assert_ne!(kept, place);
        store.set_trouble(troubles[1].clone());
        assert_eq!((of().await, beside(dir.path())), (kept.clone(), Some(kept)));
    }

    #[test]
    fn a_document_of_version_1_is_read() {
        assert_eq!(read(&golden::text("relay")).as_deref(), Some("0011223344556677"));
    }

    /// Where nobody is told nothing is stored.
    #[tokio::test]
    async fn a_relay_that_tells_nobody_keeps_nothing() {
        let (store, silent) = (MemoryStore::new(), Config::sample("/nonexistent".into()));
        assert_eq!(RelayName::of(&silent, &store).await, RelayName::default());
        assert_eq!(store.documents(DocumentKind::Alert).await.unwrap(), []);
    }
}
