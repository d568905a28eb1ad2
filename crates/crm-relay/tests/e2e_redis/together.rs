//! What several servers on one Redis promise together: one event for one key, whoever takes it; what is said at one of them holds at
//! all; and an outage, a restart or a clock that is off at one is no loss.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use http::Method;
use serde_json::Value;

use crate::{
    clock::clock,
    process::{API_KEY, Server, wait_for},
    sender::{Sender, Told},
    several::Several,
    target::{Arrival, Reply, Target},
    way::Way,
};

/// How soon a change at one server holds at the others (I21).
const HOLDS_WITHIN: Duration = Duration::from_secs(5);

/// So long nothing may arrive at a destination that is paused: many times as long as it takes otherwise.
const PAUSED_FOR: Duration = Duration::from_millis(500);

/// I20: a thousand webhooks with keys, each sent to three servers at once, are a thousand events, answered with one id each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_comes_to_all_servers_at_once_is_one_event() {
    const KEYS: usize = 1_000;
    /// Of the keys so many are under way.
    const AT_ONCE: usize = 32;
    for partitions in ["1", "16"] {
        let several = Several::start(&[("REDIS_PARTITIONS", partitions)]).await;
        let urls: Vec<String> = several.servers.iter().map(|server| server.url("/webhook")).collect();
        let next = Arc::new(AtomicU64::new(0));
        let senders: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (urls, next, sender) = (urls.clone(), Arc::clone(&next), Sender::new());
                tokio::spawn(async move {
                    let mut ids = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= KEYS as u64 {
                            return ids;
                        }
                        let key = format!("key-{number}");
                        let taken = |url| sender.post_until_taken(url, API_KEY, "{}", &key);
                        let (a, b, c) = tokio::join!(taken(&urls[0]), taken(&urls[1]), taken(&urls[2]));
                        assert!(a == b && b == c, "I20: {key} is {a}, {b} and {c}");
                        ids.push(a);
                    }
                })
            })
            .collect();
        let mut ids = BTreeSet::new();
        for sender in senders {
            ids.extend(sender.await.unwrap());
        }
        assert_eq!(ids.len(), KEYS);
        for server in &several.servers {
            assert_eq!(server.json(&["health"])["webhooks_received"], KEYS, "P = {partitions}");
        }
        several.servers[1].audit();
    }
}

/// I20: whoever presses Resend at the platform again and again, at whatever server it comes out, gets five more deliveries an hour;
/// one press that comes to all of them at once is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resends_are_counted_over_all_servers() {
    const SECRET: &str = "the-secret-of-github";
    let several = Several::start(&[]).await;
    let target = Target::start(|_| Reply::status(200)).await;
    let _client = several.client("laptop", several.front.addr, &target, &[]);
    let secret = format!("secret={SECRET}");
    let made = ["source", "create", "hub", "--provider", "github", "--set", &secret];
    let made = several.servers[0].cli(&made);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for server in &several.servers {
        let knows = || server.cli(&["source", "show", "hub"]).status.success();
        wait_for("all servers to know the source", || knows().then_some(()));
    }
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), b"{\"zen\":1}");
    let signature = tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let sender = Sender::new();
    let press = async |server: &Server, id: &str| -> Told {
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-github-delivery", id),
            ("x-hub-signature-256", &signature),
        ];
        sender.send(Method::POST, &server.url("/webhook/hub"), &headers, "{\"zen\":1}").await.unwrap()
    };
    let deliveries = || several.servers[0].json(&["delivery", "list"])["items"].as_array().unwrap().len();
    let delivered = |count: usize| {
        wait_for("it to be delivered", || {
            (target.count() >= count && several.servers[0].queue_depth() == 0).then_some(())
        });
    };

    let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    assert_eq!(press(&several.servers[0], id).await.status, 200);
    delivered(1);
    let [a, b, c] = &several.servers[..] else { panic!("there are three") };
    let (one, two, three) = tokio::join!(press(a, id), press(b, id), press(c, id));
    assert_eq!([one.status, two.status, three.status], [200; 3]);
    delivered(2);
    assert_eq!(deliveries(), 2, "I20: one press that reaches all servers at once is one");
    for _ in 0..5 {
        for server in &several.servers {
            assert_eq!(press(server, id).await.status, 200);
        }
        several.settle();
    }
    assert_eq!(deliveries(), 6, "I20: five an hour, over all servers");
    delivered(6);
    assert_eq!(several.servers[1].json(&["health"])["webhooks_received"], 1);
}

/// I21: a token that is revoked at one server ends its sessions at the others, and a destination that is paused there gets nothing from
/// them, within five seconds; also where no hint is heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_at_one_server_holds_at_all() {
    let several = Several::start(&[]).await;
    let target = Target::start(|_| Reply::status(200)).await;
    for hears in [true, false] {
        if !hears {
            several.ways.iter().for_each(Way::deafen);
            several.redis.node.ask(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
        }
        let name = format!("laptop-{hears}");
        let made = several.servers[0].json(&["token", "create", &name, "--destination", "default"]);
        let token = made["token"].as_str().unwrap_or_else(|| panic!("{made:#}")).to_owned();
        let at = several.servers[1].public;
        let is_known = || several.servers[1].cli(&["token", "show", &name]).status.success();
        wait_for("the token to be known", || is_known().then_some(()));
        let client = several.client(&name, at, &target, &[("RELAY_TOKEN", &token)]);
        let log = |what: &str| client.log().contains(what);
        wait_for("the client to connect", || log("event=\"connected\"").then_some(()));

        assert!(several.servers[0].cli(&["destination", "pause", "default"]).status.success());
        let since = Instant::now();
        let paused = |server: &Server| server.json(&["status"])["destinations"][0]["paused"] == true;
        wait_for("the pause to hold", || paused(&several.servers[1]).then_some(()));
        assert!(since.elapsed() < HOLDS_WITHIN, "I21: a pause took {:?}, hints heard: {hears}", since.elapsed());
        let before = target.count();
        Sender::new().post(&several.servers[1].url("/webhook"), "{}").await.unwrap().event();
        // It is stored, a client with room is there, and it stays.
        let waits = || several.servers[1].queue_depth();
        wait_for("it to wait", || (waits() == 1).then_some(()));
        tokio::time::sleep(PAUSED_FOR).await;
        assert_eq!((target.count(), waits()), (before, 1), "I21: a delivery in spite of a pause, hints heard: {hears}");
        assert!(several.servers[2].cli(&["destination", "resume", "default"]).status.success());
        wait_for("it to arrive once it may", || (target.count() > before).then_some(()));

        assert!(several.servers[0].cli(&["token", "revoke", &name]).status.success());
        let since = Instant::now();
        wait_for("the session to end", || log("event=\"disconnected\"").then_some(()));
        assert!(since.elapsed() < HOLDS_WITHIN, "I21: a token took {:?}, hints heard: {hears}", since.elapsed());
        println!("revoked at A, closed at B after {:?}, hints heard: {hears}", since.elapsed());
    }
}

/// I10, I24: an outage of a target that two servers see charges no attempt, for as long as it lasts; and while a third server has no
/// client, none says that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_seen_by_two_servers_charges_nothing() {
    /// Longer than a destination without a client is announced after.
    const LASTS: Duration = Duration::from_secs(66);
    let settings = [("MAX_RETRIES", "1"), ("RETRY_DELAY", "50ms"), ("CIRCUIT_PAUSE_MAX", "1s")];
    let several = Several::start(&settings).await;
    let target = Target::start(|_| Reply::status(200)).await;
    let clients = [0, 1].map(|at| several.client(&format!("at-{at}"), several.servers[at].public, &target, &[]));
    let sender = Sender::new();
    let send = async |count: usize| {
        for number in 0..count {
            sender.post(&several.servers[number % 3].url("/webhook"), format!("{number}")).await.unwrap().event();
        }
    };
    // Both have counts of their own.
    send(60).await;
    several.settle();
    target.answer(|_| Reply::status(503));
    send(40).await;
    let since = Instant::now();
    while since.elapsed() < LASTS {
        for server in &several.servers {
            let health = server.json(&["health"]);
            assert!(!health["reasons"].to_string().contains("no client"), "I24: {health:#}");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let items = several.servers[2].json(&["delivery", "list", "--limit", "200"])["items"].as_array().unwrap().clone();
    let open: Vec<&Value> = items.iter().filter(|item| item["state"] != "delivered").collect();
    let sum = |what: &str| open.iter().map(|item| item[what].as_u64().unwrap()).sum::<u64>();
    println!("{} tries of {} deliveries in {LASTS:?}, {} charged", sum("tries"), open.len(), sum("attempts"));
    assert!(open.len() == 40 && sum("tries") > 40, "{open:#?}");
    assert_eq!(sum("attempts"), 0, "I10: an outage is charged");
    let through: BTreeSet<String> = target.arrivals().iter().map(path_of).collect();
    assert_eq!(through.len(), 2, "both servers see it: {through:?}");
    target.answer(|_| Reply::status(200));
    several.settle();
    let dead = several.servers[0].json(&["dead", "list"]);
    assert_eq!(dead["items"].as_array().unwrap().len(), 0, "{dead:#}");
    drop(clients);
}

fn path_of(arrival: &Arrival) -> String {
    arrival.path_and_query.clone()
}

/// I10, I24: a server whose clock jumps by an hour takes no leases, says so, and its clients go to the others by themselves; what it
/// accepts is delivered, at its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_is_off_takes_nothing_and_says_so() {
    let mut several = Several::start(&[]).await;
    let file = several.dir.path().join("clock");
    std::fs::write(&file, "+0").unwrap();
    let by_file = format!("FAKETIME_TIMESTAMP_FILE={}", file.display());
    several.servers[0].process.signal("TERM");
    assert!(several.servers[0].process.wait().success());
    several.servers[0].restart_under(&clock(&[&by_file, "FAKETIME_NO_CACHE=1"]));
    several.hear_of_each_other();
    let target = Target::start(|_| Reply::status(200)).await;
    several.front.lead_to(Some(several.servers[0].public));
    let client = several.client("laptop", several.front.addr, &target, &[]);
    let sender = Sender::new();
    let arrives = async |server: &Server| {
        let id = sender.post(&server.url("/webhook"), "{}").await.unwrap().event();
        wait_for("it to arrive", || target.delivered().contains_key(&id).then_some(()));
    };
    arrives(&several.servers[0]).await;
    assert!(
        several.servers[0].process.log().contains("event=\"client_joined\""),
        "it is at the one whose clock goes wrong"
    );
    several.front.lead_to(None);
    std::fs::write(&file, "+1h").unwrap();
    // Whatever its exit says: a commit that was under way has taken an hour by that clock, and it is not ready until another one comes about.
    let health = || several.servers[0].cli(&["health", "--json"]).stdout;
    wait_for("it to say so", || {
        let health: Value = serde_json::from_slice(&health()).unwrap_or_default();
        let reasons = health["reasons"].to_string();
        assert!(!reasons.contains("restart this server"), "I24: nothing is late by a clock that jumped: {reasons}");
        reasons.contains("ahead of that of the other servers").then_some(())
    });
    for server in &several.servers {
        arrives(server).await;
    }
    // What an operator has it do is done at once, too.
    let before = target.count();
    let event = target.arrivals()[0].event().to_owned();
    several.servers[0].json(&["event", "replay", &event, "--yes"]);
    wait_for("the replay to arrive", || (target.count() > before).then_some(()));
    for server in &several.servers[1..] {
        assert!(!server.json(&["health"])["reasons"].to_string().contains("ahead of"), "I24: the others are not off");
    }
    let joined = |server: &Server| server.process.log().contains("event=\"client_joined\"");
    assert!(several.servers[1..].iter().any(joined), "its client is elsewhere");
    several.settle();
    drop(client);
}

/// I22: one server after the other is stopped and started again, under load: whoever sends, and sends nothing twice, sees no error, and
/// nothing arrives twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_is_seen_by_nobody() {
    let mut several = Several::start(&[]).await;
    let target = Target::start(|_| Reply { delay: Duration::from_millis(5), ..Reply::status(200) }).await;
    let clients: Vec<_> =
        (0..3).map(|at| several.client(&format!("client-{at}"), several.front.addr, &target, &[])).collect();
    let (stop, faults) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let url = several.front.url("/webhook");
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (url, stop, faults) = (url.clone(), Arc::clone(&stop), Arc::clone(&faults));
            let since = Instant::now();
            tokio::spawn(async move {
                let mut told = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    // On a connection of its own: what is kept open may end at any moment, and is the sender's to see to.
                    let answer = Sender::new().post(&url, "{}").await;
                    match answer {
                        Some(answer) if answer.status == 202 => *told.entry(answer.event()).or_insert(0) += 1,
                        other => {
                            println!("an error at the sender after {:?}: {other:?}", since.elapsed());
                            faults.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                told
            })
        })
        .collect();
    let since = Instant::now();
    for _ in 0..2 {
        for server in &mut several.servers {
            let enough = target.count() + 100;
            wait_for("the load to flow", || (target.count() >= enough).then_some(()));
            println!("{} stops after {:?}", server.public, since.elapsed());
            server.process.signal("TERM");
            let status = server.process.wait();
            assert!(status.success(), "{}", server.process.log());
            println!("it is gone after {:?}", since.elapsed());
            server.restart();
            println!("it is back after {:?}", since.elapsed());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for sender in senders {
        acknowledged.extend(sender.await.unwrap().into_keys());
    }
    assert_eq!(faults.load(Ordering::Relaxed), 0, "I22: errors at the sender");
    several.settle();
    let delivered = target.delivered();
    let missing = acknowledged.iter().filter(|id| !delivered.contains_key(*id)).count();
    let twice = delivered.values().filter(|times| **times > 1).count();
    println!("six restarts: {} acknowledged, {missing} missing, {twice} twice", acknowledged.len());
    assert_eq!((missing, twice), (0, 0), "I22");
    drop(clients);
}
