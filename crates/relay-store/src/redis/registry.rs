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
    cipher::Sealed as _,
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

/// What became of a document that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Another version stands there.
    Not,
    /// It is written; the registry had this version before, if it had one.
    Behind(Option<u64>),
}

impl Written {
    /// By what the script says.
    pub(super) fn of(answer: Reply) -> Result<Self, Fault> {
        Ok(match answer {
            Reply::Number(_) => Self::Not,
            Reply::Bytes(none) if none.is_empty() => Self::Behind(None),
            before => Self::Behind(version_of(before)?),
        })
    }
}

/// What a version is that does not read: no document was ever written behind it, and it is another one as soon as it is given anew.
const UNREAD: u64 = u64::MAX;

/// The version of the registry in such an answer; nothing: there is none, or what stands there does not read.
pub(super) fn version_of(reply: Reply) -> Result<Option<u64>, Fault> {
    Ok(reply.maybe_bytes()?.and_then(|text| read_version(&text)))
}

/// One that was [given](fresh_version), as it was written.
pub(super) fn read_version(text: &[u8]) -> Option<u64> {
    let version = super::reply::number(text).ok().and_then(|version| u64::try_from(version).ok())?;
    (version.to_string().as_bytes() == text).then_some(version)
}

/// What the script is told to write a document where there is none.
pub(super) fn put_arguments(document: &Document) -> Result<[Vec<u8>; 5], Fault> {
    let Document { key, version, body } = document;
    let body = write(key, *version, body);
    Ok([key.name.clone().into_bytes(), Vec::new(), body, moved_version(key.kind)?, b"0".to_vec()])
}

/// What the script is told to write one in the place of itself, sealed anew: it says what it said, and no version moves.
pub(super) fn reseal_arguments(key: &DocumentKey, version: u64, body: &str) -> [Vec<u8>; 5] {
    let stored = format!("{version:020}").into_bytes();
    [key.name.clone().into_bytes(), stored, write(key, version, body), Vec::new(), b"0".to_vec()]
}

/// The registry's version once a document of that kind is written; nothing: it stays what it is.
fn moved_version(kind: DocumentKind) -> Result<Vec<u8>, Fault> {
    if kind.is_followed() { Ok(fresh_version()?.into_bytes()) } else { Ok(Vec::new()) }
}

/// The same for one among several: its name and itself.
pub(super) fn named(Document { key, version, body }: &Document) -> [Vec<u8>; 2] {
    [key.name.clone().into_bytes(), write(key, *version, body)]
}

/// A version that the registry never had. One that rose by one would come again where Redis goes back to what it was: another change
/// would have the number of the one that was lost, and who saw that would miss it (I21).
pub(super) fn fresh_version() -> Result<String, Fault> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Fault::Away)?;
    // Positive, as numbers are read.
    Ok((u64::from_be_bytes(bytes) >> 1).to_string())
}

/// What a document is called whose name is no text.
pub(super) fn nameless_document(kind: DocumentKind, name: &[u8]) -> String {
    name.iter().fold(format!("document {kind:?} of the name 0x"), |named, byte| format!("{named}{byte:02x}"))
}

fn about(key: &DocumentKey) -> Vec<u8> {
    [&[key.kind as u8], key.name.as_bytes()].concat()
}

impl Core {
    /// A document as it was before it was sealed, for somebody who asked for it.
    pub(super) fn open(&self, stored: Document) -> Result<Document, Fault> {
        let what = format!("document {:?} {}", stored.key.kind, stored.key.name);
        self.damage.told(&what, self.ciphers().open_document(stored).map_err(RecordError::from))
    }

    /// The same among others: one that is damaged is among them, without a body.
    pub(super) fn open_or_none(&self, stored: Document) -> Result<Document, Fault> {
        let damaged = Document { body: String::new(), ..stored.clone() };
        match self.open(stored) {
            Err(Fault::Damaged(_)) => Ok(damaged),
            opened => opened,
        }
    }

    fn read_document(&self, key: DocumentKey, stored: &[u8]) -> Document {
        let read = self.damage.passed(&format_args!("document {:?} {}", key.kind, key.name), read(&key, stored));
        // One that does not read keeps its version, so that it can be written anew.
        let version = || super::reply::number(&stored[..stored.len().min(DIGITS)]).map_or(0, |number| number as u64);
        let (version, body) = read.unwrap_or_else(|| (version(), String::new()));
        Document { key, version, body }
    }

    /// One document. Of a Redis that somebody has emptied nothing is believed until it has its documents back, or they would be forgotten
    /// here as well.
    pub(super) async fn document(&self, key: DocumentKey) -> Result<Option<Document>, Fault> {
        let get = Command::new("HGET").arg(self.space.documents(key.kind)).arg(&key.name);
        let epoch = Command::new("HGET").arg(self.space.meta()).arg("epoch");
        let mut replies = Replies::new(self.nodes.ask(vec![get, epoch]).await?);
        let (stored, epoch) = (replies.next()?.maybe_bytes()?, replies.next()?.maybe_bytes()?);
        // Another server may have given it a new one, and no documents.
        if self.acknowledged.is_of_another(epoch.as_deref()) {
            return Err(Fault::Away);
        }
        Ok(stored.map(|stored| self.read_document(key, &stored)))
    }

    /// All of a kind, by name.
    pub(super) async fn documents(&self, kind: DocumentKind) -> Result<Vec<Document>, Fault> {
        let read = self.nodes.ask(self.ask_documents(kind)).await?;
        let (documents, _) = self.documents_of(kind, read, |epoch| !self.acknowledged.is_of_another(epoch))?;
        Ok(documents)
    }

    /// The same of the Redis that has this epoch, and only those that are gone though nobody has changed the registry since they were read.
    pub(super) async fn documents_gone(&self, kind: DocumentKind, of: &[u8]) -> Result<Vec<Document>, Fault> {
        let read = self.nodes.readable(self.ask_documents(kind)).await?;
        let (_, gone) = self.documents_of(kind, read, |epoch| epoch == Some(of))?;
        Ok(gone)
    }

    /// Asks for them between two looks at the registry's version: where that is the same, so are they.
    fn ask_documents(&self, kind: DocumentKind) -> Vec<Command> {
        let version = Command::new("GET").arg(self.space.version());
        let all = Command::new("HGETALL").arg(self.space.documents(kind));
        vec![version.clone(), all, version, Command::new("HGET").arg(self.space.meta()).arg("epoch")]
    }

    /// Those that were read, and those that are gone without a change.
    fn documents_of(
        &self,
        kind: DocumentKind,
        read: Vec<Reply>,
        is_right: impl Fn(Option<&[u8]>) -> bool,
    ) -> Result<(Vec<Document>, Vec<Document>), Fault> {
        let mut read = Replies::new(read);
        let (before, all) = (version_of(read.next()?)?, read.next()?);
        let (behind, epoch) = (version_of(read.next()?)?, read.next()?.maybe_bytes()?);
        if !is_right(epoch.as_deref()) {
            return Err(Fault::Away);
        }
        let mut fields = all.many()?.into_iter();
        let mut documents = Vec::new();
        let mut nameless = 0;
        while let (Some(name), Some(stored)) = (fields.next(), fields.next()) {
            match String::from_utf8(name.bytes()?) {
                Ok(name) => documents.push(self.read_document(DocumentKey { kind, name }, &stored.bytes()?)),
                Err(no_text) => {
                    self.damage.name(&nameless_document(kind, no_text.as_bytes()), &RecordError::Field("its name"));
                    nameless += 1;
                }
            }
        }
        documents.sort_by(|one, other| one.key.cmp(&other.key));
        let gone = self.acknowledged.remember_all(kind, &documents, nameless, (before, behind));
        Ok((documents, gone))
    }

    /// Names of a kind that are no text: what stands under them is nobody's document.
    pub(super) async fn names_that_are_no_text(&self, kind: DocumentKind) -> Result<Vec<Vec<u8>>, Fault> {
        let all = self.nodes.one(Command::new("HGETALL").arg(self.space.documents(kind))).await?.many()?;
        let names: Vec<Vec<u8>> = all.into_iter().step_by(2).map(Reply::bytes).collect::<Result<_, _>>()?;
        Ok(names.into_iter().filter(|name| std::str::from_utf8(name).is_err()).collect())
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
        let (version, moved) = (expect + 1, moved_version(key.kind)?);
        let keys = [self.space.documents(key.kind), self.space.version(), self.space.registry_audit()];
        let mut arguments = vec![
            key.name.clone().into_bytes(),
            if expect == 0 { Vec::new() } else { format!("{expect:020}").into_bytes() },
            body.as_deref().map_or_else(Vec::new, |body| write(&key, version, body)),
            moved.clone(),
            lines.len().to_string().into_bytes(),
        ];
        for line in &lines {
            arguments.extend([audit::write(line), audit::place(line).into_bytes()]);
        }
        let written = self.nodes.commit(Urgency::Other, Script::Document.call(&keys, arguments)).await?;
        let Written::Behind(before) = Written::of(written)? else { return Ok(None) };
        self.acknowledged.remember_one(&key, version, body.as_deref());
        if key.kind.is_followed() {
            self.acknowledged.has_moved(before, super::reply::number(&moved)? as u64);
            // It is written, whatever becomes of the hint.
            self.hint().await;
        }
        Ok(Some(version))
    }

    /// The registry's version; 0: no document that is followed was ever written.
    pub(super) async fn version(&self) -> Result<Option<u64>, Fault> {
        match self.nodes.one(Command::new("GET").arg(self.space.version())).await? {
            Reply::Nil => Ok(Some(0)),
            version => Ok(Some(version_of(version)?.unwrap_or(UNREAD))),
        }
    }
}
