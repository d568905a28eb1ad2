//! Registry documents, in a slot of their own.

use aws_lc_rs::rand;
use relay_core::storage::AuditEntry;

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    reply::{Fault, Replies, Reply},
    scripts::Script,
};
use crate::{
    record::{
        RecordError,
        seal::{Fields, Sealing},
    },
    seam::{Document, DocumentKey, DocumentKind},
};

const VERSION: u8 = 1;
/// Digits of a document's version, in front of it.
const DIGITS: usize = 20;

fn write(key: &DocumentKey, version: u64, body: &str) -> Vec<u8> {
    let mut out = format!("{version:020}").into_bytes();
    let about = about(key);
    let mut record = Sealing::begin(VERSION, &mut out).about(&about);
    record.u64(version);
    record.raw(body.as_bytes());
    record.end();
    out
}

fn read(key: &DocumentKey, stored: &[u8]) -> Result<(u64, String), RecordError> {
    let (digits, sealed) = stored.split_at_checked(DIGITS).ok_or(RecordError::Short)?;
    let mut fields = Fields::open(VERSION, &[&about(key)], sealed)?;
    let version = fields.u64()?;
    // What the script compares.
    if digits != format!("{version:020}").as_bytes() {
        return Err(RecordError::Field("its version"));
    }
    let body = std::str::from_utf8(fields.rest()).map_err(|_| RecordError::Field("body"))?;
    Ok((version, body.to_owned()))
}

/// What the script is told to write a document where there is none.
pub(super) fn put_arguments(document: &Document) -> Result<[Vec<u8>; 5], Fault> {
    let Document { key, version, body } = document;
    let body = write(key, *version, body);
    Ok([key.name.clone().into_bytes(), Vec::new(), body, moved_version(key.kind)?, b"0".to_vec()])
}

/// The registry's version once a document of that kind is written; nothing: it stays what it is.
fn moved_version(kind: DocumentKind) -> Result<Vec<u8>, Fault> {
    if kind.is_followed() { Ok(fresh_version()?.into_bytes()) } else { Ok(Vec::new()) }
}

/// A version that the registry never had. One that rose by one would come again where Redis goes back to what it was: another change
/// would have the number of the one that was lost, and who saw that would miss it (I21).
pub(super) fn fresh_version() -> Result<String, Fault> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Fault::Away)?;
    // Positive, as numbers are read.
    Ok((u64::from_be_bytes(bytes) >> 1).to_string())
}

fn about(key: &DocumentKey) -> Vec<u8> {
    [&[key.kind as u8], key.name.as_bytes()].concat()
}

impl Core {
    fn read_document(&self, key: DocumentKey, stored: &[u8]) -> Document {
        let read = self.damage.passed(&format_args!("document {:?} {}", key.kind, key.name), read(&key, stored));
        // One that does not read keeps its version, so that it can be written anew.
        let version = || super::reply::number(&stored[..stored.len().min(DIGITS)]).map_or(0, |number| number as u64);
        let (version, body) = read.unwrap_or_else(|| (version(), String::new()));
        Document { key, version, body }
    }

    /// Reads something of the registry. Of a Redis that somebody has emptied nothing is believed until it has its documents back, or
    /// they would be forgotten here as well.
    async fn read_registry(&self, command: Command) -> Result<Reply, Fault> {
        let epoch = Command::new("HGET").arg(self.space.meta()).arg("epoch");
        let mut replies = Replies::new(self.nodes.ask(vec![command, epoch]).await?);
        let (found, epoch) = (replies.next()?, replies.next()?);
        // Another server may have given it a new one, and no documents.
        let is_another = self.acknowledged.is_of_another(epoch.maybe_bytes()?.as_deref());
        if is_another { Err(Fault::Away) } else { Ok(found) }
    }

    /// One document.
    pub(super) async fn document(&self, key: DocumentKey) -> Result<Option<Document>, Fault> {
        let get = Command::new("HGET").arg(self.space.documents(key.kind)).arg(&key.name);
        let stored = self.read_registry(get).await?.maybe_bytes()?;
        Ok(stored.map(|stored| self.read_document(key, &stored)))
    }

    /// All of a kind, by name.
    pub(super) async fn documents(&self, kind: DocumentKind) -> Result<Vec<Document>, Fault> {
        let all = self.read_registry(Command::new("HGETALL").arg(self.space.documents(kind))).await?;
        self.documents_of(kind, all)
    }

    /// The same, whichever Redis that is by now.
    pub(super) async fn documents_there(&self, kind: DocumentKind) -> Result<Vec<Document>, Fault> {
        let all = Command::new("HGETALL").arg(self.space.documents(kind));
        let all = self.nodes.readable(vec![all]).await?.pop().unwrap_or(Reply::Nil);
        self.documents_of(kind, all)
    }

    fn documents_of(&self, kind: DocumentKind, all: Reply) -> Result<Vec<Document>, Fault> {
        let mut fields = all.many()?.into_iter();
        let mut documents = Vec::new();
        while let (Some(name), Some(stored)) = (fields.next(), fields.next()) {
            let name = String::from_utf8_lossy(&name.bytes()?).into_owned();
            documents.push(self.read_document(DocumentKey { kind, name }, &stored.bytes()?));
        }
        documents.sort_by(|one, other| one.key.cmp(&other.key));
        self.acknowledged.remember_all(kind, &documents);
        Ok(documents)
    }

    /// Compare and set.
    pub(super) async fn put_document(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        lines: Vec<AuditEntry>,
    ) -> Result<Option<u64>, Fault> {
        self.life.check()?;
        let version = expect + 1;
        let keys = [self.space.documents(key.kind), self.space.version(), self.space.registry_audit()];
        let mut arguments = vec![
            key.name.clone().into_bytes(),
            if expect == 0 { Vec::new() } else { format!("{expect:020}").into_bytes() },
            body.as_deref().map_or_else(Vec::new, |body| write(&key, version, body)),
            moved_version(key.kind)?,
            lines.len().to_string().into_bytes(),
        ];
        for line in &lines {
            arguments.extend([audit::write(line), audit::place(line).into_bytes()]);
        }
        let written = self.nodes.commit(Urgency::Other, Script::Document.call(&keys, arguments)).await?;
        if written.number()? == 0 {
            return Ok(None);
        }
        self.acknowledged.remember_one(&key, version, body.as_deref());
        if key.kind.is_followed() {
            // It is written, whatever becomes of the hint.
            self.hint().await;
        }
        Ok(Some(version))
    }

    /// The registry's version; 0: no document that is followed was ever written.
    pub(super) async fn version(&self) -> Result<Option<u64>, Fault> {
        match self.nodes.one(Command::new("GET").arg(self.space.version())).await? {
            Reply::Nil => Ok(Some(0)),
            version => Ok(Some(version.number()?.max(0) as u64)),
        }
    }
}
