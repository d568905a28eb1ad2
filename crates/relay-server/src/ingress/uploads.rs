//! Bodies that their senders have not sent whole: whose they are, how they come on, and which are given up first when
//! memory is short.
//!
//! A body that comes with its head is never in this table: the table is for those that are waited for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Context,
};

use futures_util::task::AtomicWaker;
use relay_core::{limits, name::Name};
use tokio::time::Instant;

use crate::{
    budget::{Budget, Reservation},
    origin::Address,
};

/// Over this long the pace of a body is taken, once or twice.
const PACE_TAKEN_OVER: u64 = 2_000;
/// A body that has not had a byte for this long is as one that will never have one.
const STALLED_AFTER: u64 = 1_000;
/// Where no connection is left, bodies that would take this much longer, at their pace, are given up for others.
const LONG: u64 = 10_000;

/// The bodies that are waited for, and the memory for all.
#[derive(Debug)]
pub(super) struct Uploads {
    pub(super) budget: Arc<Budget>,
    began: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    uploads: Vec<Option<Arc<Upload>>>,
    vacant: Vec<usize>,
}

/// Whose body it is, and what is known of it by its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) source: &'a Name,
    pub(super) address: Address,
    /// Its head has proven who sends it.
    pub(super) proven: bool,
}

/// A body that is waited for.
#[derive(Debug)]
struct Upload {
    source: Name,
    address: Address,
    proven: bool,
    /// Bytes when it is whole, or the most that it may have.
    whole: u64,
    held: AtomicU64,
    /// Moments in milliseconds of the table's time, and how many bytes were there then.
    last: AtomicU64,
    mark: (AtomicU64, AtomicU64),
    mark_before: (AtomicU64, AtomicU64),
    given_up: AtomicBool,
    waker: AtomicWaker,
}

/// A body in the table; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    uploads: &'a Uploads,
    upload: Arc<Upload>,
    index: usize,
}

/// How little there is to say for holding a body's memory: the greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Burden {
    class: Class,
    stalled: bool,
    /// Byte-milliseconds: what it holds, for as long as it is going to take.
    cost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Its head has proven it.
    Proven,
    /// Anybody's; or proven, but its source has more than half and another wants some.
    Unproven,
    /// Unproven, and its source has more than half and another wants some.
    SourceOverHalf,
    /// Unproven, and its address has more than half.
    AddressOverHalf,
}

impl Uploads {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, began: Instant::now(), table: Mutex::default() }
    }

    /// Puts a body into the table that has to be waited for.
    pub(super) fn list(&self, owner: Owner<'_>, whole: u64, held: u64) -> Listed<'_> {
        let now = self.tick();
        let upload = Arc::new(Upload {
            source: owner.source.clone(),
            address: owner.address,
            proven: owner.proven,
            whole,
            held: AtomicU64::new(held),
            last: AtomicU64::new(now),
            mark: (AtomicU64::new(now), AtomicU64::new(held)),
            mark_before: (AtomicU64::new(now), AtomicU64::new(0)),
            given_up: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let mut table = self.lock();
        let index = table.vacant.pop().unwrap_or_else(|| {
            table.uploads.push(None);
            table.uploads.len() - 1
        });
        table.uploads[index] = Some(Arc::clone(&upload));
        Listed { uploads: self, upload, index }
    }

    /// Grows a body's reservation; where memory is short, others are given up for it that have less to say for
    /// themselves. `false` if that gave nothing in time.
    pub(super) async fn grow(
        &self,
        reservation: &mut Reservation,
        more: u64,
        owner: Owner<'_>,
        listed: Option<&Listed<'_>>,
    ) -> bool {
        if reservation.grow(more) {
            return true;
        }
        let until = Instant::now() + limits::MEMORY_WAIT;
        let own = listed.map(|listed| &listed.upload);
        let make_room = |reservation: &Reservation| self.make_room(self.budget.lacking(reservation, more), owner, own);
        reservation.grow_until(more, until, make_room).await
    }

    /// Gives up bodies that burden memory more than one that wants some, the greatest burden first, until `bytes` are on
    /// their way back.
    fn make_room(&self, bytes: u64, owner: Owner<'_>, own: Option<&Arc<Upload>>) {
        let now = self.tick();
        let table = self.lock();
        let half = self.budget.max() / 2;
        let (mut by_source, mut by_address) = (BTreeMap::new(), BTreeMap::new());
        for upload in table.all() {
            *by_source.entry(&upload.source).or_insert(0) += upload.held();
            *by_address.entry(upload.address).or_insert(0) += upload.held();
        }
        let class = |of: Owner<'_>| {
            let source = of.source != owner.source && by_source.get(of.source).is_some_and(|held| *held > half);
            let address = !of.address.is_local() && by_address.get(&of.address).is_some_and(|held| *held > half);
            class_of(of.proven, source, address)
        };
        let wants =
            own.map_or(Burden { class: class(owner), stalled: false, cost: 0 }, |own| own.burden(class(owner), now));
        let mut burdens: Vec<(Burden, &Arc<Upload>)> = table
            .all()
            .filter(|upload| own.is_none_or(|own| !Arc::ptr_eq(own, upload)))
            .map(|upload| (upload.burden(class(upload.owner()), now), upload))
            .filter(|(burden, _)| burden.class > Class::Proven && *burden > wants)
            .collect();
        burdens.sort_by_key(|(burden, _)| std::cmp::Reverse(*burden));
        let mut coming = 0;
        for (_, upload) in burdens {
            // What was given up before is on its way already.
            if coming >= bytes {
                return;
            }
            upload.give_up();
            coming += upload.held();
        }
    }

    /// There is no connection left, all are at work: gives up some bodies that nobody has proven and that are far from
    /// whole at their pace, the longest first. Some at a time, whoever asks and however often: those that were given up and
    /// have not gone yet are among them.
    pub(super) fn give_up_slow(&self) {
        let now = self.tick();
        let table = self.lock();
        let going = table.all().filter(|upload| upload.is_given_up()).count();
        let count = limits::UPLOADS_GIVEN_UP_MAX.saturating_sub(going);
        let mut slow: Vec<_> = table
            .all()
            .filter(|upload| !upload.proven && !upload.is_given_up())
            .map(|upload| (upload.left(now), upload.silent(now), upload))
            .filter(|(left, _, _)| *left > LONG)
            .collect();
        if count > 0 && count < slow.len() {
            slow.select_nth_unstable_by_key(count - 1, |(left, silent, _)| std::cmp::Reverse((*left, *silent)));
        }
        for (_, _, upload) in slow.into_iter().take(count) {
            upload.give_up();
        }
    }

    /// Milliseconds since the table was made.
    fn tick(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn class_of(proven: bool, source_over_half: bool, address_over_half: bool) -> Class {
    match (proven, source_over_half, address_over_half) {
        (true, false, _) => Class::Proven,
        (true, true, _) | (false, false, false) => Class::Unproven,
        (false, true, false) => Class::SourceOverHalf,
        (false, _, true) => Class::AddressOverHalf,
    }
}

impl Table {
    fn all(&self) -> impl Iterator<Item = &Arc<Upload>> {
        self.uploads.iter().flatten()
    }
}

impl Upload {
    fn owner(&self) -> Owner<'_> {
        Owner { source: &self.source, address: self.address, proven: self.proven }
    }

    fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Milliseconds since its last byte.
    fn silent(&self, now: u64) -> u64 {
        now.saturating_sub(self.last.load(Ordering::Relaxed))
    }

    /// Milliseconds until it is whole at its pace.
    fn left(&self, now: u64) -> u64 {
        if self.silent(now) > STALLED_AFTER {
            return u64::MAX;
        }
        let (since, from) = (self.mark_before.0.load(Ordering::Relaxed), self.mark_before.1.load(Ordering::Relaxed));
        let (took, came) = (now.saturating_sub(since).max(1), self.held().saturating_sub(from).max(1));
        self.whole.saturating_sub(self.held()).saturating_mul(took) / came
    }

    fn burden(&self, class: Class, now: u64) -> Burden {
        let left = self.left(now);
        let stalled = left == u64::MAX;
        // Of those that stall, the ones that hold most: few are given up then.
        let cost = if stalled { self.held() } else { self.held().saturating_mul(left.max(1)) };
        Burden { class, stalled, cost }
    }

    fn came(&self, held: u64, now: u64) {
        self.held.store(held, Ordering::Relaxed);
        self.last.store(now, Ordering::Relaxed);
        if now.saturating_sub(self.mark.0.load(Ordering::Relaxed)) >= PACE_TAKEN_OVER {
            self.mark_before.0.store(self.mark.0.swap(now, Ordering::Relaxed), Ordering::Relaxed);
            self.mark_before.1.store(self.mark.1.swap(held, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Listed<'_> {
    /// More of it has come.
    pub(super) fn came(&self, held: u64) {
        self.upload.came(held, self.uploads.tick());
    }

    /// Whether it is given up; the task that asks is woken when that changes.
    pub(super) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        self.upload.waker.register(cx.waker());
        self.upload.is_given_up()
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut table = self.uploads.lock();
        table.uploads[self.index] = None;
        table.vacant.push(self.index);
    }
}

#[cfg(test)]
mod tests;
