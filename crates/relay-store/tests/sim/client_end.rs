//! Drives the client machines, as the client's own driver does, and the sockets between both ends.

use std::{collections::BTreeSet, time::Duration};

use rand::RngExt as _;
use relay_core::{
    client::{Client, DialFailure, Forward, Input, Output, Served, Setup},
    delivery::outcome::{Class, Outcome},
    hub::{ConnId, Input as HubInput, Serves},
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    wire::{
        codec::{self, LeaseKey},
        message::{Hello, HelloDestination, Message, Report},
    },
};

use crate::{
    net::{End, Packet, Socket, Words},
    operator::token_of,
    scenario::{Asked, Said, Seen},
    target::Meeting,
    world::{ClientProcess, What, World, micros},
};

/// How long a Hello that comes bit by bit takes at most, in microseconds: longer than a client that is away is waited for.
const TRICKLES_FOR: u64 = 25_000_000;

impl World {
    /// A client process starts, with an instance of its own.
    pub(crate) fn start_client(&mut self, client: usize) {
        let instance = InstanceId::from_u128(self.rng.random());
        let seed = self.rng.random();
        let setup = self.setup_of(client, instance, self.plan.clients[client].slots, seed);
        self.tell(format_args!("client {client} starts as {}", setup.instance));
        let machine = Client::new(setup, self.now(self.clock, 0));
        self.clients[client].epoch += 1;
        self.clients[client].process = Some(ClientProcess {
            machine,
            instance,
            started: self.clock,
            socket: None,
            wake: None,
            said_held: BTreeSet::new(),
            taken_away: BTreeSet::new(),
        });
        self.drain_client(client);
    }

    fn setup_of(&self, client: usize, instance: InstanceId, slots: u32, seed: u64) -> Setup {
        let plan = &self.plan.clients[client];
        let (buffer_bytes, forward_timeout) = (plan.buffer_bytes, plan.forward_timeout);
        let served = |name: &Name| Served { name: name.clone(), slots, forward_timeout };
        Setup {
            instance,
            label: format!("client-{client}"),
            version: "sim".to_owned(),
            destinations: plan.serves.iter().map(served).collect(),
            buffer_bytes,
            seed,
        }
    }

    /// It goes on with other slots, in some cases as another instance, as with another token.
    pub(crate) fn renew_client(&mut self, client: usize) {
        let Some(process) = &self.clients[client].process else { return };
        let another = self.renewing.random_bool(0.3).then(|| InstanceId::from_u128(self.renewing.random()));
        let instance = another.unwrap_or(process.instance);
        let (slots, seed) = (self.renewing.random_range(1..=8), self.renewing.random());
        let setup = self.setup_of(client, instance, slots, seed);
        self.tell(format_args!("client {client} goes on as {instance} with {slots} slots"));
        self.client_handles(client, Input::Renew(Box::new(setup)));
    }

    /// The process dies, with its forwards and outcomes.
    pub(crate) fn kill_client(&mut self, client: usize) {
        let Some(process) = self.clients[client].process.take() else { return };
        self.tell(format_args!("client {client} dies"));
        if let Some(socket) = process.socket {
            self.perhaps_half_open(socket);
            self.perhaps_cut(socket);
            self.drop_end(socket, End::Client);
        }
        let (pause, epoch) = (self.some_millis(30_000), self.clients[client].epoch);
        self.after(pause, What::ClientStarts { client, epoch });
    }

    /// Gives a client one input and does everything it wants done.
    pub(crate) fn client_handles(&mut self, client: usize, input: Input) {
        let Some(started) = self.clients[client].process.as_ref().map(|process| process.started) else { return };
        let now = self.now(started, 0);
        if let Some(process) = &mut self.clients[client].process {
            process.machine.handle(input, now);
            process.machine.check_invariants();
        }
        self.drain_client(client);
    }

    pub(crate) fn client_wakes(&mut self, client: usize, epoch: u64) {
        if self.clients[client].epoch != epoch {
            return;
        }
        let Some(started) = self.clients[client].process.as_ref().map(|process| process.started) else { return };
        let now = self.now(started, 0);
        if let Some(process) = self.clients[client].process.as_mut().filter(|process| process.wake == Some(now.mono)) {
            process.wake = None;
            process.machine.handle_timeout(now);
            self.drain_client(client);
        }
    }

    fn drain_client(&mut self, client: usize) {
        while let Some(output) = self.clients[client].process.as_mut().and_then(|process| process.machine.poll_output())
        {
            match output {
                Output::Dial => {
                    let most = self.plan.faults.delay_ms * 3;
                    let (span, epoch) = (self.some_millis(most), self.clients[client].epoch);
                    self.after(span, What::Dialled { client, epoch });
                }
                Output::Send(message) => self.client_sends(client, message),
                Output::Hangup => {
                    let socket = self.clients[client].process.as_mut().and_then(|process| process.socket.take());
                    if let Some(socket) = socket {
                        self.tell(format_args!("client {client} hangs up socket {socket}"));
                        self.drop_end(socket, End::Client);
                    }
                }
                Output::Forward(forward) => self.client_forwards(client, &forward),
                Output::Notice(notice) => self.tell(format_args!("client {client}: {notice:?}")),
                Output::Exit(exit) => {
                    self.tell(format_args!("client {client} ends: {exit:?}"));
                    self.kill_client(client);
                    return;
                }
            }
        }
        let clock = self.clock;
        let Some(process) = &mut self.clients[client].process else { return };
        let Some(wake) = process.machine.poll_timeout() else { return };
        if process.wake != Some(wake) {
            process.wake = Some(wake);
            let (at, epoch) = ((process.started + wake.as_micros()).max(clock), self.clients[client].epoch);
            self.at(at, What::ClientWakes { client, epoch });
        }
    }

    fn client_sends(&mut self, client: usize, message: Message) {
        self.oracle.client_said(&message);
        let Some(process) = &mut self.clients[client].process else { return };
        if let Message::Hello(hello) = &message {
            process.said_held = hello.held.iter().flat_map(codec::lease_key).collect();
            let instance = hello.instance[..].try_into().expect("an instance has 16 bytes");
            process.instance = InstanceId::from_u128(u128::from_be_bytes(instance));
        }
        let Some(socket) = process.socket else { return };
        self.tell(format_args!("socket {socket} -> {}", Words(&message)));
        let mut span = 0;
        if let Message::Hello(hello) = &message {
            let held: Vec<LeaseKey> = hello.held.iter().flat_map(codec::lease_key).collect();
            self.comes_back(client, socket, &held);
            if self.plan.faults.trickles && self.healed_at.is_none() && self.trickle.random_bool(0.6) {
                span = self.trickle.random_range(0..=TRICKLES_FOR);
            }
        }
        self.put_slowly(socket, End::Server, Packet::Message(codec::encode(message)), span);
    }

    /// A Hello begins that names leases. If its socket came in time, those that the client has not reported stay its own until
    /// it is there, or does not go on, or they may last no longer.
    fn comes_back(&mut self, client: usize, socket: u64, held: &[LeaseKey]) {
        let in_time = self.clock < self.clients[client].lost_at + micros(limits::RESUME_GRACE);
        if !in_time || !self.plan.may_judge_returns() {
            return;
        }
        let most = self.plan.clients[client].forward_timeout + limits::LEASE_OVERTIME;
        let wall = self.server_wall();
        self.oracle.returns(socket, held, most, &self.store, wall);
    }

    fn client_forwards(&mut self, client: usize, forward: &Forward) {
        let Some(process) = &self.clients[client].process else { return };
        let taken_away = process.taken_away.contains(&forward.delivery);
        let calm = self.plan.faults.is_calm() && !self.plan.operators;
        self.tell(format_args!("client {client} forwards {} try {}", forward.delivery, forward.attempt));
        self.oracle.forwarding(forward, taken_away, calm);
        let poison = forward.body.starts_with(crate::load::POISON);
        let timeout = self.plan.clients[client].forward_timeout;
        let meeting = self.meet(forward, poison, timeout);
        let (delivery, epoch) = (forward.delivery, self.clients[client].epoch);
        let outcome = Box::new(meeting.outcome);
        self.after(meeting.after, What::TargetAnswers { client, epoch, delivery, outcome });
    }

    fn meet(&mut self, forward: &Forward, poison: bool, timeout: Duration) -> Meeting {
        if self.script.is_none() {
            return self.targets.meet(&mut self.rng, forward, poison, timeout);
        }
        let number = forward.headers.iter().find(|(name, _)| &name[..] == b"x-number");
        let number =
            number.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<usize>().ok()).unwrap_or_default();
        let (at, die) = (Duration::from_micros(self.clock), self.die());
        let kind = self.sendings[number].kind().to_owned();
        let Some(script) = &mut self.script else { return Said::Unreachable.meeting() };
        let said = script(&Asked { at, kind: &kind, number, die });
        self.seen.push(Seen { at, number, said });
        said.meeting()
    }

    pub(crate) fn target_answers(&mut self, client: usize, epoch: u64, delivery: DeliveryId, outcome: Outcome) {
        self.tell(format_args!("target of client {client}: {delivery} {:?} {:?}", outcome.class, outcome.status));
        self.oracle.target_answered(delivery, outcome.status);
        if self.clients[client].epoch == epoch {
            self.client_handles(client, Input::Forwarded(delivery, outcome));
        }
    }

    pub(crate) fn dialled(&mut self, client: usize, epoch: u64) {
        if self.clients[client].epoch != epoch || self.clients[client].process.is_none() {
            return;
        }
        if self.is_healing && self.plan.servers > 1 {
            self.turn_to_next(client);
        } else {
            self.turn_to_some();
        }
        let Some(server) = self.server.as_ref().filter(|server| !server.stopping && !self.clients[client].partitioned)
        else {
            let failure = DialFailure::Failed("connection refused".to_owned());
            return self.client_handles(client, Input::DialFailed(failure));
        };
        let socket = Socket::new(client, epoch, server.epoch);
        self.clients[client].came_to = server.epoch;
        self.last_socket += 1;
        let number = self.last_socket;
        self.sockets.insert(number, socket);
        self.tell(format_args!("socket {number} opens for client {client}"));
        if let Some(process) = &mut self.clients[client].process {
            process.socket = Some(number);
        }
        let (conn, token, serves) = (ConnId(number), token_of(client), self.serves(client));
        self.oracle.opened(number, serves.clone());
        self.server_handles(HubInput::Opened { conn, token, serves, peer: format!("client-{client}") });
        self.client_handles(client, Input::Connected);
    }

    /// Somebody with another token comes, who knows an instance and its leases, and says that they are his; and, where he may
    /// serve their destinations as well, that they failed.
    pub(crate) fn thief_comes(&mut self) {
        let victim = self.later.random_range(0..self.clients.len());
        let Some(process) = &self.clients[victim].process else { return };
        let knows = self.later.random_bool(0.5);
        let destination = HelloDestination { name: "to-0".to_owned(), slots: 8, forward_timeout_ms: 1_000 };
        let hello = Hello {
            instance: process.instance.as_u128().to_be_bytes().to_vec().into(),
            destinations: vec![destination],
            buffer_bytes: 1,
            held: process.machine.held().filter(|_| knows).map(codec::lease_ref).collect(),
            ..Hello::default()
        };
        self.last_socket += 1;
        let (number, token) = (self.last_socket, "token-thief".parse().expect("it is a name"));
        self.tell(format_args!(
            "socket {number} opens for a thief of client {victim}, who says {} held",
            hello.held.len()
        ));
        self.thief = Some(number);
        let nothing = Serves::Only(BTreeSet::new());
        // Whatever he may serve, nothing is his.
        self.oracle.opened(number, nothing.clone());
        let (serves, hello, failed) = if knows && self.later.random_bool(0.5) {
            let elsewhere = HelloDestination { name: "of-a-thief".to_owned(), ..hello.destinations[0].clone() };
            (Serves::All, Hello { destinations: vec![elsewhere], held: Vec::new(), ..hello.clone() }, hello.held)
        } else {
            (nothing, hello, Vec::new())
        };
        self.server_handles(HubInput::Opened { conn: ConnId(number), token, serves, peer: "thief".to_owned() });
        self.server_handles(HubInput::Received(ConnId(number), Message::Hello(hello)));
        for lease in failed {
            let report = Report { lease: Some(lease), class: Class::Busy as u32, ..Report::default() };
            self.server_handles(HubInput::Received(ConnId(number), Message::Report(report)));
        }
        self.thief = None;
        let span = self.later.random_range(0..5_000);
        self.after(Duration::from_millis(span), What::ThiefGoes { socket: number });
    }

    /// Puts a packet on its way to `end`.
    pub(crate) fn put(&mut self, number: u64, end: End, packet: Packet) {
        self.put_slowly(number, end, packet, 0);
    }

    /// The same for one whose last byte leaves so many microseconds after its first.
    fn put_slowly(&mut self, number: u64, end: End, packet: Packet, slowly: u64) {
        let most = self.plan.faults.delay_ms;
        let delay = self.rng.random_range(0..=most * 1_000);
        let clock = self.clock;
        let span = packet.span(self.link_of(number)).max(slowly);
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        if end == End::Client {
            socket.queued += packet.len();
        }
        if socket.half_open {
            return;
        }
        if self.clients[socket.client].partitioned {
            socket.stalled.push((end, packet));
            return;
        }
        // Of what was never sent whole nothing holds up the news.
        let at = if socket.cut && end == End::Server { clock + delay } else { socket.arrival(end, clock, delay, span) };
        let every = micros(limits::HEARD_EVERY) as usize;
        for part in (at - span..at).step_by(every).skip(1) {
            self.at(part, What::ArriveInPart { socket: number, end });
        }
        self.at(at, What::Arrive { socket: number, end, packet });
    }

    /// Part of a message arrives, which is no more than a sign of life. Whoever sends it sees that it is taken.
    pub(crate) fn arrive_in_part(&mut self, number: u64, end: End) {
        let Some(socket) = self.sockets.get(&number).filter(|socket| socket.carries(end)) else { return };
        let (client, epoch, server_epoch) = (socket.client, socket.client_epoch, socket.server_epoch);
        self.turn_to(server_epoch);
        let (here, partitioned) = (self.clients[client].epoch == epoch, self.clients[client].partitioned);
        let here = here && self.clients[client].process.as_ref().is_some_and(|found| found.socket == Some(number));
        if partitioned {
            return;
        }
        match end {
            End::Client if here => self.client_handles(client, Input::Heard),
            End::Server if self.server.as_ref().is_some_and(|server| server.epoch == server_epoch) => {
                let wall = self.server_wall();
                self.oracle.goes_on_returning(number, wall);
                self.server_handles(HubInput::Heard(ConnId(number)));
                if here {
                    self.client_handles(client, Input::Taken);
                }
            }
            End::Client | End::Server => {}
        }
    }

    /// Of what a process said last, some may have been on its own side still when it died.
    fn perhaps_cut(&mut self, number: u64) {
        let cut = self.plan.faults.trickles && self.trickle.random_bool(0.5);
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.cut |= cut;
        }
    }

    /// One end is gone or has hung up: the other hears of it, unless nobody tells.
    pub(crate) fn drop_end(&mut self, number: u64, end: End) {
        if let Some(socket) = self.sockets.get_mut(&number).filter(|socket| socket.is_open(end)) {
            socket.close(end);
            self.put(number, end.other(), Packet::Close);
        }
    }

    /// A machine that loses its power does not say so.
    pub(crate) fn perhaps_half_open(&mut self, number: u64) {
        let silent = self.plan.faults.half_open && self.rng.random_bool(0.3);
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.half_open |= silent;
        }
    }

    pub(crate) fn arrive(&mut self, number: u64, end: End, packet: Packet) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        if end == End::Client {
            socket.queued = socket.queued.saturating_sub(packet.len());
        }
        let arrives = match packet {
            Packet::Message(_) => socket.carries(end),
            Packet::Close => !socket.half_open && socket.is_open(end),
        };
        if !arrives {
            return;
        }
        let (client, client_epoch, server_epoch) = (socket.client, socket.client_epoch, socket.server_epoch);
        self.turn_to(server_epoch);
        match end {
            End::Client if self.clients[client].epoch == client_epoch => {
                self.arrive_at_client(client, number, packet);
                self.taken(number);
            }
            End::Server if self.server.as_ref().is_some_and(|server| server.epoch == server_epoch) => {
                self.arrive_at_server(number, packet);
            }
            End::Client | End::Server => {}
        }
        if self.sockets.get(&number).is_some_and(|socket| !socket.client_open && !socket.server_open) {
            self.sockets.remove(&number);
        }
    }

    /// The client took something: there is room for more.
    fn taken(&mut self, number: u64) {
        let here = |socket: &Socket| {
            socket.server_open && self.server.as_ref().is_some_and(|server| server.epoch == socket.server_epoch)
        };
        if self.sockets.get(&number).is_some_and(here) {
            self.socket_takes(ConnId(number));
        }
    }

    fn arrive_at_client(&mut self, client: usize, number: u64, packet: Packet) {
        let Some(process) = self.clients[client].process.as_mut().filter(|process| process.socket == Some(number))
        else {
            return;
        };
        match packet {
            Packet::Message(bytes) => match codec::decode(bytes) {
                Ok(Some(message)) => {
                    note_leases(process, &message);
                    self.client_handles(client, Input::Received(message));
                }
                Ok(None) | Err(_) => self.oracle.broken("I3", "a message does not decode".to_owned()),
            },
            Packet::Close => {
                process.socket = None;
                self.drop_end(number, End::Client);
                self.client_handles(client, Input::Disconnected);
            }
        }
    }

    fn arrive_at_server(&mut self, number: u64, packet: Packet) {
        match packet {
            Packet::Message(bytes) => match codec::decode(bytes) {
                Ok(Some(message)) => {
                    self.oracle.server_heard(&message, &self.store);
                    let greets = matches!(message, Message::Hello(_));
                    if let Message::Hello(hello) = &message {
                        self.oracle.returned(number);
                        self.greets(number, hello);
                    }
                    self.is_told(&message);
                    self.server_handles(HubInput::Received(ConnId(number), message));
                    // Where there are several it is welcomed later: see `comes_home`.
                    if greets && self.plan.servers == 1 {
                        self.see_joined(number);
                    }
                }
                Ok(None) | Err(_) => self.oracle.broken("I3", "a message does not decode".to_owned()),
            },
            Packet::Close => {
                self.lost(number);
                self.drop_end(number, End::Server);
                self.server_handles(HubInput::Closed(ConnId(number)));
            }
        }
    }
}

impl World {
    /// The server loses a socket.
    pub(crate) fn lost(&mut self, number: u64) {
        self.oracle.returned(number);
        if let Some(socket) = self.sockets.get(&number) {
            self.clients[socket.client].lost_at = self.clock;
        }
    }

    /// Once its Hello is taken: the server counts its client where it may serve, and nowhere else.
    pub(crate) fn see_joined(&mut self, number: u64) {
        let (Some(server), Some(socket)) = (&self.server, self.sockets.get(&number)) else { return };
        let Some(process) = &self.clients[socket.client].process else { return };
        if process.socket == Some(number) {
            let instance = server.hub.instance_of(&token_of(socket.client), process.instance);
            self.oracle.counted(number, instance, &server.hub.view());
            if socket.client == 0 {
                let wall = self.server_wall();
                self.oracle.served(instance, wall);
            }
        }
    }
}

/// Writes down which leases the server gives and takes.
fn note_leases(process: &mut ClientProcess, message: &Message) {
    match message {
        Message::Grant(grant) => {
            if let Ok((delivery, _)) = codec::required_lease(grant.lease.as_ref()) {
                process.taken_away.remove(&delivery);
            }
        }
        Message::Welcome(welcome) => {
            let resumed: BTreeSet<_> = welcome.resumed.iter().flat_map(codec::lease_key).collect();
            let gone = process.said_held.difference(&resumed).map(|(delivery, _)| *delivery);
            let kept: BTreeSet<DeliveryId> = resumed.iter().map(|(delivery, _)| *delivery).collect();
            process.taken_away.extend(gone.filter(|delivery| !kept.contains(delivery)));
        }
        Message::Release(release) => {
            process.taken_away.extend(release.leases.iter().flat_map(codec::lease_key).map(|(delivery, _)| delivery));
        }
        Message::Hello(_)
        | Message::Chunk(_)
        | Message::Extend(_)
        | Message::Report(_)
        | Message::Settled(_)
        | Message::GoAway(_)
        | Message::Peers(_) => {}
    }
}
