//! Drives the hub, as the server's own driver does.

use std::{collections::BTreeMap, time::Duration};

use rand::RngExt as _;
use relay_core::{
    delivery::{Change, State},
    hub::{ConnId, Hub, Input, Output, Setup, Ticket},
    id::DeliveryId,
    limits,
    storage::{About, OpId, StoreOp, Stored},
    trace::Sampling,
    wire::{codec, message::Message},
};
use relay_store::seam::Upkeep;

use crate::{
    load::sha256,
    net::{End, Packet, Words},
    world::{Server, What, World, micros, routing},
};

/// How long a server that was told to stop may take.
const GRACE: Duration = Duration::from_secs(30);

/// The waiting deliveries that an operation ends.
fn ends(op: &StoreOp) -> impl Iterator<Item = DeliveryId> {
    let changes = if let StoreOp::Settle(changes) = op { &changes.ask[..] } else { &[] };
    let ended = |change: &&Change| {
        matches!(change.before.state, State::Ready | State::Scheduled) && change.next.state == State::Expired
    };
    changes.iter().filter(ended).map(|change| change.next.id)
}

impl World {
    /// A server process starts on what the last one left.
    pub(crate) fn start_server(&mut self) {
        self.server_epoch += 1;
        let epoch = self.server_epoch;
        for client in &mut self.clients {
            client.lost_at = self.clock;
        }
        self.elsewhere.extend(self.server.take());
        self.oracle.check_store(&self.store);
        self.oracle.server_starts(epoch, self.elsewhere.is_empty());
        let (stats, promises) = (self.store.stats_now(), Upkeep::promises(&self.store));
        self.set_clock();
        let setup = Setup {
            server: About { version: "sim".into(), ..About::default() },
            lease: self.plan.lease,
            retry_after_max: limits::RETRY_AFTER_MAX,
            circuit_pause_max: self.plan.circuit_pause_max,
            outgoing_bytes_max: self.plan.intake_bytes,
            public_url: None,
            seed: self.rng.random(),
            shares: self.plan.servers > 1,
            partitions: promises.partitions,
            parts: promises.parts,
            id_floor: stats.id_floor,
            sha256,
            traces: Sampling::of_share(0.5),
        };
        // As the server's own clock does it: never before what is stored (I10).
        let behind = stats.latest.since(self.wall(self.skew));
        let skew = self.skew + behind.as_micros() as i64;
        let apart = self.next_apart();
        self.tell(format_args!("server {epoch} starts, its clock off by {} us", skew + apart));
        self.oracle.clock_is_ahead(epoch, skew);
        self.server = Some(Server {
            epoch,
            hub: Hub::new(setup),
            started: self.clock,
            skew,
            apart,
            pending: BTreeMap::new(),
            wake: None,
            stopping: false,
        });
        let made = stats.destinations.iter().map(|found| (found.destination.clone(), found.outcomes[0])).collect();
        let wall = self.wall(skew);
        self.oracle.paused(&self.plan.routing.paused, self.known_to_all(wall));
        self.server_handles(Input::DeliveredSoFar(made));
        self.server_handles(Input::Routing(routing(&self.plan)));
    }

    /// The process ends. If it was not clean, of the store operations under way some happened and some did not; nobody is
    /// told.
    pub(crate) fn end_server(&mut self, clean: bool) {
        let Some(mut server) = self.server.take() else { return };
        self.tell(format_args!("server {} {}", server.epoch, if clean { "ends" } else { "dies" }));
        let wall = self.wall(server.skew);
        for (id, op) in std::mem::take(&mut server.pending) {
            if clean || self.rng.random_bool(0.5) {
                self.tell(format_args!("store op {} happened, unanswered", id.0));
                self.perform(&op, wall);
            }
        }
        self.cut.remove(&server.epoch);
        self.jobs_die(server.epoch, wall, clean);
        self.round_dies(server.epoch, clean);
        if self.plan.servers == 1 {
            self.store = self.store.reopen();
        }
        for number in self.sockets_of_server(server.epoch) {
            if !clean {
                self.perhaps_half_open(number);
            }
            self.drop_end(number, End::Server);
        }
        let (lost, others) =
            std::mem::take(&mut self.tickets).into_iter().partition(|(_, (_, at))| *at == server.epoch);
        self.tickets = others;
        let lost: BTreeMap<Ticket, (usize, u64)> = lost;
        for (sending, _) in lost.into_values() {
            self.oracle.is_uncertain(sending);
            self.went_unanswered(sending);
        }
        let (pause, epoch) = (self.some_millis(20_000), self.server_epoch);
        self.after(pause, What::ServerStarts { epoch });
    }

    /// The process is asked to stop.
    pub(crate) fn stop_server(&mut self) {
        let Some(server) = &mut self.server else { return };
        if std::mem::replace(&mut server.stopping, true) {
            return;
        }
        let epoch = server.epoch;
        self.tell(format_args!("server {epoch} is told to stop"));
        self.after(GRACE, What::ServerGraceOver { epoch });
        self.server_handles(Input::Stop);
    }

    fn sockets_of_server(&self, epoch: u64) -> Vec<u64> {
        let of = self.sockets.iter().filter(|(_, socket)| socket.server_epoch == epoch && socket.server_open);
        of.map(|(number, _)| *number).collect()
    }

    /// Gives the hub one input and does everything it wants done.
    pub(crate) fn server_handles(&mut self, input: Input) {
        let Some(server) = &self.server else { return };
        let now = self.now(server.started, server.skew + server.apart);
        if let Some(server) = &mut self.server {
            server.hub.handle(input, now);
        }
        self.drain_server();
        self.check_intake();
    }

    pub(crate) fn server_wakes(&mut self, epoch: u64) {
        self.turn_to(epoch);
        let Some(server) = &self.server else { return };
        let now = self.now(server.started, server.skew + server.apart);
        if server.epoch != epoch || server.wake != Some(now.mono) {
            return;
        }
        if let Some(server) = &mut self.server {
            server.wake = None;
            server.hub.handle_timeout(now);
        }
        self.drain_server();
    }

    fn drain_server(&mut self) {
        while let Some(output) = self.server.as_mut().and_then(|server| server.hub.poll_output()) {
            match output {
                Output::Store(ask) => self.store_is_asked(ask),
                Output::Answer(ticket, answer) => self.answered(ticket, &answer),
                Output::Transmit(conn) => self.transmit(conn),
                Output::Close(conn, why) => {
                    if self.thief.is_some() && self.sockets.contains_key(&conn.0) {
                        self.oracle.broken("I21", format!("a stranger closed socket {}: {why}", conn.0));
                    }
                    self.tell(format_args!("server closes socket {}: {why}", conn.0));
                    self.transmit(conn);
                    self.lost(conn.0);
                    self.drop_end(conn.0, End::Server);
                }
                Output::Notice(notice) => self.tell(format_args!("server: {notice:?}")),
                Output::Stopped => {
                    self.tell(format_args!("server has stopped"));
                    self.end_server(true);
                    return;
                }
            }
        }
        self.arm_server();
    }

    fn arm_server(&mut self) {
        let Some(server) = &mut self.server else { return };
        let Some(wake) = server.hub.poll_timeout() else { return };
        let at = server.started + wake.as_micros();
        if at <= self.clock {
            let (epoch, mono) = (server.epoch, relay_core::time::Mono::from_micros(self.clock - server.started));
            server.wake = Some(mono);
            return self.at(self.clock, What::ServerWakes { epoch });
        }
        if server.wake != Some(wake) {
            server.wake = Some(wake);
            let epoch = server.epoch;
            self.at(at, What::ServerWakes { epoch });
        }
    }

    /// Writes as much as the socket takes: on a slow link little more than nothing, and the hub keeps the rest.
    fn transmit(&mut self, conn: ConnId) {
        let piece = self.passing(conn).min(limits::CHUNK_BYTES);
        while self.has_room(conn)
            && let Some(message) = self.server.as_mut().and_then(|server| server.hub.poll_transmit(conn, piece))
        {
            self.oracle.server_said(conn.0, &message, &self.store);
            if matches!(message, Message::Welcome(_)) {
                self.comes_home(conn.0);
            }
            self.tell(format_args!("socket {} <- {}", conn.0, Words(&message)));
            self.put(conn.0, End::Client, Packet::Message(codec::encode(message)));
        }
    }

    /// A socket takes more.
    pub(crate) fn socket_takes(&mut self, conn: ConnId) {
        self.transmit(conn);
        self.arm_server();
    }

    fn has_room(&self, conn: ConnId) -> bool {
        let queued = self.sockets.get(&conn.0).map_or(0, |socket| socket.queued);
        self.link_of(conn.0).is_none() || queued < self.passing(conn)
    }

    /// What the link of a socket carries; `None`: as much as it is given.
    pub(crate) fn link_of(&self, socket: u64) -> Option<u64> {
        let client = self.sockets.get(&socket).map(|socket| &self.plan.clients[socket.client]);
        client.and_then(|client| client.bytes_per_second).or(self.plan.faults.bytes_per_second)
    }

    /// What may wait in front of the wire, by the pace of the link, as the driver finds it out.
    fn passing(&self, conn: ConnId) -> usize {
        let pace = self.link_of(conn.0).map(|rate| micros(limits::SESSION_QUEUE_TIME) * rate / 1_000_000);
        let passing = pace.map_or(limits::SESSION_QUEUE_BYTES, |bytes| bytes as usize);
        let taken = self.sockets.get(&conn.0).map_or(0, |socket| self.plan.clients[socket.client].taken_on_the_way);
        passing.max(taken).clamp(limits::PIECE_BYTES_MIN, limits::SESSION_QUEUE_BYTES)
    }

    fn store_is_asked(&mut self, ask: StoreOp) {
        let op = ask.id();
        let most = self.plan.faults.store_ms;
        let span = self.some_millis(most);
        let wall = self.server_wall();
        self.oracle.asking(&ask, wall);
        self.check_ends(&ask);
        self.check_clock(&ask);
        let Some(server) = &mut self.server else { return };
        server.pending.insert(op, ask);
        let epoch = server.epoch;
        self.after(span, What::StoreActs { epoch, op });
    }

    /// I16: what is being ended because its TTL has passed is not ended once more at the same time.
    fn check_ends(&mut self, ask: &StoreOp) {
        let mut twice = None;
        for end in ends(ask) {
            let pending = self.server.iter().flat_map(|server| server.pending.values());
            if pending.flat_map(ends).any(|known| known == end) {
                twice = Some(end);
            }
        }
        if let Some(id) = twice {
            self.oracle.broken("I16", format!("{id} is being ended, and is to be ended once more"));
        }
    }

    pub(crate) fn store_acts(&mut self, epoch: u64, op: OpId) {
        self.turn_to(epoch);
        let Some(server) = self.server.as_mut().filter(|server| server.epoch == epoch) else { return };
        let Some(ask) = server.pending.remove(&op) else { return };
        let skew = server.skew;
        let wall = self.wall(skew);
        self.tell(format_args!("store op {} {ask:?}", op.0));
        let answer = self.perform(&ask, wall);
        let most = self.plan.faults.store_ms;
        let span = self.some_millis(most);
        self.after(span, What::StoreAnswers { epoch, answer: Box::new(answer) });
    }

    pub(crate) fn store_answers(&mut self, epoch: u64, answer: Stored) {
        if self.turn_to(epoch) {
            if let Stored::Presence(heard) = &answer
                && let Ok(others) = &heard.answer
            {
                self.oracle.heard_of_others(others);
            }
            self.server_handles(Input::Stored(answer));
        }
    }
}
