//! The hub under random steps: requests, clients that come, die, lie and come back, late store answers, crashes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use relay_core::{
    delivery::{State, outcome::Class},
    hub::{Answer, ConnId, Input},
    id::DeliveryId,
    limits,
    wire::{
        codec::LeaseKey,
        message::{GoAway, Message},
    },
};

use crate::rig::{Rig, keys, lease_of, outcome};

/// A client as a test plays it.
#[derive(Default)]
struct Client {
    instance: u128,
    conn: Option<ConnId>,
    /// Leases it holds and has not reported.
    held: BTreeSet<LeaseKey>,
    /// Reports that are not confirmed.
    reported: BTreeMap<LeaseKey, Class>,
}

struct World {
    rig: Rig,
    clients: Vec<Client>,
    conns: u64,
    instances: u128,
    /// Deliveries some target answered with 2xx.
    reached: BTreeSet<DeliveryId>,
    rng: StdRng,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rig = Rig::new();
        rig.prompt = false;
        let clients = (0..3).map(|_| Client::default()).collect();
        Self { rig, clients, conns: 0, instances: 0, reached: BTreeSet::new(), rng: StdRng::seed_from_u64(seed) }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..=14 => {
                self.rig.send();
            }
            15..=49 => {
                self.rig.answer_one();
            }
            50..=79 => self.play(),
            80..=89 => {
                let span = Duration::from_millis(self.rng.random_range(0..4_000));
                self.rig.pass(span);
            }
            90..=97 => self.break_something(),
            98 => {
                self.rig.pass(Duration::from_secs(self.rng.random_range(1..70)));
            }
            _ => self.crash(),
        }
        self.listen();
        self.check();
    }

    /// A client does something that a sound client does.
    fn play(&mut self) {
        let at = self.rng.random_range(0..self.clients.len());
        let Some(conn) = self.clients[at].conn else { return self.connect(at) };
        let held: Vec<LeaseKey> = self.clients[at].held.iter().copied().collect();
        if held.is_empty() || self.rng.random_ratio(1, 6) {
            return self.rig.heartbeat(conn, &held);
        }
        let lease = held[self.rng.random_range(0..held.len())];
        self.clients[at].held.remove(&lease);
        if self.rng.random_ratio(1, 8) {
            return self.rig.release(conn, lease);
        }
        let classes = [Class::Delivered, Class::Delivered, Class::Rejected, Class::Busy, Class::Unreachable];
        let class = classes[self.rng.random_range(0..classes.len())];
        if class == Class::Delivered {
            self.reached.insert(lease.0);
        }
        self.clients[at].reported.insert(lease, class);
        self.rig.report(conn, lease, &outcome(class));
    }

    fn connect(&mut self, at: usize) {
        self.conns += 1;
        if self.clients[at].instance == 0 {
            self.instances += 1;
            self.clients[at].instance = self.instances;
        }
        let client = &self.clients[at];
        let held: Vec<LeaseKey> = client.held.iter().chain(client.reported.keys()).copied().collect();
        let conn = self.rig.join_with(self.conns, client.instance, &[("crm", 3)], limits::CLIENT_BUFFER, &held);
        self.clients[at].conn = Some(conn);
    }

    fn break_something(&mut self) {
        let at = self.rng.random_range(0..self.clients.len());
        let Some(conn) = self.clients[at].conn.take() else { return };
        match self.rng.random_range(0..3) {
            0 => self.clients[at] = Client::default(),
            1 => {
                self.rig.input(Input::Received(conn, Message::GoAway(GoAway::default())));
                self.clients[at] = Client::default();
            }
            _ => {}
        }
        self.rig.input(Input::Closed(conn));
    }

    fn crash(&mut self) {
        self.rig.crash();
        for client in &mut self.clients {
            client.conn = None;
        }
    }

    /// Clients take in what was sent to them.
    fn listen(&mut self) {
        for (conn, _) in std::mem::take(&mut self.rig.closed) {
            for client in self.clients.iter_mut().filter(|client| client.conn == Some(conn)) {
                client.conn = None;
            }
        }
        for client in &mut self.clients {
            let Some(conn) = client.conn else { continue };
            for message in self.rig.received(conn) {
                client.take(conn, message, &mut self.rig);
            }
        }
    }

    fn check(&self) {
        for delivery in self.rig.store.deliveries() {
            let id = delivery.id;
            let done = delivery.state == State::Delivered;
            assert!(!done || self.reached.contains(&id), "I6: {id} is delivered and no target took it");
            assert_eq!(delivery.lease.is_some(), delivery.state == State::Leased, "I12: {id}");
            assert!(delivery.attempts <= delivery.tries && delivery.attempts <= limits::MAX_RETRIES + 1, "I10: {id}");
        }
        let accepted = self.rig.answers.values().filter(|answer| matches!(answer, Answer::Accepted { .. })).count();
        assert!(accepted <= self.rig.store.event_ids().len(), "I1: an acknowledged event is not stored");
    }

    /// No more faults: everything must come to an end by itself.
    fn heal(&mut self) {
        self.rig.prompt = true;
        self.rig.answer_store();
        for _ in 0..4_000 {
            for at in 0..self.clients.len() {
                let Some(conn) = self.clients[at].conn else {
                    self.connect(at);
                    continue;
                };
                let held = std::mem::take(&mut self.clients[at].held);
                for lease in held {
                    self.reached.insert(lease.0);
                    self.clients[at].reported.insert(lease, Class::Delivered);
                    self.rig.report(conn, lease, &outcome(Class::Delivered));
                }
                self.rig.heartbeat(conn, &[]);
            }
            self.listen();
            if self.rig.store.deliveries().iter().all(|delivery| !delivery.state.is_open()) {
                return;
            }
            self.rig.pass(Duration::from_secs(1));
        }
        let deliveries = self.rig.store.deliveries();
        let open: Vec<_> = deliveries.iter().filter(|delivery| delivery.state.is_open()).collect();
        panic!("I19: still open after an hour without faults: {open:#?}");
    }
}

impl Client {
    fn take(&mut self, conn: ConnId, message: Message, rig: &mut Rig) {
        match message {
            Message::Welcome(welcome) => {
                let resumed: BTreeSet<LeaseKey> = keys(&welcome.resumed).into_iter().collect();
                self.held.retain(|lease| resumed.contains(lease));
                for (lease, class) in &self.reported {
                    rig.report(conn, *lease, &outcome(*class));
                }
            }
            Message::Grant(grant) => {
                let lease = lease_of(&grant);
                assert!(self.held.len() < 3, "a grant without a free slot");
                assert!(self.held.insert(lease), "a lease granted twice");
                let stored = rig.delivery(lease.0);
                assert!(stored.token.counter >= lease.1.counter, "I11: a grant whose lease is not stored");
            }
            Message::Settled(settled) => {
                for lease in keys(&settled.leases) {
                    let class = self.reported.remove(&lease);
                    let done = rig.delivery(lease.0).state == State::Delivered;
                    assert!(class != Some(Class::Delivered) || done, "I6: confirmed before it was durable");
                }
            }
            Message::Release(release) => {
                for lease in keys(&release.leases) {
                    self.held.remove(&lease);
                }
            }
            Message::Extend(_) | Message::Peers(_) | Message::GoAway(_) => {}
            Message::Hello(_) | Message::Chunk(_) | Message::Report(_) => panic!("not from a server: {message:?}"),
        }
    }
}

/// I1, I6, I7, I8, I10, I11, I12, I19: whatever happens, and afterwards everything ends.
#[test]
fn whatever_happens_nothing_is_lost_and_everything_ends() {
    for seed in 0..60 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..400 {
                world.step();
            }
            world.heal();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
