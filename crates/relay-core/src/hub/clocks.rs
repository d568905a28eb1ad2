//! Clocks: whether this server's goes as that of the others on its store.
//!
//! While it does not, the server takes no leases, since it would judge theirs by another time, and sends its clients to the others; it
//! goes on accepting and settling, and what it stores and asks is reckoned by the clock that the servers keep. Once the others are gone
//! it keeps that clock for them: it says so, and leases by it as soon as what they had leased has lapsed. Before it knows it decides
//! nothing: clients and requests wait. With one owner there is nothing to compare.

use super::{Accepting, Answer, ConnId, Hub, NotStored, Output, Ticket};
use crate::{
    id::InstanceId,
    limits,
    name::Name,
    storage::{Apart, Presence, Reading, StoreError},
    time::{Mono, Now, Wall},
};

/// What is known of them.
///
/// Beside moments that are stored, all in the hub is by its own clock: it does not jump.
#[derive(Debug)]
pub(super) struct Clocks {
    /// The store is being asked for its clock.
    asking: bool,
    /// It has answered, if only that it has none to compare with.
    known: bool,
    /// How this server's own clock was found to go.
    reading: Option<Reading>,
    /// It has been compared with those of the others.
    compared: bool,
    /// It is off.
    apart: Option<Apart>,
    /// So many microseconds it is ahead of the clock that this server keeps for others which are gone.
    kept: i64,
    /// It is off, and since when it hears of nobody.
    alone: Option<Mono>,
    /// Requests that came before: nobody knows yet what time it is.
    early: Vec<(Ticket, Accepting)>,
}

impl Clocks {
    pub(super) fn new(shares: bool) -> Self {
        Self {
            asking: false,
            known: false,
            reading: None,
            compared: !shares,
            apart: None,
            kept: 0,
            alone: None,
            early: Vec::new(),
        }
    }

    /// Whether leases may be taken by this clock.
    pub(super) fn may_lease(&self) -> bool {
        // Canary: a clock that is off takes what others have.
        self.compared && (self.apart.is_none() || crate::canary::is("clock_apart"))
    }

    /// Whether it is compared with those of the others; if there are any.
    pub(super) fn are_compared(&self) -> bool {
        self.compared
    }

    /// How the clock goes that this server would lease by.
    fn mine(&self) -> Option<Reading> {
        self.reading.map(|reading| Reading { ahead: reading.ahead.saturating_sub(self.kept), ..reading })
    }

    /// How it says that it goes: whoever starts while this is all that is left is to go as those that are gone.
    pub(super) fn told(&self) -> Option<Reading> {
        let apart = self.alone.and(self.apart).map_or(0, Apart::ahead);
        self.mine().map(|mine| Reading { ahead: mine.ahead.saturating_sub(apart), ..mine })
    }

    /// By so much this clock is ahead of the one that the servers keep.
    fn ahead(&self) -> i64 {
        self.kept.saturating_add(self.apart.map_or(0, Apart::ahead))
    }

    /// The moment that the servers have when it is `at` here: the same, unless this clock is off.
    pub(super) fn shared(&self, at: Wall) -> Wall {
        Wall::from_micros(at.as_micros().saturating_sub(self.ahead()))
    }

    /// What the store's clock says when it is `at` here; where it has none, the moment that the servers have. As long as nobody knows, a
    /// moment at which nobody is gone yet.
    pub(super) fn of_store(&self, at: Wall) -> Wall {
        match self.reading {
            Some(reading) => Wall::from_micros(at.as_micros().saturating_sub(reading.ahead)),
            None if self.known => self.shared(at),
            None => Wall::MIN + limits::PRESENCE_GONE,
        }
    }

    /// What it is here at a moment that the servers have.
    pub(super) fn own(&self, at: Wall) -> Wall {
        Wall::from_micros(at.as_micros().saturating_add(self.ahead()))
    }

    /// Nobody else is heard of. If that stays so, the others are gone, and all that they had leased has lapsed: from then on this
    /// server leases, by their clock, for that is what all is stored by.
    fn left_alone(&mut self, now: Mono) {
        let Some(apart) = self.apart else { return };
        let since = *self.alone.get_or_insert(now);
        if now.since(since) > limits::PRESENCE_GONE + limits::LAPSE_AFTER {
            self.kept = self.kept.saturating_add(apart.ahead());
            (self.apart, self.alone) = (None, None);
        }
    }

    /// Others are there, some of which go so.
    fn compare_with(&mut self, theirs: Vec<Reading>) {
        self.alone = None;
        let Some(mine) = self.mine() else { return };
        let all: Vec<Reading> = theirs.into_iter().chain([mine]).collect();
        self.apart = Reading::of_most(&all).and_then(|most| mine.apart_from(&most));
    }
}

impl Hub {
    /// How far this server's clock is from that of the others, while it is: it takes no leases.
    pub fn clock_apart(&self) -> Option<Apart> {
        self.clocks.apart
    }

    /// How far its own clock is from that by which this server stores and asks.
    pub fn clock_shift(&self) -> Option<Apart> {
        Apart::of(self.clocks.ahead())
    }

    /// Now, as all servers have it: for all that is stored, and asked of the store.
    pub(super) fn shared_now(&self) -> Wall {
        self.clocks.shared(self.now.wall)
    }

    /// Looks how the clock goes, says who is here and hears of the others. Only the first word waits for that look: on a store
    /// that is slow, two answers one after the other would come too late for those who wait for it.
    pub(super) fn read_clock(&mut self) {
        if !self.setup.shares || self.failed {
            return;
        }
        if !std::mem::replace(&mut self.clocks.asking, true) {
            let op = self.ops.clock(self.now);
            self.ask_store(op);
        }
        if self.clocks.known {
            self.say_presence();
        }
    }

    pub(super) fn on_clock(&mut self, asked: Now, result: &Result<Option<Wall>, StoreError>) {
        self.clocks.asking = false;
        let waits = !self.clocks.known;
        if let Ok(store) = result {
            self.clocks.known = true;
            self.clocks.reading = store.map(|store| Reading::between(asked, store, self.now));
        }
        if waits {
            self.say_presence();
        }
    }

    /// Others have said how theirs go.
    pub(super) fn compare_clocks(&mut self, others: &[Presence]) {
        let mine = self.clocks.mine();
        let theirs: Vec<Reading> = others.iter().filter_map(|other| other.clock).collect();
        let wait = mine.is_some() && !others.is_empty() && theirs.is_empty();
        if !self.clocks.known || (wait && !self.clocks.compared) {
            return self.turn_away_early();
        }
        let before = self.clocks.may_lease();
        let first = !std::mem::replace(&mut self.clocks.compared, true);
        if others.is_empty() {
            self.clocks.left_alone(self.now.mono);
        } else if !theirs.is_empty() {
            self.clocks.compare_with(theirs);
        }
        if first {
            self.begin_on_time();
        }
        match (before, self.clocks.may_lease()) {
            (false, true) => {
                let names: Vec<Name> = self.destinations.keys().cloned().collect();
                for name in &names {
                    self.on_work(name);
                }
            }
            (true, false) => self.send_all_elsewhere(),
            (true, true) | (false, false) => {}
        }
    }

    /// Whoever gets nothing here any more goes to a server that leases.
    fn send_all_elsewhere(&mut self) {
        let here = self.instances.iter().filter_map(|(id, instance)| Some((instance.conn?, *id)));
        let here: Vec<(ConnId, InstanceId)> = here.collect();
        for (conn, id) in here {
            self.send_elsewhere(conn, id);
        }
    }

    /// It may report here what it has begun. Where there is no other way for it than to this server it comes again and again, ever
    /// more seldom, until it is given something.
    pub(super) fn send_elsewhere(&mut self, conn: ConnId, id: InstanceId) {
        self.say_goodbye(conn, "the server's clock is not that of the others on its store", true);
        self.on_goodbye(id);
    }

    /// What waited for that: clients that said Hello, requests, and all that is due.
    fn begin_on_time(&mut self) {
        if self.loaded_at.is_none() {
            self.on_loaded();
        }
        for (ticket, request) in std::mem::take(&mut self.clocks.early) {
            self.on_accept(ticket, request);
        }
        self.ask_due();
    }

    /// A request that came before the clocks are compared waits for that, which a store that can be reached does at once.
    pub(super) fn wait_for_clock(&mut self, ticket: Ticket, request: Accepting) {
        if self.clocks.early.len() < limits::APPENDS_MAX {
            self.clocks.early.push((ticket, request));
        } else {
            self.outputs.push_back(Output::Answer(ticket, Answer::Busy));
        }
    }

    /// They could not be compared: who has no patience left is told no.
    pub(super) fn turn_away_early(&mut self) {
        let now = self.now.wall;
        let (over, early): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.clocks.early).into_iter().partition(|(_, request)| request.deadline <= now);
        self.clocks.early = early;
        for (ticket, _) in over {
            self.outputs.push_back(Output::Answer(ticket, Answer::NotStored(NotStored::Away)));
        }
    }

    /// All of them are told so: they will not be compared any more.
    pub(super) fn answer_early(&mut self, answer: &Answer) {
        for (ticket, _) in std::mem::take(&mut self.clocks.early) {
            self.outputs.push_back(Output::Answer(ticket, answer.clone()));
        }
    }
}
