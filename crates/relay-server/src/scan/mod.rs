//! Looks through what is stored for a text, or for what stands at a place of JSON bodies: no index has those, so each body is read.
//!
//! **Invariant:** one at a time, also where whoever asked has gone: his look ends behind the read that is under way, and until then nobody else
//! looks. It rests as long as it reads, in short reads that leases wait for no longer than for any other; it says how far it came, and
//! goes on only when it is asked to.

pub(crate) mod json_path;
pub(crate) mod needle;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use relay_core::{
    event::Event,
    storage::{EventFilter, EventRow, Page, StoreError, WholeEvent},
    time::Wall,
};
use relay_store::seam::Archive;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use self::needle::{Has, Needle};

/// Events that one look reads, at most.
const EVENTS_MAX: u64 = 20_000;
/// A look goes on for so long, at most, and then to the end of what it reads.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Of one read; of one that is too slow a tenth.
const PAGE_EVENTS: u32 = 200;
/// Of one read, and then to the end of a body.
const PAGE_BYTES: u64 = 1 << 20;
/// Decoded of one read, and then to the end of a body.
const PAGE_DECODED: usize = 16 << 20;

/// Looks through what is stored, for one at a time.
pub(crate) struct Scans {
    archive: Arc<dyn Archive>,
    turn: Arc<Semaphore>,
    /// Events that one look reads, at most.
    events_max: u64,
    /// How long one look goes on.
    time_max: Duration,
}

/// Nobody else looks as long as it is there.
pub(crate) struct Turn(OwnedSemaphorePermit);

/// What is looked for, where, and from where on.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// In these events.
    pub(crate) filter: EventFilter,
    /// This.
    pub(crate) needle: Needle,
    /// Behind that.
    pub(crate) cursor: Option<String>,
    /// It ends with so many that have it.
    pub(crate) found_max: usize,
}

/// What one look found, and how far it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    /// Those that have it, in the order of the filter, without their bodies; nobody has looked up their deliveries.
    pub(crate) found: Vec<EventRow>,
    /// It read so many.
    pub(crate) read: u64,
    /// Of so many nobody knows whether they have it.
    pub(crate) unread: u64,
    /// The last that it read was received then.
    pub(crate) reached: Option<Wall>,
    /// Where it may go on; `None`: that was all.
    pub(crate) next: Option<String>,
}

/// Why nothing was looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// One is under way.
    #[error("bodies are being looked through already, and one look at a time reads them")]
    Busy,
    /// There is no room for bodies.
    #[error("as many bodies are being read as there may be")]
    NoRoom,
    /// The store does not tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Scans {
    pub(crate) fn new(archive: Arc<dyn Archive>) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self { archive, turn, events_max: EVENTS_MAX, time_max: TIME_MAX }
    }

    /// The right to look.
    ///
    /// # Errors
    /// Somebody looks.
    pub(crate) fn turn(&self) -> Result<Turn, ScanError> {
        Arc::clone(&self.turn).try_acquire_owned().map(Turn).map_err(|_| ScanError::Busy)
    }

    /// Looks as far as one look goes. `room` bounds whole events that are in memory for whoever looks.
    ///
    /// Cancel safety: the look ends by itself, behind what it reads at the time, and keeps its turn and its room until then.
    ///
    /// # Errors
    /// The store does not tell, and nothing was read before that.
    pub(crate) async fn look(&self, turn: Turn, look: Look, room: &Arc<Semaphore>) -> Result<Looked, ScanError> {
        let asker = Asker::default();
        let run = Run {
            archive: Arc::clone(&self.archive),
            room: Arc::clone(room),
            events_max: self.events_max,
            ends_at: Instant::now() + self.time_max,
            is_gone: Arc::clone(&asker.0),
            look,
        };
        let running = tokio::spawn(async move {
            let looked = run.to_its_end().await;
            drop(turn.0);
            looked
        });
        running.await.unwrap_or(Err(ScanError::Store(StoreError::Unavailable)))
    }
}

/// Whoever waits for a look; when that is dropped he has gone.
#[derive(Default)]
struct Asker(Arc<AtomicBool>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A look under way.
struct Run {
    archive: Arc<dyn Archive>,
    room: Arc<Semaphore>,
    events_max: u64,
    ends_at: Instant,
    is_gone: Arc<AtomicBool>,
    look: Look,
}

/// What was judged of a page.
#[derive(Default)]
struct Judged {
    looked: Looked,
    /// It ended behind that, before the page did.
    behind: Option<String>,
}

impl Run {
    async fn to_its_end(&self) -> Result<Looked, ScanError> {
        let (mut looked, mut size) = (Looked { next: self.look.cursor.clone(), ..Looked::default() }, PAGE_EVENTS);
        loop {
            let begun = Instant::now();
            let left = u32::try_from(self.events_max - looked.read).unwrap_or(size);
            match self.read_on(&mut looked, size.min(left)).await {
                Ok(()) => {
                    let is_over = looked.next.is_none() || looked.found.len() >= self.look.found_max;
                    if is_over || looked.read >= self.events_max || self.has_ended() {
                        return Ok(looked);
                    }
                }
                Err(ScanError::Store(error)) if error.wants_less() && size > 1 => size = (size / 10).max(1),
                // What was found is not lost by what comes behind it; whoever goes on from there is told.
                Err(_) if looked.read > 0 => return Ok(looked),
                Err(error) => return Err(error),
            }
            sleep(begun.elapsed()).await;
        }
    }

    fn has_ended(&self) -> bool {
        Instant::now() >= self.ends_at || self.is_gone.load(Ordering::Relaxed)
    }

    /// Reads one page, or as much of it as is wanted. On an error nothing has changed.
    async fn read_on(&self, looked: &mut Looked, size: u32) -> Result<(), ScanError> {
        let room = timeout(TIME_MAX, Arc::clone(&self.room).acquire_owned()).await;
        let held = room.ok().and_then(Result::ok).ok_or(ScanError::NoRoom)?;
        let page = Page { cursor: looked.next.clone(), limit: size };
        let page = self.archive.browse_whole(self.look.filter.clone(), page, PAGE_BYTES).await?;
        let (needle, wanted) = (self.look.needle.clone(), self.look.found_max - looked.found.len());
        let (ends_at, is_gone) = (self.ends_at, Arc::clone(&self.is_gone));
        let items = page.items;
        // Where that holds up nobody: bodies are parsed, and decoded.
        let judged = tokio::task::spawn_blocking(move || {
            judge(items, &needle, wanted, || Instant::now() >= ends_at || is_gone.load(Ordering::Relaxed))
        });
        let Judged { looked: new, behind } = judged.await.map_err(|_| StoreError::Unavailable)?;
        drop(held);
        looked.found.extend(new.found);
        looked.read += new.read;
        looked.unread += new.unread;
        looked.reached = new.reached.or(looked.reached);
        if behind.is_none() {
            looked.read += page.passed;
            looked.unread += page.passed;
        }
        looked.next = behind.or(page.next);
        Ok(())
    }
}

/// Judges one after the other, at least one, until enough are found or enough was done.
fn judge(items: Vec<WholeEvent>, needle: &Needle, wanted: usize, is_over: impl Fn() -> bool) -> Judged {
    let (mut judged, mut budget) = (Judged::default(), PAGE_DECODED);
    let count = items.len();
    for (place, WholeEvent { event, cursor }) in items.into_iter().enumerate() {
        let looked = &mut judged.looked;
        looked.read += 1;
        looked.reached = Some(event.received_at);
        match needle.is_in(&event, &mut budget) {
            Has::Yes => looked.found.push(row(&event)),
            Has::Unread => looked.unread += 1,
            Has::No => {}
        }
        let is_enough = looked.found.len() >= wanted || budget == 0 || is_over();
        if is_enough && place + 1 < count {
            judged.behind = Some(cursor);
            break;
        }
    }
    judged
}

/// The event without its body, and without the memory that it shares with that.
fn row(event: &Event) -> EventRow {
    let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let head = Event {
        method: own(&event.method),
        path: own(&event.path),
        query: event.query.as_ref().map(own),
        headers: event.headers.iter().map(|(name, value)| (own(name), own(value))).collect(),
        body: Bytes::new(),
        ..event.clone()
    };
    EventRow { event: Arc::new(head), body_bytes: event.body.len() as u64, deliveries: Vec::new() }
}

#[cfg(test)]
mod tests {
    use relay_core::id::IdMint;
    use relay_store::{
        memory::{MemoryStore, Trouble},
        seam::Queue as _,
    };

    use super::*;
    use crate::tests::{append, event};

    /// A store of events `0` to `count - 1`, the newest of which is the last.
    async fn filled(count: u64) -> Arc<MemoryStore> {
        let (store, mut mint) = (Arc::new(MemoryStore::new()), IdMint::new(0, 7));
        for number in 0..count {
            let at = Wall::from_micros(1_700_000_000_000_000) + Duration::from_secs(number);
            let body = format!(r#"{{"number":{number}}}"#).into();
            let event = Event { body, ..event(&mut mint, at, "shop") };
            assert!(store.append(vec![append(event, Vec::new())]).await.iter().all(Result::is_ok));
        }
        store
    }

    fn look(needle: &str, cursor: Option<String>, found_max: usize) -> Look {
        let needle = Needle::Json(needle.parse().unwrap());
        Look { filter: EventFilter::default(), needle, cursor, found_max }
    }

    #[tokio::test]
    async fn a_look_is_bounded_and_goes_on_where_it_was() {
        let scans = Scans { events_max: 300, ..Scans::new(filled(700).await) };
        let room = Arc::new(Semaphore::new(1));
        let (mut cursor, mut read, mut found) = (None, Vec::new(), Vec::new());
        loop {
            let looked = scans.look(scans.turn().unwrap(), look("$.number=3", cursor, 50), &room).await.unwrap();
            read.push(looked.read);
            found.extend(looked.found.iter().map(|row| (row.body_bytes, row.event.body.len())));
            cursor = looked.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((read, found), (vec![300, 300, 100], vec![(12, 0)]));
    }

    #[tokio::test]
    async fn a_look_that_found_enough_goes_on_behind_the_last_of_it() {
        let scans = Scans::new(filled(500).await);
        let room = Arc::new(Semaphore::new(1));
        let any = async |cursor, found_max| {
            let needle = Needle::Text(needle::Text::new("number").unwrap());
            let look = Look { needle, ..look("$=1", cursor, found_max) };
            scans.look(scans.turn().unwrap(), look, &room).await.unwrap()
        };
        let first = any(None, 3).await;
        let second = any(first.next, 3).await;
        let ids: Vec<_> = first.found.iter().chain(&second.found).map(|row| row.event.id).collect();
        let all = any(None, 6).await;
        assert_eq!(ids, all.found.iter().map(|row| row.event.id).collect::<Vec<_>>());
        assert_eq!((first.read, ids.len(), all.reached), (3, 6, Some(all.found[5].event.received_at)));
    }

    #[tokio::test]
    async fn a_look_whose_time_is_over_says_where_it_is() {
        let scans = Scans { time_max: Duration::ZERO, ..Scans::new(filled(5).await) };
        let room = Arc::new(Semaphore::new(1));
        let looked = scans.look(scans.turn().unwrap(), look("$.number=0", None, 1), &room).await.unwrap();
        assert!(looked.read == 1 && looked.next.is_some() && looked.found.is_empty(), "{looked:?}");
    }

    #[tokio::test]
    async fn one_looks_at_a_time_also_where_the_asker_has_gone() {
        let scans = Scans::new(filled(1).await);
        let room = Arc::new(Semaphore::new(0));
        let mut waits = Box::pin(scans.look(scans.turn().unwrap(), look("$.number=0", None, 1), &room));
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert!(matches!(scans.turn(), Err(ScanError::Busy)));
        drop(waits);
        assert!(matches!(scans.turn(), Err(ScanError::Busy)), "what he asked for goes on");
        room.add_permits(1);
        let turn = loop {
            tokio::task::yield_now().await;
            if let Ok(turn) = scans.turn() {
                break turn;
            }
        };
        assert_eq!(scans.look(turn, look("$.number=0", None, 1), &room).await.unwrap().found.len(), 1);
    }

    #[tokio::test]
    async fn a_store_that_does_not_tell_is_said() {
        let store = filled(3).await;
        let (scans, room) = (Scans::new(store.clone()), Arc::new(Semaphore::new(1)));
        store.set_trouble(vec![(Trouble::Look, StoreError::Away)]);
        let refused = scans.look(scans.turn().unwrap(), look("$.number=0", None, 1), &room).await;
        assert!(matches!(refused, Err(ScanError::Store(StoreError::Away))));
        let empty = Scans::new(Arc::new(MemoryStore::new()));
        let looked = empty.look(empty.turn().unwrap(), look("$.number=0", None, 1), &room).await.unwrap();
        assert_eq!((looked.read, looked.next), (0, None));
    }
}
