//! One flipped bit while the store is open: it holds up nothing but what it is in.

use super::*;

/// Appends so many, each due in a millisecond of its own.
fn in_line(store: &SqliteStore, count: u64) -> Vec<Append> {
    let mut maker = Maker::new(store);
    let appends: Vec<_> = (0..count)
        .map(|number| maker.append(&number.to_string(), NOW - Duration::from_millis(count - number)))
        .collect();
    assert!(wait(store.append(appends.clone())).iter().all(Result::is_ok));
    appends
}

fn sql(dir: &Path, statements: &str) {
    let db = rusqlite::Connection::open(dir.join("store.db")).expect("opens");
    db.execute_batch(statements).expect("runs");
}

fn ids(deliveries: &[Delivery]) -> Vec<DeliveryId> {
    let mut ids: Vec<_> = deliveries.iter().map(|found| found.id).collect();
    ids.sort_unstable();
    ids
}

/// I1, I20: of an event that cannot be delivered any more, or whose list or key does not read, a repeat is an event of its own;
/// where a delivery alone is damaged, the repeat is told that it is gone, and what is made in its place is stored.
#[test]
fn what_is_damaged_swallows_no_repeat() {
    for (spoilt, statement) in [
        ("delivery", "UPDATE deliveries SET record = x'01'"),
        ("list", "UPDATE events SET deliveries = x'01'"),
        ("head", "UPDATE events SET head = x'01'"),
        ("body", "UPDATE events SET body = x'00'"),
        ("key", "UPDATE dedupe SET record = x'01'"),
    ] {
        for restarts in [false, true] {
            let dir = tempfile::tempdir().expect("a directory");
            let mut store = open(dir.path());
            let mut maker = Maker::new(&store);
            let dedupe = Some(Dedupe { key: [7; 32], until: NOW + TTL });
            let first = Append { dedupe: dedupe.clone(), ..maker.append("1", NOW) };
            append_one(&store, &first).expect("stored");
            sql(dir.path(), statement);
            if spoilt == "body" {
                // Whoever reads it has met it.
                wait(store.event(first.event.id)).expect_err("is damaged");
            }
            if restarts {
                wait(store.close());
                drop(store);
                store = open(dir.path());
            }
            let again = Append { dedupe, ..maker.append("1", NOW) };
            let answer = append_one(&store, &again).expect(spoilt);
            if spoilt == "delivery" {
                assert!(
                    matches!(&answer, Appended::Repeat { gone: true, deliveries, .. } if deliveries.is_empty()),
                    "{answer:?}"
                );
                let id = maker.mint.delivery(NOW).beside(first.event.id);
                let made = Delivery { id, replay: true, ..first.deliveries[0].clone() };
                let replay = Replay { made: vec![made], decided_on: Some(0) };
                for _ in 0..2 {
                    assert_eq!(wait(store.replay(replay.clone(), Vec::new())), Ok(Replayed::Stored(vec![true])));
                }
            } else {
                assert!(answer.is_stored(), "{spoilt}: {answer:?}");
                let once_more =
                    append_one(&store, &Append { event: Arc::clone(&again.event), ..maker.append("1", NOW) });
                assert!(once_more.is_ok(), "{spoilt}");
                let repeat = Append { dedupe: again.dedupe.clone(), ..maker.append("1", NOW) };
                let repeat = append_one(&store, &repeat);
                assert!(
                    matches!(repeat, Ok(Appended::Repeat { first, .. }) if first == again.event.id),
                    "{spoilt}: {repeat:?}"
                );
            }
            assert_eq!(wait(store.stats()).expect("stats").damaged, 1, "{spoilt}");
        }
    }
}

/// I1, I2: what is asked for once more and does not read is not said to be stored as it was asked for.
#[test]
fn what_is_stored_and_damaged_is_not_confirmed() {
    let keyed = Some(Dedupe { key: [7; 32], until: NOW + TTL });
    for dedupe in [None, keyed] {
        for statement in [
            "UPDATE deliveries SET record = x'01'",
            "UPDATE events SET deliveries = x'01'",
            "UPDATE events SET head = x'01'",
            "UPDATE events SET body = x'00'",
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            let store = open(dir.path());
            let append = Append { dedupe: dedupe.clone(), ..Maker::new(&store).append("x", NOW) };
            append_one(&store, &append).expect("stored");
            assert!(append_one(&store, &append).is_ok_and(|found| found.is_stored()), "asked for once more");
            sql(dir.path(), statement);
            if statement.contains("body") {
                wait(store.event(append.event.id)).expect_err("is damaged");
            }
            assert_eq!(append_one(&store, &append), Err(AppendError::Damaged), "{statement}");
        }
    }
}

/// I13: however many of those that expire first do not read, the others expire.
#[test]
fn damaged_ones_do_not_keep_others_from_expiring() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let appends = in_line(&store, 40);
    let last = appends[30].deliveries[0].id.sequence();
    sql(dir.path(), &format!("UPDATE deliveries SET record = x'01' WHERE seq < {last}"));
    let over = wait(store.due(DueAsk::at(NOW + TTL, 4))).expect("reads").expired;
    let first: Vec<_> = appends[30..34].iter().map(|append| append.deliveries[0].id).collect();
    assert_eq!(ids(&over), first);
    let over = wait(store.due(DueAsk::at(NOW + TTL, 99))).expect("reads").expired;
    assert_eq!(over.len(), 10);
}

/// I13, I18, I24: a damaged due time of what waits in line hides nothing that stands behind it, neither from a lease nor from
/// the end of its TTL, and is counted.
#[test]
fn a_damaged_due_time_holds_up_no_other() {
    for victim in [0, 2, 4] {
        for order in [LeaseOrder::Shared { tried: 0 }, LeaseOrder::Newest, LeaseOrder::FewestTries] {
            let dir = tempfile::tempdir().expect("a directory");
            let store = open(dir.path());
            let appends = in_line(&store, 5);
            let seq = appends[victim].deliveries[0].id.sequence();
            sql(dir.path(), &format!("UPDATE deliveries SET due = due | (1 << 60) WHERE seq = {seq}"));
            let others = appends.iter().enumerate().filter(|(number, _)| *number != victim);
            let others: Vec<_> = others.map(|(_, append)| append.deliveries[0].id).collect();
            let what = format!("{victim} {order:?}");

            let due = wait(store.due(DueAsk::at(NOW, 9))).expect("reads");
            assert!(due.destinations[0].next_due.is_some_and(|next| next <= NOW), "{what}: {due:?}");
            let over = wait(store.due(DueAsk::at(NOW + TTL, 9))).expect("reads");
            assert_eq!(ids(&over.expired), others, "{what}: expired");
            let leased = wait(store.lease(LeaseAsk { order, ..lease_ask(9) })).expect("leases");
            assert_eq!(ids(&leased.deliveries), others, "{what}: leased");
            assert_eq!(wait(store.stats()).expect("stats").damaged, 1, "{what}");
        }
    }
}
