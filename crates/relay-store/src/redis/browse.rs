//! Pages of deliveries and events, and the names of events.

use std::sync::Arc;

use bytes::Bytes;
use relay_core::{
    delivery::Delivery,
    event::Event,
    id::{DeliveryId, EventId, Partition},
    name::Name,
    storage::{DeliveryFilter, EventFilter, EventRow, Listing, NameCount, NameCounts, Page, WholeEvent, WholePage},
    time::Wall,
};

use super::{
    Core,
    client::Command,
    dedupe,
    event::{self, Front},
    events::Seen,
    keys::Keys,
    listing::{At, Listed, Walk},
    reply::Fault,
};

/// Looked at for one page: where little matches it may be short.
const LOOK_MAX: usize = 2_048;
/// Events whose names are counted.
const NAMES_LOOK_MAX: usize = 10_000;
const MINUTE: i64 = 60_000_000;

impl Core {
    /// A page of deliveries, newest first.
    pub(super) async fn browse_deliveries(
        &self,
        filter: &DeliveryFilter,
        page: &Page,
    ) -> Result<Listing<Delivery>, Fault> {
        if let Some(event) = filter.event {
            return self.browse_event(event, filter, page).await;
        }
        let by_end = filter.comes_by_end();
        let unit = |at: Wall| if by_end { at.as_micros().max(0) as u64 } else { millis_up(at) };
        let mut walk = Walk::new(self.shelves(filter, by_end).await?)
            .between(filter.range.since.map(unit), filter.range.until.map(unit))
            .behind(page.cursor.as_deref().and_then(At::read));
        let limit = page.limit.clamp(1, 1_000) as usize;
        let mut filling = Filling::new(limit);
        loop {
            let found = self.chunk(&mut walk).await?;
            let ids: Vec<DeliveryId> = found.iter().map(|at| DeliveryId::from_u128(at.id())).collect();
            let rows = self.find(&ids).await?.into_iter().map(|row| row.filter(|row| filter.matches(row)));
            if let Some(listing) = filling.take(&found, rows.collect()) {
                return Ok(listing);
            }
        }
    }

    /// All of one event: few.
    async fn browse_event(
        &self,
        event: EventId,
        filter: &DeliveryFilter,
        page: &Page,
    ) -> Result<Listing<Delivery>, Fault> {
        let behind = page.cursor.as_deref().and_then(|cursor| u128::from_str_radix(cursor, 16).ok());
        let mut found = self.of_event(event).await?;
        found.retain(|found| filter.matches(found) && behind.is_none_or(|behind| found.id.as_u128() < behind));
        found.reverse();
        let limit = page.limit.clamp(1, 1_000) as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|found| format!("{:x}", found.id.as_u128()));
        Ok(Listing { items: found, next })
    }

    /// What has the deliveries of a filter, in its order.
    async fn shelves(&self, filter: &DeliveryFilter, by_end: bool) -> Result<Vec<Listed>, Fault> {
        let mut shelves = Vec::new();
        for (keys, counters) in self.space.partitions().iter().zip(self.counters().await?) {
            let of = |name: &&Name| filter.destination.as_ref().is_none_or(|wanted| wanted == *name);
            for destination in counters.destinations.keys().filter(of) {
                if by_end {
                    shelves.push(Listed::Ended(keys.ended(destination)));
                } else {
                    shelves.push(Listed::Made(keys.made(destination)));
                    shelves.push(Listed::Stream(keys.log(destination)));
                }
            }
        }
        Ok(shelves)
    }

    async fn walk_events(&self, filter: &EventFilter, page: &Page) -> Result<Walk, Fault> {
        let walk = Walk::new(self.event_shelves(filter.source.as_ref()).await?)
            .oldest_first(filter.oldest_first)
            .between(filter.range.since.map(millis_up), filter.range.until.map(millis_up));
        Ok(walk.behind(page.cursor.as_deref().and_then(At::read)))
    }

    /// A page of events.
    pub(super) async fn browse_events(&self, filter: &EventFilter, page: &Page) -> Result<Listing<EventRow>, Fault> {
        let mut walk = self.walk_events(filter, page).await?;
        let limit = page.limit.clamp(1, 1_000) as usize;
        let mut filling = Filling::new(limit);
        let Listing { items, next } = loop {
            let found = self.chunk(&mut walk).await?;
            let ids: Vec<EventId> = found.iter().map(|at| EventId::from_u128(at.id())).collect();
            let fronts = self.fronts(&ids).await?.into_iter();
            let fronts = fronts.map(|front| front.filter(|front| holds(filter, &front.head.event)));
            if let Some(listing) = filling.take(&found, fronts.collect()) {
                break listing;
            }
        };
        Ok(Listing { items: self.event_rows(items).await?, next })
    }

    /// The same with their bodies, as far as those come to so many bytes: heads first, which say how many.
    pub(super) async fn browse_whole(
        &self,
        filter: &EventFilter,
        page: &Page,
        bytes_max: u64,
    ) -> Result<WholePage, Fault> {
        let mut walk = self.walk_events(filter, page).await?;
        let limit = page.limit.clamp(1, 1_000) as usize;
        let (mut wanted, mut bytes, mut looked): (Vec<At>, u64, usize) = (Vec::new(), 0, 0);
        let mut passed = 0;
        let next = 'filled: loop {
            let found = self.chunk(&mut walk).await?;
            let Some(last) = found.last().copied() else { break None };
            let ids: Vec<EventId> = found.iter().map(|at| EventId::from_u128(at.id())).collect();
            for (at, seen) in found.iter().zip(self.seen(&ids).await?) {
                passed += u64::from(matches!(seen, Seen::Damaged));
                let Some(front) = seen.whole().filter(|front| holds(filter, &front.head.event)) else { continue };
                if wanted.len() == limit || bytes >= bytes_max {
                    break 'filled wanted.last().copied();
                }
                wanted.push(*at);
                bytes += front.head.body_bytes;
            }
            looked += found.len();
            if looked >= LOOK_MAX {
                break Some(last);
            }
        };
        let (items, damaged) = self.wholes(&wanted).await?;
        Ok(WholePage { items, passed: passed + damaged, next: next.map(At::text) })
    }

    /// Those that are there and read, and how many do not read.
    async fn wholes(&self, of: &[At]) -> Result<(Vec<WholeEvent>, u64), Fault> {
        let of: Vec<(EventId, At)> = of.iter().map(|at| (EventId::from_u128(at.id()), *at)).collect();
        let get = |(id, _): &(EventId, At)| Command::new("GET").arg(self.space.of_event(*id).event(*id));
        let replies = self.nodes.readable(of.iter().map(get).collect()).await?;
        let (mut items, mut damaged) = (Vec::with_capacity(of.len()), 0);
        for ((id, at), reply) in of.into_iter().zip(replies) {
            let Some(value) = reply.maybe_bytes()?.map(Bytes::from) else { continue };
            let event = self.damage.passed(&id, event::read(id, &value, self.ciphers()));
            damaged += u64::from(event.is_none());
            items.extend(event.map(|event| WholeEvent { event, cursor: at.text() }));
        }
        Ok((items, damaged))
    }

    async fn event_rows(&self, fronts: Vec<Front>) -> Result<Vec<EventRow>, Fault> {
        let fronts: Vec<(EventId, Front)> = fronts.into_iter().map(|front| (front.head.event.id, front)).collect();
        let deliveries = self.of_events(&fronts).await?;
        let row = |((_, front), deliveries): ((EventId, Front), Vec<Delivery>)| EventRow {
            body_bytes: front.head.body_bytes,
            event: Arc::new(front.head.event),
            deliveries,
        };
        Ok(fronts.into_iter().zip(deliveries).map(row).collect())
    }

    /// The events that hold these dedupe keys of a source: each is in the partition of its key.
    pub(super) async fn by_key(&self, source: &Name, keys: &[[u8; 32]]) -> Result<Vec<EventRow>, Fault> {
        let of = |key: &[u8; 32]| &self.space.partitions()[self.space.place(Partition::of_digest(key))];
        let get = |key: &[u8; 32]| Command::new("GET").arg(of(key).dedupe(source, key));
        let entries = self.nodes.readable(keys.iter().map(get).collect()).await?;
        let mut ids: Vec<EventId> = Vec::new();
        for (key, entry) in keys.iter().zip(entries) {
            let Some(entry) = entry.maybe_bytes()? else { continue };
            let what = format_args!("a dedupe key of {source}");
            let taken = self.damage.passed(&what, dedupe::sealed(source, key, &entry));
            ids.extend(taken.map(|taken| taken.event).filter(|id| !ids.contains(id)));
        }
        let fronts = self.fronts(&ids).await?.into_iter().flatten().collect();
        self.event_rows(fronts).await
    }

    async fn event_shelves(&self, source: Option<&Name>) -> Result<Vec<Listed>, Fault> {
        let mut shelves = Vec::new();
        for (keys, counters) in self.space.partitions().iter().zip(self.counters().await?) {
            let of = counters.sources.keys().filter(|name| source.is_none_or(|wanted| wanted == *name));
            shelves.extend(of.map(|name| Listed::Stream(Keys::source(keys, name))));
        }
        Ok(shelves)
    }

    /// How many events of each name a source has, among the newest.
    pub(super) async fn event_names(&self, source: &Name) -> Result<NameCounts, Fault> {
        let mut walk = Walk::new(self.event_shelves(Some(source)).await?);
        let mut names: Vec<NameCount> = Vec::new();
        let mut looked = 0;
        let mut since = None;
        while let Some(ids) = self.next_of(&mut walk).await? {
            let ids: Vec<EventId> = ids.into_iter().map(EventId::from_u128).collect();
            if looked >= NAMES_LOOK_MAX {
                since = ids.first().map(|id| minute(id.minted_at()));
                break;
            }
            looked += ids.len();
            for front in self.fronts(&ids).await?.into_iter().flatten() {
                let event = front.head.event;
                let last = minute(event.id.minted_at());
                let Some(name) = event.name else { continue };
                match names.iter_mut().find(|known| known.name.as_ref() == Some(&name)) {
                    Some(known) => (known.events, known.last) = (known.events + 1, known.last.max(last)),
                    None => names.push(NameCount { name: Some(name), events: 1, last }),
                }
            }
        }
        names.sort_by(|one, other| other.events.cmp(&one.events).then_with(|| one.name.cmp(&other.name)));
        Ok(NameCounts { names, since })
    }
}

/// A page that is being filled.
struct Filling<T> {
    items: Vec<T>,
    limit: usize,
    looked: usize,
    /// Where the last of it stands.
    last: Option<At>,
}

impl<T> Filling<T> {
    fn new(limit: usize) -> Self {
        Self { items: Vec::new(), limit, looked: 0, last: None }
    }

    /// Takes what matches of what was found; gives the page once it is full, or long enough was looked for it.
    fn take(&mut self, found: &[At], rows: Vec<Option<T>>) -> Option<Listing<T>> {
        if found.is_empty() {
            return Some(self.listing(None));
        }
        for (at, row) in found.iter().zip(rows) {
            let Some(row) = row else { continue };
            if self.items.len() == self.limit {
                return Some(self.listing(self.last));
            }
            self.items.push(row);
            self.last = Some(*at);
        }
        self.looked += found.len();
        (self.looked >= LOOK_MAX).then(|| self.listing(found.last().copied()))
    }

    fn listing(&mut self, next: Option<At>) -> Listing<T> {
        Listing { items: std::mem::take(&mut self.items), next: next.map(At::text) }
    }
}

/// The first whole millisecond from then on.
fn millis_up(at: Wall) -> u64 {
    (at.as_micros().max(0) as u64).div_ceil(1_000)
}

fn minute(at: Wall) -> Wall {
    Wall::from_micros(at.as_micros() / MINUTE * MINUTE)
}

fn holds(filter: &EventFilter, event: &Event) -> bool {
    filter.name.as_ref().is_none_or(|name| name.matches(event.name.as_deref().unwrap_or_default()))
        && filter.range.contains(event.id.minted_at())
}
