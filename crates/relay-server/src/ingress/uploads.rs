//! Bodies that their senders have not sent whole: whose they are, how they come on, and which are given up first when
//! memory is short.
//!
//! A body that comes with its head is never in this table: the table is for those that are waited for. A large one is
//! promised the room that it needs before it is read ([`mod@line`]), so that those that are read become whole.

mod line;

use std::{
    collections::{BTreeMap, BinaryHeap},
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use relay_core::{limits, name::Name};
use relay_net::{
    origin::{Address, Network},
    serve::Wanted,
};
use tokio::time::Instant;

pub(super) use line::Turn;

use crate::budget::{Budget, Reservation};

/// Over this long the pace of a body is taken, once or twice.
const PACE_TAKEN_OVER: u64 = 2_000;
/// A body that has not had a byte for this long is as one that will never have one.
const STALLED_AFTER: u64 = 1_000;
/// [`limits::UPLOAD_GRACE`] in milliseconds.
const UPLOAD_GRACE: u64 = limits::UPLOAD_GRACE.as_millis() as u64;
/// Milliseconds from one look at who could be given up to the next, however many wait for memory.
const LOOK_EVERY: u64 = 5;
/// Bodies in the table for each of these milliseconds, where few are looked at.
const LOOKED_AT_PER_MILLISECOND: u64 = 64;
/// How long one who waits for his turn looks away at most: time alone may have made room.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Who looks: beside strangers and those who have proven themselves, whose looks are for memory.
const FOR_PLACES: usize = 2;
/// Who looks along the line of those who wait for their turn.
const FOR_TURNS: usize = 3;
/// How much longer than at [`PROMISED_PACE`] a body may take, in milliseconds, before its end is in nobody's sight.
const STALLED_PATIENCE: u64 = 30_000;
/// A body that brings less in a second has no promise: its sender, or the way to him, is slower than memory may wait for
/// while others want it.
const PROMISED_PACE: u64 = limits::CROWDED_BYTES_PER_SECOND_MIN;

/// The bodies that are waited for, and the memory for all.
#[derive(Debug)]
pub(super) struct Uploads {
    pub(super) budget: Arc<Budget>,
    began: Instant,
    table: Mutex<Table>,
    /// When somebody may look again who could be given up: for strangers, for those who have proven themselves, for those
    /// who want a place, and for those who wait for their turn.
    next_look: [AtomicU64; 4],
    #[cfg(test)]
    looked_at: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    uploads: Vec<Option<Arc<Upload>>>,
    vacant: Vec<usize>,
    /// Bytes that the bodies of each source and network hold, all in all.
    by_source: BTreeMap<Name, Arc<Sum>>,
    by_network: BTreeMap<Network, Arc<Sum>>,
    /// Bytes that all may hold that have had a turn, and how many wait for one; the last place that was given out.
    ceilings: u64,
    in_line: usize,
    last_turn: u64,
}

/// Bytes of all bodies of a source or network.
#[derive(Debug, Default)]
struct Sum {
    held: AtomicU64,
    /// With what they are promised, as it was found at the last look along the line.
    promised: AtomicU64,
}

/// What came of waiting for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Grown,
    /// There was none in time.
    InVain,
    /// Others had more to say for themselves.
    GivenUp,
}

/// Whose body it is, and what is known of it by its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) source: &'a Name,
    pub(super) address: Address,
    /// Its head has proven who sends it.
    pub(super) proven: bool,
}

/// How far a body has come, and what it takes of the memory: more than has come, so that its pieces are few.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) came: u64,
    pub(super) held: u64,
}

/// A body that is waited for.
#[derive(Debug)]
struct Upload {
    source: Name,
    address: Address,
    proven: bool,
    /// Bytes when it is whole, where that is known.
    length: Option<u64>,
    came: AtomicU64,
    held: AtomicU64,
    /// What it may hold without another turn.
    ceiling: AtomicU64,
    /// What it waits for in the line; 0: it does not.
    wants: AtomicU64,
    /// How much that is beyond what is reserved for it.
    more: AtomicU64,
    /// How far the budget may be filled with that.
    limit: AtomicU64,
    /// Its place in the line; 0: it never stood there.
    turn: AtomicU64,
    /// Since when it waits for memory, in milliseconds and one; 0: it does not. Its sender is not slower for that.
    paused: AtomicU64,
    /// Since when it is waited for.
    since: AtomicU64,
    /// Moments in milliseconds of the table's time, and how many bytes had come by then.
    last: AtomicU64,
    mark: (AtomicU64, AtomicU64),
    mark_before: (AtomicU64, AtomicU64),
    given_up: AtomicBool,
    waker: AtomicWaker,
    /// What all of its source, and of each of its networks, hold.
    of_source: Arc<Sum>,
    of_networks: Vec<Arc<Sum>>,
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
    /// It brings nothing, or is not going to be whole in time.
    stalled: bool,
    /// Nobody has proven it, and it comes slowly.
    late: bool,
    /// Of those that come on, milliseconds until it is whole: the one that needs least becomes whole. Of those that come
    /// slowly, byte-milliseconds: what it holds, for as long as it is going to take. Else bytes.
    cost: u64,
}

/// A body by what it burdens memory with.
struct Heaviest<'a> {
    burden: Burden,
    upload: &'a Upload,
}

impl Ord for Heaviest<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.burden.cmp(&other.burden)
    }
}

impl PartialOrd for Heaviest<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Heaviest<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.burden == other.burden
    }
}

impl Eq for Heaviest<'_> {}

/// How little a body does for the place of its connection: the greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Idleness {
    stalled: bool,
    /// Of its pace, by powers of two: those alike differ by what is left.
    slowness: u32,
    /// Milliseconds until it is whole: what has come so far is not thrown away if it need not be.
    left: u64,
    silent: u64,
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
        Self::since(budget, Instant::now())
    }

    fn since(budget: Arc<Budget>, began: Instant) -> Self {
        Self {
            budget,
            began,
            table: Mutex::default(),
            next_look: Default::default(),
            #[cfg(test)]
            looked_at: AtomicU64::new(0),
        }
    }

    /// Puts a body into the table that has to be waited for; so long, where that is known.
    pub(super) fn list(&self, owner: Owner<'_>, length: Option<u64>, Extent { came, held }: Extent) -> Listed<'_> {
        let now = self.tick();
        let mut table = self.lock();
        let of_source = sum(&mut table.by_source, owner.source);
        let of_networks: Vec<_> =
            owner.address.networks().map(|network| sum(&mut table.by_network, &network)).collect();
        let upload = Arc::new(Upload {
            source: owner.source.clone(),
            address: owner.address,
            proven: owner.proven,
            length,
            came: AtomicU64::new(came),
            held: AtomicU64::new(held),
            ceiling: AtomicU64::new(limits::SMALL_BODY_BYTES),
            wants: AtomicU64::new(0),
            more: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            paused: AtomicU64::new(0),
            since: AtomicU64::new(now),
            last: AtomicU64::new(now),
            mark: (AtomicU64::new(now), AtomicU64::new(came)),
            mark_before: (AtomicU64::new(now), AtomicU64::new(0)),
            given_up: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            of_source,
            of_networks,
        });
        upload.weigh(0, held);
        let index = table.vacant.pop().unwrap_or_else(|| {
            table.uploads.push(None);
            table.uploads.len() - 1
        });
        table.uploads[index] = Some(Arc::clone(&upload));
        Listed { uploads: self, upload, index }
    }

    /// Waits for memory that a body's reservation shall grow by; others are given up for it that have less to say for
    /// themselves, and so may it be.
    pub(super) async fn wait(
        &self,
        reservation: &mut Reservation,
        more: u64,
        owner: Owner<'_>,
        listed: Option<&Listed<'_>>,
    ) -> Waited {
        let until = Instant::now() + limits::MEMORY_WAIT;
        let own = listed.map(|listed| &listed.upload);
        let make_room = |reservation: &Reservation| {
            if self.may_look(usize::from(owner.proven)) {
                self.make_room(self.budget.lacking(reservation), owner, own);
            }
        };
        let _paused = own.map(|own| Paused::begin(self, own));
        let given_up = poll_fn(|cx| match listed {
            Some(listed) if listed.is_given_up(cx) => Poll::Ready(()),
            _ => Poll::Pending,
        });
        // Cancel safety: what is dropped has reserved nothing.
        tokio::select! {
            biased;
            () = given_up => Waited::GivenUp,
            grown = reservation.grow_until(more, until, make_room) => if grown { Waited::Grown } else { Waited::InVain },
        }
    }

    /// Whether it is time to look who could be given up. One look is for all who wait, so that it is taken now and then however
    /// many they are; who has proven himself does not stand behind strangers.
    fn may_look(&self, who: usize) -> bool {
        let (now, next) = (self.tick(), &self.next_look[who]);
        let due = next.load(Ordering::Relaxed);
        now >= due && next.compare_exchange(due, now + LOOK_EVERY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Gives up bodies that burden memory more than one that wants some, the greatest burden first, until `bytes` are on
    /// their way back.
    fn make_room(&self, bytes: u64, owner: Owner<'_>, own: Option<&Arc<Upload>>) {
        let now = self.tick();
        let table = self.lock();
        #[cfg(test)]
        self.looked_at.fetch_add(table.uploads.len() as u64, Ordering::Relaxed);
        let half = self.budget.max() / 2;
        let class = |upload: &Upload| {
            let source = upload.source != *owner.source && upload.of_source.held() > half;
            let address = upload.of_networks.iter().any(|sum| sum.held() > half);
            class_of(upload.proven, source, address)
        };
        let wants = if let Some(own) = own {
            own.burden(class(own), now)
        } else {
            // A head: little, and without it nothing is known.
            let address = table.of_networks(owner.address).any(|sum| sum.held() > half);
            Burden { class: class_of(owner.proven, false, address), stalled: false, late: false, cost: 0 }
        };
        let burdens = table
            .all()
            .filter(|upload| own.is_none_or(|own| !Arc::ptr_eq(own, upload)))
            .map(|upload| Heaviest { burden: upload.burden(class(upload), now), upload })
            .filter(|Heaviest { burden, .. }| *burden > wants && (burden.class > Class::Proven || own.is_some()));
        let mut burdens: BinaryHeap<_> = burdens.collect();
        let mut coming = 0;
        // What was given up before is on its way already.
        while coming < bytes
            && let Some(Heaviest { upload, .. }) = burdens.pop()
        {
            upload.give_up();
            coming += upload.held();
        }
    }

    /// Places for connections are wanted, and all are at work: gives up bodies that nobody has proven, those that do least for
    /// their places first; says how many, or how many were given up before, where these are enough and have
    /// not gone yet.
    ///
    /// How far a body is from whole says nothing here: whoever declares little is never far, and says so for as long as he
    /// likes. Bytes are what a stranger has to pay with.
    pub(super) fn give_way(&self, wanted: Wanted) -> usize {
        match wanted.network {
            Some(network) => self.make_way_in(network, wanted),
            None if wanted.places > 0 && self.may_look(FOR_PLACES) => self.make_way(wanted.places),
            None => 0,
        }
    }

    fn make_way(&self, wanted: usize) -> usize {
        let now = self.tick();
        let table = self.lock();
        let going = table.all().filter(|upload| upload.is_given_up()).count();
        let count = wanted.min(limits::UPLOADS_GIVEN_UP_MAX).saturating_sub(going);
        let old = table.strangers().filter(|upload| upload.age(now) >= UPLOAD_GRACE);
        give_up_idlest(old.collect(), count, now)
    }

    /// The same where the share of a network is full. Who has just begun goes only where nobody has begun before, for who comes
    /// would be refused otherwise; and only as far as there are more of them than of those that have said nothing yet.
    fn make_way_in(&self, network: Network, wanted: Wanted) -> usize {
        let now = self.tick();
        let table = self.lock();
        let is_of = |upload: &&Arc<Upload>| upload.address.networks().any(|of| of == network);
        let going = table.all().filter(|upload| upload.is_given_up()).filter(is_of).count();
        let (old, young): (Vec<_>, Vec<_>) =
            table.strangers().filter(is_of).partition(|upload| upload.age(now) >= UPLOAD_GRACE);
        if going >= wanted.places {
            return going;
        }
        // For the one who comes, and one for those who are too many.
        let count = (wanted.places - going).min(2);
        if !old.is_empty() {
            return give_up_idlest(old, count, now);
        }
        let spared = young.len().saturating_sub(wanted.silent);
        give_up_idlest(young, count.min(spared), now)
    }

    /// Milliseconds since the table was made.
    fn tick(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up so many of them, the idlest first; says how many.
fn give_up_idlest(uploads: Vec<&Arc<Upload>>, count: usize, now: u64) -> usize {
    let mut idlest: Vec<_> = uploads.into_iter().map(|upload| (upload.idleness(now), upload)).collect();
    if count > 0 && count < idlest.len() {
        idlest.select_nth_unstable_by_key(count - 1, |(idleness, _)| std::cmp::Reverse(*idleness));
    }
    idlest.into_iter().take(count).map(|(_, upload)| upload.give_up()).count()
}

const fn class_of(proven: bool, source_over_half: bool, address_over_half: bool) -> Class {
    match (proven, source_over_half, address_over_half) {
        (true, false, _) => Class::Proven,
        (true, true, _) | (false, false, false) => Class::Unproven,
        (false, true, false) => Class::SourceOverHalf,
        (false, _, true) => Class::AddressOverHalf,
    }
}

/// What all of one source or network hold.
fn sum<K: Ord + Clone>(sums: &mut BTreeMap<K, Arc<Sum>>, key: &K) -> Arc<Sum> {
    if let Some(sum) = sums.get(key) {
        return Arc::clone(sum);
    }
    let sum = Arc::<Sum>::default();
    sums.insert(key.clone(), Arc::clone(&sum));
    sum
}

/// Forgets a sum that is the last one's.
fn drop_sum<K: Ord>(sums: &mut BTreeMap<K, Arc<Sum>>, key: &K) {
    // One is here, and one with the body that goes.
    if sums.get(key).is_some_and(|sum| Arc::strong_count(sum) <= 2) {
        sums.remove(key);
    }
}

impl Table {
    fn all(&self) -> impl Iterator<Item = &Arc<Upload>> {
        self.uploads.iter().flatten()
    }

    /// Bodies that nobody has proven, and that stay for all that is known.
    fn strangers(&self) -> impl Iterator<Item = &Arc<Upload>> {
        self.all().filter(|upload| !upload.proven && !upload.is_given_up())
    }

    fn of_networks(&self, address: Address) -> impl Iterator<Item = &Arc<Sum>> {
        address.networks().filter_map(|network| self.by_network.get(&network))
    }
}

impl Sum {
    fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Upload {
    /// All that it is charged to.
    fn sums(&self) -> impl Iterator<Item = &Sum> {
        self.of_networks.iter().chain([&self.of_source]).map(|sum| &**sum)
    }

    /// It holds other than before: so do its source and networks.
    fn weigh(&self, before: u64, now: u64) {
        self.sums().for_each(|sum| {
            sum.held.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        });
    }

    /// The time by which it is judged: it stands still while memory is waited for.
    fn own_time(&self, now: u64) -> u64 {
        match self.paused.load(Ordering::Relaxed) {
            0 => now,
            since => now.min(since - 1),
        }
    }

    /// Bytes when it is whole; where nobody has said so, what it may hold for now.
    fn whole(&self) -> u64 {
        self.length.unwrap_or_else(|| self.ceiling.load(Ordering::Relaxed))
    }

    fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// Bytes that are back when it is given up.
    fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Milliseconds since its last byte.
    fn silent(&self, now: u64) -> u64 {
        self.own_time(now).saturating_sub(self.last.load(Ordering::Relaxed))
    }

    /// Milliseconds for which it has been waited for.
    fn age(&self, now: u64) -> u64 {
        self.own_time(now).saturating_sub(self.since.load(Ordering::Relaxed))
    }

    /// What came of it lately: so many milliseconds, so many bytes.
    fn pace(&self, now: u64) -> (u64, u64) {
        let (since, from) = (self.mark_before.0.load(Ordering::Relaxed), self.mark_before.1.load(Ordering::Relaxed));
        (self.own_time(now).saturating_sub(since).max(1), self.came().saturating_sub(from).max(1))
    }

    /// Whether it comes too slowly for a promise.
    fn is_late(&self, now: u64) -> bool {
        if self.age(now) < UPLOAD_GRACE {
            return false;
        }
        let (took, came) = self.pace(now);
        self.silent(now) > UPLOAD_GRACE || came.saturating_mul(1_000) / took < PROMISED_PACE
    }

    /// Whether it brings nothing, or will not be whole by the time that it has where memory is short.
    fn is_stalled(&self, now: u64) -> bool {
        let (left, age) = (self.left(now), self.age(now));
        let given = STALLED_PATIENCE + self.whole().saturating_mul(1_000) / PROMISED_PACE;
        left == u64::MAX || (age >= UPLOAD_GRACE && age.saturating_add(left) > given)
    }

    /// Milliseconds until it is whole at its pace.
    fn left(&self, now: u64) -> u64 {
        if self.silent(now) > STALLED_AFTER {
            return u64::MAX;
        }
        let (took, came) = self.pace(now);
        self.whole().saturating_sub(self.came()).saturating_mul(took) / came
    }

    fn idleness(&self, now: u64) -> Idleness {
        let (left, (took, came)) = (self.left(now), self.pace(now));
        let stalled = left == u64::MAX;
        // What came before it stalled is no merit.
        let slowness = if stalled { u64::BITS } else { (came.saturating_mul(1_000) / took).leading_zeros() };
        Idleness { stalled, slowness, left, silent: self.silent(now) }
    }

    fn burden(&self, class: Class, now: u64) -> Burden {
        let (stalled, late) = (self.is_stalled(now), !self.proven && self.is_late(now));
        let left = self.left(now).saturating_add(1);
        let cost = match (stalled, late) {
            // The ones that hold most: few are given up then.
            (true, _) => self.held(),
            (false, true) => self.held().saturating_mul(left),
            (false, false) => left,
        };
        Burden { class, stalled, late, cost }
    }

    fn comes_to(&self, Extent { came, held }: Extent, now: u64) {
        self.came.store(came, Ordering::Relaxed);
        self.weigh(self.held.swap(held, Ordering::Relaxed), held);
        self.last.store(now, Ordering::Relaxed);
        if now.saturating_sub(self.mark.0.load(Ordering::Relaxed)) >= PACE_TAKEN_OVER {
            self.mark_before.0.store(self.mark.0.swap(now, Ordering::Relaxed), Ordering::Relaxed);
            self.mark_before.1.store(self.mark.1.swap(came, Ordering::Relaxed), Ordering::Relaxed);
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
    /// More of it has come: so much is there now.
    pub(super) fn comes_to(&self, extent: Extent) {
        self.upload.comes_to(extent, self.uploads.tick());
    }

    /// Whether it is given up; the task that asks is woken when that changes.
    pub(super) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        self.upload.waker.register(cx.waker());
        self.upload.is_given_up()
    }
}

/// A body that waits for memory: its own time stands still.
struct Paused<'a> {
    uploads: &'a Uploads,
    upload: &'a Upload,
}

impl<'a> Paused<'a> {
    fn begin(uploads: &'a Uploads, upload: &'a Upload) -> Self {
        upload.paused.store(uploads.tick() + 1, Ordering::Relaxed);
        Self { uploads, upload }
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let upload = self.upload;
        let stood = (self.uploads.tick() + 1).saturating_sub(upload.paused.swap(0, Ordering::Relaxed));
        for moment in [&upload.since, &upload.last, &upload.mark.0, &upload.mark_before.0] {
            moment.fetch_add(stood, Ordering::Relaxed);
        }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut table = self.uploads.lock();
        table.uploads[self.index] = None;
        table.vacant.push(self.index);
        table.ceilings -= self.upload.promised_once();
        self.upload.weigh(self.upload.held(), 0);
        drop_sum(&mut table.by_source, &self.upload.source);
        self.upload.address.networks().for_each(|network| drop_sum(&mut table.by_network, &network));
        drop(table);
        // What it was promised is free, whatever becomes of what it holds.
        self.uploads.budget.look_again();
    }
}

#[cfg(test)]
mod tests;
