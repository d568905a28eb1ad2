//! What only tests may do: reach into the store past everybody who asks it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use relay_core::{
    delivery::{Change, Delivery},
    event::Event,
    id::{COUNTER_BITS, DeliveryId, EventId, Partition},
    partitions::Partitions,
    storage::{Changed, HeldAsk, LeaseAsk, Leased, StoreError},
    time::Wall,
};

use super::{Inner, MemoryStore, Trouble};

/// How long a look-up that took too long says it took.
const TOO_LONG: Duration = Duration::from_secs(1);

impl MemoryStore {
    /// Puts a record in the place of the one of this id, or beside the others.
    pub fn put(&self, record: Delivery) {
        let mut inner = self.lock();
        if inner.disk.deliveries.contains_key(&record.id) {
            inner.disk.replace(record);
        } else {
            inner.disk.create(record);
        }
    }

    /// Removes all deliveries and events.
    pub fn purge_all(&self) {
        let mut inner = self.lock();
        let ids: Vec<DeliveryId> = inner.disk.deliveries.keys().copied().collect();
        for id in ids {
            inner.disk.retire(id);
        }
    }

    /// Removes one delivery, and its event with the last of them.
    pub fn purge(&self, id: DeliveryId) {
        self.lock().disk.retire(id);
    }

    /// A copy of what is durable at this moment, as a backup holds it.
    #[must_use]
    pub fn copy(&self) -> Self {
        let inner = self.lock();
        let (disk, now) = (inner.disk.clone(), inner.now);
        Self { inner: Arc::new(Mutex::new(Inner { disk, now, ..Inner::default() })) }
    }

    /// As a restore puts such a copy back: no id of the time since is given out again.
    #[must_use]
    pub fn restored(&self, at: Wall) -> Self {
        let restored = self.copy();
        let mut inner = restored.lock();
        inner.disk.id_floor = inner.disk.id_floor.max((at.as_millis() as i64) << COUNTER_BITS);
        drop(inner);
        restored
    }

    /// These records do not read: [`held`](crate::seam::Queue::held) passes over them, and a look-up or a settlement that
    /// meets one fails as a whole.
    pub fn set_damaged(&self, damaged: BTreeSet<DeliveryId>) {
        self.lock().damaged = damaged;
    }

    /// A look-up of more than so many takes too long.
    pub fn set_finds_most(&self, most: Option<usize>) {
        self.lock().finds_most = most;
    }

    /// One event, at once.
    pub fn event_now(&self, id: EventId) -> Option<Arc<Event>> {
        self.lock().disk.events.get(&id).cloned()
    }

    /// What is in these partitions is away, and the rest goes on.
    pub fn set_away(&self, away: Option<Partitions>) {
        self.lock().away = away;
    }

    /// # Errors
    /// One of these is away.
    pub(super) fn are_there(&self, of: impl IntoIterator<Item = Partition>) -> Result<(), StoreError> {
        let away = self.lock().away;
        let is_away = |partition| away.is_some_and(|away| away.hold(partition));
        if of.into_iter().any(is_away) { Err(StoreError::Away) } else { Ok(()) }
    }

    /// Leases from the partitions that are there: what waits in the others is as if there were nothing.
    pub(super) fn lease_there(&self, ask: &LeaseAsk) -> Result<Leased, StoreError> {
        let away = self.lock().away;
        self.write(Trouble::Lease, |disk| disk.lease(ask, away))
    }

    pub(super) fn settle_all(&self, batch: Vec<Change>) -> Result<Vec<Changed>, StoreError> {
        self.are_there(batch.iter().map(|change| change.next.id.partition()))?;
        self.read_past_damage(batch.iter().map(|change| change.next.id))?;
        self.write(Trouble::Settle, |disk| disk.settle(batch))
    }

    pub(super) fn find_all(&self, ids: &[DeliveryId]) -> Result<Vec<Option<Delivery>>, StoreError> {
        if self.lock().finds_most.is_some_and(|most| ids.len() > most) {
            return Err(StoreError::TooSlow { after: TOO_LONG });
        }
        self.are_there(ids.iter().map(|id| id.partition()))?;
        self.read_past_damage(ids.iter().copied())?;
        self.read(Trouble::Find, |disk| disk.find(ids))
    }

    pub(super) fn held_behind(&self, ask: HeldAsk) -> Result<Vec<Delivery>, StoreError> {
        let away = self.lock().away;
        let is_asked = |place: u16, away: Partitions| {
            ask.partitions.count() != away.count() || ask.partitions.places().any(|asked| asked == place)
        };
        if away.is_some_and(|away| away.places().any(|place| is_asked(place, away))) {
            return Err(StoreError::Away);
        }
        let mut held = self.read(Trouble::Held, |disk| disk.held(ask))?;
        let inner = self.lock();
        held.retain(|delivery| !inner.damaged.contains(&delivery.id));
        Ok(held)
    }

    fn read_past_damage(&self, mut ids: impl Iterator<Item = DeliveryId>) -> Result<(), StoreError> {
        let inner = self.lock();
        let meets = !inner.damaged.is_empty() && ids.any(|id| inner.damaged.contains(&id));
        if meets { Err(StoreError::Damaged { what: "bits".into() }) } else { Ok(()) }
    }
}
