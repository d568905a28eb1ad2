//! What is moved is the same there.

use std::{sync::Arc, time::Duration};

use relay_core::{
    delivery::Delivery,
    id::{DeliveryId, EventId, IdMint, Partition},
    storage::{Append, Appended, Dedupe, EventFilter, Page},
    time::Wall,
};
use relay_store::{
    Store,
    memory::MemoryStore,
    migrate::{MigrateError, standing},
    seam::{Archive as _, AuditFilter, DocumentKind, Queue as _, Registry as _, Upkeep as _},
    watch::Watch,
};

use crate::{
    filled::{at, check_sums, embedded, event, fill, in_redis, in_redis_called, moved, moved_watched, name, shown},
    node::{Node, Server},
};

/// I5, I20: into a Redis of one partition or sixteen and back again: all of it is what it was, and counted so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_again_all_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = embedded(&dir.path().join("first"));
    fill(&source, 200).await;
    let before = shown(&source).await;
    for partitions in [1, 16] {
        let between = in_redis(partitions).await;
        let came = moved(&source, &between).await.unwrap();
        assert_eq!((came.events, came.was_done, came.renamed.len()), (200, false, 0));
        assert!(came.keys > 100 && came.attempts > 50 && came.lines >= 450, "{came:?}");
        assert_eq!(shown(&between).await, before);
        check_sums(&between).await;
        let back = embedded(&dir.path().join(format!("back-{partitions}")));
        let returned = moved(&between, &back).await.unwrap();
        assert_eq!((returned.events, &returned.digest), (200, &came.digest), "the same bytes there and here");
        assert_eq!(shown(&back).await, before);
        check_sums(&back).await;
        source.close().await;
        source = back;
    }
}

/// I22: whoever is stopped, or killed, in the middle goes on where he was; and once it is over the same command says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_stopped_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let source = embedded(dir.path());
    fill(&source, 300).await;
    let target = in_redis(16).await;
    let mut stops = 0;
    let came = loop {
        // Each time it gets on by a page.
        let watch = Watch::default();
        watch.stop();
        match moved_watched(&source, &target, &watch).await {
            Err(MigrateError::Stopped) => {
                stops += 1;
                assert!(standing(&source).await.unwrap().is_some() && standing(&target).await.unwrap().is_some());
                if stops > 8 {
                    break moved(&source, &target).await.unwrap();
                }
            }
            other => break other.unwrap(),
        }
    };
    assert!(stops >= 4, "{stops}");
    assert_eq!(shown(&target).await, shown(&source).await);
    check_sums(&target).await;
    let again = moved(&source, &target).await.unwrap();
    assert!(again.was_done);
    assert_eq!((again.events, again.digest), (came.events, came.digest));
    assert_eq!(standing(&target).await, Ok(None), "servers may start there");
}

/// Two servers minted the same sequence: where rows stand by that, one of them is given the next that is free, and both are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_whose_place_is_taken_is_another_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let source = in_redis(1).await;
    let twins = twins(&source, 40).await;
    let target = embedded(dir.path());
    let watch = Watch::default();
    watch.stop();
    assert_eq!(moved_watched(&source, &target, &watch).await, Err(MigrateError::Stopped));
    let came = moved(&source, &target).await.unwrap();
    assert_eq!(came.events, 2 * twins);
    // What is written behind each page does not grow with what was renamed before.
    let documents = target.documents(DocumentKind::Migration).await.unwrap();
    let arrival = documents.iter().find(|document| document.key.name == "in").expect("it says so");
    assert!(arrival.body.len() < 1_000 && documents.len() > 2, "{} {}", arrival.body.len(), documents.len());
    // Of each pair of events one, and of each pair of deliveries.
    assert!(came.renamed.len() as u64 >= 2 * twins, "{}", came.renamed.len());
    for (old, new) in &came.renamed {
        if let (Ok(old), Ok(new)) = (old.parse::<EventId>(), new.parse::<EventId>()) {
            assert_eq!(old.partition(), new.partition());
            let (there, here) = (source.event(old).await.unwrap().unwrap(), target.event(new).await.unwrap().unwrap());
            assert_eq!((&there.body, &there.path), (&here.body, &here.path));
            assert_eq!(target.event(old).await, Ok(None));
        } else {
            let (old, new): (DeliveryId, DeliveryId) = (old.parse().unwrap(), new.parse().unwrap());
            assert!(new.sequence() > old.sequence());
        }
    }
    let all = EventFilter::default();
    let listed = target.browse_events(all, Page { cursor: None, limit: 1_000 }).await.unwrap();
    assert_eq!(listed.items.len() as u64, 2 * twins);
    assert!(listed.items.iter().all(|row| row.deliveries.len() == 1));
    check_sums(&target).await;
    let lines = target.browse_audit(AuditFilter::default(), Page { cursor: None, limit: 1_000 }).await.unwrap().items;
    let told = lines.iter().filter(|line| line.action == "store.migrate.renamed").count();
    assert_eq!(told, came.renamed.len(), "each is in the audit log");
}

/// I20: a key that expires in the midst of a move is one that was free, in both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_expires_meanwhile_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (source, stream) = in_redis_called(1).await;
    let mut mint = IdMint::new(0, 5);
    let keys = [[1; 32], [2; 32]];
    for (key, until) in keys.into_iter().zip([at(500), at(1_000_000)]) {
        let event = Arc::new(event(mint.event_in(Partition::of_digest(&key), at(0)), 4, at(0)));
        let dedupe = Some(Dedupe { key, until });
        let append = Append { event, deliveries: Vec::new(), dedupe, deadline: Wall::MAX };
        let [answer] = &source.append(vec![append]).await[..] else { panic!("one answer") };
        assert!(answer.as_ref().is_ok_and(Appended::is_stored), "{answer:?}");
    }
    let target = embedded(dir.path());
    let watch = Watch::default();
    watch.stop();
    assert_eq!(moved_watched(&source, &target, &watch).await, Err(MigrateError::Stopped));
    // As Redis does by itself, once its time is over.
    let entry = [stream.as_bytes(), b":{00-23}:k:shop:", &keys[0]].concat();
    assert_eq!(Node::shared(Server::Installed).ask(&[b"DEL", &entry]), ":1\r\n");
    let came = moved(&source, &target).await.unwrap();
    assert_eq!((came.events, came.keys), (2, 1));
}

/// I18: what does not read beside events and deliveries is missed in a copy, too, and told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoilt_line_or_key_is_not_moved_as_if_it_were_none() {
    for within in ["audit", "k:in:"] {
        let dir = tempfile::tempdir().unwrap();
        let (source, stream) = in_redis_called(1).await;
        fill(&source, 20).await;
        let spoil = "local key = redis.call('KEYS', ARGV[1])[1]
            if redis.call('TYPE', key).ok == 'stream' then
                redis.call('XADD', key, '*', 'l', 'nonsense')
            else
                redis.call('SETRANGE', key, redis.call('STRLEN', key) - 1, 'nonsense')
            end
            return 'done'";
        let tag = if within == "audit" { "reg" } else { "00-23" };
        let pattern = format!("{stream}:{{{tag}}}:{within}*");
        let said = Node::shared(Server::Installed).ask(&[b"EVAL", spoil.as_bytes(), b"0", pattern.as_bytes()]);
        assert_eq!(said, "$4\r\ndone\r\n");
        let refused = moved(&source, &embedded(&dir.path().join("first"))).await;
        assert_eq!(refused, Err(MigrateError::Damaged("1 record does not read".into())), "{within}");
        assert!(standing(&source).await.unwrap().is_some(), "it goes on where it was");
    }
}

/// Pairs of events of the same sequence, as two servers make them in the same moment.
async fn twins(store: &dyn Store, pairs: u64) -> u64 {
    let mut mints = [IdMint::new(0, 1), IdMint::new(0, 2)];
    for number in 0..pairs {
        for mint in &mut mints {
            let event = Arc::new(event(mint.event(at(0)), number, at(0)));
            let ttl = Duration::from_hours(1);
            let deliveries = vec![Delivery::ready(mint.delivery(at(0)), &event, name("crm"), false, at(0), ttl)];
            let append = Append { event, deliveries, dedupe: None, deadline: Wall::MAX };
            let [answer] = &store.append(vec![append]).await[..] else { panic!("one answer") };
            assert!(answer.as_ref().is_ok_and(Appended::is_stored), "{answer:?}");
        }
    }
    pairs
}

/// I7, I10: what is moved is leased there by a new server, under the token that it had, and nothing that was over is.
#[tokio::test]
async fn what_waits_is_leased_where_it_is_now() {
    let source = MemoryStore::new();
    fill(&source, 60).await;
    let target = MemoryStore::with_partitions(16);
    moved(&source, &target).await.unwrap();
    let open = |store: &MemoryStore| store.open_deliveries();
    assert!(open(&target) > 0);
    assert_eq!(open(&target), open(&source));
    assert_eq!(target.recount().await, source.recount().await);
}
