//! `kill -9` of server and clients under load, again and again: nothing acknowledged is lost.
//!
//! `KILLS=n` (by `make torture KILLS=n`) sets the number of rounds; without it, 40 on the embedded store.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    bound,
    history::History,
    process::{Process, Server, client, wait_for},
    sender::{Sender, sha256},
    store,
    target::{Arrival, Reply, Target},
};

const SENDERS: usize = 8;
const SLOTS: u64 = 8;
const CLIENTS: usize = 2;

/// I1, I2, I3, I5, I6, I9, I19 under F1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_under_kill_9() {
    let kills: u64 = std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(store::KILLS);
    let seed: u64 = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(4711);
    bound::within(Duration::from_secs(30 * kills));
    println!("torture: {kills} kills, seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(occasional_failure).await;
    let mut server =
        Server::start(dir.path(), &[("MESSAGE_TTL", "1h"), ("MAX_RETRIES", "8"), ("RETRY_DELAY", "200ms")]);
    let public = server.public;
    let start = |round: u64, which: usize| {
        client(dir.path(), &format!("client-{which}-{round}"), public, &[("default", target.url("/hook"))], &[])
    };
    let mut clients: Vec<Process> = (0..CLIENTS).map(|which| start(0, which)).collect();
    let load = Load::start(&server.url("/webhook"));

    for round in 1..=kills {
        let seen = target.count();
        let enough = seen + rng.random_range(1..60);
        wait_for("the load to flow", || (target.count() >= enough).then_some(()));
        let whom = rng.random_range(0..10);
        if whom < 5 {
            server.process.kill();
        }
        if whom >= 4 {
            let which = rng.random_range(0..CLIENTS);
            clients[which].kill();
            clients[which] = start(round, which);
        }
        if whom < 5 {
            server.restart();
            if whom == 0 {
                // Killed again while it recovers.
                server.process.kill();
                server.restart();
            }
        }
    }

    let history = load.stop().await;
    wait_for("every acknowledged event to arrive", || (history.missing(&target.delivered()) == 0).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
    let findings = history.check(&target.arrivals());
    println!(
        "torture: {kills} kills, {} acknowledged, {} delivered, 0 lost, {} duplicates, {} of unknown outcome",
        findings.acknowledged, findings.delivered, findings.duplicates, history.unknown
    );
    let in_flight = kills * 2 * SLOTS * CLIENTS as u64;
    assert!(
        findings.duplicates <= in_flight,
        "I9: {} duplicates, at most {in_flight} leases were in flight",
        findings.duplicates
    );
}

/// Fails one in sixteen first tries, so that kills also meet scheduled retries.
fn occasional_failure(arrival: &Arrival) -> Reply {
    let first = arrival.header("relay-attempt") == "1";
    let unlucky = arrival.body.len().is_multiple_of(16);
    Reply::status(if first && unlucky { 500 } else { 200 })
}

/// A steady load of unique bodies from several senders.
pub(crate) struct Load {
    stopping: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<()>>,
    history: Arc<Mutex<History>>,
    /// How long each answer took, since somebody asked.
    answers: Arc<Mutex<Vec<Duration>>>,
}

/// When a sender sends again.
#[derive(Clone, Copy)]
enum Pace {
    /// So long after each answer.
    After(Duration),
    /// Each time that so much has passed.
    Every(Duration),
}

impl Load {
    /// Starts posting to `url`, about 400 a second.
    pub(crate) fn start(url: &str) -> Self {
        Self::at(url, 400)
    }

    /// The same, at most so many a second.
    pub(crate) fn at(url: &str, rate: u32) -> Self {
        Self::paced(url, Pace::After(Duration::from_secs(1) * SENDERS as u32 / rate))
    }

    /// The same, so many a second however long the answers take, if no more than a sender's turn.
    pub(crate) fn steady(url: &str, rate: u32) -> Self {
        Self::paced(url, Pace::Every(Duration::from_secs(1) * SENDERS as u32 / rate))
    }

    fn paced(url: &str, pace: Pace) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let history = Arc::new(Mutex::new(History::default()));
        let answers = Arc::new(Mutex::new(Vec::new()));
        let senders = (0..SENDERS)
            .map(|number| {
                let (stopping, history, answers) = (Arc::clone(&stopping), Arc::clone(&history), Arc::clone(&answers));
                tokio::spawn(send_until(url.to_owned(), number, pace, stopping, history, answers))
            })
            .collect();
        Self { stopping, senders, history, answers }
    }

    /// Stops, and gives what was told.
    pub(crate) async fn stop(self) -> History {
        self.stopping.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.await.unwrap();
        }
        std::mem::take(&mut *self.history.lock().unwrap())
    }

    /// How long each answer took since this was asked last.
    pub(crate) fn answers(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.answers.lock().unwrap())
    }

    /// How many were acknowledged so far, and how many were refused or not answered.
    pub(crate) fn so_far(&self) -> (usize, u64) {
        let history = self.history.lock().unwrap();
        (history.acknowledged.len(), history.unknown)
    }
}

async fn send_until(
    url: String,
    number: usize,
    pace: Pace,
    stopping: Arc<AtomicBool>,
    history: Arc<Mutex<History>>,
    answers: Arc<Mutex<Vec<Duration>>>,
) {
    let sender = Sender::new();
    let mut rng = StdRng::seed_from_u64(number as u64);
    let mut count = 0_u64;
    let (Pace::After(pause) | Pace::Every(pause)) = pace;
    let mut turns = tokio::time::interval(pause);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stopping.load(Ordering::Relaxed) {
        count += 1;
        let filler = "x".repeat(rng.random_range(0..2000));
        let body = format!(r#"{{"sender":{number},"count":{count},"filler":"{filler}"}}"#);
        let sent = Instant::now();
        let told = sender.post(&url, body.clone()).await;
        answers.lock().unwrap().push(sent.elapsed());
        {
            let mut history = history.lock().unwrap();
            match told {
                Some(told) if told.status == 202 => {
                    history.acknowledged.insert(told.event(), sha256(body.as_bytes()));
                }
                Some(told) if told.status != 503 => panic!("unexpected answer {told:?}"),
                Some(_) | None => history.unknown += 1,
            }
        }
        // The pace of the load; nothing rests on it.
        match pace {
            Pace::After(pause) => tokio::time::sleep(pause).await,
            Pace::Every(_) => drop(turns.tick().await),
        }
    }
}
