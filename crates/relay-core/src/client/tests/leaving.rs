//! Stops, goodbyes of the server, and other setups.

use super::*;

/// I22: what has not begun is handed back, what has begun is finished and confirmed, then it leaves.
#[test]
fn it_stops_when_all_that_began_is_settled() {
    let mut bench = Bench::up(2);
    bench.says(grant(lease(1)));
    bench.says(grant_of(lease(2), 6, b"ab"));
    let outputs = bench.feed(Input::Stop);
    assert!(is_release(&outputs[0], &[lease(2)]) && matches!(outputs[1], Output::Send(Message::GoAway(_))));
    assert!(is_release(&bench.says(grant(lease(3)))[0], &[lease(3)]), "a grant that crossed the goodbye");
    assert_eq!(bench.forwarded(lease(1), Class::Delivered).len(), 1);
    assert!(is_last_word(&bench.says(settled(lease(1)))));
    assert!(is_release(&bench.says(grant(lease(4)))[0], &[lease(4)]), "and one that crossed the last word");
    assert!(matches!(bench.feed(Input::Disconnected)[..], [Output::Exit(Exit::Stopped)]), "the server let it go");
}

/// Whether this is the one word of a client that holds nothing and waits to be let go.
fn is_last_word(outputs: &[Output]) -> bool {
    matches!(outputs, [Output::Send(Message::GoAway(GoAway { done: true, .. }))])
}

#[test]
fn it_stops_at_once_when_nothing_is_held() {
    let mut bench = Bench::new(1);
    assert!(matches!(bench.feed(Input::Stop)[..], [Output::Exit(Exit::Stopped)]));
    let mut bench = Bench::up(1);
    bench.feed(Input::Disconnected);
    assert!(matches!(bench.feed(Input::Stop)[..], [Output::Exit(Exit::Stopped)]));
}

/// I11, I22: what was granted before a goodbye was heard is handed back, and not lost with its socket. An older server, which does not
/// close the socket, is not waited for.
#[test]
fn it_takes_its_leave_before_it_goes() {
    let mut bench = Bench::up(2);
    assert!(is_last_word(&bench.feed(Input::Stop)));
    assert!(bench.feed(Input::Stop).is_empty(), "once");
    assert!(is_release(&bench.says(grant(lease(1)))[0], &[lease(1)]));
    let began = bench.now.mono;
    assert!(matches!(bench.wait()[..], [Output::Hangup, Output::Exit(Exit::Stopped)]));
    assert_eq!(bench.now.mono.since(began), limits::LAST_WORDS_WITHIN);
}

/// The same while the answer to its Hello is on its way: what that resumes, and was handed back meanwhile, is handed back then.
#[test]
fn it_waits_for_its_welcome_before_it_goes() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.says(Message::Release(Release { leases: vec![codec::lease_ref(lease(1))] }));
    bench.says(grant(lease(2)));
    bench.lose();
    assert_eq!(bench.connect(), [lease(1), lease(2)]);
    assert!(bench.feed(Input::Stop).is_empty(), "there is no session yet");
    let outputs = bench.welcome(&[lease(2)]);
    assert!(is_release(&outputs[0], &[lease(2)]), "it had not begun: {outputs:?}");
    assert!(matches!(outputs[1..], [Output::Send(Message::GoAway(GoAway { done: false, .. }))]), "{outputs:?}");
    assert!(is_report(&bench.forwarded(lease(1), Class::Delivered)[0], lease(1), Class::Delivered));
    assert!(is_last_word(&bench.says(settled(lease(1)))));

    let mut bench = Bench::new(1);
    bench.connect();
    assert!(bench.feed(Input::Stop).is_empty());
    assert!(is_last_word(&bench.welcome(&[])));
    assert!(matches!(bench.feed(Input::Disconnected)[..], [Output::Exit(Exit::Stopped)]));

    let mut bench = Bench::new(1);
    bench.connect();
    bench.feed(Input::Stop);
    assert!(matches!(bench.wait()[..], [Output::Hangup, Output::Exit(Exit::Stopped)]), "a server that says nothing");
    assert_eq!(bench.now.mono.since(crate::time::Mono::default()), limits::LAST_WORDS_WITHIN);
}

#[test]
fn it_comes_back_to_report_even_while_stopping() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.feed(Input::Stop);
    bench.lose();
    assert!(bench.forwarded(lease(1), Class::Delivered).is_empty());
    assert_eq!(bench.connect(), [lease(1)]);
    let outputs = bench.welcome(&[lease(1)]);
    assert!(
        is_report(&outputs[0], lease(1), Class::Delivered) && matches!(outputs[1], Output::Send(Message::GoAway(_)))
    );
    assert!(is_last_word(&bench.says(settled(lease(1)))));
}

/// I22: the server's goodbye lets forwards finish; the client comes back after the pause it asks for.
#[test]
fn it_finishes_its_forwards_when_the_server_says_goodbye() {
    let mut bench = Bench::up(2);
    bench.says(grant(lease(1)));
    bench.says(grant_of(lease(2), 6, b"ab"));
    let go_away = GoAway { reason: "the server restarts".into(), retry_after_ms: 3_000, ..GoAway::default() };
    assert!(is_release(&bench.says(Message::GoAway(go_away))[0], &[lease(2)]));
    bench.forwarded(lease(1), Class::Delivered);
    let outputs = bench.says(settled(lease(1)));
    assert!(matches!(outputs[0], Output::Hangup) && is_down(&outputs[1], "restarts"));
    let Output::Notice(Notice::Down { pause, .. }) = &outputs[1] else { panic!() };
    assert!(*pause >= Duration::from_secs(3));
    assert!(matches!(bench.wait()[..], [Output::Dial]));
}

/// A server that names no other one before the pause is over: a client goes there at once, once its forwards are over.
#[test]
fn it_goes_elsewhere_at_once_when_the_server_says_so() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    let go_away = GoAway { reason: "drains".into(), retry_after_ms: 60_000, elsewhere: true, done: false };
    assert!(bench.says(Message::GoAway(go_away)).is_empty());
    bench.forwarded(lease(1), Class::Delivered);
    let outputs = bench.says(settled(lease(1)));
    let Output::Notice(Notice::Down { pause, .. }) = &outputs[1] else { panic!("{outputs:?}") };
    assert_eq!(*pause, Duration::ZERO);
}

/// Another server goes on with what runs, as after a lost socket: the other destinations of a client do not wait for it. Once.
#[test]
fn it_takes_what_runs_along_when_the_server_sends_it_elsewhere() {
    let go_away = || Message::GoAway(GoAway { reason: "drains".into(), elsewhere: true, ..GoAway::default() });
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.now = bench.now + limits::SESSION_GOOD_AFTER;
    let outputs = bench.says(go_away());
    assert!(matches!(outputs[0], Output::Hangup) && is_down(&outputs[1], "drains"), "{outputs:?}");
    assert!(matches!(bench.wait()[..], [Output::Dial]));
    assert_eq!(bench.connect(), [lease(1)]);
    bench.welcome(&[lease(1)]);
    assert!(bench.says(go_away()).is_empty(), "there is no other: what runs is reported here");
    assert!(is_report(&bench.forwarded(lease(1), Class::Delivered)[0], lease(1), Class::Delivered));
}

/// What the next Hello says: its instance, what it serves, what it names as held.
fn hello(bench: &mut Bench) -> (u128, Vec<(String, u32)>, Vec<LeaseKey>) {
    let outputs = bench.feed(Input::Connected);
    let [Output::Send(Message::Hello(hello))] = &outputs[..] else { panic!("no Hello but {outputs:?}") };
    let greeting = codec::greeting(hello).unwrap();
    let served = greeting.destinations.iter().map(|served| (served.name.to_string(), served.slots)).collect();
    (greeting.instance.as_u128(), served, greeting.held)
}

fn renew(setup: Setup) -> Input {
    Input::Renew(Box::new(setup))
}

/// A new setup of the same instance stops nobody for what is at its target: the next session goes on with that.
#[test]
fn a_new_setup_takes_along_what_has_begun() {
    let mut bench = Bench::up(2);
    bench.says(grant(lease(1)));
    bench.says(grant_of(lease(2), 6, b"ab"));
    let outputs = bench.feed(renew(setup(7, &[("crm", 1), ("erp", 2)])));
    assert!(matches!(outputs[..], [Output::Hangup, Output::Notice(Notice::Renewing)]), "{outputs:?}");
    assert!(matches!(bench.wait()[..], [Output::Dial]));
    assert_eq!(bench.now, Now::default(), "at once");
    assert_eq!(hello(&mut bench), (7, vec![("crm".into(), 1), ("erp".into(), 2)], vec![lease(1)]));

    // Its own time is what the server is told, and it is not cut short.
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    let mut shorter = setup(7, &[("crm", 1)]);
    shorter.destinations[0].forward_timeout /= 2;
    let outputs = bench.feed(renew(shorter.clone()));
    assert!(matches!(outputs[..], [Output::Send(Message::GoAway(GoAway { done: false, .. }))]), "{outputs:?}");
    let outputs = bench.feed(renew(setup(7, &[("crm", 2)])));
    assert!(matches!(outputs[0], Output::Hangup), "the latest setup counts: {outputs:?}");
    assert!(matches!(bench.wait()[..], [Output::Dial]));
    assert_eq!(hello(&mut bench), (7, vec![("crm".into(), 2)], vec![lease(1)]));

    let mut bench = Bench::up(1);
    assert!(matches!(bench.feed(renew(shorter))[0], Output::Hangup), "nothing runs");
}

/// I9, I22: another instance cannot name what this one holds: its session ends as at a stop. What has begun ends and is settled
/// first, so that nobody else is given it meanwhile, and what crosses the goodbye is handed back.
#[test]
fn a_new_setup_of_another_instance_waits_for_what_has_begun() {
    let mut bench = Bench::up(2);
    bench.says(grant(lease(1)));
    bench.says(grant_of(lease(2), 6, b"ab"));
    let outputs = bench.feed(renew(setup(6, &[("crm", 4), ("erp", 2)])));
    let goodbye = |output: &Output| matches!(output, Output::Send(Message::GoAway(_)));
    assert!(outputs.len() == 2 && is_release(&outputs[0], &[lease(2)]) && goodbye(&outputs[1]), "{outputs:?}");
    assert!(is_release(&bench.says(grant(lease(3)))[0], &[lease(3)]), "nothing new is begun");
    let again = bench.feed(renew(setup(8, &[("erp", 2)])));
    assert_eq!(again.len(), 0, "the latest setup counts, and one goodbye is enough: {again:?}");
    assert!(is_report(&bench.forwarded(lease(1), Class::Delivered)[0], lease(1), Class::Delivered));
    assert!(is_last_word(&bench.says(settled(lease(1)))));
    assert!(is_release(&bench.says(grant(lease(4)))[0], &[lease(4)]));
    let outputs = bench.feed(Input::Disconnected);
    assert!(matches!(outputs[..], [Output::Notice(Notice::Renewing)]), "{outputs:?}");
    assert!(matches!(bench.wait()[..], [Output::Dial]));
    assert_eq!(bench.now, Now::default(), "at once");
    assert_eq!(hello(&mut bench), (8, vec![("erp".into(), 2)], vec![]));
}

/// The setup may be what keeps the session from coming up: it does not wait for one. What runs goes on and is reported.
#[test]
fn without_a_session_a_new_setup_counts_at_once() {
    let mut bench = Bench::up(2);
    bench.says(grant(lease(1)));
    bench.says(grant(lease(2)));
    bench.forwarded(lease(2), Class::Delivered);
    let down = bench.feed(Input::Disconnected);
    assert!(is_down(&down[0], "lost"));
    let outputs = bench.feed(renew(setup(7, &[("crm", 1)])));
    assert!(matches!(outputs[..], [Output::Notice(Notice::Renewing)]), "{outputs:?}");
    assert!(matches!(bench.wait()[..], [Output::Dial]));
    assert_eq!(hello(&mut bench), (7, vec![("crm".into(), 1)], vec![lease(1), lease(2)]), "the same instance resumes");
    assert!(bench.feed(renew(setup(8, &[("erp", 1)]))).is_empty(), "it may have been given something");
    let began = bench.now.mono;
    assert!(is_down(&bench.wait()[1], "did not answer"));
    assert_eq!(bench.now.mono.since(began), limits::LAST_WORDS_WITHIN, "not for long");
    assert!(matches!(bench.wait()[..], [Output::Dial]));
    assert_eq!(
        hello(&mut bench),
        (8, vec![("erp".into(), 1)], vec![]),
        "another one names nothing that is not its own"
    );
    let destination = WelcomeDestination { name: "erp".into(), known: true, others: 0, allowed: true };
    let heartbeat_ms = limits::HEARTBEAT.as_millis() as u32;
    let welcome = Welcome {
        version: String::new(),
        heartbeat_ms,
        destinations: vec![destination],
        resumed: vec![],
        server: String::new(),
    };
    let outputs = bench.says(Message::Welcome(welcome));
    assert!(is_report(&outputs[1], lease(2), Class::Delivered), "{outputs:?}");
    assert!(is_report(&bench.forwarded(lease(1), Class::Delivered)[0], lease(1), Class::Delivered));
    let outputs = bench.says(grant(lease(3)));
    assert!(matches!(outputs[0], Output::Hangup), "crm is not served any more: {outputs:?}");
}

/// I9: a client that goes back to what it was, since no server takes the new configuration, names what runs as its own again.
#[test]
fn what_was_leased_to_an_instance_is_named_by_it_alone() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.lose();
    for (instance, named) in [(8, vec![]), (7, vec![lease(1)])] {
        bench.feed(renew(setup(instance, &[("crm", 1)])));
        assert!(matches!(bench.wait()[..], [Output::Dial]));
        assert_eq!(hello(&mut bench), (instance, vec![("crm".into(), 1)], named));
        bench.lose();
    }
}

/// A lost session does not wait any longer; a stop comes before a new setup.
#[test]
fn a_session_that_is_lost_or_stopped_while_a_new_setup_waits() {
    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.feed(renew(setup(8, &[("erp", 2)])));
    bench.lose();
    assert_eq!(hello(&mut bench), (8, vec![("erp".into(), 2)], vec![]));

    let mut bench = Bench::up(1);
    bench.says(grant(lease(1)));
    bench.feed(renew(setup(8, &[("erp", 2)])));
    bench.feed(Input::Stop);
    bench.forwarded(lease(1), Class::Delivered);
    assert!(is_last_word(&bench.says(settled(lease(1)))));
    assert!(bench.feed(renew(setup(7, &[("erp", 2)]))).is_empty(), "it stops");
    assert!(matches!(bench.feed(Input::Disconnected)[..], [Output::Exit(Exit::Stopped)]));
    assert!(bench.feed(renew(setup(7, &[("erp", 2)]))).is_empty(), "it has ended");
}
