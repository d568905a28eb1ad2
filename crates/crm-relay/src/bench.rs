//! `crm-relay bench`: what this machine does as a relay, measured with the program's own server and client.
//!
//! All of it is on the loopback address and in one directory, and ends by itself: each part has its time and the bytes that it may
//! write, all together have theirs, and what was started and made is gone afterwards, also when it is interrupted.

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
    time::Duration,
};

use tokio::time::Instant;

use self::{
    measured::{Machine, Measured, next_step},
    process::ServerProcess,
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
const BESIDE: Duration = Duration::from_secs(30);
/// The first tenth of a part does not count: connections are made, and a store is empty.
const WARM_UP: u32 = 10;
/// Bytes that a part may store.
const PART_BYTES_MAX: u64 = 512 << 20;
/// What is stored of a webhook beside its body.
const HEAD_BYTES: u64 = 1024;
/// How many of a destination's deliveries a client holds at once: more than by default, so that it is not what is measured.
const CONCURRENCY: u32 = 64;
/// Webhooks a second of which it is measured how long they are on their way: no more than this, and a part of what comes through.
const PACE_MAX: f64 = 1_000.0;
/// Which part.
const PACE_SHARE: f64 = 0.25;
/// How long the first webhook may be on its way, and the last ones.
const ARRIVAL_WITHIN: Duration = Duration::from_secs(10);

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
        let stop = signals::listen()?;
        let scratch = Scratch::make(&asked.dir)?;
        let longest = asked.span * PARTS + BESIDE;
        say(&style::dim(begun(asked, &scratch, longest)));
        let too_long = || Failure::no(format!("given up after {}: the machine is too busy", human_duration(longest)));
        // Whichever comes first, what was started has ended behind this.
        let measured = tokio::select! {
            measured = tokio::time::timeout(longest, measure(asked, &scratch)) => measured.map_err(|_| too_long())??,
            () = stop.asked() => return Err(Failure::no("interrupted; nothing is left of it")),
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

fn begun(asked: &Asked, scratch: &Scratch, longest: Duration) -> String {
    let at = scratch.file_system.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
    let some = human_duration(asked.span * PARTS);
    format!("measures for some {some}, {} at most, in {}{at}", human_duration(longest), asked.dir.display())
}

async fn measure(asked: &Asked, scratch: &Scratch) -> Result<Measured, Failure> {
    let machine = Machine::here(scratch.file_system.as_deref(), scratch.is_memory());
    let fsync = fsyncs(&scratch.dir().join("fsync"), asked.span).await?;
    let Accepted { rows, written, stored } = accepted(asked, &scratch.dir().join("accepts")).await?;
    let (delivered, arrival) = delivered(asked, &scratch.dir().join("delivers")).await?;
    let (senders, bytes) = (asked.senders, asked.bytes);
    // What goes to memory the kernel does not count.
    let written = written.filter(|_| !machine.is_memory);
    Ok(Measured { machine, senders, bytes, fsync, accepted: rows, delivered, arrival, written, stored })
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

/// What a server took in.
struct Accepted {
    rows: Vec<(usize, Waits, Option<f64>)>,
    /// Bytes for each: given to the disk, and stored.
    written: Option<f64>,
    stored: f64,
}

/// By one sender, then by several; nobody fetches what is accepted.
async fn accepted(asked: &Asked, dir: &Path) -> Result<Accepted, Failure> {
    let server = ServerProcess::start(dir).await?;
    let webhooks = Webhooks::new(server.public, server.api_key.expose(), asked.bytes)?;
    let (mut rows, mut count, mut written) = (Vec::new(), 0, None);
    for senders in if asked.senders == 1 { vec![1] } else { vec![1, asked.senders] } {
        let (before, used) = (server.written(), Used::by(vec![std::process::id(), server.pid()]));
        let (start, turns) = free(asked, Rhythm::Free);
        let exchanges = send(&webhooks, senders, &turns).await?;
        let busy = used.since();
        let bytes = server.written().zip(before).map(|(after, before)| (after - before) as f64);
        written = bytes.map(|bytes| bytes / exchanges.len().max(1) as f64);
        count += exchanges.len();
        rows.push((senders, counted(&exchanges, start, asked.span)?, busy));
    }
    let stored = server.stop().await as f64 / count.max(1) as f64;
    Ok(Accepted { rows, written, stored })
}

/// Turns for as long as a part lasts, beginning now.
fn free(asked: &Asked, rhythm: Rhythm) -> (Instant, Arc<Turns>) {
    let start = Instant::now();
    let most = PART_BYTES_MAX / (asked.bytes as u64 + HEAD_BYTES);
    (start, Turns::new(rhythm, most, start + asked.span))
}

/// What was answered once it was warm, or at all if all was sent before.
fn counted(exchanges: &[Exchange], start: Instant, span: Duration) -> Result<Waits, Failure> {
    let counted = waits(exchanges, start + span / WARM_UP).or_else(|| waits(exchanges, start));
    counted.ok_or_else(|| Failure::no("the server answered nothing in time: the machine is too busy"))
}

/// Through a client to a target that takes everything: as many as come through, then some of them evenly.
async fn delivered(asked: &Asked, dir: &Path) -> Result<((f64, Option<f64>), Waits), Failure> {
    let target = Sink::start().await?;
    let server = ServerProcess::start(dir).await?;
    let client = server.client(target.address, CONCURRENCY)?;
    let webhooks = Webhooks::new(server.public, server.api_key.expose(), asked.bytes)?;
    let first = Turns::new(Rhythm::Free, 1, Instant::now() + ARRIVAL_WITHIN);
    send(&webhooks, 1, &first).await?;
    if !target.wait_for(1, ARRIVAL_WITHIN).await {
        return Err(Failure::unreachable(
            "the client did not fetch the first webhook in time: the machine is too busy",
        ));
    }
    target.arrivals();

    let used = Used::by(vec![std::process::id(), server.pid(), client.pid()]);
    let (start, turns) = free(asked, Rhythm::WithTarget(target.seen()));
    let sent = send(&webhooks, asked.senders, &turns).await?;
    let busy = used.since();
    // What is under way at the end was not delivered in time, and must not be in the way of what follows.
    let rate = arrived_per_second(&target.arrivals(), start + asked.span / WARM_UP);
    target.wait_for(1 + sent.len() as u64, ARRIVAL_WITHIN).await;
    target.arrivals();
    let rate = rate.ok_or_else(|| Failure::no("nothing arrived in time: the machine is too busy"))?;

    let pace = (rate * PACE_SHARE).clamp(1.0, PACE_MAX);
    let start = Instant::now();
    let even = Rhythm::Even(start, Duration::from_secs_f64(1.0 / pace));
    let before = target.seen().count();
    let turns = Turns::new(even, u64::MAX - 1, start + asked.span);
    let sent = send(&webhooks, asked.senders, &turns).await?;
    target.wait_for(before + sent.len() as u64, ARRIVAL_WITHIN).await;
    let arrival = on_their_way(&sent, &target.arrivals(), start + asked.span / WARM_UP);
    drop(client);
    server.stop().await;
    Ok(((rate, busy), arrival.ok_or_else(|| Failure::no("nothing arrived in time: the machine is too busy"))?))
}

/// Of those that arrived behind `from`.
fn arrived_per_second(arrivals: &[(u64, Instant)], from: Instant) -> Option<f64> {
    let counted = arrivals.iter().filter(|(_, at)| *at >= from).count();
    let last = arrivals.iter().map(|(_, at)| *at).max()?;
    let span = last.checked_duration_since(from)?.as_secs_f64();
    (span > 0.0).then(|| counted as f64 / span)
}

/// How long those were on their way that were sent behind `from`; the second arrival of one does not count.
fn on_their_way(sent: &[Exchange], arrivals: &[(u64, Instant)], from: Instant) -> Option<Waits> {
    let mut first: BTreeMap<u64, Instant> = BTreeMap::new();
    for (number, at) in arrivals {
        first.entry(*number).or_insert(*at);
    }
    let counted = sent.iter().filter(|exchange| exchange.sent >= from);
    let spans = counted.filter_map(|exchange| first.get(&exchange.number)?.checked_duration_since(exchange.sent));
    let last = sent.iter().map(|exchange| exchange.sent).max()?;
    Waits::of(spans.collect(), last.checked_duration_since(from)?)
}
