//! Several servers on one store: whose turn it is, which of their questions and answers are lost, and where clients are.

use std::{collections::BTreeSet, time::Duration};

use rand::RngExt as _;
use relay_core::{
    delivery::{Change, State, outcome::Class},
    hub::Input,
    id::InstanceId,
    limits,
    partitions::Partitions,
    storage::{Extend, StoreOp, Stored},
    time::Wall,
    wire::{
        codec,
        message::{Hello, Message},
    },
};

use crate::{
    chaos::Fault,
    intake,
    operator::token_of,
    plan::pick,
    world::{Home, PARTITIONS, Server, What, World, micros, routing},
};

/// Share of the store's answers that are lost until all is well.
const LOST: f64 = 0.05;
/// Who has been welcome at another server for so long is known to be there by all that the store answers, though some of what
/// they say of themselves is lost.
const KNOWN_WITHIN: Duration = Duration::from_secs(40);
/// So far apart two clocks of servers that share a store may be without their taking notice.
pub(crate) const CLOCKS_APART: Duration = Duration::from_millis(900);
/// Within so much a server hears of what another one changed in the registry (I21).
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// So long after healing servers that were stopping have ended, those that are to start again have, and all know each other.
const ACQUAINTED: Duration = Duration::from_secs(75);

/// What every server is to hear of the registry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    /// Routes or pauses are others.
    Routing,
    /// The token of this client was revoked, or may serve something else.
    Token(usize),
}

/// How far the clock of a server may be that is off.
const HOUR: i64 = 3_600_000_000;
/// What is stored is dated so near to the moment: what readings of clocks may be off by, and how long a request may wait.
const DATED_WITHIN: Duration = Duration::from_secs(10);

impl Server {
    /// Whether nothing but looking goes on.
    pub(crate) fn is_idle(&self, looks: bool) -> bool {
        let only_looks = |op: &StoreOp| matches!(op, StoreOp::Due(_) | StoreOp::Presence(_) | StoreOp::Clock(_));
        self.pending.values().all(|op| looks && only_looks(op))
    }
}

impl World {
    /// What happens from now on happens to this server; `false` if it is gone.
    pub(crate) fn turn_to(&mut self, epoch: u64) -> bool {
        if self.server.as_ref().is_some_and(|server| server.epoch == epoch) {
            return true;
        }
        let Some(at) = self.elsewhere.iter().position(|server| server.epoch == epoch) else { return false };
        let next = self.elsewhere.remove(at);
        self.elsewhere.extend(self.server.replace(next));
        self.oracle.turns_to(epoch);
        true
    }

    /// The same for one of those that are there.
    pub(crate) fn turn_to_some(&mut self) {
        if self.plan.servers == 1 {
            return;
        }
        let epochs: Vec<u64> = self.there().into_iter().collect();
        if !epochs.is_empty() {
            let epoch = *pick(&mut self.several, &epochs);
            self.turn_to(epoch);
        }
    }

    /// The same for the one behind that to which a client came last: when all is well it comes by a balancer that deals in turns. By chance
    /// it would be sent on, by one whose clock is off, ten times in a row, in one world of a thousand.
    pub(crate) fn turn_to_next(&mut self, client: usize) {
        let (there, last) = (self.there(), self.clients[client].came_to);
        let next = there.iter().find(|epoch| **epoch > last).or(there.first());
        if let Some(epoch) = next {
            self.turn_to(*epoch);
        }
    }

    /// The servers that take whoever comes.
    fn there(&self) -> BTreeSet<u64> {
        let all = self.server.iter().chain(&self.elsewhere);
        all.filter(|server| !server.stopping).map(|server| server.epoch).collect()
    }

    /// Something has changed: the server whose turn it is knows at once, the others before long; all at once when all is well.
    pub(crate) fn announce(&mut self, news: News) {
        let others: Vec<u64> = self.elsewhere.iter().map(|server| server.epoch).collect();
        self.hears(news);
        for epoch in others {
            if self.is_healing {
                self.turn_to(epoch);
                self.hears(news);
            } else {
                let span = Duration::from_micros(self.several.random_range(0..micros(HEARD_WITHIN)));
                self.after(span, What::Hears { epoch, news });
            }
        }
    }

    /// The server whose turn it is hears of it, as it is by now.
    pub(crate) fn hears(&mut self, news: News) {
        match news {
            News::Routing => self.server_handles(Input::Routing(routing(&self.plan))),
            News::Token(client) => self.close_sockets_of(client),
        }
    }

    /// From when on, by anybody's clock, a pause is kept to by all.
    pub(crate) fn known_to_all(&self, wall: Wall) -> Wall {
        if self.plan.servers == 1 { wall } else { wall + HEARD_WITHIN + CLOCKS_APART }
    }

    /// The clock of the next server, as far from the true time as it may be.
    pub(crate) fn set_clock(&mut self) {
        if self.plan.faults.clocks_apart {
            let most = micros(CLOCKS_APART) as i64 / 2;
            self.skew = self.several.random_range(-most..=most);
        }
    }

    /// A server cannot reach the store for a while, and its clients go on; or can again.
    pub(crate) fn cut_off(&mut self, begins: bool) {
        if !begins {
            self.cut.clear();
            return;
        }
        self.turn_to_some();
        let Some(epoch) = self.server.as_ref().map(|server| server.epoch) else { return };
        self.tell(format_args!("server {epoch} is cut off from the store"));
        self.cut.insert(epoch);
        let span = Duration::from_millis(self.several.random_range(0..120_000));
        self.after(span, What::Trouble(Fault::Cut(false)));
    }

    /// Whether all has been well for so long that each server has heard of all others, and of nobody else.
    pub(crate) fn all_know_each_other(&self) -> bool {
        let since = self.healed_at.map(|at| self.clock.saturating_sub(at));
        self.plan.servers == 1 || since.is_some_and(|since| since >= micros(ACQUAINTED))
    }

    /// I13: then each partition is looked after by one of them.
    pub(crate) fn check_janitors(&mut self) {
        // What a server says of itself is as old as it took to be stored, and is said anew once that is answered: behind a slower
        // store it is taken for gone in between.
        let store = Duration::from_millis(self.plan.faults.store_ms);
        let are_heard = store * 3 + limits::PRESENCE_EVERY < limits::PRESENCE_GONE;
        if self.plan.servers == 1 || !are_heard || !self.all_know_each_other() {
            return;
        }
        let parts: Vec<Partitions> =
            self.server.iter().chain(&self.elsewhere).map(|server| server.hub.partitions()).collect();
        for place in 0..PARTITIONS {
            let janitors = parts.iter().filter(|part| part.places().any(|own| own == place)).count();
            if janitors != 1 {
                self.oracle.broken("I13", format!("{janitors} servers look after partition {place}: {parts:?}"));
            }
        }
    }

    /// How far the clock of the server that starts now is from that of all others. Those must be known to it, and one in all is
    /// off: another would find what is still known of it, and be two.
    pub(crate) fn next_apart(&mut self) -> i64 {
        let known = |server: &Server| server.apart == 0 && server.started + micros(KNOWN_WITHIN) <= self.clock;
        let may = self.plan.faults.apart && self.healed_at.is_none() && self.elsewhere.iter().any(known);
        if may && !std::mem::replace(&mut self.went_apart, true) { *pick(&mut self.several, &[-HOUR, HOUR]) } else { 0 }
    }

    /// Whether a server that is off has nobody to find that by but the one whose turn it is: that one is spared.
    pub(crate) fn is_last_right(&self) -> bool {
        let stays = |server: &Server| {
            server.apart == 0 && !server.stopping && server.started + micros(KNOWN_WITHIN) <= self.clock
        };
        let unaware = |server: &Server| server.apart != 0 && server.hub.clock_shift().is_none();
        self.elsewhere.iter().any(unaware)
            && self.server.as_ref().is_some_and(|server| server.apart == 0)
            && !self.elsewhere.iter().any(stays)
    }

    /// All that are right go and do not come back, in some seeds, where one is off and knows it: it is left alone.
    pub(crate) fn leave_alone_who_is_apart(&mut self) {
        let off = |server: &&Server| server.apart != 0 && !server.stopping && server.hub.clock_shift().is_some();
        let Some(left) = self.server.iter().chain(&self.elsewhere).find(off).map(|server| server.epoch) else { return };
        self.left_alone = self.several.random_bool(0.5);
        if !self.left_alone {
            return;
        }
        let others = self.server.iter().chain(&self.elsewhere).map(|server| server.epoch);
        let others: Vec<u64> = others.filter(|epoch| *epoch != left).collect();
        for epoch in others {
            if self.turn_to(epoch) {
                self.end_server(false);
            }
        }
        self.turn_to(left);
        self.tell(format_args!("server {left} is left alone"));
        self.oracle.is_left_alone();
    }

    /// I10: a server whose clock is off leases nothing while there are others that it is compared with, and what it stores is of
    /// the time that all have.
    pub(crate) fn check_clock(&mut self, op: &StoreOp) {
        let Some(server) = self.server.as_ref().filter(|server| server.apart != 0) else { return };
        let (apart, goes_as_others) = (server.apart, server.hub.clock_apart().is_none());
        let wall = self.server_wall();
        let near = |at: Wall| at.since(wall).max(wall.since(at)) <= DATED_WITHIN;
        let wrong = match op {
            StoreOp::Lease(lease) => {
                let dated = near(lease.ask.now) && near(lease.ask.until - self.plan.lease);
                (!goes_as_others || !dated).then(|| format!("leases {lease:?}"))
            }
            StoreOp::Append(append) => {
                let append = &append.ask;
                let leased = !goes_as_others && append.deliveries.iter().any(|made| made.state == State::Leased);
                let dated = near(append.event.received_at) && append.deliveries.iter().all(|made| near(made.ready_at));
                (leased || !dated).then(|| format!("stores {append:?}"))
            }
            StoreOp::Settle(changes) => {
                // An adoption moves the end of its lease, and a loss that is counted late moves no moment.
                let dated = |change: &&Change| match change.next.lease {
                    Some(lease) => change.before.lease == Some(lease) || near(lease.until - self.plan.lease),
                    None => change.next.changed_at == change.before.changed_at || near(change.next.changed_at),
                };
                changes.ask.iter().find(|change| !dated(change)).map(|change| format!("decides {change:?}"))
            }
            StoreOp::Extend(extends) => {
                // It may be bounded by what its forward may take.
                let late = |extend: &&Extend| extend.until > wall + self.plan.lease + DATED_WITHIN;
                extends.ask.iter().find(late).map(|extend| format!("extends {extend:?}"))
            }
            _ => None,
        };
        if let Some(what) = wrong {
            self.oracle.broken("I10", format!("a server whose clock is {apart} us off {what}"));
        }
    }

    /// What the server hears instead if its question does not come to the store.
    pub(crate) fn lose_question(&mut self, op: &StoreOp) -> Option<Stored> {
        if self.plan.servers == 1 || self.healed_at.is_some() {
            return None;
        }
        let epoch = self.server.as_ref().map(|server| server.epoch);
        if epoch.is_some_and(|epoch| self.cut.contains(&epoch)) {
            return Some(self.store.turn_away(op.clone()));
        }
        if !self.several.random_bool(LOST / 2.0) {
            return None;
        }
        let unknown = intake::writes(op) && self.several.random_bool(0.5);
        Some(if unknown { self.store.mishear(op.clone()) } else { self.store.turn_away(op.clone()) })
    }

    /// Whether the store does it, and nobody hears.
    pub(crate) fn loses_answer(&mut self, op: &StoreOp) -> bool {
        self.expect_no_loss(op);
        self.plan.servers > 1 && self.healed_at.is_none() && intake::writes(op) && self.several.random_bool(LOST / 2.0)
    }

    /// A Hello arrives at the server whose turn it is, perhaps of a client that is dead by now.
    pub(crate) fn greets(&mut self, number: u64, hello: &Hello) {
        let (Some(socket), Some(server)) = (self.sockets.get(&number), &self.server) else { return };
        let Ok(greeting) = codec::greeting(hello) else { return };
        let instance = server.hub.instance_of(&token_of(socket.client), greeting.instance);
        let wall = self.server_wall();
        self.oracle.greets(instance, wall);
    }

    /// A report arrives that something was delivered: from now on failures count again there.
    pub(crate) fn is_told(&mut self, message: &Message) {
        if let Message::Report(report) = message
            && let Ok(((id, _), outcome)) = codec::reported(report)
            && outcome.class == Class::Delivered
            && let Some(record) = self.store.delivery(id)
        {
            self.oracle.target_took(&record.destination);
        }
    }

    /// Its client is welcome there.
    pub(crate) fn comes_home(&mut self, number: u64) {
        let Some(epoch) = self.server.as_ref().map(|server| server.epoch) else { return };
        if let Some(instance) = self.instance_on(number) {
            self.homes.insert(instance, Home { socket: number, server: epoch, since: self.clock });
            self.oracle.welcomes(instance);
            if self.plan.servers > 1 {
                self.see_joined(number);
            }
        }
    }

    fn instance_on(&self, number: u64) -> Option<InstanceId> {
        let socket = self.sockets.get(&number)?;
        let process = self.clients[socket.client].process.as_ref()?;
        let server = self.server.as_ref()?;
        (process.socket == Some(number)).then(|| server.hub.instance_of(&token_of(socket.client), process.instance))
    }

    /// I11: of clients that have been at another server for a while no loss is counted here.
    fn expect_no_loss(&mut self, op: &StoreOp) {
        let StoreOp::Settle(changes) = op else { return };
        if self.plan.servers == 1 || !changes.ask.iter().any(|change| change.next.losses > change.before.losses) {
            return;
        }
        let here = self.server.as_ref().map(|server| server.epoch);
        let is_known = |home: &Home| {
            let stands = self.sockets.get(&home.socket).is_some_and(|socket| {
                socket.client_open && socket.server_open && !socket.half_open && !socket.reset && !socket.cut
            });
            let there = self.elsewhere.iter().any(|server| server.epoch == home.server);
            let known = home.since + micros(KNOWN_WITHIN) <= self.clock && !self.plan.faults.cuts;
            stands && there && known && here != Some(home.server)
        };
        let elsewhere = self.homes.iter().filter(|(_, home)| is_known(home)).map(|(id, _)| *id).collect();
        self.oracle.are_elsewhere(elsewhere);
    }
}
