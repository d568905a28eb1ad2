//! Jobs over the memory store, output by output: pages of any size, answers that are lost or bad, jobs that are cut and given
//! again, and what others do in between.

mod previewed;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use relay_core::{
    delivery::{Change, Delivery, Reason, State, cancel, redrive as redriven, retry::RetryPolicy},
    event::Event,
    id::{DeliveryId, EventId, IdMint, InstanceId},
    jobs::{Action, Command, End, ForHub, Job, JobOp, JobStored, JobSums, Meant, Output, Pace, Target},
    limits,
    name::Name,
    partitions::Partitions,
    routing::Route,
    storage::{Append, AuditEntry, Changed, DeliveryFilter, EventFilter, Extend, LeaseAsk, LeaseOrder, StoreError},
    time::Wall,
};
use relay_store::{
    memory::{MemoryStore, Trouble},
    seam::Queue as _,
};

const NOW: Wall = Wall::from_micros(1_800_000_000_000_000);
const TTL: Duration = Duration::from_hours(1);

type Edit = fn(&mut Delivery);

/// A memory store and what fills it.
struct Rig {
    store: MemoryStore,
    mint: IdMint,
}

impl Rig {
    fn new() -> Self {
        Self { store: MemoryStore::new(), mint: IdMint::new(0, 1) }
    }

    /// With so many dead letters.
    fn dead(count: usize) -> (Self, Vec<Delivery>) {
        let mut rig = Self::new();
        let made = (0..count).map(|_| rig.made(State::Dead)).collect();
        (rig, made)
    }

    fn made(&mut self, state: State) -> Delivery {
        self.made_as(state, |_| {})
    }

    fn made_as(&mut self, state: State, edit: Edit) -> Delivery {
        let event = Event {
            id: self.mint.event(NOW),
            source: name("in"),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook/in"),
            query: None,
            headers: Vec::new(),
            body: Bytes::new(),
            body_sha256: [0; 32],
            received_at: NOW,
            name: None,
            key: None,
        };
        let delivery = Delivery::ready(self.mint.delivery(NOW), &event, name("crm"), false, NOW, TTL);
        let reason = (state == State::Dead).then_some(Reason::Rejected);
        let mut delivery = Delivery { state, reason, ..delivery };
        edit(&mut delivery);
        let append =
            Append { event: Arc::new(event), deliveries: vec![delivery.clone()], dedupe: None, deadline: Wall::MAX };
        assert!(wait(self.store.append(vec![append])).iter().all(Result::is_ok));
        delivery
    }

    fn command(&mut self, action: Action) -> Command {
        let entry = AuditEntry {
            at: NOW,
            who: "cli".into(),
            action: "test".into(),
            subject: "all".into(),
            origin: String::new(),
        };
        Command {
            job: self.mint.job(NOW),
            fingerprint: 0,
            action,
            target: Target::Matching(DeliveryFilter::default()),
            pick: None,
            limit: None,
            cursor: None,
            as_of: None,
            last: None,
            dry_run: false,
            audit: Some(entry),
        }
    }

    fn leased(&self) -> Delivery {
        let ask = LeaseAsk {
            destination: name("crm"),
            instance: InstanceId::from_u128(5),
            nonce: 9,
            until: NOW + Duration::from_mins(1),
            now: NOW,
            limit: 1,
            tried_max: u32::MAX,
            order: LeaseOrder::Shared { tried: 0 },
            partitions: Partitions::ALL,
        };
        wait(self.store.lease(ask)).expect("leases").deliveries.remove(0)
    }

    fn settled(&self, change: Change) -> Delivery {
        let next = change.next.clone();
        assert_eq!(wait(self.store.settle(vec![change])), Ok(vec![Changed::Applied]));
        next
    }

    /// Somebody else ends what is open, or brings back what is not: each delivery once.
    fn disturb(&self, others: &mut BTreeSet<DeliveryId>) {
        let Some(found) = self.store.deliveries().into_iter().find(|found| !others.contains(&found.id)) else { return };
        others.insert(found.id);
        self.settled(if found.state.is_open() { cancel(&found, NOW) } else { redriven(&found, NOW, TTL) });
    }

    fn states(&self) -> Vec<State> {
        self.store.deliveries().iter().map(|found| found.state).collect()
    }
}

/// A job with its driver, and what it wanted beside the store.
struct Run<'a> {
    store: &'a MemoryStore,
    job: Job,
    tells: Vec<ForHub>,
    pauses: usize,
    steps: usize,
}

impl<'a> Run<'a> {
    fn new(store: &'a MemoryStore, command: &Command, page_max: u32) -> Self {
        Self { store, job: Job::new(command.clone()).by(page_max), tells: Vec::new(), pauses: 0, steps: 0 }
    }

    /// The next thing that it asks of the store; `None` when it is over.
    fn next(&mut self) -> Option<JobOp> {
        loop {
            match self.job.poll(NOW) {
                Some(Output::Ask(op)) => {
                    self.steps += usize::from(matches!(op, JobOp::Step(_)));
                    return Some(op);
                }
                // Each run mints above all that there is.
                Some(Output::Mint(count)) => {
                    let floor = self.store.deliveries().iter().map(|found| found.id.sequence()).max().unwrap_or(0);
                    let mut mint = IdMint::new(floor, 7);
                    self.job.mint((0..count).map(|_| mint.delivery(NOW)).collect());
                }
                Some(Output::Tell(told)) => self.tells.push(told),
                Some(Output::Pause(_)) => self.pauses += 1,
                Some(Output::Over) => return None,
                None => panic!("nothing is under way"),
            }
        }
    }

    /// Asks for it, and hands over the answer.
    fn perform(&mut self, op: JobOp) {
        let answer = self.store.perform_job(op);
        self.job.handle(answer);
    }

    /// To its end.
    fn finish(mut self) -> (JobSums, Vec<ForHub>) {
        while let Some(op) = self.next() {
            self.perform(op);
        }
        (self.job.outcome().expect("it is over"), self.tells)
    }
}

fn run(rig: &Rig, command: &Command, page_max: u32) -> JobSums {
    Run::new(&rig.store, command, page_max).finish().0
}

fn redrive() -> Action {
    Action::Redrive { ttl: BTreeMap::new(), ttl_default: TTL, pace: None }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn wait<T>(later: relay_store::Later<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(later)
}

/// Pages of one, of some that do and do not come out even, and of all: the same is done, and each step is one commit.
#[test]
fn pages_of_any_size_come_to_the_same() {
    for (page_max, steps) in [(1, 12), (5, 3), (4, 3), (6, 2), (12, 1), (13, 1), (500, 1)] {
        let (mut rig, made) = Rig::dead(12);
        let command = rig.command(redrive());
        let mut run = Run::new(&rig.store, &command, page_max);
        while let Some(op) = run.next() {
            run.perform(op);
        }
        assert_eq!(run.steps, steps, "by {page_max}");
        let JobSums { end, matched, changed, next, next_due, .. } = run.job.outcome().expect("it is over");
        assert_eq!((end, matched, changed, next, next_due), (End::Done, 12, 12, None, None), "by {page_max}");
        assert_eq!(rig.states(), [State::Ready; 12]);
        assert_eq!(rig.store.audit_log().len(), 1);
        let told: Vec<DeliveryId> = run.tells.iter().flat_map(|told| told.touched.clone()).collect();
        assert_eq!(told, made.iter().rev().map(|made| made.id).collect::<Vec<_>>(), "each once, the newest first");
        assert!(run.tells.iter().all(|told| told.woken == [name("crm")].into()));
    }
}

/// I15: what is removed in one step is bounded in rows, of which large bodies and earlier tries have many; one alone goes
/// whatever it has. What nothing is removed of is not bounded by that.
#[test]
fn a_purge_of_what_is_large_goes_in_small_steps() {
    let large = |delivery: &mut Delivery| delivery.body_bytes = 100 * limits::BODY_BYTES_A_ROW;
    let tried = |delivery: &mut Delivery| (delivery.tries, delivery.earlier) = (50, 51);
    let huge = |delivery: &mut Delivery| delivery.body_bytes = 1_000 * limits::BODY_BYTES_A_ROW;
    let edits: [(Edit, usize, usize); 3] = [(large, 4, 3), (tried, 4, 3), (huge, 1, 12)];
    for (edit, most, steps) in edits {
        for (action, most, steps) in [(Action::Purge, most, steps), (redrive(), 12, 1)] {
            for named in [false, true] {
                let mut rig = Rig::new();
                let ids = (0..12).map(|_| rig.made_as(State::Dead, edit).id).collect();
                let mut command = rig.command(action.clone());
                if named {
                    command.target = Target::Ids(ids);
                }
                assert_eq!(run(&rig, &Command { dry_run: true, ..command.clone() }, 500).matched, 12);
                let mut run = Run::new(&rig.store, &command, 500);
                while let Some(op) = run.next() {
                    if let JobOp::Step(asked) = &op {
                        assert!(asked.ask.retire.len() + asked.ask.settle.len() <= most, "{op:?}");
                    }
                    run.perform(op);
                }
                assert_eq!((run.steps, run.job.outcome().expect("it is over").changed), (steps, 12));
            }
        }
    }
}

/// What a filter does not give is not decided about; and only what is made due wakes anybody.
#[test]
fn an_action_is_for_its_states() {
    let mut rig = Rig::new();
    let all: Vec<Delivery> = State::ALL.into_iter().map(|state| rig.made(state)).collect();
    let states =
        |states: &[State]| Target::Matching(DeliveryFilter { states: states.to_vec(), ..DeliveryFilter::default() });
    let ids: BTreeSet<DeliveryId> = all.iter().map(|found| found.id).collect();
    for target in [states(&[]), states(&State::ALL), states(&[State::Dead, State::Ready]), Target::Ids(ids)] {
        for (action, count) in
            [(redrive(), [2, 2, 1, 2]), (Action::Purge, [2, 2, 1, 2]), (Action::Cancel, [3, 3, 1, 3])]
        {
            let command = Command { target: target.clone(), dry_run: true, ..rig.command(action) };
            let which = match &command.target {
                Target::Ids(_) => 3,
                Target::Matching(filter) if filter.states.len() == 2 => 2,
                Target::Matching(_) | Target::Events(_) => 0,
            };
            assert_eq!(run(&rig, &command, 2).matched, count[which], "{command:?}");
        }
    }
    let nothing = Command { target: states(&[State::Delivered]), ..rig.command(Action::Cancel) };
    assert_eq!((run(&rig, &nothing, 2).matched, rig.store.audit_log().len()), (0, 0));
    let cancel = rig.command(Action::Cancel);
    let (outcome, tells) = Run::new(&rig.store, &cancel, 2).finish();
    assert_eq!(outcome.changed, 3);
    assert!(tells.iter().all(|told| told.woken.is_empty()), "a cancelled delivery wakes no circuit");
}

/// I12: however an answer is lost, nothing is done twice, and the sums are those of what was done.
#[test]
fn a_lost_answer_is_asked_for_again() {
    for happens in [true, false] {
        let (mut rig, made) = Rig::dead(5);
        let command = rig.command(redrive());
        let mut run = Run::new(&rig.store, &command, 2);
        let mut lost: BTreeMap<u64, u32> = BTreeMap::new();
        while let Some(op) = run.next() {
            let times = if let JobOp::Step(asked) = &op { lost.entry(asked.ask.before).or_default() } else { &mut 2 };
            if *times == 2 {
                run.perform(op);
                continue;
            }
            *times += 1;
            if happens {
                rig.store.perform_job(op.clone());
            }
            run.job.handle(rig.store.job_unheard(op));
        }
        assert_eq!(run.pauses, 6, "the store is left alone for a moment each time");
        let outcome = run.job.outcome().expect("it is over");
        assert_eq!((outcome.end, outcome.matched, outcome.changed), (End::Done, 5, 5), "happens: {happens}");
        assert_eq!(rig.store.audit_log().len(), 1);
        let told: BTreeSet<DeliveryId> = run.tells.into_iter().flat_map(|told| told.touched).collect();
        assert_eq!(told, made.iter().map(|made| made.id).collect(), "the hub hears of what may have been done");
    }
}

/// A store that cannot is asked again for a while; then the command ends, says so, and the same one goes on.
#[test]
fn trouble_is_waited_out_or_told() {
    let slow = StoreError::TooSlow { after: Duration::from_secs(1) };
    for (op, error) in [
        (Trouble::Step, StoreError::Full),
        (Trouble::Step, StoreError::Away),
        (Trouble::Look, StoreError::Away),
        (Trouble::Look, slow),
    ] {
        let (mut rig, _) = Rig::dead(3);
        let command = rig.command(Action::Purge);
        let mut run = Run::new(&rig.store, &command, 2);
        rig.store.set_trouble(vec![(op, error.clone())]);
        while let Some(op) = run.next() {
            run.perform(op);
            if run.pauses == 2 {
                rig.store.set_trouble(Vec::new());
            }
        }
        let outcome = run.job.outcome().expect("it is over");
        assert_eq!((outcome.end, outcome.changed), (End::Done, 3), "{op:?}: {error}");

        let (mut rig, _) = Rig::dead(3);
        let command = rig.command(Action::Purge);
        rig.store.set_trouble(vec![(op, error.clone())]);
        let failed = self::run(&rig, &command, 2);
        assert_eq!((failed.end, failed.changed), (End::Failed(error), 0));
        rig.store.set_trouble(Vec::new());
        assert_eq!(self::run(&rig, &command, 2).changed, 3);
    }
    let (mut rig, _) = Rig::dead(3);
    let command = rig.command(Action::Purge);
    for error in [StoreError::Damaged { what: "a page".into() }, StoreError::Unavailable] {
        rig.store.set_trouble(vec![(Trouble::Step, error.clone())]);
        let mut run = Run::new(&rig.store, &command, 2);
        while let Some(op) = run.next() {
            run.perform(op);
        }
        let end = run.job.outcome().expect("it is over").end;
        assert_eq!((end, run.pauses, run.steps), (End::Failed(error), 0, 1), "asking again would help nobody");
    }
}

/// A page that takes too long is made smaller, and larger again.
#[test]
fn a_slow_page_is_made_smaller() {
    let (mut rig, _) = Rig::dead(40);
    let command = rig.command(Action::Purge);
    let mut run = Run::new(&rig.store, &command, 16);
    let slow = StoreError::TooSlow { after: Duration::from_secs(1) };
    let mut limits = Vec::new();
    while let Some(op) = run.next() {
        let too_many = if let JobOp::Page(asked) = &op {
            limits.push(asked.ask.page.limit);
            limits.len() < 4 && asked.ask.page.limit > 4
        } else {
            false
        };
        rig.store.set_trouble(if too_many { vec![(Trouble::Look, slow.clone())] } else { Vec::new() });
        run.perform(op);
    }
    assert_eq!(limits, [16, 8, 4, 8, 16, 16]);
    assert_eq!((run.pauses, run.job.outcome().map(|outcome| outcome.changed)), (0, Some(40)));
}

/// A job that gives up on a step which may have been done says so to the hub.
#[test]
fn whoever_gives_up_tells_what_may_have_been_done() {
    let (mut rig, made) = Rig::dead(1);
    let command = rig.command(redrive());
    let mut run = Run::new(&rig.store, &command, 2);
    while let Some(op) = run.next() {
        if matches!(op, JobOp::Step(_)) {
            run.job.handle(rig.store.job_unheard(op));
        } else {
            run.perform(op);
        }
    }
    assert_eq!(run.job.outcome().map(|outcome| outcome.end), Some(End::Failed(StoreError::Unknown)));
    assert_eq!(run.pauses, usize::from(limits::JOB_TRIES_MAX));
    assert_eq!(run.tells, [ForHub { touched: vec![made[0].id], woken: [name("crm")].into() }]);
}

/// I12: cut behind any operation, done or not, and given again: each delivery is changed once, though those that were have
/// died anew meanwhile, and the sums are those of all.
#[test]
fn a_job_cut_anywhere_goes_on_where_it_stood() {
    for target_is_ids in [false, true] {
        for (cut, happens) in (0..9).flat_map(|cut| [(cut, true), (cut, false)]) {
            let (mut rig, made) = Rig::dead(7);
            let mut command = rig.command(redrive());
            if target_is_ids {
                command.target = Target::Ids(made.iter().map(|made| made.id).collect());
            }
            let mut first = Run::new(&rig.store, &command, 2);
            for _ in 0..cut {
                let Some(op) = first.next() else { break };
                first.perform(op);
            }
            if let Some(op) = first.next().filter(|_| happens) {
                rig.store.perform_job(op);
            }
            drop(first);
            let done: Vec<Delivery> =
                rig.store.deliveries().into_iter().filter(|found| found.state == State::Ready).collect();
            for ready in &done {
                let next = ready.version + 1;
                let again = Delivery { version: next, state: State::Dead, reason: Some(Reason::Busy), ..ready.clone() };
                rig.settled(Change { before: ready.clone(), next: again, archive: None });
            }
            let outcome = run(&rig, &command, 2);
            assert_eq!((outcome.end.clone(), outcome.matched, outcome.changed), (End::Done, 7, 7), "cut at {cut}");
            let ready = rig.states().into_iter().filter(|state| *state == State::Ready).count();
            assert_eq!(ready, 7 - done.len(), "what has died anew stays dead, cut at {cut}");
            assert_eq!(rig.store.audit_log().len(), 1);
            assert_eq!(run(&rig, &command, 2), outcome, "and is over");
        }
    }
}

/// Two that run one job at the same time do each step once.
#[test]
fn two_runs_of_a_job_do_each_step_once() {
    let (mut rig, _) = Rig::dead(9);
    let command = rig.command(Action::Purge);
    let mut runs = [Run::new(&rig.store, &command, 2), Run::new(&rig.store, &command, 2)];
    let mut going = true;
    while std::mem::take(&mut going) {
        for run in &mut runs {
            if let Some(op) = run.next() {
                run.perform(op);
                going = true;
            }
        }
    }
    for run in &runs {
        let outcome = run.job.outcome().expect("it is over");
        assert_eq!((outcome.end, outcome.matched, outcome.changed), (End::Done, 9, 9));
    }
    assert!(rig.states().is_empty() && rig.store.audit_log().len() == 1);
}

/// I7, I12: what a client reports between a page and its step stays, and is no change of the job.
#[test]
fn what_ended_meanwhile_is_passed_over() {
    let mut rig = Rig::new();
    rig.made(State::Ready);
    let held = rig.leased();
    let waiting = rig.made(State::Ready);
    let command = rig.command(Action::Cancel);
    let mut run = Run::new(&rig.store, &command, 500);
    let page = run.next().expect("a page");
    run.perform(page);
    let done = rig.settled(delivered(&held));
    while let Some(op) = run.next() {
        run.perform(op);
    }
    let outcome = run.job.outcome().expect("it is over");
    assert_eq!((outcome.matched, outcome.changed), (2, 1));
    assert_eq!(rig.store.delivery(done.id), Some(done));
    assert_eq!(run.tells, [ForHub { touched: vec![waiting.id], woken: BTreeSet::new() }]);
}

/// A lease that is extended while it is being cancelled is cancelled all the same: decided about anew, and counted once.
#[test]
fn what_is_still_meant_is_decided_about_anew() {
    let mut rig = Rig::new();
    rig.made(State::Ready);
    rig.made(State::Ready);
    let held = [rig.leased(), rig.leased()];
    let command = Command { limit: Some(2), ..rig.command(Action::Cancel) };
    let mut run = Run::new(&rig.store, &command, 500);
    let (mut steps, mut extended) = (0, 0);
    while let Some(op) = run.next() {
        if matches!(op, JobOp::Step(_)) {
            steps += 1;
            if steps < 3 {
                let until = NOW + Duration::from_mins(1 + steps);
                let extend = Extend { id: held[1].id, claim: held[1].claim(), until };
                wait(rig.store.extend(vec![extend])).expect("extends");
                extended += 1;
            }
        }
        run.perform(op);
    }
    let outcome = run.job.outcome().expect("it is over");
    assert_eq!((steps, extended, outcome.matched, outcome.changed), (3, 2, 2, 2));
    assert_eq!(rig.states(), [State::Cancelled; 2]);
    assert_eq!(run.tells.len(), 2);
}

/// What is extended for ever is left alone in the end.
#[test]
fn a_decision_is_taken_anew_so_many_times() {
    let mut rig = Rig::new();
    rig.made(State::Ready);
    let held = rig.leased();
    let command = rig.command(Action::Cancel);
    let mut run = Run::new(&rig.store, &command, 500);
    let mut until = NOW + Duration::from_mins(2);
    while let Some(op) = run.next() {
        until = until + Duration::from_millis(1);
        wait(rig.store.extend(vec![Extend { id: held.id, claim: held.claim(), until }])).expect("extends");
        run.perform(op);
    }
    assert_eq!(run.steps, 1 + usize::from(limits::DECIDE_AGAIN_MAX));
    let outcome = run.job.outcome().expect("it is over");
    assert_eq!((outcome.end, outcome.matched, outcome.changed), (End::Done, 1, 0));
    assert!(rig.store.audit_log().is_empty(), "nothing was changed");
}

/// A purge removes what was decided on: one that was redriven meanwhile is alive, and one that is gone is gone.
#[test]
fn a_purge_passes_over_what_lives_again() {
    let (mut rig, made) = Rig::dead(3);
    let command = rig.command(Action::Purge);
    let other = Command { target: Target::Ids([made[1].id].into()), ..rig.command(Action::Purge) };
    let mut run = Run::new(&rig.store, &command, 500);
    let page = run.next().expect("a page");
    run.perform(page);
    let alive = rig.settled(redriven(&made[0], NOW, TTL));
    assert_eq!(self::run(&rig, &other, 1).changed, 1);
    while let Some(op) = run.next() {
        run.perform(op);
    }
    assert_eq!(run.job.outcome().map(|outcome| (outcome.matched, outcome.changed)), Some((3, 1)));
    assert_eq!(rig.store.deliveries(), [alive]);
    assert_eq!(run.tells[0].touched, [made[2].id]);
}

/// A replay of all events of a source along these routes.
fn replay(rig: &mut Rig, pace: Option<Pace>) -> Command {
    let route = |to| Route { destination: name(to), ttl: TTL, retry: RetryPolicy::default() };
    let routes = BTreeMap::from([(name("in"), vec![route("crm"), route("erp")])]);
    let target = Target::Events(EventFilter { oldest_first: true, ..EventFilter::default() });
    Command { target, ..rig.command(Action::Replay { routes, pace }) }
}

/// How many deliveries of each event are replays.
fn replays(rig: &Rig) -> BTreeMap<EventId, Vec<Delivery>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for made in rig.store.deliveries().into_iter().filter(|found| found.replay) {
        found.entry(made.event).or_default().push(made);
    }
    found
}

/// I12: a replay that is cut anywhere, whose answers are lost, and that is given again under its id makes each delivery once.
#[test]
fn a_replay_makes_each_delivery_once() {
    for seed in 0..1_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut rig, made) = Rig::dead(rng.random_range(0..9));
        let command = replay(&mut rig, None);
        let page_max = rng.random_range(1..6);
        let (outcome, tells) = loop {
            let mut run = Run::new(&rig.store, &command, page_max);
            while let Some(op) = run.next() {
                match rng.random_range(0..8) {
                    0 => break,
                    1 => {
                        rig.store.perform_job(op);
                        break;
                    }
                    2 if matches!(op, JobOp::Step(_)) => {
                        rig.store.perform_job(op.clone());
                        run.job.handle(rig.store.job_unheard(op));
                    }
                    _ => run.perform(op),
                }
            }
            if let Some(outcome) = run.job.outcome().filter(|outcome| outcome.end == End::Done) {
                break (outcome, run.tells);
            }
        };
        let of_events = replays(&rig);
        assert_eq!((outcome.matched, outcome.changed), (made.len() as u64, 2 * made.len() as u64), "seed {seed}");
        assert!(made.iter().all(|old| of_events[&old.event].len() == 2), "seed {seed}");
        assert!(tells.iter().all(|told| told.touched.is_empty() && told.woken.len() == 2), "seed {seed}");
        assert_eq!(rig.store.audit_log().len(), usize::from(!made.is_empty()));
    }
}

/// Of old events in their order, at most so many, each of its own source's routes; more of them under the same id go on.
#[test]
fn a_replay_goes_on_where_its_limit_was() {
    let (mut rig, made) = Rig::dead(5);
    let every = Duration::from_secs(5);
    let all = replay(&mut rig, Some(Pace { from: NOW + every, every }));
    let counted = run(&rig, &Command { dry_run: true, ..all.clone() }, 2);
    assert_eq!((counted.matched, counted.changed, counted.next_due), (5, 0, Some(NOW + every)));
    assert!(replays(&rig).is_empty());
    let first = Command { limit: Some(3), ..all.clone() };
    for _ in 0..2 {
        let outcome = run(&rig, &first, 2);
        assert_eq!((outcome.matched, outcome.changed, outcome.next_due), (3, 6, Some(NOW + 4 * every)));
    }
    // However late, not all at once.
    let mut rest = Job::new(Command { limit: Some(4), ..all.clone() });
    let late = NOW + 100 * every;
    while let Some(output) = rest.poll(late) {
        match output {
            Output::Ask(op) => rest.handle(rig.store.perform_job(op)),
            Output::Mint(count) => rest.mint((0..count).map(|_| rig.mint.delivery(late)).collect()),
            Output::Tell(_) => {}
            Output::Pause(_) | Output::Over => break,
        }
    }
    assert_eq!(rest.outcome().map(|outcome| (outcome.matched, outcome.next_due)), Some((4, Some(late + every))));
    let outcome = run(&rig, &all, 2);
    assert_eq!((outcome.matched, outcome.changed, outcome.next), (5, 10, None));
    let due: Vec<Wall> = made.iter().map(|old| replays(&rig)[&old.event][0].due_at).collect();
    assert_eq!(due, [NOW + every, NOW + 2 * every, NOW + 3 * every, late, late + every]);
    let nowhere = Command { target: Target::Matching(DeliveryFilter::default()), ..replay(&mut rig, None) };
    assert_eq!(run(&rig, &nowhere, 2).matched, 0, "deliveries are not replayed");
}

/// A server that stops gives no ids, and whoever has taken the last of an event leaves nothing to replay.
#[test]
fn a_replay_without_ids_or_events_ends() {
    let (mut rig, _) = Rig::dead(2);
    let command = replay(&mut rig, None);
    let mut job = Job::new(command.clone());
    while let Some(output) = job.poll(NOW) {
        match output {
            Output::Ask(op) => job.handle(rig.store.perform_job(op)),
            Output::Mint(_) => job.stop(),
            Output::Tell(_) | Output::Pause(_) | Output::Over => break,
        }
    }
    assert_eq!(job.outcome().map(|outcome| (outcome.end, outcome.changed)), Some((End::Stopped, 0)));
    let purge = rig.command(Action::Purge);
    let mut run = Run::new(&rig.store, &command, 500);
    let page = run.next().expect("a page");
    run.perform(page);
    assert_eq!(self::run(&rig, &purge, 500).changed, 2);
    let (outcome, tells) = run.finish();
    assert_eq!((outcome.matched, outcome.changed, tells.len()), (2, 0, 0));
    assert!(rig.store.deliveries().is_empty());
}

/// I12: an id belongs to its command; under another one nothing is done.
#[test]
fn another_command_under_a_job_does_nothing() {
    let (mut rig, _) = Rig::dead(4);
    let first = Command { fingerprint: 1, limit: Some(2), ..rig.command(redrive()) };
    assert_eq!(run(&rig, &first, 500).changed, 2);
    let other = Command { fingerprint: 2, limit: None, ..first.clone() };
    let outcome = run(&rig, &other, 500);
    assert_eq!((outcome.end, outcome.changed), (End::Taken, 0));
    assert_eq!(rig.states().iter().filter(|state| **state == State::Dead).count(), 2);
    assert_eq!(run(&rig, &Command { limit: None, ..first }, 500).changed, 4, "and the first one goes on");
}

/// At a rate each is due behind the one before it, over all steps, and over a cut.
#[test]
fn a_rate_holds_over_pages_and_cuts() {
    let every = Duration::from_secs(5);
    for cut in [0, 2, 3, 4, 100] {
        let (mut rig, _) = Rig::dead(7);
        let pace = Some(Pace { from: NOW + every, every });
        let command = rig.command(Action::Redrive { ttl: BTreeMap::new(), ttl_default: TTL, pace });
        let mut first = Run::new(&rig.store, &command, 3);
        for _ in 0..cut {
            let Some(op) = first.next() else { break };
            first.perform(op);
        }
        let outcome = run(&rig, &command, 3);
        assert_eq!(outcome.next_due, Some(NOW + 8 * every));
        let mut due: Vec<Wall> = rig.store.deliveries().iter().map(|found| found.due_at).collect();
        due.sort_unstable();
        let wanted: Vec<Wall> = (1..=7).map(|number| NOW + number * every).collect();
        assert_eq!(due, wanted, "cut at {cut}");
    }
    let (mut rig, _) = Rig::dead(2);
    let pace = Some(Pace { from: NOW, every });
    let redrive = Action::Redrive { ttl: BTreeMap::new(), ttl_default: TTL, pace };
    let command = Command { dry_run: true, ..rig.command(redrive) };
    assert_eq!(run(&rig, &command, 1).next_due, Some(NOW), "nothing was placed");
}

/// So many at most, of those that are picked; and the same command goes on from where it says.
#[test]
fn a_limit_and_a_pick_hold_over_pages() {
    for page_max in [1, 2, 3, 500] {
        let (mut rig, made) = Rig::dead(10);
        let odd: BTreeSet<DeliveryId> = made.iter().skip(1).step_by(2).map(|made| made.id).collect();
        let picked = odd.clone();
        let pick = Some(Meant::new(move |found| picked.contains(&found.id)));
        let first = Command { pick, limit: Some(3), ..rig.command(Action::Purge) };
        let outcome = run(&rig, &first, page_max);
        assert_eq!((outcome.matched, outcome.changed), (3, 3), "by {page_max}");
        assert_eq!(run(&rig, &first, page_max), outcome, "the same id is the same command");
        let rest = Command { job: rig.mint.job(NOW), cursor: outcome.next, ..first };
        let outcome = run(&rig, &rest, page_max);
        assert_eq!((outcome.changed, outcome.next), (2, None), "by {page_max}");
        assert!(rig.store.deliveries().iter().all(|left| !odd.contains(&left.id)) && rig.states().len() == 5);
        let none = Command { limit: Some(0), ..rig.command(Action::Purge) };
        assert_eq!(run(&rig, &none, page_max).matched, 0);
    }
}

/// A server that stops ends a job between two steps; what is under way is waited for.
#[test]
fn a_stopped_job_ends_behind_what_is_under_way() {
    let (mut rig, _) = Rig::dead(5);
    let command = rig.command(redrive());
    let mut run = Run::new(&rig.store, &command, 2);
    let page = run.next().expect("a page");
    run.perform(page);
    let step = run.next().expect("a step");
    run.job.stop();
    assert!(run.job.outcome().is_none() && run.job.poll(NOW).is_none(), "it waits for the answer");
    run.perform(step);
    assert_eq!(run.next().map(|_| ()), None);
    assert_eq!(run.tells.len(), 1);
    let outcome = run.job.outcome().expect("it is over");
    assert_eq!((outcome.end, outcome.changed), (End::Stopped, 2));
    assert_eq!(self::run(&rig, &command, 2).changed, 5);
}

/// An answer that nobody waits for changes nothing.
#[test]
fn a_stray_answer_is_passed_over() {
    let (mut rig, _) = Rig::dead(3);
    let command = rig.command(redrive());
    let mut run = Run::new(&rig.store, &command, 2);
    let mut stray: Vec<JobStored> = Vec::new();
    while let Some(op) = run.next() {
        for answer in stray.drain(..) {
            run.job.handle(answer);
        }
        stray.push(rig.store.perform_job(op.clone()));
        // A step that was done is answered with the mark.
        run.perform(op);
    }
    assert_eq!(run.job.outcome().map(|outcome| (outcome.matched, outcome.changed)), Some((3, 3)));
}

fn delivered(before: &Delivery) -> Change {
    let next = Delivery { version: before.version + 1, state: State::Delivered, lease: None, ..before.clone() };
    Change { before: before.clone(), next, archive: None }
}

/// I12: under any row of lost answers, cuts, and others' doings, no delivery is changed twice by a job, nothing that others
/// did is undone, and what the job says that it changed is what it changed.
#[test]
fn a_job_changes_each_delivery_once() {
    for seed in 0..3_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut rig, _) = Rig::dead(rng.random_range(0..12));
        let command = rig.command(redrive());
        let page_max = rng.random_range(1..6);
        let mut others: BTreeSet<DeliveryId> = BTreeSet::new();
        let outcome = loop {
            let mut run = Run::new(&rig.store, &command, page_max);
            while let Some(op) = run.next() {
                match rng.random_range(0..12) {
                    0 => break,
                    1 => {
                        rig.store.perform_job(op);
                        break;
                    }
                    2 if matches!(op, JobOp::Step(_)) => run.job.handle(rig.store.job_unheard(op)),
                    3 if matches!(op, JobOp::Step(_)) => {
                        rig.store.perform_job(op.clone());
                        run.job.handle(rig.store.job_unheard(op));
                    }
                    4 => {
                        rig.disturb(&mut others);
                        run.perform(op);
                    }
                    _ => run.perform(op),
                }
            }
            if let Some(outcome) = run.job.outcome().filter(|outcome| outcome.end == End::Done) {
                break outcome;
            }
        };
        let changes: u64 = rig.store.deliveries().iter().map(|found| found.version).sum();
        assert_eq!(changes, outcome.changed + others.len() as u64, "seed {seed}");
        assert!(rig.store.deliveries().iter().all(|found| found.version <= 2), "seed {seed}");
    }
}
