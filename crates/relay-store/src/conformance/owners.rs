//! Several owners: servers that work on one store. Where a case needs two and the backend takes one, two handles of that
//! one stand for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use relay_core::{
    delivery::{self, Claim, Delivery, Lease, State, outcome::Class, retry::RetryPolicy},
    id::{IdMint, InstanceId},
    jobs::{Action, End, Job, Output, Target},
    limits,
    partitions::Partitions,
    routing::Route,
    storage::{
        About, Append, Appended, Changed, Due, DueAsk, EventFilter, Extend, Extended, HeldAsk, HeldOf, LeaseAsk,
        OpenCircuit, Presence, Reading, Replay, Replayed, SeenCircuit, SeenClient, StoreError,
    },
};

use super::{
    Backend, Fixture,
    fixture::{TTL, asking, at, failing, key, name},
};
use crate::{
    Store,
    seam::{Promises, Trades, perform_job},
};

/// The handles of two owners.
fn owners<B: Backend>(fixture: &Fixture<B>) -> [Arc<dyn Store>; 2] {
    [fixture.store(), fixture.backend.second_owner().unwrap_or_else(|| fixture.store())]
}

/// A backend that says that several may work on it lets them, and one that does not says that nobody else is there.
pub async fn how_many_owners_it_takes_is_what_it_promises<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    let several = fixture.store().promises().several_owners;
    assert_eq!(fixture.backend.second_owner().is_some(), several);
    if !several {
        assert_eq!(fixture.store().presence(run(1, 1)).await, Ok(Vec::new()));
        assert_eq!(fixture.store().presence(run(2, 1)).await, Ok(Vec::new()));
    }
    let clock = fixture.store().clock().await.expect("it says whether it has one");
    assert!(several || clock.is_none());
}

/// I7: whoever leases first has it, and the other is told that nothing is left.
pub async fn what_one_owner_stores_the_other_leases<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let stored = fixture.accept("crm", at(0)).await;
    let [first, second] = owners(&fixture);
    let ask = |nonce| LeaseAsk { nonce, ..asking("crm", at(1)) };
    let (one, other) = (second.lease(ask(2)).await, first.lease(ask(1)).await);
    let leased = one.expect("leases").deliveries;
    assert_eq!((leased[0].id, leased[0].claim().keeper), (stored.id, 2));
    assert!(other.expect("leases").deliveries.is_empty());
    assert_eq!(first.find(vec![stored.id]).await, Ok(vec![Some(leased[0].clone())]));
    fixture.check_sums().await;
}

/// I20
pub async fn a_key_sent_to_two_owners_makes_one_event<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut answers = Vec::new();
    let handles = owners(&fixture);
    for number in 0..20 {
        let dedupe = key("same", at(1_000));
        let event = fixture.event_of(&dedupe, "in", b"{}", at(0));
        let append = Append { dedupe: Some(dedupe), ..fixture.appending(event, &["crm"]) };
        answers.push((append.event.id, handles[number % 2].append(vec![append])));
    }
    let mut stored = Vec::new();
    let mut repeated = Vec::new();
    for (id, answer) in answers {
        match answer.await.pop() {
            Some(Ok(Appended::Stored { event, .. })) => stored.push((id, event)),
            Some(Ok(Appended::Repeat { first, .. })) => repeated.push(first),
            other => panic!("neither stored nor a repeat: {other:?}"),
        }
    }
    assert_eq!((stored.len(), repeated.len()), (1, 19));
    assert_eq!(stored[0].0, stored[0].1);
    assert!(repeated.iter().all(|first| *first == stored[0].0));
    fixture.check_sums().await;
}

/// I7, I12: of two decisions on one record one is applied, and the other sees what has become of it.
pub async fn a_decision_of_one_owner_meets_that_of_the_other<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("crm", at(0)).await;
    let held = fixture.lease("crm", at(1)).await.deliveries.remove(0);
    let [first, second] = owners(&fixture);
    let failed = failing(&held, Class::Busy, at(2), at(9));
    let back = delivery::hand_back(&held, held.claim(), at(2)).expect("it is held");
    assert_eq!(first.settle(vec![failed.clone()]).await, Ok(vec![Changed::Applied]));
    assert_eq!(second.settle(vec![back]).await, Ok(vec![Changed::Conflict(Some(Box::new(failed.next)))]));
    fixture.check_sums().await;
}

/// What each says is told to the others, and of whom nothing is heard is gone.
pub async fn runs_hear_of_each_other_until_they_are_gone<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    let Some(second) = fixture.backend.second_owner() else { return };
    let first = fixture.store();
    let one = run(1, 0);
    assert_eq!(first.presence(one.clone()).await, Ok(Vec::new()));
    assert_eq!(second.presence(run(2, 1)).await, Ok(vec![one]));
    let other = Presence { clients: Vec::new(), ..run(2, 2) };
    assert_eq!(second.presence(other.clone()).await.map(|others| others.len()), Ok(1));
    assert_eq!(first.presence(run(1, 3)).await, Ok(vec![other.clone()]), "the latest word counts");
    let gone = limits::PRESENCE_GONE.as_secs();
    assert_eq!(first.presence(run(1, 1 + gone)).await, Ok(vec![other]));
    assert_eq!(first.presence(run(1, 2 + gone)).await, Ok(Vec::new()));
}

/// I8: a lease whose keeper says nothing is named once its end has passed, and never before.
pub async fn a_lease_lapses_whoever_kept_it<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("crm", at(0)).await;
    let held = fixture.lease("crm", at(0)).await.deliveries.remove(0);
    let until = held.lease.expect("it is leased").until;
    let [_, second] = owners(&fixture);
    let ask = |by| DueAsk { lapsed_by: Some(by), ..DueAsk::at(at(90), 10) };
    let lapsed = |due: Result<Due, StoreError>| due.expect("reads").lapsed;
    assert_eq!(lapsed(second.due(ask(until - Duration::from_micros(1))).await), Vec::new());
    if fixture.store().promises().several_owners {
        assert_eq!(lapsed(second.due(ask(until)).await), std::slice::from_ref(&held));
    }
    assert_eq!(lapsed(second.due(DueAsk::at(at(90), 10)).await), Vec::new(), "nobody asked for them");
    let over = until + limits::LAPSE_AFTER;
    assert_eq!(delivery::lapse(&held, over - Duration::from_micros(1)), None);
    let ended = fixture.apply(delivery::lapse(&held, over).expect("it has lapsed")).await;
    assert_eq!((ended.state, ended.losses, ended.unheard), (State::Ready, 0, 1));
    assert_eq!(lapsed(second.due(ask(over)).await), Vec::new());
}

/// Whoever looks for his own is not shown those of others, however many come before.
pub async fn leases_are_listed_by_keeper_and_by_instance<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for second in 0..6 {
        fixture.accept("crm", at(second)).await;
    }
    let mut held = Vec::new();
    for (count, nonce) in [(4, 1), (2, 2)] {
        let ask =
            LeaseAsk { nonce, instance: InstanceId::from_u128(nonce.into()), limit: count, ..asking("crm", at(9)) };
        let mut leased = fixture.store().lease(ask).await.expect("leases").deliveries;
        leased.sort_by_key(|found| found.id);
        held.push(leased);
    }
    for of in [HeldOf::Keeper(2), HeldOf::Instance(InstanceId::from_u128(2))] {
        assert_eq!(listed(&fixture, of, 1).await, held[1]);
        assert_eq!(listed(&fixture, of, 3).await, held[1]);
    }
    assert_eq!(listed(&fixture, HeldOf::Keeper(1), 3).await, held[0]);
    assert_eq!(listed(&fixture, HeldOf::Keeper(3), 3).await, []);
    assert_eq!(listed(&fixture, HeldOf::All, 4).await.len(), 6);
}

async fn listed<B: Backend>(fixture: &Fixture<B>, of: HeldOf, limit: u32) -> Vec<Delivery> {
    let mut listed: Vec<Delivery> = Vec::new();
    loop {
        let after = listed.last().map(|found| found.id);
        let page = fixture.store().held(HeldAsk { of, ..HeldAsk::all(after, limit) }).await.expect("reads");
        assert!(page.len() <= limit as usize);
        if page.is_empty() {
            return listed;
        }
        listed.extend(page);
    }
}

/// I7, I8: the fence stays, so that its client goes on; and its old keeper has no say in it any more.
pub async fn a_lease_that_was_adopted_is_ended_by_its_new_keeper<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("crm", at(0)).await;
    let held = fixture.lease("crm", at(1)).await.deliveries.remove(0);
    let lease = held.lease.expect("it is leased");
    let by = Lease { keeper: 9, ..lease };
    let adopted = delivery::adopt(&held, held.token, by, at(2)).expect("it is held");
    let adopted = fixture.apply(adopted).await;
    assert_eq!((adopted.token, adopted.version), (held.token, held.version + 1));
    assert_eq!(adopted.claim(), Claim { keeper: 9, token: held.token });
    assert_eq!(fixture.find(held.id).await, Some(adopted.clone()));
    let back = delivery::hand_back(&held, held.claim(), at(3)).expect("it knows of nothing");
    assert_eq!(fixture.settle(back).await, Changed::Conflict(Some(Box::new(adopted.clone()))));
    for end in [delivery::hand_back, delivery::end_unheard, delivery::lose] {
        assert_eq!(end(&adopted, held.claim(), at(3)), None);
    }
    assert_eq!(delivery::adopt(&adopted, held.token, by, at(3)), None);
    let extend = |claim| Extend { id: held.id, claim, until: lease.until + Duration::from_secs(9) };
    let not_its_own = Ok(vec![Extended::Over(Some(Box::new(adopted.clone())))]);
    assert_eq!(fixture.store().extend(vec![extend(held.claim())]).await, not_its_own);
    assert_eq!(fixture.find(held.id).await, Some(adopted.clone()));
    let stands = Extended::Stands { until: extend(adopted.claim()).until, version: adopted.version + 1 };
    assert_eq!(fixture.store().extend(vec![extend(adopted.claim())]).await, Ok(vec![stands]));
    let adopted = fixture.find(held.id).await.expect("it is there");
    let fixture = fixture.reopen().await;
    let back = delivery::hand_back(&adopted, adopted.claim(), at(4)).expect("it is its own");
    assert_eq!(fixture.settle(back).await, Changed::Applied);
    fixture.check_sums().await;
}

/// I20: whoever decided on what the event had before the other's press stores nothing, and the same call again does nothing twice.
pub async fn two_presses_at_two_owners_are_one<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let old = fixture.ended("crm", State::Delivered, at(1)).await;
    let event = fixture.store().event(old.event).await.expect("reading works").expect("it is there");
    let [first, second] = owners(&fixture);
    let mut press = || Replay {
        made: vec![Delivery::ready(fixture.mint.delivery(at(5)), &event, name("crm"), true, at(5), TTL)],
        decided_on: Some(1),
    };
    let (one, other) = (press(), press());
    assert_eq!(first.replay(one.clone(), Vec::new()).await, Ok(Replayed::Stored(vec![true])));
    let Ok(Replayed::Elsewise(mut now)) = second.replay(other.clone(), Vec::new()).await else {
        panic!("both were stored");
    };
    now.sort_by_key(|found| found.id);
    assert_eq!(now, [old.clone(), one.made[0].clone()]);
    assert_eq!(second.replay(one, Vec::new()).await, Ok(Replayed::Stored(vec![true])), "asked once more");
    let anyway = Replay { decided_on: Some(2), ..other };
    assert_eq!(second.replay(anyway, Vec::new()).await, Ok(Replayed::Stored(vec![true])));
    assert_eq!(fixture.counters("crm").await.created, 3);
    fixture.check_sums().await;
}

/// I9: one command that two owners run at the same time, each by its own pages and under ids of its own, replays each event once; and
/// both come to the same sums.
pub async fn a_replay_that_two_owners_run_is_done_once<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for number in 0..7 {
        fixture.ended("crm", State::Delivered, at(number)).await;
    }
    let route = |to| Route { destination: name(to), ttl: TTL, retry: RetryPolicy::default() };
    let routes = BTreeMap::from([(name("in"), vec![route("crm"), route("erp")])]);
    let command =
        fixture.command(Action::Replay { routes, pace: None }, Target::Events(EventFilter::default()), at(10));
    let stores = owners(&fixture);
    let mut mints = [2, 3].map(|seed| IdMint::new(command.job.sequence() + (1 << 40), seed));
    let mut jobs = [4, 6].map(|page| Job::new(command.clone()).by(page));
    // Each asks for what comes next before the other is answered: both steps may find the same mark.
    while jobs.iter().any(|job| job.outcome().is_none()) {
        let mut asked = Vec::new();
        for (at_which, job) in jobs.iter_mut().enumerate() {
            match job.poll(at(10)) {
                Some(Output::Ask(op)) => asked.push((at_which, op)),
                Some(Output::Mint(count)) => {
                    job.mint((0..count).map(|_| mints[at_which].delivery(at(10))).collect());
                }
                Some(Output::Tell(_) | Output::Pause(_) | Output::Over) | None => {}
            }
        }
        let performed = asked.into_iter().map(|(at_which, op)| {
            let performing = perform_job(Trades::of(&*stores[at_which]), op);
            async move { (at_which, performing.await) }
        });
        for (at_which, answer) in join_all(performed).await {
            jobs[at_which].handle(answer);
        }
    }
    for job in &jobs {
        let outcome = job.outcome().expect("it is over");
        assert_eq!((outcome.end, outcome.matched, outcome.changed), (End::Done, 7, 14));
    }
    assert_eq!((fixture.counters("crm").await.created, fixture.counters("erp").await.created), (14, 7));
    fixture.check_sums().await;
}

/// I10: what counts against an event that hangs its target, whoever delivered the others.
pub async fn what_was_delivered_is_told_with_what_is_due<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let [_, second] = owners(&fixture);
    for delivered in 0..3 {
        fixture.accept("crm", at(delivered)).await;
        let due = second.due(DueAsk::at(at(9), 10)).await.expect("reads");
        assert_eq!(due.destinations[0].delivered, delivered);
        let held = fixture.lease("crm", at(9)).await.deliveries.remove(0);
        let done = super::fixture::change(&held, |next| {
            next.last = Some(super::fixture::attempt(&held, Class::Delivered, at(9)));
            (next.state, next.lease, next.tries) = (State::Delivered, None, 1);
        });
        fixture.apply(done).await;
    }
}

/// I2, I11: a lease in it may be over by the time that an answer is heard.
pub async fn an_append_that_is_repeated_names_its_deliveries_as_they_are<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for dedupe in [None, Some(key("key", at(1_000)))] {
        let event = match &dedupe {
            Some(dedupe) => fixture.event_of(dedupe, "in", b"{}", at(0)),
            None => fixture.event("in", b"{}", at(0)),
        };
        let append = Append { dedupe, ..fixture.appending(event, &["crm", "erp"]) };
        let event = append.event.id;
        assert_eq!(fixture.append(append.clone()).await, Ok(Appended::as_asked(event)));
        let held = fixture.lease("crm", at(1)).await.deliveries;
        let again = fixture.append(append.clone()).await;
        let deliveries = vec![held[0].clone(), append.deliveries[1].clone()];
        assert_eq!(again, Ok(Appended::Stored { event, deliveries }));
    }
}

/// I8, I13: whoever looks after some partitions is told of all that is to end there, and of nothing else, however much of the others
/// comes before it.
pub async fn what_has_expired_or_lapsed_is_named_by_partition<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let Promises { partitions: count, several_owners, .. } = fixture.store().promises();
    assert!((1..=limits::PARTITIONS_MAX).contains(&count));
    let (mut expired, mut lapsed) = (BTreeSet::new(), BTreeSet::new());
    for second in 0..60 {
        expired.insert(fixture.accept("crm", at(second)).await.id);
        fixture.accept("leased", at(second)).await;
    }
    lapsed.extend(fixture.lease("leased", at(60)).await.deliveries.iter().map(|held| held.id));
    lapsed.retain(|_| several_owners);
    let now = at(60) + TTL;
    let (mut all_expired, mut all_lapsed) = (BTreeSet::new(), BTreeSet::new());
    let ids = |found: &[Delivery]| -> BTreeSet<_> { found.iter().map(|found| found.id).collect() };
    for place in 0..count {
        let partitions = Partitions::only(place, count);
        for limit in [1_000, 1] {
            let due = fixture
                .store()
                .due(DueAsk { now, partitions, lapsed_by: Some(now), lapsed_in: partitions, limit })
                .await
                .expect("reads");
            let names: Vec<_> = due.destinations.iter().map(|found| found.destination.as_str().to_owned()).collect();
            assert_eq!(names, ["crm"], "what waits is named in any case");
            let found = [(due.expired, &expired, &mut all_expired), (due.lapsed, &lapsed, &mut all_lapsed)];
            for (found, all, seen) in found {
                let here: BTreeSet<_> = all.iter().copied().filter(|id| partitions.hold(id.partition())).collect();
                assert_eq!(found.len(), here.len().min(limit as usize), "{partitions:?}");
                assert!(ids(&found).is_subset(&here));
                seen.extend(ids(&found));
            }
        }
    }
    assert_eq!((&all_expired, &all_lapsed), (&expired, &lapsed));
    // What has expired and what has lapsed are asked for apart: a server that looks after some ends leases of others, too.
    let (nowhere, none) = (Partitions::none(count), BTreeSet::new());
    for (partitions, lapsed_in, wanted) in [
        (nowhere, nowhere, (&none, &none)),
        (nowhere, Partitions::all(count), (&none, &lapsed)),
        (Partitions::all(count), nowhere, (&expired, &none)),
    ] {
        let ask = DueAsk { now, partitions, lapsed_by: Some(now), lapsed_in, limit: 1_000 };
        let due = fixture.store().due(ask).await.expect("reads");
        assert_eq!((&ids(&due.expired), &ids(&due.lapsed)), wanted);
        assert_eq!(due.destinations.len(), 1);
    }
}

fn run(run: u64, seconds: u64) -> Presence {
    let client = SeenClient { instance: InstanceId::from_u128(run.into()), since: at(0), serves: vec![name("crm")] };
    let open = OpenCircuit {
        lasts: Duration::from_secs(9),
        pause: Duration::from_secs(4),
        left: Duration::from_secs(1),
        unreachable_only: false,
        error: Some("answered 500".into()),
    };
    let circuit = SeenCircuit { instance: client.instance, since: at(0), destination: name("crm"), open };
    Presence {
        run,
        at: at(seconds),
        server: About { version: "1.2.3".into(), name: "a".into(), address: "192.0.2.1:80".into(), config: [7; 32] },
        stopping: run.is_multiple_of(2),
        clock: Some(Reading { ahead: -3, within: Duration::from_millis(2) }),
        clients: vec![client],
        circuits: vec![circuit],
    }
}
