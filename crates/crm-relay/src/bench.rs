//! `crm-relay bench`: what this machine does as a relay, measured with the program's own server and client.
//!
//! All of it is on the loopback address and in one directory, and ends by itself: each part has its time, each store the bytes that it
//! may hold, all together have their time, and what was started and made is gone afterwards, also when it is interrupted.

mod fsync;
mod measured;
mod process;
mod processor;
mod scratch;
mod sender;
mod sink;
mod waits;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

use self::{
    measured::{AcceptedRow, ArrivalRow, DeliveredRow, Machine, Measured, next_step},
    process::{ServerProcess, watched, written},
    processor::Used,
    scratch::Scratch,
    sender::{Exchange, Rhythm, Turns, Webhooks, send, waits},
    sink::Sink,
    waits::Waits,
};
use crate::{
    exit::{Exit, Failure, Outcome, reason},
    output::{pretty, print, say},
    render::{human_duration, style},
    runtime::block_on,
    signals,
};

/// Parts that have their seconds each: the disk, one sender, several, the client, the way.
const PARTS: u32 = 5;
/// What starts, stops and removals may take beside them.
const BESIDE: Duration = Duration::from_secs(60);
/// What removals may take behind a signal; another one ends the process by then.
const CLEAN_UP_WITHIN: Duration = Duration::from_secs(20);
/// The first tenth of a part does not count: connections are made, and a store is empty.
const WARM_UP: u32 = 10;
/// Bytes that are stored at once: by all parts of a server, whose store is removed before the next one's is made.
const STORE_BYTES_MAX: u64 = 512 << 20;
/// Parts that share a store.
const PARTS_OF_A_STORE: u64 = 2;
/// What is stored of a webhook beside its body.
const HEAD_BYTES: u64 = 1024;
/// How many of a destination's deliveries a client holds at once: more than by default, so that it is not what is measured.
const CONCURRENCY: u32 = 64;
/// Webhooks a second of which it is measured how long they are on their way: no more than this, and a part of what comes through.
const PACE_MAX: f64 = 1_000.0;
/// Which part.
const PACE_SHARE: f64 = 0.25;
/// How many at least in a part, also where next to nothing comes through.
const PACE_TURNS_MIN: f64 = 10.0;
/// How long the first webhook may be on its way, and the last ones.
const ARRIVAL_WITHIN: Duration = Duration::from_secs(20);

/// What its own process is called, with the target in it, and the server's.
const SENDERS: &str = "the senders and the target";
const SERVER: &str = "the server";

/// What is to be measured, and where.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Of each part.
    pub(crate) span: Duration,
    /// How many send at the same time.
    pub(crate) senders: usize,
    /// Of a body.
    pub(crate) bytes: usize,
    /// Below which directory.
    pub(crate) dir: PathBuf,
    pub(crate) json: bool,
}

/// Measures and tells.
///
/// # Errors
/// There is no room, the relay does not start or does not take what it is sent, it takes too long, or it was interrupted.
pub(crate) fn run(asked: &Asked) -> Outcome {
    block_on(async {
        let (stop, mut quit) = (signals::listen_with(let_it_clean_up)?, signals::quits()?);
        let scratch = Scratch::make(&asked.dir)?;
        let longest = asked.span * PARTS + BESIDE;
        say(&style::dim(begun(asked, &scratch, longest)));
        let too_long = || Failure::no(format!("given up after {}: the machine is too busy", human_duration(longest)));
        // Whichever comes first, what was started has ended behind this.
        let interrupted = || Err(Failure::no("interrupted; nothing is left of it"));
        let measured = tokio::select! {
            measured = tokio::time::timeout(longest, measure(asked, &scratch)) => measured.map_err(|_| too_long())??,
            () = stop.asked() => return interrupted(),
            _ = quit.recv() => return interrupted(),
        };
        drop(scratch);
        if asked.json {
            print(&pretty(&measured.json()))?;
            return Ok(Exit::Done);
        }
        print(&measured.words())?;
        measured.doubts().iter().for_each(|doubt| say(&style::warn(format!("! {doubt}"))));
        say(&next_step());
        Ok(Exit::Done)
    })
}

/// At a second signal: the process ends by itself once what it made is removed.
fn let_it_clean_up() {
    thread::sleep(CLEAN_UP_WITHIN);
}

fn begun(asked: &Asked, scratch: &Scratch, longest: Duration) -> String {
    let at = scratch.file_system.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
    let some = human_duration(asked.span * PARTS);
    format!("measures for some {some}, {} at most, in {}{at}", human_duration(longest), asked.dir.display())
}

async fn measure(asked: &Asked, scratch: &Scratch) -> Result<Measured, Failure> {
    let machine = Machine::here(scratch.file_system.as_deref(), scratch.is_memory());
    let fsync = fsyncs(&scratch.dir().join("fsync"), asked.span).await?;
    let (accepted, stored) = accepted(asked, &scratch.dir().join("accepts")).await?;
    let (delivered, arrival) = delivered(asked, &scratch.dir().join("delivers")).await?;
    let (senders, bytes) = (asked.senders, asked.bytes);
    Ok(Measured { machine, senders, bytes, fsync, accepted, delivered, arrival, stored })
}

/// Stops whoever measures the disk in a thread of its own, when nobody waits for that any more.
struct Stopping(Arc<AtomicBool>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn fsyncs(path: &Path, span: Duration) -> Result<Waits, Failure> {
    let stopping = Stopping(Arc::default());
    let (file, stop) = (path.to_owned(), Arc::clone(&stopping.0));
    let measuring = tokio::task::spawn_blocking(move || fsync::measure(&file, span, &stop));
    let failed = |why: String| Failure::new(Exit::StoreFailed, format!("cannot measure the disk: {why}"));
    let measured =
        measuring.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(reason(&error)))?;
    measured.ok_or_else(|| failed("not one fsync ended in time".to_owned()))
}

/// By one sender, then by several, and the bytes that are stored of each; nobody fetches what is accepted.
async fn accepted(asked: &Asked, dir: &Path) -> Result<(Vec<AcceptedRow>, f64), Failure> {
    let mut server = ServerProcess::start(dir).await?;
    let webhooks = Webhooks::new(server.public, server.api_key.expose(), asked.bytes)?;
    let (mut rows, mut count) = (Vec::new(), 0);
    for senders in if asked.senders == 1 { vec![1] } else { vec![1, asked.senders] } {
        let pid = server.pid();
        let (before, used, start) =
            (written(pid), Used::by(vec![(std::process::id(), SENDERS), (pid, SERVER)]), Instant::now());
        let turns = turns(asked, Rhythm::Free, 1 + count as u64, start);
        let exchanges = watched(send(&webhooks, senders, &turns), &mut [server.process()]).await?;
        let (busy, written) = (used.since(), for_each(before, written(pid), exchanges.len()));
        count += exchanges.len();
        rows.push(AcceptedRow { senders, waits: counted(&exchanges, start, asked.span)?, busy, written });
    }
    Ok((rows, server.stop().await as f64 / count.max(1) as f64))
}

/// Turns of a part that begins then: for as long as it lasts, and no more than its share of what a store may hold.
fn turns(asked: &Asked, rhythm: Rhythm, first: u64, start: Instant) -> Arc<Turns> {
    Turns::new(rhythm, first, turns_max(asked.bytes), start + asked.span)
}

fn turns_max(bytes: usize) -> u64 {
    // The first one through a client is of no part.
    (STORE_BYTES_MAX / (bytes as u64 + HEAD_BYTES) - 1) / PARTS_OF_A_STORE
}

/// Bytes that were given to the disk for each of so many; `None` where the kernel does not say, or does not count what goes to memory.
fn for_each(before: Option<u64>, after: Option<u64>, count: usize) -> Option<f64> {
    let bytes = after?.checked_sub(before?).filter(|bytes| *bytes > 0)?;
    Some(bytes as f64 / count.max(1) as f64)
}

/// What was answered once it was warm, or at all if all was sent before.
fn counted(exchanges: &[Exchange], start: Instant, span: Duration) -> Result<Waits, Failure> {
    let counted = waits(exchanges, start + span / WARM_UP).or_else(|| waits(exchanges, start));
    counted.ok_or_else(|| Failure::no("the server answered nothing in time: the machine is too busy"))
}

/// Through a client to a target that takes everything: as many as come through, then some of them evenly.
async fn delivered(asked: &Asked, dir: &Path) -> Result<(DeliveredRow, ArrivalRow), Failure> {
    let target = Sink::start().await?;
    let mut server = ServerProcess::start(dir).await?;
    let mut client = server.client(target.address, CONCURRENCY)?;
    let webhooks = Webhooks::new(server.public, server.api_key.expose(), asked.bytes)?;
    let way = Way { asked, webhooks, target, server: server.pid(), client: client.pid() };
    let parts = async {
        way.first().await?;
        let delivered = way.as_many_as_come_through().await?;
        let arrival = way.evenly(delivered.per_second).await?;
        Ok((delivered, arrival))
    };
    let found = watched(parts, &mut [server.process(), &mut client]).await?;
    drop(client);
    server.stop().await;
    Ok(found)
}

/// From the senders to the target.
struct Way<'a> {
    asked: &'a Asked,
    webhooks: Webhooks,
    target: Sink,
    /// Their processes.
    server: u32,
    client: u32,
}

impl Way<'_> {
    /// The one by which it is known that the client is there.
    async fn first(&self) -> Result<(), Failure> {
        send(&self.webhooks, 1, &Turns::new(Rhythm::Free, 1, 1, Instant::now() + ARRIVAL_WITHIN)).await?;
        if !self.target.wait_for(1, ARRIVAL_WITHIN).await {
            return Err(Failure::unreachable(
                "the client did not fetch the first webhook in time: the machine is too busy",
            ));
        }
        Ok(())
    }

    async fn as_many_as_come_through(&self) -> Result<DeliveredRow, Failure> {
        let before = written(self.server);
        let used = Used::by(vec![(std::process::id(), SENDERS), (self.server, SERVER), (self.client, "the client")]);
        let start = Instant::now();
        let turns = turns(self.asked, Rhythm::WithTarget(self.target.seen()), 2, start);
        let sent = send(&self.webhooks, self.asked.senders, &turns).await?;
        let (busy, end) = (used.since(), Instant::now());
        // What is under way at the end was not delivered in time, and must not be in the way of what follows.
        self.target.wait_for(1 + sent.len() as u64, ARRIVAL_WITHIN).await;
        let arrivals = self.target.arrivals();
        let warm = start + self.asked.span / WARM_UP;
        let rate =
            arrived_per_second(&arrivals, warm, end).or_else(|| arrived_per_second(&arrivals, start, Instant::now()));
        let written = for_each(before, written(self.server), sent.len());
        Ok(DeliveredRow {
            per_second: rate.ok_or_else(nothing_arrived)?,
            busy,
            written,
            missing: missing(&sent, &arrivals),
        })
    }

    /// At a share of that.
    async fn evenly(&self, per_second: f64) -> Result<ArrivalRow, Failure> {
        let pace_min = PACE_TURNS_MIN / self.asked.span.as_secs_f64();
        let pace = (per_second * PACE_SHARE).max(pace_min).min(PACE_MAX);
        let (before, seen, start) = (written(self.server), self.target.seen().count(), Instant::now());
        let rhythm = Rhythm::Even(start, Duration::from_secs_f64(1.0 / pace));
        // Behind all that may still come of the part before: a number is one webhook.
        let turns = turns(self.asked, rhythm, 2 + turns_max(self.asked.bytes), start);
        let sent = send(&self.webhooks, self.asked.senders, &turns).await?;
        self.target.wait_for(seen + sent.len() as u64, ARRIVAL_WITHIN).await;
        let (arrivals, warm, now) = (self.target.arrivals(), start + self.asked.span / WARM_UP, Instant::now());
        let waits = on_their_way(&sent, &arrivals, warm, now).or_else(|| on_their_way(&sent, &arrivals, start, now));
        let written = for_each(before, written(self.server), sent.len());
        let missing = missing(&sent, &arrivals);
        if missing == sent.len() {
            return Err(nothing_arrived());
        }
        Ok(ArrivalRow { waits: waits.ok_or_else(nothing_arrived)?, written, missing })
    }
}

fn nothing_arrived() -> Failure {
    Failure::no("nothing arrived in time: the machine is too busy")
}

/// Of those that arrived between these moments.
fn arrived_per_second(arrivals: &BTreeMap<u64, Instant>, from: Instant, to: Instant) -> Option<f64> {
    let counted = arrivals.values().filter(|at| (from..=to).contains(*at)).count();
    let span = to.checked_duration_since(from)?.as_secs_f64();
    (counted > 0 && span > 0.0).then(|| counted as f64 / span)
}

/// How long those were on their way that were sent behind `from`; what has not arrived by `now` is on its way, and for as long as that.
fn on_their_way(sent: &[Exchange], arrivals: &BTreeMap<u64, Instant>, from: Instant, now: Instant) -> Option<Waits> {
    let counted = sent.iter().filter(|exchange| exchange.sent >= from);
    let spans =
        counted.map(|exchange| arrivals.get(&exchange.number).unwrap_or(&now).saturating_duration_since(exchange.sent));
    let last = sent.iter().map(|exchange| exchange.sent).max()?;
    Waits::of(spans.collect(), last.checked_duration_since(from)?)
}

/// How many of those that were sent have not arrived.
fn missing(sent: &[Exchange], arrivals: &BTreeMap<u64, Instant>) -> usize {
    sent.iter().filter(|exchange| !arrivals.contains_key(&exchange.number)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest and the smallest body that are allowed, however long a part lasts and at whichever pace.
    #[test]
    fn all_parts_of_a_store_are_less_than_what_has_to_be_free() {
        for bytes in [64, 1024, 256 << 10] {
            let stored = (turns_max(bytes) * PARTS_OF_A_STORE + 1) * (bytes as u64 + HEAD_BYTES);
            assert!(stored <= STORE_BYTES_MAX, "{stored} bytes with bodies of {bytes}");
            assert!(turns_max(bytes) > 500, "too few to measure with bodies of {bytes}");
        }
        let reserve = 256 << 20;
        // A log may be as large as its store.
        assert!(2 * STORE_BYTES_MAX + reserve < scratch::FREE_BYTES_MIN);
    }

    /// The slowest are what a tail is about: those that never came are in it.
    #[test]
    fn what_did_not_arrive_is_among_the_slowest() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let sent: Vec<_> = (1..=100).map(|number| Exchange::at(number, at(number))).collect();
        let arrivals: BTreeMap<u64, Instant> = (1..=90).map(|number| (number, at(number + 5))).collect();
        let waits = on_their_way(&sent, &arrivals, start, at(20_000)).unwrap();
        assert_eq!((missing(&sent, &arrivals), waits.p50), (10, Duration::from_millis(5)));
        assert!(waits.p99 >= Duration::from_millis(19_900), "{waits:?}");
    }

    /// A client that stands still in the second half has half the rate.
    #[test]
    fn a_rate_is_that_of_the_whole_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let arrivals: BTreeMap<u64, Instant> = (1..=100).map(|number| (number, at(number * 10))).collect();
        assert_eq!(arrived_per_second(&arrivals, start, at(2_000)), Some(50.0));
        assert_eq!(arrived_per_second(&arrivals, at(1_500), at(2_000)), None);
    }

    #[test]
    fn bytes_that_are_not_counted_are_none() {
        assert_eq!(for_each(Some(1_000), Some(5_000), 4), Some(1_000.0));
        assert_eq!(for_each(Some(1_000), Some(1_000), 4), None, "in memory");
        assert_eq!(for_each(None, Some(1_000), 4), None);
        assert_eq!(for_each(Some(2), Some(1), 4), None);
    }
}
