//! What Redis lost of what it had confirmed: named, counted and written into the audit log, once.
//!
//! One telling has a number. Where its answer is lost, or too few replicas have it, the same is told again under that number, and the
//! script counts nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use relay_core::{id::DeliveryId, name::Name, storage::AuditEntry, time::Wall};

use super::{Core, audit, backlog::Urgency, reply::Fault, scripts::Script};
use crate::seam::DocumentKey;

/// Named in one line of the log, and of the audit log.
const NAMED: usize = 50;

/// What one partition has lost, and has to be told.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    /// Whose it is: of this process alone.
    pub(super) run: String,
    /// Among those of this run; they rise.
    pub(super) number: u64,
    pub(super) lost: Vec<(DeliveryId, Name)>,
}

impl Telling {
    /// Ids in the lines about it.
    fn lines(&self) -> Vec<String> {
        let line =
            |named: &[(DeliveryId, Name)]| named.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(" ");
        self.lost.chunks(NAMED).map(line).collect()
    }

    /// Names them in the log.
    pub(super) fn name(&self) {
        for ids in self.lines() {
            tracing::error!(
                event = "acknowledged_lost",
                ids,
                "Redis lost what it had confirmed: ask the senders for it again"
            );
        }
    }
}

/// So many of them, by kind and name.
pub(super) fn shown(keys: &[&DocumentKey]) -> String {
    let name = |key: &&DocumentKey| format!("{:?} {}", key.kind, key.name).to_lowercase();
    let shown: Vec<String> = keys.iter().take(NAMED).map(name).collect();
    match keys.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Names documents of the registry that are in Redis what they were before, gone or there again; gives the line of the audit log about
/// that.
pub(super) fn missed_line(missed: &BTreeSet<DocumentKey>, at: Wall) -> Option<AuditEntry> {
    if missed.is_empty() {
        return None;
    }
    let documents = shown(&missed.iter().collect::<Vec<_>>());
    tracing::error!(
        event = "documents_lost",
        documents,
        "Redis went back: these documents are as they were before, gone, or there again. What nobody else changed meanwhile is to be set anew"
    );
    let (who, action) = ("store".to_owned(), "store.lost".to_owned());
    Some(AuditEntry { at, who, action, subject: documents, origin: String::new() })
}

impl Core {
    /// Counts what is lost, and writes it into the audit log.
    pub(super) async fn tell(&self, place: usize, telling: &Telling) -> Result<(), Fault> {
        let keys = &self.space.partitions()[place];
        let mut of: BTreeMap<&Name, u64> = BTreeMap::new();
        for (_, destination) in &telling.lost {
            *of.entry(destination).or_default() += 1;
        }
        let mut arguments = vec![telling.run.clone().into_bytes(), telling.number.to_string().into_bytes()];
        arguments.push(of.len().to_string().into_bytes());
        for (destination, by) in of {
            arguments.extend([destination.as_str().as_bytes().to_vec(), by.to_string().into_bytes()]);
        }
        let at = self.clock().await?;
        let lines = telling.lines();
        arguments.push(lines.len().to_string().into_bytes());
        for subject in lines {
            let (who, action) = ("store".to_owned(), "store.lost".to_owned());
            let line = AuditEntry { at, who, action, subject, origin: String::new() };
            arguments.extend([audit::write(&line), audit::place(&line).into_bytes()]);
        }
        let call = Script::Lost.call(&keys.written(Vec::new()), arguments);
        self.nodes.commit(Urgency::Other, call).await.map(drop)
    }
}
