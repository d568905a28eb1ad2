use std::task::Waker;

use proptest::prelude::*;

use super::*;

/// A table for so many connections, and a clock that stands still: who came first waits longest.
fn connections(all: usize) -> Arc<Connections> {
    Connections::new(Bounds { reserve: 0, address: all, ..Bounds::of(all) })
}

fn address(last: u8) -> Address {
    Address::of([192, 0, 2, last].into())
}

/// Asks for a place where nothing at work gives way.
fn tried(connections: &Arc<Connections>, address: Address) -> Tried {
    let mut granted = Vec::new();
    loop {
        match connections.try_seat(address, &granted) {
            Tried::ShareFull(wanted) if connections.gives_way(wanted, 0) => granted.extend(wanted.network),
            tried => return tried,
        }
    }
}

fn taken(connections: &Arc<Connections>, address: Address) -> Seated {
    match tried(connections, address) {
        Tried::Seated(seated) | Tried::SeatedInReserve(seated, _) => seated,
        Tried::ShareFull(_) => panic!("refused"),
        Tried::Evicting => panic!("others are to end"),
        Tried::Full(_) => panic!("full"),
    }
}

/// Waits since that moment.
fn waits_since(seated: &Seated, since: u64) {
    seated.seat.since.store(since, Ordering::Relaxed);
}

fn poll(seated: &Seated, bytes: usize) -> bool {
    seated.waits_with(&Context::from_waker(Waker::noop()), BytesMut::with_capacity(bytes), 0)
}

/// S9: where there is no room, what waits longest ends, and nothing that is at work.
#[test]
fn whoever_waits_longest_makes_room() {
    let connections = connections(4);
    let seats: Vec<_> = (0..4).map(|last| taken(&connections, address(last))).collect();
    seats[0].works();
    for (seat, since) in seats[1..].iter().zip([7, 3, 5]) {
        waits_since(seat, since);
    }
    assert!(matches!(connections.try_seat(address(9), &[]), Tried::Evicting));
    let evicted: Vec<_> = seats.iter().map(Seated::is_evicted).collect();
    assert_eq!(evicted, [false, false, true, false]);
    assert!(poll(&seats[2], 0), "its task is told");
    drop(seats);
    taken(&connections, address(9));
}

/// S9: connections at work are not cut off, however many want in.
#[test]
fn connections_at_work_stay() {
    let connections = connections(2);
    let seats = [taken(&connections, address(1)), taken(&connections, address(2))];
    for seat in &seats {
        seat.works();
    }
    assert!(matches!(connections.try_seat(address(3), &[]), Tried::Full(1)));
    assert!(seats.iter().all(|seat| !seat.is_evicted()));
}

/// S9, S36: one address has its share: within it, its own connections make room, and those of nobody else.
#[test]
fn an_address_has_its_share_and_no_more() {
    let connections = Connections::new(Bounds { address: 2, ..Bounds::of(16) });
    let others = taken(&connections, address(1));
    waits_since(&others, 1);
    let own = [taken(&connections, address(2)), taken(&connections, address(2))];
    waits_since(&own[0], 3);
    waits_since(&own[1], 2);
    let third = taken(&connections, address(2));
    assert!(own[1].is_evicted() && !own[0].is_evicted() && !others.is_evicted());
    own[0].works();
    third.works();
    drop(own);
    let fourth = taken(&connections, address(2));
    fourth.works();
    assert!(matches!(tried(&connections, address(2)), Tried::ShareFull(Wanted { places: 1, silent: 0, .. })));
    taken(&connections, address(3));
    // Whoever ends them all has none left in the books.
    drop((third, fourth));
    assert_eq!(connections.lock().networks.len(), 1);
}

/// S36: whoever has a whole /48, or a part of one, has a share or two, however many addresses that is.
#[test]
fn a_wider_network_has_its_share_too() {
    let connections = Connections::new(Bounds { address: 2, ..Bounds::of(16) });
    let home = |number: u8| Address::of(format!("2001:db8:0:{number}::1").parse().unwrap());
    let seats: Vec<_> = (1..=4).map(|number| taken(&connections, home(number))).collect();
    for seat in &seats[1..] {
        seat.works();
    }
    let fifth = taken(&connections, home(5));
    fifth.works();
    assert!(seats[0].is_evicted(), "it waits, and is of the same network");
    drop(seats);
    let seats: Vec<_> = (6..=8).map(|number| taken(&connections, home(number))).collect();
    seats.iter().for_each(Seated::works);
    assert!(matches!(tried(&connections, home(9)), Tried::ShareFull(_)));
    taken(&connections, Address::of("2001:db8:1::1".parse().unwrap()));
    drop((fifth, seats));
    assert!(connections.lock().networks.is_empty());
}

/// S9, S36: in a full share what has waited for long goes, then what the listener gives up, then whoever waits, though he came a
/// moment ago; those on their way out do not count, and nobody else is too many.
#[tokio::test]
async fn what_goes_first_in_a_full_share() {
    let connections = Connections::new(Bounds { address: 2, ..Bounds::of(16) });
    let asked = std::cell::RefCell::new(Vec::new());
    let come = async |going| {
        let full = |wanted: Wanted| {
            asked.borrow_mut().push((wanted.places, wanted.silent));
            going
        };
        connections.seat(Origin::of((std::net::Ipv4Addr::new(192, 0, 2, 7), 1).into()), full).await
    };
    let (first, second) = (come(0).await.unwrap(), come(0).await.unwrap());
    first.works();
    let third = come(0).await.unwrap();
    assert!(second.is_evicted() && !first.is_evicted(), "nothing at work gives way");
    third.works();
    let fourth = come(1).await.unwrap();
    assert!(!third.is_evicted(), "something at work does");
    assert_eq!(*asked.borrow(), [(1, 1), (1, 0)]);
    fourth.works();
    assert!(come(0).await.is_none(), "three are at work, and nothing gives way");
    assert_eq!(asked.borrow().last(), Some(&(2, 0)));
    drop((second, third));
    assert!(come(0).await.is_none());
    drop(fourth);
    assert!(come(0).await.is_some());
    assert_eq!(asked.borrow().len(), 4);
}

/// A reverse proxy on this machine brings everybody: its address is nobody's.
#[test]
fn this_machine_is_not_held_to_a_share() {
    let connections = Connections::new(Bounds { address: 1, reserve: 0, ..Bounds::of(8) });
    let seats: Vec<_> = (0..8).map(|_| taken(&connections, Address::Local)).collect();
    assert!(seats.iter().all(|seat| !seat.is_evicted()));
}

/// S36, S15: what a trusted proxy brings is charged to whom it brings, once that is known, and to nobody before.
#[tokio::test(start_paused = true)]
async fn what_a_proxy_brings_has_the_share_of_whom_it_brings() {
    let connections = Connections::new(Bounds { address: 2, ..Bounds::of(16) });
    let [first, second, third, fourth, fifth] = [(); 5].map(|()| taken(&connections, Address::Proxy));
    assert!(connections.lock().networks.is_empty(), "it has no share");
    assert!(first.brings(address(7), |_| 0).await && second.brings(address(7), |_| 0).await);
    first.works();
    second.works();
    assert!(!third.brings(address(7), |_| 0).await, "his share is at work");
    assert!(third.brings(address(7), |_| 1).await, "something of it gives way");
    third.works();
    assert!(fourth.brings(address(8), |_| 0).await, "another has his own");
    assert!(matches!(tried(&connections, address(7)), Tried::ShareFull(_)), "nor may he come by himself");
    {
        let mut waiting = std::pin::pin!(fifth.brings(address(7), |_| 0));
        assert!(timeout(Duration::ZERO, waiting.as_mut()).await.is_err());
        drop((first, second));
        assert!(waiting.await, "once there is room");
    }
    drop((third, fourth, fifth));
    assert!(connections.lock().networks.is_empty());
}

/// S36, S9: few wait at a time for a share of whom a proxy brings, and those look at it again by the clock, not whenever anybody's
/// connection ends.
#[tokio::test(start_paused = true)]
async fn to_wait_for_a_share_costs_little_however_many_do() {
    let connections = Connections::new(Bounds { address: 1, reserve: 0, ..Bounds::of(400) });
    let holder = taken(&connections, Address::Proxy);
    assert!(holder.brings(address(7), |_| 0).await);
    holder.works();
    let looked = AtomicUsize::new(0);
    let seats: Vec<_> = (0..limits::TURNED_AWAY_MAX + 10).map(|_| taken(&connections, Address::Proxy)).collect();
    let nothing_gives_way = |_| {
        looked.fetch_add(1, Ordering::Relaxed);
        0
    };
    let brings = |seat| Box::pin(Seated::brings(seat, address(7), nothing_gives_way));
    let mut waiting: Vec<_> = seats.iter().map(brings).collect();
    let answered = waiting.iter_mut().filter_map(|waiting| futures_util::FutureExt::now_or_never(waiting.as_mut()));
    assert_eq!(answered.collect::<Vec<_>>(), [false; 10]);
    waiting.truncate(limits::TURNED_AWAY_MAX);
    let (elsewhere, before) =
        (|| drop(taken(&connections, Address::V4([198, 51, 100, 1].into()))), looked.load(Ordering::Relaxed));
    for _ in 0..100 {
        elsewhere();
        for waiting in &mut waiting {
            assert!(futures_util::FutureExt::now_or_never(waiting.as_mut()).is_none());
        }
    }
    assert_eq!(looked.load(Ordering::Relaxed), before, "nothing of that share has ended");
    drop(holder);
    let told = futures_util::future::join_all(waiting).await;
    // Whoever has come a moment ago and said nothing gives way to the next.
    assert!(told.contains(&true));
    drop(seats);
    let table = connections.lock();
    assert!(table.brought == 0 && table.networks.is_empty());
    drop(table);
}

/// S9: some places are kept for clients and for this machine while strangers are at work on all others.
#[test]
fn the_reserve_is_for_clients_and_for_this_machine() {
    let connections = Connections::new(Bounds { reserve: 2, address: 8, ..Bounds::of(4) });
    let seats = [taken(&connections, address(1)), taken(&connections, address(2))];
    for seat in &seats {
        seat.works();
    }
    let stranger = taken(&connections, address(3));
    stranger.works();
    let local = taken(&connections, Address::Local);
    assert!(stranger.is_reserved() && !local.is_reserved() && !seats[0].is_reserved());
}

/// S9: whoever comes and says nothing drives nobody from his place for it once one is free.
#[test]
fn no_place_is_wanted_where_one_is_free() {
    let connections = Connections::new(Bounds { reserve: 3, address: 8, ..Bounds::of(5) });
    let [first, second] = [taken(&connections, address(1)), taken(&connections, address(2))];
    let wanted = |last| match connections.try_seat(address(last), &[]) {
        Tried::SeatedInReserve(seated, wanted) => {
            seated.works();
            (seated, wanted)
        }
        _ => panic!("there is a place in the reserve"),
    };
    first.works();
    second.works();
    let (_third, lacks) = wanted(3);
    assert_eq!(lacks, 1);
    drop(second);
    let (_fourth, lacks) = wanted(4);
    assert_eq!(lacks, 0);
}

/// S9: what the reserve is not kept for leaves it for a place that is free, and waits for one only as long as the reserve has
/// room for those it is kept for.
#[tokio::test(start_paused = true)]
async fn whoever_is_in_the_reserve_waits_for_another_place() {
    let connections = Connections::new(Bounds { reserve: 4, address: 8, ..Bounds::of(6) });
    let working = |last| {
        let seated = taken(&connections, address(last));
        seated.works();
        seated
    };
    let general = [working(1), working(2)];
    let reserved = [working(3), working(4), working(5)];
    let full = AtomicUsize::new(0);
    let asks = reserved.each_ref().map(|seated| seated.leaves_reserve(|_| full.fetch_add(1, Ordering::Relaxed)));
    let [first, second, third] = asks;
    tokio::pin!(first, second);
    for waiting in [&mut first, &mut second] {
        assert!(futures_util::FutureExt::now_or_never(waiting.as_mut()).is_none());
    }
    assert!(!third.await, "half of the reserve is for others");
    assert_eq!(full.load(Ordering::Relaxed), 3, "what is at work is looked at for each");
    let [one, _other] = general;
    drop(one);
    assert!(first.await);
    assert!(!second.await, "one place was free, and nothing lasts for ever");
    assert_eq!(reserved.each_ref().map(Seated::is_reserved), [false, true, true]);
    let table = connections.lock();
    assert_eq!((table.reserved, table.moving), (2, 0));
    drop(table);
}

/// S9, S36: sessions leave half to senders, and do not count as those of their address.
#[test]
fn sessions_leave_room_for_senders() {
    let connections = Connections::new(Bounds { address: 2, ..Bounds::of(4) });
    let seats = [taken(&connections, address(1)), taken(&connections, address(1))];
    assert!(seats.iter().all(Seated::begin_session));
    assert!(connections.lock().networks.is_empty());
    let third = taken(&connections, address(1));
    assert!(!third.begin_session());
    let [first, second] = seats;
    drop(first);
    assert!(third.begin_session());
    assert_eq!(connections.lock().sessions, 2);
    drop((second, third));
    let table = connections.lock();
    assert_eq!((table.sessions, table.networks.len()), (0, 0));
}

/// S9, S36: what is put aside for peers that dawdle is bounded; who has dawdled longest with something ends first.
#[test]
fn what_is_put_aside_is_bounded() {
    let connections = Connections::new(Bounds { waiting_bytes: 100, ..Bounds::of(8) });
    let seats: Vec<_> = (1..=4).map(|last| taken(&connections, address(last))).collect();
    for (seat, since) in seats.iter().zip(1..) {
        waits_since(seat, since);
    }
    assert!(!poll(&seats[0], 0) && !poll(&seats[1], 40) && !poll(&seats[2], 40));
    assert!(!poll(&seats[3], 30), "the last one to come is not the one to go");
    let evicted: Vec<_> = seats.iter().map(Seated::is_evicted).collect();
    assert_eq!(evicted, [false, true, true, false], "half is free again, and nobody ended for nothing");
    assert_eq!(connections.waiting_bytes.load(Ordering::Relaxed), 30);
    let held: usize = seats.iter().map(|seat| seat.seat.aside().held.capacity()).sum();
    assert_eq!(held, 30, "it is free before those that had it have run");
    assert!(seats[1].takes_back().is_none() && seats[0].takes_back().is_some());
    seats[3].works();
    drop(seats);
    assert_eq!(connections.waiting_bytes.load(Ordering::Relaxed), 0);
}

/// S36: an answer that is not taken stays on its account until its connection has ended, and drives out nobody else meanwhile.
#[test]
fn what_cannot_be_taken_away_is_counted_until_it_is_given_back() {
    let connections = Connections::new(Bounds { waiting_bytes: 100, ..Bounds::of(8) });
    let seats: Vec<_> = (1..=3).map(|last| taken(&connections, address(last))).collect();
    for (seat, since) in seats.iter().zip(1..) {
        waits_since(seat, since);
    }
    let cx = Context::from_waker(Waker::noop());
    assert!(!seats[0].waits_with(&cx, BytesMut::new(), 90));
    assert!(!seats[1].waits_with(&cx, BytesMut::new(), 20) && seats[0].is_evicted());
    assert_eq!(connections.waiting_bytes.load(Ordering::Relaxed), 110);
    assert!(!seats[2].waits_with(&cx, BytesMut::new(), 20) && !seats[1].is_evicted());
    let mut seats = seats.into_iter();
    drop(seats.next());
    assert_eq!(connections.waiting_bytes.load(Ordering::Relaxed), 40);
}

/// S36: buffers that a body made large stay so, and all of them together are bounded.
#[test]
fn large_buffers_are_bounded() {
    let connections = Connections::new(Bounds { reading_bytes: 100, ..Bounds::of(8) });
    let seats: Vec<_> = (1..=3).map(|last| taken(&connections, address(last))).collect();
    let may: Vec<_> = seats.iter().map(|seat| seat.may_read_ahead(50)).collect();
    assert_eq!(may, [true, true, false]);
    assert!(seats[0].may_read_ahead(50), "it is on its account already");
    drop(seats);
    assert_eq!(connections.reading_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn patience_with_the_idle_falls_as_places_go() {
    let minute = Duration::from_mins(1);
    let connections = connections(8);
    let mut seats = Vec::new();
    let mut patience = Vec::new();
    for _ in 0..8 {
        seats.push(taken(&connections, Address::Local));
        patience.push(seats[0].idle(minute).as_secs());
    }
    assert_eq!(patience, [60, 60, 60, 60, 45, 30, 15, 5]);
}

#[tokio::test]
async fn whoever_waits_for_room_has_it_as_soon_as_one_ends() {
    let connections = connections(1);
    let first = connections.seat(Origin::local(), |_| 0).await.unwrap();
    first.works();
    let second = connections.seat(Origin::local(), |_| 0);
    tokio::pin!(second);
    assert!(futures_util::FutureExt::now_or_never(second.as_mut()).is_none());
    drop(first);
    assert!(second.await.is_some());
}

proptest! {
    /// Whatever happens to connections, the books agree with what is there.
    #[test]
    fn the_books_agree_with_what_is_there(steps in prop::collection::vec((0u8..6, 0u8..8, 0usize..64), 0..200)) {
        let connections = Connections::new(Bounds { address: 3, reserve: 8, waiting_bytes: 100, ..Bounds::of(20) });
        let mut seats: Vec<Seated> = Vec::new();
        for (what, last, which) in steps {
            let index = which % seats.len().max(1);
            match (what, seats.get(index)) {
                (0, _) => {
                    let origin = if last == 0 { Address::Local } else { address(last) };
                    if let Tried::Seated(seated) | Tried::SeatedInReserve(seated, _) = tried(&connections, origin) {
                        seats.push(seated);
                    }
                }
                (1, Some(seat)) => drop(poll(seat, which)),
                (2, Some(seat)) => seat.works(),
                (3, Some(_)) => drop(seats.swap_remove(index)),
                (4, Some(seat)) if !seat.session.load(Ordering::Relaxed) => drop(seat.begin_session()),
                (5, Some(seat)) if seat.is_reserved() => drop(seat.try_leave_reserve()),
                _ => {}
            }
            let table = connections.lock();
            let sessions = seats.iter().filter(|seat| seat.session.load(Ordering::Relaxed)).count();
            prop_assert_eq!(table.sessions, sessions);
            let strangers = seats.iter().filter(|seat| !seat.session.load(Ordering::Relaxed) && !seat.seat.address.is_local());
            prop_assert_eq!(table.networks.values().sum::<usize>(), strangers.count());
            prop_assert_eq!(table.seats.iter().flatten().count(), seats.len());
            prop_assert_eq!(connections.open.load(Ordering::Relaxed), seats.len());
            prop_assert_eq!(table.reserved, seats.iter().filter(|seat| seat.is_reserved()).count());
            prop_assert!(seats.len() <= 20);
            let bytes: u64 = seats.iter().map(|seat| seat.seat.bytes.load(Ordering::Relaxed)).sum();
            prop_assert_eq!(connections.waiting_bytes.load(Ordering::Relaxed), bytes);
            prop_assert!(bytes <= 100);
        }
    }
}
