//! The hub and real client machines, joined by sockets that delay and break: neither ever breaks the protocol.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use relay_core::{
    client::{self, Client, Output, Served, Setup},
    delivery::{State, outcome::Class},
    hub::{ConnId, Input, Notice, Serves},
    id::{DeliveryId, InstanceId},
    wire::message::Message,
};

use crate::rig::{Rig, name, outcome};

/// A client process and its socket.
struct Process {
    instance: u128,
    machine: Client,
    conn: Option<ConnId>,
    /// On its way to the server.
    up: VecDeque<Message>,
    /// On its way to the client.
    down: VecDeque<Message>,
    dialing: bool,
    /// Forwards at the target.
    running: Vec<DeliveryId>,
}

struct World {
    rig: Rig,
    processes: Vec<Process>,
    conns: u64,
    instances: u128,
    /// How often each delivery reached the target with success.
    reached: BTreeMap<DeliveryId, u32>,
    rng: StdRng,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rig = Rig::new();
        rig.prompt = false;
        let rng = StdRng::seed_from_u64(seed);
        let mut world = Self { rig, processes: Vec::new(), conns: 0, instances: 0, reached: BTreeMap::new(), rng };
        for _ in 0..3 {
            let process = world.process();
            world.processes.push(process);
        }
        world
    }

    fn process(&mut self) -> Process {
        self.instances += 1;
        let setup = self.setup(self.instances, 3);
        Process {
            instance: self.instances,
            machine: Client::new(setup, self.rig.now),
            conn: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            dialing: false,
            running: Vec::new(),
        }
    }

    fn setup(&mut self, instance: u128, slots: u32) -> Setup {
        let served = Served { name: name("crm"), slots, forward_timeout: Duration::from_secs(25) };
        Setup {
            instance: InstanceId::from_u128(instance),
            label: "model".to_owned(),
            version: "test".to_owned(),
            destinations: vec![served],
            buffer_bytes: 200_000,
            seed: self.rng.random(),
        }
    }

    /// A process reads its configuration anew: it may be another instance then, and have fewer or more slots.
    fn renew(&mut self) {
        let at = self.rng.random_range(0..self.processes.len());
        if self.rng.random() {
            self.instances += 1;
            self.processes[at].instance = self.instances;
        }
        let slots = self.rng.random_range(1..=4);
        let setup = self.setup(self.processes[at].instance, slots);
        self.processes[at].machine.handle(client::Input::Renew(Box::new(setup)), self.rig.now);
    }

    fn step(&mut self, faults: bool) {
        match self.rng.random_range(0..100) {
            0..=9 if faults => {
                let size = [10, 1_000, 150_000, 300_000][self.rng.random_range(0..4)];
                self.rig.send_body("src", &vec![7; size], None);
            }
            0..=29 => {
                self.rig.answer_one();
            }
            30..=79 => self.deliver(),
            80..=93 => self.forwarded(faults),
            94..=96 => {
                let span = Duration::from_millis(self.rng.random_range(0..3_000));
                self.rig.pass(span);
                let now = self.rig.now;
                for process in &mut self.processes {
                    if process.machine.poll_timeout().is_some_and(|at| at <= now.mono) {
                        process.machine.handle_timeout(now);
                    }
                }
            }
            97 if faults && self.rng.random_ratio(1, 3) => self.renew(),
            97 | 98 if faults => self.break_a_socket(),
            99 if faults && self.rng.random_ratio(1, 6) => self.crash(),
            _ => {}
        }
        self.settle_down();
    }

    /// One message arrives somewhere.
    fn deliver(&mut self) {
        let at = self.rng.random_range(0..self.processes.len());
        let process = &mut self.processes[at];
        if process.dialing {
            process.dialing = false;
            self.conns += 1;
            let conn = ConnId(self.conns);
            process.conn = Some(conn);
            let (token, peer) = (name("office"), String::new());
            self.rig.input(Input::Opened { conn, token, serves: Serves::All, peer });
            return process.machine.handle(client::Input::Connected, self.rig.now);
        }
        let Some(conn) = process.conn else { return };
        if self.rng.random() {
            if let Some(message) = process.up.pop_front() {
                self.rig.input(Input::Received(conn, message));
            }
        } else if let Some(message) = process.down.pop_front() {
            process.machine.handle(client::Input::Received(message), self.rig.now);
        }
    }

    /// A target answers.
    fn forwarded(&mut self, faults: bool) {
        let at = self.rng.random_range(0..self.processes.len());
        let process = &mut self.processes[at];
        let Some(delivery) = process.running.pop() else { return };
        let classes = [Class::Delivered, Class::Delivered, Class::Rejected, Class::Busy, Class::Unreachable];
        let class = if faults { classes[self.rng.random_range(0..classes.len())] } else { Class::Delivered };
        if class == Class::Delivered {
            *self.reached.entry(delivery).or_default() += 1;
        }
        process.machine.handle(client::Input::Forwarded(delivery, outcome(class)), self.rig.now);
    }

    fn break_a_socket(&mut self) {
        let at = self.rng.random_range(0..self.processes.len());
        let dies = self.rng.random_ratio(1, 4);
        self.disconnect(at);
        if dies {
            self.processes[at] = self.process();
        }
    }

    fn disconnect(&mut self, at: usize) {
        let process = &mut self.processes[at];
        process.up.clear();
        process.down.clear();
        let Some(conn) = process.conn.take() else { return };
        process.machine.handle(client::Input::Disconnected, self.rig.now);
        self.rig.input(Input::Closed(conn));
    }

    fn crash(&mut self) {
        for at in 0..self.processes.len() {
            self.disconnect(at);
        }
        self.rig.crash();
    }

    /// Does what the machines want, and checks what they say of each other.
    fn settle_down(&mut self) {
        for at in 0..self.processes.len() {
            while let Some(output) = self.processes[at].machine.poll_output() {
                match output {
                    Output::Dial => self.processes[at].dialing = true,
                    Output::Send(message) => self.processes[at].up.push_back(message),
                    Output::Hangup => {
                        self.processes[at].dialing = false;
                        self.disconnect(at);
                    }
                    Output::Forward(forward) => self.processes[at].running.push(forward.delivery),
                    Output::Notice(client::Notice::Down { why, .. }) => {
                        assert!(!why.contains("broke"), "the hub broke the protocol: {why}");
                    }
                    Output::Notice(
                        client::Notice::Up { .. }
                        | client::Notice::Peers { .. }
                        | client::Notice::Corrupt(_)
                        | client::Notice::Renewing,
                    ) => {}
                    Output::Exit(exit) => panic!("nobody told it to stop: {exit:?}"),
                }
            }
            self.processes[at].machine.check_invariants();
            if let Some(conn) = self.processes[at].conn {
                let sent = self.rig.received(conn);
                self.processes[at].down.extend(sent);
            }
        }
        for (conn, _) in std::mem::take(&mut self.rig.closed) {
            if let Some(at) = self.processes.iter().position(|process| process.conn == Some(conn)) {
                self.disconnect(at);
            }
        }
        for notice in &self.rig.notices {
            assert!(!matches!(notice, Notice::Misbehaved { .. }), "a client broke the protocol: {notice:?}");
        }
        self.rig.notices.clear();
    }

    fn heal(&mut self) {
        for _ in 0..200_000 {
            self.step(false);
            if self.rig.store.open_deliveries() == 0 {
                return;
            }
        }
        let open: BTreeSet<_> =
            self.rig.store.deliveries().iter().filter(|d| d.state.is_open()).map(|d| d.id).collect();
        panic!("I19: still open without faults: {open:?} {:#?}", self.rig.hub.view());
    }
}

/// I7, I8, I19: neither end ever breaks the protocol, and without faults everything ends.
#[test]
fn both_machines_keep_the_protocol_whatever_the_sockets_do() {
    for seed in 0..20 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..1_500 {
                world.step(true);
            }
            world.heal();
            assert!(world.reached.len() > 20, "a run that delivers next to nothing proves nothing");
            for delivery in world.rig.store.deliveries() {
                let id = delivery.id;
                assert!(delivery.state != State::Delivered || world.reached.contains_key(&id), "I6: {id}");
            }
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
