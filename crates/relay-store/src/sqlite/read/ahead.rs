//! Bodies read ahead: those of what is being leased, while the disk commits the lease. Whoever asks for them next does not
//! wait for a reader.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

use relay_core::{event::Event, id::EventId, limits, storage::Leased};
use rusqlite::Connection;

use crate::sqlite::{
    fault::Fault,
    read::{book::Shelf, reader::Reads, rows},
};

/// Bytes of events that are kept until they are asked for.
const KEPT_MAX: u64 = 1024 * 1024;

/// What was read ahead. Each event is given once; what nobody has asked for goes when what is read next has no room beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    events: BTreeMap<EventId, Arc<Event>>,
    bytes: u64,
}

impl Ahead {
    /// Has the small bodies of these deliveries read, in their order, as many as are kept.
    pub(crate) fn begin(&self, reads: &Reads, shelf: &Shelf, leased: &Leased) {
        let mut bytes = 0;
        let small = leased.deliveries.iter().filter(|one| one.body_bytes <= limits::SMALL_BODY_BYTES);
        let fitting = small.take_while(|one| {
            bytes += one.body_bytes;
            bytes <= KEPT_MAX
        });
        let of: Vec<EventId> = fitting.map(|one| one.event).collect();
        if of.is_empty() {
            return;
        }
        let (ahead, shelf) = (self.clone(), shelf.clone());
        // Nobody waits for it: what did not come is read when it is asked for.
        drop(reads.read(move |db| shelf.judged(|| ahead.read(db, &shelf, &of))));
    }

    /// All of these at once, in their order; `None` if one is missing, or they may be about to come.
    pub(crate) fn take_all(&self, of: impl Iterator<Item = EventId> + Clone) -> Option<Vec<Arc<Event>>> {
        let mut kept = match self.0.try_lock() {
            Ok(kept) => kept,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        // One event may be asked for several times: for each of its deliveries.
        let events = of.clone().map(|id| kept.events.get(&id).cloned()).collect::<Option<Vec<_>>>()?;
        for id in of {
            kept.take(id);
        }
        Some(events)
    }

    /// This one, if it is here; waits for those that are being read.
    pub(crate) fn take(&self, id: EventId) -> Option<Arc<Event>> {
        self.kept().take(id)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What cannot be read is left to whoever asks for it, who says so.
    fn read(&self, db: &Connection, shelf: &Shelf, of: &[EventId]) -> Result<(), Fault> {
        let mut kept = self.kept();
        let mut statement = rows::event_statement(db)?;
        for id in of {
            match rows::event_by(&mut statement, db, id.sequence(), shelf) {
                Ok(Some(event)) if event.id == *id => kept.put(event),
                Ok(_) | Err(Fault::Damaged(_) | Fault::Later(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }
}

impl Kept {
    fn put(&mut self, event: Event) {
        let size = event.size();
        if self.bytes + size > KEPT_MAX {
            *self = Self::default();
        }
        if size <= KEPT_MAX && self.events.insert(event.id, Arc::new(event)).is_none() {
            self.bytes += size;
        }
    }

    fn take(&mut self, id: EventId) -> Option<Arc<Event>> {
        let event = self.events.remove(&id)?;
        self.bytes -= event.size();
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use relay_core::time::Wall;

    use super::*;

    fn event(n: u64, body: usize) -> Event {
        Event {
            id: id(n),
            source: "stripe".parse().expect("a name"),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook/stripe"),
            query: None,
            headers: Vec::new(),
            body: Bytes::from(vec![b'x'; body]),
            body_sha256: [0; 32],
            received_at: Wall::default(),
            name: None,
            key: None,
        }
    }

    fn id(n: u64) -> EventId {
        EventId::from_u128(u128::from(n))
    }

    /// Each is given once, all of an ask or none.
    #[test]
    fn what_is_here_is_given_once() {
        let ahead = Ahead::default();
        for n in 1..=3 {
            ahead.kept().put(event(n, 10));
        }
        assert_eq!(ahead.take_all([id(1), id(4)].into_iter()), None, "one is missing");
        let given = ahead.take_all([id(2), id(1)].into_iter()).expect("both are here");
        assert_eq!(given.iter().map(|event| event.id).collect::<Vec<_>>(), [id(2), id(1)]);
        assert_eq!((ahead.take(id(1)), ahead.kept().events.len()), (None, 1));
        assert_eq!(ahead.kept().bytes, event(3, 10).size());
    }

    /// An event that goes to several destinations is asked for once for each.
    #[test]
    fn one_event_may_be_asked_for_several_times() {
        let ahead = Ahead::default();
        ahead.kept().put(event(1, 10));
        let given = ahead.take_all([id(1), id(1), id(1)].into_iter()).expect("it is here");
        assert_eq!(given.iter().map(|event| event.id).collect::<Vec<_>>(), [id(1); 3]);
        let kept = ahead.kept();
        assert_eq!((kept.events.len(), kept.bytes), (0, 0));
    }

    /// While they are being read, who must not wait does not.
    #[test]
    fn what_is_being_read_is_not_waited_for() {
        let ahead = Ahead::default();
        ahead.kept().put(event(1, 10));
        let reading = ahead.kept();
        assert_eq!(ahead.take_all([id(1)].into_iter()), None);
        drop(reading);
        assert!(ahead.take_all([id(1)].into_iter()).is_some());
    }

    /// What nobody asks for takes no more memory than is said, and makes room for what comes.
    #[test]
    fn it_is_bounded() {
        let ahead = Ahead::default();
        for n in 1..=100 {
            ahead.kept().put(event(n, 60_000));
            let kept = ahead.kept();
            assert_eq!(kept.bytes, kept.events.values().map(|event| event.size()).sum::<u64>());
            assert!(kept.bytes <= KEPT_MAX && kept.events.contains_key(&id(n)));
        }
        ahead.kept().put(event(1_000, 2 * KEPT_MAX as usize));
        assert!(ahead.kept().bytes <= KEPT_MAX);
    }
}
