use super::*;

const PAUSE_MAX: Duration = Duration::from_secs(4);
const SLOTS: u32 = 4;
const START: Mono = Mono::from_micros(1_000_000_000);

/// A circuit and its clock.
struct Rig {
    circuit: Circuit,
    now: Mono,
}

impl Rig {
    /// A circuit that knows that nothing waited when it began.
    fn new() -> Self {
        let mut circuit = Circuit::default();
        circuit.on_nothing_waits();
        Self { circuit, now: START }
    }

    /// One that opened because nothing could be reached.
    fn unreachable() -> Self {
        let mut rig = Self::new();
        for _ in 0..2 {
            assert_eq!(rig.feed(1, Class::Unreachable), (Switched::Same, true));
        }
        assert_eq!(rig.feed(1, Class::Unreachable), (Switched::Opened, false));
        rig
    }

    /// One that opened because the destination answers 500 to everything.
    fn open() -> Self {
        let mut rig = Self::new();
        for event in 1..5 {
            assert_eq!(rig.feed(event, Class::Rejected), (Switched::Same, true));
        }
        assert_eq!(rig.feed(5, Class::Rejected), (Switched::Opened, false));
        rig
    }

    /// One that was open and has just delivered.
    fn recovering() -> Self {
        let mut rig = Self::open();
        rig.now = rig.now + PAUSE_MAX;
        assert_eq!(rig.probe(9, Class::Delivered), Switched::Closed);
        rig
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    fn outcome(class: Class) -> Outcome {
        let (duration, error) = (Duration::from_millis(20), None);
        Outcome { class, status: None, retry_after: None, duration, error, answer: None }
    }

    /// A try of an event without a counted try fails or not.
    fn feed(&mut self, event: u128, class: Class) -> (Switched, bool) {
        self.tell(event, true, false, &Self::outcome(class))
    }

    fn tell(&mut self, event: u128, speaks: bool, probe: bool, outcome: &Outcome) -> (Switched, bool) {
        let tried = Tried { event: EventId::from_u128(event), speaks, outcome, probe };
        self.circuit.on_outcome(&tried, self.now, SLOTS, PAUSE_MAX)
    }

    /// The one try of an open circuit.
    fn probe(&mut self, event: u128, class: Class) -> Switched {
        self.probe_with(event, &Self::outcome(class))
    }

    fn probe_with(&mut self, event: u128, outcome: &Outcome) -> Switched {
        assert_eq!(self.circuit.permit(self.now), Permit::Probe);
        let pick = self.circuit.pick(SLOTS, self.now).expect("one at a time");
        self.circuit.on_asked();
        self.circuit.on_picked(pick);
        assert_eq!(self.circuit.permit(self.now), Permit::Probing);
        let (change, counts) = self.tell(event, true, true, outcome);
        assert!(!counts, "a probe counts for nobody");
        change
    }

    /// Milliseconds until the next try may go out.
    fn pause(&self) -> u64 {
        match self.circuit.permit(self.now) {
            Permit::NotBefore(at) => at.since(self.now).as_millis() as u64,
            Permit::Probe => 0,
            other => panic!("not open: {other:?}"),
        }
    }
}

/// I10: three unreachable in a row.
#[test]
fn three_unreachable_in_a_row_open_it() {
    let mut rig = Rig::new();
    for class in [Class::Unreachable, Class::Unreachable, Class::Busy, Class::Unreachable, Class::Unreachable] {
        assert_eq!(rig.feed(1, class).0, Switched::Same);
    }
    assert_eq!(rig.feed(1, Class::Unreachable).0, Switched::Opened);
}

/// Whoever looks is told since when it is open, and when the next try goes out.
#[test]
fn an_open_one_says_since_when_and_until_when() {
    let mut rig = Rig::unreachable();
    let opened = rig.now;
    assert_eq!(rig.circuit.open_since(), Some(opened));
    assert_eq!(rig.circuit.next_try(), Some(opened + Duration::from_millis(rig.pause())));
    rig.pass(rig.pause());
    rig.circuit.on_asked();
    assert_eq!((rig.circuit.open_since(), rig.circuit.next_try()), (Some(opened), None), "one is under way");
    let closed = Rig::recovering().circuit;
    assert_eq!((closed.open_since(), closed.next_try()), (None, None));
}

/// I10: five different events that speak; the same one again, one that was counted before and one that the destination
/// judged are none of them.
#[test]
fn five_different_events_that_speak_open_it() {
    let mut rig = Rig::new();
    for event in [1, 2, 3, 4, 4, 1] {
        assert_eq!(rig.feed(event, Class::Rejected), (Switched::Same, true));
    }
    for event in 10..20 {
        assert_eq!(rig.tell(event, false, false, &Rig::outcome(Class::Rejected)), (Switched::Same, true));
        assert_eq!(rig.feed(event + 100, Class::Refused), (Switched::Same, true));
    }
    assert_eq!(rig.feed(5, Class::Busy), (Switched::Opened, false));
}

/// I15: what delivers serves, however often it fails; judged again at every failure.
#[test]
fn nothing_opens_it_within_a_second_of_a_delivery() {
    let mut rig = Rig::new();
    rig.feed(100, Class::Delivered);
    for event in 1..50 {
        rig.pass(20);
        assert_eq!(rig.feed(event, Class::Rejected).0, Switched::Same);
    }
    rig.pass(50);
    assert_eq!(rig.tell(1, false, false, &Rig::outcome(Class::Rejected)).0, Switched::Opened);
}

/// I15: a destination that takes five seconds for an answer has few in a second.
#[test]
fn slow_answers_are_given_the_time_of_two() {
    let slow = Outcome { duration: Duration::from_secs(5), ..Rig::outcome(Class::Rejected) };
    let mut rig = Rig::new();
    rig.feed(100, Class::Delivered);
    rig.pass(5000);
    for event in 1..8 {
        assert_eq!(rig.tell(event, true, false, &slow).0, Switched::Same);
    }
    rig.pass(5100);
    assert_eq!(rig.tell(8, true, false, &slow).0, Switched::Opened);
}

#[test]
fn pauses_double_up_to_their_bound_and_one_try_is_out_at_a_time() {
    let mut rig = Rig::open();
    for pause in [1000, 2000, 4000, 4000] {
        assert_eq!(rig.pause(), pause);
        rig.pass(pause);
        assert_eq!(rig.probe(1, Class::Rejected), Switched::Same);
    }
}

/// I10: the destination may ask for a longer pause, within the bound of all pauses.
#[test]
fn a_pause_is_not_shorter_than_retry_after() {
    let asking = |seconds| Outcome { retry_after: Some(Duration::from_secs(seconds)), ..Rig::outcome(Class::Busy) };
    for (asked, pause) in [(3, 3000), (600, 4000)] {
        let mut rig = Rig::open();
        rig.pass(1000);
        rig.probe_with(1, &asking(asked));
        assert_eq!(rig.pause(), pause);
        assert!(!rig.circuit.on_arrival() || rig.pause() == 3000, "what arrives does not cut that");
        assert_eq!(rig.pause(), pause);
    }
}

/// I15, I19: what arrives ends a long pause a second after the last try, also if it came during that try.
#[test]
fn what_arrives_cuts_the_pause_to_a_second() {
    let mut rig = Rig::open();
    for pause in [1000, 2000] {
        rig.pass(pause);
        rig.probe(1, Class::Rejected);
    }
    assert_eq!(rig.pause(), 4000);
    rig.pass(250);
    assert!(rig.circuit.on_arrival());
    assert_eq!(rig.pause(), 750);
    assert!(!rig.circuit.on_arrival(), "once");
    rig.pass(750);
    rig.circuit.on_asked();
    assert!(!rig.circuit.on_arrival());
    rig.tell(1, true, true, &Rig::outcome(Class::Rejected));
    assert_eq!(rig.pause(), 1000);
}

/// I10: an event that the destination judges holds up nobody, and says nothing about the destination.
#[test]
fn refused_makes_no_pause_and_changes_nothing() {
    let mut rig = Rig::open();
    rig.pass(1000);
    for event in 10..40 {
        assert_eq!(rig.probe(event, Class::Refused), Switched::Same);
        assert_eq!(rig.pause(), 0);
    }
    rig.probe(50, Class::Rejected);
    assert_eq!(rig.pause(), 2000);
}

/// I10: whatever answers at all ends an outage in which nothing could be reached; what was charged before is known still.
#[test]
fn any_answer_but_busy_closes_what_only_unreachable_opened() {
    for class in [Class::Delivered, Class::Refused, Class::Rejected] {
        let mut rig = Rig::unreachable();
        rig.pass(1000);
        assert_eq!(rig.probe(1, Class::Busy), Switched::Same);
        rig.pass(2000);
        assert_eq!(rig.probe(1, class), Switched::Closed, "{class:?}");
        assert!(rig.feed(1, Class::Rejected).1, "{class:?}");
    }
    let mut rig = Rig::unreachable();
    for (event, pause) in [(1, 1000), (2, 2000), (3, 4000), (4, 4000)] {
        rig.pass(pause);
        assert_eq!(rig.probe(event, Class::Busy), Switched::Same);
    }
    rig.pass(4000);
    assert_eq!(rig.probe(5, Class::Rejected), Switched::Same, "five have failed by now");
}

#[test]
fn one_success_closes_it_probe_or_not() {
    let mut rig = Rig::open();
    assert_eq!(rig.feed(2, Class::Delivered).0, Switched::Closed);
    assert_eq!(rig.circuit.permit(rig.now), Permit::All);
}

/// I10: one success after an outage gives one slot, not all; each further one more, each busy half.
#[test]
fn it_recovers_slot_by_slot() {
    let mut rig = Rig::recovering();
    let slots = |rig: &Rig| rig.circuit.slots(SLOTS);
    assert_eq!(slots(&rig), 1);
    rig.feed(20, Class::Delivered);
    rig.feed(21, Class::Delivered);
    assert_eq!((slots(&rig), rig.circuit.slots(2)), (3, 2));
    rig.feed(22, Class::Busy);
    rig.feed(23, Class::Busy);
    assert_eq!(slots(&rig), 1);
    let too_many = Outcome { status: Some(429), ..Rig::outcome(Class::Busy) };
    rig.tell(24, true, false, &too_many);
    rig.feed(25, Class::Delivered);
    assert_eq!(slots(&rig), 2, "a 429 among others is nothing that fewer slots would mend");
    for event in 26..29 {
        rig.feed(event, Class::Delivered);
    }
    assert_eq!((slots(&rig), rig.circuit.pick(SLOTS, rig.now)), (4, None));
}

/// I15: in an outage and after it the newest and the least tried take turns; what has just arrived goes first, three times in
/// a row at most.
#[test]
fn newest_and_fewest_tries_take_turns() {
    let mut rig = Rig::open();
    let mut picks = Vec::new();
    for arrives in [false, false, false, true, true, true, true, true] {
        rig.pass(4_000);
        if arrives {
            rig.circuit.on_arrival();
        }
        picks.push(rig.circuit.pick(SLOTS, rig.now) == Some(Pick::Newest));
        rig.probe(1, Class::Rejected);
    }
    assert_eq!(picks, [true, false, true, true, true, false, true, true]);
    let mut rig = Rig::recovering();
    for expected in [Pick::Newest, Pick::FewestTries, Pick::Newest] {
        assert_eq!(rig.circuit.pick(SLOTS, rig.now), Some(expected));
        rig.circuit.on_picked(expected);
    }
    for event in 10..13 {
        rig.feed(event, Class::Delivered);
    }
    assert_eq!(rig.circuit.pick(SLOTS, rig.now), None);
}

/// I10: a server or a client that starts anew in an outage charges nothing for it; where no outage can be on, it is closed.
#[test]
fn a_fresh_one_begins_open_where_many_wait_and_one_was_tried() {
    for (tried, open, outage) in [(true, 5, true), (true, 4, false), (false, 500, false)] {
        let mut circuit = Circuit::default();
        assert_eq!(circuit.permit(START), Permit::Probe);
        circuit.on_asked();
        assert_eq!(circuit.permit(START), Permit::Probing);
        circuit.on_backlog(Backlog { tried, open }, START);
        assert_eq!(circuit.is_open(), outage, "{tried} {open}");
        assert_eq!(circuit.open_error(), None);
        let mut rig = Rig { circuit, now: START };
        let (change, counts) = rig.tell(1, true, outage, &Rig::outcome(Class::Rejected));
        assert_eq!((change, counts), (if outage { Switched::Opened } else { Switched::Same }, !outage));
        if outage {
            assert_eq!(rig.pause(), 1000);
        }
    }
}
