use std::task::Waker;

use super::*;

const MIB: u64 = 1024 * 1024;

fn source(name: &str) -> Name {
    name.parse().unwrap()
}

fn address(last: u8) -> Address {
    Address::of([192, 0, 2, last].into())
}

/// So much has come, and no more is reserved.
fn all(bytes: u64) -> Extent {
    Extent { came: bytes, held: bytes }
}

/// A body of 25 MiB that holds so much.
fn list<'a>(uploads: &'a Uploads, source: &Name, address: Address, proven: bool, held: u64) -> Listed<'a> {
    uploads.list(Owner { source, address, proven }, Some(25 * MIB), all(held))
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
    let began = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
    Uploads::since(Budget::new(max), began)
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

/// A body of a stranger of whose bytes so many came in the last ten seconds.
fn comes(uploads: &Uploads, whole: u64, came: u64) -> Listed<'_> {
    let listed =
        uploads.list(Owner { source: &source("hub"), address: address(1), proven: false }, Some(whole), all(came));
    began_before(&listed, 10_000);
    listed
}

fn began_before(listed: &Listed<'_>, milliseconds: u64) {
    let since = listed.uploads.tick() - milliseconds;
    listed.upload.since.store(since, Ordering::Relaxed);
    listed.upload.mark_before.0.store(since, Ordering::Relaxed);
}

/// S9: where every connection is at work, bodies that nobody has proven make room: what stalls, then what brings least.
#[test]
fn idle_bodies_make_room_for_connections() {
    let (uploads, hub) = (uploads(100 * MIB), source("hub"));
    let proven = list(&uploads, &hub, address(1), true, 1);
    let stalled = comes(&uploads, 25 * MIB, 5 * MIB);
    for listed in [&proven, &stalled] {
        began_before(listed, 10_000);
        stalls(listed);
    }
    // Each says that it is whole in a moment, and has said so for ten seconds.
    let trickles = [comes(&uploads, 2_000, 1_990), comes(&uploads, 2_000, 1_900)];
    let large = [comes(&uploads, 25 * MIB, 2 * MIB), comes(&uploads, 25 * MIB, 2 * MIB + 1)];
    let fast = comes(&uploads, 25 * MIB, 20 * MIB);
    let young = list(&uploads, &hub, address(1), false, 0);
    let go_in_this_order = [&stalled, &trickles[1], &trickles[0], &large[0], &large[1], &fast];
    for (wanted, goes) in (1..).zip(go_in_this_order) {
        assert!(!is_given_up(goes));
        uploads.make_way(wanted);
        assert!(is_given_up(goes), "{wanted}");
    }
    uploads.make_way(100);
    assert!(!is_given_up(&young) && !is_given_up(&proven));
}

/// S9, S36: where the share of a network is full, bodies of that network make room in it, those that have just begun only where
/// there is more of them than of what has said nothing; what is proven, and what is others', stays.
#[test]
fn bodies_make_room_in_the_share_of_their_network() {
    let (uploads, hub) = (uploads(100 * MIB), source("hub"));
    let home = |text: &str| Address::of(text.parse().unwrap());
    let [wider, other] = [home("2001:db8:1:1::1"), home("2001:db8:2:1::1")];
    let network = wider.networks().last();
    let wanted = |places, silent| Wanted { places, network, silent };
    let proven = list(&uploads, &hub, wider, true, 1);
    let elsewhere = list(&uploads, &hub, other, false, 1);
    let young = [home("2001:db8:1:2::1"), home("2001:db8:1:3::1")].map(|of| list(&uploads, &hub, of, false, 1));
    let old = [1_000, 2_000].map(|held| list(&uploads, &hub, home("2001:db8:1:4::1"), false, held));
    for listed in [&proven, &elsewhere, &old[0], &old[1]] {
        began_before(listed, 10_000);
    }
    let given_up = || [&old[0], &old[1], &young[0], &young[1], &proven, &elsewhere].map(is_given_up);
    assert_eq!(uploads.give_way(wanted(1, 0)), 1);
    assert_eq!(given_up(), [true, false, false, false, false, false], "what brings least");
    assert_eq!(uploads.give_way(wanted(1, 0)), 1, "it has not gone yet");
    assert_eq!(uploads.give_way(wanted(9, 0)), 1, "who has just begun goes only where nobody has begun before");
    assert_eq!(uploads.give_way(wanted(9, 2)), 0, "as many say nothing: who waits goes");
    assert_eq!(uploads.give_way(wanted(9, 1)), 1);
    assert_eq!(uploads.give_way(wanted(9, 0)), 1);
    assert_eq!(uploads.give_way(wanted(9, 0)), 0);
    assert_eq!(given_up(), [true, true, true, true, false, false]);
}

/// S9: no more are given up than places are wanted, whoever asks and however often; what leaves the table leaves nothing.
#[test]
fn no_more_bodies_go_than_places_are_wanted() {
    let uploads = uploads(100 * MIB);
    let bodies: Vec<_> = (0..40).map(|_| comes(&uploads, 2_000, 1_000)).collect();
    let given_up = || bodies.iter().filter(|listed| is_given_up(listed)).count();
    for _ in 0..3 {
        uploads.make_way(3);
    }
    assert_eq!(given_up(), 3, "those that were given up have not gone yet");
    uploads.make_way(1_000);
    assert_eq!(given_up(), limits::UPLOADS_GIVEN_UP_MAX);
    drop(bodies);
    assert_eq!(uploads.lock().all().count(), 0);
}

/// I16, S36: a body that waits for memory itself is given up like any other, and gives back what it holds at once.
#[tokio::test(start_paused = true)]
async fn a_body_that_waits_for_memory_is_given_up_for_another() {
    let (budget, hub) = (Budget::new(100 * MIB), source("hub"));
    let uploads = Uploads::new(Arc::clone(&budget));
    let mut large = budget.open(true);
    assert!(large.grow(90 * MIB));
    let mut small = budget.open(true);
    assert!(small.grow(10 * MIB));
    let (heavy, light) =
        (list(&uploads, &hub, address(1), false, 90 * MIB), list(&uploads, &hub, address(2), true, 10 * MIB));
    let owner = |last, proven| Owner { source: &hub, address: address(last), proven };
    let began = Instant::now();
    let give_way = async {
        let waited = uploads.wait(&mut large, MIB, owner(1, false), Some(&heavy)).await;
        drop((large, heavy));
        waited
    };
    let (gave_way, grew) = tokio::join!(give_way, uploads.wait(&mut small, MIB, owner(2, true), Some(&light)));
    assert_eq!((gave_way, grew), (Waited::GivenUp, Waited::Grown));
    assert!(began.elapsed() < limits::MEMORY_WAIT / 2, "it does not first wait in vain");
}

/// I16: what a shortage costs grows with those who hold memory, and not with those who want some as well.
#[tokio::test(start_paused = true)]
async fn many_who_want_memory_do_not_look_for_it_all_the_time() {
    const HOLDING: u64 = 200;
    const WAITING: usize = 500;
    let (budget, hub) = (Budget::new(HOLDING * MIB), source("hub"));
    let uploads = Uploads::new(Arc::clone(&budget));
    let mut held: Vec<_> = (0..HOLDING)
        .map(|_| {
            let mut reservation = budget.open(true);
            assert!(reservation.grow(MIB));
            (reservation, list(&uploads, &hub, address(1), true, MIB))
        })
        .collect();
    let wants = Owner { source: &hub, address: address(2), proven: false };
    let waiting = (0..WAITING).map(|_| async {
        let mut reservation = budget.open(true);
        uploads.wait(&mut reservation, MIB, wants, None).await;
    });
    let given_back = async {
        while held.pop().is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::join!(futures_util::future::join_all(waiting), given_back);
    let looks = limits::MEMORY_WAIT.as_millis() as u64 / LOOK_EVERY + 1;
    let looked_at = uploads.looked_at.load(Ordering::Relaxed);
    assert!(looked_at <= looks * HOLDING, "{looked_at} looked at, of {HOLDING} in {looks} looks");
}

/// S36: the sums by source and network are those of the bodies that are there.
#[test]
fn sums_are_those_of_what_is_there() {
    let (uploads, hub) = (uploads(100 * MIB), source("hub"));
    let home = |text: &str| Address::of(text.parse().unwrap());
    let first = list(&uploads, &hub, home("2001:db8:1:1::1"), false, 3);
    let second = list(&uploads, &hub, home("2001:db8:1:2::1"), false, 4);
    second.comes_to(all(10));
    let sums = |uploads: &Uploads| {
        let table = uploads.lock();
        let of = |sum: &Arc<Sum>| sum.held();
        (table.by_source.values().map(of).collect::<Vec<_>>(), table.by_network.values().map(of).max())
    };
    assert_eq!(sums(&uploads), (vec![13], Some(13)), "both /64s are of one /48");
    drop(first);
    assert_eq!(sums(&uploads), (vec![10], Some(10)));
    drop(second);
    let table = uploads.lock();
    assert!(table.by_source.is_empty() && table.by_network.is_empty());
}

/// S36: whoever has a whole /48 is one owner, however many of its /64s he comes from.
#[test]
fn a_network_over_half_gives_way_before_anybody_else() {
    let (uploads, hub) = (uploads(100 * MIB), source("hub"));
    let home = |number: u8| Address::of(format!("2001:db8:0:{number}::1").parse().unwrap());
    let greedy = [0, 1, 2].map(|number| list(&uploads, &hub, home(number), false, 20 * MIB));
    let slow = list(&uploads, &hub, address(2), false, 20 * MIB);
    stalls(&slow);
    uploads.make_room(MIB, Owner { source: &hub, address: address(9), proven: false }, None);
    assert!(greedy.iter().any(is_given_up) && !is_given_up(&slow));
}

/// What a body of 25 MiB wants that is to be promised to it whole.
const WHOLE: Turn = Turn { ceiling: 25 * MIB, more: 25 * MIB, size: 25 * MIB };

/// I16, S36: what is promised to a body is nobody else's, until it stalls; then whoever comes next has it at once.
#[tokio::test(start_paused = true)]
async fn a_promise_holds_for_as_long_as_its_body_comes_on() {
    let (uploads, hub) = (Uploads::new(Budget::new(64 * MIB)), source("hub"));
    let first = [1, 2].map(|last| list(&uploads, &hub, address(last), true, 0));
    for listed in &first {
        assert_eq!(uploads.turn(listed, WHOLE).await, Waited::Grown);
    }
    let began = Instant::now();
    let third = list(&uploads, &hub, address(3), true, 0);
    let comes_on = async {
        for held in 1..500 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for listed in &first {
                listed.comes_to(all(held * MIB / 100));
            }
        }
    };
    let (waited, ()) = tokio::join!(uploads.turn(&third, WHOLE), comes_on);
    assert_eq!((waited, began.elapsed() >= limits::MEMORY_WAIT), (Waited::InVain, true));
    tokio::time::sleep(Duration::from_millis(UPLOAD_GRACE + 1)).await;
    let began = Instant::now();
    assert_eq!(uploads.turn(&third, WHOLE).await, Waited::Grown);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// I16, S36: what is reserved for a body that stalls, beyond what came of it, is nobody's loss.
#[tokio::test(start_paused = true)]
async fn what_is_reserved_ahead_is_given_back_by_what_stalls() {
    let (budget, hub) = (Budget::new(30 * MIB), source("hub"));
    let uploads = &Uploads::new(Arc::clone(&budget));
    let (mut reservation, first) = (budget.open(true), list(uploads, &hub, address(1), true, 0));
    assert_eq!(uploads.turn(&first, WHOLE).await, Waited::Grown);
    assert!(reservation.grow(24 * MIB));
    first.comes_to(Extent { came: 12 * MIB, held: 24 * MIB });
    tokio::time::sleep(Duration::from_millis(STALLED_AFTER + UPLOAD_GRACE + 1)).await;
    let second = list(uploads, &hub, address(2), true, 0);
    assert_eq!(uploads.turn(&second, WHOLE).await, Waited::Grown);
}

/// I16: turns go in the order of coming, whatever would fit before that; who has proven himself goes before strangers.
#[tokio::test(start_paused = true)]
async fn turns_go_in_the_order_of_coming() {
    let (uploads, hub) = (Uploads::new(Budget::new(64 * MIB)), source("hub"));
    let first = list(&uploads, &hub, address(1), true, 0);
    let large = Turn { ceiling: 50 * MIB, more: 50 * MIB, size: 50 * MIB };
    assert_eq!(uploads.turn(&first, large).await, Waited::Grown);
    let (order, uploads) = (Mutex::new(Vec::new()), &uploads);
    let waits = async |last: u8, proven: bool, wanted: Turn| {
        let listed = list(uploads, &hub, address(last), proven, 0);
        assert_eq!(uploads.turn(&listed, wanted).await, Waited::Grown);
        order.lock().unwrap().push(last);
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(listed);
    };
    let [small, smaller] = [10 * MIB, MIB].map(|bytes| Turn { ceiling: bytes, more: bytes, size: bytes });
    let leaves = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        first.comes_to(all(MIB));
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(first);
    };
    tokio::join!(waits(2, true, large), waits(3, false, smaller), waits(4, true, small), leaves);
    assert_eq!(order.into_inner().unwrap(), [2, 4, 3]);
}

/// I16: where all hold a part and wait for more, the last to come go, so that the first becomes whole.
#[tokio::test(start_paused = true)]
async fn those_who_wait_for_each_other_do_not_wait_long() {
    let (budget, hub) = (Budget::new(32 * MIB), source("hub"));
    let uploads = &Uploads::new(Arc::clone(&budget));
    let began = Instant::now();
    let senders = (1..=4).map(|last| {
        let (mut reservation, listed) = (budget.open(false), list(uploads, &hub, address(last), false, 7 * MIB));
        assert!(reservation.grow(7 * MIB));
        async move {
            let wanted = Turn { ceiling: 25 * MIB, more: 18 * MIB, size: 25 * MIB };
            let waited = uploads.turn(&listed, wanted).await;
            drop((reservation, listed));
            waited
        }
    });
    let waited = futures_util::future::join_all(senders).await;
    assert_eq!(waited[0], Waited::Grown);
    assert_eq!(waited[2..], [Waited::GivenUp; 2]);
    assert!(began.elapsed() < limits::MEMORY_WAIT / 2, "{:?}", began.elapsed());
}
