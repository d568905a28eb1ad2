use std::task::Waker;

use super::*;

const MIB: u64 = 1024 * 1024;

fn source(name: &str) -> Name {
    name.parse().unwrap()
}

fn address(last: u8) -> Address {
    Address::of([192, 0, 2, last].into())
}

/// A body of 25 MiB that holds so much.
fn list<'a>(uploads: &'a Uploads, source: &Name, address: Address, proven: bool, held: u64) -> Listed<'a> {
    uploads.list(Owner { source, address, proven }, 25 * MIB, held)
}

fn stalls(listed: &Listed<'_>) {
    listed.upload.mark_before.0.store(0, Ordering::Relaxed);
    listed.upload.last.store(0, Ordering::Relaxed);
}

fn is_given_up(listed: &Listed<'_>) -> bool {
    listed.is_given_up(&Context::from_waker(Waker::noop()))
}

/// A table whose time began a minute ago.
fn uploads(max: u64) -> Uploads {
    let began = Instant::now().checked_sub(std::time::Duration::from_mins(1)).unwrap();
    Uploads { budget: Budget::new(max), began, table: Mutex::default() }
}

/// I16, S36: what stalls is given up first, of that what holds most; what was proven by its head never.
#[test]
fn what_stalls_and_holds_most_is_given_up_first() {
    let (uploads, hub) = (uploads(128 * MIB), source("hub"));
    let moving = list(&uploads, &hub, address(1), false, 20 * MIB);
    let small = list(&uploads, &hub, address(2), false, MIB);
    let large = list(&uploads, &hub, address(3), false, 24 * MIB);
    let proven = list(&uploads, &hub, address(4), true, 25 * MIB);
    for stalled in [&small, &large, &proven] {
        stalls(stalled);
    }
    let wants = Owner { source: &hub, address: address(9), proven: false };
    uploads.make_room(2 * MIB, wants, None);
    assert!(is_given_up(&large) && !is_given_up(&small) && !is_given_up(&moving) && !is_given_up(&proven));
    uploads.make_room(100 * MIB, wants, None);
    assert!(is_given_up(&small) && is_given_up(&moving), "whoever has just come has the least to answer for");
    assert!(!is_given_up(&proven));
}

/// S36: no address has more than half while others wait; this machine, which a proxy may share, is none.
#[test]
fn an_address_over_half_gives_way_before_anybody_else() {
    let (uploads, hub) = (uploads(100 * MIB), source("hub"));
    let greedy = [0, 1, 2].map(|_| list(&uploads, &hub, address(1), false, 20 * MIB));
    let slow = list(&uploads, &hub, address(2), false, 20 * MIB);
    stalls(&slow);
    uploads.make_room(MIB, Owner { source: &hub, address: address(9), proven: false }, None);
    assert!(greedy.iter().any(is_given_up) && !is_given_up(&slow));
}

/// S36: no source has more than half while another wants some, though its senders have proven themselves.
#[test]
fn a_source_over_half_gives_way_to_another() {
    let (uploads, hub, shop) = (uploads(100 * MIB), source("hub"), source("shop"));
    let many = [0, 1, 2].map(|_| list(&uploads, &hub, Address::Local, true, 20 * MIB));
    uploads.make_room(MIB, Owner { source: &hub, address: Address::Local, proven: true }, None);
    assert!(!many.iter().any(is_given_up), "not to itself");
    uploads.make_room(MIB, Owner { source: &shop, address: Address::Local, proven: true }, None);
    assert_eq!(many.iter().filter(|listed| is_given_up(listed)).count(), 1);
}

/// A body that comes on is not given up for one that comes slower.
#[test]
fn whoever_is_slower_gives_up_nobody_faster() {
    let (uploads, hub) = (uploads(100 * MIB), source("hub"));
    let fast = list(&uploads, &hub, address(1), false, 20 * MIB);
    let slow = list(&uploads, &hub, address(2), false, 20 * MIB);
    slow.upload.mark_before.1.store(20 * MIB - 1024, Ordering::Relaxed);
    uploads.make_room(MIB, Owner { source: &hub, address: address(2), proven: false }, Some(&slow.upload));
    assert!(!is_given_up(&fast));
    uploads.make_room(MIB, Owner { source: &hub, address: address(1), proven: false }, Some(&fast.upload));
    assert!(is_given_up(&slow));
}

/// S9: where every connection is at work, bodies that are far from whole make room; what leaves the table leaves nothing.
#[test]
fn slow_bodies_make_room_for_connections() {
    let (uploads, hub) = (uploads(100 * MIB), source("hub"));
    let (stalled, proven) = (list(&uploads, &hub, address(1), false, 1), list(&uploads, &hub, address(1), true, 1));
    let fast = list(&uploads, &hub, address(1), false, 25 * MIB);
    stalls(&stalled);
    stalls(&proven);
    uploads.give_up_slow();
    assert!(is_given_up(&stalled) && !is_given_up(&proven) && !is_given_up(&fast));
    drop((stalled, proven, fast));
    assert_eq!(uploads.lock().all().count(), 0);
}
