//! S32: what is sealed, in a Redis and on the way from one store to another.

use std::{fs, path::Path, sync::Arc};

use relay_store::{
    Store,
    cipher::Ciphers,
    redis::{BeginError, Options, RedisStore},
    seam::Upkeep as _,
    sqlite::{self, SqliteStore},
};

use crate::{
    filled::{at, check_sums, fill, in_redis, moved, shown},
    node::{Node, fresh_name},
};

const FIRST: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECOND: &str = "2 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// Of paths, headers, answers and documents.
const NEEDLES: [&[u8]; 4] = [b"/webhook/in/", b"x-one", b"canary", b"api-key"];

fn ciphers(lines: &[&str]) -> Ciphers {
    if lines.is_empty() { Ciphers::default() } else { Ciphers::read(&lines.join("\n")).expect("they are keys") }
}

/// How many of the needles stand in files below a directory.
fn needles_in(dir: &Path) -> usize {
    let mut bytes = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("it lists") {
            let path = entry.expect("it lists").path();
            // A socket is no file; and what a rewrite removes meanwhile is gone.
            if path.is_dir() {
                dirs.push(path);
            } else if path.is_file() {
                bytes.extend(fs::read(path).unwrap_or_default());
            }
        }
    }
    NEEDLES.iter().filter(|needle| bytes.windows(needle.len()).any(|window| window == **needle)).count()
}

/// All steps of a pass; gives what was sealed, what was left, and which keys went.
async fn rekeyed(store: &dyn Store) -> (u64, u64, Vec<u32>) {
    let (mut from, mut sealed, mut left, mut retired) = (None, 0, 0, Vec::new());
    loop {
        let step = store.rekey(from).await.expect("it goes on");
        sealed += step.sealed;
        left += step.left;
        retired.extend(step.retired);
        from = step.next;
        if from.is_none() {
            return (sealed, left, retired);
        }
    }
}

/// What was clear in a Redis is sealed by a pass, and what was sealed with one key by another: all of it reads as before, nothing of it
/// stands in the AOF that is written then, and whoever has not the key is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_seals_what_is_in_a_redis() {
    for partitions in [1, 16] {
        let mut node = Node::start();
        let (stream_name, address) = (fresh_name(), node.address());
        let options = |lines: &[&str]| {
            let dead_letter_queue = format!("{stream_name}-dead");
            let (stream_name, ciphers) = (stream_name.clone(), ciphers(lines));
            Options { stream_name, dead_letter_queue, partitions, ciphers, ..Options::new(address.clone()) }
        };
        let begun = async |lines: &[&str]| {
            let store = RedisStore::open(options(lines));
            store.begin().await.map(|()| store)
        };
        let store = begun(&[]).await.unwrap();
        fill(&store, 200).await;
        let before = shown(&store).await;
        store.close().await;
        assert_eq!(needles_in(&node.on_disk()), NEEDLES.len(), "they are looked for where they would be");
        for (lines, gone) in [(&[FIRST][..], vec![]), (&[FIRST, SECOND], vec![1])] {
            let store = begun(lines).await.unwrap();
            assert_eq!(shown(&store).await, before);
            let (sealed, left, retired) = rekeyed(&store).await;
            assert!(sealed > 200 && left == 0 && retired == gone, "{sealed} {left} {retired:?}");
            assert_eq!(rekeyed(&store).await, (0, 0, Vec::new()));
            assert_eq!(shown(&store).await, before);
            check_sums(&store).await;
            store.close().await;
        }
        for lines in [&[][..], &[FIRST]] {
            assert!(matches!(begun(lines).await.map(drop), Err(BeginError::Refused(_))), "{lines:?}");
        }
        let store = begun(&[SECOND]).await.unwrap();
        assert_eq!(shown(&store).await, before);
        store.close().await;
        node.ask(&[b"BGREWRITEAOF"]);
        while !node.ask(&[b"INFO", b"persistence"]).contains("aof_rewrite_in_progress:0") {
            tokio::task::yield_now().await;
        }
        node.stop();
        assert_eq!(needles_in(&node.on_disk()), 0);
    }
}

/// From a store that is sealed with one key into one that is sealed with another, and from there into one that is clear: all is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_moved_is_sealed_where_it_comes_to() {
    let dir = tempfile::tempdir().unwrap();
    let sealed = |place: &str, lines: &[&str]| {
        let clock = Arc::new(|| at(0));
        let (dir, ciphers) = (dir.path().join(place), ciphers(lines));
        let options = sqlite::Options { disk_reserve: 0, ballast: false, clock, ciphers, ..sqlite::Options::new(dir) };
        SqliteStore::open(options).expect("it opens")
    };
    let source = sealed("first", &[FIRST]);
    fill(&source, 150).await;
    let before = shown(&source).await;
    let between = sealed("second", &[SECOND]);
    let came = moved(&source, &between).await.unwrap();
    assert_eq!(shown(&between).await, before);
    let target = in_redis(16).await;
    let went = moved(&between, &target).await.unwrap();
    assert_eq!((shown(&target).await, &went.digest), (before, &came.digest));
    check_sums(&target).await;
    for store in [source, between] {
        store.close().await;
    }
    for place in ["first", "second"] {
        assert_eq!(needles_in(&dir.path().join(place)), 0, "{place}");
    }
}
