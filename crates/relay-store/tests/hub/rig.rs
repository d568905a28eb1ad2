//! A hub with a store in memory and clients that say what a test tells them to, on a clock that a test moves.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use relay_core::{
    delivery::{
        Delivery, State,
        outcome::{Class, Outcome},
        retry::RetryPolicy,
    },
    hub::{Accepting, Answer, ConnId, Hub, Input, Notice, Output, Serves, Setup, Ticket},
    id::{DeliveryId, Partition},
    limits,
    name::Name,
    routing::{Route, Routing},
    storage::{About, Dedupe, StoreError, StoreOp},
    time::{Now, Wall},
    trace::Sampling,
    wire::{
        codec::{LeaseKey, lease_key, lease_ref, report},
        message::{Grant, HeldList, Hello, HelloDestination, LeaseRef, Message, Release},
    },
};
use relay_store::memory::{MemoryStore, Trouble};

/// When every test begins.
pub(crate) const START: Wall = Wall::from_micros(1_700_000_000_000_000);

/// `FORWARD_TIMEOUT` of the clients here.
pub(crate) const FORWARD_TIMEOUT: Duration = Duration::from_secs(40);

/// Bytes of bodies on their way out.
pub(crate) const OUTGOING_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Of a store that two servers share.
pub(crate) const PARTITIONS: u16 = 16;

/// The name in `text`.
pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("names in tests are names")
}

/// Everything around one hub.
pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) store: MemoryStore,
    pub(crate) now: Now,
    pub(crate) answers: BTreeMap<Ticket, Answer>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) closed: Vec<(ConnId, &'static str)>,
    pub(crate) stopped: bool,
    /// Store operations whose answer is held back.
    pub(crate) pending: VecDeque<StoreOp>,
    /// Answer store operations at once.
    pub(crate) prompt: bool,
    /// Every store operation asked for, by its kind.
    pub(crate) asked: Vec<&'static str>,
    /// The most that one store operation of a kind was about.
    pub(crate) largest: BTreeMap<&'static str, usize>,
    pub(crate) inbox: BTreeMap<ConnId, Vec<Message>>,
    /// Sockets whose clients do not read.
    pub(crate) deaf: BTreeSet<ConnId>,
    pub(crate) routing: Routing,
    tickets: u64,
    runs: u64,
    lease: Duration,
    /// There is another rig on the same store.
    shares: bool,
    parts: u16,
    /// `FORWARD_TIMEOUT` of clients that join from now on: another than the default, which must not stand in for it.
    pub(crate) forward_timeout: Duration,
    /// What clients connect with.
    token: Name,
    /// The value of a header field of webhooks that are sent from now on.
    pub(crate) field: Bytes,
}

impl Rig {
    /// A hub whose source `src` leads to the destination `crm`.
    pub(crate) fn new() -> Self {
        Self::with_routes(&[("src", "crm")], &RetryPolicy::default())
    }

    /// The same with this `LEASE`.
    pub(crate) fn with_lease(lease: Duration) -> Self {
        Self::with(&[("src", "crm")], &RetryPolicy::default(), lease)
    }

    /// A hub with these routes.
    pub(crate) fn with_routes(routes: &[(&str, &str)], retry: &RetryPolicy) -> Self {
        Self::with(routes, retry, limits::LEASE)
    }

    fn with(routes: &[(&str, &str)], retry: &RetryPolicy, lease: Duration) -> Self {
        let mut routing = Routing::default();
        for (source, destination) in routes {
            let route = Route { destination: name(destination), ttl: limits::MESSAGE_TTL, retry: retry.clone() };
            routing.routes.entry(name(source)).or_default().push(route);
        }
        let mut rig = Self::on(MemoryStore::new(), routing, lease, 1, false);
        rig.start();
        rig
    }

    /// The same as [`Self::new`], and all that its senders do not speak of is traced.
    pub(crate) fn traced() -> Self {
        let rig = Self::on(MemoryStore::new(), Self::new().routing, limits::LEASE, 1, false);
        rig.tracing()
    }

    /// Two servers on one store that trace so.
    pub(crate) fn sharing_traced() -> [Self; 2] {
        let store = MemoryStore::with_partitions(PARTITIONS);
        let on = |run| Self::on(store.second_owner(), Self::new().routing, limits::LEASE, run, true);
        [1, 101].map(|run| on(run).tracing())
    }

    /// The same from its beginning, which traces all that its senders do not speak of.
    fn tracing(self) -> Self {
        let setup = Setup { traces: Sampling::of_share(1.0), ..setup(self.runs, 0, self.lease, self.shares) };
        let mut rig = Self { hub: Hub::new(setup), ..self };
        rig.start();
        rig
    }

    /// Two servers on one store.
    pub(crate) fn sharing() -> [Self; 2] {
        let (store, routing) = (MemoryStore::with_partitions(PARTITIONS), Self::new().routing);
        [1, 101].map(|run| {
            let mut rig = Self::on(store.second_owner(), routing.clone(), limits::LEASE, run, true);
            rig.start();
            rig
        })
    }

    /// The same, each with its clock so many seconds ahead of the store's, which has one of its own.
    pub(crate) fn apart<const N: usize>(ahead: [i64; N]) -> [Self; N] {
        let alone = Self::new();
        alone.store.tell_clock(START);
        let mut run = 1;
        ahead.map(|seconds| {
            run += 100;
            let mut rig = Self::on(alone.store.second_owner(), alone.routing.clone(), limits::LEASE, run, true);
            rig.now.wall = Wall::from_micros(START.as_micros() + seconds * 1_000_000);
            rig.start();
            rig
        })
    }

    fn on(store: MemoryStore, routing: Routing, lease: Duration, runs: u64, shares: bool) -> Self {
        Self {
            hub: Hub::new(setup(runs, 0, lease, shares)),
            store,
            now: Now { wall: START, mono: relay_core::time::Mono::from_micros(1) },
            answers: BTreeMap::new(),
            notices: Vec::new(),
            closed: Vec::new(),
            stopped: false,
            pending: VecDeque::new(),
            prompt: true,
            asked: Vec::new(),
            largest: BTreeMap::new(),
            inbox: BTreeMap::new(),
            deaf: BTreeSet::new(),
            routing,
            tickets: 0,
            runs,
            lease,
            shares,
            parts: if shares { PARTITIONS } else { 1 },
            forward_timeout: FORWARD_TIMEOUT,
            token: name("office"),
            field: Bytes::from_static(b"text/plain"),
        }
    }

    fn start(&mut self) {
        let stats = self.store.stats_now();
        let made = stats.destinations.into_iter().map(|at| (at.destination, at.outcomes[0])).collect();
        self.input(Input::DeliveredSoFar(made));
        self.input(Input::Routing(Arc::new(self.routing.clone())));
    }

    /// Kills the server: what was not answered by the store is gone with everything in memory.
    pub(crate) fn crash(&mut self) {
        self.runs += 1;
        self.hub = Hub::new(setup(self.runs, self.store.stats_now().id_floor, self.lease, self.shares));
        self.pending.clear();
        self.inbox.clear();
        self.start();
    }

    /// Feeds one input and does what the hub wants.
    pub(crate) fn input(&mut self, input: Input) {
        self.hub.handle(input, self.now);
        self.drain();
    }

    /// Does what the hub wants, until it wants nothing.
    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Store(ask) => {
                    self.asked.push(kind(&ask));
                    let largest = self.largest.entry(kind(&ask)).or_default();
                    *largest = (*largest).max(extent(&ask));
                    let parts: BTreeSet<u16> = partitions_of(&ask).map(|one| one.number() % self.parts).collect();
                    assert!(parts.len() < 2, "an operation is about one part: {ask:?}");
                    self.pending.push_back(ask);
                }
                Output::Answer(ticket, answer) => {
                    let before = self.answers.insert(ticket, answer);
                    assert_eq!(before, None, "a request is answered once");
                }
                Output::Transmit(conn) => self.transmit(conn),
                Output::Close(conn, why) => {
                    self.transmit(conn);
                    self.closed.push((conn, why));
                }
                Output::Notice(notice) => self.notices.push(notice),
                Output::Stopped => self.stopped = true,
            }
        }
        if self.prompt {
            self.answer_store();
        }
    }

    /// Lets the store do what was asked of it.
    pub(crate) fn answer_store(&mut self) {
        while self.answer_one() {}
    }

    /// Lets the store do the first thing that was asked of it.
    pub(crate) fn answer_one(&mut self) -> bool {
        let Some(ask) = self.pending.pop_front() else { return false };
        let answer = self.store.perform(ask);
        self.input(Input::Stored(answer));
        true
    }

    fn transmit(&mut self, conn: ConnId) {
        if self.deaf.contains(&conn) {
            return;
        }
        while let Some(message) = self.hub.poll_transmit(conn, limits::CHUNK_BYTES) {
            self.inbox.entry(conn).or_default().push(message);
        }
    }

    /// Moves the clock on, stopping at every timeout on the way.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now + at.since(self.now.mono);
            self.hub.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Sends a webhook of 10 bytes to the source `src`.
    pub(crate) fn send(&mut self) -> Ticket {
        self.send_body("src", b"0123456789", None)
    }

    /// Sends a webhook.
    pub(crate) fn send_body(&mut self, source: &str, body: &[u8], dedupe: Option<[u8; 32]>) -> Ticket {
        self.send_again(source, body, dedupe, false)
    }

    /// Sends a webhook of a platform that sends again only when somebody wants it to.
    pub(crate) fn resend(&mut self, body: &[u8], key: [u8; 32]) -> Ticket {
        self.send_again("src", body, Some(key), true)
    }

    fn send_again(&mut self, source: &str, body: &[u8], dedupe: Option<[u8; 32]>, resend: bool) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let request = Accepting {
            source: name(source),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook/src/a%2Fb"),
            query: Some(Bytes::from_static(b"x=1")),
            headers: vec![(Bytes::from_static(b"content-type"), self.field.clone())],
            body: Bytes::copy_from_slice(body),
            // Of the beginning: large bodies here are all alike.
            body_sha256: mixed(&body[..body.len().min(64)]),
            received_at: self.now.wall,
            name: None,
            key: None,
            dedupe: dedupe.map(|key| Dedupe { key, until: Wall::MAX }),
            resend,
            deadline: self.now.wall + Duration::from_secs(2),
        };
        self.input(Input::Accept { ticket, request: Box::new(request) });
        ticket
    }

    /// A client connects and says Hello: `slots` for `crm`.
    pub(crate) fn join(&mut self, conn: u64, instance: u128, slots: u32) -> ConnId {
        self.join_with(conn, instance, &[("crm", slots)], limits::CLIENT_BUFFER, &[])
    }

    /// A client of another access token connects and says Hello.
    pub(crate) fn join_as(&mut self, token: &str, conn: u64, instance: u128, slots: u32) -> ConnId {
        self.token = name(token);
        let conn = self.join(conn, instance, slots);
        self.token = name("office");
        conn
    }

    /// A client connects and says Hello.
    pub(crate) fn join_with(
        &mut self,
        conn: u64,
        instance: u128,
        destinations: &[(&str, u32)],
        buffer_bytes: u64,
        held: &[LeaseKey],
    ) -> ConnId {
        let conn = ConnId(conn);
        let peer = "10.0.0.7:4711".to_owned();
        self.input(Input::Opened { conn, token: self.token.clone(), serves: Serves::All, peer });
        let forward_timeout_ms = self.forward_timeout.as_millis() as u32;
        let destination = |(name, slots): &(&str, u32)| HelloDestination {
            name: (*name).to_owned(),
            slots: *slots,
            forward_timeout_ms,
        };
        let hello = Hello {
            instance: Bytes::copy_from_slice(&instance.to_be_bytes()),
            version: "test".to_owned(),
            destinations: destinations.iter().map(destination).collect(),
            buffer_bytes,
            held: held.iter().copied().map(lease_ref).collect(),
            label: format!("client-{instance}"),
        };
        self.input(Input::Received(conn, Message::Hello(hello)));
        conn
    }

    /// Takes what was sent on a socket.
    pub(crate) fn received(&mut self, conn: ConnId) -> Vec<Message> {
        self.inbox.remove(&conn).unwrap_or_default()
    }

    /// Takes what was sent on a socket; gives the grants.
    pub(crate) fn grants(&mut self, conn: ConnId) -> Vec<Grant> {
        let grant = |message| if let Message::Grant(grant) = message { Some(*grant) } else { None };
        self.received(conn).into_iter().filter_map(grant).collect()
    }

    /// Takes what was sent on a socket; gives the one grant that must be there.
    pub(crate) fn grant(&mut self, conn: ConnId) -> Grant {
        let mut grants = self.grants(conn);
        assert_eq!(grants.len(), 1, "one grant");
        grants.remove(0)
    }

    /// A client reports.
    pub(crate) fn report(&mut self, conn: ConnId, lease: LeaseKey, outcome: &Outcome) {
        self.input(Input::Received(conn, Message::Report(report(lease, outcome))));
    }

    /// A client hands back.
    pub(crate) fn release(&mut self, conn: ConnId, lease: LeaseKey) {
        self.input(Input::Received(conn, Message::Release(Release { leases: vec![lease_ref(lease)] })));
    }

    /// A client's heartbeat.
    pub(crate) fn heartbeat(&mut self, conn: ConnId, held: &[LeaseKey]) {
        let held = held.iter().copied().map(lease_ref).collect();
        self.input(Input::Received(conn, Message::Extend(HeldList { held })));
    }

    /// The only delivery in the store.
    pub(crate) fn only(&self) -> Delivery {
        let mut deliveries = self.store.deliveries();
        assert_eq!(deliveries.len(), 1, "one delivery");
        deliveries.remove(0)
    }

    /// Deliveries in a state.
    pub(crate) fn count(&self, state: State) -> usize {
        self.store.deliveries().iter().filter(|delivery| delivery.state == state).count()
    }

    /// A delivery that must be there.
    pub(crate) fn delivery(&self, id: DeliveryId) -> Delivery {
        self.store.delivery(id).expect("it is stored")
    }

    /// Changes a record past the hub.
    pub(crate) fn edit(&mut self, id: DeliveryId, change: impl FnOnce(&mut Delivery)) {
        let mut record = self.delivery(id);
        change(&mut record);
        self.store.put(record);
    }

    /// The store answers operations of a kind so from now on, and does nothing of them.
    pub(crate) fn trouble(&self, op: Trouble, error: StoreError) {
        self.store.set_trouble(vec![(op, error)]);
    }

    /// The store does again what it is asked.
    pub(crate) fn no_trouble(&self) {
        self.store.set_trouble(Vec::new());
    }

    /// The first thing that the store was asked for is answered so, and not done.
    pub(crate) fn refuse_one(&mut self, op: Trouble, error: StoreError) {
        self.trouble(op, error);
        let ask = self.pending.pop_front().expect("the store was asked");
        let answer = self.store.perform(ask);
        self.no_trouble();
        self.input(Input::Stored(answer));
    }
}

fn setup(seed: u64, id_floor: i64, lease: Duration, shares: bool) -> Setup {
    let partitions = if shares { PARTITIONS } else { 1 };
    Setup {
        server: About { version: "test".into(), ..About::default() },
        lease,
        retry_after_max: limits::RETRY_AFTER_MAX,
        circuit_pause_max: limits::CIRCUIT_PAUSE_MAX,
        outgoing_bytes_max: OUTGOING_BYTES_MAX,
        public_url: Some("https://relay.example.com".to_owned()),
        seed,
        shares,
        partitions,
        parts: partitions,
        id_floor,
        sha256: mixed,
        traces: None,
    }
}

/// Something of all bytes, in the place of a digest.
fn mixed(bytes: &[u8]) -> [u8; 32] {
    let mix = |seed: u64| bytes.iter().fold(seed, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mut mixed = [0; 32];
    mixed.chunks_mut(8).zip(1_u64..).for_each(|(part, seed)| part.copy_from_slice(&mix(seed << 40).to_be_bytes()));
    mixed
}

/// The lease that a grant speaks of.
pub(crate) fn lease_of(grant: &Grant) -> LeaseKey {
    lease_key(grant.lease.as_ref().expect("a grant names its lease")).expect("its id has 16 bytes")
}

/// The leases that a list names.
pub(crate) fn keys(leases: &[LeaseRef]) -> Vec<LeaseKey> {
    leases.iter().map(|lease| lease_key(lease).expect("its id has 16 bytes")).collect()
}

/// An outcome of a class with a fitting status.
pub(crate) fn outcome(class: Class) -> Outcome {
    let status = match class {
        Class::Delivered => Some(200),
        Class::Rejected => Some(500),
        Class::Refused => Some(422),
        Class::Busy | Class::Unreachable => None,
    };
    let duration = Duration::from_millis(20);
    Outcome { class, status, retry_after: None, duration, error: Some(class.as_str().into()), answer: None }
}

fn kind(ask: &StoreOp) -> &'static str {
    match ask {
        StoreOp::Append(_) => "append",
        StoreOp::Lease(_) => "lease",
        StoreOp::Bodies(_) => "bodies",
        StoreOp::Extend(_) => "extend",
        StoreOp::Settle(_) => "settle",
        StoreOp::Replay(_) => "replay",
        StoreOp::Find(_) => "find",
        StoreOp::Due(_) => "due",
        StoreOp::Held(_) => "held",
        StoreOp::Presence(_) => "presence",
        StoreOp::Clock(_) => "clock",
    }
}

/// Where the deliveries are that an operation names.
fn partitions_of(ask: &StoreOp) -> impl Iterator<Item = Partition> {
    let ids: Vec<DeliveryId> = match ask {
        StoreOp::Append(append) => append.ask.deliveries.iter().map(|made| made.id).collect(),
        StoreOp::Bodies(of) => of.ask.iter().map(|of| of.delivery).collect(),
        StoreOp::Extend(extends) => extends.ask.iter().map(|extend| extend.id).collect(),
        StoreOp::Settle(changes) => changes.ask.iter().map(|change| change.next.id).collect(),
        StoreOp::Replay(replay) => replay.ask.made.iter().map(|made| made.id).collect(),
        StoreOp::Find(ids) => ids.ask.clone(),
        StoreOp::Lease(_) | StoreOp::Due(_) | StoreOp::Held(_) | StoreOp::Presence(_) | StoreOp::Clock(_) => Vec::new(),
    };
    ids.into_iter().map(DeliveryId::partition)
}

/// How much an operation is about.
fn extent(ask: &StoreOp) -> usize {
    match ask {
        StoreOp::Append(_)
        | StoreOp::Lease(_)
        | StoreOp::Due(_)
        | StoreOp::Held(_)
        | StoreOp::Presence(_)
        | StoreOp::Clock(_) => 1,
        StoreOp::Bodies(of) => of.ask.len(),
        StoreOp::Extend(extends) => extends.ask.len(),
        StoreOp::Settle(changes) => changes.ask.len(),
        StoreOp::Replay(replay) => replay.ask.made.len(),
        StoreOp::Find(ids) => ids.ask.len(),
    }
}
