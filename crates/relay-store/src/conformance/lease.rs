//! Leasing: the one fixed rule, fencing, and what is held.

use std::{sync::Arc, time::Duration};

use relay_core::{
    delivery::{Claim, Delivery, Lease, State, Token, outcome::Class},
    id::DeliveryId,
    partitions::Partitions,
    storage::{
        Backlog, DueAsk, Ended, Extend, Extended, Forget, HeldAsk, LeaseAsk, LeaseEnd, LeaseOrder, Leased, Retire,
    },
};

use super::{
    Backend, Fixture,
    fixture::{TTL, asking, at, change, ending, failing, name},
};

fn ids(leased: &Leased) -> Vec<Delivery> {
    leased.deliveries.clone()
}

/// I10: not before its due time, and from then on.
pub async fn only_what_is_due_is_leased<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let delivery = fixture.accept("crm", at(10)).await;
    let delivery = fixture.apply(failing(&delivery, Class::Rejected, at(11), at(20))).await;
    let too_early = at(20) - Duration::from_micros(1);
    assert!(fixture.lease("crm", too_early).await.deliveries.is_empty());
    assert_eq!(fixture.lease("crm", at(20)).await.deliveries[0].id, delivery.id);
    fixture.check_sums().await;
}

/// I13: what has expired is the core's to end, never to be tried.
pub async fn a_passed_ttl_is_never_leased<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("crm", at(0)).await;
    assert!(fixture.lease("crm", at(0) + TTL).await.deliveries.is_empty());
    let just_before = at(0) + TTL - Duration::from_micros(1);
    assert_eq!(fixture.lease("crm", just_before).await.deliveries.len(), 1);
    fixture.check_sums().await;
}

/// By due time, then by id; whether it is ready or scheduled makes no difference.
pub async fn the_oldest_due_comes_first_across_ready_and_scheduled<B: Backend>() {
    let mut fixture = Fixture::<B>::in_one_place().await;
    let first = fixture.accept("crm", at(0)).await;
    let second = fixture.accept("crm", at(1)).await;
    let third = fixture.accept("crm", at(2)).await;
    let fourth = fixture.accept("crm", at(2)).await;
    fixture.apply(failing(&first, Class::Busy, at(1), at(3))).await;
    let order: Vec<_> = ids(&fixture.lease("crm", at(9)).await).iter().map(|found| found.id).collect();
    assert_eq!(order, [second.id, third.id, fourth.id, first.id]);
    fixture.check_sums().await;
}

/// The probe of an open circuit: by tries, then due time, then id.
pub async fn fewest_tries_come_first_for_a_probe<B: Backend>() {
    let mut fixture = Fixture::<B>::in_one_place().await;
    let tried = fixture.accept("crm", at(0)).await;
    let fresh = fixture.accept("crm", at(5)).await;
    let tried = fixture.apply(failing(&tried, Class::Busy, at(1), at(1))).await;
    let not_due = fixture.accept("crm", at(50)).await;
    let probe = LeaseAsk { limit: 1, order: LeaseOrder::FewestTries, ..asking("crm", at(9)) };
    let first = fixture.store().lease(probe.clone()).await.expect("leasing works");
    let second = fixture.store().lease(probe.clone()).await.expect("leasing works");
    let third = fixture.store().lease(probe).await.expect("leasing works");
    assert_eq!(ids(&first)[0].id, fresh.id);
    assert_eq!(ids(&second)[0].id, tried.id);
    assert!(third.deliveries.is_empty(), "{} is not due", not_due.id);
    fixture.check_sums().await;
}

/// After an outage: what was never tried, newest first, then what was, fewest tries first. Both never before their due time.
pub async fn the_newest_never_tried_comes_first_then_fewest_tries<B: Backend>() {
    let mut fixture = Fixture::<B>::in_one_place().await;
    let twice = fixture.accept("crm", at(0)).await;
    let once = fixture.accept("crm", at(1)).await;
    let older = fixture.accept("crm", at(2)).await;
    let newer = fixture.accept("crm", at(3)).await;
    let newest = fixture.accept("crm", at(3)).await;
    fixture.accept("crm", at(50)).await;
    let twice = fixture.apply(failing(&twice, Class::Busy, at(4), at(4))).await;
    fixture.apply(failing(&twice, Class::Busy, at(5), at(5))).await;
    fixture.apply(failing(&once, Class::Busy, at(6), at(6))).await;
    // Back from a lease, it is still never tried, and keeps its place.
    let back = fixture.apply(ending(&newer, State::Ready, at(7))).await;
    let mut order = Vec::new();
    loop {
        let ask = LeaseAsk { limit: 2, order: LeaseOrder::Newest, ..asking("crm", at(9)) };
        let leased = ids(&fixture.store().lease(ask).await.expect("leasing works"));
        if leased.is_empty() {
            break;
        }
        order.extend(leased.iter().map(|found| found.id));
    }
    assert_eq!(order, [newest.id, back.id, older.id, once.id, twice.id]);
    fixture.check_sums().await;
}

/// Retries and what was never tried have their share each, the oldest of a kind first; what one kind does not need the other
/// has.
pub async fn tried_and_never_tried_share_a_batch<B: Backend>() {
    let mut fixture = Fixture::<B>::in_one_place().await;
    let mut tried = Vec::new();
    for number in 0..4 {
        let made = fixture.accept("crm", at(number)).await;
        tried.push(fixture.apply(failing(&made, Class::Busy, at(5), at(20 + number))).await.id);
    }
    let mut fresh = Vec::new();
    for number in 0..4 {
        fresh.push(fixture.accept("crm", at(10 + number)).await.id);
    }
    let lease = async |fixture: &Fixture<B>, limit, tried| {
        let order = LeaseOrder::Shared { tried };
        let leased = fixture.store().lease(LeaseAsk { limit, order, ..asking("crm", at(90)) }).await;
        let leased = leased.expect("leasing works");
        (ids(&leased).iter().map(|found| found.id).collect::<Vec<_>>(), leased.end)
    };
    assert_eq!(lease(&fixture, 3, 2).await, (vec![fresh[0], tried[0], tried[1]], LeaseEnd::More));
    assert_eq!(lease(&fixture, 1, 0).await, (vec![fresh[1]], LeaseEnd::More));
    assert_eq!(lease(&fixture, 1, 1).await, (vec![tried[2]], LeaseEnd::More));
    assert_eq!(lease(&fixture, 3, 3).await, (vec![fresh[2], fresh[3], tried[3]], LeaseEnd::Drained { next_due: None }));
    fixture.check_sums().await;
}

/// I15, I19: in every order at most so many were tried before, even if nothing else is due. The answer says whether only such are
/// left, and when the next is due, so that they are asked for again when they may be leased, and not before.
pub async fn no_more_tried_ones_are_leased_than_asked_for<B: Backend>() {
    for order in [LeaseOrder::Shared { tried: 9 }, LeaseOrder::FewestTries, LeaseOrder::Newest] {
        let mut fixture = Fixture::<B>::in_one_place().await;
        let mut tried = Vec::new();
        for number in 0..6 {
            let made = fixture.accept("crm", at(number)).await;
            let due = at(if number < 5 { 20 + number } else { 300 });
            tried.push(fixture.apply(failing(&made, Class::Busy, at(9), due)).await.id);
        }
        let mut fresh = Vec::new();
        for number in 0..3 {
            fresh.push(fixture.accept("crm", at(10 + number)).await.id);
        }
        let lease = async |fixture: &Fixture<B>, limit, tried_max| {
            let ask = LeaseAsk { limit, tried_max, order, ..asking("crm", at(90)) };
            let leased = fixture.store().lease(ask).await.expect("leasing works");
            let mut ids: Vec<_> = ids(&leased).iter().map(|found| found.id).collect();
            ids.sort_unstable();
            (ids, leased.end)
        };
        let only_tried = LeaseEnd::Tried { next_due: Some(at(300)) };
        let newest = order == LeaseOrder::Newest;
        let first = if newest { [fresh[1], fresh[2]] } else { [fresh[0], fresh[1]] };
        assert_eq!(lease(&fixture, 2, 0).await, (first.to_vec(), LeaseEnd::More), "{order:?}");
        let last = if newest { fresh[0] } else { fresh[2] };
        assert_eq!(lease(&fixture, 9, 1).await, (vec![tried[0], last], only_tried), "{order:?}");
        assert_eq!(lease(&fixture, 9, 0).await, (vec![], only_tried), "{order:?}");
        assert_eq!(lease(&fixture, 2, 2).await, (vec![tried[1], tried[2]], LeaseEnd::More), "{order:?}");
        let all = LeaseEnd::Drained { next_due: Some(at(300)) };
        assert_eq!(lease(&fixture, 9, 2).await, (vec![tried[3], tried[4]], all), "{order:?}");
        assert_eq!(lease(&fixture, 9, 0).await, (vec![], all), "{order:?}");
        fixture.check_sums().await;
    }
}

/// A lease says what else there is: whether anything that was tried waits, due or not, and how much is not over.
pub async fn a_lease_tells_what_there_is<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    assert_eq!(fixture.lease("crm", at(0)).await.backlog, Backlog::default());
    let first = fixture.accept("crm", at(0)).await;
    fixture.accept("crm", at(0)).await;
    fixture.accept("erp", at(0)).await;
    let one = LeaseAsk { limit: 1, ..asking("crm", at(1)) };
    let leased = fixture.store().lease(one).await.expect("leasing works");
    assert_eq!(leased.backlog, Backlog { tried: false, open: 2 });
    let held = fixture.find(first.id).await.expect("it is there");
    fixture.apply(failing(&held, Class::Busy, at(2), at(500))).await;
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.lease("crm", at(3)).await.backlog, Backlog { tried: true, open: 2 });
    fixture.check_sums().await;
}

/// At most `limit`, and the answer says that there may be more.
pub async fn the_limit_ends_the_batch<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for _ in 0..3 {
        fixture.accept("crm", at(0)).await;
    }
    let two = LeaseAsk { limit: 2, ..asking("crm", at(1)) };
    let leased = fixture.store().lease(two).await.expect("leasing works");
    assert_eq!((leased.deliveries.len(), leased.end), (2, LeaseEnd::More));
    assert_eq!(fixture.lease("crm", at(1)).await.deliveries.len(), 1);
    fixture.check_sums().await;
}

/// I3: byte for byte, in the order asked for, whether its delivery is leased or not; nothing where the event is gone.
pub async fn bodies_are_those_of_the_events<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut stored = Vec::new();
    for body in [&b""[..], b"\0\xff{", &vec![b'x'; 300_000]] {
        let event = fixture.event("in", body, at(0));
        let append = fixture.appending(event.clone(), &["crm", "erp"]);
        fixture.append(append).await.expect("appending works");
        stored.push(Some(Arc::new(event)));
    }
    let mut leased = fixture.lease("crm", at(1)).await.deliveries;
    leased.sort_by_key(|found| found.id);
    leased.reverse();
    stored.reverse();
    let orphan = Delivery { event: fixture.mint.event(at(1)), ..leased[1].clone() };
    leased.insert(1, orphan);
    stored.insert(1, None);
    assert_eq!(fixture.bodies(&leased).await, stored);
    assert_eq!(fixture.bodies(&[]).await, []);
    fixture.check_sums().await;
}

/// `Drained` is a promise that nothing more is due, with the moment at which that changes by itself.
pub async fn drained_tells_when_the_next_is_due<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    assert_eq!(fixture.lease("crm", at(0)).await.end, LeaseEnd::Drained { next_due: None });
    let delivery = fixture.accept("crm", at(0)).await;
    let later = fixture.accept("crm", at(0)).await;
    fixture.apply(failing(&delivery, Class::Busy, at(1), at(30))).await;
    fixture.apply(failing(&later, Class::Busy, at(1), at(40))).await;
    fixture.accept("crm", at(2)).await;
    let leased = fixture.lease("crm", at(3)).await;
    assert_eq!((leased.deliveries.len(), leased.end), (1, LeaseEnd::Drained { next_due: Some(at(30)) }));
    fixture.lease("crm", at(35)).await;
    assert_eq!(fixture.lease("crm", at(36)).await.end, LeaseEnd::Drained { next_due: Some(at(40)) });
    fixture.check_sums().await;
}

/// I7: the fence is the record's counter, one higher with each lease, and the nonce of the one who asked. The record
/// given out is the one stored, and nothing else of it has changed.
pub async fn a_lease_raises_the_counter_and_carries_the_nonce<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let before = fixture.accept("crm", at(0)).await;
    let ask = asking("crm", at(5));
    let leased = fixture.lease("crm", at(5)).await;
    let expected = Delivery {
        version: before.version + 1,
        state: State::Leased,
        token: Token { counter: 1, nonce: ask.nonce },
        lease: Some(Lease { instance: ask.instance, keeper: ask.nonce, since: at(5), until: ask.until }),
        changed_at: at(5),
        ..before
    };
    assert_eq!(ids(&leased), std::slice::from_ref(&expected));
    assert_eq!(fixture.find(expected.id).await, Some(expected.clone()));

    let back = fixture.apply(ending(&expected, State::Ready, at(6))).await;
    let again = LeaseAsk { nonce: 9, ..asking("crm", at(7)) };
    let again = fixture.store().lease(again).await.expect("leasing works");
    assert_eq!(ids(&again)[0].token, Token { counter: 2, nonce: 9 });
    assert_eq!(ids(&again)[0].version, back.version + 1);
    fixture.check_sums().await;
}

/// I7: at most one lease; also when many ask at once and also after a crash.
pub async fn a_leased_delivery_is_not_leased_again<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for _ in 0..10 {
        fixture.accept("crm", at(0)).await;
    }
    let waiting: Vec<_> =
        (0..5).map(|_| fixture.store().lease(LeaseAsk { limit: 3, ..asking("crm", at(1)) })).collect();
    let mut seen = std::collections::BTreeSet::new();
    for answer in waiting {
        for found in ids(&answer.await.expect("leasing works")) {
            assert!(seen.insert(found.id), "{} was leased twice", found.id);
        }
    }
    assert_eq!(seen.len(), 10);
    let fixture = fixture.reopen().await;
    assert!(fixture.lease("crm", at(9_999)).await.deliveries.is_empty(), "a lease never ends by itself");
    fixture.check_sums().await;
}

/// What waits for one destination is never given to another.
pub async fn destinations_are_apart<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let crm = fixture.accept("crm", at(0)).await;
    let erp = fixture.accept("erp", at(0)).await;
    assert_eq!(ids(&fixture.lease("erp", at(1)).await)[0].id, erp.id);
    assert_eq!(ids(&fixture.lease("crm", at(1)).await)[0].id, crm.id);
    assert!(fixture.lease("cr", at(1)).await.deliveries.is_empty());
    fixture.check_sums().await;
}

/// I7, I8: a stale token moves nothing; of what is no longer held, each is answered as it is, and the others are extended.
pub async fn extending_moves_the_end_only_under_the_right_token<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for _ in 0..3 {
        fixture.accept("crm", at(0)).await;
    }
    let leased = ids(&fixture.lease("crm", at(1)).await);
    let [kept, done, gone] = [&leased[0], &leased[1], &leased[2]];
    let over = fixture.apply(ending(done, State::Delivered, at(2))).await;
    let cancelled = fixture.apply(ending(gone, State::Cancelled, at(2))).await;
    fixture.store().retire(retire(&cancelled)).await.expect("it is removed");
    let stale = Claim { token: Token { nonce: kept.token.nonce ^ 1, ..kept.token }, ..kept.claim() };
    let extend = |of: &Delivery, claim| Extend { id: of.id, claim, until: at(90) };
    let asked =
        vec![extend(kept, stale), extend(done, done.claim()), extend(gone, gone.claim()), extend(kept, kept.claim())];
    let stands = Extended::Stands { until: at(90), version: kept.version + 1 };
    let answers = vec![over_as(kept), over_as(&over), Extended::Over(None), stands];
    assert_eq!(fixture.store().extend(asked).await, Ok(answers));
    let fixture = fixture.reopen().await;
    let kept_now = fixture.find(kept.id).await.expect("it is there");
    assert_eq!(kept_now.lease.map(|lease| lease.until), Some(at(90)));
    assert_eq!(kept_now.token, kept.token);
    assert_eq!(fixture.find(done.id).await, Some(over));
    fixture.check_sums().await;
}

/// I8: an answer that was lost is asked for again, and one that came late moves no end back.
pub async fn an_end_is_never_moved_back<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("crm", at(0)).await;
    let held = fixture.lease("crm", at(1)).await.deliveries.remove(0);
    let mut stored = held.clone();
    for (asked, until, moved) in [(90, 90, 1), (90, 90, 0), (70, 90, 0), (91, 91, 1)] {
        let extend = Extend { id: held.id, claim: held.claim(), until: at(asked) };
        let version = stored.version + moved;
        let stands = Extended::Stands { until: at(until), version };
        assert_eq!(fixture.store().extend(vec![extend]).await, Ok(vec![stands]), "until {asked}");
        (stored.version, stored.lease) = (version, held.lease.map(|lease| Lease { until: at(until), ..lease }));
        assert_eq!(fixture.find(held.id).await.as_ref(), Some(&stored));
    }
    fixture.check_sums().await;
}

fn over_as(record: &Delivery) -> Extended {
    Extended::Over(Some(Box::new(record.clone())))
}

fn retire(ended: &Delivery) -> Retire {
    let forget = Forget {
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
        partitions: Partitions::ALL,
    };
    Retire { ended: Ended::of(ended).into_iter().collect(), more: false, forget }
}

/// I8: after a restart every lease is found again, none forgotten.
pub async fn held_leases_are_listed_page_by_page_and_survive_reopening<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for number in 0..7_u64 {
        fixture.accept(["crm", "erp"][number as usize % 2], at(number)).await;
    }
    let mut expected = ids(&fixture.lease("crm", at(10)).await);
    expected.extend(ids(&fixture.lease("erp", at(10)).await));
    expected.sort_by_key(|found| found.id);
    fixture.accept("crm", at(20)).await;

    let fixture = fixture.reopen().await;
    let mut held: Vec<Delivery> = Vec::new();
    loop {
        let after = held.last().map(|found| found.id);
        let page = fixture.store().held(HeldAsk::all(after, 3)).await.expect("reading works");
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        held.extend(page);
    }
    assert_eq!(held, expected);
    fixture.check_sums().await;
}

/// I13: destinations with work, and what has passed its TTL while it waited; never what is leased.
pub async fn due_names_what_waits_and_what_has_expired<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let old = fixture.accept("crm", at(0)).await;
    let older = fixture.accept("erp", at(1)).await;
    let older = fixture.apply(change(&older, |next| next.expires_at = at(5))).await;
    fixture.accept("leased", at(0)).await;
    fixture.lease("leased", at(1)).await;
    fixture.accept("crm", at(90_000)).await;

    let early = fixture.store().due(DueAsk::at(at(2), 10)).await.expect("reading works");
    let names: Vec<_> = early.destinations.iter().map(|found| (found.destination.clone(), found.next_due)).collect();
    assert_eq!(names, [(name("crm"), Some(at(0))), (name("erp"), Some(at(1)))]);
    assert!(early.expired.is_empty());

    let late = fixture.store().due(DueAsk::at(at(0) + TTL, 10)).await.expect("reading works");
    assert_eq!(late.expired, [older.clone(), old]);
    let bounded = fixture.store().due(DueAsk::at(at(0) + TTL, 1)).await.expect("reading works");
    assert_eq!(bounded.expired, [older]);
    fixture.check_sums().await;
}

/// I10, I15: wherever events are, each is leased once, no more of them than asked for, and those of one part in order; the last answer
/// says that there are no more.
pub async fn what_is_spread_is_leased_once_and_each_part_in_order<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let partitions = if B::STRICT_ORDER { 1 } else { fixture.store().promises().partitions };
    let mut stored = Vec::new();
    for number in 0..60 {
        stored.push(fixture.accept("crm", at(number / 2)).await.id);
    }
    let fixture = fixture.reopen().await;
    let mut seen = Vec::new();
    loop {
        let ask = LeaseAsk { limit: 7, ..asking("crm", at(90)) };
        let leased = fixture.store().lease(ask).await.expect("leasing works");
        assert_eq!(leased.backlog.open, 60);
        assert!(leased.deliveries.len() <= 7);
        seen.extend(leased.deliveries.iter().map(|found| found.id));
        if leased.end == (LeaseEnd::Drained { next_due: None }) {
            break;
        }
        assert_eq!((leased.deliveries.len(), leased.end), (7, LeaseEnd::More));
    }
    for place in 0..partitions {
        let here = |of: &[DeliveryId]| -> Vec<_> {
            of.iter().copied().filter(|id| Partitions::only(place, partitions).hold(id.partition())).collect()
        };
        assert_eq!(here(&seen), here(&stored), "part {place}");
    }
    assert_eq!(seen.len(), stored.len());
    fixture.check_sums().await;
}

/// I15, I19: the bound of what was tried before is that of the batch, and not of each part.
pub async fn no_more_tried_ones_are_leased_of_all_parts_together<B: Backend>() {
    for order in [LeaseOrder::Shared { tried: 9 }, LeaseOrder::FewestTries, LeaseOrder::Newest] {
        let mut fixture = Fixture::<B>::fresh().await;
        for number in 0..40 {
            let made = fixture.accept("crm", at(number)).await;
            if number % 2 == 0 {
                fixture.apply(failing(&made, Class::Busy, at(50), at(60))).await;
            }
        }
        let lease = async |limit, tried_max| {
            let ask = LeaseAsk { limit, tried_max, order, ..asking("crm", at(90)) };
            let leased = fixture.store().lease(ask).await.expect("leasing works");
            let tried = leased.deliveries.iter().filter(|found| found.tries > 0).count();
            (leased.deliveries.len(), tried, leased.end)
        };
        assert_eq!(lease(90, 3).await, (23, 3, LeaseEnd::Tried { next_due: None }), "{order:?}");
        assert_eq!(lease(90, 0).await, (0, 0, LeaseEnd::Tried { next_due: None }), "{order:?}");
        assert_eq!(lease(9, 90).await, (9, 9, LeaseEnd::More), "{order:?}");
        assert_eq!(lease(90, 8).await, (8, 8, LeaseEnd::Drained { next_due: None }), "{order:?}");
        fixture.check_sums().await;
    }
}
