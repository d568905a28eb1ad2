//! Accepting what is lost, for `store check --accept-loss`: what does not read is taken out, and written into the audit log.
//!
//! Who asks for it has read everything before (`inspect`), and so knows of events and rows which do not read. Events go first, then rows,
//! with those whose event is gone, then what stands beside them; what a later version wrote stays. Then indexes and counters are
//! made again of what is left (`mend`), by which each is counted as lost. Killed in between, the same again does the rest.

use std::time::Duration;

use relay_core::{
    id::{DeliveryId, EventId},
    storage::{AuditEntry, StoreError},
};

use tokio::time::Instant;

use super::{
    Core, audit,
    backlog::Urgency,
    beside::{Beside, Read},
    client::Command,
    index::Kind,
    keys::Key,
    place::Place,
    registry,
    reply::Fault,
    scan::At,
};
use crate::seam::DocumentKind;

/// Keys that are looked for at a time.
const KEYS_AT_ONCE: i64 = 256;
/// Lines of an audit log that are read at a time.
const LINES_AT_ONCE: i64 = 1_000;
/// As long it is begun anew where parts of the store move meanwhile.
const ANEW_WITHIN: Duration = Duration::from_mins(5);
/// Named in one line of the audit log.
const NAMED: usize = 50;

/// What is looked through in one go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Events,
    Rows,
    Others,
}

impl Core {
    /// Takes out what does not read; gives all of it in words.
    pub(super) async fn accept_loss(&self) -> Result<Vec<String>, StoreError> {
        let mut taken = Vec::new();
        let all = self.take_out_all(&mut taken).await;
        // What is taken out is written down, whatever keeps the rest from it.
        if !taken.is_empty() {
            let at = self.clock().await?;
            let (who, action) = ("cli".to_owned(), "store.accept-loss".to_owned());
            let line =
                |subject| AuditEntry { at, who: who.clone(), action: action.clone(), subject, origin: String::new() };
            let lines: Vec<AuditEntry> = taken.chunks(NAMED).map(|some| line(some.join(", "))).collect();
            self.audit(&lines).await?;
        }
        all?;
        self.mend().await?;
        Ok(taken)
    }

    async fn take_out_all(&self, taken: &mut Vec<String>) -> Result<(), Fault> {
        for pass in [Pass::Events, Pass::Rows, Pass::Others] {
            let until = Instant::now() + ANEW_WITHIN;
            while let Err(fault) = self.pass_through(pass, taken).await {
                // Parts have moved: some keys may have been passed over.
                if fault != Fault::Elsewhere || Instant::now() >= until {
                    return Err(fault);
                }
            }
        }
        self.take_out_documents(taken).await?;
        self.take_out_lines(taken).await
    }

    async fn pass_through(&self, pass: Pass, taken: &mut Vec<String>) -> Result<(), Fault> {
        let mut at = Some(At::default());
        while let Some(here) = at {
            let (next, keys) = self.scan_keys(&here, KEYS_AT_ONCE).await?;
            at = next;
            let (mut rows, mut others) = (Vec::new(), Vec::new());
            for key in keys {
                let Some(within) = self.space.partitions().iter().find_map(|keys| keys.within(&key)) else { continue };
                match Kind::of(within) {
                    Kind::Event(id) if pass == Pass::Events => {
                        self.take_out_event(EventId::from_u128(id), taken).await?;
                    }
                    Kind::Delivery(id) if pass == Pass::Rows => rows.push(DeliveryId::from_u128(id)),
                    Kind::Other if pass == Pass::Others => {
                        others.extend(Beside::of(within).map(|beside| (beside, key.clone())));
                    }
                    Kind::Event(_) | Kind::Delivery(_) | Kind::Index(_) | Kind::Other | Kind::Strange => {}
                }
            }
            self.take_out_rows(rows, taken).await?;
            self.take_out_others(others, taken).await?;
        }
        Ok(())
    }

    async fn take_out_event(&self, id: EventId, taken: &mut Vec<String>) -> Result<(), Fault> {
        if !self.damage.is_known(&id) {
            return Ok(());
        }
        let keys = self.space.of_event(id);
        let delete = Command::new("DEL").arg(keys.event(id)).arg(keys.replays(id));
        self.nodes.commit(Urgency::Upkeep, delete).await?;
        taken.push(id.to_string());
        Ok(())
    }

    /// Those that do not read, and those whose event is gone.
    async fn take_out_rows(&self, ids: Vec<DeliveryId>, taken: &mut Vec<String>) -> Result<(), Fault> {
        let found = self.find(&ids).await?;
        for (id, found) in ids.into_iter().zip(found) {
            let is_alone = match found {
                Some(found) => {
                    let exists = Command::new("EXISTS").arg(self.space.of_event(found.event).event(found.event));
                    self.nodes.one(exists).await?.number()? == 0
                }
                None => self.damage.is_known(&id),
            };
            if !is_alone {
                continue;
            }
            let keys = self.space.of_delivery(id);
            let delete = Command::new("DEL").arg(keys.delivery(id)).arg(keys.attempts(id));
            // Whoever acknowledged it lately does not count it once more.
            let gone = Command::new("XADD").arg(keys.gone()).arg("MAXLEN").number(4_096).arg("*");
            let gone = gone.arg("i").arg(id.as_u128().to_be_bytes());
            self.nodes.all(Urgency::Upkeep, vec![delete, gone]).await?;
            taken.push(id.to_string());
        }
        Ok(())
    }

    async fn take_out_others(&self, others: Vec<(Beside, Key)>, taken: &mut Vec<String>) -> Result<(), Fault> {
        for (beside, key, read) in self.read_beside(others).await? {
            let Read::Damaged { error, holds } = read else { continue };
            if error.is_later() {
                continue;
            }
            let delete = Command::new("DEL").arg(&key);
            let set = |holds: &[u8]| Command::new("SET").arg(&key).arg(holds);
            let commands = match (&beside, holds.first()) {
                (Beside::Attempts(_), Some(_)) => vec![delete, Command::new("RPUSH").arg(&key).args(&holds)],
                // Those that rows say are named there again.
                (Beside::Replays(_), Some(holds)) => vec![set(holds)],
                // What was sealed is in the open again, and takes its key as long as before.
                (Beside::Dedupe(..), Some(holds)) => vec![set(holds).arg("KEEPTTL")],
                (Beside::Mark(job), _) => {
                    let marks = Command::new("ZREM").arg(self.space.of_job(*job).marks());
                    vec![delete, marks.arg(job.as_u128().to_be_bytes())]
                }
                (Beside::Attempts(_) | Beside::Replays(_) | Beside::Dedupe(..), None) => vec![delete],
            };
            self.nodes.all(Urgency::Upkeep, commands).await?;
            taken.push(beside.to_string());
        }
        Ok(())
    }

    async fn take_out_documents(&self, taken: &mut Vec<String>) -> Result<(), Fault> {
        for kind in DocumentKind::ALL {
            for document in self.documents(kind).await?.into_iter().filter(|document| document.body.is_empty()) {
                let named = format!("document {kind:?} {}", document.key.name);
                if self.damage.is_known(&named) {
                    self.take_out_document(kind, document.key.name.as_bytes()).await?;
                    taken.push(named);
                }
            }
            for name in self.names_that_are_no_text(kind).await? {
                self.take_out_document(kind, &name).await?;
                taken.push(registry::nameless_document(kind, &name));
            }
        }
        Ok(())
    }

    async fn take_out_document(&self, kind: DocumentKind, name: &[u8]) -> Result<(), Fault> {
        let delete = Command::new("HDEL").arg(self.space.documents(kind)).arg(name);
        let version = Command::new("SET").arg(self.space.version()).arg(registry::fresh_version()?);
        self.nodes.all(Urgency::Other, vec![delete, version]).await.map(drop)
    }

    async fn take_out_lines(&self, taken: &mut Vec<String>) -> Result<(), Fault> {
        for log in self.audit_keys() {
            let mut next = Some(Place::FIRST);
            while let Some(from) = next {
                let ask = Command::new("XRANGE").arg(&log).arg(from.to_string()).arg("+").arg("COUNT");
                let lines = audit::entries(self.nodes.one(ask.number(LINES_AT_ONCE)).await?)?;
                next = lines.last().and_then(|(last, _)| last.next());
                let is_damaged = |line: &[u8]| audit::read(line).is_err_and(|error| !error.is_later());
                for (place, _) in lines.iter().filter(|(_, line)| is_damaged(line)) {
                    self.nodes.commit(Urgency::Other, Command::new("XDEL").arg(&log).arg(place.to_string())).await?;
                    taken.push(format!("line {place} of the audit log"));
                }
            }
        }
        Ok(())
    }
}
