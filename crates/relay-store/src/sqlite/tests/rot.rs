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
