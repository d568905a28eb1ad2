//! Operations that are asked for again: each of their answers is lost in turn, or no replica has what they wrote. What is not known is
//! never told as done, and the same call again makes it whole, once.

use std::time::Duration;

use relay_core::{
    delivery::{Attempt, State, cancel, outcome::Class},
    id::{IdMint, JobId},
    partitions::Partitions,
    storage::{About, Ended, Extend, Forget, Presence, Retire, Step, StoreError},
    time::Wall,
};
use relay_store::{
    cipher::Ciphers,
    conformance::{Backend as _, Fixture, at},
    redis::Options,
    seam::{AuditEntry, AuditFilter, DocumentKey, DocumentKind, Durability, Page},
};

use crate::{
    backend::Shared,
    node::{Node, Server},
    proxy::Proxy,
    trouble::asking,
};

const KEYS: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n2 Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

/// More answers than any of these takes.
const ANSWERS_MAX: u64 = 40;

/// Asks, again and again with another number: the answer of Redis behind so many others is lost. What is told as unknown, or away, is asked
/// for again, until it is done. Ends when there is no such answer any more; gives how many there were, and how often it was told.
async fn cut<T>(
    proxy: &Proxy,
    fixture: &Fixture<Shared>,
    call: impl AsyncFn(u64) -> Result<T, StoreError>,
) -> (u64, u32) {
    let mut told = 0;
    for number in 0..ANSWERS_MAX {
        // What connects anew loses nothing: it is away then, for nothing was sent.
        while fixture.store().find(Vec::new()).await.is_err() {}
        fixture.store().audit(Vec::new()).await.expect("it is connected");
        let lost = proxy.lost();
        proxy.lose_behind(number as i32);
        let mut said = call(number).await;
        proxy.lose_behind(-1);
        while let Err(StoreError::Unknown | StoreError::Away) = said {
            told += 1;
            said = call(number).await;
        }
        assert!(said.is_ok(), "broken off behind {number}: {:?}", said.err());
        if proxy.lost() == lost {
            return (number, told);
        }
    }
    panic!("it takes more than {ANSWERS_MAX} answers");
}

fn line(seconds: u64) -> AuditEntry {
    AuditEntry {
        at: at(seconds),
        who: "cli".into(),
        action: "test".into(),
        subject: seconds.to_string(),
        origin: String::new(),
    }
}

fn forget(until: Wall) -> Forget {
    Forget {
        partitions: Partitions::ALL,
        keys_until: until,
        unrouted_before: until,
        jobs_before: until,
        audit_before: until,
    }
}

fn step(job: u128) -> Step {
    Step {
        job: JobId::from_u128(job << 80),
        before: 0,
        cursor: None,
        matched: 1,
        fingerprint: 7,
        next_due: None,
        is_over: true,
        settle: Vec::new(),
        retire: Vec::new(),
        make: Vec::new(),
        erase: Vec::new(),
        audit: None,
    }
}

fn presence(seconds: u64) -> Presence {
    Presence {
        run: 1,
        at: at(seconds),
        server: About::default(),
        stopping: false,
        clock: None,
        clients: Vec::new(),
        circuits: Vec::new(),
    }
}

async fn lines(fixture: &Fixture<Shared>) -> Vec<AuditEntry> {
    let page = Page { cursor: None, limit: 100 };
    fixture.store().browse_audit(AuditFilter::default(), page).await.expect("reads").items
}

/// I2, I13: what is removed, forgotten, erased, written down, and moved in, wherever an answer is lost.
#[tokio::test]
async fn wherever_an_answer_is_lost_the_same_call_makes_it_whole() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket());
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(proxy.address())), IdMint::new(0, 7));
    let (mut dead, mut delivered, mut lone) = (Vec::new(), Vec::new(), Vec::new());
    for second in 0..ANSWERS_MAX {
        dead.push(fixture.ended("crm", State::Dead, at(second)).await);
        // Nothing brings it back: it can be erased.
        delivered.push(fixture.ended("crm", State::Delivered, at(second)).await);
        let event = fixture.event("in", b"{}", at(second));
        lone.push(event.id);
        let append = fixture.appending(event, &[]);
        assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    }
    let open = fixture.accept("crm", at(50)).await;
    let store = fixture.store();
    let mut broken = Vec::new();

    // Moved in.
    let earlier: Vec<Attempt> = (1..4).map(attempt).collect();
    let of = vec![(dead[0].id, earlier.clone())];
    broken.push(("put_attempts", cut(&proxy, &fixture, async |_| store.put_attempts(of.clone()).await).await));
    assert_eq!(store.attempts(dead[0].id).await.expect("reads")[..3], earlier);
    let totals = store.stats().await.expect("reads");
    broken.push(("put_totals", cut(&proxy, &fixture, async |_| store.put_totals(totals.clone()).await).await));

    // Erased.
    let erase = async |number: u64| {
        let of = delivered[number as usize].event;
        store.step(Step { erase: vec![of], audit: Some(line(number)), ..step(3 + u128::from(number)) }).await
    };
    let cuts = cut(&proxy, &fixture, erase).await;
    for erased in &delivered[..cuts.0 as usize] {
        let event = store.event(erased.event).await.expect("reads").expect("it is there");
        assert!(event.is_erased() && event.body.iter().all(|byte| *byte == 0), "{event:?}");
    }
    let mut told: Vec<AuditEntry> = (0..=cuts.0).rev().map(line).collect();
    let mut found = lines(&fixture).await;
    // Written before it is done, once more where it is asked for again.
    found.dedup();
    assert_eq!(found, told, "a line tells of each");
    broken.push(("erase", cuts));

    // Removed, and forgotten.
    let retire = async |number: u64| {
        let ended = Ended::of(&dead[number as usize]).into_iter().collect();
        store.retire(Retire { ended, more: false, forget: forget(at(0)) }).await
    };
    let cuts = cut(&proxy, &fixture, retire).await;
    for gone in &dead[..cuts.0 as usize] {
        assert_eq!(fixture.find(gone.id).await, None);
        assert_eq!(store.event(gone.event).await, Ok(None));
    }
    broken.push(("retire", cuts));
    let forgets = async |number: u64| {
        let forget = Forget { audit_before: at(0), ..forget(at(1 + number)) };
        store.retire(Retire { ended: Vec::new(), more: false, forget }).await
    };
    let cuts = cut(&proxy, &fixture, forgets).await;
    assert_eq!(store.event(lone[0]).await, Ok(None));
    assert!(store.event(lone[ANSWERS_MAX as usize - 1]).await.is_ok_and(|found| found.is_some()));
    broken.push(("forget", cuts));

    // Written down: once more with each call, as it is said.
    let cuts = cut(&proxy, &fixture, async |number| store.audit(vec![line(1_000 + number)]).await).await;
    for number in 0..cuts.0 {
        told.push(line(1_000 + number));
    }
    let found = lines(&fixture).await;
    assert!(told.iter().all(|line| found.contains(line)), "{found:?}");
    broken.push(("audit", cuts));

    for (what, (answers, told)) in broken {
        assert!(answers > 0 && told > 0, "{what}: {answers} answers, {told} told");
    }
    assert_eq!(fixture.find(open.id).await, Some(open));
    fixture.check_sums().await;
}

/// S32: a pass of sealing anew, wherever an answer is lost: nothing says anything else behind it, and all of it is sealed.
#[tokio::test]
async fn wherever_an_answer_is_lost_all_is_sealed_in_the_end() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket());
    let (mut number, mut told) = (0, 0);
    loop {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = Fixture::over(Shared::at_hand(Options::new(proxy.address())), IdMint::new(0, 7));
        fixture.ended("crm", State::Dead, at(0)).await;
        fixture.accept("crm", at(1)).await;
        let ciphers = Ciphers::read(KEYS).expect("they are keys");
        let options = Options { ciphers, ..Options::new(proxy.address()) };
        let fixture = Fixture::over(Shared::at_hand(options), fixture.mint);
        let before = fixture.snapshot().await;
        fixture.store().audit(Vec::new()).await.expect("it is connected");
        let lost = proxy.lost();
        proxy.lose_behind(number);
        let mut passes = [0, 0];
        for sealed in &mut passes {
            let mut from = None;
            loop {
                match fixture.store().rekey(from.clone()).await {
                    Ok(step) => {
                        (*sealed, from) = (*sealed + step.sealed, step.next);
                        if from.is_none() {
                            break;
                        }
                    }
                    Err(StoreError::Unknown | StoreError::Away) => told += 1,
                    Err(other) => panic!("broken off behind {number}: {other}"),
                }
            }
        }
        proxy.lose_behind(-1);
        assert_eq!(passes[1], 0, "broken off behind {number}: {passes:?}");
        assert_eq!(fixture.snapshot().await, before, "broken off behind {number}");
        if proxy.lost() == lost {
            break;
        }
        number += 1;
    }
    assert!(number > 2 && told > 0, "{number} answers, {told} told");
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        at: at(number.into()),
        duration_ms: 5,
        status: Some(503),
        class: Class::Busy,
        counted: true,
        error: Some("busy".into()),
        answer: None,
    }
}

/// I1, I2: what replicas were to have and have not is unknown, whatever was asked for; and once they have it, it is so.
#[tokio::test]
async fn what_no_replica_has_is_unknown_whatever_was_asked_for() {
    let (primary, replica) = Node::with_replica(Server::Installed);
    let patience = Duration::from_secs(20);
    let durability = Some(Durability::Replicated);
    let options = Options { durability, replicas_within: patience / 2, patience, ..Options::new(primary.address()) };
    let mut fixture = Fixture::over(Shared::on(options.clone()), IdMint::new(0, 7));
    let ended = fixture.ended("crm", State::Dead, at(0)).await;
    let waits = fixture.accept("crm", at(1)).await;
    let held = fixture.lease("crm", at(2)).await.deliveries.remove(0);
    assert_eq!(held.id, waits.id);
    fixture.accept("crm", at(3)).await;
    let other = fixture.accept("erp", at(3)).await;
    replica.pause();
    let hasty = Options { replicas_within: Duration::from_millis(20), ..options.clone() };
    // Each time on a connection that wrote nothing.
    let fresh = || Shared::on(hasty.clone()).store();
    let extend = Extend { id: held.id, claim: held.claim(), until: at(500) };
    let key = DocumentKey { kind: DocumentKind::Source, name: "in".to_owned() };
    let cancelled = Step { settle: vec![cancel(&other, at(4))], ..step(3) };
    let retire = Retire { ended: Ended::of(&ended).into_iter().collect(), more: false, forget: forget(at(0)) };
    let said = [
        ("lease", fresh().lease(asking("crm", at(5))).await.map(drop)),
        ("extend", fresh().extend(vec![extend]).await.map(drop)),
        ("step", fresh().step(cancelled.clone()).await.map(drop)),
        ("retire", fresh().retire(retire.clone()).await.map(drop)),
        ("document", fresh().put_document(key.clone(), 0, Some("{}".into()), Vec::new()).await.map(drop)),
        ("presence", fresh().presence(presence(6)).await.map(drop)),
        ("audit", fresh().audit(vec![line(7)]).await),
    ];
    for (what, said) in said {
        assert_eq!(said, Err(StoreError::Unknown), "{what}");
    }
    replica.resume();
    let fixture = Fixture::over(Shared::on(options), fixture.mint);
    let store = fixture.store();
    assert!(store.step(cancelled).await.is_ok());
    assert_eq!(fixture.find(other.id).await.map(|found| found.state), Some(State::Cancelled));
    assert!(store.retire(retire).await.is_ok());
    assert_eq!(fixture.find(ended.id).await, None);
    assert_eq!(store.document(key).await.expect("reads").map(|found| found.version), Some(1));
    assert_eq!(store.presence(presence(8)).await, Ok(Vec::new()));
    fixture.check_sums().await;
}
