//! A hub with a store in memory and clients that say what a test tells them to, on a clock that a test moves.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use relay_core::{
    delivery::{
        self, Delivery, Lease, State, Token,
        outcome::{Class, Outcome},
        retry::RetryPolicy,
    },
    event::Event,
    hub::{Accepting, Answer, ConnId, Hub, Input, Notice, OpId, Output, Serves, Setup, Ticket},
    id::{DeliveryId, EventId},
    limits,
    name::Name,
    routing::{Route, Routing},
    storage::{
        AppendError, Appended, Backlog, Changed, Dedupe, DestinationDue, Due, LeaseAsk, LeaseEnd, LeaseOrder, Leased,
        StoreAnswer, StoreError, StoreOp,
    },
    time::{Now, Wall},
    wire::{
        codec::{LeaseKey, lease_key, lease_ref, report},
        message::{Extend, Grant, Hello, HelloDestination, LeaseRef, Message, Release},
    },
};

/// When every test begins.
pub(crate) const START: Wall = Wall::from_micros(1_700_000_000_000_000);

/// `FORWARD_TIMEOUT` of the clients here.
pub(crate) const FORWARD_TIMEOUT: Duration = Duration::from_secs(40);

/// Bytes of bodies on their way out.
pub(crate) const OUTGOING_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The name in `text`.
pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("names in tests are names")
}

/// Everything around one hub.
pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) store: Store,
    pub(crate) now: Now,
    pub(crate) answers: BTreeMap<Ticket, Answer>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) closed: Vec<(ConnId, &'static str)>,
    pub(crate) stopped: bool,
    /// Store operations whose answer is held back.
    pub(crate) pending: VecDeque<(OpId, StoreOp)>,
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
    /// `FORWARD_TIMEOUT` of clients that join from now on: another than the default, which must not stand in for it.
    pub(crate) forward_timeout: Duration,
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
        let mut rig = Self {
            hub: Hub::new(setup(1, 0, lease)),
            store: Store::default(),
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
            runs: 1,
            lease,
            forward_timeout: FORWARD_TIMEOUT,
            field: Bytes::from_static(b"text/plain"),
        };
        rig.start();
        rig
    }

    fn start(&mut self) {
        let made = self.store.made.iter().map(|(name, made)| (name.clone(), *made)).collect();
        self.input(Input::DeliveredSoFar(made));
        self.input(Input::Routing(Arc::new(self.routing.clone())));
    }

    /// Kills the server: what was not answered by the store is gone with everything in memory.
    pub(crate) fn crash(&mut self) {
        self.runs += 1;
        let floor = self.store.deliveries.keys().map(|id| id.sequence()).max().unwrap_or(0);
        self.hub = Hub::new(setup(self.runs, floor, self.lease));
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
                Output::Store(op, ask) => {
                    self.asked.push(kind(&ask));
                    let largest = self.largest.entry(kind(&ask)).or_default();
                    *largest = (*largest).max(extent(&ask));
                    self.pending.push_back((op, ask));
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
        let Some((op, ask)) = self.pending.pop_front() else { return false };
        let answer = self.store.perform(ask);
        self.input(Input::Stored(op, answer));
        true
    }

    fn transmit(&mut self, conn: ConnId) {
        if self.deaf.contains(&conn) {
            return;
        }
        while let Some(message) = self.hub.poll_transmit(conn) {
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
            body_sha256: [7; 32],
            received_at: self.now.wall,
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
        self.input(Input::Opened { conn, token: name("office"), serves: Serves::All, peer });
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
        self.input(Input::Received(conn, Message::Extend(Extend { held })));
    }

    /// The only delivery in the store.
    pub(crate) fn only(&self) -> &Delivery {
        assert_eq!(self.store.deliveries.len(), 1, "one delivery");
        self.store.deliveries.values().next().expect("it is there")
    }

    /// Deliveries in a state.
    pub(crate) fn count(&self, state: State) -> usize {
        self.store.deliveries.values().filter(|delivery| delivery.state == state).count()
    }
}

fn setup(seed: u64, id_floor: i64, lease: Duration) -> Setup {
    Setup {
        version: "test".to_owned(),
        lease,
        retry_after_max: limits::RETRY_AFTER_MAX,
        circuit_pause_max: limits::CIRCUIT_PAUSE_MAX,
        outgoing_bytes_max: OUTGOING_BYTES_MAX,
        public_url: Some("https://relay.example.com".to_owned()),
        seed,
        id_floor,
        sha256: mixed,
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
        StoreOp::Extend(_) => "extend",
        StoreOp::Settle(_) => "settle",
        StoreOp::Replay(_) => "replay",
        StoreOp::Find(_) => "find",
        StoreOp::Due { .. } => "due",
        StoreOp::Held { .. } => "held",
    }
}

/// How much an operation is about.
fn extent(ask: &StoreOp) -> usize {
    match ask {
        StoreOp::Append(_) | StoreOp::Lease(_) | StoreOp::Due { .. } | StoreOp::Held { .. } => 1,
        StoreOp::Extend(extends) => extends.len(),
        StoreOp::Settle(changes) => changes.len(),
        StoreOp::Replay(made) => made.len(),
        StoreOp::Find(ids) => ids.len(),
    }
}

/// A store that keeps everything in ordered maps and answers at once.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) events: BTreeMap<EventId, Arc<Event>>,
    pub(crate) deliveries: BTreeMap<DeliveryId, Delivery>,
    pub(crate) made: BTreeMap<Name, u64>,
    /// Records that do not read.
    pub(crate) damaged: BTreeSet<DeliveryId>,
    /// What operations of a kind answer instead of being done.
    pub(crate) trouble: BTreeMap<&'static str, StoreError>,
    /// A look-up of more than so many takes too long.
    pub(crate) finds_most: Option<usize>,
    dedupe: BTreeMap<[u8; 32], EventId>,
}

impl Store {
    /// Does what was asked, durably.
    pub(crate) fn perform(&mut self, ask: StoreOp) -> StoreAnswer {
        if let Some(error) = self.trouble.get(kind(&ask)) {
            return refusal(&ask, error.clone());
        }
        match ask {
            StoreOp::Find(ids) if self.finds_most.is_some_and(|most| ids.len() > most) => {
                StoreAnswer::Find(Err(StoreError::TooSlow { after: Duration::from_secs(1) }))
            }
            StoreOp::Append(append) => StoreAnswer::Append(Ok(self.append(*append))),
            StoreOp::Lease(ask) => StoreAnswer::Lease(Ok(self.lease(&ask))),
            StoreOp::Extend(extends) => {
                for extend in extends {
                    let held = self.deliveries.get_mut(&extend.id).filter(|held| held.token == extend.token);
                    if let Some(held) = held {
                        held.version += 1;
                        held.lease = held.lease.map(|lease| Lease { until: extend.until, ..lease });
                    }
                }
                StoreAnswer::Extend(Ok(()))
            }
            StoreOp::Settle(changes) if changes.iter().any(|change| self.damaged.contains(&change.next.id)) => {
                StoreAnswer::Settle(Err(StoreError::Damaged { what: "bits".into() }))
            }
            StoreOp::Find(ids) if ids.iter().any(|id| self.damaged.contains(id)) => {
                StoreAnswer::Find(Err(StoreError::Damaged { what: "bits".into() }))
            }
            StoreOp::Settle(changes) => {
                StoreAnswer::Settle(Ok(changes.into_iter().map(|change| self.settle(change)).collect()))
            }
            StoreOp::Find(ids) => {
                StoreAnswer::Find(Ok(ids.iter().map(|id| self.deliveries.get(id).cloned()).collect()))
            }
            StoreOp::Replay(made) => {
                let stored = made.iter().map(|delivery| self.events.contains_key(&delivery.event)).collect();
                self.deliveries.extend(made.into_iter().map(|delivery| (delivery.id, delivery)));
                StoreAnswer::Replay(Ok(stored))
            }
            StoreOp::Due { now, limit } => StoreAnswer::Due(Ok(self.due(now, limit))),
            StoreOp::Held { after, limit } => {
                let behind = self.deliveries.values().filter(|delivery| after.is_none_or(|after| delivery.id > after));
                let held = behind.filter(|delivery| delivery.state == State::Leased).take(limit as usize);
                let readable = held.filter(|delivery| !self.damaged.contains(&delivery.id)).cloned();
                StoreAnswer::Held(Ok(readable.collect()))
            }
        }
    }

    fn append(&mut self, append: relay_core::storage::Append) -> Appended {
        if let Some(dedupe) = &append.dedupe {
            if let Some(first) = self.dedupe.get(&dedupe.key).and_then(|id| self.events.get(id)) {
                return Appended::Repeat {
                    first: first.id,
                    received_at: first.received_at,
                    differs: first.body != append.event.body,
                    deliveries: self.deliveries.values().filter(|known| known.event == first.id).cloned().collect(),
                };
            }
            self.dedupe.insert(dedupe.key, append.event.id);
        }
        self.events.insert(append.event.id, append.event);
        self.deliveries.extend(append.deliveries.into_iter().map(|delivery| (delivery.id, delivery)));
        Appended::Stored
    }

    fn waiting(&self, destination: &Name) -> Vec<&Delivery> {
        let waits = |delivery: &&Delivery| {
            matches!(delivery.state, State::Ready | State::Scheduled) && delivery.destination == *destination
        };
        let mut waiting: Vec<&Delivery> = self.deliveries.values().filter(waits).collect();
        waiting.sort_by_key(|delivery| (delivery.due_at, delivery.id));
        waiting
    }

    fn lease(&mut self, ask: &LeaseAsk) -> Leased {
        let waiting = self.waiting(&ask.destination);
        let due = |delivery: &&&Delivery| delivery.due_at <= ask.now && delivery.expires_at > ask.now;
        let mut ids: Vec<&Delivery> = waiting.iter().filter(due).copied().collect();
        let fewest = |delivery: &&Delivery| (delivery.tries, delivery.due_at, delivery.id);
        match ask.order {
            LeaseOrder::Oldest => {}
            LeaseOrder::FewestTries => ids.sort_by_key(fewest),
            LeaseOrder::Newest => {
                let (mut fresh, mut tried): (Vec<_>, Vec<_>) =
                    ids.into_iter().partition(|delivery| delivery.tries == 0);
                fresh.reverse();
                tried.sort_by_key(fewest);
                ids = fresh.into_iter().chain(tried).collect();
            }
            LeaseOrder::Shared { tried: share } => {
                let (mut fresh, mut tried): (Vec<_>, Vec<_>) =
                    ids.into_iter().partition(|delivery| delivery.tries == 0);
                let limit = ask.limit as usize;
                let of_tried = tried.len().min((share as usize).max(limit.saturating_sub(fresh.len())));
                let of_fresh = fresh.len().min(limit - of_tried.min(limit));
                let rest = tried.split_off(of_tried).into_iter().chain(fresh.split_off(of_fresh));
                let rest: Vec<_> = rest.collect();
                ids = fresh.into_iter().chain(tried).collect();
                ids.sort_by_key(|delivery| (delivery.due_at, delivery.id));
                ids.extend(rest);
            }
        }
        let mut bytes = 0;
        let fits = |delivery: &&Delivery| {
            bytes += delivery.body_bytes;
            bytes <= ask.body_bytes_max
        };
        let all = ids.len();
        let ids: Vec<DeliveryId> =
            ids.into_iter().take(ask.limit as usize).take_while(fits).map(|delivery| delivery.id).collect();
        let mut deliveries = Vec::new();
        for id in &ids {
            let leased = delivery::leased(&self.deliveries[id], ask.instance, ask.nonce, ask.now, ask.until);
            self.deliveries.insert(*id, leased.clone());
            deliveries.push((leased.clone(), Arc::clone(&self.events[&leased.event])));
        }
        let next_due = self.waiting(&ask.destination).first().map(|delivery| delivery.due_at);
        let end = if ids.len() == all { LeaseEnd::Drained { next_due } } else { LeaseEnd::More };
        let open =
            self.deliveries.values().filter(|known| known.destination == ask.destination && known.state.is_open());
        let backlog = Backlog { tried: open.clone().any(|known| known.tries > 0), open: open.count() as u64 };
        Leased { deliveries, end, backlog }
    }

    fn settle(&mut self, change: relay_core::storage::Change) -> Changed {
        match self.deliveries.get_mut(&change.next.id) {
            None => Changed::Conflict(None),
            Some(stored) if stored.version + 1 != change.next.version => {
                Changed::Conflict(Some(Box::new(stored.clone())))
            }
            Some(stored) => {
                if change.next.state == State::Delivered && change.before.state != State::Delivered {
                    *self.made.entry(change.next.destination.clone()).or_default() += 1;
                }
                *stored = change.next;
                Changed::Applied
            }
        }
    }

    fn due(&self, now: Wall, limit: u32) -> Due {
        let names: BTreeSet<&Name> = self.deliveries.values().map(|delivery| &delivery.destination).collect();
        let due = |name: &&Name| {
            let next_due = self.waiting(name).first().map(|delivery| delivery.due_at);
            DestinationDue { destination: (*name).clone(), next_due }
        };
        let expired = |name: &&Name| self.waiting(name).into_iter().filter(|d| d.expires_at <= now).cloned().collect();
        let expired: Vec<Vec<Delivery>> = names.iter().map(expired).collect();
        Due {
            destinations: names.iter().map(due).collect(),
            expired: expired.into_iter().flatten().take(limit as usize).collect(),
        }
    }
}

/// The answer to an operation that is not done.
fn refusal(ask: &StoreOp, error: StoreError) -> StoreAnswer {
    match ask {
        StoreOp::Append(_) => StoreAnswer::Append(Err(AppendError::Full)),
        StoreOp::Lease(_) => StoreAnswer::Lease(Err(error)),
        StoreOp::Extend(_) => StoreAnswer::Extend(Err(error)),
        StoreOp::Settle(_) => StoreAnswer::Settle(Err(error)),
        StoreOp::Replay(_) => StoreAnswer::Replay(Err(error)),
        StoreOp::Find(_) => StoreAnswer::Find(Err(error)),
        StoreOp::Due { .. } => StoreAnswer::Due(Err(error)),
        StoreOp::Held { .. } => StoreAnswer::Held(Err(error)),
    }
}

/// A token that no lease has.
pub(crate) fn stale(lease: LeaseKey) -> LeaseKey {
    (lease.0, Token { counter: lease.1.counter, nonce: !lease.1.nonce })
}
