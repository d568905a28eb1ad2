use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use relay_core::{
    delivery::{Token, outcome::Class},
    id::DeliveryId,
    wire::{
        codec::{self, LeaseKey},
        message::{Grant, Settled, Welcome, WelcomeDestination},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, tungstenite};

use super::*;
use crate::config::Destination;

const WAIT: Duration = Duration::from_secs(20);

fn config(relay: &str, target: &str) -> Config {
    Config {
        relay_url: relay.parse().unwrap(),
        token: "crt_test".into(),
        destinations: vec![Destination {
            name: "crm".parse().unwrap(),
            url: target.parse().unwrap(),
            concurrency: 2,
            forward_timeout: WAIT,
            ca_file: None,
            resign: None,
        }],
        buffer_bytes: 1 << 20,
        proxy: None,
        ca_file: None,
        listen: None,
        shutdown_grace: WAIT,
        summary_interval: WAIT,
        label: "test".into(),
    }
}

/// A target that answers one request with 200, and gives its first line.
async fn target_once(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n{}") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned()
}

async fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    (listener, addr)
}

/// The server's end of a session, just enough of it.
struct Server(WebSocketStream<TcpStream>);

impl Server {
    #[expect(clippy::result_large_err, reason = "the handshake library wants this type")]
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let check = |request: &tungstenite::handshake::server::Request, response| {
            assert_eq!(request.uri().path(), "/connect");
            assert_eq!(request.headers()["authorization"], "Bearer crt_test");
            assert_eq!(request.headers()["relay-protocol"], "1");
            Ok(response)
        };
        Self(accept_hdr_async(stream, check).await.unwrap())
    }

    async fn hears(&mut self) -> Message {
        let tungstenite::Message::Binary(bytes) = self.0.next().await.unwrap().unwrap() else { panic!() };
        codec::decode(bytes).unwrap().unwrap()
    }

    async fn says(&mut self, message: Message) {
        self.0.send(tungstenite::Message::Binary(codec::encode(message))).await.unwrap();
    }

    async fn welcomes(&mut self) -> Vec<LeaseKey> {
        let Message::Hello(hello) = self.hears().await else { panic!() };
        self.says(welcome(&hello.held)).await;
        codec::greeting(&hello).unwrap().held
    }
}

fn welcome(resumed: &[relay_core::wire::message::LeaseRef]) -> Message {
    let destination = WelcomeDestination { name: "crm".into(), known: true, others: 0, allowed: true };
    Message::Welcome(Welcome {
        version: "0.1.0".into(),
        heartbeat_ms: 15_000,
        destinations: vec![destination],
        resumed: resumed.to_vec(),
    })
}

fn lease() -> LeaseKey {
    (DeliveryId::from_u128(5), Token { counter: 1, nonce: 2 })
}

fn grant() -> Message {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"{}");
    Message::Grant(Box::new(Grant {
        lease: Some(codec::lease_ref(lease())),
        event: Bytes::from_static(&[1; 16]),
        destination: "crm".into(),
        source: "default".into(),
        attempt: 1,
        method: Bytes::from_static(b"POST"),
        rest: Bytes::from_static(b"/x"),
        body_bytes: 2,
        body_sha256: Bytes::copy_from_slice(digest.as_ref()),
        body: Bytes::from_static(b"{}"),
        ..Grant::default()
    }))
}

fn delivered(message: Message) -> LeaseKey {
    let Message::Report(report) = message else { panic!("{message:?}") };
    let (lease, outcome) = codec::reported(&report).unwrap();
    assert_eq!(outcome.class, Class::Delivered);
    lease
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.expect("it takes too long")
}

/// I22: a webhook goes through over a real socket, and the stop waits for its confirmation.
#[tokio::test]
async fn a_webhook_is_forwarded_reported_and_settled_before_the_client_stops() {
    let ((relay, relay_addr), (target, target_addr)) = (bind().await, bind().await);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = async {
        let mut server = Server::accept(&relay).await;
        assert!(server.welcomes().await.is_empty());
        server.says(grant()).await;
        assert_eq!(delivered(server.hears().await), lease());
        stop.send(()).unwrap();
        assert!(matches!(server.hears().await, Message::GoAway(_)));
        server.says(Message::Settled(Settled { leases: vec![codec::lease_ref(lease())] })).await;
        assert!(matches!(server.0.next().await, Some(Ok(tungstenite::Message::Close(_)))));
    };
    let config = config(&format!("ws://{relay_addr}"), &format!("http://{target_addr}/hook"));
    let client = Box::pin(run(config, async { stopped.await.unwrap_or_default() }));
    let (ended, line, ()) = within(async { tokio::join!(client, target_once(&target), server) }).await;
    assert_eq!(ended.unwrap(), Ended::Stopped);
    assert_eq!(line, "POST /hook/x HTTP/1.1");
}

/// I9: an outcome that was not confirmed before the socket broke is reported on the next one.
#[tokio::test]
async fn an_outcome_is_reported_again_after_the_socket_broke() {
    let ((relay, relay_addr), (target, target_addr)) = (bind().await, bind().await);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = async {
        let mut server = Server::accept(&relay).await;
        server.welcomes().await;
        server.says(grant()).await;
        assert_eq!(delivered(server.hears().await), lease());
        drop(server);
        let mut server = Server::accept(&relay).await;
        assert_eq!(server.welcomes().await, [lease()]);
        assert_eq!(delivered(server.hears().await), lease());
        server.says(Message::Settled(Settled { leases: vec![codec::lease_ref(lease())] })).await;
        stop.send(()).unwrap();
        assert!(matches!(server.hears().await, Message::GoAway(_)));
    };
    let config = config(&format!("ws://{relay_addr}"), &format!("http://{target_addr}/hook"));
    let client = Box::pin(run(config, async { stopped.await.unwrap_or_default() }));
    let (ended, _, ()) = within(async { tokio::join!(client, target_once(&target), server) }).await;
    assert_eq!(ended.unwrap(), Ended::Stopped);
}

/// A server that answers one upgrade with this status line and these fields.
async fn refused(answer: &str) -> Result<Ended, RunError> {
    let (relay, relay_addr) = bind().await;
    let server = async {
        let (mut stream, _) = relay.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
    };
    let client = Box::pin(run(config(&format!("http://{relay_addr}"), "http://127.0.0.1:9"), std::future::pending()));
    within(async { tokio::join!(client, server) }).await.0
}

#[tokio::test]
async fn a_refused_token_ends_the_client() {
    assert_eq!(refused("401 Unauthorized").await.unwrap(), Ended::TokenRefused);
}

#[tokio::test]
async fn a_refused_version_ends_the_client() {
    assert_eq!(refused("426 Upgrade Required").await.unwrap(), Ended::VersionRefused);
}

/// I22: the grace bounds the wait for a target that does not answer.
#[tokio::test]
async fn a_stop_that_outlives_its_grace_says_so() {
    let ((relay, relay_addr), (target, target_addr)) = (bind().await, bind().await);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut config = config(&format!("ws://{relay_addr}"), &format!("http://{target_addr}/hook"));
    config.shutdown_grace = Duration::from_millis(50);
    let server = async {
        let mut server = Server::accept(&relay).await;
        server.welcomes().await;
        server.says(grant()).await;
        let taken = target.accept().await.unwrap();
        stop.send(()).unwrap();
        (server, taken)
    };
    let client = Box::pin(run(config, async { stopped.await.unwrap_or_default() }));
    let (ended, _) = within(async { tokio::join!(client, server) }).await;
    assert_eq!(ended.unwrap(), Ended::GraceExceeded);
}

#[tokio::test]
async fn a_hub_in_the_same_process_needs_no_socket() {
    let (target, target_addr) = bind().await;
    let (to_server, mut from_client) = mpsc::channel(4);
    let (to_client, from_server) = mpsc::channel(4);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut line = Some(Transport::memory(to_server, from_server));
    let dial = move || -> Dialing {
        let line = line.take().ok_or_else(|| DialFailure::Failed("only once".into()));
        Box::pin(async { line })
    };
    let server = async {
        assert!(matches!(from_client.recv().await, Some(Message::Hello(_))));
        to_client.send(welcome(&[])).await.unwrap();
        to_client.send(grant()).await.unwrap();
        assert_eq!(delivered(from_client.recv().await.unwrap()), lease());
        to_client.send(Message::Settled(Settled { leases: vec![codec::lease_ref(lease())] })).await.unwrap();
        stop.send(()).unwrap();
        assert!(matches!(from_client.recv().await, Some(Message::GoAway(_))));
        assert!(from_client.recv().await.is_none());
    };
    let config = config("ws://in-process", &format!("http://{target_addr}/hook"));
    let client = Box::pin(run_with(config, dial, async { stopped.await.unwrap_or_default() }));
    let (ended, _, ()) = within(async { tokio::join!(client, target_once(&target), server) }).await;
    assert_eq!(ended.unwrap(), Ended::Stopped);
}
