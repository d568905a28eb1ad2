//! What earlier versions laid out in a Redis: `fixtures/redis/vN` opens, with everything in it, in this version and every later one.

#![expect(dead_code, reason = "the node and what fills a store have levers for other tests")]

#[path = "../migrate/filled.rs"]
mod filled;
#[path = "../redis/node.rs"]
mod node;

use std::{
    fs,
    path::{Path, PathBuf},
};

use relay_core::{
    id::InstanceId,
    partitions::Partitions,
    storage::{LeaseAsk, LeaseOrder},
};
use relay_store::{
    redis::{Options, RedisStore},
    seam::{Archive as _, AuditFilter, DocumentKey, DocumentKind, Page, Queue as _, Registry as _, Upkeep as _},
};

use self::{
    filled::{at, check_sums, fill, name, shown},
    node::{Node, Server},
};

/// Events in it.
const EVENTS: u64 = 24;
/// So that no key of it ever ends: those of dedupe entries do, each at a moment of its own.
const NEVER: &[u8] = b"32503680000000";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/redis/v1")
}

async fn begun(node: &Node) -> RedisStore {
    let store = RedisStore::open(Options { partitions: 1, ..Options::new(node.address()) });
    store.begin().await.expect("it is fit for it");
    store
}

/// Everything in it, in words.
async fn every_row(store: &RedisStore) -> String {
    let mut lines = shown(store).await;
    for kind in DocumentKind::ALL {
        let documents = store.documents(kind).await.expect("they read");
        // Kinds that came later have none there.
        if !documents.is_empty() {
            lines.push(format!("{documents:?}"));
        }
    }
    let page = Page { cursor: None, limit: 1_000 };
    let audit = store.browse_audit(AuditFilter::default(), page).await.expect("it reads");
    lines.extend(audit.items.iter().map(|line| format!("{line:?}")));
    let counted = store.recount().await.expect("it counts").counted;
    lines.push(format!("{:?} {:?}", counted.sources, counted.destinations));
    lines.join("\n") + "\n"
}

/// I23: the Redis of layout 1 that is kept in `fixtures/` opens, nothing of it is damaged or found missing, and work goes on in it.
#[tokio::test]
async fn the_golden_redis_of_layout_1_opens() {
    let node = Node::start();
    let bytes = fs::read(golden().join("commands.resp")).expect("the fixture is there");
    let commands = commands(&bytes);
    let parts: Vec<Vec<&[u8]>> = commands.iter().map(|command| command.iter().map(Vec::as_slice).collect()).collect();
    let answers = node.ask_all(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let refused: Vec<&str> = answers.lines().filter(|line| line.starts_with('-')).collect();
    assert_eq!(refused, Vec::<&str>::new(), "this Redis takes the commands");

    let store = begun(&node).await;
    let expected = fs::read_to_string(golden().join("content.txt")).expect("the fixture is there");
    assert_eq!(every_row(&store).await, expected);
    check_sums(&store).await;
    store.mend().await.expect("it passes over everything");
    assert_eq!(store.stats().await.expect("it counts").damaged, 0);
    let ask = LeaseAsk {
        destination: name("crm"),
        instance: InstanceId::from_u128(10),
        nonce: 0xfeed,
        until: at(EVENTS + 160),
        now: at(EVENTS + 100),
        limit: 100,
        tried_max: u32::MAX,
        order: LeaseOrder::Shared { tried: 0 },
        partitions: Partitions::ALL,
    };
    assert!(!store.lease(ask).await.expect("it leases").deliveries.is_empty());
    check_sums(&store).await;
}

/// Writes it. Only for a new layout: `cargo test -p relay-store --test golden -- --ignored`.
#[tokio::test]
#[ignore = "writes fixtures/redis; a released layout's fixture is never written again"]
async fn write_the_golden_redis() {
    let node = Node::with(Server::Installed, vec![("aof-use-rdb-preamble".into(), "no".into())]);
    let store = begun(&node).await;
    fill(&store, EVENTS).await;
    // What names a key would be one that it is sealed with.
    for kind in DocumentKind::ALL.into_iter().filter(|kind| *kind != DocumentKind::Cipher) {
        let key = DocumentKey { kind, name: "one".into() };
        assert_eq!(store.put_document(key, 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
    }
    fs::create_dir_all(golden()).expect("a directory");
    fs::write(golden().join("content.txt"), every_row(&store).await).expect("it can be written");
    store.close().await;
    node.ask(&[b"BGREWRITEAOF"]);
    while !node.ask(&[b"INFO", b"persistence"]).contains("aof_rewrite_in_progress:0") {
        tokio::task::yield_now().await;
    }
    let written = fs::read_dir(node.on_disk()).expect("it writes").map(|entry| entry.expect("it reads").path());
    let whole = written.filter(|path| path.to_string_lossy().ends_with(".base.aof")).max().expect("it rewrote it");
    let mut out = Vec::new();
    for mut command in commands(&fs::read(whole).expect("it reads")) {
        if command[0] == b"PEXPIREAT" {
            command[2] = NEVER.to_vec();
        }
        out.extend(format!("*{}\r\n", command.len()).bytes());
        for part in command {
            out.extend(format!("${}\r\n", part.len()).bytes().chain(part).chain(*b"\r\n"));
        }
    }
    fs::write(golden().join("commands.resp"), out).expect("it can be written");
}

/// The commands in a file as Redis writes it: arrays of strings, each behind its length.
fn commands(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        let count = number(&mut bytes, b'*');
        let part = |bytes: &mut &[u8]| {
            let length = number(bytes, b'$');
            let (part, rest) = bytes.split_at(length);
            *bytes = rest.strip_prefix(b"\r\n").expect("a line ends behind it");
            part.to_vec()
        };
        commands.push((0..count).map(|_| part(&mut bytes)).collect());
    }
    commands
}

fn number(bytes: &mut &[u8], kind: u8) -> usize {
    let end = bytes.iter().position(|byte| *byte == b'\r').expect("a line");
    let (line, rest) = bytes.split_at(end);
    assert_eq!(line[0], kind, "{}", String::from_utf8_lossy(line));
    *bytes = &rest[2..];
    std::str::from_utf8(&line[1..]).expect("digits").parse().expect("a number")
}
