//! A hub over a real Redis: what is confirmed to a client is stored.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use relay_core::{
    delivery::{
        State,
        outcome::{Class, Outcome},
        retry::RetryPolicy,
    },
    hub::{Accepting, ConnId, Hub, Input, Output, Serves, Setup, Ticket},
    id::{DeliveryId, IdMint},
    limits,
    routing::{Route, Routing},
    storage::{About, StoreError},
    time::{Mono, Now},
    wire::{
        codec::{lease_key, report},
        message::{Grant, Hello, HelloDestination, Message},
    },
};
use relay_store::{
    Store,
    conformance::{Backend as _, Fixture, at},
    redis::Options,
    seam::{Durability, perform},
};

use crate::{
    backend::Shared,
    node::{Node, Server},
};

const CLIENT: ConnId = ConnId(1);

/// A hub, its store, and what its one client was sent.
struct Served {
    hub: Hub,
    store: Arc<dyn Store>,
    now: Now,
    sent: Vec<Message>,
}

impl Served {
    async fn by(store: Arc<dyn Store>) -> Self {
        let setup = Setup {
            server: About::default(),
            lease: limits::LEASE,
            retry_after_max: limits::RETRY_AFTER_MAX,
            circuit_pause_max: limits::CIRCUIT_PAUSE_MAX,
            outgoing_bytes_max: 1 << 20,
            public_url: None,
            seed: 7,
            shares: false,
            partitions: 1,
            parts: 1,
            id_floor: 0,
            sha256: |_| [7; 32],
            traces: None,
        };
        let now = Now { wall: at(0), mono: Mono::from_micros(1) };
        let mut served = Self { hub: Hub::new(setup), store, now, sent: Vec::new() };
        let mut routing = Routing::default();
        let destination = "crm".parse().expect("a name");
        let route = Route { destination, ttl: limits::MESSAGE_TTL, retry: RetryPolicy::default() };
        routing.routes.insert("src".parse().expect("a name"), vec![route]);
        served.input(Input::DeliveredSoFar(Vec::new())).await;
        served.input(Input::Routing(Arc::new(routing))).await;
        let (token, peer) = ("office".parse().expect("a name"), String::new());
        served.input(Input::Opened { conn: CLIENT, token, serves: Serves::All, peer }).await;
        let hello = Hello {
            instance: Bytes::copy_from_slice(&7_u128.to_be_bytes()),
            version: "test".to_owned(),
            destinations: vec![HelloDestination { name: "crm".to_owned(), slots: 4, forward_timeout_ms: 40_000 }],
            buffer_bytes: limits::CLIENT_BUFFER,
            held: Vec::new(),
            label: String::new(),
        };
        served.input(Input::Received(CLIENT, Message::Hello(hello))).await;
        served
    }

    async fn input(&mut self, input: Input) {
        self.hub.handle(input, self.now);
        self.drain().await;
    }

    /// Does what the hub wants, until it wants nothing.
    async fn drain(&mut self) {
        let mut asked = VecDeque::new();
        loop {
            while let Some(output) = self.hub.poll_output() {
                match output {
                    Output::Store(op) => asked.push_back(op),
                    Output::Transmit(conn) => {
                        while let Some(message) = self.hub.poll_transmit(conn, limits::CHUNK_BYTES) {
                            self.sent.push(message);
                        }
                    }
                    Output::Answer(..) | Output::Close(..) | Output::Notice(_) | Output::Stopped => {}
                }
            }
            let Some(op) = asked.pop_front() else { return };
            let stored = perform(&*self.store, op).await;
            self.hub.handle(Input::Stored(stored), self.now);
        }
    }

    /// Moves the clock on, stopping at every timeout on the way.
    async fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now + at.since(self.now.mono);
            self.hub.handle_timeout(self.now);
            self.drain().await;
        }
        self.now = end;
    }

    async fn send(&mut self) {
        let request = Accepting {
            source: "src".parse().expect("a name"),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook/src"),
            query: None,
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
            body_sha256: [7; 32],
            received_at: self.now.wall,
            name: None,
            key: None,
            dedupe: None,
            resend: false,
            deadline: self.now.wall + Duration::from_secs(2),
        };
        self.input(Input::Accept { ticket: Ticket(1), request: Box::new(request) }).await;
    }

    fn grants<'a>(&'a self) -> Vec<&'a Grant> {
        let grant = |message: &'a Message| if let Message::Grant(grant) = message { Some(&**grant) } else { None };
        self.sent.iter().filter_map(grant).collect()
    }

    fn is_settled(&self) -> bool {
        self.sent.iter().any(|message| matches!(message, Message::Settled(_)))
    }

    async fn state(&self, id: DeliveryId) -> State {
        self.store.find(vec![id]).await.expect("reads").pop().flatten().expect("it is there").state
    }
}

/// I6, I7: while a key that its settlement writes is of another type a report is not confirmed; once it is put aside it is stored, and
/// confirmed, and forwarded once.
#[tokio::test]
async fn a_report_is_confirmed_once_it_is_stored() {
    let node = Node::start();
    for spoilt in ["done:crm", "leases", "n"] {
        node.ask(&[b"FLUSHALL"]);
        let store = Shared::at_hand(Options::new(node.address())).store();
        let mut served = Served::by(store).await;
        served.send().await;
        let lease = lease_key(served.grants()[0].lease.as_ref().expect("it is named")).expect("it reads");
        let key = format!("crm-relay:{{00-23}}:{spoilt}");
        let (key, kept): (&[u8], &[u8]) = (key.as_bytes(), b"kept");
        // What stood there is there again later, as rows have it.
        node.ask_all(&[&[b"RENAME", key, kept], &[b"SET", key, b"x"]]);
        let outcome = Outcome {
            class: Class::Delivered,
            status: Some(200),
            retry_after: None,
            duration: Duration::from_millis(20),
            error: None,
            answer: None,
        };
        served.input(Input::Received(CLIENT, Message::Report(report(lease, &outcome)))).await;
        served.pass(Duration::from_secs(5)).await;
        assert!(!served.is_settled(), "{spoilt}: nothing is stored");
        assert_eq!(served.state(lease.0).await, State::Leased, "{spoilt}");
        node.ask_all(&[&[b"DEL", key], &[b"RENAME", kept, key]]);
        served.pass(Duration::from_secs(5)).await;
        assert!(served.is_settled(), "{spoilt}");
        assert_eq!(served.state(lease.0).await, State::Delivered, "{spoilt}");
        served.pass(limits::LEASE * 3).await;
        assert_eq!(served.grants().len(), 1, "{spoilt}: it was forwarded once");
    }
}

/// I6: who asks for a record where counters are of another type, and a replica is waited for, is not told that the record is damaged.
#[tokio::test]
async fn what_cannot_be_confirmed_is_away() {
    let (primary, _replica) = Node::with_replica(Server::Installed);
    let options = Options { durability: Some(Durability::Replicated), ..Options::new(primary.address()) };
    let mut fixture = Fixture::over(Shared::at_hand(options), IdMint::new(0, 7));
    let stored = fixture.accept("crm", at(0)).await;
    primary.ask_all(&[&[b"RENAME", b"crm-relay:{00-23}:n", b"kept"], &[b"SET", b"crm-relay:{00-23}:n", b"x"]]);
    assert_eq!(fixture.store().find(vec![stored.id]).await, Err(StoreError::Away));
    primary.ask(&[b"RENAME", b"kept", b"crm-relay:{00-23}:n"]);
    assert_eq!(fixture.store().find(vec![stored.id]).await, Ok(vec![Some(stored)]));
}
