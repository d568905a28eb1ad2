//! What this run acknowledged last, and whether Redis still has it.
//!
//! A Redis can go back to what it was: an old primary returns, a copy is loaded, somebody empties it. Whenever it is another process
//! than before, or its epoch is another or gone, the latest deliveries that this run acknowledged are looked for, all of them: those that
//! came since are there, whatever became of the others. What is missing and was not removed is lost: named, counted, and written into the
//! audit log; acknowledging goes on. An empty Redis also gets its documents back, as this run last read or wrote them; but for those that
//! say who may in ([`restore::comes_back`]).
//!
//! What is remembered is written down as well (`notebook`), beside the answers, so that a restart of server and Redis together is no
//! way out of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::{replace, take},
    sync::{Mutex, PoisonError, Weak},
    time::Duration,
};

use relay_core::{delivery::Delivery, id::DeliveryId, name::Name, storage::AuditEntry, time::Wall};
use tokio::time::{self, Instant};

use super::{
    Core, audit,
    backlog::Urgency,
    client::{self, Command},
    keys::Keys,
    loops::Loop,
    lost::{self, Telling},
    meta,
    node::Node,
    notebook::{Known, Note},
    recount,
    registry::{self, Written},
    reply::{Fault, Replies},
    restore, rows,
    scribe::{Notes, Scribe},
    scripts::Script,
};
use crate::seam::{Document, DocumentKey, DocumentKind};

/// So many are remembered of each partition.
const REMEMBERED: usize = 4_096;
/// Looked for at once.
const CHUNK: usize = 256;
/// One that is gone may have been retired by another server, if it was acknowledged so long ago. One that is younger is written down
/// when it is removed.
pub(super) const YOUNG: Duration = Duration::from_hours(1);
/// How often it is asked whether Redis is another, and what is remembered is written down.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// By partition and id, which rise in time. When: of this run; nothing of one before it.
    deliveries: BTreeMap<usize, BTreeMap<DeliveryId, (Name, Option<Instant>)>>,
    documents: BTreeMap<DocumentKey, Document>,
    /// At which version of the registry all of a kind are these.
    read_at: BTreeMap<DocumentKind, u64>,
    /// How many fields of a kind have a name that is no text, and so are nobody's documents.
    nameless: BTreeMap<DocumentKind, usize>,
    /// Versions that documents would have had which this run removed.
    removed: BTreeMap<DocumentKey, u64>,
    /// Documents that were found gone, or there again, or to be earlier ones, since it was last seen that Redis is the one it was. Others remove some, too.
    missed: BTreeSet<DocumentKey>,
    /// Lines of the audit log that are to be written yet.
    unsaid: Vec<AuditEntry>,
    /// The Redis that was there last, with an epoch: where that is gone, so is all else.
    known: Option<Known>,
    unwritten: Unwritten,
    /// What partitions have lost and is to be told yet, and how many tellings there were.
    tellings: BTreeMap<usize, Telling>,
    told: u64,
    /// What tells those of this run from others, once there are any.
    run: Option<String>,
    /// It is a server's, or somebody's who mends.
    has_begun: bool,
    /// Which process has each part, and what partitions are marked with, as they were last seen.
    processes: BTreeMap<usize, String>,
    marks: BTreeMap<usize, Vec<u8>>,
}

/// What is not written down yet.
#[derive(Debug, Default)]
enum Unwritten {
    /// Nobody writes down anything.
    #[default]
    Nothing,
    /// These, which are few.
    New(Vec<Note>),
    /// All that is remembered: so many came that nobody took.
    Everything,
}

impl Remembered {
    fn note(&mut self, note: Note) {
        match &mut self.unwritten {
            Unwritten::Nothing | Unwritten::Everything => {}
            Unwritten::New(notes) if notes.len() < REMEMBERED => notes.push(note),
            Unwritten::New(_) => self.unwritten = Unwritten::Everything,
        }
    }

    fn forget(&mut self, id: DeliveryId) {
        let mut was_there = false;
        for here in self.deliveries.values_mut() {
            was_there |= here.remove(&id).is_some();
        }
        if was_there {
            self.note(Note::Gone(id));
        }
    }

    fn all(&self) -> Vec<Note> {
        let made = |(id, (name, _)): (&DeliveryId, &(Name, Option<Instant>))| Note::Made(*id, name.clone());
        self.deliveries.values().flatten().map(made).collect()
    }
}

impl Acknowledged {
    fn with<T>(&self, edit: impl FnOnce(&mut Remembered) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are stored, and whoever sent them is told so.
    pub(super) fn remember(&self, place: usize, deliveries: &[Delivery]) {
        let now = Instant::now();
        self.with(|remembered| {
            for made in deliveries {
                remembered.note(Note::Made(made.id, made.destination.clone()));
                let here = remembered.deliveries.entry(place).or_default();
                here.insert(made.id, (made.destination.clone(), Some(now)));
                while here.len() > REMEMBERED {
                    here.pop_first();
                }
            }
        });
    }

    /// From now on somebody writes down what is new.
    pub(super) fn is_written_down(&self) {
        self.with(|remembered| remembered.unwritten = Unwritten::New(Vec::new()));
    }

    /// What is to be written down; `all`: in the place of all that was. Then it was taken.
    pub(super) fn unwritten(&self, all: bool, known: Option<&Known>) -> Option<Notes> {
        self.with(|remembered| match replace(&mut remembered.unwritten, Unwritten::New(Vec::new())) {
            Unwritten::New(notes) if !all => (!notes.is_empty()).then_some(Notes::New(notes)),
            Unwritten::Nothing | Unwritten::New(_) | Unwritten::Everything => {
                let mut notes = remembered.all();
                notes.extend(known.cloned().map(Note::In));
                Some(Notes::All(notes))
            }
        })
    }

    /// How many notes wait to be written down.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.with(|remembered| if let Unwritten::New(notes) = &remembered.unwritten { notes.len() } else { 0 })
    }

    /// Those of an earlier run; `place` says in which partition one is.
    fn recall(&self, notes: Vec<Note>, place: impl Fn(DeliveryId) -> usize) -> Option<Known> {
        let mut known = None;
        self.with(|remembered| {
            for note in notes {
                match note {
                    Note::Made(id, destination) => {
                        let here = remembered.deliveries.entry(place(id)).or_default();
                        here.entry(id).or_insert((destination, None));
                        while here.len() > REMEMBERED {
                            here.pop_first();
                        }
                    }
                    Note::Gone(id) => remembered.forget(id),
                    Note::In(redis) => known = Some(redis),
                }
            }
        });
        known
    }

    /// These are removed. Until that is known they are missed where they should be: `gone` says of those that are young that they were.
    pub(super) fn forget(&self, removed: impl IntoIterator<Item = DeliveryId>) {
        self.with(|remembered| removed.into_iter().for_each(|id| remembered.forget(id)));
    }

    /// Whether that is not the epoch of the Redis that was there last: it goes with everything else.
    pub(super) fn is_of_another(&self, epoch: Option<&[u8]>) -> bool {
        self.with(|remembered| remembered.known.as_ref().is_some_and(|known| known.epoch.as_deref() != epoch))
    }

    /// All documents of a kind, as they are now, how many fields beside them are nobody's, and the registry's version before and behind
    /// them. Gives those that are gone though it is the one at which they were there: nobody of ours removed them, and they are not forgotten.
    pub(super) fn remember_all(
        &self,
        kind: DocumentKind,
        documents: &[Document],
        nameless: usize,
        (before, behind): (Option<u64>, Option<u64>),
    ) -> Vec<Document> {
        let now: BTreeMap<DocumentKey, Document> = documents.iter().map(|one| (one.key.clone(), one.clone())).collect();
        self.with(|remembered| {
            // A removal of what is not followed moves no version.
            let is_unmoved = kind.is_followed() && behind.is_some() && remembered.read_at.get(&kind) == behind.as_ref();
            let known = remembered.documents.iter().filter(|(key, _)| key.kind == kind);
            let (known, gone): (Vec<_>, Vec<_>) = known.partition(|(key, _)| !is_unmoved || now.contains_key(*key));
            let gone: Vec<Document> = gone.into_iter().map(|(_, gone)| gone.clone()).collect();
            let is_there =
                |key: &DocumentKey, was: &Document| now.get(key).is_some_and(|now| now.version >= was.version);
            let missed = known.into_iter().filter(|(key, was)| !is_there(key, was)).map(|(key, _)| key);
            let is_back =
                |(key, version): &(&DocumentKey, &u64)| now.get(*key).is_some_and(|now| now.version < **version);
            let back = remembered.removed.iter().filter(is_back).map(|(key, _)| key);
            let missed: Vec<DocumentKey> = missed.chain(back).cloned().collect();
            remembered.missed.extend(missed);
            remembered.documents.retain(|key, _| key.kind != kind || (is_unmoved && !now.contains_key(key)));
            remembered.documents.extend(now);
            remembered.nameless.insert(kind, nameless);
            match before {
                Some(before) => drop(remembered.read_at.insert(kind, before)),
                None => drop(remembered.read_at.remove(&kind)),
            }
            gone
        })
    }

    /// Whether all of a kind were read at this version of the registry, and there are so many fields.
    pub(super) fn are_read(&self, kind: DocumentKind, version: u64, count: usize) -> bool {
        self.with(|remembered| {
            let known = remembered.documents.keys().filter(|key| key.kind == kind).count();
            let nameless = remembered.nameless.get(&kind).copied().unwrap_or_default();
            remembered.read_at.get(&kind) == Some(&version) && known + nameless == count
        })
    }

    /// Whether this run has begun a store, or goes on with one.
    pub(super) fn has_begun(&self) -> bool {
        self.with(|remembered| remembered.has_begun)
    }

    /// Whether a registry was read that had a version.
    pub(super) fn has_read(&self) -> bool {
        self.with(|remembered| !remembered.read_at.is_empty())
    }

    /// The registry's version is another one by a change of this run: whatever was read at the one before is still as it was.
    pub(super) fn has_moved(&self, before: Option<u64>, version: u64) {
        self.with(|remembered| {
            for read_at in remembered.read_at.values_mut().filter(|read_at| Some(**read_at) == before) {
                *read_at = version;
            }
        });
    }

    /// These are gone, and do not come back.
    pub(super) fn give_up(&self, gone: &[Document]) {
        self.with(|remembered| gone.iter().for_each(|one| drop(remembered.documents.remove(&one.key))));
    }

    /// What was missed until now.
    fn missed(&self) -> BTreeSet<DocumentKey> {
        self.with(|remembered| remembered.missed.clone())
    }

    /// Of these it is known why.
    fn no_more_missed(&self, known: &BTreeSet<DocumentKey>) {
        self.with(|remembered| {
            remembered.missed.retain(|key| !known.contains(key));
            remembered.removed.retain(|key, _| !known.contains(key));
        });
    }

    /// One document as it was written; nothing: it was deleted.
    pub(super) fn remember_one(&self, key: &DocumentKey, version: u64, body: Option<&str>) {
        self.with(|remembered| {
            if let Some(body) = body {
                let document = Document { key: key.clone(), version, body: body.to_owned() };
                remembered.documents.insert(key.clone(), document);
                remembered.removed.remove(key);
                return;
            }
            remembered.documents.remove(key);
            remembered.removed.insert(key.clone(), version);
            if remembered.removed.len() > REMEMBERED {
                remembered.removed.pop_first();
            }
        });
    }

    /// This is to be written into the audit log.
    pub(super) fn will_say(&self, line: Option<AuditEntry>) {
        self.with(|remembered| remembered.unsaid.extend(line));
    }

    /// What a partition has lost and is to be told yet.
    fn telling(&self, place: usize) -> Option<Telling> {
        self.with(|remembered| remembered.tellings.get(&place).cloned())
    }

    /// This is lost: named at once, and told until that is known to be done.
    fn will_tell(&self, place: usize, fresh: String, lost: Vec<(DeliveryId, Name)>) -> Telling {
        let telling = self.with(|remembered| {
            remembered.told += 1;
            let run = remembered.run.get_or_insert(fresh).clone();
            let telling = Telling { run, number: remembered.told, lost };
            remembered.tellings.insert(place, telling.clone());
            telling
        });
        telling.name();
        telling
    }

    /// It is told.
    fn told(&self, place: usize, telling: &Telling) {
        self.with(|remembered| {
            remembered.tellings.remove(&place);
            telling.lost.iter().for_each(|(id, _)| remembered.forget(*id));
        });
    }
}

/// Of so many that were removed while they were young it is known (`scripts/removal.lua`).
const GONE_MAX: usize = 4_096;

/// What was removed lately while it was young, as far back as that is known.
#[derive(Debug, Default)]
struct Removed {
    ids: BTreeSet<DeliveryId>,
    /// When the first of them was.
    since: Option<Wall>,
    /// There were others before, of which nobody knows.
    is_full: bool,
}

impl Removed {
    /// Whether one was, or may have been.
    fn hold(&self, id: DeliveryId) -> bool {
        self.ids.contains(&id) || (self.is_full && self.since.is_some_and(|since| id.minted_at() < since))
    }
}

/// What was seen last.
#[derive(Debug, Default)]
struct Seen {
    /// There was no epoch.
    was_missing: bool,
    /// Redis was another: what the one before it had confirmed a moment ago may not have been remembered yet.
    looks_again: bool,
    /// Documents are being written back, and are not all there.
    writes_back: bool,
    /// What is looked for since Redis is this one.
    looks: Option<Looks>,
}

/// What is to be looked for in a Redis that is another.
#[derive(Debug)]
struct Looks {
    of: Known,
    /// Partitions where it was not yet: some may be away.
    left: BTreeSet<usize>,
    /// Documents were compared.
    has_documents: bool,
}

/// Looks whether Redis is another, as long as there is a store.
pub(super) async fn watch(core: Weak<Core>) {
    let mut scribe = match core.upgrade() {
        Some(core) => core.scribe(),
        None => return,
    };
    let (mut known, mut seen) = (None, Seen::default());
    while let Some(core) = core.upgrade() {
        if let Some(scribe) = &mut scribe {
            core.recall(scribe, &mut known);
        }
        let before = known.clone();
        let watched = core.watch_once(&mut known, &mut seen).await;
        if let Err(fault) = &watched {
            tracing::debug!(?fault, "whether Redis is another is looked at later");
        }
        if let Some(known) = known.clone().filter(|known| before.as_ref() != Some(known)) {
            core.acknowledged.with(|remembered| remembered.note(Note::In(known)));
        }
        if let Some(scribe) = &mut scribe {
            scribe.write(|all| core.acknowledged.unwritten(all, known.as_ref()));
        }
        core.loops.ran(Loop::Watch, &watched);
        let pause = LOOK_EVERY.min(core.options.glance_every);
        drop(core);
        time::sleep(pause).await;
    }
}

impl Core {
    /// Who writes down what is remembered, if anybody shall.
    fn scribe(&self) -> Option<Scribe> {
        let path = self.options.remembers_in.clone()?;
        self.acknowledged.is_written_down();
        Some(Scribe::begin(path, self.options.stream_name.clone()))
    }

    /// What an earlier run wrote down, once it is read.
    fn recall(&self, scribe: &mut Scribe, known: &mut Option<Known>) {
        if let Some(notes) = scribe.heard() {
            // The Redis that they speak of comes before the one that is there: what is between them is looked for.
            *known = self.acknowledged.recall(notes, |id| self.space.place(id.partition())).or(known.take());
        }
    }

    /// This is the Redis that it begins with, which has an epoch by now.
    pub(super) async fn begin_watch(&self) -> Result<(), Fault> {
        self.mark(self.which_redis().await?.1).await?;
        let (now, _) = self.which_redis().await?;
        self.acknowledged.with(|remembered| {
            remembered.known = Some(now).filter(|now| now.epoch.is_some());
            remembered.has_begun = true;
        });
        Ok(())
    }

    /// One look. What is missing once may only not have been written yet.
    async fn watch_once(&self, known: &mut Option<Known>, seen: &mut Seen) -> Result<(), Fault> {
        if known.is_none() {
            *known = self.acknowledged.with(|remembered| remembered.known.clone());
        }
        // One of another type would keep all else from being read.
        self.put_registry_right().await?;
        let missed = self.acknowledged.missed();
        let (now, bare) = self.which_redis().await?;
        if now.epoch.is_none() {
            return self.watch_emptied(known.is_some(), seen).await;
        }
        seen.was_missing = false;
        let is_another = known.as_ref().is_some_and(|known| *known != now);
        if known.as_ref().is_some_and(|known| known.epoch != now.epoch) {
            self.watch_begun_anew(seen).await?;
        }
        let mut looked = Ok(());
        if is_another || seen.looks_again {
            looked = self.look_for_what_was(&now, seen).await?;
            if looked.is_ok() {
                seen.looks = None;
                seen.looks_again = is_another;
            }
        } else {
            // It is the one that it was: others removed them, and so the registry has another version.
            self.acknowledged.no_more_missed(&missed);
        }
        if let Some(epoch) = &now.epoch {
            self.look_at_documents(epoch).await?;
        }
        self.mark(bare).await?;
        self.note_pace().await?;
        if looked.is_ok() {
            // Not before: whoever begins with what is written down looks for the rest.
            *known = Some(now.clone());
        }
        self.acknowledged.with(|remembered| remembered.known = Some(now));
        self.say_missed().await.and(looked)
    }

    /// Looks for all that was acknowledged in the Redis that it is now, and compares its documents. Gives what kept some partitions from
    /// being looked through, of those that are left for the next look: one that is away keeps nothing else from being looked at.
    async fn look_for_what_was(&self, now: &Known, seen: &mut Seen) -> Result<Result<(), Fault>, Fault> {
        let looks = seen.looks.take().filter(|looks| looks.of == *now);
        let anew = || Looks { of: now.clone(), left: self.all_places(), has_documents: false };
        let looks = seen.looks.insert(looks.unwrap_or_else(anew));
        let looked = self.look_for_all(&mut looks.left).await;
        if !looks.has_documents {
            self.look_for_documents(now.epoch.as_deref().unwrap_or_default()).await?;
            looks.has_documents = true;
        }
        Ok(looked)
    }

    /// There is no epoch: nobody has begun there yet, and this is not who does, or somebody has emptied it.
    async fn watch_emptied(&self, was_there: bool, seen: &mut Seen) -> Result<(), Fault> {
        if !was_there {
            return Ok(());
        }
        if !take(&mut seen.was_missing) {
            seen.was_missing = true;
            return Ok(());
        }
        self.write_back().await?;
        self.nodes.all(Urgency::Other, meta::layout(&self.space)?).await?;
        self.look_for_all(&mut self.all_places()).await
    }

    fn all_places(&self) -> BTreeSet<usize> {
        (0..self.space.partitions().len()).collect()
    }

    /// Another epoch: emptied, and begun by another server, which may know no documents. Where there are some, those that this one
    /// knows, and that are not there, may have been removed since (I21).
    async fn watch_begun_anew(&self, seen: &mut Seen) -> Result<(), Fault> {
        let has_none = self.version().await? == Some(0);
        if has_none || seen.writes_back {
            seen.writes_back = true;
            self.write_back().await?;
            seen.writes_back = false;
        }
        Ok(())
    }

    /// Which Redis there is, and in a cluster partitions that nobody has marked: new ones, and such as were emptied. One that is away is the
    /// one that it was.
    async fn which_redis(&self) -> Result<(Known, Vec<usize>), Fault> {
        let epoch = Command::new("HGET").arg(self.space.meta()).arg("epoch");
        let epoch = self.nodes.one(epoch).await?.maybe_bytes()?;
        let mut bare = Vec::new();
        let owners = self.nodes.owners();
        for (node, places) in &owners {
            match self.process_of(node).await {
                Ok(process) => self.acknowledged.with(|remembered| {
                    remembered.processes.extend(places.iter().map(|place| (*place, process.clone())));
                }),
                Err(Fault::Away) if owners.len() > 1 => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut processes = self.acknowledged.with(|remembered| remembered.processes.clone());
        if self.nodes.is_cluster() {
            // With several nodes one of them can be emptied, and the registry is still there.
            let ask = |keys: &Keys| vec![Command::new("HGET").arg(keys.counters()).arg("epoch")];
            let marks = self.nodes.ask_parts(self.space.partitions().iter().map(ask).collect()).await?;
            for (place, mark) in marks.into_iter().enumerate() {
                let Some(mark) = mark.and_then(|mut mark| mark.pop()) else { continue };
                let mark = mark.maybe_bytes()?;
                bare.extend(mark.is_none().then_some(place));
                self.acknowledged.with(|remembered| remembered.marks.insert(place, mark.unwrap_or_default()));
            }
            let marks = self.acknowledged.with(|remembered| remembered.marks.clone());
            for (place, mark) in marks {
                processes.entry(place).or_default().push_str(&String::from_utf8_lossy(&mark));
            }
        }
        let process = match processes.values().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()[..] {
            [process] => process.clone(),
            _ => client::digest(&format!("{processes:?}")),
        };
        Ok((Known { process, epoch }, bare))
    }

    /// One start of a process, as long as it is not made a replica of another.
    async fn process_of(&self, node: &Node) -> Result<String, Fault> {
        let info = |section| Command::new("INFO").arg(section);
        let mut replies = Replies::new(node.reads.ask(vec![info("server"), info("replication")]).await?);
        let (server, replication) = (replies.next()?.bytes()?, replies.next()?.bytes()?);
        let info = String::from_utf8_lossy(&[server, replication].concat()).into_owned();
        let field = |name| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        // The same process was a replica of another one in between where its history is another.
        Ok(format!("{} {}", field("run_id:"), field("master_replid:")))
    }

    /// Marks partitions, so that it is seen when the node that has one is emptied.
    async fn mark(&self, bare: Vec<usize>) -> Result<(), Fault> {
        for place in bare {
            let counters = self.space.partitions()[place].counters();
            let put = Command::new("HSETNX").arg(counters).arg("epoch").arg(recount::fresh_run()?);
            self.nodes.commit(Urgency::Other, put).await?;
        }
        Ok(())
    }

    /// Looks for what was acknowledged, in these partitions; those where that is done are left no more, whichever of them is away.
    async fn look_for_all(&self, left: &mut BTreeSet<usize>) -> Result<(), Fault> {
        let mut failed = None;
        for place in left.clone() {
            match self.look_and_tell(place).await {
                Ok(()) => drop(left.remove(&place)),
                Err(fault) => drop(failed.get_or_insert(fault)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// What is lost is told once, however often the answer to that is lost.
    async fn look_and_tell(&self, place: usize) -> Result<(), Fault> {
        if let Some(telling) = self.acknowledged.telling(place) {
            self.tell(place, &telling).await?;
            self.acknowledged.told(place, &telling);
        }
        let lost = self.look_for(place).await?;
        if !lost.is_empty() {
            let telling = self.acknowledged.will_tell(place, recount::fresh_run()?, lost);
            self.tell(place, &telling).await?;
            self.acknowledged.told(place, &telling);
        }
        Ok(())
    }

    /// Compares all documents with those that this one knows, and names those that are gone, or went back to what they were. Those that
    /// are gone at the version at which they were there are written back later.
    pub(super) async fn look_for_documents(&self, epoch: &[u8]) -> Result<(), Fault> {
        for kind in DocumentKind::ALL {
            self.documents_gone(kind, epoch).await?;
        }
        let missed = self.acknowledged.missed();
        self.acknowledged.will_say(lost::missed_line(&missed, self.clock().await?));
        self.acknowledged.no_more_missed(&missed);
        Ok(())
    }

    /// Writes into the audit log what was missed.
    async fn say_missed(&self) -> Result<(), Fault> {
        let lines = self.acknowledged.with(|remembered| remembered.unsaid.clone());
        if !lines.is_empty() {
            self.audit(&lines).await?;
            self.acknowledged.with(|remembered| drop(remembered.unsaid.drain(..lines.len())));
        }
        Ok(())
    }

    /// Those of a partition that are gone, the newest first.
    async fn look_for(&self, place: usize) -> Result<Vec<(DeliveryId, Name)>, Fault> {
        let keys = &self.space.partitions()[place];
        let here = self.acknowledged.with(|remembered| remembered.deliveries.get(&place).cloned().unwrap_or_default());
        let newest: Vec<_> = here.into_iter().rev().collect();
        let floor = self.counters_of(place).await?.floor.unwrap_or_default();
        // What was acknowledged since it is another is there, and says nothing of what was before.
        let mut missing = Vec::new();
        for chunk in newest.chunks(CHUNK) {
            let ask = chunk.iter().map(|(id, _)| Command::new("EXISTS").arg(keys.delivery(*id)));
            let there = self.nodes.ask(ask.collect()).await?;
            for ((id, (destination, at)), there) in chunk.iter().zip(there) {
                if there.number()? == 0 {
                    missing.push((*id, destination.clone(), *at));
                }
            }
        }
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let (removed, now) = (self.removed_lately(keys).await?, self.clock().await?);
        // Above what Redis has seen by its own word it cannot have been retired; nor without a word, while it is young.
        let is_lost = |id: DeliveryId, at: Option<Instant>| {
            let age = at.map_or_else(|| now.since(id.minted_at()), |at| at.elapsed());
            id.sequence() > floor || (age < YOUNG && !removed.hold(id))
        };
        missing.retain(|(id, _, at)| is_lost(*id, *at));
        Ok(missing.into_iter().map(|(id, destination, _)| (id, destination)).collect())
    }

    /// What was removed lately while it was young.
    async fn removed_lately(&self, keys: &Keys) -> Result<Removed, Fault> {
        let all = Command::new("XRANGE").arg(keys.gone()).arg("-").arg("+");
        let all = self.nodes.readable(vec![all]).await?.pop().ok_or(Fault::Away)?;
        let mut removed = Removed::default();
        for (place, id) in audit::entries(all)? {
            let since = place.moment();
            removed.since = Some(removed.since.map_or(since, |first| first.min(since)));
            removed.ids.extend(rows::id(&id).map(DeliveryId::from_u128));
        }
        removed.is_full = removed.ids.len() >= GONE_MAX;
        Ok(removed)
    }

    /// Writes documents where there are none any more.
    async fn write_back(&self) -> Result<(), Fault> {
        let documents = self.acknowledged.with(|remembered| remembered.documents.clone());
        let mut written = 0;
        for document in documents.values().filter(|document| restore::comes_back(document.key.kind)) {
            let keys = [self.space.documents(document.key.kind), self.space.version(), self.space.registry_audit()];
            let put = Script::Document.call(&keys, registry::put_arguments(document)?);
            let put = self.nodes.commit(Urgency::Other, put).await?;
            written += usize::from(Written::of(put)? != Written::Not);
        }
        if written > 0 {
            tracing::error!(
                event = "registry_written_back",
                documents = written,
                "Redis was emptied; sources, routes and the like are there again as this server knew them. Users of the dashboard are not: crm-relay user create"
            );
        }
        Ok(())
    }
}
