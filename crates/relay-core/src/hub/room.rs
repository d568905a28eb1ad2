//! Room: whose bodies are brought into memory and sent, and in which order.
//!
//! A body takes room twice: of its client's buffer, until it is settled; and of what the server has for bodies on their way out,
//! until it has left. Two more bounds keep one who does not read from holding up the others: a destination has at most half of
//! the server's room and a client a quarter, and a quarter is for destinations that have nothing out. One body may be larger
//! than any of these where nothing else counts against it.
//!
//! What does not fit waits, those of one client and destination behind each other, with what it is short of. Whatever is
//! given back wakes those that were short of it, the first leased first.
//!
//! # Why nobody waits for ever
//! - Of those short of one thing, the first goes first. Nobody passes it: not who came later, and not at another destination of
//!   the same client, unless the first has something out there already, which will come back to it.
//! - Where nothing is out, one body always fits. What is out comes back: it is settled, or its client is gone.
//! - A body larger than what is kept for destinations that have nothing out may be passed in the server's room, for clients that
//!   do not read could keep it waiting, and all others behind it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
};

/// Which part of the room for what goes out one destination may have.
const DESTINATION_PART: u64 = 2;
/// Which part of it waits for one client.
const CLIENT_PART: u64 = 4;
/// Which part of it is for destinations that have nothing out.
const KEPT_PART: u64 = 4;
/// Which part of the memory for what comes in is lent to what goes out without having been stored first, at most. Half of
/// `MAX_INFLIGHT_BYTES` is for what comes in, and so much more than half of that stays for it.
const BORROWED_PART: u64 = 4;

/// A destination at a client.
pub(super) type Pair = (InstanceId, Name);

/// What is out, and who waits: see [the module](self).
#[derive(Debug)]
pub(super) struct Room {
    max: u64,
    /// Bytes of events on their way out.
    out: u64,
    /// Those of them that came in and were not stored first: their bodies stand on the account of what comes in as well.
    borrowed: u64,
    /// The same by destination, where there are any.
    destinations: BTreeMap<Name, u64>,
    clients: BTreeMap<InstanceId, Client>,
    lines: BTreeMap<Pair, Line>,
    /// The first of each line that has any, by what it is short of, in the order of leasing.
    short: BTreeMap<Short, BTreeSet<(u64, Pair)>>,
    /// Of what something may have come back since it was looked at last.
    woken: BTreeSet<Short>,
    /// The place of the next that comes.
    next: u64,
}

/// A client's side.
#[derive(Debug, Default)]
struct Client {
    /// Body bytes that it takes.
    buffer: u64,
    /// Body bytes that it holds or is about to get.
    held: u64,
    /// Bytes of events that wait to be sent to it.
    unsent: u64,
    /// Those of one that is larger than all that may: it went out alone, and what is small does not wait until it has left.
    outsize: u64,
}

/// What waits for room at one client and destination, and how many bodies are out.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// In which set its first is.
    at: Short,
    out: usize,
}

#[derive(Debug)]
struct Waiting {
    place: u64,
    id: DeliveryId,
    body: u64,
}

/// What a body is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Room, at a destination that has nothing out.
    Room,
    /// Room beside what is kept for those.
    Rest,
    /// Its destination's part.
    Destination,
    /// Its client's buffer, or its client's part.
    Client,
    /// Nothing that is known: it has just become the first. Looked at last, for all others came before.
    #[default]
    Nothing,
}

/// What a body is short of, and whose.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Short {
    kind: Kind,
    client: Option<InstanceId>,
    destination: Option<Name>,
}

impl Short {
    const NOTHING: Self = Self::of_room(Kind::Nothing);

    const fn of_room(kind: Kind) -> Self {
        Self { kind, client: None, destination: None }
    }

    fn of_client(client: InstanceId) -> Self {
        Self { client: Some(client), ..Self::of_room(Kind::Client) }
    }

    fn of_destination(name: &Name) -> Self {
        Self { destination: Some(name.clone()), ..Self::of_room(Kind::Destination) }
    }
}

/// What was found among those that are short of one thing.
enum Look {
    /// The first of this line fits.
    Fits(Pair),
    /// The first of this line is short of that.
    Misses(u64, Pair, Short),
    /// Nobody that may go.
    Nothing,
}

/// What an event takes at most, for its body has so many bytes: its head is not known before it is read.
pub(super) fn most_of(body: u64) -> u64 {
    body + limits::HEAD_BYTES_MAX as u64
}

impl Room {
    /// With nothing out of so many bytes.
    pub(super) fn new(max: u64) -> Self {
        Self {
            max,
            out: 0,
            borrowed: 0,
            destinations: BTreeMap::new(),
            clients: BTreeMap::new(),
            lines: BTreeMap::new(),
            short: BTreeMap::new(),
            woken: BTreeSet::new(),
            next: 0,
        }
    }

    /// How many body bytes a client takes, from its Hello.
    pub(super) fn set_buffer(&mut self, client: InstanceId, bytes: u64) {
        self.clients.entry(client).or_default().buffer = bytes;
        self.woken.insert(Short::of_client(client));
    }

    /// The client is forgotten: it holds nothing.
    pub(super) fn forget(&mut self, client: InstanceId) {
        if self.clients.get(&client).is_some_and(|client| client.held == 0 && client.unsent == 0) {
            self.clients.remove(&client);
        }
    }

    /// Whether a client takes any more bodies.
    pub(super) fn is_open(&self, client: InstanceId) -> bool {
        self.clients.get(&client).is_some_and(|client| client.held == 0 || client.held < client.buffer)
    }

    /// How many bodies of this length a client takes beside what it holds; one more, where it holds nothing.
    pub(super) fn fitting(&self, client: InstanceId, body: u64) -> u64 {
        let left = self.clients.get(&client).map_or(0, |client| client.buffer.saturating_sub(client.held));
        left / body.max(1)
    }

    /// Whether something waits in this line.
    pub(super) fn has_waiting(&self, pair: &Pair) -> bool {
        self.lines.get(pair).is_some_and(|line| !line.waiting.is_empty())
    }

    /// What waits in this line, the first first.
    pub(super) fn waiting(&self, pair: &Pair) -> Vec<DeliveryId> {
        self.lines.get(pair).into_iter().flat_map(|line| line.waiting.iter().map(|waiting| waiting.id)).collect()
    }

    /// A delivery was leased, and waits for room for its body.
    pub(super) fn wait(&mut self, pair: &Pair, id: DeliveryId, body: u64) {
        let place = self.next;
        self.next += 1;
        let line = self.lines.entry(pair.clone()).or_default();
        line.waiting.push_back(Waiting { place, id, body });
        if line.waiting.len() == 1 {
            self.put(place, pair, Short::NOTHING);
            self.woken.insert(Short::NOTHING);
        }
    }

    /// One that may be waiting waits no more.
    pub(super) fn leave(&mut self, pair: &Pair, id: DeliveryId) {
        let Some(line) = self.lines.get_mut(pair) else { return };
        let Some(index) = line.waiting.iter().position(|waiting| waiting.id == id) else { return };
        if index == 0 {
            self.pop(pair);
        } else {
            line.waiting.remove(index);
        }
    }

    /// The next whose body there is room for. It has that room from now on, as [`most_of`] its body.
    pub(super) fn next(&mut self) -> Option<(Pair, DeliveryId)> {
        while let Some(short) = self.woken.first().cloned() {
            let pair = match self.look_at(&short) {
                Look::Fits(pair) => pair,
                Look::Misses(place, pair, other) => {
                    self.take(place, &pair, &short);
                    self.put(place, &pair, other);
                    continue;
                }
                Look::Nothing => {
                    self.woken.remove(&short);
                    continue;
                }
            };
            if let Some(first) = self.pop(&pair) {
                self.claim(&pair, first.body, most_of(first.body));
                return Some((pair, first.id));
            }
        }
        None
    }

    /// Whether [`Self::next`] is to be asked.
    pub(super) fn is_woken(&self) -> bool {
        !self.woken.is_empty() && !self.short.is_empty()
    }

    /// Whether an event may go out that came in just now, beside those that do and before those that wait.
    pub(super) fn takes(&self, pair: &Pair, body: u64, size: u64) -> bool {
        // Canary: slow clients must not hold the memory of what comes in.
        let may_borrow = self.borrowed + size <= self.max / BORROWED_PART || cfg!(feature = "canary_borrows_all");
        may_borrow && !self.has_waiting(pair) && self.shortage(self.next, pair, body, size).is_none()
    }

    /// Room for an event: of the body at the client, and of all of it here.
    pub(super) fn claim(&mut self, pair: &Pair, body: u64, size: u64) {
        self.hold(pair, body);
        self.out += size;
        *self.destinations.entry(pair.1.clone()).or_default() += size;
        let part = self.max / CLIENT_PART;
        let client = self.clients.entry(pair.0).or_default();
        client.unsent += size;
        if size > part && client.outsize == 0 {
            client.outsize = size;
        }
    }

    /// The same for one that [`takes`](Self::takes) allowed.
    pub(super) fn borrow(&mut self, pair: &Pair, body: u64, size: u64) {
        self.borrowed += size;
        self.claim(pair, body, size);
    }

    /// A client has a body.
    pub(super) fn hold(&mut self, pair: &Pair, body: u64) {
        self.clients.entry(pair.0).or_default().held += body;
        self.lines.entry(pair.clone()).or_default().out += 1;
    }

    /// What was claimed before it was read needs less: its size is known now.
    pub(super) fn came(&mut self, pair: &Pair, claimed: u64, size: u64) {
        if let Some(client) = self.clients.get_mut(&pair.0) {
            client.unsent -= claimed - size;
            if client.outsize == claimed {
                client.outsize = size;
            }
        }
        self.give_back(pair, claimed - size);
    }

    /// An event that was out has left, or will not.
    pub(super) fn left(&mut self, pair: &Pair, size: u64) {
        if let Some(client) = self.clients.get_mut(&pair.0) {
            client.unsent -= size;
            if client.outsize == size {
                client.outsize = 0;
            }
        }
        self.give_back(pair, size);
    }

    fn give_back(&mut self, pair: &Pair, size: u64) {
        self.out -= size;
        if let Some(out) = self.destinations.get_mut(&pair.1) {
            *out -= size;
            if *out == 0 {
                self.destinations.remove(&pair.1);
            }
        }
        if !self.short.is_empty() {
            self.wake(Short::of_room(Kind::Room));
            self.wake(Short::of_room(Kind::Rest));
            self.wake(Short::of_destination(&pair.1));
            self.wake(Short::of_client(pair.0));
        }
    }

    /// The same of one that was borrowed.
    pub(super) fn returned(&mut self, pair: &Pair, size: u64) {
        self.borrowed -= size;
        self.left(pair, size);
    }

    /// A client holds a body no more.
    pub(super) fn settled(&mut self, pair: &Pair, body: u64) {
        if let Some(client) = self.clients.get_mut(&pair.0) {
            client.held -= body;
        }
        if let Some(line) = self.lines.get_mut(pair) {
            line.out -= 1;
            if line.out == 0 && line.waiting.is_empty() {
                self.lines.remove(pair);
            }
        }
        if !self.short.is_empty() {
            self.wake(Short::of_client(pair.0));
        }
    }

    /// Bytes of events on their way out.
    pub(super) fn out(&self) -> u64 {
        self.out
    }

    /// Bodies out at this client and destination.
    pub(super) fn bodies_out(&self, pair: &Pair) -> usize {
        self.lines.get(pair).map_or(0, |line| line.out)
    }

    /// Panics if the accounts contradict each other.
    pub(super) fn check(&self) {
        let destinations: u64 = self.destinations.values().sum();
        assert_eq!(self.out, destinations, "what is out is that of all destinations");
        let clients: u64 = self.clients.values().map(|client| client.unsent).sum();
        assert_eq!(self.out, clients, "what is out is that of all clients");
        assert!(self.borrowed <= self.out, "what is borrowed is on its way out");
        let fronts: usize = self.short.values().map(BTreeSet::len).sum();
        let lines = self.lines.values().filter(|line| !line.waiting.is_empty()).count();
        assert_eq!(fronts, lines, "the first of each line is short of one thing");
        assert!(self.lines.values().all(|line| line.out > 0 || !line.waiting.is_empty()), "no line is empty");
    }

    fn wake(&mut self, short: Short) {
        if self.short.contains_key(&short) {
            self.woken.insert(short);
        }
    }

    /// The first of those short of this that fits now, or is short of something else.
    fn look_at(&self, short: &Short) -> Look {
        for (place, pair) in self.short.get(short).into_iter().flatten() {
            let Some(first) = self.lines.get(pair).and_then(|line| line.waiting.front()) else { continue };
            match self.shortage(*place, pair, first.body, most_of(first.body)) {
                None => return Look::Fits(pair.clone()),
                Some(same) if same == *short => {
                    if self.may_not_be_passed(short, pair, first.body) {
                        return Look::Nothing;
                    }
                }
                Some(other) => return Look::Misses(*place, pair.clone(), other),
            }
        }
        Look::Nothing
    }

    /// What a body of this place is short of.
    fn shortage(&self, place: u64, pair: &Pair, body: u64, size: u64) -> Option<Short> {
        let of_client = || Some(Short::of_client(pair.0));
        let Some(client) = self.clients.get(&pair.0) else { return of_client() };
        if client.held > 0 && client.held.saturating_add(body) > client.buffer {
            return of_client();
        }
        if self.would_pass(place, &Short::of_client(pair.0)) {
            return of_client();
        }
        let mine = self.destinations.get(&pair.1).copied().unwrap_or_default();
        let kind = if mine == 0 { Kind::Room } else { Kind::Rest };
        let passes = self.would_pass(place, &Short::of_room(Kind::Room))
            || mine > 0 && self.would_pass(place, &Short::of_room(Kind::Rest));
        if passes {
            return Some(Short::of_room(kind));
        }
        if self.out == 0 {
            return None;
        }
        if mine > 0 && mine + size > self.max / DESTINATION_PART {
            return Some(Short::of_destination(&pair.1));
        }
        let (part, beside) = (self.max / CLIENT_PART, client.unsent - client.outsize);
        let alone = beside == 0 && (size <= part || client.outsize == 0);
        if !alone && beside + size > part {
            return of_client();
        }
        let most = if mine == 0 { self.max } else { self.max - self.kept() };
        (self.out + size > most).then(|| Short::of_room(kind))
    }

    /// Whether one of this place would pass another that may not be.
    fn would_pass(&self, place: u64, short: &Short) -> bool {
        let before = self.short.get(short).into_iter().flatten().take_while(|(other, _)| *other < place);
        before.into_iter().any(|(_, pair)| {
            let first = self.lines.get(pair).and_then(|line| line.waiting.front());
            first.is_some_and(|first| self.may_not_be_passed(short, pair, first.body))
        })
    }

    fn may_not_be_passed(&self, short: &Short, pair: &Pair, body: u64) -> bool {
        match short.kind {
            Kind::Client => self.bodies_out(pair) == 0,
            Kind::Room | Kind::Rest => most_of(body) <= self.kept(),
            Kind::Destination => true,
            Kind::Nothing => false,
        }
    }

    fn kept(&self) -> u64 {
        self.max / KEPT_PART
    }

    fn put(&mut self, place: u64, pair: &Pair, short: Short) {
        if let Some(line) = self.lines.get_mut(pair) {
            line.at = short.clone();
        }
        self.short.entry(short).or_default().insert((place, pair.clone()));
    }

    fn take(&mut self, place: u64, pair: &Pair, short: &Short) {
        if let Some(set) = self.short.get_mut(short) {
            set.remove(&(place, pair.clone()));
            if set.is_empty() {
                self.short.remove(short);
            }
        }
        // Whoever would have passed it may go.
        self.wake(short.clone());
        if short.kind == Kind::Room {
            self.wake(Short::of_room(Kind::Rest));
        }
    }

    /// Takes the first out of its line; the one behind it is the first then.
    fn pop(&mut self, pair: &Pair) -> Option<Waiting> {
        let line = self.lines.get_mut(pair)?;
        let first = line.waiting.pop_front()?;
        let (at, next) = (line.at.clone(), line.waiting.front().map(|waiting| waiting.place));
        if next.is_none() && line.out == 0 {
            self.lines.remove(pair);
        }
        self.take(first.place, pair, &at);
        if let Some(place) = next {
            self.put(place, pair, Short::NOTHING);
            self.woken.insert(Short::NOTHING);
        }
        Some(first)
    }
}
