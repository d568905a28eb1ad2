//! Files that are gone, cut short or changed: every loss of what was acknowledged is refused or reported.

use std::fs;

use relay_core::{
    jobs::Action,
    storage::{Replay, Replayed},
};

use super::{
    jobs::{command, everything, run},
    *,
};
use crate::seam::{Gap, Why};

/// Bytes of a page.
const PAGE: u64 = schema::PAGE_BYTES as u64;

/// A store with a few events, ended as by a kill, so that much of it is still in the WAL.
fn killed(dir: &Path) {
    let store = filled(dir);
    append_one(&store, &Maker::new(&store).append("last", NOW)).expect("stored");
    wait(store.crash());
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for name in ["store.db", "store.db-wal", "ledger"] {
        if dir.join(name).exists() {
            fs::copy(dir.join(name), copy.path().join(name)).expect("copies");
        }
    }
    copy
}

fn refused(dir: &Path) -> OpenError {
    SqliteStore::open(options(dir)).expect_err("must be refused")
}

fn sql(dir: &Path, statements: &str) {
    let db = rusqlite::Connection::open(dir.join("store.db")).expect("opens");
    db.execute_batch(statements).expect("runs");
}

/// I18: without its ledger a store is not opened, for nobody could tell what it lost, until that is accepted.
#[test]
fn a_store_without_its_ledger_is_refused() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 3] = [
        ("gone", |path| fs::remove_file(path).expect("removes")),
        ("empty", |path| fs::write(path, []).expect("writes")),
        ("unreadable", |path| fs::write(path, [7; 1024]).expect("writes")),
    ];
    for (what, spoil) in spoils {
        let dir = tempfile::tempdir().expect("a directory");
        killed(dir.path());
        spoil(&dir.path().join("ledger"));
        let error = refused(dir.path());
        assert!(matches!(error, OpenError::NoLedger { .. }), "{what}: {error}");
        let report = check(dir.path(), false, NOW).expect("reads");
        assert_eq!(report.faults, [error.to_string()], "{what}");
        let accepted = check(dir.path(), true, NOW).expect("reads");
        assert!(accepted.accepted, "{what}");
        assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new(), "{what}");
        let gap = Gap { why: Why::Accepted, since: NOW, until: NOW, commits: None, events: None };
        assert_eq!((accepted.gap, gaps_of(dir.path())), (Some(gap), vec![gap]), "{what}: nobody knows how much");
    }
}

/// What a recount says is missing or may be.
fn gaps_of(dir: &Path) -> Vec<Gap> {
    let recount = wait(open(dir).recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
    recount.gaps
}

/// I18: a kill during the first start leaves nothing that refuses.
#[test]
fn a_first_start_that_was_cut_short_is_taken_up() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(open(dir.path()).crash());
    fs::remove_file(dir.path().join("ledger")).expect("removes");
    wait(open(dir.path()).crash());
    fs::remove_file(dir.path().join("store.db")).expect("removes");
    open(dir.path());
}

/// I18, F7: a ledger of which one slot is left opens the store. If the other may have named a commit that is not there, that
/// is said, once: by a check, and by every recount from then on.
#[test]
fn half_a_ledger_is_not_taken_for_a_whole_one() {
    type Spoil = fn(&mut Vec<u8>, usize);
    let spoils: [(&str, Spoil); 3] = [
        ("a flipped bit", |ledger, slot| ledger[slot + 20] ^= 1),
        ("zeros", |ledger, slot| ledger[slot..slot + 512].fill(0)),
        ("cut short", |ledger, slot| ledger.truncate(slot.max(1))),
    ];
    for (what, spoil) in spoils {
        for commits in [0, 1] {
            for slot in [0, 512] {
                if (what, slot) == ("cut short", 0) {
                    continue;
                }
                let dir = tempfile::tempdir().expect("a directory");
                killed(dir.path());
                let store = open(dir.path());
                for _ in 0..commits + 2 {
                    append_one(&store, &Maker::new(&store).append("more", NOW)).expect("stored");
                }
                wait(store.crash());
                drop(store);
                let commit = ledger::read(&dir.path().join("ledger")).expect("reads").expect("holds").slot.commit;
                let mut bytes = fs::read(dir.path().join("ledger")).expect("reads");
                spoil(&mut bytes, slot);
                fs::write(dir.path().join("ledger"), bytes).expect("writes");
                // The slot of the latest commit, or of the one before it: there the next one would stand.
                let is_latest = commit % 2 == (slot / 512) as u64;
                let faults = check(dir.path(), false, NOW).expect("reads").faults;
                assert_eq!(faults.is_empty(), is_latest, "{what} {slot}: {faults:?}");
                let later = NOW + Duration::from_secs(5);
                let clock: Clock = Arc::new(move || later);
                drop(SqliteStore::open(Options { clock, ..options(dir.path()) }).expect("opens"));
                let gap = Gap { why: Why::Unvouched, since: NOW, until: later, commits: Some(1), events: None };
                let expected = if is_latest { Vec::new() } else { vec![gap] };
                assert_eq!(gaps_of(dir.path()), expected, "{what} {slot}");
                assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
            }
        }
    }
}

/// I18: a ledger that is far older than its database was put there by somebody: it vouches for nothing behind it.
#[test]
fn a_ledger_from_elsewhere_does_not_vouch() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(filled(dir.path()).close());
    let (place, lock) = StoreDir::claim(dir.path(), Owners::Us, Writing::Command).expect("is ours");
    let db = place.connect_writer().expect("opens");
    let meta = Meta::load(&db).expect("reads").expect("is there");
    Meta { commit: meta.commit + 1_001, ..meta }.write(&db).expect("writes");
    drop((db, place, lock));
    let looked = SqliteStore::look(options(dir.path())).expect("looks");
    assert_eq!(wait(looked.recount()).expect("counts").gaps[0].why, Why::Unvouched, "said, and not written down");
    drop(looked);
    assert!(check(dir.path(), false, NOW).expect("reads").faults[0].contains("1001 commits older"));
    let gap = Gap { why: Why::Unvouched, since: NOW, until: NOW, commits: None, events: None };
    assert_eq!(gaps_of(dir.path()), [gap]);
    assert_eq!(gaps_of(dir.path()), [gap], "it is said once");
}

/// I18: the ledger of the epoch before is good for the commit that ended that epoch, and for no later one.
#[test]
fn the_ledger_of_an_earlier_epoch_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    killed(dir.path());
    fs::remove_file(dir.path().join("ledger")).expect("removes");
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    let earlier = fs::read(dir.path().join("ledger")).expect("reads");
    fs::remove_file(dir.path().join("ledger")).expect("removes");
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    fs::write(dir.path().join("ledger"), &earlier).expect("writes");
    let store = open(dir.path());
    append_one(&store, &Maker::new(&store).append("of the new epoch", NOW)).expect("stored");
    wait(store.close());
    drop(store);
    fs::write(dir.path().join("ledger"), &earlier).expect("writes");
    assert!(matches!(refused(dir.path()), OpenError::OtherHistory { .. }));
}

/// I5, I18: what an operator accepts as lost, `audit` goes on to say: how much of it, where the ledger or the counters know.
#[test]
fn an_accepted_loss_is_told_from_then_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    wait(store.close());
    drop(store);
    let before = fs::read(dir.path().join("store.db")).expect("reads");
    let store = open(dir.path());
    for _ in 0..3 {
        append_one(&store, &Maker::new(&store).append("lost", NOW)).expect("stored");
    }
    wait(store.close());
    drop(store);
    fs::write(dir.path().join("store.db"), before).expect("writes");
    let later = NOW + Duration::from_mins(1);
    let behind = Gap { why: Why::Accepted, since: NOW, until: later, commits: Some(3), events: Some(3) };
    assert_eq!(check(dir.path(), true, later).expect("reads").gap, Some(behind));
    assert_eq!(gaps_of(dir.path()), [behind]);

    // A damaged body, which costs its event and its delivery; the ledger is whole.
    sql(dir.path(), "UPDATE events SET body = x'00' WHERE seq = (SELECT max(seq) FROM events)");
    let damaged = Gap { commits: Some(0), events: Some(1), ..behind };
    let found = check(dir.path(), true, later).expect("reads").gap.expect("one is missing");
    assert_eq!(Gap { since: NOW, ..found }, damaged);
    assert!(found.since <= NOW && found.since > NOW - Duration::from_secs(1), "the event was of about that time");

    // Rows that are gone without a trace may have been of any time. Two gaps are there already: a damaged one is not
    // forgotten without a word either.
    sql(dir.path(), "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)");
    let found = check(dir.path(), true, later).expect("reads").gap.expect("one is missing");
    assert_eq!((found.since, found.events), (Wall::MIN, Some(1)));
    assert_eq!(gaps_of(dir.path()).len(), 3);
    sql(dir.path(), "UPDATE gaps SET events = 0 WHERE seq = (SELECT min(seq) FROM gaps)");
    let nobody_knows = Gap { why: Why::Accepted, since: Wall::MIN, until: later, commits: None, events: None };
    assert_eq!(check(dir.path(), true, later).expect("reads").gap, Some(nobody_knows));
    assert_eq!(gaps_of(dir.path()).len(), 3);
    let lost: u64 = wait(open(dir.path()).stats()).expect("stats").destinations.iter().map(|of| of.lost).sum();
    assert_eq!(lost, 2, "each of the two events takes its delivery along");
}

/// I18: a recount counts what is damaged, and says that it is.
#[test]
fn a_recount_tells_of_damage_that_was_found() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(filled(dir.path()).close());
    sql(dir.path(), "UPDATE events SET body = x'00' WHERE seq = (SELECT min(seq) FROM events)");
    let store = open(dir.path());
    assert_eq!(wait(store.recount()).expect("counts").damaged, 0, "nobody has met it yet");
    let listed = wait(store.browse_events(EventFilter::default(), Page { cursor: None, limit: 10 })).expect("lists");
    for row in listed.items {
        drop(wait(store.event(row.event.id)));
    }
    let recount = wait(store.recount()).expect("counts");
    assert_eq!((recount.counted == recount.kept, recount.damaged), (true, 1));
}

/// I18: what does not read is no part of a page of whole events, and none is said to have been looked at that was not.
#[test]
fn what_does_not_read_is_counted_beside_whole_events() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(filled(dir.path()).close());
    sql(dir.path(), "UPDATE events SET body = x'00' WHERE seq = (SELECT min(seq) FROM events)");
    let store = open(dir.path());
    let page = || Page { cursor: None, limit: 1_000 };
    let rows = wait(store.browse_events(EventFilter::default(), page())).expect("lists").items.len();
    let whole = wait(store.browse_whole(EventFilter::default(), page(), 1 << 20)).expect("reads");
    assert_eq!((whole.items.len(), whole.passed, whole.next), (rows - 1, 1, None));
}

/// I18, I20: the repeat of an event that does not read any more is an event of its own, since a 2xx for what cannot be delivered would be
/// a loss; where a delivery alone is damaged it is said to be gone, and can be made again.
#[test]
fn what_cannot_be_delivered_any_more_swallows_no_repeat() {
    for (spoilt, spoil) in [
        ("head", "UPDATE events SET head = x'00'"),
        ("list", "UPDATE events SET deliveries = x'01'"),
        ("body", "UPDATE events SET body = x'00'"),
        ("key", "UPDATE dedupe SET record = x'01'"),
        ("delivery", "UPDATE deliveries SET record = x'01'"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let dedupe = Some(Dedupe { key: [7; 32], until: NOW + TTL });
        let first = Append { dedupe: dedupe.clone(), ..Maker::new(&store).append("1", NOW) };
        append_one(&store, &first).expect("stored");
        wait(store.close());
        drop(store);
        sql(dir.path(), spoil);
        let store = open(dir.path());
        let mut maker = Maker::new(&store);
        let again = Append { dedupe: dedupe.clone(), ..maker.append("1", NOW) };
        if spoilt == "body" {
            // Nobody has met it yet.
            let answer = append_one(&store, &again);
            assert!(matches!(answer, Ok(Appended::Repeat { gone: false, .. })), "{answer:?}");
            assert_eq!(bodies(&store, &first.deliveries), [None]);
        }
        let answer = append_one(&store, &again);
        if spoilt == "delivery" {
            assert!(
                matches!(&answer, Ok(Appended::Repeat { deliveries, gone: true, .. }) if deliveries.is_empty()),
                "{answer:?}"
            );
            let id = maker.mint.delivery(NOW).beside(first.event.id);
            let made = vec![Delivery { id, replay: true, ..first.deliveries[0].clone() }];
            let replayed = wait(store.replay(Replay { made, decided_on: Some(0) }, Vec::new()));
            assert_eq!(replayed, Ok(Replayed::Stored(vec![true])));
        } else {
            assert_eq!(answer, Ok(Appended::as_asked(again.event.id)), "{spoilt}");
            // From then on it is the first.
            let once_more = Append { dedupe, ..maker.append("1", NOW) };
            let answer = append_one(&store, &once_more);
            assert!(matches!(answer, Ok(Appended::Repeat { first, .. }) if first == again.event.id), "{answer:?}");
        }
        let held = wait(store.lease(lease_ask(9))).expect("leases").deliveries;
        assert!(bodies(&store, &held).iter().any(Option::is_some), "{spoilt}");
        assert!(wait(store.stats()).expect("stats").damaged > 0, "{spoilt}");
    }
}

/// I18: beside the ledger of a database that is gone no new one is made.
#[test]
fn a_ledger_without_its_database_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    killed(dir.path());
    fs::remove_file(dir.path().join("store.db-wal")).expect("removes");
    fs::remove_file(dir.path().join("store.db")).expect("removes");
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::NoDatabase { events: 5, .. }), "{error}");
    assert!(!dir.path().join("store.db").exists());
    check(dir.path(), true, NOW).expect_err("there is nothing to accept");
    fs::write(dir.path().join("store.db"), []).expect("writes");
    assert!(matches!(refused(dir.path()), OpenError::NoDatabase { .. }));
}

/// I17: after a failure everything is read before the store works again.
#[test]
fn a_store_that_failed_is_verified_by_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(filled(dir.path()).close());
    let fail = || {
        let edges = Edges::new(|met| if met == Edge::BeforeCommit { EdgeAction::Io } else { EdgeAction::Continue });
        let store = SqliteStore::open(Options { edges, ..options(dir.path()) }).expect("opens");
        append_one(&store, &Maker::new(&store).append("x", NOW)).expect_err("fails");
        wait(store.failed());
        drop(store);
        assert!(dir.path().join("suspect").exists());
    };
    fail();
    wait(open(dir.path()).close());
    assert!(!dir.path().join("suspect").exists(), "it holds, so it is trusted again");
    fail();
    sql(dir.path(), "UPDATE events SET body = x'00' WHERE seq = (SELECT min(seq) FROM events)");
    let error = refused(dir.path()).to_string();
    assert!(error.contains("the body does not match its checksum") && error.contains("injected fault"), "{error}");
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    wait(open(dir.path()).close());
}

/// I18: an accepted loss takes out whatever is damaged, so that the next check finds nothing.
#[test]
fn accepting_a_loss_leaves_nothing_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let entry =
        AuditEntry { at: NOW, who: "cli".into(), action: "a".into(), subject: "b".into(), origin: String::new() };
    let key = DocumentKey { kind: DocumentKind::Route, name: "r".into() };
    wait(store.put_document(key, 0, Some("{}".into()), vec![entry])).expect("writes");
    let dedupe = Some(Dedupe { key: [7; 32], until: NOW + TTL });
    append_one(&store, &Append { dedupe, ..Maker::new(&store).append("key", NOW) }).expect("stored");
    let cancel = command(&mut Maker::new(&store), Action::Cancel, everything());
    assert!(run(&store, cancel).changed > 0);
    wait(store.close());
    drop(store);
    sql(
        dir.path(),
        "INSERT INTO attempts (delivery, version, record) SELECT min(seq), 99, x'01' FROM deliveries;
         UPDATE dedupe SET record = x'01'; UPDATE documents SET crc = 0 WHERE name = 'r'; UPDATE audit SET crc = 0;
         UPDATE jobs SET record = x'01'; UPDATE events SET deliveries = x'01' WHERE seq = (SELECT max(seq) FROM events)",
    );
    let report = check(dir.path(), false, NOW).expect("reads");
    assert_eq!(report.faults.len(), 7, "{:#?}", report.faults);
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
    let recount = wait(open(dir.path()).recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
}

/// I18: ids that were given out are not given out again, though the events that had them are lost and the clock is set back.
#[test]
fn accepting_lost_commits_gives_out_no_id_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    wait(store.close());
    drop(store);
    let before = fs::read(dir.path().join("store.db")).expect("reads");
    let store = open(dir.path());
    append_one(&store, &Maker::new(&store).append("lost", NOW + Duration::from_hours(1))).expect("stored");
    let floor = wait(store.stats()).expect("stats").id_floor;
    wait(store.close());
    drop(store);
    fs::write(dir.path().join("store.db"), before).expect("writes");
    assert!(matches!(refused(dir.path()), OpenError::LostCommits { .. }));
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    assert!(wait(open(dir.path()).stats()).expect("stats").id_floor >= floor);
}

/// A backup that was not finished is told from one that was; a restore that was not finished can be done again.
#[test]
fn an_unfinished_backup_is_refused_and_an_unfinished_restore_repeated() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let backup = dir.path().join("backup");
    back_up(&store, &backup);
    drop(store);
    let unfinished = dir.path().join("unfinished");
    fs::create_dir(&unfinished).expect("makes");
    fs::copy(backup.join("store.db"), unfinished.join("store.db")).expect("copies");
    let target = tempfile::tempdir().expect("a directory");
    let error = restore(&unfinished, target.path(), NOW).expect_err("has no manifest").to_string();
    assert!(error.contains("not finished"), "{error}");
    fs::write(unfinished.join("manifest.json"), "{\"format\": 1,").expect("writes");
    restore(&unfinished, target.path(), NOW).expect_err("half a manifest");
    // Killed between the copy's ledger and its last name.
    killed(target.path());
    fs::rename(target.path().join("store.db"), target.path().join("store.db.part")).expect("renames");
    fs::write(target.path().join("store.db-wal"), [7; 5000]).expect("writes");
    assert!(matches!(refused(target.path()), OpenError::UnfinishedRestore { .. }));
    restore(&backup, target.path(), NOW).expect("restores");
    assert_eq!(check(target.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
    assert_eq!(wait(open(target.path()).stats()).expect("stats").sources[0].stored, 4);
}

/// I18: wherever a restore is killed, no empty store is begun beside it, and a second one comes to its end.
#[test]
fn no_store_is_made_beside_a_restore_that_was_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let backup = dir.path().join("backup");
    back_up(&filled(dir.path()), &backup);
    let whole = fs::read(backup.join("store.db")).expect("reads");
    let (half, last) = (whole.len() / 2, whole.len());
    for bytes in [0, 1, 100, half, last] {
        let target = tempfile::tempdir().expect("a directory");
        let part = target.path().join("store.db.part");
        fs::write(&part, &whole[..bytes]).expect("writes");
        let error = refused(target.path());
        assert!(matches!(error, OpenError::UnfinishedRestore { .. }), "{bytes}: {error}");
        let told = error.to_string();
        assert!(told.contains("store restore") && told.contains("store.db.part"), "{told}");
        check(target.path(), true, NOW).expect_err("nor does a check make one");
        // A second one that fails leaves the sign of the first.
        let spoiled = tempfile::tempdir().expect("a directory");
        fs::copy(backup.join("manifest.json"), spoiled.path().join("manifest.json")).expect("copies");
        let mut other = whole.clone();
        other[half] ^= 1;
        fs::write(spoiled.path().join("store.db"), other).expect("writes");
        restore(spoiled.path(), target.path(), NOW).expect_err("is not what was written");
        assert!(matches!(refused(target.path()), OpenError::UnfinishedRestore { .. }), "{bytes}");
        restore(&backup, target.path(), NOW).expect("goes on");
        assert!(!part.exists());
        assert_eq!(wait(open(target.path()).stats()).expect("stats").sources[0].stored, 4);
    }
}

/// What opening a spoiled copy came to. Panics when something is lost in silence.
fn judge(copy: &Path, healthy: &[String], what: &str) -> bool {
    let store = match SqliteStore::open(options(copy)) {
        Ok(store) => store,
        Err(error) => {
            assert!(!matches!(error, OpenError::InUse { .. } | OpenError::Io { .. }), "{what}: {error}");
            return true;
        }
    };
    let found = content_of(&store);
    let damaged = wait(store.stats()).map_or(1, |stats| stats.damaged);
    let reason = store.status.reason();
    assert!(!reason.as_ref().is_some_and(|reason| reason.contains("panicked")), "{what}: {reason:?}");
    let reported = damaged > 0 || reason.is_some();
    let same = found.as_deref() == Some(healthy);
    let told = found.is_none_or(|lines| lines.iter().any(|line| line.contains("Err(")));
    assert!(same || reported || told, "{what}: something is gone and nobody says so");
    reported || !same
}

fn check_agrees(copy: &Path, noticed: bool, what: &str) {
    let found = check(copy, false, NOW).map_or(true, |report| !report.is_healthy());
    assert!(found || !noticed, "{what}: opening noticed it, the check did not");
}

/// I18: a file of the store that ends early, at the edge of a record or within it, is noticed if anything is lost.
#[test]
fn a_truncated_file_is_never_silent() {
    let dir = tempfile::tempdir().expect("a directory");
    killed(dir.path());
    let healthy = content(copy_of(dir.path()).path()).expect("a healthy store is read");
    let mut noticed = 0;
    for (name, head, record) in [("store.db", 0, PAGE), ("store.db-wal", 32, 24 + PAGE), ("ledger", 0, 512)] {
        let len = fs::metadata(dir.path().join(name)).expect("is there").len();
        let edges = (0..).map(|number| head + number * record).take_while(|at| *at < len);
        for at in edges.flat_map(|at| [at, at + record / 2]).chain([0]).filter(|at| *at < len) {
            let what = format!("{name} cut at {at} of {len}");
            let spoiled = || {
                let copy = copy_of(dir.path());
                let file = fs::OpenOptions::new().write(true).open(copy.path().join(name)).expect("opens");
                file.set_len(at).expect("cuts");
                copy
            };
            let refused = judge(spoiled().path(), &healthy, &what);
            check_agrees(spoiled().path(), refused, &what);
            noticed += usize::from(refused);
        }
    }
    assert!(noticed > 10, "most of the cuts must have taken something");
}

/// I18, F7: one flipped bit anywhere in any file. `CORRUPTIONS` sets how many are tried.
#[test]
fn a_random_flipped_bit_is_never_silent() {
    let dir = tempfile::tempdir().expect("a directory");
    killed(dir.path());
    let healthy = content(copy_of(dir.path()).path()).expect("a healthy store is read");
    let count = std::env::var("CORRUPTIONS").map_or(60, |text| text.parse().expect("a number"));
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut noticed = 0;
    for number in 0..count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let name = ["store.db-wal", "store.db", "ledger"][number % 3];
        let good = fs::read(dir.path().join(name)).expect("reads");
        let at = (random >> 8) as usize % good.len();
        let what = format!("{name} byte {at} bit {}", random % 8);
        let spoiled = || {
            let copy = copy_of(dir.path());
            let mut bad = good.clone();
            bad[at] ^= 1 << (random % 8);
            fs::write(copy.path().join(name), bad).expect("writes");
            copy
        };
        let refused = judge(spoiled().path(), &healthy, &what);
        check_agrees(spoiled().path(), refused, &what);
        noticed += usize::from(refused);
    }
    assert!(noticed > 0, "some of the flips must have met something");
}

/// I18: the scrub finds damage that nobody asked for, names each record once, and goes on behind it.
#[test]
fn the_scrub_finds_every_kind_of_damage_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let key = DocumentKey { kind: DocumentKind::Route, name: "r".into() };
    wait(store.put_document(key, 0, Some("{}".into()), Vec::new())).expect("writes");
    let line = AuditEntry {
        at: NOW,
        who: "cli".into(),
        action: "a.b".into(),
        subject: "what was done".into(),
        origin: String::new(),
    };
    wait(store.audit(vec![line])).expect("writes");
    let db = open::connect_reader(dir.path()).expect("opens");
    let pass = || {
        let mut reached = Some(bookmark::Reached::default());
        while let Some(from) = reached {
            reached = scrub::read(&db, &store.shelf, &from).expect("reads");
        }
        store.shelf.damage().count()
    };
    assert_eq!(pass(), 0);
    sql(
        dir.path(),
        "UPDATE events SET body = x'00' WHERE seq = (SELECT min(seq) FROM events);
         UPDATE events SET deliveries = x'01' WHERE seq = (SELECT max(seq) FROM events);
         UPDATE deliveries SET record = x'01' WHERE seq = (SELECT max(seq) FROM deliveries);
         INSERT INTO attempts (delivery, version, record) SELECT min(seq), 99, x'01' FROM deliveries;
         UPDATE dedupe SET record = x'01'; UPDATE documents SET crc = 0 WHERE name = 'r';
         UPDATE audit SET subject = 'something else' WHERE seq = (SELECT max(seq) FROM audit);
         UPDATE deliveries SET changed = changed + 1 WHERE seq = (SELECT min(seq) FROM deliveries)",
    );
    assert_eq!(pass(), 8);
    assert_eq!(pass(), 8, "each once");
    assert_eq!(wait(store.stats()).expect("stats").damaged, 8);
}

/// I18: a bit that flips in an index is found, by the scrub and by `store check`, whichever index it is.
#[test]
fn a_flipped_bit_in_any_index_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    wait(store.close());
    sql(dir.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    let mut statement = db
        .prepare("SELECT name, rootpage FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        .expect("a query");
    let indexes = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("runs");
    let indexes: Vec<(String, u32)> = indexes.collect::<rusqlite::Result<_>>().expect("reads");
    let known = [indexes::OF_DELIVERIES, indexes::OF_KEYS].concat();
    let known: std::collections::BTreeSet<&str> = known.iter().map(|(index, _)| *index).collect();
    let there: std::collections::BTreeSet<&str> = indexes.iter().map(|(index, _)| index.as_str()).collect();
    assert_eq!(known, there, "the scrub asks each index that there is");
    for (index, root) in &indexes {
        let copy = copy_of(dir.path());
        let mut bytes = fs::read(copy.path().join("store.db")).expect("reads");
        // The first entry that was written stands at the end of its page, and ends with the row it leads to.
        bytes[*root as usize * PAGE as usize - 1] ^= 1;
        fs::write(copy.path().join("store.db"), bytes).expect("writes");
        let found = check(copy.path(), false, NOW).expect("reads").faults;
        // The scrub finds it without having been told.
        fs::remove_file(copy.path().join("damaged")).expect("removes");
        let store = open(copy.path());
        let reader = open::connect_reader(copy.path()).expect("opens");
        let mut reached = Some(bookmark::Reached::default());
        while let Some(from) = reached {
            reached = scrub::read(&reader, &store.shelf, &from).expect("reads");
        }
        assert_eq!((found.is_empty(), store.shelf.damage().count()), (false, 1), "{index}: {found:?}");
        wait(store.close());
    }
}

/// I13, I18: what says that an event has no delivery, and which were made of it later, is checked against the events, by the
/// scrub as far as it leads to one, and made anew by an accepted loss: nothing that is open goes with what seems unwanted.
#[test]
fn what_stands_beside_an_event_is_checked_and_made_anew() {
    for (damage, by_check, by_scrub) in [
        ("UPDATE replays SET deliveries = x'01' WHERE event = (SELECT min(event) FROM replays)", 1, 1),
        // Of one event the list of another, which holds only there.
        ("UPDATE replays SET deliveries = (SELECT deliveries FROM replays ORDER BY event DESC LIMIT 1)", 1, 1),
        // One has no delivery then, and two deliveries are of no event.
        ("DELETE FROM replays", 3, 3),
        ("DELETE FROM unrouted", 1, 1),
        ("INSERT OR IGNORE INTO unrouted SELECT event FROM replays", 2, 2),
        ("INSERT INTO unrouted VALUES (1); INSERT INTO replays VALUES (1, x'01')", 1, 0),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let mut maker = Maker::new(&store);
        let wanted = maker.append("wanted", NOW);
        let later = Append { deliveries: Vec::new(), ..maker.append("wanted later", NOW) };
        let never = Append { deliveries: Vec::new(), ..maker.append("never", NOW) };
        assert!(wait(store.append(vec![wanted.clone(), later.clone(), never])).iter().all(Result::is_ok));
        for event in [&wanted.event, &later.event] {
            let id = maker.mint.delivery(NOW).beside(event.id);
            let again = Delivery::ready(id, event, name("crm"), true, NOW, TTL);
            assert_eq!(wait(store.replay(Replay::anyway(vec![again]), Vec::new())), Ok(Replayed::Stored(vec![true])));
        }
        let db = open::connect_reader(dir.path()).expect("opens");
        sql(dir.path(), damage);
        let mut reached = Some(bookmark::Reached::default());
        while let Some(from) = reached {
            reached = scrub::read(&db, &store.shelf, &from).expect("reads");
        }
        assert_eq!(store.shelf.damage().count(), by_scrub, "{damage}");
        wait(store.close());
        drop((store, db));
        let faults = check(dir.path(), false, NOW).expect("reads").faults;
        assert_eq!(faults.len(), by_check, "{damage}: {faults:#?}");
        assert!(check(dir.path(), true, NOW).expect("reads").accepted);
        assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new(), "{damage}");
        let store = open(dir.path());
        retain(&store, ended_before(NOW + TTL, NOW + TTL));
        let event = wait(store.event(wanted.event.id)).expect("reads");
        assert!(event.is_some(), "{damage}: what is open keeps its event");
        assert_eq!(wait(store.stats()).expect("stats").destinations[0].states[0], 3, "{damage}: nothing open is lost");
        let recount = wait(store.recount()).expect("counts");
        assert_eq!(recount.counted, recount.kept);
    }
}

/// I18: the scrub runs by itself, and ends with the store.
#[test]
fn the_scrub_runs_while_the_store_is_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    sql(dir.path(), "UPDATE deliveries SET record = x'01' WHERE seq = (SELECT max(seq) FROM deliveries)");
    let (shelf, status) = (store.shelf.clone(), Arc::clone(&store.status));
    let scrub = Scrub::start(dir.path().to_owned(), shelf, status, Duration::ZERO).expect("starts");
    while wait(store.stats()).expect("stats").damaged == 0 {}
    drop(scrub);
    wait(store.close());
}

/// A lease reads no body, and one that is damaged costs its own delivery alone: it is not leased again.
#[test]
fn a_damaged_body_is_met_by_who_reads_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    for body in ["bad", "good"] {
        append_one(&store, &maker.append(body, NOW)).expect("stored");
    }
    sql(dir.path(), "UPDATE events SET body = x'00' WHERE seq = (SELECT min(seq) FROM events)");
    let held = wait(store.lease(lease_ask(9))).expect("leases").deliveries;
    assert_eq!((held.len(), wait(store.stats()).expect("stats").damaged), (2, 0));
    let read: Vec<bool> = bodies(&store, &held).iter().map(Option::is_some).collect();
    assert_eq!((read, wait(store.stats()).expect("stats").damaged), (vec![false, true], 1));
    let back =
        held.iter().map(|held| relay_core::delivery::hand_back(held, held.claim(), NOW).expect("it is held")).collect();
    assert_eq!(wait(store.settle(back)), Ok(vec![Changed::Applied; 2]));
    let again = wait(store.lease(lease_ask(9))).expect("leases").deliveries;
    assert_eq!(again.iter().map(|held| held.id).collect::<Vec<_>>(), [held[1].id]);
}

/// What was purged while it was leased is gone, and nothing is damaged.
#[test]
fn the_body_of_what_was_purged_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    append_one(&store, &Maker::new(&store).append("x", NOW)).expect("stored");
    let held = wait(store.lease(lease_ask(1))).expect("leases").deliveries;
    // Nothing is left of what was read while it was leased.
    wait(store.close());
    drop(store);
    let store = open(dir.path());
    sql(dir.path(), "DELETE FROM deliveries; DELETE FROM events");
    assert_eq!(bodies(&store, &held), [None]);
    assert_eq!(wait(store.stats()).expect("stats").damaged, 0);
}

/// I18, I24: what was found damaged is said from then on, also by the next process, until it is mended or gone: a pass of the
/// scrub tells.
#[test]
fn damage_is_not_forgotten_by_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let cancel = command(&mut Maker::new(&store), Action::Cancel, everything());
    assert!(run(&store, cancel).changed > 0);
    wait(store.close());
    drop(store);
    sql(
        dir.path(),
        "CREATE TABLE good AS SELECT seq, body FROM events;
         UPDATE events SET body = x'00' WHERE seq = (SELECT min(seq) FROM events);
         INSERT INTO attempts (delivery, version, record) SELECT min(seq), 99, x'01' FROM deliveries;
         UPDATE jobs SET record = x'01'",
    );
    let known = |store: &SqliteStore| {
        let (stats, recount) = (wait(store.stats()).expect("stats"), wait(store.recount()).expect("counts"));
        assert_eq!(stats.damaged, recount.damaged);
        stats.damaged
    };
    let pass = |store: &SqliteStore| {
        let db = open::connect_reader(dir.path()).expect("opens");
        store.shelf.damage().pass_begins();
        let mut reached = Some(bookmark::Reached::default());
        while let Some(from) = reached {
            reached = scrub::read(&db, &store.shelf, &from).expect("reads");
        }
        store.shelf.damage().pass_ended();
    };
    let store = open(dir.path());
    assert_eq!(known(&store), 0, "nobody has met it yet");
    pass(&store);
    assert_eq!(known(&store), 3);
    wait(store.crash());
    drop(store);
    for _ in 0..2 {
        let store = open(dir.path());
        assert_eq!(known(&store), 3, "an earlier process has");
        wait(store.crash());
    }
    sql(dir.path(), "UPDATE events SET body = (SELECT body FROM good WHERE good.seq = events.seq)");
    let store = open(dir.path());
    pass(&store);
    assert_eq!(known(&store), 2, "one is mended");
    wait(store.close());
    drop(store);
    assert_eq!(known(&open(dir.path())), 2);
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    assert!(!dir.path().join("damaged").exists());
    assert_eq!(known(&open(dir.path())), 0, "the rest is accepted");
}

/// I18: what a check has found is said by a server that is started all the same, until a check finds nothing; what the scrub
/// cannot see, it does not call mended.
#[test]
fn what_a_check_found_is_said_by_the_server() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(filled(dir.path()).close());
    sql(
        dir.path(),
        "UPDATE events SET body = x'00' WHERE seq = (SELECT min(seq) FROM events);
         DELETE FROM deliveries WHERE seq = (SELECT max(seq) FROM deliveries)",
    );
    let faults = check(dir.path(), false, NOW).expect("reads").faults;
    assert_eq!(faults.len(), 2, "{faults:?}");
    let store = open(dir.path());
    assert_eq!(wait(store.stats()).expect("stats").damaged, 2);
    store.shelf.damage().pass_begins();
    store.shelf.damage().pass_ended();
    assert_eq!(wait(store.stats()).expect("stats").damaged, 1, "counters that are wrong: no record says so");
    wait(store.close());
    drop(store);
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    assert!(check(dir.path(), false, NOW).expect("reads").is_healthy());
    assert_eq!(wait(open(dir.path()).stats()).expect("stats").damaged, 0);
}

/// What is known of a store that is gone says nothing about the next one in its place.
#[test]
fn damage_goes_with_its_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let backup = dir.path().join("backup");
    back_up(&store, &backup);
    wait(store.close());
    drop(store);
    let spoil = || fs::write(dir.path().join("damaged"), "r a record\n").expect("writes");
    let lose = |names: &[&str]| names.iter().for_each(|name| drop(fs::remove_file(dir.path().join(name))));
    spoil();
    lose(&["store.db", "store.db-wal"]);
    restore(&backup, dir.path(), NOW).expect("restores");
    assert_eq!(wait(open(dir.path()).stats()).expect("stats").damaged, 0);
    spoil();
    assert_eq!(wait(open(dir.path()).stats()).expect("stats").damaged, 1);
    lose(&["store.db", "store.db-wal", "ledger"]);
    assert_eq!(wait(open(dir.path()).stats()).expect("stats").damaged, 0, "a new one was begun");
}
