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
    jobs::{Action, Pace, Retention, Rules},
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
        let stored = ready(self.store.replay(Replay::anyway(made.clone()), Vec::new()));
        if stored.is_ok_and(|stored| matches!(stored, Replayed::Stored(stored) if stored.iter().all(|stored| *stored)))
        {
            self.oracle.replayed_by_hand(&made);
            for delivery in made {
                self.server_handles(Input::Woken(delivery.destination));
            }
        }
    }

    fn retain(&mut self, wall: Wall) {
        let (before, events) = (self.store.deliveries(), self.store.event_ids());
        let (short, long) = (Duration::from_mins(1), Duration::from_mins(2));
        let Some(partitions) = self.server.as_ref().map(|server| server.hub.partitions()) else { return };
        let rules = Rules { now: wall, delivered_before: wall - short, dead_before: wall - long, partitions };
        let mut retention = Retention::new(rules).by(20);
        while let Some(op) = retention.poll() {
            retention.handle(self.store.perform_retention(op));
        }
        self.oracle.retained(&before, &events, &self.store, rules);
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
