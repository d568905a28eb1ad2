//! Room: whose bodies are brought into memory and sent, and in which order.
//!
//! A body takes room twice: of its client's buffer, until it is settled; and of what the server has for bodies on their way out,
//! until it has left. A destination has at most half of the server's room and a client a quarter, and a quarter is for
//! destinations that have nothing out. One body may be larger than any of these where nothing else counts against it.
//!
//! A client has a *reach*: what its link takes in [`limits::REACH_SPAN`]. What is out for a client beyond that has half of the
//! room, for all clients together, half of a destination's part, and nothing of the kept quarter. So whoever takes what he gets
//! waits for others who do, and not for those who do not: see [`reach`].
//!
//! Bodies are small or large, and an eighth of each of these bounds is for small ones alone: over a slow link a large one is out
//! for minutes, and a small one would wait as long for what it takes.
//!
//! What does not fit waits, those of one client, destination and kind behind each other, with what it is short of. Whatever is
//! given back wakes those that were short of it, the first leased first; but a line whose body was at its target for long lets
//! the first of each other go before its next ([`turns`]).
//!
//! # Why nobody waits for ever
//! - Of those of a kind that are short of one thing, the first goes first. Nobody of its kind passes it: not who came later, and
//!   not at another destination of the same client, unless the first has something of its kind out there already, which will
//!   come back to it.
//! - A small one waits for small ones only: no large one takes of the part for small ones, and each of them fits in it.
//! - While a large one waits, what is small and came later goes as far as that part, and no further. So what else comes back
//!   is for the large one, however many small ones there are.
//! - Where nothing large is out, one large body always fits. What is out comes back: it is settled, or its client is gone.
//! - A body that leaves nothing of its client's buffer for the small ones goes alone there, and these wait for it: its client
//!   takes no more.
//! - While one waits for room beside what is kept, destinations that have nothing out go as far as that, and no further; and not
//!   at all while one waits that needs more than all the rest, which goes alone but for small ones.
//! - What is beyond a client's reach is taken back for whoever is within his (`hub/pace.rs`), and so is, after its turn, what
//!   keeps others from the part for that. Whoever it is taken from waits behind those that wait, and goes on where he was.

mod line;
mod reach;
#[cfg(test)]
mod reach_tests;
mod short;
mod taken;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    line::{Line, LineId, Lines, Waiting},
    reach::Reach,
    short::{Kind, Short},
    taken::{Bulk, Taken, for_large},
};
use crate::{
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    time::Mono,
};

/// A destination at a client.
pub(super) type Pair = (InstanceId, Name);

/// What is out, and who waits: see [the module](self).
#[derive(Debug)]
pub(super) struct Room {
    max: u64,
    now: Mono,
    /// Bytes of events on their way out.
    out: Taken,
    /// Those of them that are beyond the reach of their client.
    beyond: Taken,
    /// Those that went out past others which wait for room beside what is kept, and have not come back.
    kept: Taken,
    /// Those of them that came in and were not stored first: their bodies stand on the account of what comes in as well.
    borrowed: u64,
    /// The same by destination, where there are any.
    destinations: BTreeMap<Name, Outward>,
    clients: BTreeMap<InstanceId, ClientAccount>,
    lines: BTreeMap<Pair, Lines>,
    /// The first of each line that has any, by what it is short of, in the order of leasing.
    short: BTreeMap<Short, BTreeSet<(u64, LineId)>>,
    /// Of what something may have come back since it was looked at last.
    woken: BTreeSet<Short>,
    /// The place of the next that comes.
    next: u64,
}

/// What is out for one destination.
#[derive(Clone, Copy, Debug, Default)]
struct Outward {
    taken: Taken,
    /// What of [`Room::kept`] is on its account, until nothing of it is out any more.
    kept: Taken,
}

/// A client's side.
#[derive(Debug, Default)]
struct ClientAccount {
    /// Body bytes that it takes.
    buffer: u64,
    /// Body bytes that it holds or is about to get.
    held: Taken,
    /// Bytes of events that wait to be sent to it.
    unsent: Taken,
    /// Those of one that is larger than all that large ones may have: it went out alone, and others do not wait until it has
    /// left.
    outsize: u64,
    reach: Reach,
    /// It is gone: nothing is kept of it once nothing is on its account.
    gone: bool,
}

/// What asks for room.
#[derive(Clone, Copy, Debug)]
struct Asks {
    place: u64,
    body: u64,
    /// What its event takes at most.
    size: u64,
    /// See [`Waiting::again`].
    again: bool,
}

impl Asks {
    fn of(waiting: &Waiting) -> Self {
        let Waiting { place, body, again, .. } = *waiting;
        Self { place, body, size: most_of(body), again }
    }
}

/// What was found among those that are short of one thing.
enum Found {
    /// The first of this line fits.
    Fits(LineId),
    /// The first of this line is short of that.
    Misses(u64, LineId, Short),
    /// Nobody that may go.
    Nothing,
}

/// What an event takes at most, for its body has so many bytes: its head is not known before it is read.
pub(super) fn most_of(body: u64) -> u64 {
    body + limits::HEAD_BYTES_MAX as u64
}

impl ClientAccount {
    /// What was alone and had so many bytes has left.
    fn forget_outsize(&mut self, size: u64) {
        if self.outsize == size {
            self.outsize = 0;
        }
    }

    /// Whether its buffer takes a body of so many bytes.
    fn takes(&self, bulk: Bulk, body: u64) -> bool {
        let held = self.held;
        held.all() == 0
            || held.takes(bulk, body, self.buffer)
            // Alone, but for small ones that are there already.
            || held.large == 0 && held.all().saturating_add(body) <= self.buffer
    }

    /// Whether an event of so many bytes may wait to be sent to it, where so many may.
    fn lines_up(&self, bulk: Bulk, size: u64, part: u64) -> bool {
        let mut beside = self.unsent;
        beside.large -= self.outsize;
        match bulk {
            Bulk::Small => beside.keeps_room_for(size, part) || beside.takes(bulk, size, part),
            Bulk::Large if size <= for_large(part) => beside.takes(bulk, size, part),
            Bulk::Large => self.unsent.large == 0 && self.unsent.small <= part / limits::ROOM_SMALL_PART,
        }
    }
}

impl Room {
    /// With nothing out of so many bytes.
    pub(super) fn new(max: u64) -> Self {
        Self {
            max,
            now: Mono::default(),
            out: Taken::default(),
            beyond: Taken::default(),
            kept: Taken::default(),
            borrowed: 0,
            destinations: BTreeMap::new(),
            clients: BTreeMap::new(),
            lines: BTreeMap::new(),
            short: BTreeMap::new(),
            woken: BTreeSet::new(),
            next: 0,
        }
    }

    /// What time it is.
    pub(super) fn set_now(&mut self, now: Mono) {
        self.now = now;
    }

    /// How many body bytes a client takes, from its Hello.
    pub(super) fn set_buffer(&mut self, client: InstanceId, bytes: u64) {
        let known = self.clients.entry(client).or_default();
        (known.buffer, known.gone) = (bytes, false);
        self.woken.extend([Bulk::Small, Bulk::Large].map(|bulk| Short::of_client(client, bulk)));
    }

    /// The client is forgotten, at once or when the last body is here that is read for it.
    pub(super) fn forget(&mut self, client: InstanceId) {
        if let Some(known) = self.clients.get_mut(&client) {
            known.gone = true;
            self.forget_if_gone(client);
        }
    }

    fn forget_if_gone(&mut self, client: InstanceId) {
        let is_over = |client: &ClientAccount| client.gone && client.held.all() == 0 && client.unsent.all() == 0;
        if self.clients.get(&client).is_some_and(is_over) {
            self.clients.remove(&client);
        }
    }

    /// Whether a client takes any more bodies.
    pub(super) fn is_open(&self, client: InstanceId) -> bool {
        self.clients.get(&client).is_some_and(|client| client.held.all() == 0 || client.held.all() < client.buffer)
    }

    /// How many bodies of this length a client takes beside what it holds; one more, where it holds nothing.
    pub(super) fn fitting(&self, client: InstanceId, body: u64) -> u64 {
        let Some(ClientAccount { buffer, held, .. }) = self.clients.get(&client) else { return 0 };
        let left = match self.bulk(body) {
            Bulk::Small => buffer.saturating_sub(held.all()),
            Bulk::Large => for_large(*buffer).saturating_sub(held.large).min(buffer.saturating_sub(held.all())),
        };
        left / body.max(1)
    }

    /// Whether a body of so many bytes is a large one.
    pub(super) fn is_large(&self, body: u64) -> bool {
        self.bulk(body) == Bulk::Large
    }

    /// Small are those that go as one message, if several of them fit into the smallest part that is theirs alone.
    fn bulk(&self, body: u64) -> Bulk {
        if crate::canary::is("small_behind_large") {
            return Bulk::Large; // Canary: what is small must not wait for what is large.
        }
        let theirs = self.max / limits::ROOM_CLIENT_PART / limits::ROOM_SMALL_PART;
        if body <= limits::SMALL_BODY_BYTES && most_of(body) <= theirs { Bulk::Small } else { Bulk::Large }
    }

    /// Whether small bodies wait at this client and destination.
    pub(super) fn has_small_waiting(&self, pair: &Pair) -> bool {
        self.some_wait() && self.line(pair, Bulk::Small).is_some_and(|line| !line.waiting.is_empty())
    }

    /// Whether large ones wait there that have not begun to leave.
    pub(super) fn has_large_waiting(&self, pair: &Pair) -> bool {
        self.some_wait() && self.large_at(pair).0 > 0
    }

    /// Whether anybody waits at all.
    fn some_wait(&self) -> bool {
        !self.short.is_empty()
    }

    /// How many large bodies wait there that have not begun to leave, and how many others have not left whole.
    pub(super) fn large_at(&self, pair: &Pair) -> (usize, usize) {
        let again = |line: &Line| line.waiting.iter().take_while(|first| first.again).count();
        self.line(pair, Bulk::Large).map_or((0, 0), |line| (line.waiting.len() - again(line), line.unsent))
    }

    /// What waits at this client and destination and has not begun to leave, the first of a kind first.
    pub(super) fn waiting(&self, pair: &Pair) -> Vec<DeliveryId> {
        let lines = [Bulk::Small, Bulk::Large].into_iter().filter_map(|bulk| self.line(pair, bulk));
        let waiting = lines.flat_map(|line| &line.waiting).filter(|waiting| !waiting.again);
        waiting.map(|waiting| waiting.id).collect()
    }

    /// A delivery was leased, and waits for room for its body.
    pub(super) fn wait(&mut self, pair: &Pair, id: DeliveryId, body: u64) {
        let place = self.next;
        self.next += 1;
        let at = self.line_id(pair, body);
        let line = self.line_mut(pair, at.bulk);
        line.waiting.push_back(Waiting { place, id, body, again: false });
        if line.waiting.len() == 1 {
            self.put_first(place, &at);
        }
    }

    /// Room at once for one that was leased, where nobody waits: as [`Self::wait`] and [`Self::next`] would give it. `false`: it
    /// has to wait.
    pub(super) fn goes_at_once(&mut self, pair: &Pair, body: u64) -> bool {
        let asks = Asks { place: self.next, body, size: most_of(body), again: false };
        let goes = !self.some_wait() && self.shortage(pair, self.bulk(body), asks).is_none();
        if goes {
            self.claim(pair, body, asks.size);
        }
        goes
    }

    /// An event is on its way out no longer, and its client has a part of it: it waits for room for the rest, before others of
    /// its line and behind those of all other lines.
    pub(super) fn wait_again(&mut self, pair: &Pair, id: DeliveryId, body: u64, size: u64, borrowed: bool) {
        self.borrowed -= if borrowed { size } else { 0 };
        self.give_back(pair, body, size, |client| client.forget_outsize(size));
        let place = self.next;
        self.next += 1;
        let at = self.line_id(pair, body);
        let line = self.line_mut(pair, at.bulk);
        let (before, set) = (line.waiting.front().map(|first| first.place), line.at.clone());
        line.waiting.push_front(Waiting { place, id, body, again: true });
        if let Some(before) = before {
            self.take(before, &at, &set);
        }
        self.put_first(place, &at);
    }

    /// The same one waits no more.
    pub(super) fn leave_again(&mut self, pair: &Pair, id: DeliveryId, body: u64) {
        self.leave(pair, id, body);
        self.change_line(pair, self.bulk(body), |line| line.unsent -= 1);
    }

    /// One that may be waiting waits no more.
    pub(super) fn leave(&mut self, pair: &Pair, id: DeliveryId, body: u64) {
        let bulk = self.bulk(body);
        let Some(line) = self.lines.get_mut(pair).map(|lines| lines.of(bulk)) else { return };
        let Some(index) = line.waiting.iter().position(|waiting| waiting.id == id) else { return };
        if index == 0 {
            self.pop(&self.line_id(pair, body));
        } else {
            line.waiting.remove(index);
        }
    }

    /// The next whose body there is room for. It has that room from now on, as [`most_of`] its body.
    pub(super) fn next(&mut self) -> Option<(Pair, DeliveryId)> {
        while let Some(short) = self.woken.first().cloned() {
            let at = match self.look_at(&short) {
                Found::Fits(at) => at,
                Found::Misses(place, at, other) => {
                    self.take(place, &at, &short);
                    self.put(place, &at, other);
                    continue;
                }
                Found::Nothing => {
                    self.woken.remove(&short);
                    continue;
                }
            };
            if let Some(first) = self.pop(&at) {
                if first.again {
                    self.go_out(&at.pair, first.body, most_of(first.body), 0);
                } else {
                    self.claim(&at.pair, first.body, most_of(first.body));
                }
                return Some((at.pair, first.id));
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
        let may_borrow =
            self.borrowed + size <= self.max / limits::ROOM_BORROWED_PART || crate::canary::is("borrows_all");
        let bulk = self.bulk(body);
        let is_first = !self.some_wait() || self.line(pair, bulk).is_none_or(|line| line.waiting.is_empty());
        let asks = Asks { place: self.next, body, size, again: false };
        may_borrow && is_first && self.shortage(pair, bulk, asks).is_none()
    }

    /// Room for an event: of the body at the client, and of all of it here.
    pub(super) fn claim(&mut self, pair: &Pair, body: u64, size: u64) {
        let line = self.line_mut(pair, self.bulk(body));
        line.out += 1;
        line.unsent += 1;
        self.go_out(pair, body, size, body);
    }

    /// Room here, and so much of it at the client.
    fn go_out(&mut self, pair: &Pair, body: u64, size: u64, held: u64) {
        let bulk = self.bulk(body);
        let passes = self.some_wait_for_rest() && self.is_within(pair.0, bulk, size) && size <= self.kept();
        *self.out.of(bulk) += size;
        let outward = self.outward_mut(&pair.1);
        let is_kept = passes && outward.taken.all() == 0;
        *outward.taken.of(bulk) += size;
        if is_kept {
            *outward.kept.of(bulk) += size;
            *self.kept.of(bulk) += size;
        }
        let part = self.max / limits::ROOM_CLIENT_PART;
        self.change_client(pair.0, |client| {
            *client.held.of(bulk) += held;
            *client.unsent.of(bulk) += size;
            if size > for_large(part) && client.outsize == 0 {
                client.outsize = size;
            }
        });
    }

    /// The same for one that [`takes`](Self::takes) allowed.
    pub(super) fn borrow(&mut self, pair: &Pair, body: u64, size: u64) {
        self.borrowed += size;
        self.claim(pair, body, size);
    }

    /// A client has a body.
    pub(super) fn hold(&mut self, pair: &Pair, body: u64) {
        let bulk = self.bulk(body);
        *self.clients.entry(pair.0).or_default().held.of(bulk) += body;
        self.line_mut(pair, bulk).out += 1;
    }

    /// What was claimed as [`most_of`] its body before it was read needs less: its size is known now.
    pub(super) fn came(&mut self, pair: &Pair, body: u64, size: u64) {
        let claimed = most_of(body);
        self.give_back(pair, body, claimed - size, |client| {
            if client.outsize == claimed {
                client.outsize = size;
            }
        });
    }

    /// An event that was out has left, or will not.
    pub(super) fn left(&mut self, pair: &Pair, body: u64, size: u64) {
        let now = self.now;
        self.change_line(pair, self.bulk(body), |line| {
            line.unsent -= 1;
            line.left_at = now;
        });
        self.give_back(pair, body, size, |client| client.forget_outsize(size));
    }

    /// So much is not out any more; `change` is what else that means for its client.
    fn give_back(&mut self, pair: &Pair, body: u64, size: u64, change: impl FnOnce(&mut ClientAccount)) {
        let bulk = self.bulk(body);
        *self.out.of(bulk) -= size;
        if let Some(client) = self.clients.get_mut(&pair.0) {
            change(client);
            client.change(&mut self.beyond, |client| *client.unsent.of(bulk) -= size);
            self.forget_if_gone(pair.0);
        }
        if let Some(outward) = self.destinations.get_mut(&pair.1) {
            *outward.taken.of(bulk) -= size;
            if outward.taken.all() == 0 {
                self.kept = self.kept.without(outward.kept);
                self.destinations.remove(&pair.1);
            }
        }
        if !self.short.is_empty() {
            self.wake(&Short::of_room(Kind::Room, bulk));
            self.wake(&Short::of_room(Kind::Rest, bulk));
            self.wake(&Short::of_destination(&pair.1, bulk));
            self.wake(&Short::of_room(Kind::Reach, bulk));
            self.wake(&Short::of_client(pair.0, bulk));
        }
    }

    /// The same of one that was borrowed.
    pub(super) fn returned(&mut self, pair: &Pair, body: u64, size: u64) {
        self.borrowed -= size;
        self.left(pair, body, size);
    }

    /// A client holds a body no more.
    pub(super) fn settled(&mut self, pair: &Pair, body: u64) {
        let bulk = self.bulk(body);
        if let Some(client) = self.clients.get_mut(&pair.0) {
            *client.held.of(bulk) -= body;
            self.forget_if_gone(pair.0);
        }
        self.pass_turn(pair, bulk);
        self.change_line(pair, bulk, |line| line.out -= 1);
        if !self.short.is_empty() {
            self.wake(&Short::of_client(pair.0, bulk));
        }
    }

    /// Bytes of events on their way out.
    pub(super) fn out(&self) -> u64 {
        self.out.all()
    }

    /// Panics if the accounts contradict each other.
    pub(super) fn check(&self) {
        let sum = |parts: &mut dyn Iterator<Item = Taken>| {
            parts.fold(Taken::default(), |sum, part| Taken {
                small: sum.small + part.small,
                large: sum.large + part.large,
            })
        };
        let destinations = sum(&mut self.destinations.values().map(|outward| outward.taken));
        assert_eq!(self.out, destinations, "what is out is that of all destinations");
        let clients = sum(&mut self.clients.values().map(|client| client.unsent));
        assert_eq!(self.out, clients, "what is out is that of all clients");
        let beyond = sum(&mut self.clients.values().map(ClientAccount::beyond));
        assert_eq!(self.beyond, beyond, "what is beyond the reach of its client is that of all clients");
        let kept = sum(&mut self.destinations.values().map(|outward| outward.kept));
        assert_eq!(self.kept, kept, "what went out past others is that of all destinations");
        assert!(self.borrowed <= self.out(), "what is borrowed is on its way out");
        let firsts: usize = self.short.values().map(BTreeSet::len).sum();
        let lines = self.lines.values().flat_map(|Lines { small, large }| [small, large]);
        let lines = lines.filter(|line| !line.waiting.is_empty()).count();
        assert_eq!(firsts, lines, "the first of each line is short of one thing");
        assert!(self.lines.values().all(|lines| !lines.are_empty()), "no lines are empty");
        let kinds = self.short.iter().flat_map(|(short, set)| set.iter().map(|(_, at)| (short.bulk, at.bulk)));
        assert!(kinds.into_iter().all(|(set, line)| set == line), "each kind is in its own sets");
    }

    fn line(&self, pair: &Pair, bulk: Bulk) -> Option<&Line> {
        let Lines { small, large } = self.lines.get(pair)?;
        Some(match bulk {
            Bulk::Small => small,
            Bulk::Large => large,
        })
    }

    /// A line, made if it is not there.
    fn line_mut(&mut self, pair: &Pair, bulk: Bulk) -> &mut Line {
        self.lines.entry(pair.clone()).or_default().of(bulk)
    }

    /// What is out for a destination.
    fn outward_mut(&mut self, name: &Name) -> &mut Outward {
        self.destinations.entry(name.clone()).or_default()
    }

    fn line_id(&self, pair: &Pair, body: u64) -> LineId {
        LineId { pair: pair.clone(), bulk: self.bulk(body) }
    }

    /// Changes a line, and drops it with the other of its client and destination if nothing is left of either.
    fn change_line(&mut self, pair: &Pair, bulk: Bulk, change: impl FnOnce(&mut Line)) {
        let Some(lines) = self.lines.get_mut(pair) else { return };
        change(lines.of(bulk));
        if lines.are_empty() {
            self.lines.remove(pair);
        }
    }

    /// What came back may be for either kind.
    fn wake(&mut self, short: &Short) {
        for bulk in [Bulk::Small, Bulk::Large] {
            let short = short.with(bulk);
            if self.short.contains_key(&short) {
                self.woken.insert(short);
            }
        }
    }

    /// The first of those short of this that fits now, or is short of something else.
    fn look_at(&self, short: &Short) -> Found {
        for (place, at) in self.short.get(short).into_iter().flatten() {
            let Some(first) = self.first_of(at) else { continue };
            match self.shortage(&at.pair, at.bulk, Asks::of(first)) {
                None => return Found::Fits(at.clone()),
                Some(same) if same == *short => {
                    if self.may_not_be_passed(short, at) {
                        return Found::Nothing;
                    }
                }
                Some(other) => return Found::Misses(*place, at.clone(), other),
            }
        }
        Found::Nothing
    }

    /// What a body is short of.
    fn shortage(&self, pair: &Pair, bulk: Bulk, asks: Asks) -> Option<Short> {
        let size = asks.size;
        let of_client = Short::of_client(pair.0, bulk);
        let Some(client) = self.clients.get(&pair.0) else { return Some(of_client) };
        if !asks.again && self.is_held_up_by_client(client, &of_client, bulk, asks) {
            return Some(of_client);
        }
        let outward = self.destinations.get(&pair.1).copied().unwrap_or_default();
        let within = client.further(bulk, size) == 0;
        if !within && self.is_held_up_by_reach(bulk, client, asks) {
            return Some(Short::of_room(Kind::Reach, bulk));
        }
        let has_nothing_out = within && outward.taken.all() == 0 && size <= self.kept();
        let room = Short::of_room(if has_nothing_out { Kind::Room } else { Kind::Rest }, bulk);
        let has_part = within && bulk == Bulk::Small && self.small_within().keeps_room_for(size, self.kept());
        if self.would_pass_for_room(bulk, asks, has_nothing_out, has_part) {
            return Some(room);
        }
        if self.out() == 0 {
            return None;
        }
        if self.is_held_up_by_destination(pair, bulk, outward.taken, asks) {
            return Some(Short::of_destination(&pair.1, bulk));
        }
        if !client.lines_up(bulk, size, self.max / limits::ROOM_CLIENT_PART) {
            return Some(of_client);
        }
        (!self.has_room(bulk, size, has_nothing_out, has_part)).then_some(room)
    }

    fn is_held_up_by_client(&self, client: &ClientAccount, short: &Short, bulk: Bulk, asks: Asks) -> bool {
        let part = self.max / limits::ROOM_CLIENT_PART;
        let has_part = bulk == Bulk::Small
            && client.held.keeps_room_for(asks.body, client.buffer)
            && client.unsent.keeps_room_for(asks.size, part);
        !client.takes(bulk, asks.body) || self.would_pass(asks.place, short, has_part)
    }

    fn is_held_up_by_destination(&self, pair: &Pair, bulk: Bulk, mine: Taken, asks: Asks) -> bool {
        let most = self.max / limits::ROOM_DESTINATION_PART;
        let has_part = bulk == Bulk::Small && mine.keeps_room_for(asks.size, most);
        let alone = mine.all() == 0 || mine.is_free_for(asks.size, most);
        let fits = alone || has_part || mine.takes(bulk, asks.size, most);
        let passes = || self.would_pass(asks.place, &Short::of_destination(&pair.1, bulk), has_part);
        !fits || !self.short.is_empty() && passes()
    }

    /// Whether it would pass one that waits for room.
    fn would_pass_for_room(&self, bulk: Bulk, asks: Asks, has_nothing_out: bool, has_part: bool) -> bool {
        let (room, rest) = (Short::of_room(Kind::Room, bulk), Short::of_room(Kind::Rest, bulk));
        if self.would_pass(asks.place, &room, has_part) {
            return true;
        }
        if !self.would_pass(asks.place, &rest, has_part) {
            return false;
        }
        // Beside those that wait for the rest, what is kept goes out, where one of them does not need more than that.
        let goes_past = has_nothing_out && self.kept.all() + asks.size <= self.kept() && !self.one_needs_all();
        !goes_past
    }

    /// Whether so many bytes have room beside all that is out.
    fn has_room(&self, bulk: Bulk, size: u64, has_nothing_out: bool, has_part: bool) -> bool {
        let most = if has_nothing_out { self.max } else { self.max - self.kept() };
        let beside = if has_nothing_out { self.out } else { self.out.without(self.kept) };
        let (for_small, all) = (self.kept() / limits::ROOM_SMALL_PART, self.out().saturating_add(size));
        match bulk {
            // Beside one that goes alone small ones have their part all the same.
            Bulk::Small if has_part => all <= self.max || self.out.large > self.max - for_small,
            Bulk::Small => all <= self.max && beside.all() + size <= most,
            Bulk::Large if size > most - for_small => self.out.large == 0 && self.out.small <= for_small,
            Bulk::Large => {
                // What is small and beyond the reach of its client is no reason to go without the part for small ones.
                let large = beside.large + self.beyond.small;
                all <= self.max && beside.all() + size <= most && large.saturating_add(size) <= most - for_small
            }
        }
    }

    /// What is out, but for small ones beyond the reach of their clients: these have no part of their own.
    fn small_within(&self) -> Taken {
        self.out.without(Taken { small: self.beyond.small, large: 0 })
    }

    fn some_wait_for_rest(&self) -> bool {
        let waits = |bulk| self.short.contains_key(&Short::of_room(Kind::Rest, bulk));
        !self.short.is_empty() && (waits(Bulk::Small) || waits(Bulk::Large))
    }

    /// Whether somebody waits that needs more than there is beside what is kept.
    fn one_needs_all(&self) -> bool {
        let rest = self.max - self.kept();
        let first = self.first_short(&Short::of_room(Kind::Rest, Bulk::Large));
        first.is_some_and(|(_, first)| most_of(first.body) > rest - self.kept() / limits::ROOM_SMALL_PART)
    }

    /// Whether one of this place would pass another that may not be. A small one that has its part passes large ones, and what is
    /// beyond the reach of its client.
    fn would_pass(&self, place: u64, short: &Short, has_part: bool) -> bool {
        if self.short.is_empty() {
            return false;
        }
        [Bulk::Small, Bulk::Large].into_iter().any(|bulk| {
            let short = short.with(bulk);
            let before = self.short.get(&short).into_iter().flatten().take_while(|(other, _)| *other < place);
            before.into_iter().any(|(_, at)| {
                let stands = |first: &Waiting| {
                    let blocks = self.may_not_be_passed(&short, at);
                    blocks && (!has_part || self.has_part_too(at, first) || self.goes_alone(&short, at, first.body))
                };
                self.first_of(at).is_some_and(stands)
            })
        })
    }

    /// Whether it waits for the part for small ones as well.
    fn has_part_too(&self, at: &LineId, first: &Waiting) -> bool {
        at.bulk == Bulk::Small && self.is_within(at.pair.0, at.bulk, most_of(first.body))
    }

    fn may_not_be_passed(&self, short: &Short, at: &LineId) -> bool {
        match short.kind {
            Kind::Client => self.line(&at.pair, at.bulk).is_none_or(|line| line.out == 0),
            Kind::Room | Kind::Rest | Kind::Destination | Kind::Reach => true,
            Kind::Nothing => false,
        }
    }

    /// Whether a body that waits for its client leaves nothing of the buffer for small ones.
    fn goes_alone(&self, short: &Short, at: &LineId, body: u64) -> bool {
        let buffer = self.clients.get(&at.pair.0).map_or(0, |client| client.buffer);
        short.kind == Kind::Client && body > for_large(buffer)
    }

    /// The first that is short of this.
    fn first_short(&self, short: &Short) -> Option<(&LineId, &Waiting)> {
        let (_, at) = self.short.get(short)?.first()?;
        Some((at, self.first_of(at)?))
    }

    fn first_of(&self, at: &LineId) -> Option<&Waiting> {
        self.line(&at.pair, at.bulk).and_then(|line| line.waiting.front())
    }

    fn kept(&self) -> u64 {
        self.max / limits::ROOM_KEPT_PART
    }

    /// It has just become the first of its line.
    fn put_first(&mut self, place: u64, at: &LineId) {
        let nothing = Short::of_room(Kind::Nothing, at.bulk);
        self.put(place, at, nothing.clone());
        self.woken.insert(nothing);
    }

    fn put(&mut self, place: u64, at: &LineId, short: Short) {
        if let Some(lines) = self.lines.get_mut(&at.pair) {
            lines.of(at.bulk).at = short.clone();
        }
        self.short.entry(short).or_default().insert((place, at.clone()));
    }

    fn take(&mut self, place: u64, at: &LineId, short: &Short) {
        if let Some(set) = self.short.get_mut(short) {
            set.remove(&(place, at.clone()));
            if set.is_empty() {
                self.short.remove(short);
            }
        }
        // Whoever would have passed it may go.
        self.wake(short);
        if short.kind == Kind::Room {
            self.wake(&Short::of_room(Kind::Rest, short.bulk));
        }
    }

    /// Takes the first out of its line; the one behind it is the first then.
    fn pop(&mut self, at: &LineId) -> Option<Waiting> {
        let line = self.lines.get_mut(&at.pair)?.of(at.bulk);
        let first = line.waiting.pop_front()?;
        let (set, next) = (line.at.clone(), line.waiting.front().map(|waiting| waiting.place));
        self.change_line(&at.pair, at.bulk, |_| ());
        self.take(first.place, at, &set);
        if let Some(place) = next {
            self.put_first(place, at);
        }
        Some(first)
    }
}
