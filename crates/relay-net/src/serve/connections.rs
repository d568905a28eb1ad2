//! Who may hold how many connections of a listener, and whose ends first when there are no more.
//!
//! A connection *waits* while it is its peer's turn: for a request head, whole or in part, and for taking an answer. All
//! else is *at work*. Only what waits is ever closed for others. What waits longest goes first: a stranger who opens ten
//! thousand sockets and falls silent competes with himself. Where nothing waits, the listener is asked whether something that is
//! at work is little worth its place: of the whole, or of the network whose share is full.
//!
//! A request costs no lock here: its connection writes two numbers that are its own. The table is locked where a
//! connection opens or ends, and searched where there is no room.

mod bounds;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use bytes::BytesMut;
use futures_util::task::AtomicWaker;
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    limits,
    origin::{Address, Network, Origin},
};

pub use bounds::Bounds;

/// How long one who waits for room looks away at most: a connection that was told to end may have had a request at hand.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// One in this many places of the reserve may be held by strangers that wait for another: the rest is for whom it is kept.
const RESERVE_WAITING_SHARE: usize = 2;

/// The connections of one listener.
#[derive(Debug)]
pub struct Connections {
    bounds: Bounds,
    began: Instant,
    /// Connections that are open; beside the table, for those who only want to know how crowded it is.
    open: AtomicUsize,
    waiting_bytes: AtomicU64,
    reading_bytes: AtomicU64,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    seats: Vec<Option<Arc<Seat>>>,
    vacant: Vec<usize>,
    /// How many are of each network that has a share.
    networks: BTreeMap<Network, usize>,
    sessions: usize,
    /// Connections on places of the reserve that may not be meant for it.
    reserved: usize,
    /// Of these, requests that wait for another place.
    moving: usize,
    /// Connections that wait for a place in the share of whom their proxies brought.
    brought: usize,
}

/// That connections at work give way, where nothing waits that could end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// So many places.
    pub places: usize,
    /// Of this network, for its share is full; none: anywhere.
    pub network: Option<Network>,
    /// How many of that network have come a moment ago and said nothing yet. What is as young and at work gives way to others
    /// only where there is more of it.
    pub silent: usize,
}

/// What others may see of one connection.
#[derive(Debug)]
struct Seat {
    /// Under which it was accepted.
    address: Address,
    /// Whom its proxy brought on it. Set with the table locked.
    brought: OnceLock<Address>,
    /// Since when it waits for its peer: milliseconds of the table's time and one; 0: it is at work.
    since: AtomicU64,
    /// Bytes that are put aside for it meanwhile. Changed with `aside` locked.
    bytes: AtomicU64,
    /// Those of them that can be taken from it without its help.
    aside: Mutex<Aside>,
    /// Somebody else needs its room: it ends as soon as it waits.
    evicted: AtomicBool,
    /// It has a place of the reserve, and may not be one of those that it is kept for. Changed with the table locked.
    reserved: AtomicBool,
    waker: AtomicWaker,
}

/// What a connection has read and cannot go on with yet.
#[derive(Debug, Default)]
struct Aside {
    held: BytesMut,
    /// It was taken away: the memory was needed.
    gone: bool,
}

/// One connection's place. Dropped, it makes room for another.
#[derive(Debug)]
pub struct Seated {
    connections: Arc<Connections>,
    seat: Arc<Seat>,
    index: usize,
    session: AtomicBool,
    /// Bytes that its buffers may hold beyond what each connection has anyway.
    reading: AtomicU64,
}

/// What came of asking for a place.
enum Tried {
    Seated(Seated),
    /// Every other connection is at work, but for those in the reserve; so many places are wanted.
    SeatedInReserve(Seated, usize),
    /// The share of a network of its address is full, and nothing of that has waited for long.
    ShareFull(Wanted),
    /// Others have been told to end.
    Evicting,
    /// Every connection is at work; so many places are wanted.
    Full(usize),
}

impl Connections {
    /// Of a listener with these bounds; none is open yet.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            began: Instant::now(),
            open: AtomicUsize::new(0),
            waiting_bytes: AtomicU64::new(0),
            reading_bytes: AtomicU64::new(0),
            table: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// A place for one more connection, once there is one; `None` if its address has its share, and nothing of that gives way.
    /// `full` is called whenever nothing waits that could end, also where the reserve still has a place: what is at work then
    /// may be little worth its own. It says how many give way. Cancel-safe: what is dropped has taken nothing.
    pub(super) async fn seat(self: &Arc<Self>, origin: Origin, full: impl Fn(Wanted) -> usize) -> Option<Seated> {
        // Networks in whose share room was made.
        let mut granted = Vec::new();
        loop {
            // Before the look at the table: whatever is freed from now on is heard of.
            let freed = self.freed.notified();
            match self.try_seat(origin.address, &granted) {
                Tried::Seated(seated) => return Some(seated),
                Tried::SeatedInReserve(seated, places) => {
                    full(Wanted::anywhere(places));
                    return Some(seated);
                }
                // Whoever comes behind is of another address, perhaps: nobody waits here.
                Tried::ShareFull(wanted) => {
                    if !self.gives_way(wanted, full(wanted)) {
                        return None;
                    }
                    granted.extend(wanted.network);
                    continue;
                }
                Tried::Evicting => {}
                Tried::Full(places) => _ = full(Wanted::anywhere(places)),
            }
            // Nothing was freed in time: look again all the same.
            let _ = timeout(LOOK_AGAIN, freed).await;
        }
    }

    /// The same for one whose address has its share, as soon as something of that gives way. Cancel-safe.
    pub(super) async fn seat_in_share(self: &Arc<Self>, origin: Origin, full: impl Fn(Wanted) -> usize) -> Seated {
        loop {
            if let Some(seated) = self.seat(origin, &full).await {
                return seated;
            }
            self.room_in_share(origin.address, Instant::now() + LOOK_AGAIN).await;
        }
    }

    /// Until there is room in the shares of an address, or it is time to look at who waits there once more: that costs as much as
    /// there are connections, and what ends elsewhere changes nothing of it. Cancel-safe.
    async fn room_in_share(&self, address: Address, until: Instant) {
        loop {
            // Before the look at the table: whatever is freed from now on is heard of.
            let freed = self.freed.notified();
            if self.has_room_in_share(address) || timeout_at(until, freed).await.is_err() {
                return;
            }
        }
    }

    fn has_room_in_share(&self, address: Address) -> bool {
        let table = self.lock();
        let open = |network| table.networks.get(&network).copied().unwrap_or_default();
        address.networks().all(|network| open(network) < self.bounds.share(network))
    }

    fn try_seat(self: &Arc<Self>, address: Address, granted: &[Network]) -> Tried {
        let mut table = self.lock();
        if let Some(wanted) = self.share_lacks(&table, address, granted) {
            return Tried::ShareFull(wanted);
        }
        let open = self.open.load(Ordering::Relaxed);
        if open < self.bounds.general() {
            return Tried::Seated(self.take(&mut table, address, false));
        }
        // Some at a time: who has just been let in is not the next to look for room.
        let settled = self.settled();
        if table.evict(self.bounds.evicted_at_a_time(), |seat| seat.waits_since(settled)) > 0 {
            return Tried::Evicting;
        }
        if open < self.bounds.all {
            let wanted = self.wanted(&table);
            return Tried::SeatedInReserve(self.take(&mut table, address, true), wanted);
        }
        if table.evicting(|_| true) > 0 || table.evict(1, |_| true) > 0 {
            return Tried::Evicting;
        }
        Tried::Full(self.wanted(&table))
    }

    /// What the first full share of an address lacks, of those in which no room was made for it.
    fn share_lacks(&self, table: &Table, address: Address, granted: &[Network]) -> Option<Wanted> {
        address.networks().filter(|network| !granted.contains(network)).find_map(|network| self.lacks(table, network))
    }

    /// What a network lacks for one connection more, once what has waited for long there has been told to end. Who is on his way
    /// out has no part in its share.
    fn lacks(&self, table: &Table, network: Network) -> Option<Wanted> {
        let (open, share) = (table.networks.get(&network).copied().unwrap_or_default(), self.bounds.share(network));
        if open < share {
            return None;
        }
        let is_of = |seat: &Seat| seat.is_of(network);
        let lacking = (open + 1).saturating_sub(share + table.evicting(is_of));
        let settled = self.settled();
        if lacking == 0 || table.evict(1, |seat| is_of(seat) && seat.waits_since(settled)) > 0 {
            return None;
        }
        let silent = table.waiting().filter(|seat| is_of(seat)).count();
        Some(Wanted { places: lacking, network: Some(network), silent })
    }

    /// So many that are at work in a full share give way. Where none does, whoever waits longest there ends, though he came a moment
    /// ago. Whether anybody does: one for one, for what has just begun, or is about to go, does not say so at once.
    fn gives_way(&self, wanted: Wanted, giving: usize) -> bool {
        let is_of = |seat: &Seat| wanted.network.is_some_and(|network| seat.is_of(network));
        giving > 0 || self.lock().evict(1, is_of) > 0
    }

    /// How many places outside the reserve are missing for all who wait for one, with one more who has just come.
    fn wanted(&self, table: &Table) -> usize {
        let elsewhere = |seat: &&Arc<Seat>| !seat.reserved.load(Ordering::Relaxed);
        let at_work = table.seats.iter().flatten().filter(elsewhere).filter(|seat| !seat.is_waiting()).count();
        (table.moving + 1).saturating_sub(self.bounds.general().saturating_sub(at_work))
    }

    /// Who waits since then or before has had time to say what he came for.
    fn settled(&self) -> u64 {
        self.tick().saturating_sub(limits::CONNECTION_GRACE.as_millis() as u64)
    }

    fn take(self: &Arc<Self>, table: &mut Table, address: Address, in_reserve: bool) -> Seated {
        // Whoever has the address of this machine is one of those that the reserve is kept for.
        let reserved = in_reserve && !address.is_local();
        table.reserved += usize::from(reserved);
        let seat = Arc::new(Seat {
            address,
            brought: OnceLock::new(),
            since: AtomicU64::new(self.tick()),
            bytes: AtomicU64::new(0),
            aside: Mutex::default(),
            evicted: AtomicBool::new(false),
            reserved: AtomicBool::new(reserved),
            waker: AtomicWaker::new(),
        });
        let index = table.vacant.pop().unwrap_or_else(|| {
            table.seats.push(None);
            table.seats.len() - 1
        });
        table.seats[index] = Some(Arc::clone(&seat));
        table.enter(address);
        self.open.fetch_add(1, Ordering::Relaxed);
        Seated {
            connections: Arc::clone(self),
            seat,
            index,
            session: AtomicBool::new(false),
            reading: AtomicU64::new(0),
        }
    }

    /// How long a connection may be idle: less the fewer places there are.
    fn idle(&self, patience: Duration) -> Duration {
        let half = self.bounds.general() / 2;
        let beyond = self.open.load(Ordering::Relaxed).saturating_sub(half);
        if beyond == 0 {
            return patience;
        }
        let left = (self.bounds.general() - half).saturating_sub(beyond) as u32;
        let part = patience.saturating_mul(left) / (self.bounds.general() - half).max(1) as u32;
        part.max(patience / limits::IDLE_SHORTENED_MAX)
    }

    /// Milliseconds since the table was made, and one.
    fn tick(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }

    /// Too much is put aside for connections that wait: those that have waited longest for it end. What they have read is free at
    /// once, however long it takes until their tasks run; answers that are not taken go with these.
    fn relieve(&self) {
        let mut waiting = Vec::new();
        let mut standing = self.waiting_bytes.load(Ordering::Relaxed);
        {
            let table = self.lock();
            for seat in table.seats.iter().flatten() {
                let bytes = seat.bytes.load(Ordering::Relaxed);
                if seat.is_evicted() {
                    standing = standing.saturating_sub(bytes);
                    self.take_away(seat);
                } else if bytes > 0 && seat.is_waiting() {
                    waiting.push((seat.since.load(Ordering::Relaxed), bytes, Arc::clone(seat)));
                }
            }
        }
        waiting.sort_by_key(|(since, ..)| *since);
        for (_, bytes, seat) in waiting {
            if standing <= self.bounds.waiting_bytes / 2 {
                return;
            }
            standing = standing.saturating_sub(bytes);
            seat.evict();
            self.take_away(&seat);
        }
    }

    /// One that was told to end loses what it has read.
    fn take_away(&self, seat: &Seat) {
        let mut aside = seat.aside();
        let held = std::mem::take(&mut aside.held);
        aside.gone = true;
        self.charge(seat, seat.bytes.load(Ordering::Relaxed).saturating_sub(held.capacity() as u64));
    }

    /// Puts so many bytes on a connection's account, whose `aside` is locked; gives those of all.
    fn charge(&self, seat: &Seat, bytes: u64) -> u64 {
        let before = seat.bytes.swap(bytes, Ordering::Relaxed);
        if bytes >= before {
            self.waiting_bytes.fetch_add(bytes - before, Ordering::Relaxed) + (bytes - before)
        } else {
            self.waiting_bytes.fetch_sub(before - bytes, Ordering::Relaxed) - (before - bytes)
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn waiting(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.seats.iter().flatten().filter(|seat| seat.is_waiting() && !seat.is_evicted())
    }

    /// How many were told to end that have not run yet.
    fn evicting(&self, which: impl Fn(&Seat) -> bool) -> usize {
        self.seats.iter().flatten().filter(|seat| seat.is_waiting() && seat.is_evicted() && which(seat)).count()
    }

    /// A connection has another place than one of the reserve.
    fn leave_reserve(&mut self, seat: &Seat) {
        if seat.reserved.swap(false, Ordering::Relaxed) {
            self.reserved -= 1;
        }
    }

    /// Tells up to `count` of those that wait to end, the longest first; gives how many.
    fn evict(&self, count: usize, which: impl Fn(&Seat) -> bool) -> usize {
        let mut waiting: Vec<_> = self.waiting().filter(|seat| which(seat)).collect();
        let count = count.min(waiting.len());
        if count > 0 && count < waiting.len() {
            waiting.select_nth_unstable_by_key(count - 1, |seat| seat.since.load(Ordering::Relaxed));
        }
        for seat in &waiting[..count] {
            seat.evict();
        }
        count
    }
}

impl Wanted {
    /// So many places, whoever gives them.
    const fn anywhere(places: usize) -> Self {
        Self { places, network: None, silent: 0 }
    }
}

impl Seat {
    fn is_waiting(&self) -> bool {
        self.since.load(Ordering::Relaxed) > 0
    }

    /// Whether it has waited since that moment or before.
    fn waits_since(&self, moment: u64) -> bool {
        (1..=moment).contains(&self.since.load(Ordering::Relaxed))
    }

    fn aside(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom it is charged to.
    fn address(&self) -> Address {
        *self.brought.get().unwrap_or(&self.address)
    }

    fn is_of(&self, network: Network) -> bool {
        self.address().networks().any(|of| of == network)
    }

    fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Seated {
    /// Says that it is the peer's turn, and whether the connection has to end instead. The task that asks is woken when that
    /// changes.
    pub fn waits(&self, cx: &Context<'_>) -> bool {
        self.waits_with(cx, BytesMut::new(), 0)
    }

    /// The same with what it has read and cannot go on with, put aside until [`Self::takes_back`], and so many bytes that its peer
    /// does not take. Both are on its account meanwhile.
    pub fn waits_with(&self, cx: &Context<'_>, held: BytesMut, untaken: usize) -> bool {
        // Registered first: whoever evicts after the look below wakes this task.
        self.seat.waker.register(cx.waker());
        if !self.seat.is_waiting() {
            self.seat.since.store(self.connections.tick(), Ordering::Relaxed);
        }
        // Whoever has to end has no use for it.
        if self.seat.is_evicted() {
            return true;
        }
        let bytes = (held.capacity() + untaken) as u64;
        if bytes > 0 || self.seat.bytes.load(Ordering::Relaxed) > 0 {
            let all = {
                let mut aside = self.seat.aside();
                aside.held = held;
                self.connections.charge(&self.seat, bytes)
            };
            if bytes > 0 && all > self.connections.bounds.waiting_bytes {
                self.connections.relieve();
            }
        }
        self.seat.is_evicted()
    }

    /// What was put aside, which is on no account any more; none if it had to go, and the connection with it.
    pub fn takes_back(&self) -> Option<BytesMut> {
        let mut aside = self.seat.aside();
        let held = std::mem::take(&mut aside.held);
        self.connections.charge(&self.seat, 0);
        if aside.gone { None } else { Some(held) }
    }

    /// Says that it is our turn. What was put aside has been taken back by then.
    pub fn works(&self) {
        if self.seat.is_waiting() {
            self.seat.since.store(0, Ordering::Relaxed);
        }
        if self.seat.bytes.load(Ordering::Relaxed) > 0 {
            drop(self.takes_back());
        }
    }

    /// Whether its buffers may hold so many bytes more than each connection has anyway: for as long as it lasts, since nobody
    /// makes them smaller again.
    pub fn may_read_ahead(&self, bytes: u64) -> bool {
        if self.reading.load(Ordering::Relaxed) >= bytes {
            return true;
        }
        let most = self.connections.bounds.reading_bytes;
        let add = |all: u64| all.checked_add(bytes).filter(|all| *all <= most);
        let granted = self.connections.reading_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok();
        if granted {
            self.reading.fetch_add(bytes, Ordering::Relaxed);
        }
        granted
    }

    /// The only connection that there is.
    pub fn alone() -> Arc<Self> {
        Self::alone_within(Bounds::of(1))
    }

    /// The same within these bounds.
    ///
    /// # Panics
    /// If there is no room for one.
    pub fn alone_within(bounds: Bounds) -> Arc<Self> {
        let connections = Connections::new(bounds);
        let Tried::Seated(seated) = connections.try_seat(Address::Local, &[]) else {
            unreachable!("there is room for one")
        };
        Arc::new(seated)
    }

    /// How long it may be idle, by how crowded it is.
    pub fn idle(&self, patience: Duration) -> Duration {
        self.connections.idle(patience)
    }

    /// Whether it ends once its peer has the answer at hand.
    pub fn is_evicted(&self) -> bool {
        self.seat.is_evicted()
    }

    /// Whether its place is kept for others, unless it is to become a session.
    pub fn is_reserved(&self) -> bool {
        self.seat.reserved.load(Ordering::Relaxed)
    }

    /// Another place than that of the reserve, for a request that the reserve is not kept for, waiting a moment for one;
    /// whether it has one. `full` is called whenever nothing waits that could end. Cancel-safe.
    pub async fn leaves_reserve(&self, full: impl Fn(Wanted) -> usize) -> bool {
        let until = Instant::now() + limits::PLACE_WAIT;
        let mut waits = None;
        loop {
            // Before the look at the table: whatever is freed from now on is heard of.
            let freed = self.connections.freed.notified();
            match self.try_leave_reserve() {
                Left::Yes => return true,
                Left::Evicting => {}
                Left::Full(places) => _ = full(Wanted::anywhere(places)),
            }
            if waits.is_none() {
                waits = Moving::begin(self);
            }
            if waits.is_none() {
                return false;
            }
            let now = Instant::now();
            if now >= until {
                return false;
            }
            // Nothing was freed in time: look again all the same.
            let _ = timeout_at(until.min(now + LOOK_AGAIN), freed).await;
        }
    }

    fn try_leave_reserve(&self) -> Left {
        let bounds = &self.connections.bounds;
        let mut table = self.connections.lock();
        // Those that wait like this one have no place among the others yet.
        if self.connections.open.load(Ordering::Relaxed) - table.reserved < bounds.general() {
            table.leave_reserve(&self.seat);
            return Left::Yes;
        }
        let (elsewhere, settled) = (|seat: &Seat| !seat.reserved.load(Ordering::Relaxed), self.connections.settled());
        if table.evict(bounds.evicted_at_a_time(), |seat| elsewhere(seat) && seat.waits_since(settled)) > 0
            || table.evicting(elsewhere) > 0
            || table.evict(1, elsewhere) > 0
        {
            return Left::Evicting;
        }
        Left::Full(table.moving.max(1))
    }

    /// Has it charged to whom its proxy brought on it, as it were if he had come by himself: waiting a moment where he has his share,
    /// if there are few that do. Whether it has a place there. `full` is called as for [`Serve::full`](super::Serve::full). Once;
    /// cancel-safe.
    pub async fn brings(&self, address: Address, full: impl Fn(Wanted) -> usize) -> bool {
        let until = Instant::now() + limits::PLACE_WAIT;
        let (mut granted, mut waits) = (Vec::new(), None);
        loop {
            let Some(wanted) = self.try_bring(address, &granted) else { return true };
            if self.connections.gives_way(wanted, full(wanted)) {
                granted.extend(wanted.network);
                continue;
            }
            if waits.is_none() {
                waits = Brought::begin(self);
            }
            let now = Instant::now();
            if waits.is_none() || now >= until {
                return false;
            }
            self.connections.room_in_share(address, until.min(now + LOOK_AGAIN)).await;
        }
    }

    /// What is lacking for that, if anything is.
    fn try_bring(&self, address: Address, granted: &[Network]) -> Option<Wanted> {
        let mut table = self.connections.lock();
        let lacks = self.connections.share_lacks(&table, address, granted);
        if lacks.is_none() && self.seat.brought.set(address).is_ok() {
            table.leave(self.seat.address);
            table.enter(address);
        }
        lacks
    }

    /// Makes it the session of a client, if there may be one more; it is no longer among those of its address.
    pub fn begin_session(&self) -> bool {
        let mut table = self.connections.lock();
        if table.sessions >= self.connections.bounds.sessions {
            return false;
        }
        table.sessions += 1;
        table.leave(self.seat.address());
        table.leave_reserve(&self.seat);
        self.session.store(true, Ordering::Relaxed);
        true
    }
}

/// What came of asking for a place outside the reserve.
enum Left {
    Yes,
    /// Others have been told to end.
    Evicting,
    /// Every connection is at work; so many places are wanted.
    Full(usize),
}

/// A request that waits in the reserve for another place.
struct Moving<'a>(&'a Seated);

impl<'a> Moving<'a> {
    /// If there may be one more: the reserve is not for those who wait.
    fn begin(seated: &'a Seated) -> Option<Self> {
        let mut table = seated.connections.lock();
        let may = table.moving * RESERVE_WAITING_SHARE < seated.connections.bounds.reserve;
        table.moving += usize::from(may);
        may.then(|| Self(seated))
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.connections.lock().moving -= 1;
    }
}

/// A connection that waits for a place in the share of whom its proxy brought.
struct Brought<'a>(&'a Seated);

impl<'a> Brought<'a> {
    /// If there may be one more: each looks at all connections again and again.
    fn begin(seated: &'a Seated) -> Option<Self> {
        let mut table = seated.connections.lock();
        let may = table.brought < limits::TURNED_AWAY_MAX;
        table.brought += usize::from(may);
        may.then(|| Self(seated))
    }
}

impl Drop for Brought<'_> {
    fn drop(&mut self) {
        self.0.connections.lock().brought -= 1;
    }
}

impl Table {
    fn enter(&mut self, address: Address) {
        address.networks().for_each(|network| *self.networks.entry(network).or_default() += 1);
    }

    fn leave(&mut self, address: Address) {
        for network in address.networks() {
            if let Entry::Occupied(mut open) = self.networks.entry(network) {
                *open.get_mut() -= 1;
                if *open.get() == 0 {
                    open.remove();
                }
            }
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let connections = &self.connections;
        drop(self.takes_back());
        connections.reading_bytes.fetch_sub(*self.reading.get_mut(), Ordering::Relaxed);
        {
            let mut table = connections.lock();
            table.seats[self.index] = None;
            table.vacant.push(self.index);
            table.leave_reserve(&self.seat);
            if *self.session.get_mut() {
                table.sessions -= 1;
            } else {
                table.leave(self.seat.address());
            }
            connections.open.fetch_sub(1, Ordering::Relaxed);
        }
        connections.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
