//! What was told, kept in the store over restarts and for the server that tells it next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use relay_core::{
    alert::{Key, Memory, Scope, Told},
    name::Name,
    storage::StoreError,
};
use relay_store::seam::{Document, DocumentKey, DocumentKind, Registry};

use tokio::time::timeout;

use crate::document::{AlertMemory, AlertTold, is_later};

/// How long the store may take.
const STORE_WITHIN: Duration = Duration::from_secs(5);

/// What a server has told of itself that is not there.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) alert: Name,
    pub(super) server: String,
    pub(super) version: u64,
    pub(super) memory: Memory,
}

/// Reads and writes what alerts have told: a document for each alert and scope.
pub(super) struct Notebook {
    store: Arc<dyn Registry>,
    /// What this server is called; empty where the store has one owner.
    server: String,
    /// What of each scope was read: only that is written.
    has_read: [bool; Scope::ALL.len()],
    /// The version of each document, and what stands there.
    known: BTreeMap<String, (u64, Option<String>)>,
    /// It failed the last time, which was said.
    fails: bool,
}

impl Notebook {
    pub(super) fn new(store: Arc<dyn Registry>, server: String) -> Self {
        let (has_read, known) = ([false; Scope::ALL.len()], BTreeMap::new());
        Self { store, server, has_read, known, fails: false }
    }

    /// What was told in a scope, the first time that it can be read; documents of alerts that are gone are removed.
    pub(super) async fn recall<T>(
        &mut self,
        scope: Scope,
        declared: &BTreeMap<Name, T>,
    ) -> Option<Vec<(Name, Memory)>> {
        if self.has_read[scope as usize] {
            return None;
        }
        let read = within(self.store.documents(DocumentKind::Alert)).await;
        let documents = self.said(read)?;
        // Another server may have written since it was known.
        let others = |name: &String| self.alert_of(name, scope).is_none();
        let kept = self.known.keys().filter(|name| others(name)).cloned().collect::<BTreeSet<_>>();
        self.known.retain(|name, _| kept.contains(name));
        let mut found = Vec::new();
        for Document { key, version, body } in documents {
            let Some(alert) = self.alert_of(&key.name, scope).map(str::to_owned) else { continue };
            self.known.insert(key.name.clone(), (version, Some(body.clone())));
            match alert.parse::<Name>().ok().filter(|name| declared.contains_key(name)) {
                // What does not read is told anew.
                Some(name) => found.extend(read_back(&body, scope).map(|memory| (name, memory))),
                None => self.write(key.name, None).await,
            }
        }
        self.has_read[scope as usize] = true;
        Some(found)
    }

    /// Another server tells what is of the store.
    pub(super) fn leave(&mut self) {
        self.has_read[Scope::Store as usize] = false;
    }

    /// Whether what was told in a scope is known: that is written, and no other.
    pub(super) const fn has_read(&self, scope: Scope) -> bool {
        self.has_read[scope as usize]
    }

    /// Keeps what an alert has told, if it was read what it had told before and that is something else. `false`: the store does not do it.
    pub(super) async fn keep(&mut self, scope: Scope, alert: &Name, memory: &Memory) -> bool {
        if !self.has_read(scope) {
            return true;
        }
        let name = self.document_of(alert, scope);
        let body = (!memory.told.is_empty()).then(|| written(memory));
        let is_known = self.known.get(&name).map_or(body.is_none(), |(_, known)| *known == body);
        if !is_known {
            self.write(name, body).await;
        }
        !self.fails
    }

    /// What servers have told of themselves that are none of these, by alert and server. `None`: the store does not say.
    pub(super) async fn left_by(&mut self, present: &BTreeSet<String>) -> Option<Vec<Left>> {
        let read = within(self.store.documents(DocumentKind::Alert)).await;
        let documents = self.said(read)?;
        let left = documents.into_iter().filter_map(|Document { key, version, body }| {
            let (alert, server) = key.name.split_once('@')?;
            let is_gone = server != self.server && !present.contains(server) && !is_later::<AlertMemory>(&body);
            let memory = read_back(&body, Scope::Server).unwrap_or_default();
            let (alert, server) = (alert.parse().ok()?, server.to_owned());
            is_gone.then_some(Left { alert, server, version, memory })
        });
        Some(left.collect())
    }

    /// Takes that over: nobody else tells of it. `false`: somebody does, or the store does not do it.
    pub(super) async fn take(&mut self, left: &Left) -> bool {
        let key = DocumentKey { kind: DocumentKind::Alert, name: format!("{}@{}", left.alert, left.server) };
        let put = within(self.store.put_document(key, left.version, None, Vec::new())).await;
        self.said(put).flatten().is_some()
    }

    /// What a later version wrote stays.
    async fn write(&mut self, name: String, body: Option<String>) {
        let there = self.known.get(&name).and_then(|(_, body)| body.as_deref());
        if there.is_some_and(is_later::<AlertMemory>) {
            return;
        }
        let expect = self.known.get(&name).filter(|(_, body)| body.is_some()).map_or(0, |(version, _)| *version);
        let key = DocumentKey { kind: DocumentKind::Alert, name: name.clone() };
        let put = within(self.store.put_document(key.clone(), expect, body.clone(), Vec::new())).await;
        match self.said(put) {
            Some(Some(version)) => drop(self.known.insert(name, (version, body))),
            // Somebody else wrote it: the next look writes over that, by its version.
            Some(None) => {
                let read = within(self.store.document(key)).await;
                if let Some(found) = self.said(read) {
                    let found = found.map_or((0, None), |found| (found.version, Some(found.body)));
                    self.known.insert(name, found);
                }
            }
            None => {}
        }
    }

    /// Says once that the store does not do it.
    fn said<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        let failed = std::mem::replace(&mut self.fails, result.is_err());
        result
            .inspect_err(|error| {
                if !failed {
                    tracing::warn!(event = "alerts_unkept", %error, "what was told is told again after a restart");
                }
            })
            .ok()
    }

    fn document_of(&self, alert: &Name, scope: Scope) -> String {
        match scope {
            Scope::Store => alert.to_string(),
            Scope::Server => format!("{alert}@{}", self.server),
        }
    }

    fn alert_of<'a>(&self, document: &'a str, scope: Scope) -> Option<&'a str> {
        match (scope, document.split_once('@')) {
            (Scope::Store, None) => Some(document),
            (Scope::Server, Some((alert, server))) => {
                // What a relay is known by stands there too, and is no alert's.
                (server == self.server && !alert.is_empty()).then_some(alert)
            }
            (Scope::Store, Some(_)) | (Scope::Server, None) => None,
        }
    }
}

/// A store that hangs is what somebody is to be told of: it is not waited for. What was not answered may be done, and shows as
/// another version the next time.
async fn within<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(STORE_WITHIN, asked).await.unwrap_or(Err(StoreError::Unknown))
}

fn written(memory: &Memory) -> String {
    let told = |told: &Told| AlertTold {
        kind: told.key.kind.as_str().to_owned(),
        subject: told.key.subject.as_ref().map(ToString::to_string),
        severity: told.severity.as_str().to_owned(),
        words: told.words.clone(),
        since: told.since,
        count: told.count,
        is_flapping: told.is_flapping,
        is_sent: told.is_sent,
        is_named: told.is_named,
        relay: told.relay.clone(),
    };
    let interval_ms = memory.interval.as_millis() as u64;
    let memory = AlertMemory { at: memory.at, interval_ms, told: memory.told.iter().map(told).collect() };
    crate::document::render(&memory)
}

/// A condition that a later version has told of and this one does not know is left out.
fn read_back(body: &str, scope: Scope) -> Option<Memory> {
    let AlertMemory { at, interval_ms, told } = crate::document::parse(body).ok()?;
    let told = told.into_iter().filter_map(|mut told| {
        let subject = told.subject.take().map(|name| name.parse()).transpose().ok()?;
        let key = Key { kind: told.kind.parse().ok()?, subject, scope };
        let severity = told.severity.parse().ok()?;
        let AlertTold { words, since, count, is_flapping, is_sent, is_named, relay, .. } = told;
        Some(Told { key, severity, words, since, count, is_flapping, is_sent, is_named, relay })
    });
    Some(Memory { at, interval: Duration::from_millis(interval_ms), told: told.collect() })
}

#[cfg(test)]
mod tests {
    use relay_store::memory::MemoryStore;

    use super::*;

    /// I23: what a later version keeps of an alert is not written over, also where its alert is gone, or its server; what is damaged is.
    #[tokio::test]
    async fn what_a_later_version_keeps_stays() {
        let store = Arc::new(MemoryStore::new());
        let key = |name: &str| DocumentKey { kind: DocumentKind::Alert, name: name.to_owned() };
        let later = r#"{"at":1,"interval_ms":2,"told":[],"muted":true}"#;
        for (name, body) in [("ops", later), ("gone", later), ("ops@b", later), ("sales", "{")] {
            store.put_document(key(name), 0, Some(body.to_owned()), Vec::new()).await.unwrap().unwrap();
        }
        let mut notebook = Notebook::new(store.clone(), "a".to_owned());
        let (ops, sales): (Name, Name) = ("ops".parse().unwrap(), "sales".parse().unwrap());
        let declared = BTreeMap::from([(ops.clone(), true), (sales.clone(), true)]);
        assert!(notebook.recall(Scope::Store, &declared).await.unwrap().is_empty());
        let told = r#"{"at":1,"interval_ms":2,"told":[{"kind":"paused","severity":"warning","words":"x","since":1}]}"#;
        let memory = read_back(told, Scope::Store).unwrap();
        for alert in [&ops, &sales] {
            assert!(notebook.keep(Scope::Store, alert, &memory).await);
        }
        assert!(notebook.left_by(&BTreeSet::new()).await.unwrap().is_empty());
        let body = async |name| store.document(key(name)).await.unwrap().unwrap().body;
        for name in ["ops", "gone", "ops@b"] {
            assert_eq!(body(name).await, later, "{name}");
        }
        assert_eq!(read_back(&body("sales").await, Scope::Store), Some(memory));
    }
}
