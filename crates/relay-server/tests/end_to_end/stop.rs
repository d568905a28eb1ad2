//! How a server ends.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use relay_core::wire::{
    codec,
    message::{Hello, HelloDestination, Message, Report},
};
use relay_server::Outcome;
use relay_store::seam::Queue as _;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UnixStream},
};
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::{
    bench::{Bench, RELAY_TOKEN},
    client::{answers, join, upgrade},
};

/// I22: a stop under way hands leases back, loses nothing and ends in time.
#[tokio::test]
async fn a_stop_tells_clients_and_leaves_nothing_leased() {
    let mut bench = Bench::start().await;
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    for _ in 0..50 {
        assert_eq!(bench.post(b"{}").await.status, 202);
    }
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);
    client.stop().await;
    let leased = bench.store.deliveries().into_iter().filter(|delivery| delivery.lease.is_some()).count();
    assert_eq!(leased, 0);
    assert_eq!(bench.store.event_ids().len(), 50);
}

/// I22: a client that never reports does not hold the server beyond its grace; what it held is leased again later.
#[tokio::test]
async fn a_stop_over_its_grace_says_so() {
    let mut bench = Bench::start_with(|config| config.shutdown_grace = Duration::from_millis(200)).await;
    let silent = upgrade(bench.public, RELAY_TOKEN, Some("1")).await.unwrap();
    let (mut sink, mut frames) = silent.split();
    let destination = HelloDestination { name: "default".into(), slots: 1, forward_timeout_ms: 5_000 };
    let hello = Hello {
        instance: vec![7; 16].into(),
        version: "0".into(),
        destinations: vec![destination],
        buffer_bytes: 1 << 20,
        held: Vec::new(),
        label: "silent".into(),
    };
    sink.send(Frame::Binary(codec::encode(Message::Hello(hello)))).await.unwrap();
    assert_eq!(bench.post(b"{}").await.status, 202);
    bench.until("leased", 1).await;
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::GraceExceeded);
    while frames.next().await.is_some_and(|frame| frame.is_ok()) {}
    assert_eq!(bench.store.event_ids().len(), 1);
}

/// I22: what the server says last reaches a client that was behind with reading: its outcome is kept, and it need not say it
/// again.
#[tokio::test]
async fn a_client_that_is_behind_hears_the_last_words() {
    let mut bench = Bench::start().await;
    let (mut sink, mut frames) = upgrade(bench.public, RELAY_TOKEN, Some("1")).await.unwrap().split();
    let destination = HelloDestination { name: "default".into(), slots: 2, forward_timeout_ms: 5_000 };
    let hello = Hello {
        instance: vec![7; 16].into(),
        version: "0".into(),
        destinations: vec![destination],
        buffer_bytes: 1 << 30,
        held: Vec::new(),
        label: "behind".into(),
    };
    sink.send(Frame::Binary(codec::encode(Message::Hello(hello)))).await.unwrap();
    let mut next = async || loop {
        match frames.next().await {
            Some(Ok(Frame::Binary(bytes))) => return codec::decode(bytes).unwrap(),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    };
    assert_eq!(bench.post(b"{}").await.status, 202);
    let lease = loop {
        if let Some(Message::Grant(grant)) = next().await {
            break grant.lease.unwrap();
        }
    };
    // A body that fills the way to a client which does not read for now.
    assert_eq!(bench.post(&vec![1; 24 << 20]).await.status, 202);
    bench.until("leased", 2).await;
    let class = relay_core::delivery::outcome::Class::Delivered as u32;
    let report = Report { lease: Some(lease.clone()), class, status: 200, ..Report::default() };
    sink.send(Frame::Binary(codec::encode(Message::Report(report)))).await.unwrap();
    bench.until("delivered", 1).await;
    bench.shut_down();
    let mut said = Vec::new();
    let reads = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        while let Some(message) = next().await {
            said.push(message);
        }
        said
    };
    let (said, ended) = tokio::join!(reads, bench.ended());
    assert_eq!(ended, Outcome::Stopped);
    let settled = |message: &Message| matches!(message, Message::Settled(settled) if settled.leases.contains(&lease));
    assert!(said.iter().any(settled), "its outcome is confirmed");
    assert!(said.iter().any(|message| matches!(message, Message::GoAway(_))));
}

/// I22: connections to the admin API on which nothing was asked do not hold the server up.
#[tokio::test]
async fn an_idle_operator_does_not_hold_the_stop_up() {
    let mut bench = Bench::start().await;
    let idle = TcpStream::connect(bench.admin).await.unwrap();
    let mut half = UnixStream::connect(bench.data_dir.join("admin.sock")).await.unwrap();
    half.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: rel").await.unwrap();
    assert_eq!(bench.ask("/api/v1/health").await["status"], "ok");
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);
    drop((idle, half));
}

#[tokio::test]
async fn run_json_stands_while_the_server_runs() {
    let mut bench = Bench::start().await;
    let path = bench.data_dir.join("run.json");
    let run: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(run["pid"], std::process::id());
    assert_eq!(run["public"], bench.public.to_string());
    assert_eq!(run["admin"], bench.admin.to_string());
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);
    assert!(!path.exists() && !bench.data_dir.join("admin.sock").exists());
}

/// I17: a store that has failed ends the process, whatever else is going on.
#[tokio::test]
async fn a_failed_store_ends_the_server() {
    let mut bench = Bench::start().await;
    bench.post(b"{}").await;
    bench.store.fail_at(relay_store::memory::Edge::BeforeCommit);
    let reply = bench.post(b"{}").await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(matches!(bench.ended().await, Outcome::StoreFailed(_)));
    assert!(bench.store.settle(Vec::new()).await.is_err());
}
