//! Indexes, compared with the rows that they are made of, both ways, and made again where they differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_core::{
    id::{DeliveryId, EventId},
    time::Wall,
};

use super::{
    Core, aside,
    backlog::Urgency,
    commit::ROWS_MAX,
    index::{Entry, Index, Kind},
    keys::{Key, Keys, Wanted},
    place::Place,
    recount::Recounted,
    replays,
    reply::{Fault, Replies, Reply},
    rows,
    scan::At,
    scripts::Script,
};

/// Keys whose types are looked at in one step, and keys whose rows are.
const TYPES: i64 = 512;
const ROWS: i64 = 128;

/// So often a step of a round is tried again of which nothing is known.
const TRIES_MAX: u32 = 3;
/// What keys of dedupe entries begin with: they alone expire.
const DEDUPE: &[u8] = b"k:";
/// What keys begin with that name later deliveries of events.
const REPLAYS: &[u8] = b"r:";

/// A body whose script did not run for so long is nobody's: an append is asked for again for seconds only.
const ORPHAN_AFTER: Duration = Duration::from_hours(1);

/// What a comparison came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Deliveries and events that were looked at.
    pub rows: u64,
    /// Places in indexes that were missing, and are there again.
    pub mended: u64,
    /// Entries of indexes that led nowhere, or elsewhere: they are taken out.
    pub strays: u64,
    /// Those of them whose row or event is gone; each is named in the log.
    pub lost: u64,
    /// Bodies that were set, and whose script never ran: they are gone.
    pub orphans: u64,
    /// Keys of another type than ours, which are out of the way now.
    pub aside: u64,
    /// Keys that somebody had set to expire: they stay.
    pub kept: u64,
    /// Partitions whose counters were made again.
    pub counters: u64,
    /// Consumers of runs that are gone: they are out of their groups now.
    pub consumers: u64,
}

impl Mended {
    /// Something was not as it should be.
    pub(super) fn has_changed(self) -> bool {
        self != Self { rows: self.rows, consumers: self.consumers, ..Self::default() }
    }

    /// What came of it behind an earlier moment.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            rows: self.rows - before.rows,
            mended: self.mended - before.mended,
            strays: self.strays - before.strays,
            lost: self.lost - before.lost,
            orphans: self.orphans - before.orphans,
            aside: self.aside - before.aside,
            kept: self.kept - before.kept,
            counters: self.counters - before.counters,
            consumers: self.consumers - before.consumers,
        }
    }

    /// And what came of another.
    pub(super) fn join(&mut self, other: Self) {
        self.rows += other.rows;
        self.mended += other.mended;
        self.strays += other.strays;
        self.lost += other.lost;
        self.orphans += other.orphans;
        self.aside += other.aside;
        self.kept += other.kept;
        self.counters += other.counters;
        self.consumers += other.consumers;
    }
}

/// One round through all keys of some partitions, step by step: types first, since scripts fail where one is another; then rows, each put
/// where it is missing; then indexes, out of which is taken what does not stand there.
#[derive(Debug)]
pub(super) struct Round {
    /// Places of the partitions that are looked at.
    places: BTreeSet<usize>,
    phase: Phase,
    /// Indexes that were met, each once, and those that are to be walked yet.
    met: BTreeSet<Key>,
    walks: Vec<Sweep>,
    /// Listings for a recount, by partition.
    listings: BTreeMap<usize, BTreeSet<String>>,
    mended: Mended,
    /// Nothing is changed: what would be is counted.
    only_looks: bool,
    /// So often its next step has come to nothing that is known.
    tried: u32,
    /// Some partitions were left out.
    is_partial: bool,
}

/// What it looks at, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Types(At),
    Rows(At),
    Indexes,
}

/// A key that was met.
struct Found {
    place: usize,
    kind: Kind,
    /// What it is called within its partition.
    within: Vec<u8>,
    key: Key,
}

/// One index, and how far it is walked.
#[derive(Debug)]
struct Sweep {
    place: usize,
    index: Index,
    behind: Option<Vec<u8>>,
    /// Its last entry when the walk began, if it is in order.
    last: Option<Vec<u8>>,
}

impl Round {
    /// Through these partitions, from the beginning.
    pub(super) fn through(places: BTreeSet<usize>) -> Self {
        Self {
            places,
            phase: Phase::Types(At::default()),
            met: BTreeSet::new(),
            walks: Vec::new(),
            listings: BTreeMap::new(),
            mended: Mended::default(),
            only_looks: false,
            tried: 0,
            is_partial: false,
        }
    }

    /// The same, which counts what it would do, and does nothing.
    fn that_looks(places: BTreeSet<usize>) -> Self {
        Self { only_looks: true, ..Self::through(places) }
    }

    /// What scripts are told of that.
    fn looks(&self) -> Vec<u8> {
        u8::from(self.only_looks).to_string().into_bytes()
    }

    /// Goes on without what is in other partitions than these; a later round goes through the rest.
    pub(super) fn only_in(&mut self, places: impl Fn(usize) -> bool) {
        let before = self.places.len();
        self.places.retain(|place| places(*place));
        self.walks.retain(|walk| places(walk.place));
        self.is_partial |= self.places.len() < before;
    }

    /// Whether it goes, or went, through all partitions that it was to.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_partial
    }

    /// What came of a part of its next step: what stayed unknown so often is passed over.
    fn pass(&self, part: Result<(), Fault>) -> Result<(), Fault> {
        match part {
            Err(Fault::Unknown) if self.tried >= TRIES_MAX => Ok(()),
            part => part,
        }
    }

    /// Keys that were put right, or what kept that from being done.
    fn count(&mut self, put: Result<aside::Done, Fault>) -> Result<(), Fault> {
        if let Ok(done) = &put {
            self.mended.aside += done.aside;
            self.mended.kept += done.kept;
        }
        self.pass(put.map(drop))
    }

    /// What it has come to.
    pub(super) fn mended(&self) -> Mended {
        self.mended
    }

    fn meet(&mut self, place: usize, index: Index) {
        self.listings.entry(place).or_default().extend(index.listing());
        if self.met.insert(format!("{place}:{}:{}", index.word, index.name).into_bytes()) {
            self.walks.push(Sweep { place, index, behind: None, last: None });
        }
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Indexes && self.walks.is_empty()
    }
}

impl Core {
    /// Compares all rows of all partitions with their indexes, and all indexes with their rows. It goes on beside whatever else is done.
    pub(super) async fn mend(&self) -> Result<Mended, Fault> {
        let mut round = Round::through((0..self.space.partitions().len()).collect());
        self.go_through(&mut round).await?;
        round.count(self.put_right(&self.space.of_registry()).await)?;
        let mut mended = round.mended;
        for place in round.places.clone() {
            let seen = self.glance(place).await?;
            if mended.lost > 0 || mended.aside > 0 || !seen.is_whole || !seen.apart.is_empty() {
                mended.counters += u64::from(self.mend_counters_of(place, &round).await?);
            }
        }
        Ok(mended)
    }

    /// What that would come to, but for counters; nothing is changed.
    pub(super) async fn look_through(&self) -> Result<Mended, Fault> {
        let mut round = Round::that_looks((0..self.space.partitions().len()).collect());
        self.go_through(&mut round).await?;
        round.count(self.how_many(&self.space.of_registry()).await)?;
        Ok(round.mended)
    }

    async fn go_through(&self, round: &mut Round) -> Result<(), Fault> {
        while !round.is_over() {
            match self.mend_step(round).await {
                // It is tried again, and then passed over.
                Err(Fault::Unknown) => {}
                stepped => stepped?,
            }
        }
        Ok(())
    }

    /// Makes the counters of a partition again, by the listings that a round has met.
    pub(super) async fn mend_counters_of(&self, place: usize, round: &Round) -> Result<bool, Fault> {
        let listings: Vec<String> = round.listings.get(&place).into_iter().flatten().cloned().collect();
        let Recounted { were_others, spoilt } = self.mend_counters(place, &listings).await?;
        if were_others {
            let spoilt = spoilt.join(" ");
            tracing::warn!(event = "counters_mended", partition = place, spoilt, "counters are what is stored again");
        }
        Ok(were_others)
    }

    /// A step of a round, short enough to be done beside all else: some keys and their rows, or a piece of an index. What stays unknown,
    /// however often it is tried, is passed over: all else is waiting behind it.
    pub(super) async fn mend_step(&self, round: &mut Round) -> Result<(), Fault> {
        let done = self.try_step(round).await;
        match done {
            Ok(()) => round.tried = 0,
            Err(Fault::Unknown) => round.tried += 1,
            Err(_) => {}
        }
        done
    }

    async fn try_step(&self, round: &mut Round) -> Result<(), Fault> {
        match round.phase.clone() {
            Phase::Types(at) => {
                if at == At::default() {
                    let streams = round.places.iter().map(|place| self.space.partitions()[*place].dead_letters());
                    let streams: Vec<Wanted> = streams.collect();
                    let put =
                        if round.only_looks { self.how_many(&streams).await } else { self.put_right(&streams).await };
                    round.count(put)?;
                }
                let (next, found) = self.scan(&at, TYPES, round).await?;
                self.mend_types(found, round).await?;
                round.phase = next.map_or_else(|| Phase::Rows(At::default()), Phase::Types);
            }
            Phase::Rows(at) => {
                let (next, found) = self.scan(&at, ROWS, round).await?;
                self.mend_rows(found, round).await?;
                round.phase = next.map_or(Phase::Indexes, Phase::Rows);
            }
            Phase::Indexes => {
                let Some(mut sweep) = round.walks.pop() else { return Ok(()) };
                let more = self.sweep(&mut sweep, round).await;
                if more != Ok(false) {
                    round.walks.push(sweep);
                }
                more?;
            }
        }
        Ok(())
    }

    /// Some keys, and where there are more. Those of other nodes, and of other partitions, are passed over.
    async fn scan(&self, at: &At, count: i64, round: &Round) -> Result<(Option<At>, Vec<Found>), Fault> {
        let (next, keys) = self.scan_keys_of(at, count, &round.places).await?;
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.found_at(key).filter(|found| round.places.contains(&found.place)));
        }
        Ok((next, found))
    }

    /// Which partition a key is in, and what it is there.
    fn found_at(&self, key: Key) -> Option<Found> {
        let within = |(place, keys): (usize, &Keys)| Some((place, keys.within(&key)?.to_vec()));
        let (place, within) = self.space.partitions().iter().enumerate().find_map(within)?;
        Some(Found { place, kind: Kind::of(&within), within, key })
    }

    /// Of another type than ours rows and events are named and left alone; all else can be made again, and is put aside. But for dedupe
    /// entries nothing of ours goes by itself.
    async fn mend_types(&self, found: Vec<Found>, round: &mut Round) -> Result<(), Fault> {
        let wanted = |found: Found| Some((found.kind.of_type(&found.within)?, found));
        let found: Vec<(&str, Found)> = found.into_iter().filter_map(wanted).collect();
        let keys: Vec<(&Key, &str)> = found.iter().map(|(of_type, found)| (&found.key, *of_type)).collect();
        let are = self.how_are(&keys).await?;
        for ((of_type, found), is) in found.into_iter().zip(are) {
            let may_expire = found.within.starts_with(DEDUPE);
            if !is.is_right || (is.expires && !may_expire) {
                let put = if round.only_looks { Ok(is.into()) } else { self.put_key_right(&found, of_type, is).await };
                round.count(put)?;
            }
            if let Kind::Index(index) = found.kind
                && is.is_right
            {
                round.meet(found.place, index);
            }
        }
        Ok(())
    }

    async fn put_key_right(
        &self,
        found: &Found,
        of_type: &'static str,
        is: aside::Found,
    ) -> Result<aside::Done, Fault> {
        let error = crate::record::RecordError::Field("its type");
        let keys = &self.space.partitions()[found.place];
        match &found.kind {
            Kind::Delivery(id) if !is.is_right => self.damage.name(&DeliveryId::from_u128(*id), &error),
            Kind::Event(id) if !is.is_right => self.damage.name(&EventId::from_u128(*id), &error),
            // Whom it named nobody knows. Until rows are asked, and also behind that, what does not hold keeps the event.
            kind => {
                let names_replays = *kind == Kind::Other && found.within.starts_with(REPLAYS);
                let instead: &[u8] = if names_replays { &replays::UNKNOWN } else { b"" };
                let (key, aside) = (found.key.clone(), keys.aside(&found.within));
                return self.put_one_right(&Wanted { key, of_type, aside, instead }).await;
            }
        }
        Ok(aside::Done::default())
    }

    async fn mend_rows(&self, found: Vec<Found>, round: &mut Round) -> Result<(), Fault> {
        let (mut deliveries, mut events) = (BTreeMap::<usize, Vec<u128>>::new(), BTreeMap::<usize, Vec<u128>>::new());
        for Found { place, kind, .. } in found {
            match kind {
                Kind::Delivery(id) => deliveries.entry(place).or_default().push(id),
                Kind::Event(id) => events.entry(place).or_default().push(id),
                Kind::Index(_) | Kind::Other | Kind::Strange => {}
            }
        }
        for (place, ids) in deliveries {
            for ids in ids.chunks(ROWS_MAX) {
                let mended = self.mend_deliveries(place, ids, round).await;
                round.pass(mended)?;
            }
        }
        for (place, ids) in events {
            for ids in ids.chunks(ROWS_MAX) {
                let mended = self.mend_events(place, ids, round).await;
                round.pass(mended)?;
            }
        }
        Ok(())
    }

    async fn mend_deliveries(&self, place: usize, ids: &[u128], round: &mut Round) -> Result<(), Fault> {
        // Reading them names those that do not read, and their listings are known though all indexes are gone.
        let found = self.find(&ids.iter().copied().map(DeliveryId::from_u128).collect::<Vec<_>>()).await?;
        let listings = round.listings.entry(place).or_default();
        listings.extend(found.iter().flatten().map(|found| format!("d:{}", found.destination)));
        let mut arguments = vec![round.looks(), ids.len().to_string().into_bytes()];
        for (id, found) in ids.iter().zip(&found) {
            let named = found.as_ref().map(|found| replays::write(found.event, found.id).to_vec());
            arguments.extend([id.to_be_bytes().to_vec(), named.unwrap_or_default()]);
        }
        arguments.push(b"0".to_vec());
        self.mend_these(place, ids.len(), arguments, round).await
    }

    async fn mend_events(&self, place: usize, ids: &[u128], round: &mut Round) -> Result<(), Fault> {
        let orphans_before = match self.clock().await {
            Ok(now) => now - ORPHAN_AFTER,
            // The registry's node is, which has the clock: none is taken for old.
            Err(Fault::Away) if self.nodes.is_cluster() => Wall::MIN,
            Err(fault) => return Err(fault),
        };
        let ids: Vec<EventId> = ids.iter().copied().map(EventId::from_u128).collect();
        let later = self.named_later(&ids).await?;
        let mut found = Vec::new();
        for ((id, front), later) in ids.iter().zip(self.fronts(&ids).await?).zip(later) {
            found.extend(front.zip(later).map(|(front, later)| (id.as_u128(), front, later)));
        }
        let listings = round.listings.entry(place).or_default();
        listings.extend(found.iter().map(|(_, front, _)| format!("s:{}", front.head.event.source)));
        let mut arguments = vec![round.looks(), b"0".to_vec(), found.len().to_string().into_bytes()];
        for (id, front, replays) in &found {
            arguments.push(id.to_be_bytes().to_vec());
            arguments.push(front.head.event.source.as_str().as_bytes().to_vec());
            arguments.push(Place::of_id(*id).to_string().into_bytes());
            let is_old = is_before(*id, orphans_before);
            arguments.push(u8::from(is_old).to_string().into_bytes());
            arguments.extend([front.sealed.to_vec(), replays.clone()]);
        }
        self.mend_these(place, found.len(), arguments, round).await
    }

    async fn mend_these(
        &self,
        place: usize,
        rows: usize,
        arguments: Vec<Vec<u8>>,
        round: &mut Round,
    ) -> Result<(), Fault> {
        let call = Script::Mend.call(&self.space.partitions()[place].written(Vec::new()), arguments);
        let mut answers = Replies::new(self.nodes.commit(Urgency::Upkeep, call).await?.many()?);
        let mut count = || Ok::<_, Fault>(answers.next()?.number()?.max(0) as u64);
        round.mended.rows += rows as u64;
        round.mended.mended += count()?;
        round.mended.orphans += count()?;
        Ok(())
    }

    /// The next piece of an index; whether there is more of it.
    async fn sweep(&self, sweep: &mut Sweep, round: &mut Round) -> Result<bool, Fault> {
        let Sweep { place, index, behind, last } = sweep;
        let keys = &self.space.partitions()[*place];
        if let Some(ask) = index.ask_last(keys).filter(|_| last.is_none()) {
            if index.word == "ready" && !round.only_looks {
                let retired = self.retire_consumers(keys, index.key(keys)).await;
                round.mended.consumers += *retired.as_ref().unwrap_or(&0);
                round.pass(retired.map(drop))?;
            }
            let newest = self.nodes.readable(vec![ask]).await?.pop().unwrap_or(Reply::Nil);
            *last = index.read(newest)?.1;
            if last.is_none() {
                return Ok(false);
            }
        }
        let asked = self.nodes.readable(vec![index.ask(keys, behind.as_deref(), last.as_deref(), ROWS_MAX)]).await?;
        let (entries, next) = index.read(asked.into_iter().next().unwrap_or(Reply::Nil))?;
        for entries in entries.chunks(ROWS_MAX) {
            let swept = self.sweep_these(*place, index, entries, round).await;
            round.pass(swept)?;
        }
        *behind = next;
        Ok(behind.is_some())
    }

    async fn sweep_these(
        &self,
        place: usize,
        index: &Index,
        entries: &[Entry],
        round: &mut Round,
    ) -> Result<(), Fault> {
        let (word, name) = (index.word.as_bytes().to_vec(), index.name.clone().into_bytes());
        let mut arguments = vec![round.looks(), word, name, entries.len().to_string().into_bytes()];
        for (entry, id) in entries {
            arguments.extend([entry.clone(), id.clone()]);
        }
        let call = Script::Sweep.call(&self.space.partitions()[place].written(Vec::new()), arguments);
        let mut answers = Replies::new(self.nodes.commit(Urgency::Upkeep, call).await?.many()?);
        round.mended.strays += answers.next()?.number()?.max(0) as u64;
        for id in answers.next()?.many()? {
            round.mended.lost += 1;
            let id = rows::id(&id.bytes()?);
            match id {
                Ok(_) if round.only_looks => {}
                Ok(id) if index.is_of_events() => self.damage.lost(&EventId::from_u128(id)),
                Ok(id) => self.damage.lost(&DeliveryId::from_u128(id)),
                // What a stranger put there was never ours.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

fn is_before(event: u128, moment: Wall) -> bool {
    EventId::from_u128(event).minted_at() < moment
}
