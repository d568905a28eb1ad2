//! The first look at a Redis, and those that follow: what is refused, in which words, and what is done about it.

use std::time::Duration;

use relay_core::{
    id::IdMint,
    storage::{Append, AppendError},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Address, BeginError, Beyond, Login, Options, RedisStore},
    seam::{Condition, DocumentKey, DocumentKind, Durability, Registry as _, Upkeep as _},
};
use tokio::time::{Instant, sleep};

use crate::{
    backend::Shared,
    node::{Node, Server, bound::Waits, free_port},
};

pub(crate) fn fixture(options: Options) -> Fixture<Shared> {
    Fixture::over(Shared::on(options), IdMint::new(0, 7))
}

/// What is said of a Redis; empty: it is used.
async fn said(options: Options) -> String {
    match RedisStore::open(options).begin().await {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn options(node: &Node) -> Options {
    Options::new(node.address())
}

/// Until that holds of what the store says of itself.
async fn becomes(fixture: &Fixture<Shared>, what: &str, holds: impl Fn(&Condition) -> bool) {
    let _waits = Waits::until(what);
    let began = Instant::now();
    loop {
        let condition = fixture.store().condition();
        if holds(&condition) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain for {what}: {condition:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// I1: a Redis that would lose what is acknowledged is not used, each fault with the line that mends it; which then does.
#[tokio::test]
async fn a_redis_that_would_lose_something_is_refused_until_it_is_mended() {
    let node = Node::start();
    let set = |name: &str, value: &str| node.ask(&[b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()]);
    assert_eq!(said(options(&node)).await, "");
    let faults = [
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec", "always"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ];
    for (name, bad, _) in faults {
        set(name, bad);
    }
    let told = said(options(&node)).await;
    for (name, bad, good) in faults {
        let mend = format!("CONFIG SET {name} {good}");
        assert!(told.contains(&mend) && told.contains(&format!("{name} is {bad}")), "{mend}: {told}");
        set(name, good);
    }
    assert_eq!(said(options(&node)).await, "");
    set("appendfsync", "everysec");
    assert_eq!(said(Options { durability: Some(Durability::Everysec), ..options(&node) }).await, "");
    set("appendfsync", "always");
    let alone = said(Options { durability: Some(Durability::Replicated), ..options(&node) }).await;
    assert!(alone.contains("0 of 1 replicas") && alone.contains("CONFIG SET min-replicas-to-write 1"), "{alone}");
}

/// I1: what is changed later ends the acknowledging, with the reason, and it goes on once that is mended.
#[tokio::test]
async fn a_redis_that_is_changed_later_gets_nothing_until_it_is_mended() {
    let node = Node::start();
    let mut fixture = fixture(options(&node));
    fixture.accept("crm", at(0)).await;
    node.ask(&[b"CONFIG", b"SET", b"appendfsync", b"everysec"]);
    becomes(&fixture, "it to take nothing", |condition| !condition.commits).await;
    let condition = fixture.store().condition();
    assert!(condition.reasons[0].ends_with("CONFIG SET appendfsync always"), "{condition:?}");
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"]);
    assert_eq!(fixture.append(append.clone()).await, Err(AppendError::Away));
    node.ask(&[b"CONFIG", b"SET", b"appendfsync", b"always"]);
    becomes(&fixture, "it to take webhooks again", |condition| condition.commits).await;
    assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    fixture.check_sums().await;
}

/// I1: with replicas in play, what they have is what counts; the store says which durability that is.
#[tokio::test]
async fn where_there_are_replicas_they_are_waited_for() {
    for server in Server::ALL {
        replicas_are_waited_for(server).await;
    }
}

async fn replicas_are_waited_for(server: Server) {
    let (primary, replica) = Node::with_replica(server);
    // A replica that has just been sent everything has much to do, on a machine that has little left: nothing here is about how soon.
    let (replicas_within, patience) = (Duration::from_secs(20), Duration::from_secs(60));
    let options = |node: &Node| Options { replicas_within, patience, ..options(node) };
    let store = RedisStore::open(Options { durability: None, ..options(&primary) });
    store.begin().await.expect("it keeps what it is given");
    assert_eq!(store.condition().durability, Durability::Replicated);
    assert!(store.promises().durability.contains("replicas"));
    let told = said(options(&replica)).await;
    assert!(told.contains("it is a replica") && told.contains("REDIS_URL=127.0.0.1:"), "{told}");
    let on_disks = Options { durability: Some(Durability::FsyncReplicated), ..options(&primary) };
    if server == Server::Installed {
        let told = said(on_disks).await;
        assert!(told.contains("7.2.0"), "{told}");
        return;
    }
    let mut fixture = fixture(on_disks);
    fixture.accept("crm", at(0)).await;
    assert_eq!(fixture.store().condition().durability, Durability::FsyncReplicated);
}

/// I1: a replica that comes later than the first look, as where all of them start together, is waited for as one that was there; and that
/// stays so when it goes.
#[tokio::test]
async fn a_replica_that_comes_later_is_waited_for_as_well() {
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    let listens = |at: usize| vec![("port".into(), ports[at].clone()), ("repl-diskless-sync-delay".into(), "0".into())];
    let primary = Node::with(Server::Installed, listens(0));
    let (replicas_within, patience) = (Duration::from_secs(20), Duration::from_secs(60));
    let options = Options { durability: None, replicas_within, patience, ..options(&primary) };
    let mut fixture = fixture(options.clone());
    RedisStore::open(options).begin().await.expect("it keeps what it is given");
    fixture.accept("crm", at(0)).await;
    assert_eq!(fixture.store().condition().durability, Durability::Fsync);
    let mut settings = listens(1);
    settings.push(("replicaof".into(), format!("127.0.0.1 {}", ports[0])));
    let mut replica = Node::with(Server::Installed, settings);
    becomes(&fixture, "the replica to count", |condition| condition.durability == Durability::Replicated).await;
    primary.ask(&[b"CONFIG", b"SET", b"min-replicas-to-write", b"1"]);
    becomes(&fixture, "it to take webhooks with a replica", |condition| condition.commits).await;
    fixture.accept("crm", at(1)).await;
    replica.stop();
    becomes(&fixture, "it to take nothing without a replica", |condition| !condition.commits).await;
    assert_eq!(fixture.store().condition().durability, Durability::Replicated);
}

/// Whoever looks with another number of partitions than the store has is told so, and not of what little there is in those.
#[tokio::test]
async fn whoever_looks_with_other_partitions_is_told() {
    let node = Node::start();
    let options = |partitions| Options { partitions, ..options(&node) };
    RedisStore::open(options(4)).begin().await.expect("it keeps what it is given");
    let examined = RedisStore::open(options(1)).examine().await.expect("it is there");
    let mends: Vec<_> = examined.findings().map(|finding| &finding.mend[..]).collect();
    assert_eq!(mends, ["set REDIS_PARTITIONS=4"]);
    assert_eq!(RedisStore::open(options(4)).examine().await.expect("it is there").findings().next(), None);
}

/// I24: what comes in a day is reckoned from what was accepted, noted down from time to time, however old what is stored is; and how full it is
/// is told with it.
#[tokio::test]
async fn what_comes_in_a_day_is_what_was_accepted_in_the_last_one() {
    let node = Node::start();
    let time = node.ask(&[b"TIME"]);
    let seconds: u64 = time.lines().nth(2).expect("it says what time it is").parse().expect("in seconds");
    let an_hour_ago = format!("{}-0", (seconds - 3_600) * 1_000);
    node.ask(&[b"XADD", b"crm-relay:{reg}:accepted", an_hour_ago.as_bytes(), b"n", b"0"]);
    let store = RedisStore::open(options(&node));
    store.begin().await.expect("it keeps what it is given");
    let mut fixture = fixture(options(&node));
    for _ in 0..10 {
        // Long ago, by its id.
        fixture.accept("crm", at(0)).await;
    }
    let stored = store.examine().await.expect("it is there").stored.expect("it is a store");
    assert!((200..=240).contains(&stored.events_per_day.expect("an hour is enough")), "{stored:?}");
    let memory = store.stats().await.expect("reads").memory.expect("it is in memory");
    assert!(memory.used > 0 && memory.bound > memory.used, "{memory:?}");
    // A server notes it down too, and not more often than it is of use.
    let is_noted = || node.ask(&[b"XLEN", b"crm-relay:{reg}:accepted"]) == ":2\r\n";
    becomes(&fixture, "it to be noted down", |_| is_noted()).await;
}

/// S27: a wrong password is told as that, and not shown; a right one lets in.
#[tokio::test]
async fn a_password_that_is_not_it_is_told_and_not_shown() {
    let node = Node::start();
    let login = |password: Option<&str>| {
        let login = Login { password: password.map(str::to_owned), ..Login::default() };
        Options { login, ..options(&node) }
    };
    node.ask(&[b"CONFIG", b"SET", b"requirepass", b"canary"]);
    assert_eq!(said(login(Some("canary"))).await, "");
    let none = said(login(None)).await;
    assert!(none.contains("REDIS_PASSWORD"), "{none}");
    let wrong = said(login(Some("canary2"))).await;
    assert!(wrong.contains("refuses the user or the password") && !wrong.contains("canary"), "{wrong}");
    let line = "made by ACL SETUSER relay on >PASSWORD resetkeys ~crm-relay ";
    assert!(wrong.contains(line) && wrong.contains(" +evalsha"), "{wrong}");
    let other = Login { password: Some("canary".into()), database: 99, ..Login::default() };
    let other = said(Options { login: other, ..options(&node) }).await;
    assert!(other.contains("REDIS_DB"), "{other}");
}

/// The user that the line makes may do all that a store does; each right that is missing is named, with that line.
#[tokio::test]
async fn a_user_with_the_rights_of_the_line_does_everything() {
    let node = Node::start();
    let login = Login { user: Some("crm".into()), password: Some("canary".into()), database: 0 };
    let options = Options { login, stream_name: "acl".into(), dead_letter_queue: "acl-dead".into(), ..options(&node) };
    node.ask(&[b"ACL", b"SETUSER", b"crm", b"on", b">canary", b"~*", b"&*", b"+@all", b"-xreadgroup", b"-hincrby"]);
    let told = said(options.clone()).await;
    assert!(told.starts_with("its user may not use hincrby, xreadgroup: ACL SETUSER crm on >PASSWORD"), "{told}");
    let (_, line) = told.split_once(": ").expect("the line stands behind it");
    let line = line.replace("PASSWORD", "canary");
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    node.ask(&[b"ACL", b"DELUSER", b"crm"]);
    assert!(node.ask(&words).starts_with("+OK"), "{line}");
    assert_eq!(said(options.clone()).await, "");
    // Hints, and the channel that they go to, are among it.
    for (take, lacks) in [("-publish", "publish"), ("-subscribe", "subscribe"), ("resetchannels", "publish, subscribe")]
    {
        node.ask(&[b"ACL", b"SETUSER", b"crm", take.as_bytes()]);
        let told = said(options.clone()).await;
        assert!(told.starts_with(&format!("its user may not use {lacks}: ACL SETUSER crm")), "{take}: {told}");
        node.ask(&words);
    }
    let mut fixture = fixture(options.clone());
    let stored = fixture.accept("crm", at(0)).await;
    assert_eq!(fixture.lease("crm", at(1)).await.deliveries.len(), 1);
    assert_eq!(fixture.find(stored.id).await.map(|found| found.event), Some(stored.event));
    fixture.check_sums().await;
    // And nothing beside that.
    let other = Options { stream_name: "other".into(), ..options };
    assert!(said(other).await.contains("or the keys of other:*"));
}

/// Where replicas' disks are waited for, a user who may not is told so, with the line.
#[tokio::test]
async fn a_user_who_may_not_wait_for_disks_is_told() {
    let (primary, _replica) = Node::with_replica(Server::Redis8);
    let login = Login { user: Some("crm".into()), password: Some("canary".into()), database: 0 };
    let options = Options { login, durability: Some(Durability::FsyncReplicated), ..options(&primary) };
    primary.ask(&[b"ACL", b"SETUSER", b"crm", b"on", b">canary", b"~*", b"&*", b"+@all", b"-waitaof"]);
    let told = said(options).await;
    assert!(
        told.starts_with("its user may not use waitaof: ACL SETUSER crm on") && told.contains("+waitaof"),
        "{told}"
    );
}

/// What says that it is a Redis of a version that would do, and knows or runs no scripts, is told apart from one that is away, and gets nothing.
#[tokio::test]
async fn what_only_says_that_it_is_redis_is_refused_in_words() {
    for lacks in ["SCRIPT", "EVALSHA"] {
        let node = Node::with(Server::Installed, vec![("rename-command".into(), format!("{lacks} unheard-of"))]);
        let told = said(options(&node)).await;
        assert!(told.starts_with("it does not do what Redis does: ") && told.contains(lacks), "{told}");
        assert!(told.ends_with(": want Redis 7.0.4 or later, or Valkey"), "{told}");
        assert_eq!(node.ask(&[b"DBSIZE"]), ":0\r\n");
        let examined = RedisStore::open(options(&node)).examine().await.expect("it is there");
        assert!(examined.findings().any(|finding| told.starts_with(&finding.what)), "{examined:?}");
    }
}

/// What others have put there is named and left alone.
#[tokio::test]
async fn what_is_another_programs_is_left_alone() {
    let node = Node::start();
    let named = |name: &str| Options { stream_name: name.into(), ..options(&node) };
    node.ask(&[b"XADD", b"webhook-stream", b"*", b"payload", b"{}"]);
    let told = said(named("webhook-stream")).await;
    assert!(told.contains("webhook-stream there is another program's, with 1 entries"), "{told}");
    assert_eq!(node.ask(&[b"XLEN", b"webhook-stream"]), ":1\r\n");
    node.ask(&[b"SET", b"typed:{reg}:meta", b"x"]);
    let told = said(named("typed")).await;
    assert!(told.contains("typed:{reg}:meta there is a string and not a hash"), "{told}");
    assert_eq!(node.ask(&[b"GET", b"typed:{reg}:meta"]), "$1\r\nx\r\n");
    // Whatever the store has or will have, also of the destinations that it has counted.
    let begun = Options { stream_name: "begun".into(), dead_letter_queue: "begun-dead".into(), ..options(&node) };
    fixture(begun.clone()).accept("crm", at(0)).await;
    let keys =
        ["{reg}:doc:1", "{reg}:doc:12", "{00-23}:tally", "{00-23}:steps", "{00-23}:due:crm:0", "{00-23}:made:crm"];
    for key in keys {
        node.ask(&[b"SET", format!("begun:{key}").as_bytes(), b"x"]);
    }
    let told = said(begun).await;
    for key in keys {
        assert!(told.contains(&format!("begun:{key} there is a string")), "{key}: {told}");
    }
}

/// I23: what a later version has laid out is left as it is; and all servers have the same partitions.
#[tokio::test]
async fn a_later_layout_and_other_partitions_are_refused() {
    let node = Node::start();
    assert_eq!(said(options(&node)).await, "");
    let other = said(Options { partitions: 16, ..options(&node) }).await;
    assert!(other.contains("REDIS_PARTITIONS=1"), "{other}");
    node.ask(&[b"HSET", b"crm-relay:{reg}:meta", b"layout", b"2"]);
    let newer = RedisStore::open(options(&node)).begin().await;
    assert_eq!(newer, Err(BeginError::Newer(Beyond::Layout(2))));
}

/// I23: what a later version has put there, and says that it has to be known, keeps this one out: at its start, and while it runs, where
/// nothing is acknowledged any more. Nothing is written there; what is said to be needed and known is no reason.
#[tokio::test]
async fn what_a_later_version_needs_is_refused() {
    let node = Node::start();
    let meta = b"crm-relay:{reg}:meta";
    let mut fixture = fixture(options(&node));
    fixture.accept("crm", at(0)).await;
    node.ask(&[b"HSET", meta, b"needs", b"16"]);
    assert_eq!(said(options(&node)).await, "", "sealed records are known");
    for needs in [1, 2, 18, 1 << 40] {
        node.ask(&[b"HSET", meta, b"needs", needs.to_string().as_bytes()]);
        let before = node.ask(&[b"HGETALL", meta]);
        let newer = RedisStore::open(options(&node)).begin().await;
        assert_eq!(newer, Err(BeginError::Newer(Beyond::Needs(needs))));
        assert_eq!(node.ask(&[b"HGETALL", meta]), before, "not even a start is counted");
    }
    let examined = RedisStore::open(options(&node)).examine().await.expect("it is there");
    assert!(examined.findings().any(|finding| finding.mend == "start that version"), "{examined:?}");
    // One that runs already finds it with its next connection.
    node.ask(&[b"CLIENT", b"KILL", b"TYPE", b"normal"]);
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"]);
    becomes_away(&fixture, &append).await;
    let reasons = fixture.store().condition().reasons;
    assert!(reasons.iter().any(|reason| reason.contains("needs 1099511627776")), "{reasons:?}");
}

/// Until what is to be stored is not: a connection that was closed is noticed when it is used.
async fn becomes_away(fixture: &Fixture<Shared>, append: &Append) {
    let _waits = Waits::until("a new connection to be looked at");
    while fixture.append(append.clone()).await != Err(AppendError::Away) {
        sleep(Duration::from_millis(10)).await;
    }
}

/// I23: so do documents of a kind that is not known here, and stay; the kinds that are known do not.
#[tokio::test]
async fn documents_of_a_later_kind_are_refused() {
    let node = Node::start();
    assert_eq!(said(options(&node)).await, "");
    for number in [8, 14, 255] {
        let key = format!("crm-relay:{{reg}}:doc:{number}");
        node.ask(&[b"HSET", key.as_bytes(), b"one", b"{}"]);
        let newer = RedisStore::open(options(&node)).begin().await;
        assert_eq!(newer, Err(BeginError::Newer(Beyond::Documents)), "{number}");
        assert_eq!(node.ask(&[b"DEL", key.as_bytes()]), ":1\r\n");
    }
    let store = RedisStore::open(options(&node));
    store.begin().await.expect("it is used");
    for kind in DocumentKind::ALL.into_iter().filter(|kind| *kind != DocumentKind::Cipher) {
        let key = DocumentKey { kind, name: "one".into() };
        assert_eq!(store.put_document(key, 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
    }
    assert_eq!(said(options(&node)).await, "", "all that are known");
}

/// A Redis that is not there, or not yet, may be there later.
#[tokio::test]
async fn a_redis_that_is_not_there_is_away() {
    let nobody = Address::Unix("/nonexistent/redis.sock".into());
    let begun = RedisStore::open(Options::new(nobody)).begin().await;
    assert!(matches!(begun, Err(BeginError::Away(_))), "{begun:?}");
}
