//! Opening, closing, failing.

use relay_core::{
    delivery::{State, outcome::Class},
    storage::{AppendError, DueAsk, StoreError},
    time::Wall,
};

use super::{
    Backend, Fixture,
    fixture::{asking, at, failing},
};
use crate::seam::{DeliveryFilter, Durability, Page, Stats};

/// Everything asked for before is finished; everything after is refused.
pub async fn a_closed_store_answers_unavailable<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let stored = fixture.accept("crm", at(0)).await;
    let store = fixture.store();
    store.close().await;
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"]);
    assert_eq!(fixture.append(append).await, Err(AppendError::Unavailable));
    assert_eq!(store.lease(asking("crm", at(1))).await.map(|_| ()), Err(StoreError::Unavailable));
    assert_eq!(store.settle(Vec::new()).await, Err(StoreError::Unavailable));
    assert_eq!(store.find(vec![stored.id]).await, Err(StoreError::Unavailable));
    drop(store);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.find(stored.id).await, Some(stored));
    fixture.check_sums().await;
}

/// I24: one that works commits, and has no reason not to; one that has failed says that it does not, and why.
pub async fn a_condition_says_whether_it_commits<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("crm", at(0)).await;
    let well = fixture.store().condition();
    assert_eq!((well.commits, well.reasons.len()), (true, 0));
    let promises = fixture.store().promises();
    assert_eq!(well.durability == Durability::None, !promises.survives_power_loss);
    fixture.backend.fail_at(B::EDGES[0]);
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"]);
    assert!(fixture.append(append).await.is_err());
    let reason = fixture.store().failed().await;
    let failed = fixture.store().condition();
    assert_eq!((failed.commits, failed.reasons), (false, vec![reason]));
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store().condition(), well);
    fixture.check_sums().await;
}

/// Two processes on one store would undo each other: the second is refused, the first goes on.
pub async fn a_second_writer_is_refused<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    assert_ne!(fixture.backend.second_writer().await, Some(false));
    fixture.accept("crm", at(0)).await;
    fixture.check_sums().await;
}

/// I17: after a failure nothing is promised any more, and whoever waits for it is told.
pub async fn a_failed_store_says_so_and_answers_unavailable<B: Backend>() {
    for edge in B::EDGES {
        let mut fixture = Fixture::<B>::fresh().await;
        let stored = fixture.accept("crm", at(0)).await;
        fixture.backend.fail_at(edge);
        let event = fixture.event("in", b"{}", at(1));
        let append = fixture.appending(event, &["crm"]);
        // The answer is yes only if the edge lies behind the commit.
        let _ = fixture.append(append).await;
        assert!(!fixture.store().failed().await.is_empty());
        let event = fixture.event("in", b"{}", at(2));
        let append = fixture.appending(event, &["crm"]);
        assert_eq!(fixture.append(append).await, Err(AppendError::Unavailable), "after dying at `{edge}`");
        let fixture = fixture.reopen().await;
        assert_eq!(fixture.find(stored.id).await, Some(stored));
        fixture.check_sums().await;
    }
}

/// Ids go on above everything stored, also when the wall clock was set back.
pub async fn the_id_floor_is_the_highest_id_stored<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let high = fixture.accept("crm", at(500)).await;
    fixture.accept("crm", at(0)).await;
    let fixture = fixture.reopen().await;
    let floor = fixture.store().stats().await.expect("stats work").id_floor;
    assert!(floor > high.id.sequence(), "the second delivery has the highest id");
    fixture.check_sums().await;
}

/// I10: the latest moment stored is known at the next start, so that a system clock that was set back stalls nothing.
pub async fn the_latest_moment_stored_is_known_after_a_restart<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    assert_eq!(fixture.latest().await, Wall::MIN);
    fixture.accept("crm", at(500)).await;
    fixture.accept("crm", at(400)).await;
    assert_eq!(fixture.latest().await, at(500));
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.latest().await, at(500));
    fixture.lease("crm", at(700)).await;
    assert_eq!(fixture.latest().await, at(700));
    fixture.check_sums().await;
}

/// Nothing stored, nothing said, nothing wrong.
pub async fn an_empty_store_answers_empty<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    let store = fixture.store();
    let stats: Stats = store.stats().await.expect("stats work");
    assert!(stats.sources.iter().all(|found| found.accepted == 0));
    assert!(stats.destinations.iter().all(|found| found.states[State::Ready as usize - 1] == 0));
    assert!(!stats.full);
    let due = store.due(DueAsk::at(at(0), 10)).await.expect("reading works");
    assert!(due.destinations.is_empty() && due.expired.is_empty());
    let page = Page { cursor: None, limit: 10 };
    let listing = store.browse_deliveries(DeliveryFilter::default(), page).await.expect("browsing works");
    assert!(listing.items.is_empty() && listing.next.is_none());
    assert!(!store.promises().backend.is_empty());
    fixture.check_sums().await;
}

/// S32: a pass of sealing anew ends, whoever begins it again in the middle, and nothing that is stored says anything else after it; one that has
/// nothing left to do does nothing.
pub async fn a_pass_of_sealing_anew_changes_no_word<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for number in 0..5 {
        let found = fixture.accept("crm", at(number)).await;
        fixture.apply(failing(&found, Class::Rejected, at(number), at(60))).await;
    }
    let before = fixture.snapshot().await;
    let first = fixture.store().rekey(None).await.expect("it can");
    assert_eq!(first.left, 0);
    let fixture = fixture.reopen().await;
    let (mut from, mut sealed, mut retired) = (None, 0, Vec::new());
    loop {
        let step = fixture.store().rekey(from).await.expect("it can");
        (sealed, from) = (sealed + step.sealed, step.next);
        retired.extend(step.retired);
        if from.is_none() {
            break;
        }
    }
    assert_eq!((sealed, retired), (0, Vec::new()), "all is sealed with the newest key, or there is none");
    assert_eq!(fixture.snapshot().await, before);
    fixture.check_sums().await;
}
