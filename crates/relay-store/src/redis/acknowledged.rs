//! What this run acknowledged last, and whether Redis still has it.
//!
//! A Redis can go back to what it was: an old primary returns, a copy is loaded, somebody empties it. Whenever it is another process
//! than before, or its epoch is another or gone, the latest deliveries that this run acknowledged are looked for, the newest first, until
//! one is there. Those before it are lost: named, counted, and written into the audit log; acknowledging goes on. An empty Redis also
//! gets its documents back, as this run last read or wrote them.

use std::{
    collections::BTreeMap,
    mem::take,
    sync::{Mutex, PoisonError, Weak},
    time::Duration,
};

use relay_core::{
    delivery::Delivery,
    id::DeliveryId,
    name::Name,
    storage::{AuditEntry, Ended},
};
use tokio::time::{self, Instant};

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    counters::Counters,
    recount,
    reply::{Fault, Replies},
    scripts::Script,
    text,
};
use crate::seam::{Document, DocumentKey, DocumentKind};

/// So many are remembered of each partition.
const REMEMBERED: usize = 4_096;
/// Looked for at once.
const CHUNK: usize = 256;
/// Named in one line of the log, and of the audit log.
const NAMED: usize = 50;
/// One that is gone may have been retired by another server, if it was acknowledged so long ago.
const YOUNG: Duration = Duration::from_hours(1);
/// How often it is asked whether Redis is another.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// By partition and id, which rise in time.
    deliveries: BTreeMap<usize, BTreeMap<DeliveryId, (Name, Instant)>>,
    documents: BTreeMap<DocumentKey, Document>,
}

impl Acknowledged {
    fn with<T>(&self, edit: impl FnOnce(&mut Remembered) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are stored, and whoever sent them is told so.
    pub(super) fn remember(&self, place: usize, deliveries: &[Delivery]) {
        let now = Instant::now();
        self.with(|remembered| {
            let here = remembered.deliveries.entry(place).or_default();
            for made in deliveries {
                here.insert(made.id, (made.destination.clone(), now));
            }
            while here.len() > REMEMBERED {
                here.pop_first();
            }
        });
    }

    /// These are about to be removed.
    pub(super) fn forget(&self, ended: &[Ended]) {
        self.with(|remembered| {
            for here in remembered.deliveries.values_mut() {
                for ended in ended {
                    here.remove(&ended.id);
                }
            }
        });
    }

    /// All documents of a kind, as they are now.
    pub(super) fn remember_all(&self, kind: DocumentKind, documents: &[Document]) {
        self.with(|remembered| {
            remembered.documents.retain(|key, _| key.kind != kind);
            remembered.documents.extend(documents.iter().map(|one| (one.key.clone(), one.clone())));
        });
    }

    /// One document as it was written; nothing: it was deleted.
    pub(super) fn remember_one(&self, key: &DocumentKey, version: u64, body: Option<&str>) {
        self.with(|remembered| match body {
            Some(body) => {
                let document = Document { key: key.clone(), version, body: body.to_owned() };
                remembered.documents.insert(key.clone(), document);
            }
            None => {
                remembered.documents.remove(key);
            }
        });
    }
}

/// Which Redis it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    /// One start of a process.
    process: String,
    /// Gone with everything else where somebody emptied it.
    epoch: Option<Vec<u8>>,
}

/// Looks whether Redis is another, as long as there is a store.
pub(super) async fn watch(core: Weak<Core>) {
    let (mut known, mut was_missing) = (None, false);
    while let Some(core) = core.upgrade() {
        if let Err(fault) = core.watch_once(&mut known, &mut was_missing).await {
            tracing::debug!(?fault, "whether Redis is another is looked at later");
        }
        let pause = LOOK_EVERY.min(core.options.glance_every);
        drop(core);
        time::sleep(pause).await;
    }
}

impl Core {
    /// One look. What is missing once may only not have been written yet.
    async fn watch_once(&self, known: &mut Option<Known>, was_missing: &mut bool) -> Result<(), Fault> {
        let now = self.which_redis().await?;
        if now.epoch.is_none() {
            if !take(was_missing) {
                *was_missing = true;
                return Ok(());
            }
            let is_emptied = known.is_some();
            if is_emptied {
                self.write_back().await?;
            }
            let epoch = recount::fresh_run()?;
            let put = Command::new("HSETNX").arg(self.space.meta()).arg("epoch").arg(epoch);
            self.commits.one(Urgency::Other, put).await?;
            return if is_emptied { self.look_for_all().await } else { Ok(()) };
        }
        *was_missing = false;
        if known.as_ref().is_some_and(|known| *known != now) {
            self.look_for_all().await?;
        }
        *known = Some(now);
        Ok(())
    }

    async fn which_redis(&self) -> Result<Known, Fault> {
        let epoch = Command::new("HGET").arg(self.space.meta()).arg("epoch");
        let mut replies = Replies::new(self.reads.ask(vec![epoch, Command::new("INFO").arg("server")]).await?);
        let epoch = replies.next()?.maybe_bytes()?;
        let info = String::from_utf8_lossy(&replies.next()?.bytes()?).into_owned();
        let process = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default();
        Ok(Known { process: process.trim().to_owned(), epoch })
    }

    /// Looks for what was acknowledged, in all partitions.
    async fn look_for_all(&self) -> Result<(), Fault> {
        for place in 0..self.space.partitions().len() {
            let lost = self.look_for(place).await?;
            if !lost.is_empty() {
                self.tell_lost(place, &lost).await?;
                self.acknowledged.with(|remembered| {
                    let here = remembered.deliveries.entry(place).or_default();
                    for (id, _) in &lost {
                        here.remove(id);
                    }
                });
            }
        }
        Ok(())
    }

    /// Those of a partition that are gone, the newest first.
    async fn look_for(&self, place: usize) -> Result<Vec<(DeliveryId, Name)>, Fault> {
        let keys = &self.space.partitions()[place];
        let here = self.acknowledged.with(|remembered| remembered.deliveries.get(&place).cloned().unwrap_or_default());
        let newest: Vec<_> = here.into_iter().rev().collect();
        let floor = Command::new("HGET").arg(keys.counters()).arg("floor");
        let floor = self.reads.one(floor).await?.maybe_bytes()?;
        let floor = floor.and_then(|floor| text::read_sequence(&floor)).unwrap_or_default();
        let mut lost = Vec::new();
        for chunk in newest.chunks(CHUNK) {
            let ask = chunk.iter().map(|(id, _)| Command::new("EXISTS").arg(keys.delivery(*id)));
            let there = self.reads.ask(ask.collect()).await?;
            for ((id, (destination, at)), there) in chunk.iter().zip(there) {
                if there.number()? > 0 {
                    return Ok(lost);
                }
                // Above what Redis has seen by its own word it cannot have been retired.
                if id.sequence() > floor || at.elapsed() < YOUNG {
                    lost.push((*id, destination.clone()));
                }
            }
        }
        Ok(lost)
    }

    /// Names and counts what is lost.
    async fn tell_lost(&self, place: usize, lost: &[(DeliveryId, Name)]) -> Result<(), Fault> {
        let keys = &self.space.partitions()[place];
        let at = self.clock().await?;
        let mut lines = Vec::new();
        for named in lost.chunks(NAMED) {
            let ids = named.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(" ");
            tracing::error!(
                event = "acknowledged_lost",
                ids,
                "Redis lost what it had confirmed: ask the senders for it again"
            );
            let (who, action) = ("store".to_owned(), "store.lost".to_owned());
            lines.push(AuditEntry { at, who, action, subject: ids, origin: String::new() });
        }
        let mut of: BTreeMap<&Name, i64> = BTreeMap::new();
        for (_, destination) in lost {
            *of.entry(destination).or_default() += 1;
        }
        // They may be in the counters that are left, or not: whatever `created` says, it is what the others come to.
        let counters = Counters::read(self.reads.one(Command::new("HGETALL").arg(keys.counters())).await?)?;
        let mut counted = Vec::new();
        for (destination, by) in of {
            let tally = counters.destinations.get(destination).cloned().unwrap_or_default();
            let unknown = tally.created as i64 - (tally.states.iter().sum::<u64>() + tally.retired + tally.lost) as i64;
            let move_by = |what: &str, by: i64| {
                let field = format!("d:{destination}:{what}");
                Command::new("HINCRBY").arg(keys.counters()).arg(field).number(by)
            };
            counted.extend([move_by("lost", by), move_by("created", by - unknown.clamp(0, by))]);
        }
        self.commits.all(Urgency::Other, counted).await?;
        self.audit(&lines).await
    }

    /// Writes documents where there are none any more.
    async fn write_back(&self) -> Result<(), Fault> {
        let documents = self.acknowledged.with(|remembered| remembered.documents.clone());
        let mut written = 0;
        for document in documents.values() {
            let keys = [self.space.documents(document.key.kind), self.space.version(), self.space.registry_audit()];
            let put = Script::Document.call(&keys, super::registry::put_arguments(document));
            written += self.commits.one(Urgency::Other, put).await?.number()?;
        }
        if written > 0 {
            tracing::error!(
                event = "registry_written_back",
                documents = written,
                "Redis was emptied; sources, routes and the like are there again as this server knew them"
            );
        }
        Ok(())
    }
}
