//! Operators: what they do to deliveries, destinations and tokens while everything else goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rand::RngExt as _;
use relay_core::{
    delivery::Delivery,
    hub::{Input, Serves},
    jobs::{Action, Pace},
    name::Name,
    storage::{Replay, Replayed},
    time::Wall,
};
use relay_store::{
    Later,
    seam::{Archive as _, Queue as _},
};

use crate::{
    plan::pick,
    several::News,
    world::{What, World, micros},
};

/// One command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Cancel,
    Redrive,
    Purge,
    Replay,
    ReplayMatching,
    Retain,
    Pause,
    Resume,
    Revoke,
}

/// What becomes of an operation that is no hub's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It is done, and answered.
    Heard,
    /// It cannot be asked for.
    Away,
    /// Nobody hears whether it was done.
    Unheard {
        /// It is.
        happens: bool,
    },
}

/// Until a replay is asked for again of which nothing was heard.
const REPLAY_AGAIN: Duration = Duration::from_millis(200);

impl World {
    /// Spreads this seed's commands over its time of trouble.
    pub(crate) fn plan_operators(&mut self) {
        if !self.plan.operators {
            return;
        }
        let trouble = micros(self.plan.trouble);
        let kinds = [
            (Act::Cancel, 2),
            (Act::Redrive, 4),
            (Act::Purge, 2),
            (Act::Replay, 3),
            (Act::Retain, 3),
            (Act::Pause, 3),
            (Act::Resume, 3),
            (Act::Revoke, 3),
        ];
        let replays = self.plan.replays.then_some((Act::ReplayMatching, 3));
        for (act, most) in kinds.into_iter().chain(replays) {
            for _ in 0..self.operator.random_range(0..=most) {
                let at = self.operator.random_range(0..trouble);
                self.at(at, What::Operate(act));
            }
        }
    }

    pub(crate) fn operate(&mut self, act: Act) {
        self.turn_to_some();
        // Without a server nobody answers commands.
        let Some(skew) = self.server.as_ref().map(|server| server.skew).filter(|_| self.healed_at.is_none()) else {
            return;
        };
        let wall = self.wall(skew);
        self.tell(format_args!("operator {act:?}"));
        match act {
            Act::Cancel => self.give(Action::Cancel, wall),
            Act::Redrive => {
                let routes = self.plan.routing.routes.values().flatten();
                let ttl_default = routes.map(|route| route.ttl).max().unwrap_or_default();
                let every = Duration::from_millis(self.operator.random_range(1..500));
                let pace = self.operator.random_bool(0.2).then_some(Pace { from: wall, every });
                self.give(Action::Redrive { ttl: BTreeMap::new(), ttl_default, pace }, wall);
            }
            Act::Purge => self.give(Action::Purge, wall),
            Act::Replay => self.replay(wall),
            Act::ReplayMatching => {
                let routes = self.plan.routing.routes.clone();
                let every = Duration::from_millis(self.operator.random_range(1..500));
                let pace = self.operator.random_bool(0.2).then_some(Pace { from: wall, every });
                self.give(Action::Replay { routes, pace }, wall);
            }
            Act::Retain => self.retain(wall),
            Act::Pause => {
                let name = pick(&mut self.operator, &self.plan.destinations).clone();
                self.plan.routing.paused.insert(name);
                self.routing_changed(wall);
            }
            Act::Resume => self.resume_all(wall),
            Act::Revoke => self.revoke(),
        }
    }

    /// Every destination goes on.
    pub(crate) fn resume_all(&mut self, wall: Wall) {
        if !std::mem::take(&mut self.plan.routing.paused).is_empty() {
            self.routing_changed(wall);
        }
    }

    fn routing_changed(&mut self, wall: Wall) {
        self.oracle.paused(&self.plan.routing.paused, self.known_to_all(wall));
        self.announce(News::Routing);
    }

    fn replay(&mut self, wall: Wall) {
        let events = self.store.event_ids();
        if events.is_empty() {
            return;
        }
        let id = *pick(&mut self.operator, &events);
        let Ok(Some(event)) = ready(self.store.event(id)) else { return };
        let routes = self.plan.routing.routes.get(&event.source).cloned().unwrap_or_default();
        let mut made = Vec::new();
        for route in routes {
            let Some(server) = &mut self.server else { return };
            let id = server.hub.mint_delivery(wall);
            made.push(Delivery::ready(id, &event, route.destination, true, wall, route.ttl));
        }
        if let Some(epoch) = self.server.as_ref().map(|server| server.epoch) {
            self.replay_acts(epoch, Replay::anyway(made));
        }
    }

    /// The store is asked for it. Who hears no answer asks again, and makes the same deliveries.
    pub(crate) fn replay_acts(&mut self, epoch: u64, replay: Replay) {
        // What is to end by then is nobody's to add to any more.
        if !self.turn_to(epoch) || self.healed_at.is_some() {
            return;
        }
        match self.fate(epoch) {
            Fate::Heard => self.perform_replay(replay),
            Fate::Away => {}
            Fate::Unheard { happens } => {
                if happens {
                    self.perform_replay(replay.clone());
                }
                self.tell(format_args!("nobody hears of a replay; it is asked for again"));
                self.after(REPLAY_AGAIN, What::ReplayActs { epoch, replay });
            }
        }
    }

    fn perform_replay(&mut self, replay: Replay) {
        let is_new = |made: &&Delivery| self.store.delivery(made.id).is_none();
        let made: Vec<Delivery> = replay.made.iter().filter(is_new).cloned().collect();
        let woken: Vec<Name> = replay.made.iter().map(|made| made.destination.clone()).collect();
        let stored = ready(self.store.replay(replay, Vec::new()));
        if stored.is_ok_and(|stored| matches!(stored, Replayed::Stored(stored) if stored.iter().all(|stored| *stored)))
        {
            self.oracle.replayed_by_hand(&made);
            for destination in woken {
                self.server_handles(Input::Woken(destination));
            }
        }
    }

    /// What becomes of something that is asked of the store by a server's commands, or its retention.
    pub(crate) fn fate(&mut self, epoch: u64) -> Fate {
        let (is_lost, happens) = (self.operator.random_bool(0.2), self.operator.random_bool(0.5));
        if self.cut.contains(&epoch) {
            Fate::Away
        } else if is_lost {
            Fate::Unheard { happens }
        } else {
            Fate::Heard
        }
    }

    /// The token of one client is revoked and made anew: its sockets are closed, and it may come back.
    fn revoke(&mut self) {
        let client = self.operator.random_range(0..self.clients.len());
        self.announce(News::Token(client));
    }

    /// Those at the server whose turn it is.
    pub(crate) fn close_sockets_of(&mut self, client: usize) {
        let Some(epoch) = self.server.as_ref().map(|server| server.epoch) else { return };
        let open =
            |socket: &crate::net::Socket| socket.client == client && socket.server_open && socket.server_epoch == epoch;
        let numbers: Vec<u64> =
            self.sockets.iter().filter(|(_, socket)| open(socket)).map(|(number, _)| *number).collect();
        self.oracle.revoked(&numbers);
        self.server_handles(Input::Revoked(token_of(client)));
    }

    /// The token of one client may serve less from now on.
    pub(crate) fn narrow(&mut self) {
        let client = self.later.random_range(0..self.clients.len());
        let mut kept: BTreeSet<Name> = self.plan.destinations.iter().cloned().collect();
        kept.retain(|_| self.later.random_bool(0.5));
        self.tell(format_args!("token of client {client} may serve {kept:?}"));
        self.narrowed.insert(client, kept);
        self.announce(News::Token(client));
    }

    /// Every token may serve everything again.
    pub(crate) fn widen_all(&mut self) {
        for client in std::mem::take(&mut self.narrowed).into_keys() {
            self.announce(News::Token(client));
        }
    }

    /// What the token of a client may serve.
    pub(crate) fn serves(&self, client: usize) -> Serves {
        self.narrowed.get(&client).map_or(Serves::All, |names| Serves::Only(names.clone()))
    }
}

/// The token of a client.
pub(crate) fn token_of(client: usize) -> Name {
    format!("token-{client}").parse().expect("it is a valid name")
}

/// The answer of the memory store, which has done its work before it hands out a future.
fn ready<T>(mut later: Later<T>) -> T {
    match Pin::new(&mut later).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the memory store answers at once"),
    }
}
