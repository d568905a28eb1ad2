mod leaving;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{
    delivery::{Token, answer::Answer, outcome::Class},
    limits,
    time::Now,
    wire::{
        codec::{self, LeaseKey},
        message::{Chunk, GoAway, Grant, HeldList, Peers, Release, Settled, Welcome, WelcomeDestination},
    },
};

/// A client and its clock: one input in, every output out, the books checked after each.
struct Bench {
    client: Client,
    now: Now,
}

impl Bench {
    fn new(slots: u32) -> Self {
        let setup = setup(7, &[("crm", slots)]);
        let mut bench = Self { client: Client::new(setup, Now::default()), now: Now::default() };
        assert!(matches!(bench.drain()[..], [Output::Dial]));
        bench
    }

    /// A client whose session is up.
    fn up(slots: u32) -> Self {
        let mut bench = Self::new(slots);
        assert_eq!(bench.connect(), []);
        bench.welcome(&[]);
        bench
    }

    /// Connects, and gives the leases that the Hello names.
    fn connect(&mut self) -> Vec<LeaseKey> {
        let outputs = self.feed(Input::Connected);
        let [Output::Send(Message::Hello(hello))] = &outputs[..] else { panic!("no Hello but {outputs:?}") };
        codec::greeting(hello).unwrap().held
    }

    /// Lets the server say Welcome, and gives what follows the notice.
    fn welcome(&mut self, resumed: &[LeaseKey]) -> Vec<Output> {
        let destination = WelcomeDestination { name: "crm".into(), known: true, others: 0, allowed: true };
        let resumed = resumed.iter().map(|lease| codec::lease_ref(*lease)).collect();
        let heartbeat_ms = limits::HEARTBEAT.as_millis() as u32;
        let welcome = Welcome {
            version: "0.1.0".into(),
            heartbeat_ms,
            destinations: vec![destination],
            resumed,
            server: String::new(),
        };
        let mut outputs = self.says(Message::Welcome(welcome));
        assert!(matches!(outputs[0], Output::Notice(Notice::Up { .. })), "{outputs:?}");
        outputs.remove(0);
        outputs
    }

    fn feed(&mut self, input: Input) -> Vec<Output> {
        self.client.handle(input, self.now);
        self.drain()
    }

    fn says(&mut self, message: Message) -> Vec<Output> {
        self.feed(Input::Received(message))
    }

    /// Lets time pass until the next timeout.
    fn wait(&mut self) -> Vec<Output> {
        let due = self.client.poll_timeout().expect("it waits for something");
        self.now = self.now + due.since(self.now.mono);
        self.client.handle_timeout(self.now);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        self.client.check_invariants();
        std::iter::from_fn(|| self.client.poll_output()).collect()
    }

    fn forwarded(&mut self, lease: LeaseKey, class: Class) -> Vec<Output> {
        self.feed(Input::Forwarded(lease.0, outcome(class)))
    }

    fn lose(&mut self) {
        let outputs = self.feed(Input::Disconnected);
        assert!(matches!(outputs[..], [Output::Notice(Notice::Down { .. })]), "{outputs:?}");
        assert!(matches!(self.wait()[..], [Output::Dial]));
    }
}

fn setup(instance: u128, served: &[(&str, u32)]) -> Setup {
    let served_of = |(name, slots): &(&str, u32)| Served {
        name: name.parse().unwrap(),
        slots: *slots,
        forward_timeout: limits::FORWARD_TIMEOUT,
    };
    Setup {
        instance: InstanceId::from_u128(instance),
        label: "laptop".into(),
        version: "0.1.0".into(),
        destinations: served.iter().map(served_of).collect(),
        buffer_bytes: 200_000,
        seed: 1,
    }
}

fn lease(n: u128) -> LeaseKey {
    (DeliveryId::from_u128(n), Token { counter: 1, nonce: 9 })
}

fn again((delivery, token): LeaseKey) -> LeaseKey {
    (delivery, Token { counter: token.counter + 1, ..token })
}

fn outcome(class: Class) -> Outcome {
    let status = match class {
        Class::Delivered => Some(200),
        Class::Rejected => Some(500),
        Class::Refused => Some(422),
        Class::Busy | Class::Unreachable => None,
    };
    Outcome { class, status, retry_after: None, duration: Duration::from_millis(3), error: None, answer: None }
}

fn grant_of(lease: LeaseKey, body_bytes: u64, body: &'static [u8]) -> Message {
    Message::Grant(Box::new(Grant {
        lease: Some(codec::lease_ref(lease)),
        event: Bytes::from_static(&[1; 16]),
        destination: "crm".into(),
        source: "default".into(),
        attempt: 1,
        method: Bytes::from_static(b"POST"),
        body_bytes,
        body_sha256: Bytes::from_static(&[0; 32]),
        body: Bytes::from_static(body),
        ..Grant::default()
    }))
}

fn grant(lease: LeaseKey) -> Message {
    grant_of(lease, 2, b"{}")
}

fn chunk(lease: LeaseKey, offset: u64, data: &'static [u8]) -> Message {
    Message::Chunk(Chunk { lease: Some(codec::lease_ref(lease)), offset, data: Bytes::from_static(data) })
}

fn settled(lease: LeaseKey) -> Message {
    Message::Settled(Settled { leases: vec![codec::lease_ref(lease)] })
}

fn is_forward(output: &Output, lease: LeaseKey) -> bool {
    matches!(output, Output::Forward(forward) if forward.delivery == lease.0)
}

fn is_report(output: &Output, lease: LeaseKey, class: Class) -> bool {
    let Output::Send(Message::Report(report)) = output else { return false };
    codec::reported(report).unwrap() == (lease, outcome(class))
}

fn is_release(output: &Output, leases: &[LeaseKey]) -> bool {
    let Output::Send(Message::Release(release)) = output else { return false };
    release.leases.iter().map(|lease| codec::lease_key(lease).unwrap()).eq(leases.iter().copied())
}

fn is_down(output: &Output, words: &str) -> bool {
    matches!(output, Output::Notice(Notice::Down { why, .. }) if why.contains(words))
}

#[test]
fn a_grant_with_its_whole_body_is_forwarded_and_its_outcome_kept_until_settled() {
    let mut bench = Bench::up(1);
    assert!(is_forward(&bench.says(grant(lease(1)))[0], lease(1)));
    assert!(is_report(&bench.forwarded(lease(1), Class::Delivered)[0], lease(1), Class::Delivered));
    assert_eq!(bench.client.view().destinations[0].reported, 1);
    assert!(bench.says(settled(lease(1))).is_empty());
    assert_eq!(bench.client.view().destinations[0].reported, 0);
}

/// I3: the body is put together in order, whatever comes between its pieces.
#[test]
fn chunks_of_several_bodies_interleave() {
    let mut bench = Bench::up(2);
    assert!(bench.says(grant_of(lease(1), 6, b"ab")).is_empty());
    assert!(bench.says(grant_of(lease(2), 3, b"")).is_empty());
    assert!(bench.says(chunk(lease(1), 2, b"cd")).is_empty());
    let outputs = bench.says(chunk(lease(2), 0, b"xyz"));
    assert!(matches!(&outputs[..], [Output::Forward(forward)] if forward.body == "xyz"), "{outputs:?}");
    let outputs = bench.says(chunk(lease(1), 4, b"ef"));
    assert!(matches!(&outputs[..], [Output::Forward(forward)] if forward.body == "abcdef"), "{outputs:?}");
}

#[test]
fn a_chunk_out_of_order_or_behind_the_end_closes_the_socket() {
    for (offset, data) in [(1, b"cd".as_slice()), (3, b"cd"), (2, b"cdefg")] {
        let mut bench = Bench::up(1);
        bench.says(grant_of(lease(1), 6, b"ab"));
        let outputs = bench.says(chunk(lease(1), offset, data));
        assert!(matches!(outputs[0], Output::Hangup) && is_down(&outputs[1], "broke the protocol"), "{outputs:?}");
    }
}

/// S20: a server cannot make the client hold more than it offered.
#[test]
fn a_grant_beyond_slots_or_buffer_closes_the_socket() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    assert!(matches!(bench.says(grant(lease(2)))[0], Output::Hangup));

    let mut bench = Bench::up(8);
    assert!(bench.says(grant_of(lease(1), 150_000, b"")).is_empty());
    assert!(matches!(bench.says(grant_of(lease(2), 50_001, b""))[0], Output::Hangup));

    let mut bench = Bench::up(8);
    assert!(bench.says(grant_of(lease(1), 900_000, b"")).is_empty(), "a body larger than the buffer fits alone");
}

/// I9: an outcome that the server has not confirmed is reported again, also when its lease is lost.
#[test]
fn outcomes_that_are_not_settled_are_reported_again_after_a_reconnect() {
    let mut bench = Bench::up(2);
    bench.says(grant(lease(1)));
    bench.says(grant(lease(2)));
    bench.forwarded(lease(1), Class::Delivered);
    bench.lose();
    assert!(bench.forwarded(lease(2), Class::Rejected).is_empty(), "nothing is sent without a session");
    assert_eq!(bench.connect(), [lease(1), lease(2)]);
    let outputs = bench.welcome(&[lease(2)]);
    assert!(is_report(&outputs[0], lease(1), Class::Delivered) && is_report(&outputs[1], lease(2), Class::Rejected));
}

/// I8: on resume, what the server does not know any more is not begun.
#[test]
fn a_forward_that_has_not_begun_is_dropped_unless_the_server_resumes_it() {
    for resumed in [false, true] {
        let mut bench = Bench::up(1);
        bench.says(grant(lease(1)));
        bench.says(Message::Release(Release { leases: vec![codec::lease_ref(lease(1))] }));
        bench.says(grant(lease(2)));
        assert_eq!(bench.client.view().destinations[0].waiting, 1, "the slot is still taken by the first");
        bench.lose();
        assert_eq!(bench.connect(), [lease(1), lease(2)]);
        let known: &[LeaseKey] = if resumed { &[lease(2)] } else { &[] };
        assert!(bench.welcome(known).is_empty());
        let outputs = bench.forwarded(lease(1), Class::Busy);
        assert!(is_report(&outputs[0], lease(1), Class::Busy));
        assert_eq!(outputs.iter().any(|output| is_forward(output, lease(2))), resumed);
    }
}

#[test]
fn a_body_that_was_still_arriving_is_not_resumed() {
    let mut bench = Bench::up(1);
    bench.says(grant_of(lease(1), 6, b"ab"));
    bench.lose();
    assert_eq!(bench.connect(), []);
}

/// I7: a delivery granted anew while its forward still runs is not forwarded a second time.
#[test]
fn a_new_lease_takes_over_the_forward_that_still_runs() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.lose();
    bench.connect();
    bench.welcome(&[]);
    assert!(bench.says(grant_of(again(lease(1)), 6, b"ab")).is_empty());
    assert!(bench.says(chunk(again(lease(1)), 2, b"cdef")).is_empty());
    let outputs = bench.forwarded(lease(1), Class::Delivered);
    assert!(is_report(&outputs[0], again(lease(1)), Class::Delivered) && outputs.len() == 1);
}

/// I7: a delivery that was made under a lost lease is reported under the new one, not made again.
#[test]
fn a_new_lease_of_a_delivery_already_made_is_answered_at_once() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.forwarded(lease(1), Class::Delivered);
    let outputs = bench.says(grant(again(lease(1))));
    assert!(is_report(&outputs[0], again(lease(1)), Class::Delivered) && outputs.len() == 1);
    bench.says(settled(lease(1)));
    bench.says(settled(again(lease(1))));
    assert_eq!(bench.client.view().destinations[0].reported, 0);
}

#[test]
fn a_new_lease_of_a_delivery_that_failed_is_forwarded() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.forwarded(lease(1), Class::Busy);
    assert!(is_forward(&bench.says(grant(again(lease(1))))[0], lease(1)));
}

/// I3: a body that does not match its digest is handed back, not forwarded.
#[test]
fn a_corrupt_body_is_handed_back() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    let outputs = bench.feed(Input::Corrupt(lease(1).0));
    assert!(matches!(outputs[0], Output::Notice(Notice::Corrupt(id)) if id == lease(1).0));
    assert_eq!(outputs.len(), 1);
    let outputs = bench.wait();
    assert!(is_release(&outputs[0], &[lease(1)]) && matches!(outputs[1], Output::Send(Message::Extend(_))));
    assert!(is_forward(&bench.says(grant(again(lease(1))))[0], lease(1)));
}

/// I10: what a client itself lacks is no try of the target: the lease goes back without a word of it, and not at once.
#[test]
fn what_the_client_lacks_is_no_try() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    assert!(bench.feed(Input::Unasked(lease(1).0)).is_empty());
    let outputs = bench.wait();
    assert!(is_release(&outputs[0], &[lease(1)]) && matches!(outputs[1], Output::Send(Message::Extend(_))));
    assert!(is_forward(&bench.says(grant(again(lease(1))))[0], lease(1)));
}

/// I8: a lease is named once its body is whole: that starts its time at the target.
#[test]
fn heartbeats_name_what_is_whole_but_not_what_is_reported() {
    let mut bench = Bench::up(3);
    bench.says(grant(lease(1)));
    bench.says(grant(lease(2)));
    bench.says(grant_of(lease(3), 6, b""));
    bench.forwarded(lease(2), Class::Delivered);
    let outputs = bench.wait();
    let [Output::Send(Message::Extend(extend))] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(extend.held, [codec::lease_ref(lease(1))]);
}

/// S11: what is more than a message may name goes in several, nothing left out.
#[test]
fn a_client_that_holds_much_names_it_in_several_messages() {
    let count = limits::LEASES_PER_MESSAGE as u128 + 76;
    let mut bench = Bench::up(u32::try_from(count).unwrap());
    (1..=count).for_each(|n| drop(bench.says(grant(lease(n)))));
    let outputs = bench.wait();
    let [Output::Send(Message::Extend(first)), Output::Send(Message::Extend(rest))] = &outputs[..] else {
        panic!("{} outputs", outputs.len())
    };
    assert_eq!((first.held.len(), rest.held.len()), (limits::LEASES_PER_MESSAGE, 76));
}

/// I8: a half-open socket is noticed within three heartbeats, and any message counts as a sign of life.
#[test]
fn a_silent_server_is_given_up_after_three_heartbeats() {
    let mut bench = Bench::up(1);
    for _ in 0..5 {
        bench.wait();
        bench.says(Message::Extend(HeldList::default()));
    }
    let silent = bench.now;
    let outputs = loop {
        let outputs = bench.wait();
        if !matches!(outputs[..], [Output::Send(Message::Extend(_))]) {
            break outputs;
        }
    };
    assert!(matches!(outputs[0], Output::Hangup) && is_down(&outputs[1], "silent"));
    assert_eq!(bench.now.mono.since(silent.mono), limits::HEARTBEAT * limits::HEARTBEATS_MISSED_MAX);
}

/// I8, I19: a message that comes slowly is a sign of life as long as it comes, the answer to a Hello too; once nothing comes
/// the server is given up as ever.
#[test]
fn a_slow_link_is_not_silence() {
    let mut bench = Bench::new(1);
    bench.connect();
    let trickle = |bench: &mut Bench, seconds: u32| {
        for _ in 0..seconds {
            bench.now = bench.now + limits::HEARD_EVERY;
            assert!(bench.feed(Input::Heard).is_empty());
            bench.client.handle_timeout(bench.now);
            let outputs = bench.drain();
            assert!(outputs.iter().all(|output| matches!(output, Output::Send(Message::Extend(_)))), "{outputs:?}");
        }
    };
    trickle(&mut bench, 100);
    bench.welcome(&[]);
    trickle(&mut bench, 600);
    let silent = bench.now;
    let outputs = loop {
        let outputs = bench.wait();
        if !matches!(outputs[..], [Output::Send(Message::Extend(_))]) {
            break outputs;
        }
    };
    assert!(matches!(outputs[0], Output::Hangup) && is_down(&outputs[1], "silent"));
    assert_eq!(bench.now.mono.since(silent.mono), limits::HEARTBEAT * limits::HEARTBEATS_MISSED_MAX);
    assert!(bench.feed(Input::Heard).is_empty(), "what was on its way then changes nothing");
}

/// I19: a Hello that takes its time on a slow link is not waited for before it has left; what the system took of it may still
/// be on this side, and is reckoned with at the slowest pace.
#[test]
fn a_large_hello_may_take_its_time() {
    let mut bench = Bench::new(4);
    bench.connect();
    for _ in 0..600 {
        bench.now = bench.now + limits::HEARD_EVERY;
        assert!(bench.feed(Input::Taken).is_empty());
        bench.client.handle_timeout(bench.now);
        assert!(bench.drain().is_empty());
    }
    let left = bench.now;
    let outputs = bench.wait();
    assert!(matches!(outputs[0], Output::Hangup) && is_down(&outputs[1], "Hello"), "{outputs:?}");
    let waited = bench.now.mono.since(left.mono);
    assert!(waited >= limits::WELCOME_WAIT && waited <= limits::WELCOME_WAIT + Duration::from_secs(1), "{waited:?}");

    // What it names makes it large.
    let mut bench = Bench::up(2_000);
    (0..2_000).for_each(|n| drop(bench.says(grant(lease(n)))));
    bench.lose();
    assert_eq!(bench.connect().len(), 2_000);
    let began = bench.now;
    bench.wait();
    let waited = bench.now.mono.since(began.mono);
    assert!(waited > Duration::from_secs(60), "a Hello of 2,000 leases is some 70 KiB: {waited:?}");
    assert!(waited < Duration::from_secs(180), "{waited:?}");
}

/// I19: dialling never ends, and its pauses stay within full jitter.
#[test]
fn it_dials_for_ever() {
    let mut bench = Bench::new(1);
    for n in 0..200_u32 {
        let outputs = bench.feed(Input::DialFailed(DialFailure::Failed("connection refused".into())));
        let [Output::Notice(Notice::Down { pause, failures, .. })] = &outputs[..] else { panic!("{outputs:?}") };
        let bound =
            limits::RECONNECT_PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(n)).min(limits::RECONNECT_PAUSE_MAX);
        assert!(*pause <= bound && *failures == n + 1);
        assert!(matches!(bench.wait()[..], [Output::Dial]));
    }
}

#[test]
fn a_server_that_asks_for_later_is_left_alone_until_then_but_not_for_days() {
    for (asked, least) in
        [(Duration::from_secs(7), Duration::from_secs(7)), (Duration::MAX, limits::RECONNECT_LATER_MAX)]
    {
        let mut bench = Bench::new(1);
        let later = DialFailure::Later { after: asked, why: "too many wrong tokens".into() };
        let outputs = bench.feed(Input::DialFailed(later));
        let [Output::Notice(Notice::Down { why, pause, .. })] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(why, "too many wrong tokens");
        assert!(*pause >= least && *pause <= least + limits::RECONNECT_PAUSE_FIRST);
    }
}

#[test]
fn a_refused_token_or_version_is_final() {
    for (failure, exit) in
        [(DialFailure::TokenRefused, Exit::TokenRefused), (DialFailure::VersionRefused, Exit::VersionRefused)]
    {
        let mut bench = Bench::new(1);
        let outputs = bench.feed(Input::DialFailed(failure));
        assert!(matches!(outputs[..], [Output::Exit(how)] if how == exit));
        assert!(bench.feed(Input::Connected).is_empty() && bench.client.poll_timeout().is_none());
    }
}

#[test]
fn it_says_how_many_others_serve_its_destinations() {
    let mut bench = Bench::up(1);
    let peers = |name: &str| Message::Peers(Peers { destination: name.into(), clients: 3 });
    let outputs = bench.says(peers("crm"));
    assert!(matches!(outputs[..], [Output::Notice(Notice::Peers { others: 2, .. })]), "{outputs:?}");
    assert!(bench.says(peers("other")).is_empty());
}

#[test]
fn a_server_that_does_not_answer_the_hello_is_given_up() {
    let mut bench = Bench::new(1);
    bench.connect();
    let outputs = bench.wait();
    assert!(matches!(outputs[0], Output::Hangup) && is_down(&outputs[1], "Hello"));
    assert_eq!(bench.now.mono.since(crate::time::Mono::default()), limits::WELCOME_WAIT);
}

/// I8: what waits behind a forward whose lease is lost has not begun: its time at the target begins when it does.
#[test]
fn what_waits_for_its_slot_is_not_named() {
    let named = |outputs: &[Output]| -> Vec<LeaseKey> {
        let held = outputs.iter().filter_map(|output| match output {
            Output::Send(Message::Extend(extend)) => Some(&extend.held),
            _ => None,
        });
        held.flatten().map(|lease| codec::lease_key(lease).unwrap()).collect()
    };
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.says(Message::Release(Release { leases: vec![codec::lease_ref(lease(1))] }));
    assert!(bench.says(grant(lease(2))).is_empty(), "it waits for the slot");
    assert_eq!(named(&bench.wait()), []);
    assert!(is_forward(&bench.forwarded(lease(1), Class::Busy)[1], lease(2)));
    assert_eq!(named(&bench.wait()), [lease(2)]);
}

/// S18: however large a body a server announces, the client takes none that no server could have taken in.
#[test]
fn a_body_that_no_server_takes_in_is_not_taken_here() {
    for (body_bytes, is_taken) in
        [(limits::GRANT_BYTES_MAX, true), (limits::GRANT_BYTES_MAX + 1, false), (1 << 60, false)]
    {
        let outputs = Bench::up(8).says(grant_of(lease(1), body_bytes, b"x"));
        assert_eq!(outputs.is_empty(), is_taken, "{body_bytes} bytes: {outputs:?}");
        assert!(is_taken || is_down(&outputs[1], "too large"));
    }
}

/// S18: taking leases back while their forwards run gives a server no second buffer. What finds no room is handed back at
/// the next heartbeat, so that an honest server does not grant it over and over.
#[test]
fn bodies_of_lost_leases_count_as_long_as_they_are_held() {
    static HALF: [u8; 60_000] = [b'x'; 60_000];
    let mut bench = Bench::up(4);
    for n in 1..=3 {
        assert!(is_forward(&bench.says(grant_of(lease(n), 60_000, &HALF))[0], lease(n)));
        bench.says(Message::Release(Release { leases: vec![codec::lease_ref(lease(n))] }));
    }
    assert!(bench.says(grant_of(lease(4), 60_000, &HALF)).is_empty(), "240,000 bytes in a buffer of 200,000");
    assert_eq!(bench.client.view().destinations[0].waiting, 1);
    assert!(is_release(&bench.wait()[0], &[lease(4)]));
    bench.forwarded(lease(1), Class::Delivered);
    assert!(is_forward(&bench.says(grant_of(again(lease(4)), 60_000, &HALF))[0], lease(4)));
}

/// S18: bytes that nobody waits for may arrive as long as they were announced.
#[test]
fn more_bytes_than_were_announced_close_the_socket() {
    let mut bench = Bench::up(2);
    assert!(is_down(&bench.says(chunk(lease(9), 0, b"x"))[1], "announced"));

    let mut bench = Bench::up(2);
    bench.says(grant_of(lease(1), 6, b"ab"));
    bench.says(Message::Release(Release { leases: vec![codec::lease_ref(lease(1))] }));
    assert!(bench.says(chunk(lease(1), 2, b"cd")).is_empty(), "it was on its way");
    assert!(bench.says(chunk(lease(1), 4, b"ef")).is_empty(), "and so was this");
    assert!(is_down(&bench.says(chunk(lease(1), 6, b"g"))[1], "announced"));
}

#[test]
fn a_server_cannot_make_it_beat_without_a_pause_or_tell_of_what_it_does_not_serve() {
    let welcome = |heartbeat_ms, count| {
        let destination = WelcomeDestination { name: "crm".into(), known: true, others: 0, allowed: true };
        let destinations = vec![destination; count];
        Message::Welcome(Welcome {
            version: "0.1.0".into(),
            heartbeat_ms,
            destinations,
            resumed: Vec::new(),
            server: String::new(),
        })
    };
    let mut bench = Bench::new(1);
    bench.connect();
    bench.says(welcome(1, 1));
    assert_eq!(bench.client.poll_timeout(), Some(bench.now.mono + limits::HEARTBEAT_MIN));
    let mut bench = Bench::new(1);
    bench.connect();
    assert!(is_down(&bench.says(welcome(15_000, 2))[1], "more destinations"));
}

/// A token that let this process in before may be taken again: revoked by mistake, or looked up in the wrong place.
#[test]
fn a_token_that_was_good_is_tried_for_an_hour() {
    let mut bench = Bench::up(1);
    bench.lose();
    let refused_at = bench.now.mono;
    let outputs = loop {
        let outputs = bench.feed(Input::DialFailed(DialFailure::TokenRefused));
        if !is_down(&outputs[0], "took one before") {
            break outputs;
        }
        assert!(matches!(bench.wait()[..], [Output::Dial]));
    };
    assert!(matches!(outputs[..], [Output::Exit(Exit::TokenRefused)]));
    let passed = bench.now.mono.since(refused_at);
    assert!((limits::TOKEN_REFUSED_MAX..limits::TOKEN_REFUSED_MAX + limits::RECONNECT_PAUSE_MAX).contains(&passed));

    let mut bench = Bench::up(1);
    bench.lose();
    bench.feed(Input::DialFailed(DialFailure::TokenRefused));
    bench.now = bench.now + limits::TOKEN_REFUSED_MAX / 2;
    bench.wait();
    bench.connect();
    bench.welcome(&[]);
    bench.lose();
    bench.now = bench.now + limits::TOKEN_REFUSED_MAX / 2;
    let outputs = bench.feed(Input::DialFailed(DialFailure::TokenRefused));
    assert!(is_down(&outputs[0], "took one before"), "the hour begins anew once it was let in: {outputs:?}");
}

/// S20: a server that confirms nothing does not fill the memory with what a target says.
#[test]
fn what_a_target_says_is_left_out_where_too_many_outcomes_wait() {
    let most = limits::ANSWERS_WAITING_MAX as u128;
    let mut bench = Bench::up(1);
    let said = Answer { body: Some("no".into()), ..Answer::default() }.shared();
    let refuse = |bench: &mut Bench, n: u128| {
        bench.client.handle(Input::Received(grant(lease(n))), bench.now);
        let refused = Outcome { answer: said.clone(), ..outcome(Class::Refused) };
        bench.client.handle(Input::Forwarded(lease(n).0, refused), bench.now);
        let outputs = std::iter::from_fn(|| bench.client.poll_output());
        outputs.filter(|o| matches!(o, Output::Send(Message::Report(r)) if r.answer.is_some())).count()
    };
    for n in 0..most {
        assert_eq!(refuse(&mut bench, n), 1);
    }
    bench.client.check_invariants();
    assert_eq!(refuse(&mut bench, most), 0, "the report goes without");
    assert_eq!(bench.client.held().count() as u128, most + 1);
    bench.says(settled(lease(0)));
    assert_eq!(refuse(&mut bench, most + 1), 1, "there is room again");
}
