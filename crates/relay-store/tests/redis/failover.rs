//! A primary that sentinels name, and replace: it is found and followed, and what was confirmed is there at the next one.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use relay_core::{
    id::{DeliveryId, IdMint},
    storage::{AppendError, StoreError},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Address, BeginError, Login, Options, RedisStore, Sentinels},
    seam::{AuditFilter, Durability, Page},
};
use tempfile::TempDir;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use crate::{
    backend::Shared,
    node::{Node, Server},
    replicated::{DOWN_AFTER, MASTER, Replicated, Settings, until},
};

/// How soon something is confirmed again once there is another primary.
const CONFIRMS_WITHIN: Duration = Duration::from_secs(10);

fn sentinels(set: &Replicated, address: impl Fn(u16) -> Address) -> Sentinels {
    let at = set.sentinel_ports().iter().map(|port| address(*port)).collect();
    Sentinels { at, master: MASTER.to_owned(), login: Login::default(), elsewhere: std::collections::BTreeMap::new() }
}

fn plain(port: u16) -> Address {
    Address::Tcp { host: "127.0.0.1".into(), port }
}

fn options(sentinels: Sentinels, durability: Durability) -> Options {
    let address = relay_store::redis::Deployment::Sentinel(sentinels);
    Options { address, durability: Some(durability), ..Options::new(plain(1)) }
}

/// Appends one after the other, whatever happens meanwhile; each is asked for again until it is confirmed.
pub(crate) struct Load {
    pub(crate) fixture: Fixture<Shared>,
    confirmed: Vec<(DeliveryId, Instant)>,
}

impl Load {
    pub(crate) fn on(options: Options) -> Self {
        Self { fixture: Fixture::over(Shared::on(options), IdMint::new(0, 7)), confirmed: Vec::new() }
    }

    /// Until that is over; gives what it gives.
    pub(crate) async fn during<T: Send + 'static>(&mut self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let done = spawn_blocking(what);
        while !done.is_finished() {
            self.append().await;
        }
        done.await.expect("it does not panic")
    }

    pub(crate) async fn append(&mut self) {
        let event = self.fixture.event("in", b"{}", at(self.confirmed.len() as u64));
        let append = self.fixture.appending(event, &["crm"]);
        let since = Instant::now();
        loop {
            match self.fixture.append(append.clone()).await {
                Ok(_) => break self.confirmed.push((append.deliveries[0].id, Instant::now())),
                Err(AppendError::Away | AppendError::Unknown) => {
                    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", self.fixture.store().condition());
                    sleep(Duration::from_millis(10)).await;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    /// How long after that moment something was confirmed for the first time.
    pub(crate) fn first_after(&self, moment: Instant) -> Duration {
        let first = self.confirmed.iter().map(|(_, at)| *at).find(|at| *at > moment);
        first.expect("something was") - moment
    }

    /// All of it is there, and nothing is said to be lost.
    pub(crate) async fn all_is_there(&self) {
        for (id, _) in &self.confirmed {
            let since = Instant::now();
            let found = loop {
                match self.fixture.store().find(vec![*id]).await {
                    Ok(mut found) => break found.pop().flatten(),
                    // The primary was another's a moment ago.
                    Err(StoreError::Away | StoreError::Unknown) => {
                        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", self.fixture.store().condition());
                        sleep(Duration::from_millis(10)).await;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            };
            assert!(found.is_some(), "I1: {id} was confirmed and is gone");
        }
        let filter = AuditFilter { action: Some("store.lost".into()), ..AuditFilter::default() };
        let lines = self.fixture.store().browse_audit(filter, Page { cursor: None, limit: 1 }).await.expect("it reads");
        assert!(lines.items.is_empty(), "{lines:?}");
        self.fixture.check_sums().await;
    }
}

/// What happens to a set, and its primary.
type Does = fn(&mut Replicated, usize);

/// I1, F5: each way that another node becomes the primary, with what was there before coming back as a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_outlives_the_primary() {
    let set = Replicated::start(Server::Installed, &Settings::default()).await;
    let mut load = Load::on(options(sentinels(&set, plain), Durability::Replicated));
    load.append().await;
    let faults: [(&str, Does, Does); 4] = [
        ("a command", |set, _| set.fail_over(), |_, _| {}),
        (
            // Servers and replicas hear it still.
            "sentinels that do not hear it",
            |set, primary| set.gates[primary].shut(Replicated::all_sentinels()),
            |set, primary| set.gates[primary].open(),
        ),
        (
            "only servers that hear it",
            |set, primary| {
                set.gates[primary].shut(Replicated::other_nodes(primary).chain(Replicated::all_sentinels()));
            },
            |set, primary| set.gates[primary].open(),
        ),
        (
            // It is told to write, and does; no replica has it.
            "nobody but servers that hear it, and all that it hears",
            |set, primary| {
                set.gates[primary].mute(Replicated::other_nodes(primary).chain(Replicated::all_sentinels()));
            },
            |set, primary| set.gates[primary].open(),
        ),
    ];
    let mut set = Some(set);
    for (name, begin, end) in faults {
        let mut whole = set.take().expect("it is there");
        let (came, back) = load
            .during(move || {
                let before = whole.primary().expect("most agree");
                begin(&mut whole, before);
                whole.another_than(before);
                let came = Instant::now();
                std::thread::sleep(DOWN_AFTER);
                end(&mut whole, before);
                until("the one before to follow", || whole.says(before, "master_link_status:up").then_some(()));
                whole.is_whole();
                (came, whole)
            })
            .await;
        load.append().await;
        let waited = load.first_after(came);
        println!("{name}: confirmed again {waited:?} after there was another primary");
        assert!(waited <= CONFIRMS_WITHIN, "{name}: {waited:?}");
        set = Some(back);
    }
    load.all_is_there().await;
}

/// What happens to a primary and its replica.
type DoesToBoth = fn(&mut [Node; 2]);

/// I1, F5: a Redis with a replica that hangs, writes its file anew, reads it again, or has its replica turned away, while webhooks come in; and
/// a replica that hangs, or ends and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_outlives_what_is_done_to_a_redis() {
    let (primary, replica) = Node::with_replica(Server::Installed);
    let options = Options { durability: Some(Durability::Replicated), ..Options::new(primary.address()) };
    let mut load = Load::on(options);
    load.append().await;
    let follows = |nodes: &[Node; 2]| {
        until("the replica to follow", || {
            let said = nodes.each_ref().map(|node| node.ask(&[b"INFO", b"replication"]));
            (said[0].contains("state=online") && said[1].contains("master_link_status:up")).then_some(())
        });
    };
    let faults: [(&str, DoesToBoth); 7] = [
        ("it hangs for longer than it is waited for", |nodes| {
            nodes[0].ask(&[b"DEBUG", b"SLEEP", b"2.5"]);
        }),
        ("its file is written anew", |nodes| {
            assert!(nodes[0].ask(&[b"BGREWRITEAOF"]).starts_with("+Background"));
            until("the file to be written", || {
                let said = nodes[0].ask(&[b"INFO", b"persistence"]);
                (said.contains("aof_rewrite_in_progress:0") && said.contains("aof_rewrite_scheduled:0")).then_some(())
            });
        }),
        ("it reads its file again", |nodes| assert_eq!(nodes[0].ask(&[b"DEBUG", b"LOADAOF"]), "+OK\r\n")),
        ("it reads all that it has again", |nodes| assert_eq!(nodes[0].ask(&[b"DEBUG", b"RELOAD"]), "+OK\r\n")),
        ("its replica is turned away", |nodes| {
            assert_eq!(nodes[0].ask(&[b"CLIENT", b"KILL", b"TYPE", b"replica"]), ":1\r\n");
        }),
        ("its replica hangs", |nodes| {
            nodes[1].pause();
            std::thread::sleep(Duration::from_secs(1));
            nodes[1].resume();
        }),
        ("its replica ends and comes back", |nodes| nodes[1].restart()),
    ];
    let mut nodes = Some([primary, replica]);
    for (name, does) in faults {
        let mut both = nodes.take().expect("they are there");
        let (back, over) = load
            .during(move || {
                does(&mut both);
                follows(&both);
                (both, Instant::now())
            })
            .await;
        load.append().await;
        let waited = load.first_after(over);
        println!("{name}: confirmed again {waited:?} after it was over");
        assert!(waited <= CONFIRMS_WITHIN, "{name}: {waited:?}");
        nodes = Some(back);
    }
    load.all_is_there().await;
}

/// S27, S30: sentinels and nodes over TLS, each with a user of its own that may do little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_asked_over_tls_by_a_user_of_their_own() {
    // In the program another crate brings what encrypts, and there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (dir, authority) = certificates();
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let tls = [
        ("tls-cert-file", file("cert.pem")),
        ("tls-key-file", file("key.pem")),
        ("tls-ca-cert-file", file("ca.pem")),
        ("tls-auth-clients", "no".to_owned()),
        ("tls-replication", "yes".to_owned()),
    ];
    let settings = Settings {
        nodes: tls.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        sentinels: tls.iter().map(|(name, value)| format!("{name} {value}")).collect(),
        is_tls: true,
    };
    let set = Replicated::start(Server::Installed, &settings).await;
    for sentinel in &set.sentinels {
        let few: [&[u8]; 5] =
            [b"+sentinel|get-master-addr-by-name", b"+sentinel|master", b"+subscribe", b"&+switch-master", b"-@all"];
        let [get, master, subscribe, channel, none] = few;
        let user: [&[u8]; 10] =
            [b"ACL", b"SETUSER", b"asks", b"on", b">canary", b"resetchannels", none, get, master, subscribe];
        assert_eq!(sentinel.ask(&user), "+OK\r\n");
        assert_eq!(sentinel.ask(&[b"ACL", b"SETUSER", b"asks", channel]), "+OK\r\n");
    }
    let over_tls = |port| Address::Tls { host: "127.0.0.1".into(), port, authorities: Some(authority.clone()) };
    let said = async |options| RedisStore::open(options).begin().await.expect_err("it is not let in").to_string();
    let wrong = Login { user: Some("asks".into()), password: Some("canary2".into()), database: 0 };
    let with = |login| options(Sentinels { login, ..sentinels(&set, over_tls) }, Durability::Replicated);
    let turned = said(with(wrong)).await;
    assert!(turned.contains("REDIS_SENTINEL_PASSWORD") && !turned.contains("canary"), "{turned}");
    let plainly = said(options(
        sentinels(&set, |port| Address::Tls { host: "127.0.0.1".into(), port, authorities: None }),
        Durability::Replicated,
    ))
    .await;
    assert!(plainly.contains("signed by nobody that is trusted"), "{plainly}");

    let right = Login { user: Some("asks".into()), password: Some("canary".into()), database: 0 };
    let of_store = Login { user: Some("crm".into()), password: Some("canary".into()), database: 0 };
    let options = Options { login: of_store, ..with(right) };
    // The line that a user without rights is told makes one who has all of them, at every node.
    for node in &set.nodes {
        node.ask(&[b"ACL", b"SETUSER", b"crm", b"on", b">canary", b"+info", b"+config|get"]);
    }
    let told = said(options.clone()).await;
    let (_, line) = told.split_once(": ").expect("the line stands behind it");
    let line = line.replace("PASSWORD", "canary");
    for node in &set.nodes {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(node.ask(&words), "+OK\r\n", "{line}");
    }
    let mut load = Load::on(options);
    load.append().await;
    // The next primary is found, asked and trusted by the same ways.
    let _set = load
        .during(move || {
            let before = set.primary().expect("most agree");
            set.fail_over();
            set.another_than(before);
            set
        })
        .await;
    load.append().await;
    load.all_is_there().await;
}

/// Where everything but the key of the authority lies, and its certificate.
pub(crate) fn certificates() -> (TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let key = || KeyPair::generate().expect("there is chance");
    let mut authority = CertificateParams::new(Vec::new()).expect("it names nobody");
    // By the usual name of both, a certificate would be taken for one that has signed itself.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, key()).expect("it signs itself");
    let own = key();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("it is an address");
    let certificate = certificate.signed_by(&own, &authority).expect("it is signed");
    for (name, text) in [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", own.serialize_pem())]
    {
        std::fs::write(dir.path().join(name), text).expect("it can be written");
    }
    let authority = authority.pem().into_bytes();
    (dir, authority)
}

/// Trouble: sentinels that know no such primary, or are too few to be believed; and a primary with too few replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_cannot_tell_are_named() {
    let mut set = Replicated::start(Server::Installed, &Settings::default()).await;
    let begin = async |sentinels| RedisStore::open(options(sentinels, Durability::Replicated)).begin().await;
    let other = Sentinels { master: "other".into(), ..sentinels(&set, plain) };
    match begin(other).await {
        Err(BeginError::Refused(findings)) => {
            assert_eq!(findings[0].what, "the sentinels know no primary called other");
            assert!(findings[0].mend.contains("sentinel monitor"), "{findings:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(begin(sentinels(&set, plain)).await, Ok(()));
    set.sentinels[0].stop();
    assert_eq!(begin(sentinels(&set, plain)).await, Ok(()), "two of three agree");
    set.sentinels[1].stop();
    match begin(sentinels(&set, plain)).await {
        Err(BeginError::Away(why)) => {
            assert!(why.starts_with("2 of 3 sentinels have to name the same primary"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    set.sentinels[0].restart();
    let primary = until("two to agree", || set.primary());
    for node in (0..set.nodes.len()).filter(|node| *node != primary) {
        set.nodes[node].stop();
    }
    until("the primary to see that", || set.says(primary, "connected_slaves:0").then_some(()));
    match begin(sentinels(&set, plain)).await {
        Err(BeginError::Away(why)) => {
            assert!(why.starts_with("0 of 1 replicas follow it") && why.contains("REDIS_MIN_REPLICAS"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

/// I16: where most sentinels are gone the primary that is there goes on; with a replica less it does not, for nobody could tell whether
/// that has become the primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sentinels_a_primary_goes_on_with_all_its_replicas() {
    let mut set = Replicated::start(Server::Installed, &Settings::default()).await;
    let mut load = Load::on(options(sentinels(&set, plain), Durability::Replicated));
    load.append().await;
    let primary = set.primary().expect("most agree");
    set.sentinels[1].stop();
    set.sentinels[2].stop();
    sleep(Duration::from_secs(2)).await;
    load.append().await;
    set.nodes[(primary + 1) % 3].stop();
    let refused = timeout(Duration::from_secs(13), load.append()).await;
    assert!(refused.is_err(), "one replica confirms, and the other may be the primary");
    set.sentinels[1].restart();
    load.append().await;
    load.all_is_there().await;
}
