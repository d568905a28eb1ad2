//! Pages of events and deliveries. Reads everything behind the cursor: fine for what a test holds.

use std::sync::Arc;

use std::cmp::Reverse;

use bytes::Bytes;
use relay_core::{delivery::Delivery, event::Event, id::EventId, name::Name, time::Wall};

use super::disk::Disk;
use crate::seam::{
    AuditEntry, AuditFilter, DeliveryFilter, EventFilter, EventRow, Listing, NameCount, NameCounts, Page, WholeEvent,
    WholePage,
};

impl Disk {
    /// A page of events, newest first.
    pub(super) fn browse_events(&self, filter: &EventFilter, page: &Page) -> Listing<EventRow> {
        let matching = self.matching(filter, page);
        listing(matching.map(|event| self.row(event)), page, |row| row.event.id.to_string())
    }

    /// The same with their bodies.
    pub(super) fn browse_whole(&self, filter: &EventFilter, page: &Page, bytes_max: u64) -> WholePage {
        let whole = |event: &Arc<Event>| WholeEvent { event: Arc::clone(event), cursor: event.id.to_string() };
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut matching = self.matching(filter, page).map(whole);
        while bytes < bytes_max
            && items.len() < page.limit.clamp(1, 1_000) as usize
            && let Some(whole) = matching.next()
        {
            bytes += whole.event.body.len() as u64;
            items.push(whole);
        }
        let next = items.last().filter(|_| matching.next().is_some()).map(|last| last.cursor.clone());
        WholePage { items, passed: 0, next }
    }

    fn matching<'a>(&'a self, filter: &'a EventFilter, page: &Page) -> impl Iterator<Item = &'a Arc<Event>> {
        let behind = cursor::<EventId>(page);
        let ordered: Box<dyn Iterator<Item = &Arc<Event>>> =
            if filter.oldest_first { Box::new(self.events.values()) } else { Box::new(self.events.values().rev()) };
        let is_behind = move |event: &Event, behind: EventId| {
            if filter.oldest_first { event.id > behind } else { event.id < behind }
        };
        ordered.filter(move |event| {
            behind.is_none_or(|behind| is_behind(event, behind))
                && filter.source.as_ref().is_none_or(|source| event.source == *source)
                && filter.name.as_ref().is_none_or(|name| name.matches(event.name.as_deref().unwrap_or_default()))
                && filter.range.contains(event.id.minted_at())
        })
    }

    /// The events that hold these dedupe keys of a source.
    pub(super) fn by_key(&self, source: &Name, keys: &[[u8; 32]]) -> Vec<EventRow> {
        let mut found: Vec<EventRow> = Vec::new();
        let taken = keys.iter().filter_map(|key| self.keys.get(&(source.clone(), *key)));
        for event in taken.filter_map(|taken| self.events.get(&taken.event)) {
            if found.iter().all(|row| row.event.id != event.id) {
                found.push(self.row(event));
            }
        }
        found
    }

    pub(super) fn row(&self, event: &Event) -> EventRow {
        EventRow {
            event: Event { body: Bytes::new(), ..event.clone() }.into(),
            body_bytes: event.body.len() as u64,
            deliveries: self.of_event(event.id).cloned().collect(),
        }
    }

    /// How many events of each name a source has.
    pub(super) fn event_names(&self, source: &Name) -> NameCounts {
        let mut names: Vec<NameCount> = Vec::new();
        for event in self.events.values().filter(|event| event.source == *source && event.name.is_some()) {
            let minute = event.id.minted_at().as_millis() / 60_000 * 60_000;
            let last = Wall::from_micros(minute as i64 * 1000);
            match names.iter_mut().find(|known| known.name == event.name) {
                Some(known) => (known.events, known.last) = (known.events + 1, known.last.max(last)),
                None => names.push(NameCount { name: event.name.clone(), events: 1, last }),
            }
        }
        names.sort_by(|one, other| other.events.cmp(&one.events).then_with(|| one.name.cmp(&other.name)));
        NameCounts { names, since: None }
    }

    /// A page of the audit log, newest first.
    pub(super) fn browse_audit(&self, filter: &AuditFilter, page: &Page) -> Listing<AuditEntry> {
        let behind = cursor::<usize>(page);
        let matching = self.audit.iter().enumerate().rev();
        let matching =
            matching.filter(|(place, entry)| behind.is_none_or(|behind| *place < behind) && filter.holds(entry));
        let listed = listing(matching, page, |(place, _)| place.to_string());
        Listing { items: listed.items.into_iter().map(|(_, entry)| entry.clone()).collect(), next: listed.next }
    }

    /// A page of deliveries, newest first.
    pub(super) fn browse_deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Listing<Delivery> {
        let behind = page.cursor.as_deref().and_then(place);
        listing(self.ordered(filter, behind).into_iter().cloned(), page, |found| text_of(place_of(filter, found)))
    }

    /// The deliveries that match behind a place, in the order they come in.
    pub(super) fn ordered(&self, filter: &DeliveryFilter, behind: Option<Place>) -> Vec<&Delivery> {
        let comes = |found: &&Delivery| behind.is_none_or(|behind| place_of(filter, found) < behind);
        let mut found: Vec<&Delivery> =
            self.deliveries.values().filter(|found| filter.matches(found)).filter(comes).collect();
        found.sort_unstable_by_key(|found| Reverse(place_of(filter, found)));
        found
    }
}

/// Where a delivery stands in a listing: by its id, or by when it ended and then by its id.
pub(super) type Place = (i64, i64);

/// Where it stands in the listing of a filter.
pub(super) fn place_of(filter: &DeliveryFilter, found: &Delivery) -> Place {
    let seq = found.id.sequence();
    (if filter.comes_by_end() { found.changed_at.as_micros() } else { seq }, seq)
}

/// The cursor of a place.
pub(super) fn text_of((at, seq): Place) -> String {
    format!("{at}.{seq}")
}

/// The place of a cursor. Text that no page gave out is none.
pub(super) fn place(cursor: &str) -> Option<Place> {
    let (at, seq) = cursor.split_once('.')?;
    Some((at.parse().ok()?, seq.parse().ok()?))
}

/// Where the page starts. Text that no page gave out starts at the newest.
pub(super) fn cursor<T: std::str::FromStr>(page: &Page) -> Option<T> {
    page.cursor.as_ref()?.parse().ok()
}

pub(super) fn listing<T>(
    mut rows: impl Iterator<Item = T>,
    page: &Page,
    cursor_of: impl Fn(&T) -> String,
) -> Listing<T> {
    let items: Vec<T> = rows.by_ref().take(page.limit.clamp(1, 1_000) as usize).collect();
    let more = rows.next().is_some();
    let next = items.last().filter(|_| more).map(cursor_of);
    Listing { items, next }
}
