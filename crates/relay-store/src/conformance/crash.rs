//! Killed at every named edge of every writing operation: I1, I2, I12.
//!
//! Each case prepares two equal stores. One performs the operation undisturbed and shows what *wholly there* means; the
//! other is killed in it. After reopening, the second must equal the first, or what it was before. All of it is where one step
//! reaches; the last cases are about what is spread.

use std::future::Future;

use relay_core::{
    delivery::{Change, Delivery, State, cancel, outcome::Class},
    id::JobId,
    partitions::Partitions,
    storage::{Ended, Extend, Forget, HeldAsk, HeldOf, LeaseAsk, Replay, Retire, Step},
};

use super::{
    Backend, Fixture,
    fixture::{TTL, asking, at, ending, failing, key, name},
};
use crate::seam::{DocumentKey, DocumentKind};

/// A fixture with something in every state, and the deliveries in it: ready, leased, leased, scheduled, dead, delivered.
async fn prepared<B: Backend>() -> (Fixture<B>, Vec<Delivery>) {
    let mut fixture = Fixture::<B>::in_one_place().await;
    let mut all = Vec::new();
    for seconds in 0..2 {
        fixture.accept("crm", at(seconds)).await;
    }
    let leased = fixture.lease("crm", at(5)).await;
    let ready = fixture.accept("crm", at(6)).await;
    all.push(ready);
    all.extend(leased.deliveries);
    let scheduled = fixture.accept("crm", at(7)).await;
    all.push(fixture.apply(failing(&scheduled, Class::Rejected, at(8), at(9))).await);
    all.push(fixture.ended("crm", State::Dead, at(9)).await);
    all.push(fixture.ended("erp", State::Delivered, at(9)).await);
    (fixture, all)
}

/// Runs `operate` whole on one store and cut at each edge on others. It answers whether the store said yes.
async fn cut<B, Operate, Answer>(operate: Operate)
where
    B: Backend,
    Operate: Fn(Fixture<B>, Vec<Delivery>) -> Answer,
    Answer: Future<Output = (Fixture<B>, bool)>,
{
    let (whole, all) = prepared::<B>().await;
    let before = whole.snapshot().await;
    let (whole, said_yes) = operate(whole, all).await;
    assert!(said_yes, "the operation works when nothing is in its way");
    let after = whole.snapshot().await;
    assert_ne!(before, after, "the operation does something");

    for edge in B::EDGES {
        let (fixture, all) = prepared::<B>().await;
        fixture.backend.fail_at(edge);
        let (fixture, said_yes) = operate(fixture, all).await;
        let fixture = fixture.reopen().await;
        let found = fixture.snapshot().await;
        if said_yes {
            assert_eq!(found, after, "I1: answered yes, killed at `{edge}`");
        } else {
            assert!(found == before || found == after, "I2: killed at `{edge}`, neither whole nor absent: {found:?}");
        }
        fixture.check_sums().await;
    }
}

/// I1, I2: event, deliveries, dedupe key and counters together.
pub async fn an_append_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    cut::<B, _, _>(async |mut fixture: Fixture<B>, _| {
        let event = fixture.event("in", b"cut here", at(20));
        let mut append = fixture.appending(event, &["crm", "erp"]);
        append.dedupe = Some(key("cut", at(100)));
        let said_yes = fixture.append(append).await.is_ok();
        (fixture, said_yes)
    })
    .await;
}

/// I7, I11: the lease is durable before anybody may forward.
pub async fn a_lease_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    cut::<B, _, _>(async |fixture: Fixture<B>, _| {
        let said_yes = fixture.store().lease(asking("crm", at(20))).await.is_ok();
        (fixture, said_yes)
    })
    .await;
}

/// I8: all of a heartbeat's extensions or none.
pub async fn an_extension_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    cut::<B, _, _>(async |fixture: Fixture<B>, all: Vec<Delivery>| {
        let batch = all[1..3].iter().map(|held| Extend { id: held.id, claim: held.claim(), until: at(500) });
        let said_yes = fixture.store().extend(batch.collect()).await.is_ok();
        (fixture, said_yes)
    })
    .await;
}

/// I6, I12: record, attempt and counters together.
pub async fn a_settlement_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    cut::<B, _, _>(async |fixture: Fixture<B>, all: Vec<Delivery>| {
        let batch = vec![
            ending(&all[1], State::Delivered, at(20)),
            failing(&all[2], Class::Busy, at(20), at(30)),
            failing(&all[3], Class::Rejected, at(20), at(30)),
        ];
        let said_yes = fixture.store().settle(batch).await.is_ok();
        (fixture, said_yes)
    })
    .await;
}

/// I12: changes, removals, the line of the audit log and the mark together; and asked for again the step ends in the same
/// state.
pub async fn a_step_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    let step = |all: &[Delivery]| Step {
        job: JobId::from_u128(3 << 80),
        before: 0,
        cursor: None,
        matched: 3,
        fingerprint: 7,
        next_due: None,
        is_over: true,
        settle: vec![cancel(&all[0], at(20)), cancel(&all[1], at(20))],
        retire: Ended::of(&all[4]).into_iter().collect(),
        make: Vec::new(),
        erase: Vec::new(),
        audit: None,
    };
    cut::<B, _, _>(async |fixture: Fixture<B>, all: Vec<Delivery>| {
        let said_yes = fixture.store().step(step(&all)).await.is_ok();
        (fixture, said_yes)
    })
    .await;

    let (whole, all) = prepared::<B>().await;
    whole.store().step(step(&all)).await.expect("steps work");
    let after = whole.snapshot().await;
    for edge in B::EDGES {
        let (fixture, all) = prepared::<B>().await;
        fixture.backend.fail_at(edge);
        // Whatever is answered, it may be done.
        drop(fixture.store().step(step(&all)).await);
        let fixture = fixture.reopen().await;
        fixture.store().step(step(&all)).await.expect("steps work");
        assert_eq!(fixture.snapshot().await, after, "I12: killed at `{edge}`, and asked for again");
        fixture.check_sums().await;
    }
}

/// I12: the new deliveries together.
pub async fn a_replay_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    cut::<B, _, _>(async |mut fixture: Fixture<B>, all: Vec<Delivery>| {
        let event = fixture.event("in", b"{}", at(9));
        let deliveries = ["crm", "erp"].map(|to| {
            let new = Delivery::ready(fixture.mint.delivery(at(20)), &event, name(to), true, at(20), TTL);
            Delivery { event: all[5].event, ..new }
        });
        let said_yes = fixture.store().replay(Replay::anyway(deliveries.to_vec()), Vec::new()).await.is_ok();
        (fixture, said_yes)
    })
    .await;
}

/// A registry document is the old one or the new one.
pub async fn a_document_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    cut::<B, _, _>(async |fixture: Fixture<B>, _| {
        let key = DocumentKey { kind: DocumentKind::Source, name: "stripe".to_owned() };
        let said_yes = fixture.store().put_document(key, 0, Some("{}".to_owned()), Vec::new()).await.is_ok();
        (fixture, said_yes)
    })
    .await;
}

/// I5: what is retired is counted in the same commit.
pub async fn retention_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    cut::<B, _, _>(async |fixture: Fixture<B>, all: Vec<Delivery>| {
        let ended = [Ended::of(&all[4]), Ended::of(&all[5])].into_iter().flatten().collect();
        let forget = Forget {
            keys_until: at(900),
            unrouted_before: at(900),
            jobs_before: at(900),
            audit_before: at(0),
            partitions: Partitions::ALL,
        };
        let said_yes = fixture.store().retire(Retire { ended, more: false, forget }).await.is_ok();
        (fixture, said_yes)
    })
    .await;
}

/// I1: killed without warning after a busy life, twice.
pub async fn whatever_was_answered_is_there_after_reopening<B: Backend>() {
    let (fixture, _) = prepared::<B>().await;
    let before = fixture.snapshot().await;
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.snapshot().await, before);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.snapshot().await, before);
    fixture.check_sums().await;
}

/// I1, I2, I7, I12: over many parts each is whole or absent, what was leased is found by its keeper, and the same call again does what
/// is left.
pub async fn what_is_spread_and_cut_is_whole_in_each_part_and_done_by_the_same_call<B: Backend>() {
    for edge in B::EDGES {
        let mut fixture = Fixture::<B>::fresh().await;
        let mut all = Vec::new();
        for seconds in 0..20 {
            all.push(fixture.accept("crm", at(seconds)).await);
        }
        let ask = asking("crm", at(30));
        let keeper = ask.nonce;
        fixture.backend.fail_at(edge);
        drop(fixture.store().lease(ask).await);
        let fixture = fixture.reopen().await;
        let mine = HeldAsk { of: HeldOf::Keeper(keeper), ..HeldAsk::all(None, 100) };
        let mut held = fixture.store().held(mine).await.expect("reading works");
        let others = LeaseAsk { nonce: keeper ^ 1, ..asking("crm", at(30)) };
        held.extend(fixture.store().lease(others).await.expect("leasing works").deliveries);
        held.sort_by_key(|found| found.id);
        assert_eq!(
            held.iter().map(|found| found.id).collect::<Vec<_>>(),
            all.iter().map(|made| made.id).collect::<Vec<_>>()
        );

        let changes: Vec<Change> = held.iter().map(|held| ending(held, State::Delivered, at(31))).collect();
        fixture.backend.fail_at(edge);
        drop(fixture.store().settle(changes.clone()).await);
        let fixture = fixture.reopen().await;
        fixture.check_sums().await;
        fixture.store().settle(changes.clone()).await.expect("settling works");
        for change in &changes {
            assert_eq!(fixture.find(change.next.id).await.as_ref(), Some(&change.next), "killed at `{edge}`");
        }

        let forget = Forget {
            keys_until: at(0),
            unrouted_before: at(0),
            jobs_before: at(0),
            audit_before: at(0),
            partitions: Partitions::ALL,
        };
        let ended = changes.iter().filter_map(|change| Ended::of(&change.next)).collect();
        let retire = Retire { ended, more: false, forget };
        fixture.backend.fail_at(edge);
        drop(fixture.store().retire(retire.clone()).await);
        let fixture = fixture.reopen().await;
        fixture.check_sums().await;
        fixture.store().retire(retire).await.expect("retiring works");
        assert_eq!(fixture.counters("crm").await.retired, 20);
        assert_eq!(fixture.source_counters("in").await.stored, 0);
        fixture.check_sums().await;
    }
}
