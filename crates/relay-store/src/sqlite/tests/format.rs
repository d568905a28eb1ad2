//! The format on disk: what a later version wrote is refused as such, names are counted and found, and the store that is kept in
//! `fixtures/` is read to its last row.

use relay_core::{
    delivery::{Reason, answer::Answer, outcome::Class},
    jobs::Target,
    storage::{Replay, Replayed},
};

use super::*;
use crate::{
    cipher::Ciphers,
    record::{self, NAME_AS_TEXT},
    seam::{AuditFilter, NameCount},
    sqlite::{
        files::meta::Meta,
        read::{named, of_source},
        write::step,
    },
};

/// One whose record, row of numbers and CRC are right, and in which one byte means something that is not known here.
fn changed(db: &rusqlite::Connection, table: &str, column: &str, row: i64, byte: usize, with: u8) {
    let key = if table == "names" { "id" } else { "seq" };
    let read = format!("SELECT {column} FROM {table} WHERE {key} = ?1");
    let mut record: Vec<u8> = db.query_row(&read, [row], |row| row.get(0)).expect("is there");
    record.truncate(record.len() - 4);
    record[byte] ^= with;
    let crc = crc32fast::hash(&record);
    record.extend(crc.to_le_bytes());
    let write = format!("UPDATE {table} SET {column} = ?2 WHERE {key} = ?1");
    db.execute(&write, rusqlite::params![row, record]).expect("writes");
}

fn database(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("store.db")).expect("opens")
}

/// I23: what a later version made of a delivery holds up nothing else, counts as no damage, and is never taken out.
#[test]
fn a_record_of_a_later_version_is_no_damage() {
    // A flag, and numbers of a state and of a reason that have no meaning here: where they stand.
    for (byte, with, what) in [(3, 16, "one of its flags is"), (1, 8, "its state is"), (2, 15, "its reason is")] {
        a_later_record_is_left(byte, with, what);
    }
}

fn a_later_record_is_left(byte: usize, with: u8, expected: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let (slow, plain) = (maker.append("slow", NOW), maker.append("plain", NOW));
    append_one(&store, &slow).expect("stored");
    append_one(&store, &plain).expect("stored");
    changed(&database(dir.path()), "deliveries", "record", slow.deliveries[0].id.sequence(), byte, with);
    let leased = wait(store.lease(lease_ask(9))).expect("leases");
    assert_eq!(leased.deliveries.iter().map(|held| held.id).collect::<Vec<_>>(), [plain.deliveries[0].id]);
    let Err(StoreError::Later { what }) = wait(store.browse_deliveries(DeliveryFilter::default(), Page::default()))
        .map(|listing| assert_eq!(listing.items.len(), 1))
        .and_then(|()| wait(store.attempts(slow.deliveries[0].id)).map(drop))
    else {
        panic!("it is named")
    };
    assert!(what.contains(&format!("a later version wrote it: {expected} not known here")), "{what}");
    assert_eq!(wait(store.stats()).expect("stats").damaged, 0);
    scrub::read(&database(dir.path()), &store.shelf, &bookmark::Reached::default()).expect("reads");
    assert_eq!(wait(store.stats()).expect("stats").damaged, 0);
    wait(store.close());
    drop(store);
    let report = check(dir.path(), false, NOW).expect("reads");
    assert!(report.faults.iter().any(|fault| fault.contains("a later version wrote it")), "{:?}", report.faults);
    assert!(
        !dir.path().join("damaged").exists() || std::fs::read(dir.path().join("damaged")).expect("reads").is_empty()
    );
    let refused = check(dir.path(), true, NOW).expect_err("nothing of it may be taken out");
    assert!(matches!(refused, OpenError::Later { .. }), "{refused}");
    let store = open(dir.path());
    let there: i64 =
        database(dir.path()).query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0)).expect("counts");
    assert_eq!(there, 2);
    wait(store.close());
}

/// I23: a store in which something is used that this version does not know is refused by all that open it, and left as it is.
#[test]
fn a_store_that_needs_a_later_version_is_refused_untouched() {
    // Sealed events, lanes, answers that are passed on, traces; and what has no meaning yet. Two are known: marks, and records sealed here.
    for bit in (0..64).filter(|bit| ![3, 4].contains(bit)) {
        a_store_that_needs_is_refused(bit);
    }
}

fn a_store_that_needs_is_refused(bit: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    wait(filled(dir.path()).close());
    let db = database(dir.path());
    let bytes: i64 =
        db.query_row("SELECT length(counters) FROM names WHERE id = 0", [], |row| row.get(0)).expect("reads");
    let needs = usize::try_from(bytes).expect("few") - 4 - 8;
    changed(&db, "names", "counters", 0, needs + bit / 8, 1 << (bit % 8));
    drop(db);
    let before = std::fs::read(dir.path().join("store.db")).expect("reads");
    for refused in [
        SqliteStore::open(options(dir.path())).map(drop).expect_err("later"),
        check(dir.path(), false, NOW).map(drop).expect_err("later"),
        check(dir.path(), true, NOW).map(drop).expect_err("later"),
    ] {
        let OpenError::Later { what, .. } = &refused else { panic!("{refused}") };
        assert_eq!(what, "the meta row: a later version wrote it: something that is in use is not known here");
    }
    assert_eq!(std::fs::read(dir.path().join("store.db")).expect("reads"), before);
}

/// I23: so is one with registry documents, or names, of a kind that is not known here.
#[test]
fn a_store_with_a_kind_of_a_later_version_is_refused() {
    let document = |kind: u8| {
        let sql = format!("INSERT INTO documents VALUES ({kind}, 'one', 1, '{{}}', 0)");
        (sql, "a registry document: a later version wrote it: its kind is")
    };
    let name = |kind: u8| {
        (format!("UPDATE names SET kind = {kind} WHERE id = 2"), "name 2: a later version wrote it: its kind is")
    };
    let known: Vec<u8> = DocumentKind::ALL.into_iter().map(|kind| kind as u8).collect();
    let documents = (0..=u8::MAX).filter(|kind| !known.contains(kind)).filter(|kind| *kind < 20 || *kind == u8::MAX);
    assert!(documents.clone().any(|kind| kind == 8), "that of a job is reserved");
    for (sql, expected) in documents.map(document).chain([3, 4, 5].map(name)) {
        let dir = tempfile::tempdir().expect("a directory");
        wait(filled(dir.path()).close());
        database(dir.path()).execute_batch(&sql).expect("writes");
        let refused = SqliteStore::open(options(dir.path())).map(drop).expect_err("later");
        let OpenError::Later { what, .. } = &refused else { panic!("{refused}") };
        assert_eq!(what, &format!("{expected} not known here"));
        assert!(matches!(check(dir.path(), true, NOW), Err(OpenError::Later { .. })));
    }
}

/// I23: what a delivery's columns and the tables of later versions hold that has no meaning here is passed over, named by a check, counted
/// as no damage and never taken out.
#[test]
fn what_is_reserved_is_named_and_left_where_it_is() {
    let line =
        |line: &str| (format!("UPDATE deliveries SET line = {line} WHERE line IS NOT NULL"), "which is not known here");
    let ttl = TTL.as_micros();
    for (sql, expected) in [
        // Slow and parked in no line, and what has no meaning yet; parked and slow in one, and what lies between two milliseconds.
        line("-1"),
        line("-2"),
        line("-3"),
        line(&i64::MIN.to_string()),
        line(&(ttl + 1).to_string()),
        line(&(ttl + 2).to_string()),
        line(&(ttl + 999).to_string()),
        ("UPDATE deliveries SET lane = 7 WHERE line IS NOT NULL".to_owned(), "in a lane, which is not known here"),
        ("INSERT INTO replies VALUES (1, x'01')".to_owned(), "replies: it has rows, which are not known here"),
        ("INSERT INTO marks VALUES (1, 1, 1, 1)".to_owned(), "marks: it has rows, which are not known here"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        wait(filled(dir.path()).close());
        let there = |db: &rusqlite::Connection| {
            ["deliveries", "replies", "marks"].map(|table| {
                db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).expect("counts")
            })
        };
        let db = database(dir.path());
        assert!(db.execute(&sql, []).expect("writes") > 0, "{sql} is about something");
        let before = there(&db);
        drop(db);
        let store = open(dir.path());
        // What waits in a line of a later version is leased by none of this one.
        if sql.contains("line = ") {
            let leased = wait(store.lease(lease_ask(9))).expect("leases").deliveries;
            assert!(leased.iter().all(|held| held.tries > 0), "{sql}: what was never tried waits in line");
        }
        assert_eq!(wait(store.stats()).expect("stats").damaged, 0, "{sql}");
        wait(store.close());
        drop(store);
        let report = check(dir.path(), false, NOW).expect("reads");
        assert!(report.faults.iter().any(|fault| fault.ends_with(expected)), "{sql}: {:?}", report.faults);
        let refused = check(dir.path(), true, NOW).expect_err("nothing of it may be taken out");
        assert!(matches!(refused, OpenError::Later { .. }), "{sql}: {refused}");
        assert_eq!(there(&database(dir.path())), before, "{sql}");
    }
}

fn with_name(maker: &mut Maker, text: &str, at: Wall) -> Append {
    let append = maker.append("named", at);
    let event = Event { name: Some(text.into()), ..Event::clone(&append.event) };
    Append { event: Arc::new(event), ..append }
}

fn by_name(store: &SqliteStore, pattern: &str, oldest_first: bool, limit: u32) -> Vec<EventId> {
    let name = Some(pattern.parse().expect("a pattern"));
    let filter = EventFilter { name, oldest_first, ..EventFilter::default() };
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let page = wait(store.browse_events(filter.clone(), Page { cursor, limit })).expect("reads");
        found.extend(page.items.iter().map(|row| row.event.id));
        let Some(next) = page.next else { return found };
        cursor = Some(next);
    }
}

/// I25: a name beyond those that a source numbers is found and counted all the same.
#[test]
fn names_beyond_the_numbered_ones_are_found_in_their_heads() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let minute = Duration::from_mins(1);
    let appends: Vec<Append> =
        (0..260).map(|number| with_name(&mut maker, &format!("n{number}"), NOW + minute * (number / 50))).collect();
    assert!(wait(store.append(appends.clone())).iter().all(Result::is_ok));
    let ids: Vec<EventId> = appends.iter().map(|append| append.event.id).collect();
    assert_eq!(by_name(&store, "n255", false, 7), [ids[255]]);
    assert_eq!(by_name(&store, "n7", false, 7), [ids[7]]);
    let expected: Vec<EventId> =
        ids.iter().copied().filter(|id| *id == ids[25] || ids[250..260].contains(id)).collect();
    for limit in [1, 3, 100] {
        assert_eq!(by_name(&store, "n25*", true, limit), expected);
        assert!(by_name(&store, "n25*", false, limit).iter().rev().eq(&expected));
    }
    assert_eq!(by_name(&store, "", false, 7), []);
    drop(store);
    let store = open(dir.path());
    assert_eq!(by_name(&store, "n25?", true, 7), ids[250..260]);
    let counts = wait(store.event_names(name("stripe"))).expect("reads");
    assert_eq!((counts.names.len(), counts.since), (251, None));
    let last = Wall::from_micros(NOW.as_micros() / 60_000_000 * 60_000_000) + minute * 5;
    assert_eq!(counts.names[0], NameCount { name: None, events: 10, last });
    // A name that has no number yet gets none either once others are gone.
    append_one(&store, &with_name(&mut maker, "n255", NOW + minute * 9)).expect("stored");
    let db = database(dir.path());
    assert_eq!(of_source::code(&db, 1, maker_last(&db)).expect("reads"), Some(NAME_AS_TEXT));
    wait(store.close());
    let report = check(dir.path(), false, NOW).expect("reads");
    assert_eq!(report.faults, Vec::<String>::new());
}

fn maker_last(db: &rusqlite::Connection) -> i64 {
    db.query_row("SELECT max(seq) FROM events", [], |row| row.get(0)).expect("reads")
}

/// I18, I25: a check compares the counts of names with the events, and an accepted loss makes them anew.
#[test]
fn counts_of_names_are_checked_and_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    for text in ["invoice.paid", "invoice.paid", "push"] {
        append_one(&store, &with_name(&mut maker, text, NOW)).expect("stored");
    }
    append_one(&store, &maker.append("unnamed", NOW)).expect("stored");
    wait(store.close());
    drop(store);
    let db = database(dir.path());
    assert_eq!(named::differs(&db).expect("reads"), None);
    db.execute("UPDATE named SET events = 3 WHERE name = 1", []).expect("writes");
    let minute = NOW.as_micros() / 60_000_000;
    assert_eq!(named::differs(&db).expect("reads"), Some((1, minute)));
    db.execute("UPDATE named SET events = 2 WHERE name = 1", []).expect("writes");
    db.execute("INSERT INTO named VALUES (1, 0, 1, 1)", []).expect("writes");
    drop(db);
    let report = check(dir.path(), true, NOW).expect("reads");
    assert_eq!(report.faults, [format!("the names of events of source 1 are counted wrongly in minute {minute}")]);
    let report = check(dir.path(), false, NOW).expect("reads");
    assert_eq!(report.faults, Vec::<String>::new());
    let store = open(dir.path());
    let counts = wait(store.event_names(name("stripe"))).expect("reads");
    let counted: Vec<_> = counts.names.iter().map(|count| (count.name.as_deref(), count.events)).collect();
    assert_eq!(counted, [(Some("invoice.paid"), 2), (Some("push"), 1)]);
}

/// A store with something of all that this version writes.
fn full(dir: &Path) -> SqliteStore {
    fill_up(filled(dir))
}

fn fill_up(store: SqliteStore) -> SqliteStore {
    let mut maker = Maker::new(&store);
    let second = |seconds| NOW + Duration::from_secs(seconds);
    let paid = with_name(&mut maker, "invoice.paid", second(1));
    let first = paid.event.id;
    append_one(&store, &paid).expect("stored");
    let with_key = with_name(&mut maker, "order/created", second(2));
    let event =
        Event { key: Some(name("cron")), query: Some(Bytes::from_static(b"a=1")), ..Event::clone(&with_key.event) };
    append_one(&store, &Append { event: Arc::new(event), ..with_key }).expect("stored");
    let unrouted = Append { deliveries: Vec::new(), ..with_name(&mut maker, "nobody.wants", second(3)) };
    append_one(&store, &unrouted).expect("stored");
    for (state, reason) in [
        (State::Dead, Some(Reason::Refused)),
        (State::Expired, Some(Reason::Expired)),
        (State::Cancelled, None),
        (State::Scheduled, None),
    ] {
        let mut append = maker.append("ended", second(4));
        let delivery = append.deliveries.remove(0);
        let answer = Answer {
            reason: Some("No".into()),
            location: Some("/there".into()),
            body: Some("why\n".into()),
            cut: true,
        };
        let last = Attempt {
            number: 1,
            at: second(4),
            duration_ms: 7,
            status: Some(422),
            class: Class::Refused,
            counted: true,
            error: Some("422 Unprocessable Content".into()),
            answer: answer.shared(),
        };
        append.deliveries = vec![Delivery { state, reason, tries: 1, attempts: 1, last: Some(last), ..delivery }];
        append_one(&store, &append).expect("stored");
    }
    let leased = wait(store.lease(LeaseAsk { now: second(9), nonce: 7, ..lease_ask(1) })).expect("leases");
    assert_eq!(leased.deliveries.len(), 1);
    // What names a key would be one that it is sealed with.
    for kind in DocumentKind::ALL.into_iter().filter(|kind| *kind != DocumentKind::Cipher) {
        let key = DocumentKey { kind, name: "one".to_owned() };
        assert_eq!(wait(store.put_document(key, 0, Some("{}".to_owned()), Vec::new())), Ok(Some(1)));
    }
    let replay = jobs::command(
        &mut maker,
        relay_core::jobs::Action::Redrive { ttl: std::collections::BTreeMap::new(), ttl_default: TTL, pace: None },
        Target::Matching(DeliveryFilter { states: vec![State::Expired], ..DeliveryFilter::default() }),
    );
    jobs::run(&store, replay);
    // Of one with a delivery and of the one without.
    for event in [first, unrouted.event.id] {
        let event = wait(store.event(event)).expect("reads").expect("is there");
        let id = maker.mint.delivery(second(5)).beside(event.id);
        let again = Delivery::ready(id, &event, name("crm"), true, second(5), TTL);
        assert_eq!(wait(store.replay(Replay::anyway(vec![again]), Vec::new())), Ok(Replayed::Stored(vec![true])));
    }
    let unwanted = Append { deliveries: Vec::new(), ..maker.append("unwanted", second(6)) };
    append_one(&store, &unwanted).expect("stored");
    store
}

/// Every row of a store, in words.
fn every_row(dir: &Path, ciphers: &Ciphers) -> Vec<String> {
    let store = sealed(dir, ciphers);
    let mut lines = content_of(&store).expect("is read");
    for source in ["stripe", "nobody"] {
        lines.push(format!("{source}: {:?}", wait(store.event_names(name(source)))));
    }
    lines.push(format!("invoices: {:?}", by_name(&store, "invoice.*", false, 2)));
    lines.push(format!("unnamed: {}", by_name(&store, "", true, 2).len()));
    for kind in DocumentKind::ALL {
        let documents = wait(store.documents(kind));
        // Kinds that came later have none there.
        if documents != Ok(Vec::new()) {
            lines.push(format!("{documents:?}"));
        }
    }
    let audit = wait(store.browse_audit(AuditFilter::default(), Page { cursor: None, limit: 100 })).expect("reads");
    lines.extend(audit.items.iter().map(|line| format!("{line:?}")));
    let db = database(dir);
    lines.extend(step::all(&db).expect("reads").into_iter().map(|(job, mark)| format!("{job:?} {mark:?}")));
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
    lines.push(format!("{:?}", recount.kept));
    lines.push(format!("{:?}", Meta::load(&db).expect("reads").map(|meta| (meta.commit, meta.id_high, meta.latest))));
    lines
}

fn sealed(dir: &Path, ciphers: &Ciphers) -> SqliteStore {
    SqliteStore::open(Options { ciphers: ciphers.clone(), ..options(dir) }).expect("opens")
}

/// I23: the store of version 1 that is kept in `fixtures/` opens, with everything in it, in this version and every later one.
#[test]
fn the_golden_store_of_version_1_opens() {
    opens(&golden("v1"), &Ciphers::default());
}

/// I23, S32: so does the one beside it that is sealed, with its keys; without them it is refused. An earlier key stands in some records of it.
#[test]
fn the_golden_sealed_store_of_version_1_opens() {
    let golden = golden("v1-sealed");
    let keys = std::fs::read_to_string(golden.join("keys")).expect("the fixture is there");
    let ciphers = Ciphers::read(&keys).expect("they are keys");
    let dir = opens(&golden, &ciphers);
    let db = database(dir.path());
    assert!(Meta::load(&db).expect("reads").is_some_and(|meta| meta.is_sealed), "it says so");
    let mut heads = db.prepare("SELECT head FROM events ORDER BY seq").expect("reads");
    let heads = heads.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("reads");
    let numbers: Vec<u32> =
        heads.map(|head| record::key_of_head(&head.expect("reads")).expect("it is a head")).collect();
    assert_eq!(numbers, [[1; 4].as_slice(), &[2; 8]].concat());
    let copy = copied(&golden);
    assert!(matches!(SqliteStore::open(options(copy.path())), Err(OpenError::Sealed { .. })));
}

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/store").join(version)
}

fn copied(golden: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["store.db", "ledger"] {
        std::fs::copy(golden.join(name), dir.path().join(name)).expect("the fixture is there");
    }
    dir
}

/// With everything in it.
fn opens(golden: &Path, ciphers: &Ciphers) -> tempfile::TempDir {
    let dir = copied(golden);
    let expected = std::fs::read_to_string(golden.join("content.txt")).expect("the fixture is there");
    assert_eq!(every_row(dir.path(), ciphers).join("\n") + "\n", expected);
    let report = check_watched(dir.path(), ciphers, false, NOW, &Arc::default()).expect("reads");
    assert_eq!((report.events, report.faults), (12, Vec::new()));
    dir
}

/// Writes the golden store. Only for a new format version: `cargo test -p relay-store -- --ignored golden`.
#[test]
#[ignore = "writes fixtures/store; a released version's fixture is never written again"]
fn write_the_golden_store() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(full(dir.path()).close());
    write(&golden("v1"), dir.path(), &Ciphers::default());
}

/// The same for the sealed one, whose keys are written by hand.
#[test]
#[ignore = "writes fixtures/store; a released version's fixture is never written again"]
fn write_the_golden_sealed_store() {
    let golden = golden("v1-sealed");
    let keys = std::fs::read_to_string(golden.join("keys")).expect("two keys, one a line");
    let first = Ciphers::read(keys.lines().next().expect("a line")).expect("it is one");
    let both = Ciphers::read(&keys).expect("they are keys");
    let dir = tempfile::tempdir().expect("a directory");
    wait(fill(sealed(dir.path(), &first)).close());
    wait(fill_up(sealed(dir.path(), &both)).close());
    write(&golden, dir.path(), &both);
}

fn write(golden: &Path, dir: &Path, ciphers: &Ciphers) {
    std::fs::create_dir_all(golden).expect("a directory");
    for name in ["store.db", "ledger"] {
        std::fs::copy(dir.join(name), golden.join(name)).expect("copies");
    }
    std::fs::write(golden.join("content.txt"), every_row(dir, ciphers).join("\n") + "\n").expect("writes");
}
