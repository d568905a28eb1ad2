//! Scenarios: one destination whose target does what a script says, for minutes or hours of virtual time, and what must hold
//! of it in numbers. They run before the seeds; `SCENARIO=name` runs one of them alone.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rand::RngExt as _;
use relay_core::{
    delivery::{Delivery, Reason, State, retry::RetryPolicy},
    id::EventId,
    limits,
    name::Name,
    routing::{Route, Routing},
    storage::StoreError,
};
use relay_store::memory::Trouble;

use crate::{
    load::LARGE,
    oracle::Violation,
    plan::{ClientPlan, Faults, Plan},
    target::{Meeting, answer, nothing},
    trace::Trace,
    world::{World, micros},
};

/// What a webhook meets, by script.
pub(crate) type Script = Box<dyn FnMut(&Asked<'_>) -> Said + Send>;

/// A webhook at its target.
pub(crate) struct Asked<'a> {
    /// Since the start of the run.
    pub(crate) at: Duration,
    /// What kind of webhook it is.
    pub(crate) kind: &'a str,
    /// Which of all.
    pub(crate) number: usize,
    /// A die of a hundred sides, thrown for this try.
    pub(crate) die: u32,
}

/// What the target says, 20 ms later unless it says when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Status(u16),
    After(Duration, u16),
    Hangs,
    Unreachable,
}

/// One try, as the target saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) number: usize,
    pub(crate) said: Said,
}

/// How long a target takes.
const TAKES: Duration = Duration::from_millis(20);
/// `FORWARD_TIMEOUT` of its clients.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(25);

/// A scenario under way.
struct Stage {
    world: World,
    at: Duration,
}

/// What became of one webhook.
struct Fate {
    kind: &'static str,
    record: Delivery,
}

type Scenario = (&'static str, fn() -> Result<(), String>);

const SCENARIOS: [Scenario; 24] = [
    ("only_refused", only_refused),
    ("refused_among_an_outage", refused_among_an_outage),
    ("forty_nine_in_flight", forty_nine_in_flight),
    ("one_success_in_an_outage", one_success_in_an_outage),
    ("twenty_a_second", twenty_a_second),
    ("five_a_second", five_a_second),
    ("two_fifths_and_too_many", two_fifths_and_too_many),
    ("a_lone_event_behind_an_outage", a_lone_event_behind_an_outage),
    ("two_fifths_by_event", two_fifths_by_event),
    ("two_fifths_by_chance", two_fifths_by_chance),
    ("a_third_refused_for_good", a_third_refused_for_good),
    ("healthy_behind_a_forbidden_backlog", healthy_behind_a_forbidden_backlog),
    ("healthy_among_forbidden_arrivals", healthy_among_forbidden_arrivals),
    ("rare_among_forbidden_arrivals", rare_among_forbidden_arrivals),
    ("poisoned_among_healthy", poisoned_among_healthy),
    ("hanging_among_healthy", hanging_among_healthy),
    ("slow_refusals_among_healthy", slow_refusals_among_healthy),
    ("an_outage_with_restarts", an_outage_with_restarts),
    ("an_outage_of_few_with_restarts", an_outage_of_few_with_restarts),
    ("an_outage_of_hours_with_two_clients", an_outage_of_hours_with_two_clients),
    ("expired_while_the_store_is_full", expired_while_the_store_is_full),
    ("small_beside_large_on_a_slow_link", small_beside_large_on_a_slow_link),
    ("one_beside_crawlers", one_beside_crawlers),
    ("the_last_piece_takes_minutes", the_last_piece_takes_minutes),
];

/// Runs all of them, or the one that is asked for. The first that does not hold is named with what is wrong.
pub(crate) fn run(only: Option<&str>) -> Result<usize, String> {
    let wanted: Vec<&Scenario> = SCENARIOS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((name, scenario)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            scenario().map_err(|what| format!("scenario {name} breaks I10: {what}"))?;
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let ends: Vec<Result<(), String>> = thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a worker does not panic")).collect()
    });
    ends.into_iter().collect::<Result<(), String>>()?;
    Ok(wanted.len())
}

impl Stage {
    /// A server and clients with so many slots each at one target.
    fn new(clients: usize, slots: u32, script: impl FnMut(&Asked<'_>) -> Said + Send + 'static) -> Self {
        Self::with_pause(limits::CIRCUIT_PAUSE_MAX, clients, slots, script)
    }

    fn with_pause(
        pause_max: Duration,
        clients: usize,
        slots: u32,
        script: impl FnMut(&Asked<'_>) -> Said + Send + 'static,
    ) -> Self {
        Self::with_plan(pause_max, clients, slots, script, |_| {})
    }

    fn with_plan(
        pause_max: Duration,
        clients: usize,
        slots: u32,
        script: impl FnMut(&Asked<'_>) -> Said + Send + 'static,
        change: impl FnOnce(&mut Plan),
    ) -> Self {
        let name = |text: &str| -> Name { text.parse().expect("it is a valid name") };
        let route = Route { destination: name("to"), ttl: limits::MESSAGE_TTL, retry: RetryPolicy::default() };
        let client = || ClientPlan {
            serves: vec![name("to")],
            slots,
            buffer_bytes: limits::CLIENT_BUFFER,
            forward_timeout: FORWARD_TIMEOUT,
            bytes_per_second: None,
            taken_on_the_way: 0,
        };
        let mut plan = Plan {
            routing: Routing { routes: BTreeMap::from([(name("in"), vec![route])]), ..Routing::default() },
            sources: vec![name("in")],
            destinations: vec![name("to")],
            clients: (0..clients).map(|_| client()).collect(),
            events: 0,
            trouble: Duration::ZERO,
            lease: limits::LEASE,
            circuit_pause_max: pause_max,
            intake_bytes: limits::MAX_INFLIGHT_BYTES / 2,
            faults: Faults::restarts(),
            operators: false,
            replays: false,
            servers: 1,
        };
        change(&mut plan);
        let mut world = World::with_plan(plan, 1, Trace::new(std::env::var_os("TRACE").is_some()));
        world.script = Some(Box::new(script));
        world.set_up();
        Self { world, at: Duration::ZERO }
    }

    /// Sends so many webhooks of a kind, one each `every` from now on.
    fn send(&mut self, kind: &'static str, count: u64, every: Duration) {
        self.send_from(0, kind, count, every);
    }

    /// The same from one of several sources.
    fn send_from(&mut self, source: usize, kind: &'static str, count: u64, every: Duration) {
        for number in 0..count {
            let at = micros(self.at) + number * micros(every).max(1);
            self.world.plan_scripted(at, kind, source);
        }
    }

    fn pass(&mut self, span: Duration) -> Result<(), String> {
        self.at += span;
        self.world.run_until(micros(self.at));
        match self.world.oracle.violation.take() {
            None => Ok(()),
            Some(Violation { promise, what }) => {
                if let Some(text) = std::env::var_os("TRACE") {
                    let trace = std::mem::replace(&mut self.world.trace, Trace::new(false));
                    let _ = std::fs::write(text, trace.into_text());
                }
                Err(format!("{promise}: {what}"))
            }
        }
    }

    /// Until nothing waits any more, a day at most.
    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..24 * 3600 {
            self.pass(Duration::from_secs(1))?;
            if self.world.store.open_deliveries() == 0 {
                return Ok(());
            }
        }
        Err(format!("{} wait still", self.world.store.open_deliveries()))
    }

    fn fates(&self) -> Vec<Fate> {
        let kinds: BTreeMap<EventId, &'static str> = self.world.scripted();
        let fate = |record: Delivery| Some(Fate { kind: kinds.get(&record.event)?, record });
        self.world.store.deliveries().into_iter().filter_map(fate).collect()
    }

    fn seen(&self) -> &[Seen] {
        &self.world.seen
    }

    /// When the last of what was delivered had been.
    fn tries_until_last_success(&self) -> (usize, Duration) {
        let last = self.seen().iter().rposition(|seen| seen.said == Said::Status(200)).unwrap_or_default();
        (last + 1, self.seen().get(last).map(|seen| seen.at).unwrap_or_default())
    }

    /// Answers a second until the last success, beside what the slots allow.
    fn utilization(&self, slots: u32) -> f64 {
        let (tries, took) = self.tries_until_last_success();
        tries as f64 / took.as_secs_f64() / (f64::from(slots) / (TAKES.as_secs_f64() + OVERHEAD.as_secs_f64()))
    }

    fn restart_server(&mut self) {
        self.world.end_server(false);
    }

    fn restart_client(&mut self, client: usize) {
        self.world.kill_client(client);
    }
}

/// What a try costs here beside the target's time: twice the way, a report's commit and a lease's.
const OVERHEAD: Duration = Duration::from_millis(3);

impl Fate {
    /// From when it was accepted until it came to its end.
    fn took(&self) -> Duration {
        self.record.changed_at.since(self.record.ready_at)
    }
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn count(fates: &[Fate], wanted: impl Fn(&Fate) -> bool) -> usize {
    fates.iter().filter(|fate| wanted(fate)).count()
}

impl Said {
    pub(crate) fn meeting(self) -> Meeting {
        match self {
            Self::Status(status) => answer(TAKES, status, None),
            Self::After(span, status) => answer(span, status, None),
            Self::Hangs => nothing(FORWARD_TIMEOUT, relay_core::delivery::outcome::Class::Busy, "no answer in time"),
            Self::Unreachable => {
                nothing(TAKES, relay_core::delivery::outcome::Class::Unreachable, "connection refused")
            }
        }
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Whatever is wrong with them, twenty events that the target judges are dead after their retries: nothing pauses.
fn only_refused() -> Result<(), String> {
    let mut stage = Stage::new(1, 8, |_| Said::Status(422));
    stage.send("bad", 20, millis(10));
    stage.pass(seconds(12))?;
    let refused = count(&stage.fates(), |fate| fate.record.reason == Some(Reason::Refused));
    expect(refused == 20, || format!("{refused} of 20 are dead after 12 s"))
}

/// 500 to all but 422 to a tenth: the judged ones are charged when their turn comes, the others live.
fn refused_among_an_outage() -> Result<(), String> {
    let mut stage = Stage::new(1, 8, |asked| Said::Status(if asked.kind == "bad" { 422 } else { 500 }));
    for _ in 0..120 {
        stage.send("good", 9, millis(1));
        stage.send("bad", 1, millis(1));
        stage.pass(millis(20))?;
    }
    stage.pass(seconds(3 * 3600))?;
    let fates = stage.fates();
    let dead = |kind| count(&fates, |fate| fate.kind == kind && fate.record.state == State::Dead);
    // An outage has a try a minute, and each of these needs four.
    let judged = count(&fates, |fate| fate.kind == "bad" && fate.record.attempts > 0);
    let charged = count(&fates, |fate| fate.kind == "good" && fate.record.attempts > 0);
    expect(fates.len() == 1_200 && dead("good") == 0, || format!("{} are dead of an outage", dead("good")))?;
    expect(charged <= 4, || format!("{charged} were charged for an outage"))?;
    expect(judged >= 10, || format!("{judged} of those refused were charged in three hours"))
}

/// 49 in flight when one is delivered, and then 500 to all of them at once.
fn forty_nine_in_flight() -> Result<(), String> {
    let mut first = true;
    let mut stage = Stage::new(1, 50, move |_| Said::Status(if std::mem::take(&mut first) { 200 } else { 500 }));
    stage.send("any", 200, Duration::ZERO);
    stage.pass(seconds(600))?;
    let charged = count(&stage.fates(), |fate| fate.record.state != State::Delivered && fate.record.attempts > 0);
    expect(charged <= 8, || format!("{charged} were charged"))
}

/// 20 wait through an outage of an hour, one is delivered, and the outage goes on for another.
fn one_success_in_an_outage() -> Result<(), String> {
    let mut once = true;
    let mut stage = Stage::new(1, 8, move |asked| {
        let well = asked.at > seconds(3600) && std::mem::take(&mut once);
        Said::Status(if well { 200 } else { 500 })
    });
    stage.send("any", 20, millis(50));
    stage.pass(seconds(7_200))?;
    let dead = count(&stage.fates(), |fate| fate.record.state == State::Dead);
    let delivered = count(&stage.fates(), |fate| fate.record.state == State::Delivered);
    expect(dead <= 5 && delivered == 1, || format!("{dead} are dead, {delivered} delivered"))
}

/// 20 a second are taken, and 429 answers the others: nobody dies, and all arrive.
fn twenty_a_second() -> Result<(), String> {
    so_many_a_second(20, 5_000)
}

/// The same for 5, with fewer that wait: what was turned away must not wait so long that the rate is not used.
fn five_a_second() -> Result<(), String> {
    so_many_a_second(5, 800)
}

/// So many of each second are taken, and 429 answers the others. Nobody dies, most of the rate is used, and the target is
/// not asked much more often than it takes.
fn so_many_a_second(rate: u64, count_of: u64) -> Result<(), String> {
    let mut taken = (0, 0);
    let mut stage = Stage::new(1, 8, move |asked| {
        if taken.0 != asked.at.as_secs() {
            taken = (asked.at.as_secs(), 0);
        }
        taken.1 += 1;
        Said::Status(if taken.1 <= rate { 200 } else { 429 })
    });
    stage.send("any", count_of, millis(1));
    stage.drain()?;
    let dead = count(&stage.fates(), |fate| fate.record.state == State::Dead);
    expect(dead == 0, || format!("{dead} are dead"))?;
    // The last come back once a minute each, though there is room for more: they are left out.
    let mut taken: Vec<Duration> =
        stage.seen().iter().filter(|seen| seen.said == Said::Status(200)).map(|seen| seen.at).collect();
    taken.truncate(taken.len() * 9 / 10);
    let took = taken.last().map_or(0.0, Duration::as_secs_f64);
    let used = taken.len() as f64 / took / rate as f64;
    expect(used >= 0.8, || format!("{used:.2} of the rate was used: {took:.0} s"))?;
    let asked = stage.seen().len() as f64 / count_of as f64;
    expect(asked <= 4.0, || format!("{asked:.1} tries for each that was taken"))
}

/// 41 % of the tries succeed, and 429 answers the others by chance: that is no limit on the rate.
fn two_fifths_and_too_many() -> Result<(), String> {
    let mut stage = Stage::new(1, 8, |asked| Said::Status(if asked.die < 41 { 200 } else { 429 }));
    stage.send("any", 8_000, Duration::ZERO);
    stage.drain()?;
    // Until half of them were taken: behind that they come back as their own delays say.
    let taken: Vec<usize> =
        stage.seen().iter().enumerate().filter(|(_, seen)| seen.said == Said::Status(200)).map(|(at, _)| at).collect();
    let half = taken[taken.len() / 2];
    let rate = half as f64 / stage.seen()[half].at.as_secs_f64();
    let used = rate / (8.0 / (TAKES.as_secs_f64() + OVERHEAD.as_secs_f64()));
    expect(used >= 0.8, || format!("{used:.2} of what the slots allow"))
}

/// Nothing can be reached for ten minutes, then 500: one event alone is dead after its retries.
fn a_lone_event_behind_an_outage() -> Result<(), String> {
    let mut stage =
        Stage::new(1, 8, |asked| if asked.at < seconds(600) { Said::Unreachable } else { Said::Status(500) });
    stage.send("lone", 1, Duration::ZERO);
    stage.pass(seconds(600 + 65 + 60 + 10))?;
    let fates = stage.fates();
    let reason = fates.first().map(|fate| fate.record.reason);
    expect(reason == Some(Some(Reason::Rejected)), || format!("it is {:?}", fates.first().map(|fate| &fate.record)))
}

fn two_fifths(status: impl Fn(&Asked<'_>) -> u16 + Send + 'static) -> Result<Stage, String> {
    let mut stage = Stage::new(1, 8, move |asked| Said::Status(status(asked)));
    stage.send("any", 8_000, Duration::ZERO);
    stage.drain()?;
    let used = stage.utilization(8);
    expect(used >= 0.8, || format!("{used:.2} of what the slots allow"))?;
    Ok(stage)
}

fn failure(number: u32) -> u16 {
    [500, 403, 422][number as usize % 3]
}

/// 41 % of the events are taken, the others never: those are dead after their retries.
fn two_fifths_by_event() -> Result<(), String> {
    let stage = two_fifths(|asked| {
        let side = (asked.number as u32).wrapping_mul(2_654_435_761) >> 16;
        if side % 100 < 41 { 200 } else { failure(side) }
    })?;
    let odd = count(&stage.fates(), |fate| {
        let dead = fate.record.state == State::Dead;
        dead && (fate.record.attempts != 4 || fate.record.tries > 8)
    });
    expect(odd == 0, || format!("{odd} needed more than a few tries"))
}

/// 41 % of the tries succeed, whichever event it is.
fn two_fifths_by_chance() -> Result<(), String> {
    two_fifths(|asked| if asked.die < 41 { 200 } else { failure(asked.die) }).map(drop)
}

/// 30 % are refused for good: dead within their retries' time and five seconds, and the others are not held up.
fn a_third_refused_for_good() -> Result<(), String> {
    let bad = |number: usize| (number as u32).wrapping_mul(2_654_435_761) >> 16 < 19_661;
    let mut stage = Stage::new(1, 8, move |asked| Said::Status(if bad(asked.number) { 422 } else { 200 }));
    stage.send("any", 4_000, Duration::ZERO);
    stage.drain()?;
    let mut firsts = BTreeMap::new();
    for seen in stage.seen() {
        firsts.entry(seen.number).or_insert(seen.at);
    }
    let mut lasts = BTreeMap::new();
    for seen in stage.seen().iter().filter(|seen| seen.said == Said::Status(422)) {
        lasts.insert(seen.number, seen.at);
    }
    let slowest = lasts.iter().map(|(number, last)| last.saturating_sub(firsts[number])).max().unwrap_or_default();
    expect(slowest <= millis(7_700 + 5_000), || format!("the slowest dead letter took {slowest:?}"))?;
    let used = stage.utilization(8);
    expect(used >= 0.9, || format!("{used:.2} of what the slots allow"))
}

fn latest(stage: &Stage, kind: &str) -> Duration {
    stage.fates().iter().filter(|fate| fate.kind == kind).map(Fate::took).max().unwrap_or_default()
}

/// A backlog with 403 waits, and each healthy webhook arrives within a second and a half.
fn healthy_behind_a_forbidden_backlog() -> Result<(), String> {
    let mut stage = Stage::new(1, 8, |asked| Said::Status(if asked.kind == "good" { 200 } else { 403 }));
    stage.send("bad", 5_000, Duration::ZERO);
    stage.pass(seconds(40))?;
    stage.send("good", 60, seconds(2));
    stage.pass(seconds(125))?;
    let missing = count(&stage.fates(), |fate| fate.kind == "good" && fate.record.state != State::Delivered);
    let late = latest(&stage, "good");
    expect(missing == 0, || format!("{missing} were not delivered"))?;
    expect(late <= millis(1_500), || format!("one was {late:?} late"))
}

/// What is forbidden keeps coming, ten a second, and each healthy webhook among it, one every two seconds, arrives all the same.
fn healthy_among_forbidden_arrivals() -> Result<(), String> {
    healthy_among(millis(100), (seconds(2), 60), seconds(10))
}

/// The same with one every five seconds: the first is found by chance, for one try a second goes out until then.
fn rare_among_forbidden_arrivals() -> Result<(), String> {
    healthy_among(millis(333), (seconds(5), 40), seconds(40))
}

fn healthy_among(bad: Duration, (good, count_of): (Duration, u64), most: Duration) -> Result<(), String> {
    let mut stage = Stage::new(1, 8, |asked| Said::Status(if asked.kind == "good" { 200 } else { 403 }));
    let span = seconds(15) + good * u32::try_from(count_of).unwrap_or(u32::MAX);
    stage.send("bad", (span.as_millis() / bad.as_millis()) as u64, bad);
    stage.pass(seconds(15))?;
    stage.send("good", count_of, good);
    stage.pass(span)?;
    let fates = stage.fates();
    let mut took: Vec<Duration> = fates.iter().filter(|fate| fate.kind == "good").map(Fate::took).collect();
    took.sort_unstable();
    let missing = count(&fates, |fate| fate.kind == "good" && fate.record.state != State::Delivered);
    expect(missing == 0, || format!("{missing} were not delivered: {took:?}"))?;
    let (median, late) = (took[took.len() / 2], took[took.len() * 9 / 10]);
    expect(median <= millis(1_500) && late <= most, || format!("median {median:?}, 9 of 10 within {late:?}"))
}

/// What always fails is dead, and what is taken was delivered within a second and a half.
fn bad_die_and_good_are_in_time(stage: &Stage) -> Result<(), String> {
    let fates = stage.fates();
    let alive = count(&fates, |fate| fate.kind == "bad" && fate.record.state != State::Dead);
    let missing = count(&fates, |fate| fate.kind == "good" && fate.record.state != State::Delivered);
    let late = latest(stage, "good");
    expect(alive == 0, || format!("{alive} are not dead"))?;
    expect(missing == 0 && late <= millis(1_500), || format!("{missing} were not delivered, one was {late:?} late"))
}

/// 300 events whose handler answers 500, among healthy ones at one a second.
fn poisoned_among_healthy() -> Result<(), String> {
    let mut stage = Stage::new(1, 8, |asked| Said::Status(if asked.kind == "good" { 200 } else { 500 }));
    stage.send("bad", 300, Duration::ZERO);
    stage.send("good", 600, millis(997));
    stage.pass(seconds(601))?;
    bad_die_and_good_are_in_time(&stage)
}

/// I15: for five minutes of each hour one event in six seconds hangs, and each time it is tried again. Its first try costs a slot for
/// `FORWARD_TIMEOUT`, four of eight in the mean; its retries, which go on for most of the hour, leave room for what arrives.
fn hanging_among_healthy() -> Result<(), String> {
    let mut stage = Stage::new(1, 8, |asked| if asked.kind == "good" { Said::Status(200) } else { Said::Hangs });
    stage.send("good", 4 * 3600 / 2, millis(1_997));
    for _ in 0..3 {
        stage.send("bad", 50, seconds(6));
        stage.pass(seconds(3600))?;
    }
    stage.pass(seconds(3600))?;
    bad_die_and_good_are_in_time(&stage)
}

/// I15: ten a second for five minutes, of which three are answered 504 after a second and a half: more retries come due than are
/// tried, and the others do not wait for them.
fn slow_refusals_among_healthy() -> Result<(), String> {
    let script = |asked: &Asked<'_>| {
        if asked.kind == "good" { Said::Status(200) } else { Said::After(millis(1_500), 504) }
    };
    let mut stage = Stage::new(1, 8, script);
    stage.send("good", 2_100, millis(143));
    stage.send("bad", 900, millis(333));
    stage.pass(seconds(302))?;
    let fates = stage.fates();
    let missing = count(&fates, |fate| fate.kind == "good" && fate.record.state != State::Delivered);
    let late = latest(&stage, "good");
    let retries = stage.seen().len() - fates.len();
    expect(missing == 0 && late <= millis(1_500), || format!("{missing} were not delivered, one was {late:?} late"))?;
    // Two of eight slots, a try in a second and a half each.
    expect(retries >= 350, || format!("{retries} retries in five minutes"))
}

/// 500 and 404 to all for ten minutes, with four restarts of client and server.
fn an_outage_with_restarts() -> Result<(), String> {
    for (pause_max, within) in [(limits::CIRCUIT_PAUSE_MAX, seconds(65)), (seconds(2), seconds(3))] {
        let healed = seconds(700);
        let mut stage = Stage::with_pause(pause_max, 1, 8, move |asked| {
            let status = if asked.number.is_multiple_of(2) { 500 } else { 404 };
            Said::Status(if asked.at < healed { status } else { 200 })
        });
        stage.send("any", 40, millis(20));
        stage.pass(seconds(20))?;
        stage.send("any", 10, seconds(30));
        for restart in 0..4 {
            stage.pass(seconds(120))?;
            if restart % 2 == 0 {
                stage.restart_client(0);
            } else {
                stage.restart_server();
            }
        }
        stage.pass(seconds(200))?;
        let charged = count(&stage.fates(), |fate| fate.record.attempts > 0);
        expect(charged <= 4, || format!("{charged} were charged"))?;
        let open: Vec<Duration> = stage.seen().iter().map(|seen| seen.at).filter(|at| *at > seconds(10)).collect();
        // After a restart the first try is not paused.
        let close = open.windows(2).filter(|pair| pair[1].saturating_sub(pair[0]) < seconds(1)).count();
        expect(close <= 4, || format!("{close} tries within a second of another"))?;
        let overlap = open.windows(2).filter(|pair| pair[1].saturating_sub(pair[0]) < TAKES).count();
        expect(overlap == 0, || format!("{overlap} tries beside another"))?;
        stage.pass(within)?;
        let waiting = stage.world.store.open_deliveries();
        let dead = count(&stage.fates(), |fate| fate.record.state == State::Dead);
        expect(waiting == 0 && dead == 0, || format!("{waiting} wait {within:?} after it is well, {dead} are dead"))?;
    }
    Ok(())
}

/// Six wait through an outage in which the server restarts every minute: nobody is charged twice.
fn an_outage_of_few_with_restarts() -> Result<(), String> {
    let mut stage = Stage::new(1, 8, |_| Said::Status(500));
    stage.send("any", 6, millis(1));
    for _ in 0..6 {
        stage.pass(seconds(60))?;
        stage.restart_server();
        stage.restart_client(0);
    }
    stage.pass(seconds(120))?;
    let fates = stage.fates();
    let most = fates.iter().map(|fate| fate.record.attempts).max().unwrap_or_default();
    expect(fates.len() == 6 && most <= 1, || format!("one was charged {most} times"))
}

/// Three hours of 500, unreachable and hanging by turns, with two clients: nothing dies, and what waits is due soon after.
fn an_outage_of_hours_with_two_clients() -> Result<(), String> {
    let healed = seconds(3 * 3600);
    let mut stage = Stage::new(2, 4, move |asked| match asked.at.as_secs() / 600 % 3 {
        _ if asked.at > healed => Said::Status(200),
        0 => Said::Status(500),
        1 => Said::Unreachable,
        _ => Said::Status(503),
    });
    stage.send("any", 8, millis(1));
    stage.send("any", 90, seconds(120));
    stage.pass(seconds(2 * 3600))?;
    stage.restart_client(0);
    stage.pass(seconds(3600))?;
    let charged: u32 = stage.fates().iter().map(|fate| fate.record.attempts).sum();
    expect(charged <= 4, || format!("{charged} attempts were counted"))?;
    stage.pass(seconds(65))?;
    let waiting = stage.world.store.open_deliveries();
    expect(waiting == 0, || format!("{waiting} wait 65 s after it is well"))
}

/// I16, I19: a thousand pass their TTL while the store has no room to end them. Nothing piles up meanwhile, and all of them
/// end within seconds once there is room.
fn expired_while_the_store_is_full() -> Result<(), String> {
    let mut stage = Stage::new(0, 8, |_| Said::Unreachable);
    stage.send("any", 1_000, millis(1));
    stage.pass(limits::MESSAGE_TTL.saturating_sub(seconds(60)))?;
    stage.world.store.set_trouble(vec![(Trouble::Settle, StoreError::Full)]);
    let mut most = 0;
    for _ in 0..240 {
        stage.pass(millis(500))?;
        most = most.max(stage.world.server.as_ref().map_or(0, |server| server.pending.len()));
    }
    expect(most <= 8, || format!("{most} store operations are under way at a time"))?;
    stage.world.store.set_trouble(Vec::new());
    stage.pass(seconds(5))?;
    let left = stage.world.store.open_deliveries();
    expect(left == 0, || format!("{left} have not ended five seconds after there is room"))?;
    // A store that takes long to commit.
    stage.world.plan.faults.store_ms = 3_000;
    stage.send("any", 1_000, millis(1));
    stage.pass(limits::MESSAGE_TTL + seconds(180))?;
    let left = stage.world.store.open_deliveries();
    expect(left == 0, || format!("{left} have not ended three minutes after their TTL"))
}

/// I15: five minutes of large webhooks wait for one client on a slow link, more of them than it has slots or room for, and some
/// came while it was away. What is small, before its client or after it, arrives in a few seconds, and the large ones one after
/// the other.
fn small_beside_large_on_a_slow_link() -> Result<(), String> {
    const RATE: u64 = 64 * 1024;
    let mut stage = Stage::with_plan(
        limits::CIRCUIT_PAUSE_MAX,
        1,
        8,
        |_| Said::Status(200),
        |plan| {
            plan.faults.bytes_per_second = Some(RATE);
            // So much that two of them have room.
            plan.intake_bytes = 12 * 1024 * 1024;
        },
    );
    stage.world.kill_client(0);
    stage.send(LARGE, 14, millis(10));
    stage.send("early", 3, millis(100));
    stage.pass(seconds(40))?;
    let early =
        |stage: &Stage| count(&stage.fates(), |fate| fate.kind == "early" && fate.record.state == State::Delivered);
    expect(early(&stage) == 3, || format!("{} of 3 that waited for their client are there", early(&stage)))?;
    stage.send(LARGE, 6, millis(10));
    stage.send("small", 50, millis(3_700));
    stage.pass(seconds(195))?;
    let fates = stage.fates();
    let missing = count(&fates, |fate| fate.kind == "small" && fate.record.state != State::Delivered);
    let late = latest(&stage, "small");
    expect(missing == 0 && late <= seconds(3), || format!("{missing} are not delivered, one was {late:?} late"))?;
    stage.pass(seconds(120))?;
    let waiting = count(&stage.fates(), |fate| fate.kind == LARGE && fate.record.state != State::Delivered);
    expect(waiting == 0, || format!("{waiting} large ones are not there after twice the time that the link takes"))
}

/// I15: ten clients whose links carry next to nothing, each with large webhooks for a destination of its own, and one that takes
/// what it gets: it goes on getting, small ones at once and large ones within seconds. Nothing is lost of what the others wait for.
fn one_beside_crawlers() -> Result<(), String> {
    const CRAWLERS: usize = 10;
    let change = |plan: &mut Plan| {
        plan.intake_bytes = 12 * 1024 * 1024;
        for number in 0..CRAWLERS {
            let name = |stem: &str| -> Name { format!("{stem}-{number}").parse().expect("it is a valid name") };
            let mut route = plan.routing.routes.values().next().expect("there is one")[0].clone();
            route.destination = name("to");
            plan.routing.routes.insert(name("in"), vec![route]);
            plan.sources.push(name("in"));
            plan.destinations.push(name("to"));
            plan.clients[number + 1].serves = vec![name("to")];
            plan.clients[number + 1].bytes_per_second = Some([300, 3_000, 30_000][number % 3]);
        }
    };
    let script = |_: &Asked<'_>| Said::Status(200);
    let mut stage = Stage::with_plan(limits::CIRCUIT_PAUSE_MAX, CRAWLERS + 1, 8, script, change);
    stage.pass(seconds(1))?;
    for number in 1..=CRAWLERS {
        stage.send_from(number, LARGE, 4, millis(10));
    }
    stage.pass(seconds(5))?;
    stage.send("small", 400, millis(500));
    stage.pass(seconds(15))?;
    stage.send_from(0, LARGE, 30, seconds(5));
    stage.pass(seconds(200))?;
    let fates = stage.fates();
    let to = |fate: &&Fate| fate.record.destination.as_str() == "to";
    let missing = fates.iter().filter(to).filter(|fate| fate.record.state != State::Delivered).count();
    let late =
        |kind| fates.iter().filter(to).filter(|fate| fate.kind == kind).map(Fate::took).max().unwrap_or_default();
    expect(missing == 0, || format!("{missing} that it would take are not delivered"))?;
    expect(late("small") <= seconds(1), || format!("a small one was {:?} late", late("small")))?;
    expect(late(LARGE) <= seconds(6), || format!("a large one was {:?} late", late(LARGE)))?;
    // Three of them carry a megabyte in half a minute.
    let arrived = fates.iter().filter(|fate| !to(fate) && fate.record.state == State::Delivered).count();
    expect(arrived >= 3, || format!("only {arrived} of the others arrived"))?;
    for client in &mut stage.world.plan.clients {
        client.bytes_per_second = None;
    }
    stage.pass(seconds(300))?;
    let waiting = stage.world.store.open_deliveries();
    expect(waiting == 0, || format!("{waiting} wait still once their links are well"))
}

/// I11: what has left the server stands before a link that carries next to nothing, and is not at its client for minutes; it is
/// delivered with its first lease all the same.
fn the_last_piece_takes_minutes() -> Result<(), String> {
    let script = |_: &Asked<'_>| Said::Status(200);
    let link = |plan: &mut Plan| {
        plan.clients[0].bytes_per_second = Some(2_000);
        plan.clients[0].taken_on_the_way = limits::SESSION_QUEUE_BYTES;
    };
    let mut stage = Stage::with_plan(limits::CIRCUIT_PAUSE_MAX, 1, 1, script, link);
    stage.pass(seconds(1))?;
    stage.send(LARGE, 1, seconds(1));
    stage.drain()?;
    let fates = stage.fates();
    let [Fate { record, .. }] = &fates[..] else { return Err(format!("{} instead of one", fates.len())) };
    let once = record.state == State::Delivered && (record.tries, record.losses, record.unheard) == (1, 0, 0);
    expect(once && record.token.counter == 1, || format!("it took more than one lease: {record:?}"))
}

impl World {
    /// A die for a scripted target.
    pub(crate) fn die(&mut self) -> u32 {
        self.rng.random_range(0..100)
    }
}
