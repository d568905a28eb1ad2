//! What events can be found by.

use std::collections::BTreeSet;

use relay_core::{
    id::EventId,
    name::Name,
    storage::{Indexed, MarkedAsk, MarkedPage, Marking},
};

use super::{
    browse::{cursor, listing},
    disk::Disk,
    slot::Slot,
};

impl Disk {
    /// Writes rows of events that are there, in slots that nobody else has.
    pub(super) fn mark(&mut self, marking: Marking) {
        let mut open = Vec::new();
        for reach in marking.reach {
            let key = (marking.source.clone(), reach.marker.slot);
            let empty = || Slot { indexed: reach.clone(), rows: BTreeSet::new() };
            let slot = self.slots.entry(key).or_insert_with(empty);
            if slot.indexed.marker == reach.marker {
                self.latest = self.latest.max(reach.to);
                slot.indexed.from = slot.indexed.from.min(reach.from);
                slot.indexed.to = slot.indexed.to.max(reach.to);
                open.push(reach.marker.slot);
            }
        }
        for event in
            marking.events.iter().filter(|event| self.events.get(&event.id).is_some_and(|one| !one.is_erased()))
        {
            for (slot, value) in event.values.iter().filter(|(slot, _)| open.contains(slot)) {
                if let Some(slot) = self.slots.get_mut(&(marking.source.clone(), *slot)) {
                    slot.rows.insert((*value, event.id));
                }
            }
        }
    }

    /// Removes all of a slot at once.
    pub(super) fn unmark(&mut self, source: Name, slot: u8) -> bool {
        self.slots.remove(&(source, slot));
        false
    }

    /// Removes the rows of an event.
    pub(super) fn unmark_event(&mut self, id: EventId) {
        for slot in self.slots.values_mut() {
            slot.rows.retain(|(_, event)| *event != id);
        }
    }

    /// A page of those that have a value.
    pub(super) fn marked(&self, ask: &MarkedAsk) -> MarkedPage {
        let slot = self.slots.get(&(ask.source.clone(), ask.marker.slot));
        let Some(slot) = slot.filter(|slot| slot.indexed.marker == ask.marker) else { return MarkedPage::default() };
        let behind = cursor::<EventId>(&ask.page);
        let of_value = slot.rows.range((ask.value, EventId::from_u128(0))..=(ask.value, EventId::from_u128(u128::MAX)));
        let is_behind = |id: &EventId| behind.is_none_or(|behind| *id < behind);
        let ids = of_value.rev().map(|(_, id)| *id).filter(is_behind);
        let rows =
            ids.filter(|id| self.is_whole(id)).filter_map(|id| self.events.get(&id)).map(|event| self.row(event));
        let listed = listing(rows, &ask.page, |row| row.event.id.to_string());
        MarkedPage { indexed: Some(slot.indexed.clone()), items: listed.items, next: listed.next }
    }

    /// How far all of them go.
    pub(super) fn indexed(&self) -> Vec<Indexed> {
        self.slots.values().map(|slot| slot.indexed.clone()).collect()
    }
}
