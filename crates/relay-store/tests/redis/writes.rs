//! Which keys scripts write: those that they were told of, or have read. In a slot that moves any other write fails half way.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
};

use relay_core::{
    delivery::{Change, Delivery, State, cancel, hand_back, redrive},
    id::IdMint,
    jobs::Rules,
    partitions::Partitions,
    storage::{Append, AuditEntry, Dedupe, Ended, Extend, Forget, Replay, Retire, Step},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Options, RedisStore},
};

use crate::{
    backend::Shared,
    node::{ANSWERS_WITHIN, Node},
};

/// What a Redis is asked, as it tells who listens.
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn of(node: &Node) -> Self {
        let mut stream = UnixStream::connect(node.socket()).expect("it is there");
        stream.set_read_timeout(Some(ANSWERS_WITHIN)).expect("it is there");
        stream.write_all(b"*1\r\n$7\r\nMONITOR\r\n").expect("it reads");
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).expect("it answers");
        assert_eq!(line, b"+OK\r\n");
        Self(lines)
    }

    /// Commands until now, whether a script made each, and its words.
    fn heard(mut self, node: &Node) -> Vec<(bool, Vec<String>)> {
        node.ask(&[b"ECHO", b"that is all"]);
        let mut commands = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = self.0.read_until(b'\n', &mut line).expect("it goes on");
            assert_ne!(read, 0, "it has ended without having heard all");
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains("\"that is all\"") {
                return commands;
            }
            commands.push((line.contains("[0 lua]"), words(&line)));
        }
    }
}

/// What stands in quotes, in which quotes are escaped.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut escaped) = (Vec::new(), None::<String>, false);
    for letter in line.chars() {
        match (&mut word, letter) {
            (None, '"') => word = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') if !escaped => words.extend(word.take()),
            (Some(word), letter) => {
                word.push(letter);
                escaped = letter == '\\' && !escaped;
            }
        }
    }
    words
}

/// The keys of a command, and whether it writes them.
fn keys_of(command: &[String]) -> (bool, Vec<&String>) {
    let name = command[0].to_uppercase();
    let first = || vec![&command[1]];
    let behind = |word: &str| command.iter().skip_while(|found| *found != word).skip(1).take(1).collect();
    match name.as_str() {
        "DEL" | "UNLINK" => (true, command[1..].iter().collect()),
        "MSET" => (true, command[1..].iter().step_by(2).collect()),
        "XREADGROUP" => (true, behind("STREAMS")),
        "XGROUP" => (true, vec![&command[2]]),
        "XINFO" => (false, vec![&command[2]]),
        "SET" | "SETRANGE" | "APPEND" | "HSET" | "HDEL" | "HINCRBY" | "ZADD" | "ZREM" | "XADD" | "XDEL" | "XACK"
        | "RPUSH" => (true, first()),
        "EXISTS" => (false, command[1..].iter().collect()),
        "GET" | "GETRANGE" | "HEXISTS" | "HGET" | "HGETALL" | "HMGET" | "TYPE" | "XRANGE" | "XREVRANGE" | "ZCARD"
        | "ZRANGEBYSCORE" | "ZREVRANGEBYSCORE" | "ZSCORE" => (false, first()),
        other => panic!("{other}: does it write?"),
    }
}

/// R17: whatever is done, no script writes what it was not told of and has not looked at.
#[tokio::test]
async fn scripts_write_what_they_were_told_of_or_have_read() {
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    let store = RedisStore::open(Options::new(node.address()));
    store.begin().await.expect("it keeps what it is given");
    let monitor = Monitor::of(&node);
    everything(&mut fixture).await;
    store.mend().await.expect("mends");
    fixture.check_sums().await;
    let (mut known, mut scripts, mut writes) = (BTreeSet::new(), BTreeSet::new(), 0);
    let (mut script, mut wrong) = (String::new(), BTreeSet::new());
    let heard = monitor.heard(&node);
    for (is_of_script, command) in &heard {
        if !is_of_script {
            known.clear();
            if command[0] == "EVALSHA" {
                script.clone_from(&command[1]);
                scripts.insert(&command[1]);
                let count: usize = command[2].parse().expect("a number");
                known.extend(&command[3..3 + count]);
            }
            continue;
        }
        let (is_write, keys) = keys_of(command);
        writes += usize::from(is_write);
        for key in keys {
            if is_write && !known.contains(key) {
                wrong.insert(format!("{script}: {} {key}", command[0]));
            }
            known.insert(key);
        }
    }
    assert!(scripts.len() >= 12 && writes > 100, "{} scripts, {writes} writes", scripts.len());
    assert_eq!(wrong, BTreeSet::new());
}

/// Each operation, with all that it can write.
async fn everything(fixture: &mut Fixture<Shared>) {
    let dedupe = Some(Dedupe { key: [7; 32], until: at(900) });
    for _ in 0..2 {
        let event = fixture.event("in", b"{}", at(4));
        let append = Append { dedupe: dedupe.clone(), ..fixture.appending(event, &["crm", "erp"]) };
        fixture.append(append).await.expect("it is answered");
    }
    let event = fixture.event("in", b"{}", at(0));
    let lone = fixture.appending(event, &[]);
    assert!(fixture.append(lone).await.is_ok_and(|appended| appended.is_stored()));
    let held = fixture.lease("crm", at(5)).await.deliveries;
    let extend = Extend { id: held[0].id, claim: held[0].claim(), until: at(200) };
    fixture.store().extend(vec![extend]).await.expect("extends");
    let held = fixture.find(held[0].id).await.expect("it is there");
    let back = fixture.apply(hand_back(&held, held.claim(), at(6)).expect("it is held")).await;
    let tried = fixture.apply(tried(&back, State::Scheduled)).await;
    let dead = fixture.apply(self::tried(&tried, State::Dead)).await;
    let line =
        AuditEntry { at: at(9), who: "cli".into(), action: "x".into(), subject: String::new(), origin: String::new() };
    let id = fixture.mint.delivery(at(8)).beside(dead.event);
    let made = Delivery {
        id,
        replay: true,
        state: State::Ready,
        reason: None,
        last: None,
        tries: 0,
        due_at: at(8),
        ..dead.clone()
    };
    let replay = Replay::anyway(vec![made.clone()]);
    fixture.store().replay(replay, vec![line.clone()]).await.expect("replays");
    let done = fixture.ended("crm", State::Delivered, at(1)).await;
    let other = fixture.ended("crm", State::Dead, at(1)).await;
    let made = Delivery { id: fixture.mint.delivery(at(9)).beside(dead.event), ..made };
    let step = Step {
        job: fixture.job(at(9)),
        before: 0,
        cursor: None,
        matched: 3,
        fingerprint: 7,
        next_due: None,
        is_over: true,
        settle: vec![redrive(&dead, at(9), at(900).since(at(9)))],
        retire: Ended::of(&other).into_iter().collect(),
        make: vec![made],
        erase: Vec::new(),
        audit: Some(line.clone()),
    };
    fixture.store().step(step).await.expect("steps");
    fixture.store().audit(vec![line]).await.expect("writes");
    let waits = fixture.lease("crm", at(10)).await.deliveries;
    fixture.store().settle(waits.iter().map(|held| cancel(held, at(11))).collect()).await.expect("settles");
    let ended = Ended::of(&done).into_iter().collect();
    let forget = Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(500),
        jobs_before: at(500),
        audit_before: at(500),
    };
    fixture.store().retire(Retire { ended, more: false, forget }).await.expect("retires");
    let rules = Rules { partitions: Partitions::ALL, now: at(1_000), delivered_before: at(900), dead_before: at(900) };
    fixture.retain(rules, 10).await;
}

fn tried(before: &Delivery, state: State) -> Change {
    let last = relay_core::delivery::Attempt {
        number: before.next_attempt(),
        at: at(1),
        duration_ms: 1,
        status: None,
        class: relay_core::delivery::outcome::Class::Busy,
        counted: true,
        error: None,
        answer: None,
    };
    let reason = (state == State::Dead).then_some(relay_core::delivery::Reason::Rejected);
    let next = Delivery {
        state,
        reason,
        lease: None,
        version: before.version + 1,
        tries: before.tries + 1,
        attempts: before.attempts + 1,
        due_at: at(7),
        changed_at: at(7),
        last: Some(last),
        ..before.clone()
    };
    Change { before: before.clone(), next, archive: before.last.clone() }
}
