//! What Redis loses of what it confirmed is named.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use relay_core::{
    delivery::{Delivery, cancel},
    id::IdMint,
    partitions::Partitions,
    storage::{AppendError, Ended, Forget, Retire, StoreError},
    time::Wall,
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Options, RedisStore},
    seam::{AuditFilter, DocumentKey, DocumentKind, Durability, Page, Registry as _},
};
use tokio::time::{Instant, sleep};

use crate::{
    backend::Shared,
    node::{Node, Server},
};

async fn fixture(node: &Node) -> Fixture<Shared> {
    begun(Options { glance_every: Duration::from_millis(5), ..Options::new(node.address()) }, 7).await
}

/// A store that somebody has begun, as servers do.
async fn begun(options: Options, seed: u64) -> Fixture<Shared> {
    RedisStore::open(options.clone()).begin().await.expect("it keeps what it is given");
    Fixture::over(Shared::on(options), IdMint::new(0, seed))
}

/// The ids in the lines about what was lost.
async fn named(fixture: &Fixture<Shared>) -> String {
    let filter = AuditFilter { action: Some("store.lost".into()), ..AuditFilter::default() };
    let lines = fixture.store().browse_audit(filter, Page { cursor: None, limit: 100 }).await;
    lines.map(|lines| lines.items.into_iter().map(|line| line.subject + " ").collect()).unwrap_or_default()
}

async fn until<T>(what: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = what().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come");
        sleep(Duration::from_millis(5)).await;
    }
}

/// One more that is stored, asked for again until it is confirmed, as senders do.
async fn accept_at_last(fixture: &mut Fixture<Shared>, received_at: Wall) -> Delivery {
    let event = fixture.event("in", b"{}", received_at);
    let append = fixture.appending(event, &["crm"]);
    let confirmed = async || match fixture.append(append.clone()).await {
        Err(AppendError::Away | AppendError::Unknown) => None,
        answer => Some(answer.expect("it is stored")),
    };
    until(confirmed).await;
    append.deliveries[0].clone()
}

/// The store has looked at this Redis since: it writes down an epoch, or reads it as often as is asked.
async fn is_known(node: &Node) {
    let epoch =
        async || Some(node.ask(&[b"HGET", b"crm-relay:{reg}:meta", b"epoch"])).filter(|epoch| epoch != "$-1\r\n");
    until(epoch).await;
    node.ask(&[b"CONFIG", b"RESETSTAT"]);
    let reads = async || {
        let stats = node.ask(&[b"INFO", b"commandstats"]);
        let calls = stats.split_once("cmdstat_hget:calls=")?.1.split(',').next()?.parse::<u32>().ok()?;
        Some(calls).filter(|calls| *calls > 4)
    };
    until(reads).await;
}

/// It commits again.
async fn is_back(fixture: &Fixture<Shared>) {
    until(async || fixture.store().audit(Vec::new()).await.ok()).await;
}

/// I1, I5, I21: an emptied Redis: what was acknowledged is named and counted, documents are written back, and all goes on.
#[tokio::test]
async fn what_a_flush_takes_is_named_and_documents_come_back() {
    let node = Node::start();
    let mut fixture = fixture(&node).await;
    let key = |name: &str| DocumentKey { kind: DocumentKind::Source, name: name.to_owned() };
    for (name, writes) in [("in", 3), ("gone", 1)] {
        for version in 0..writes {
            let body = Some(format!("{{\"{name}\":{version}}}"));
            assert_eq!(fixture.store().put_document(key(name), version, body, Vec::new()).await, Ok(Some(version + 1)));
        }
    }
    fixture.store().put_document(key("gone"), 1, None, Vec::new()).await.expect("it is deleted");
    let mut stored = Vec::new();
    for seconds in 0..3 {
        stored.push(fixture.accept("crm", at(seconds)).await);
    }
    is_known(&node).await;
    node.ask(&[b"FLUSHALL"]);
    // Acknowledging goes on, and hides nothing.
    fixture.accept("crm", at(8)).await;
    // Whoever follows the registry does not hear that there is nothing, which would be forgotten here as well.
    let documents = until(async || fixture.store().documents(DocumentKind::Source).await.ok()).await;
    assert_eq!(documents.len(), 1);
    let all = until(async || Some(named(&fixture).await).filter(|named| !named.is_empty())).await;
    for lost in &stored {
        assert!(all.contains(&lost.id.to_string()), "{lost:?} is not in {all}");
    }
    let document = fixture.store().document(key("in")).await.expect("reads").expect("it is back");
    assert_eq!((document.version, &document.body[..]), (3, "{\"in\":2}"));
    assert_eq!(fixture.store().document(key("gone")).await, Ok(None));
    let counters = fixture.counters("crm").await;
    assert_eq!((counters.created, counters.lost), (4, 3));
    let layout = node.ask(&[b"HMGET", b"crm-relay:{reg}:meta", b"layout", b"partitions"]);
    assert_eq!(layout, "*2\r\n$1\r\n1\r\n$1\r\n1\r\n", "whoever starts next finds what the store is");
    fixture.accept("crm", at(9)).await;
    assert_eq!(fixture.lease("crm", at(10)).await.deliveries.len(), 2);
    fixture.check_sums().await;
    is_known(&node).await;
    assert_eq!(named(&fixture).await, all, "once");
}

/// I21, S24: who may in by the dashboard does not come back: as this server knows it a user may have been disabled since, or a session
/// ended. That they are gone is named.
#[tokio::test]
async fn users_and_sessions_do_not_come_back_after_a_flush() {
    let node = Node::start();
    let fixture = fixture(&node).await;
    let key = |kind, name: &str| DocumentKey { kind, name: name.to_owned() };
    let kinds = [DocumentKind::Source, DocumentKind::User, DocumentKind::Session];
    for kind in kinds {
        assert_eq!(fixture.store().put_document(key(kind, "a"), 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
    }
    is_known(&node).await;
    node.ask(&[b"FLUSHALL"]);
    let named = until(async || Some(named(&fixture).await).filter(|named| !named.is_empty())).await;
    assert_eq!(named, "user a, session a ");
    for kind in kinds {
        let found = fixture.store().document(key(kind, "a")).await.expect("reads");
        assert_eq!(found.is_some(), kind == DocumentKind::Source, "{kind:?}");
    }
}

/// I21: emptied as soon as a server has begun there: what that has declared is written back.
#[tokio::test]
async fn a_flush_right_behind_the_start_is_noticed() {
    let node = Node::start();
    let options = Options { glance_every: Duration::from_millis(5), ..Options::new(node.address()) };
    let store = RedisStore::open(options);
    store.begin().await.expect("it keeps what it is given");
    let key = DocumentKey { kind: DocumentKind::Source, name: "in".to_owned() };
    assert_eq!(store.put_document(key.clone(), 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
    node.ask(&[b"FLUSHALL"]);
    let found = until(async || store.document(key.clone()).await.ok()).await;
    assert_eq!(found.map(|found| found.version), Some(1));
}

/// I1: a Redis that comes back as it was before: what came after that is named, and nothing else.
#[tokio::test]
async fn what_a_redis_that_went_back_has_lost_is_named() {
    let mut node = Node::start();
    let mut fixture = fixture(&node).await;
    let kept = fixture.accept("crm", at(0)).await;
    is_known(&node).await;
    node.stop();
    let copy = tempfile::tempdir().expect("a directory can be made");
    copy_all(&node.on_disk(), copy.path());
    node.restart();
    is_back(&fixture).await;
    let mut lost = Vec::new();
    for seconds in 1..4 {
        lost.push(fixture.accept("crm", at(seconds)).await);
    }
    node.stop();
    fs::remove_dir_all(node.on_disk()).expect("it can be removed");
    fs::create_dir(node.on_disk()).expect("it can be made");
    copy_all(copy.path(), &node.on_disk());
    node.restart();
    // A look that was under way when it went names what was there when that began, and the next one the rest.
    let is_named = |all: &String| lost.iter().all(|lost| all.contains(&lost.id.to_string()));
    let all = until(async || Some(named(&fixture).await).filter(is_named)).await;
    assert_eq!(all.split_whitespace().count(), 3, "each once: {all}");
    assert!(!all.contains(&kept.id.to_string()), "{all}");
    assert_eq!(fixture.counters("crm").await.lost, 3);
    fixture.check_sums().await;
}

/// I1: a disk that lost the end of what Redis wrote, in the middle of a command: Redis starts with the rest, as it does by default, and what
/// stood there is named, and nothing else.
#[tokio::test]
async fn what_a_file_that_was_cut_off_has_lost_is_named() {
    let mut node = Node::start();
    let mut fixture = fixture(&node).await;
    let kept = fixture.accept("crm", at(0)).await;
    is_known(&node).await;
    let whole = written(&node).1;
    let mut lost = Vec::new();
    for seconds in 1..4 {
        lost.push(fixture.accept("crm", at(seconds)).await);
    }
    node.stop();
    let (file, length) = written(&node);
    assert!(length > whole + 7, "{length} bytes behind {whole}");
    let file = fs::OpenOptions::new().write(true).open(file).expect("it is there");
    file.set_len(whole + 7).expect("it can be cut");
    node.restart();
    let is_named = |all: &String| lost.iter().all(|lost| all.contains(&lost.id.to_string()));
    let all = until(async || Some(named(&fixture).await).filter(is_named)).await;
    assert_eq!(all.split_whitespace().count(), 3, "each once: {all}");
    assert_eq!(fixture.find(kept.id).await, Some(kept));
    assert_eq!(fixture.counters("crm").await.lost, 3);
    fixture.accept("crm", at(9)).await;
    fixture.check_sums().await;
}

/// The file that Redis writes at the end of, and how long it is.
fn written(node: &Node) -> (PathBuf, u64) {
    let entries = fs::read_dir(node.on_disk()).expect("it can be read");
    let mut files = entries.map(|entry| entry.expect("it can be read").path());
    let file = files.find(|path| path.to_string_lossy().ends_with(".incr.aof")).expect("there is one");
    let length = fs::metadata(&file).expect("it is there").len();
    (file, length)
}

/// I5, I13: what another server removed a moment ago is not missed either.
#[tokio::test]
async fn what_another_removed_is_not_missed() {
    let mut node = Node::start();
    let mut one = fixture(&node).await;
    let other = Shared::at_hand(Options::new(node.address()));
    let other = Fixture::over(other, IdMint::new(0, 8));
    let (kept, removed) = (one.accept("crm", at(0)).await, one.accept("crm", at(1)).await);
    is_known(&node).await;
    let ended = other.apply(cancel(&removed, at(2))).await;
    let forget = Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
    };
    let ended = Ended::of(&ended).into_iter().collect();
    other.store().retire(Retire { ended, more: false, forget }).await.expect("retires");
    node.restart();
    is_back(&one).await;
    is_known(&node).await;
    assert_eq!(named(&one).await, "");
    assert_eq!(one.find(kept.id).await, Some(kept));
    one.accept("crm", at(3)).await;
    assert_eq!(other.find(removed.id).await, None);
    one.check_sums().await;
}

/// I1: server and Redis go at once, and Redis comes back as it was before: what came after that is named by whoever comes with the same
/// directory.
#[tokio::test]
async fn what_is_lost_is_named_after_a_restart_of_both() {
    let mut node = Node::start();
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join("acknowledged");
    let options = Options {
        glance_every: Duration::from_millis(5),
        remembers_in: Some(path.clone()),
        ..Options::new(node.address())
    };
    let mut first = begun(options.clone(), 7).await;
    let kept = first.accept("crm", at(0)).await;
    is_known(&node).await;
    node.stop();
    let copy = tempfile::tempdir().expect("a directory can be made");
    copy_all(&node.on_disk(), copy.path());
    node.restart();
    is_back(&first).await;
    let lost = first.accept("crm", at(1)).await;
    let bits = lost.id.as_u128().to_le_bytes();
    until(async || fs::read(&path).ok().filter(|bytes| bytes.windows(16).any(|part| part == bits))).await;
    drop(first);
    node.stop();
    fs::remove_dir_all(node.on_disk()).expect("it can be removed");
    fs::create_dir(node.on_disk()).expect("it can be made");
    copy_all(copy.path(), &node.on_disk());
    node.restart();
    let second = Fixture::over(Shared::on(options), IdMint::new(0, 8));
    let all = until(async || Some(named(&second).await).filter(|named| !named.is_empty())).await;
    assert!(all.contains(&lost.id.to_string()) && !all.contains(&kept.id.to_string()), "{all}");
    assert_eq!(second.counters("crm").await.lost, 1);
    second.check_sums().await;
    is_known(&node).await;
    assert_eq!(named(&second).await, all, "once");
}

/// I1, I5: what is lost is counted and written down once, also while no replica confirms that it is.
#[tokio::test]
async fn a_loss_is_counted_once_though_nobody_confirms_it() {
    let (primary, replica) = Node::with_replica(Server::Installed);
    let options = Options {
        glance_every: Duration::from_millis(5),
        durability: Some(Durability::Replicated),
        replicas_within: Duration::from_secs(10),
        patience: Duration::from_secs(20),
        ..Options::new(primary.address())
    };
    let mut fixture = begun(options.clone(), 7).await;
    let lost = fixture.accept("crm", at(0)).await;
    is_known(&primary).await;
    let hasty = Options { replicas_within: Duration::from_millis(20), ..options };
    let mut fixture = Fixture::over(Shared::on(hasty), fixture.mint);
    let other = accept_at_last(&mut fixture, at(1)).await;
    is_known(&primary).await;
    replica.pause();
    // A Redis that went back, seen by its epoch.
    let row = [b"crm-relay:{00-23}:d:", &other.id.as_u128().to_be_bytes()[..]].concat();
    primary.ask_all(&[&[b"DEL", &row], &[b"HSET", b"crm-relay:{reg}:meta", b"epoch", b"another"]]);
    let all = until(async || Some(named(&fixture).await).filter(|named| !named.is_empty())).await;
    primary.ask(&[b"CONFIG", b"RESETSTAT"]);
    // It is told again and again.
    let tells = async || {
        let stats = primary.ask(&[b"INFO", b"commandstats"]);
        let calls = stats.split_once("cmdstat_evalsha:calls=")?.1.split(',').next()?.parse::<u32>().ok()?;
        Some(calls).filter(|calls| *calls > 3)
    };
    until(tells).await;
    assert_eq!(fixture.counters("crm").await.lost, 1);
    replica.resume();
    is_known(&primary).await;
    assert_eq!((fixture.counters("crm").await.lost, named(&fixture).await), (1, all.clone()));
    assert_eq!(all.matches(&other.id.to_string()).count(), 1, "{all}");
    assert!(!all.contains(&lost.id.to_string()), "{all}");
}

/// I1: a removal that was refused takes nothing out of what is remembered: what is lost of it then is named.
#[tokio::test]
async fn what_was_not_removed_is_missed_when_it_is_lost() {
    let node = Node::start();
    let mut fixture = fixture(&node).await;
    let stored = fixture.accept("crm", at(0)).await;
    let ended = fixture.apply(cancel(&stored, at(1))).await;
    is_known(&node).await;
    node.ask(&[b"SET", b"crm-relay:{00-23}:gone", b"nonsense"]);
    let forget = Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
    };
    let ended = Ended::of(&ended).into_iter().collect();
    let refused = fixture.store().retire(Retire { ended, more: false, forget }).await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    node.ask(&[b"FLUSHALL"]);
    let all = until(async || Some(named(&fixture).await).filter(|named| !named.is_empty())).await;
    assert!(all.contains(&stored.id.to_string()), "{all}");
}

/// I21: a Redis that somebody emptied, and another server began anew before this one looked: nothing is believed of its registry until
/// documents are there again, as this one knows them.
#[tokio::test]
async fn an_emptied_redis_that_another_server_began_gets_its_documents_back() {
    let node = Node::start();
    // It looks when it is told to: once a second.
    let store = RedisStore::open(Options::new(node.address()));
    store.begin().await.expect("it keeps what it is given");
    let key = |name: &str| DocumentKey { kind: DocumentKind::Source, name: name.to_owned() };
    assert_eq!(store.put_document(key("in"), 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
    node.ask(&[b"FLUSHALL"]);
    RedisStore::open(Options::new(node.address())).begin().await.expect("it begins anew");
    // Either it has not looked yet, and says nothing, or it has, and all is there.
    let found = until(async || match store.documents(DocumentKind::Source).await {
        Ok(found) => Some(found),
        Err(error) => {
            assert_eq!(error, StoreError::Away);
            None
        }
    });
    let found = found.await;
    assert_eq!(found.iter().map(|found| (found.key.clone(), found.version)).collect::<Vec<_>>(), [(key("in"), 1)]);
    let other = RedisStore::open(Options::new(node.address()));
    assert_eq!(other.document(key("in")).await.expect("reads").map(|found| found.version), Some(1));
}

/// I21: a Redis that was emptied and begun anew while this server was away: what others removed since does not come back. What is not there
/// is named, for nobody knows which of both it is.
#[tokio::test]
async fn what_others_removed_meanwhile_is_not_written_back() {
    let node = Node::start();
    let fixture = fixture(&node).await;
    let key = |name: &str| DocumentKey { kind: DocumentKind::Source, name: name.to_owned() };
    for name in ["in", "gone"] {
        assert_eq!(fixture.store().put_document(key(name), 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
    }
    is_known(&node).await;
    // Between two of its looks.
    let anew = b"local kept = redis.call('HGET', '{r}doc:1', 'in')
        redis.call('FLUSHALL')
        redis.call('HSET', '{r}meta', 'layout', 1, 'partitions', 1, 'epoch', 'another')
        redis.call('HSET', '{r}doc:1', 'in', kept)
        redis.call('SET', '{r}version', 7)";
    let anew = String::from_utf8_lossy(anew).replace("{r}", "crm-relay:{reg}:");
    node.ask(&[b"EVAL", anew.as_bytes(), b"0"]);
    let documents = until(async || fixture.store().documents(DocumentKind::Source).await.ok()).await;
    assert_eq!(documents.into_iter().map(|found| found.key).collect::<Vec<_>>(), [key("in")]);
    let all = until(async || Some(named(&fixture).await).filter(|named| !named.is_empty())).await;
    assert_eq!(all, "source gone ");
    is_known(&node).await;
    assert_eq!(named(&fixture).await, all, "once");
}

/// I1, I21: what somebody takes out of the registry past the servers is written back, named once, and is read by whoever followed it
/// meanwhile; what another server removed stays away.
#[tokio::test]
async fn what_a_stranger_takes_out_of_the_registry_comes_back() {
    let node = Node::start();
    let fixture = fixture(&node).await;
    let other = RedisStore::open(Options { glance_every: Duration::from_millis(5), ..Options::new(node.address()) });
    other.begin().await.expect("it keeps what it is given");
    let key = |kind, name: &str| DocumentKey { kind, name: name.to_owned() };
    let (source, token) = (key(DocumentKind::Source, "in"), key(DocumentKind::Token, "crm"));
    let revoked = key(DocumentKind::Token, "old");
    for key in [&source, &token, &revoked] {
        assert_eq!(fixture.store().put_document(key.clone(), 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
    }
    is_known(&node).await;
    assert_eq!(other.put_document(revoked.clone(), 1, None, Vec::new()).await, Ok(Some(2)));
    is_known(&node).await;
    let version = fixture.store().version().await.expect("reads");
    let (sources, tokens) = (b"crm-relay:{reg}:doc:1", b"crm-relay:{reg}:doc:5");
    node.ask(&[b"DEL", sources, tokens]);
    let back = async || {
        let source = fixture.store().document(source.clone()).await.ok()?;
        let token = fixture.store().document(token.clone()).await.ok()?;
        source.zip(token)
    };
    let (source, token) = until(back).await;
    assert_eq!([(source.version, &source.body[..]), (token.version, &token.body[..])], [(1, "{}"), (1, "{}")]);
    is_known(&node).await;
    assert_eq!(fixture.store().document(revoked).await, Ok(None));
    assert_ne!(fixture.store().version().await.expect("reads"), version, "whoever read it without them reads it again");
    let filter = AuditFilter { action: Some("store.written-back".into()), ..AuditFilter::default() };
    let lines = fixture.store().browse_audit(filter, Page { cursor: None, limit: 100 }).await.expect("reads");
    let subjects: Vec<_> = lines.items.iter().map(|line| &line.subject[..]).collect();
    assert_eq!(subjects, ["token crm", "source in"]);
    assert_eq!(named(&fixture).await, "");
    // The version alone is not missed, and no other one is taken for it.
    let version = fixture.store().version().await.expect("reads");
    node.ask(&[b"DEL", b"crm-relay:{reg}:version"]);
    let fresh = until(async || fixture.store().version().await.ok().flatten().filter(|fresh| *fresh > 0)).await;
    assert_ne!(Some(fresh), version);
    assert_eq!(fixture.store().documents(DocumentKind::Source).await.map(|found| found.len()), Ok(1));
}

/// I1, I21: a Redis that went back to what it was has lost what became of documents as well: a change, one that is new, and that one was
/// removed, which is there again. They are named, whoever reads them first.
#[tokio::test]
async fn documents_that_went_back_are_named() {
    let mut node = Node::start();
    let fixture = fixture(&node).await;
    let key = |name: &str| DocumentKey { kind: DocumentKind::Source, name: name.to_owned() };
    let put = async |name: &str, version| {
        let written = fixture.store().put_document(key(name), version, Some("{}".into()), Vec::new()).await;
        written.ok().flatten()
    };
    for name in ["in", "same", "gone"] {
        assert_eq!(put(name, 0).await, Some(1));
    }
    is_known(&node).await;
    assert_eq!(named(&fixture).await, "");
    node.stop();
    let copy = tempfile::tempdir().expect("a directory can be made");
    copy_all(&node.on_disk(), copy.path());
    node.restart();
    is_back(&fixture).await;
    assert_eq!((put("in", 1).await, put("new", 0).await), (Some(2), Some(1)));
    assert_eq!(fixture.store().put_document(key("gone"), 1, None, Vec::new()).await, Ok(Some(2)));
    is_known(&node).await;
    node.stop();
    fs::remove_dir_all(node.on_disk()).expect("it can be removed");
    fs::create_dir(node.on_disk()).expect("it can be made");
    copy_all(copy.path(), &node.on_disk());
    node.restart();
    // Whoever follows the registry asks as soon as it can.
    until(async || fixture.store().documents(DocumentKind::Source).await.ok()).await;
    let all = until(async || Some(named(&fixture).await).filter(|named| !named.is_empty())).await;
    assert_eq!(all, "source gone, source in, source new ");
}

/// A store is made by whoever begins, and by nobody who only looks.
#[tokio::test]
async fn nobody_who_looks_makes_a_store() {
    let node = Node::start();
    let store = RedisStore::open(Options { glance_every: Duration::from_millis(5), ..Options::new(node.address()) });
    let examined = store.examine().await.expect("it is there");
    assert_eq!(examined.stored, None);
    let reads = async || {
        let stats = node.ask(&[b"INFO", b"commandstats"]);
        let calls = stats.split_once("cmdstat_hget:calls=")?.1.split(',').next()?.parse::<u32>().ok()?;
        Some(calls).filter(|calls| *calls > 6)
    };
    until(reads).await;
    assert_eq!(node.ask(&[b"EXISTS", b"crm-relay:{reg}:meta"]), ":0\r\n");
}

/// I1, F3: what an earlier run wrote down is read, and kept, where there is no room to write it anew.
#[tokio::test]
async fn a_disk_without_room_keeps_what_was_written_down() {
    let mut node = Node::start();
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join("acknowledged");
    let options = Options {
        glance_every: Duration::from_millis(5),
        remembers_in: Some(path.clone()),
        ..Options::new(node.address())
    };
    let mut first = begun(options.clone(), 7).await;
    let lost = first.accept("crm", at(0)).await;
    let bits = lost.id.as_u128().to_le_bytes();
    until(async || fs::read(&path).ok().filter(|bytes| bytes.windows(16).any(|part| part == bits))).await;
    is_known(&node).await;
    drop(first);
    node.stop();
    fs::remove_dir_all(node.on_disk()).expect("it can be removed");
    node.restart();
    // Where its new file is to be made stands something else, which is as good as no room.
    until(async || fs::create_dir(path.with_extension("new")).ok()).await;
    let second = Fixture::over(Shared::on(options), IdMint::new(0, 8));
    let all = until(async || Some(named(&second).await).filter(|named| !named.is_empty())).await;
    assert!(all.contains(&lost.id.to_string()), "{all}");
    let kept = fs::read(&path).expect("reads");
    assert!(kept.windows(16).any(|part| part == bits), "it stays until a new one is whole");
}

/// I21: a Redis that goes back to what it was does not give the number of the change that is lost to the next one: whoever saw the one
/// sees the other.
#[tokio::test]
async fn no_version_of_the_registry_comes_twice() {
    let mut node = Node::start();
    let fixture = fixture(&node).await;
    let key = DocumentKey { kind: DocumentKind::Source, name: "in".to_owned() };
    let put = async |version| {
        let written = fixture.store().put_document(key.clone(), version, Some("{}".into()), Vec::new()).await;
        written.ok().flatten()
    };
    until(async || put(0).await).await;
    is_known(&node).await;
    node.stop();
    let copy = tempfile::tempdir().expect("a directory can be made");
    copy_all(&node.on_disk(), copy.path());
    node.restart();
    until(async || put(1).await).await;
    let seen = fixture.store().version().await.expect("reads");
    node.stop();
    fs::remove_dir_all(node.on_disk()).expect("it can be removed");
    fs::create_dir(node.on_disk()).expect("it can be made");
    copy_all(copy.path(), &node.on_disk());
    node.restart();
    until(async || put(1).await).await;
    assert_ne!(fixture.store().version().await.expect("reads"), seen);
}

/// I13: what was retired is not missed.
#[tokio::test]
async fn what_was_retired_is_not_missed() {
    let mut node = Node::start();
    let mut fixture = fixture(&node).await;
    let stored = fixture.accept("crm", at(0)).await;
    let ended = fixture.apply(cancel(&stored, at(1))).await;
    let forget = Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
    };
    let ended = Ended::of(&ended).into_iter().collect();
    fixture.store().retire(Retire { ended, more: false, forget }).await.expect("retires");
    is_known(&node).await;
    node.restart();
    is_back(&fixture).await;
    is_known(&node).await;
    assert_eq!(named(&fixture).await, "");
    fixture.check_sums().await;
}

fn copy_all(from: &Path, to: &Path) {
    for file in fs::read_dir(from).expect("it is there") {
        let file = file.expect("it reads");
        fs::copy(file.path(), to.join(file.file_name())).expect("it can be copied");
    }
}
