//! What is true again when a backup is put back, and what is not any more.

use std::collections::{BTreeMap, BTreeSet};

use relay_core::{
    delivery::Delivery,
    id::{DeliveryId, EventId, JobId},
    name::Name,
};
use relay_store::memory::MemoryStore;

use super::{Book, Oracle};

/// What a backup takes back with it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    made: BTreeMap<Name, u64>,
    reaches: BTreeMap<EventId, BTreeSet<Name>>,
    cancelled: BTreeSet<DeliveryId>,
    by_hand: BTreeSet<DeliveryId>,
    retired: BTreeSet<(EventId, Name)>,
    forgotten: BTreeSet<EventId>,
    commands: BTreeMap<JobId, BTreeSet<DeliveryId>>,
    replays: BTreeMap<JobId, BTreeSet<(EventId, Name)>>,
    over: BTreeSet<JobId>,
}

impl Oracle {
    /// A backup was taken: it holds one moment, whole (I18).
    pub(crate) fn backed_up(&mut self, copy: &MemoryStore) {
        self.check_store(copy);
        self.backup = Some(Kept {
            made: self.made.clone(),
            reaches: self.reaches.clone(),
            cancelled: self.cancelled.clone(),
            by_hand: self.by_hand.clone(),
            retired: self.retired.clone(),
            forgotten: self.forgotten.clone(),
            commands: self.commands.clone(),
            replays: self.replays.clone(),
            over: self.over.clone(),
        });
    }

    /// It was put back. What happened since is the time of which nobody knows: events of it are missing, and what was
    /// delivered in it goes out once more.
    pub(crate) fn restored(&mut self, store: &MemoryStore) {
        let Some(kept) = self.backup.take() else { return };
        Kept {
            made: self.made,
            reaches: self.reaches,
            cancelled: self.cancelled,
            by_hand: self.by_hand,
            retired: self.retired,
            forgotten: self.forgotten,
            commands: self.commands,
            replays: self.replays,
            over: self.over,
        } = kept;
        self.promised.retain(|event| store.holds_event(*event));
        self.vouched.retain(|event| store.holds_event(*event));
        self.keyed.retain(|_, event| store.holds_event(*event));
        self.owed.clear();
        let excused: BTreeMap<DeliveryId, u32> = self.books.iter().map(|(id, book)| (*id, book.excused)).collect();
        let book = |found: Delivery| {
            let lease_ends = found.lease.iter().map(|lease| (found.token, lease.until)).collect();
            let excused = excused.get(&found.id).copied().unwrap_or_default() + 1;
            (found.id, Book { due_at: found.due_at, lease_ends, excused })
        };
        let books = store.deliveries().into_iter().map(book).collect();
        let before = std::mem::replace(&mut self.books, books);
        self.renumbered.extend(before.keys().copied());
        self.taken_back.extend(before.into_keys().filter(|id| !self.books.contains_key(id)));
    }
}
