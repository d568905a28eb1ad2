//! Marks: events are found by values, as long as they are there, and no longer.

use relay_core::{
    delivery::State,
    event::Event,
    id::EventId,
    jobs::{Action, Rules, Target},
    partitions::Partitions,
    storage::{EventFilter, Indexed, MarkedAsk, MarkedEvent, MarkedPage, Marker, Marking},
    time::Wall,
};

use super::{
    Backend, Fixture,
    fixture::{at, name, sha256},
};
use crate::seam::{Page, Range};

/// Of the first slot.
const MARKER: Marker = Marker { slot: 1, definition: 7 };

/// Up to then a mark goes, from the beginning.
fn to(marker: Marker, to: Wall) -> Indexed {
    Indexed { source: name("in"), marker, from: Wall::MIN, to }
}

/// These events with one value, and how far a mark goes with them.
fn marking(marker: Marker, value: &str, ids: &[EventId], until: Wall) -> Marking {
    let event = |id: &EventId| MarkedEvent { id: *id, values: vec![(marker.slot, sha256(value.as_bytes()))] };
    Marking { source: name("in"), events: ids.iter().map(event).collect(), reach: vec![to(marker, until)] }
}

async fn mark<B: Backend>(fixture: &Fixture<B>, marking: Marking) {
    assert_eq!(fixture.store().mark(marking).await, Ok(()));
}

async fn page<B: Backend>(fixture: &Fixture<B>, marker: Marker, value: &str, page: Page) -> MarkedPage {
    let ask = MarkedAsk { source: name("in"), marker, value: sha256(value.as_bytes()), page };
    fixture.store().marked(ask).await.expect("reading works")
}

/// The events that have a value, the newest first; `None`: nobody says that he knows.
async fn found<B: Backend>(fixture: &Fixture<B>, marker: Marker, value: &str) -> Option<Vec<EventId>> {
    let page = page(fixture, marker, value, Page { cursor: None, limit: 100 }).await;
    assert_eq!(page.next, None);
    page.indexed.map(|_| page.items.iter().map(|row| row.event.id).collect())
}

/// So many events that have ended, the oldest first.
async fn events<B: Backend>(fixture: &mut Fixture<B>, count: u64) -> Vec<EventId> {
    let mut ids = Vec::new();
    for number in 1..=count {
        ids.push(fixture.ended("crm", State::Delivered, at(number)).await.event);
    }
    ids
}

/// A backend whose declared power it is not says nowhere that it has marked anything; of any other a case goes on.
async fn has_marks<B: Backend>(fixture: &mut Fixture<B>) -> bool {
    if fixture.store().promises().marks {
        return true;
    }
    let ids = events(fixture, 1).await;
    mark(fixture, marking(MARKER, "one", &ids, at(9))).await;
    assert_eq!(found(fixture, MARKER, "one").await, None);
    assert_eq!(fixture.store().indexed().await, Ok(Vec::new()));
    assert_eq!(fixture.store().unmark(name("in"), 1).await, Ok(false));
    false
}

/// I26: what was marked is found by its value, page by page, and says how far that goes; twice is once, and a restart changes nothing.
pub async fn an_event_is_found_by_a_value_and_how_far_is_said<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    if !has_marks(&mut fixture).await {
        return;
    }
    let ids = events(&mut fixture, 3).await;
    assert_eq!(found(&fixture, MARKER, "one").await, None, "nobody has looked yet");
    let one = marking(MARKER, "one", &[ids[0], ids[2]], at(3));
    for marking in [one.clone(), marking(MARKER, "two", &[ids[1]], at(4)), one] {
        mark(&fixture, marking).await;
    }
    let fixture = fixture.reopen().await;
    assert_eq!(found(&fixture, MARKER, "one").await, Some(vec![ids[2], ids[0]]));
    assert_eq!(found(&fixture, MARKER, "two").await, Some(vec![ids[1]]));
    assert_eq!(found(&fixture, MARKER, "three").await, Some(Vec::new()));
    let first = page(&fixture, MARKER, "one", Page { cursor: None, limit: 1 }).await;
    assert_eq!(first.indexed, Some(to(MARKER, at(4))), "no end is moved back");
    let next = page(&fixture, MARKER, "one", Page { cursor: first.next, limit: 1 }).await;
    let row: Vec<&Event> = first.items.iter().chain(&next.items).map(|row| &*row.event).collect();
    assert_eq!((row[0].id, row[1].id, next.next), (ids[2], ids[0], None));
    assert!(row[0].body.is_empty() && next.items[0].deliveries.len() == 1);
    assert_eq!(fixture.store().indexed().await, Ok(vec![to(MARKER, at(4))]));
    let stats = fixture.store().stats().await.expect("stats");
    assert!(stats.latest >= at(4), "the next run's clock begins behind it");
    fixture.check_sums().await;
}

/// A mark of another definition finds nothing of what was there before it, writes nothing in its place, and begins once that is removed.
pub async fn a_definition_finds_its_own_rows_alone<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    if !has_marks(&mut fixture).await {
        return;
    }
    let ids = events(&mut fixture, 2).await;
    let (other, beside) = (Marker { definition: 8, ..MARKER }, Marker { slot: 2, ..MARKER });
    mark(&fixture, marking(MARKER, "one", &ids[..1], at(3))).await;
    mark(&fixture, marking(beside, "one", &ids[1..], at(3))).await;
    mark(&fixture, marking(other, "one", &ids, at(9))).await;
    assert_eq!(found(&fixture, other, "one").await, None);
    assert_eq!(found(&fixture, MARKER, "one").await, Some(vec![ids[0]]));
    assert_eq!(found(&fixture, beside, "one").await, Some(vec![ids[1]]));
    while fixture.store().unmark(name("in"), 1).await.expect("removing works") {}
    assert_eq!(found(&fixture, MARKER, "one").await, None);
    mark(&fixture, marking(other, "two", &ids[..1], at(9))).await;
    assert_eq!(found(&fixture, other, "one").await, Some(Vec::new()), "nothing is left of the rows before");
    assert_eq!(found(&fixture, other, "two").await, Some(vec![ids[0]]));
    assert_eq!(found(&fixture, beside, "one").await, Some(vec![ids[1]]), "the slot beside it is as it was");
}

/// I26: an event that was erased, purged or retired is found by no mark, whoever marks it late.
pub async fn what_is_gone_is_found_by_no_mark<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    if !has_marks(&mut fixture).await {
        return;
    }
    let mut ids = events(&mut fixture, 3).await;
    let dead = fixture.ended("crm", State::Dead, at(4)).await;
    ids.push(dead.event);
    let all = marking(MARKER, "one", &ids, at(9));
    mark(&fixture, all.clone()).await;
    let filter = EventFilter { range: Range { since: Some(at(3)), until: Some(at(4)) }, ..EventFilter::default() };
    let command = fixture.command(Action::Erase { cancels: false }, Target::Events(filter), at(10));
    assert_eq!(fixture.run(command, at(10)).await.0.changed, 1);
    assert_eq!(found(&fixture, MARKER, "one").await, Some(vec![ids[3], ids[1], ids[0]]));
    let command = fixture.command(Action::Purge, Target::Ids([dead.id].into()), at(11));
    fixture.run(command, at(11)).await;
    assert_eq!(found(&fixture, MARKER, "one").await, Some(vec![ids[1], ids[0]]));
    let rules = Rules { now: at(20), delivered_before: at(2), dead_before: at(2), partitions: Partitions::ALL };
    assert_eq!(fixture.retain(rules, 1_000).await.events, 1);
    assert_eq!(found(&fixture, MARKER, "one").await, Some(vec![ids[1]]));
    mark(&fixture, all).await;
    assert_eq!(found(&fixture, MARKER, "one").await, Some(vec![ids[1]]), "neither comes back");
    fixture.check_sums().await;
}

/// I26: a commit of marks that is cut is whole or absent, and is done by the same call.
pub async fn a_marking_cut_at_any_edge_is_whole_or_absent<B: Backend>() {
    for edge in B::EDGES {
        let mut fixture = Fixture::<B>::fresh().await;
        if !fixture.store().promises().marks {
            return;
        }
        let ids = events(&mut fixture, 2).await;
        let marking = marking(MARKER, "one", &ids, at(9));
        fixture.backend.fail_at(edge);
        let answered = fixture.store().mark(marking.clone()).await.is_ok();
        let fixture = fixture.reopen().await;
        let whole = Some(vec![ids[1], ids[0]]);
        let after = found(&fixture, MARKER, "one").await;
        assert!(after == whole || (after.is_none() && !answered), "{edge}: {after:?}");
        mark(&fixture, marking).await;
        assert_eq!(found(&fixture, MARKER, "one").await, whole, "{edge}");
        fixture.check_sums().await;
    }
}
