//! One flipped bit while the store is open: it holds up nothing but what it is in.

use super::{
    retire::{ended_before, retain},
    *,
};

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

/// A change of the table of deliveries that none of its indexes has: as if bits had flipped there.
fn behind_the_indexes(dir: &Path, statements: &str) {
    const OURS: &str = "FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'deliveries'";
    let hidden = "PRAGMA writable_schema = ON; CREATE TABLE hidden AS SELECT *";
    sql(dir, &format!("{hidden} {OURS}; DELETE {OURS}"));
    sql(dir, statements);
    sql(dir, "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM hidden; DROP TABLE hidden");
}

/// A column with one bit flipped.
fn flipped(column: &str, bit: u32) -> String {
    let mask = 1i64 << bit;
    format!("{column} = ({column} | {mask}) - ({column} & {mask})")
}

/// Everything that is done with deliveries, in all their states. Nothing of it stops the store.
fn works(store: &SqliteStore, what: &str) {
    let late = NOW + TTL / 2;
    let far = late + Duration::from_mins(1);
    drop(wait(store.stats()));
    for order in [LeaseOrder::Newest, LeaseOrder::FewestTries, LeaseOrder::Shared { tried: 0 }] {
        drop(wait(store.due(DueAsk::at(late, 9))));
        let ask = LeaseAsk { order, now: late, until: far, ..lease_ask(1) };
        let held = wait(store.lease(ask)).expect(what).deliveries;
        assert!(held.iter().all(|held| held.destination == name("crm")), "{what}: it goes to nobody else");
        let changes = held.iter().map(|held| match order {
            LeaseOrder::Newest => relay_core::delivery::cancel(held, late),
            LeaseOrder::FewestTries | LeaseOrder::Shared { .. } => delivered(held),
        });
        let settled = wait(store.settle(changes.collect())).expect(what);
        assert!(settled.iter().all(|changed| *changed == Changed::Applied), "{what}");
    }
    // Who reads what an index does not have is told so, and reads it once it is made anew.
    drop(wait(store.over(retire::over(ended_before(far, far), 9))));
    wait(store.audit(Vec::new())).expect("the writer has had a turn");
    retain(store, ended_before(far, far));
    assert_eq!(store.status.reason(), None, "{what}");
}

/// I17, I18: whichever column that only an index repeats is flipped, in the table or in the index, nothing stops, what is met is
/// mended, and the scrub finds and mends the rest.
#[test]
fn one_flipped_column_stops_nothing_and_is_mended() {
    for (column, bit) in
        [("dest", 0), ("dest", 1), ("tries", 0), ("tries", 1), ("due", 40), ("expires", 40), ("changed", 20)]
    {
        for in_index in [false, true] {
            for row in 0..4 {
                let what = format!("{column} bit {bit} of row {row}, in the index: {in_index}");
                let dir = tempfile::tempdir().expect("a directory");
                wait(filled(dir.path()).close());
                let flip = format!(
                    "UPDATE deliveries SET {} WHERE seq = (SELECT seq FROM deliveries ORDER BY seq LIMIT 1 OFFSET {row})",
                    flipped(column, bit)
                );
                if in_index {
                    sql(dir.path(), &flip);
                }
                behind_the_indexes(dir.path(), &flip);
                let store = open(dir.path());
                works(&store, &what);
                // What nobody met.
                let db = open::connect_reader(dir.path()).expect("opens");
                let mut reached = Some(bookmark::Reached::default());
                while let Some(from) = reached {
                    reached = scrub::read(&db, &store.shelf, &from).expect("reads");
                }
                drop(db);
                wait(store.audit(Vec::new())).expect("the writer has had a turn");
                wait(store.close());
                drop(store);
                assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new(), "{what}");
            }
        }
    }
}

/// I17, I18: the same for an index that leads to a row which is not there.
#[test]
fn an_index_that_leads_nowhere_is_made_anew() {
    for (index, _) in [indexes::OF_DELIVERIES, indexes::OF_KEYS].concat() {
        let dir = tempfile::tempdir().expect("a directory");
        wait(filled(dir.path()).close());
        sql(dir.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
        let path = dir.path().join("store.db");
        let db = rusqlite::Connection::open(&path).expect("opens");
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root: u32 = db.query_row(root, [index], |row| row.get(0)).expect("is there");
        drop(db);
        let mut bytes = std::fs::read(&path).expect("reads");
        // The first entry that was written stands at the end of its page, and ends with the row it leads to.
        bytes[root as usize * schema::PAGE_BYTES as usize - 1] ^= 1;
        std::fs::write(&path, bytes).expect("writes");
        let store = open(dir.path());
        works(&store, index);
        let keyed = Append {
            dedupe: Some(Dedupe { key: [3; 32], until: NOW + TTL * 9 }),
            ..Maker::new(&store).append("x", NOW + TTL)
        };
        append_one(&store, &keyed).expect(index);
        let db = open::connect_reader(dir.path()).expect("opens");
        let mut reached = Some(bookmark::Reached::default());
        while let Some(from) = reached {
            reached = scrub::read(&db, &store.shelf, &from).expect("reads");
        }
        drop(db);
        wait(store.audit(Vec::new())).expect("the writer has had a turn");
        wait(store.close());
        drop(store);
        assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new(), "{index}");
    }
}

/// I16, I17, I18: a row of names or counters that rots while a server runs, which has it in memory, costs it nothing: a backup says
/// that it cannot be taken now, a rollback takes what the memory has, and the writer writes the row anew.
#[test]
fn a_rotten_name_is_written_anew_from_memory() {
    for spoil in [
        "UPDATE names SET counters = x'01' WHERE id = 1",
        "UPDATE names SET name = 'crn' WHERE id = 2",
        "UPDATE names SET counters = x'01' WHERE id = 0",
        "UPDATE event_names SET crc = 0",
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let full = Arc::new(AtomicBool::new(false));
        let is_full = Arc::clone(&full);
        let edges = Edges::new(move |met| {
            let fails = met == Edge::BeforeCommit && is_full.swap(false, Ordering::SeqCst);
            if fails { EdgeAction::Full } else { EdgeAction::Continue }
        });
        let store = SqliteStore::open(Options { edges, ..options(dir.path()) }).expect("opens");
        let mut maker = Maker::new(&store);
        let mut named = |body: &str| {
            let append = maker.append(body, NOW);
            let event = Event { name: Some("invoice.paid".into()), ..Event::clone(&append.event) };
            Append { event: Arc::new(event), ..append }
        };
        append_one(&store, &named("first")).expect("stored");
        sql(dir.path(), spoil);
        full.store(true, Ordering::SeqCst);
        assert_eq!(append_one(&store, &named("no room")), Err(AppendError::Full), "{spoil}");
        let second = named("second");
        while append_one(&store, &second) == Err(AppendError::Full) {}
        sql(dir.path(), spoil);
        let refused = wait(store.backup()).map(|copying| copying.backup.events);
        assert!(matches!(refused, Err(BackupError::NotNow(_))), "{spoil}: {refused:?}");
        append_one(&store, &named("third")).expect("stored");
        let kept = wait(store.stats()).expect("stats");
        assert_eq!((kept.sources[0].accepted, kept.destinations[0].created), (3, 3), "{spoil}");
        assert_eq!(back_up(&store, &dir.path().join("backup")).events, 3, "{spoil}");
        wait(store.close());
        drop(store);
        assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new(), "{spoil}");
    }
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
            let over = ids(&wait(store.due(DueAsk::at(NOW + TTL, 9))).expect("reads").expired);
            assert!(others.iter().all(|other| over.contains(other)), "{what}: expired");
            // By now the writer has made what is beside its record anew.
            let leased = wait(store.lease(LeaseAsk { order, ..lease_ask(9) })).expect("leases");
            assert_eq!(leased.deliveries.len(), 5, "{what}: leased");
            assert_eq!(wait(store.stats()).expect("stats").damaged, 1, "{what}");
        }
    }
}
