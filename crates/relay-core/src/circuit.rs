//! The circuit: stops trying a destination that does not serve, per destination and client instance.
//!
//! **Invariant:** while it is open one try is out at a time, and only a *delivered* closes it, unless nothing but
//! *unreachable* opened it.

use std::time::Duration;

use crate::{
    delivery::outcome::{Class, Outcome},
    id::EventId,
    limits,
    storage::{Backlog, OpenCircuit},
    time::Mono,
};

/// The circuit of one destination as one client instance sees it.
#[derive(Clone, Debug, Default)]
pub struct Circuit {
    unreachable: u32,
    streak: Streak,
    delivered_at: Option<Mono>,
    limit: Limit,
    flaps: Flaps,
    phase: Phase,
}

/// How often in a row a delivery closed it soon after it had opened.
#[derive(Clone, Copy, Debug, Default)]
struct Flaps {
    count: u32,
    closed_at: Option<Mono>,
    turn: Turn,
}

/// What is known of a limit on the rate: 429 answers.
#[derive(Clone, Copy, Debug, Default)]
struct Limit {
    /// 429s beyond four to each delivery.
    excess: u32,
    /// Nothing goes out before then.
    until: Option<Mono>,
    pause: Duration,
}

/// Different events that *speak* and have failed since the last *delivered*; never more than [`limits::CIRCUIT_EVENTS`]. An
/// event speaks while no try of it has counted: a known failure says nothing new about its destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    events: Vec<EventId>,
}

/// One try that ended.
#[derive(Clone, Copy, Debug)]
pub struct Tried<'a> {
    /// Of which event.
    pub event: EventId,
    /// No try of it had counted before, since it became ready.
    pub speaks: bool,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// It went out as the one try of an open circuit.
    pub probe: bool,
}

#[derive(Clone, Debug, Default)]
enum Phase {
    /// Nothing is known yet: the first lease tells whether it begins open.
    #[default]
    Fresh,
    /// The same, and that lease is under way.
    Asking,
    Closed,
    Recovering(Recovery),
    Open(Open),
}

#[derive(Clone, Debug)]
struct Open {
    since: Mono,
    /// Whether nothing but *unreachable* opened it.
    unreachable_only: bool,
    pause: Duration,
    /// The pause is over then.
    try_at: Mono,
    /// What has arrived since the last try may end the pause then.
    cut_at: Mono,
    trying: bool,
    arrived: bool,
    turn: Turn,
    /// The latest failure, in words; none yet if it began open.
    error: Option<String>,
}

/// Closed again, and not yet trusted with all its slots.
#[derive(Clone, Debug)]
struct Recovery {
    slots: u32,
    delivered: u32,
    /// No slot is added before then.
    held_until: Option<Mono>,
    turn: Turn,
}

/// Whose turn it is while a destination is, or just was, in trouble.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    fewest: bool,
    /// Newest ones in a row.
    newest: u8,
}

/// Which deliveries go out next while a destination is, or just was, in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The newest of those never tried.
    Newest,
    /// Those with the fewest tries, the oldest first.
    FewestTries,
}

/// What a circuit lets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It is closed: whatever is due.
    All,
    /// One delivery: it is open and its pause is over, or it has yet to learn whether it is.
    Probe,
    /// Nothing before then.
    NotBefore(Mono),
    /// Nothing until its one try has come back.
    Probing,
}

/// What an outcome did to a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switched {
    /// It opened, or one that began open was found to be right.
    Opened,
    /// It closed.
    Closed,
    /// It is as it was, open or closed.
    Same,
}

impl Streak {
    /// A try ended.
    pub fn on_try(&mut self, tried: &Tried<'_>) {
        match tried.outcome.class {
            Class::Delivered => self.events.clear(),
            // Canary: an event that the destination judged says nothing about the destination.
            Class::Refused if !crate::canary::is("refused_opens_the_circuit") => {}
            Class::Rejected | Class::Busy | Class::Refused => {
                let known = self.is_full() || self.events.contains(&tried.event);
                if tried.speaks && !known {
                    self.events.push(tried.event);
                }
            }
            Class::Unreachable => {}
        }
    }

    /// Whether so many have failed that it is the destination that does.
    pub fn is_full(&self) -> bool {
        self.events.len() >= limits::CIRCUIT_EVENTS
    }
}

impl Circuit {
    /// What may go out at `now`.
    pub fn permit(&self, now: Mono) -> Permit {
        match &self.phase {
            Phase::Fresh => Permit::Probe,
            Phase::Asking => Permit::Probing,
            Phase::Closed | Phase::Recovering(_) => match self.limit.until {
                Some(until) if now < until => Permit::NotBefore(until),
                _ => Permit::All,
            },
            Phase::Open(open) if open.trying => Permit::Probing,
            Phase::Open(open) if now >= open.try_at => Permit::Probe,
            Phase::Open(open) => Permit::NotBefore(open.try_at),
        }
    }

    /// How many of an instance's slots it may use.
    pub fn slots(&self, slots: u32) -> u32 {
        match &self.phase {
            Phase::Recovering(recovery) => recovery.slots.min(slots),
            Phase::Fresh | Phase::Asking | Phase::Closed | Phase::Open(_) => slots,
        }
    }

    /// Whether one delivery is out at a time.
    pub fn is_one_at_a_time(&self) -> bool {
        !self.is_closed()
    }

    /// Which deliveries go out next while the destination is, or just was, in trouble; `None`: each kind has its share.
    pub fn pick(&self, slots: u32, now: Mono) -> Option<Pick> {
        match &self.phase {
            Phase::Fresh | Phase::Asking => Some(Pick::Newest),
            Phase::Open(open) => Some(open.turn.pick(open.arrived)),
            Phase::Recovering(recovery) if recovery.delivered < slots => Some(recovery.turn.pick(false)),
            // It takes some: what has just come must not stand behind all that it does not take.
            Phase::Recovering(_) | Phase::Closed if self.flaps.is_recent(now) && !self.streak.events.is_empty() => {
                Some(self.flaps.turn.pick(false))
            }
            Phase::Recovering(_) | Phase::Closed => None,
        }
    }

    /// Whether it is open, and the latest failure in words.
    pub fn open_error(&self) -> Option<&str> {
        if let Phase::Open(open) = &self.phase { open.error.as_deref() } else { None }
    }

    /// Since when it has been open.
    pub fn open_since(&self) -> Option<Mono> {
        if let Phase::Open(open) = &self.phase { Some(open.since) } else { None }
    }

    /// When it lets out its next try, while it is open and none is under way.
    pub fn next_try(&self) -> Option<Mono> {
        if let Phase::Open(open) = &self.phase { (!open.trying).then_some(open.try_at) } else { None }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// How it stands, for those to whom its client may go; `None` unless it is open.
    pub fn told(&self, now: Mono) -> Option<OpenCircuit> {
        let Phase::Open(open) = &self.phase else { return None };
        let Open { since, unreachable_only, pause, try_at, trying, error, .. } = open;
        let left = if *trying { Duration::ZERO } else { try_at.since(now) };
        let error = error.as_deref().map(Into::into);
        let lasts = now.since(*since);
        Some(OpenCircuit { lasts, pause: *pause, left, unreachable_only: *unreachable_only, error }.bounded())
    }

    /// It is open at another server, from which its client comes; as was told at `heard`.
    pub fn open_as(&mut self, told: &OpenCircuit, heard: Mono) {
        let first = limits::CIRCUIT_PAUSE_FIRST;
        self.phase = Phase::Open(Open {
            since: Mono::from_micros(heard.as_micros().saturating_sub(told.lasts.as_micros() as u64)),
            unreachable_only: told.unreachable_only,
            pause: told.pause,
            try_at: heard + told.left,
            cut_at: heard + told.left.min(first),
            trying: false,
            arrived: false,
            turn: Turn::default(),
            error: told.error.as_deref().map(str::to_owned),
        });
    }

    /// Whether failures may count: it is closed, and knows that it is.
    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Recovering(_))
    }

    /// Whether there is nothing to remember of it.
    pub fn is_blank(&self) -> bool {
        let settled = matches!(self.phase, Phase::Fresh | Phase::Asking | Phase::Closed);
        settled && self.unreachable == 0 && self.streak.events.is_empty()
    }

    /// A lease is asked for that brings one delivery at a time.
    pub fn on_asked(&mut self) {
        match &mut self.phase {
            Phase::Fresh => self.phase = Phase::Asking,
            Phase::Open(open) => {
                open.trying = true;
                open.arrived = false;
            }
            Phase::Asking | Phase::Closed | Phase::Recovering(_) => {}
        }
    }

    /// Nothing waits at the destination: there is nothing that an outage could have left.
    pub fn on_nothing_waits(&mut self) {
        if matches!(self.phase, Phase::Fresh) {
            self.phase = Phase::Closed;
        }
    }

    /// The first lease says what there is at the destination. Tried ones among so many that an outage may be on: it begins
    /// open, without pause. Fewer would not have opened it.
    pub fn on_backlog(&mut self, backlog: Backlog, now: Mono) {
        if !matches!(self.phase, Phase::Asking) {
            return;
        }
        let outage = backlog.tried && backlog.open >= limits::CIRCUIT_EVENTS as u64;
        // Canary: a restart must not charge an outage again.
        self.phase = if outage && !crate::canary::is("fresh_circuit_closed") {
            Phase::Open(Open {
                since: now,
                unreachable_only: false,
                pause: Duration::ZERO,
                try_at: now,
                cut_at: now,
                trying: true,
                arrived: false,
                turn: Turn::default(),
                error: None,
            })
        } else {
            Phase::Closed
        };
    }

    /// That lease did not come about.
    pub fn on_ask_failed(&mut self) {
        match &mut self.phase {
            Phase::Asking => self.phase = Phase::Fresh,
            Phase::Open(open) => open.trying = false,
            Phase::Fresh | Phase::Closed | Phase::Recovering(_) => {}
        }
    }

    /// The delivery of this pick goes out.
    pub fn on_picked(&mut self, pick: Pick) {
        match &mut self.phase {
            Phase::Open(open) => open.turn.on_picked(pick),
            Phase::Recovering(recovery) => {
                recovery.turn.on_picked(pick);
                self.flaps.turn.on_picked(pick);
            }
            Phase::Closed => self.flaps.turn.on_picked(pick),
            Phase::Fresh | Phase::Asking => {}
        }
    }

    /// The one try ended without an outcome: lost or handed back.
    pub fn on_probe_gone(&mut self, now: Mono, pause_max: Duration) {
        if let Phase::Open(open) = &mut self.phase {
            let first = limits::CIRCUIT_PAUSE_FIRST.min(pause_max);
            open.trying = false;
            open.cut_at = now + first;
            open.try_at = now + if open.arrived { first } else { open.pause.max(first) };
        }
    }

    /// A delivery was accepted, redriven or replayed. Whether that changed when the next try goes out.
    pub fn on_arrival(&mut self) -> bool {
        let Phase::Open(open) = &mut self.phase else { return false };
        open.arrived = true;
        let cut = !open.trying && open.cut_at < open.try_at;
        if cut {
            open.try_at = open.cut_at;
        }
        cut
    }

    /// A try ended. `slots`: the instance's there. Gives what that did, and whether a failure may count against its event,
    /// as far as this circuit is concerned.
    pub fn on_outcome(&mut self, tried: &Tried<'_>, now: Mono, slots: u32, pause_max: Duration) -> (Switched, bool) {
        let counts_before = self.is_closed() && !tried.probe;
        self.streak.on_try(tried);
        self.unreachable = if tried.outcome.class == Class::Unreachable { self.unreachable + 1 } else { 0 };
        if tried.outcome.status == Some(429) {
            self.on_too_many(tried.outcome, now, slots);
        }
        let change = match tried.outcome.class {
            Class::Delivered => self.on_delivered(now, slots),
            Class::Refused if !crate::canary::is("refused_opens_the_circuit") => {
                self.on_refused(tried.probe, now, slots)
            }
            Class::Rejected | Class::Busy | Class::Unreachable | Class::Refused => {
                self.on_failed(tried, now, slots, pause_max)
            }
        };
        // Canary: an outage that answers must be free too.
        (change, (counts_before && self.is_closed()) || crate::canary::is("charged_while_open"))
    }

    fn on_delivered(&mut self, now: Mono, slots: u32) -> Switched {
        self.delivered_at = Some(now);
        self.limit.on_delivered();
        match &mut self.phase {
            Phase::Fresh | Phase::Asking => self.phase = Phase::Closed,
            Phase::Closed => {}
            Phase::Recovering(recovery) => {
                recovery.on_delivered(now);
                if recovery.is_over(slots) {
                    self.phase = Phase::Closed;
                }
            }
            Phase::Open(open) => {
                self.flaps.on_close(open.since, now);
                return self.close(1, slots);
            }
        }
        Switched::Same
    }

    /// A limit on the rate is met by asking less: with half of the slots, and with pauses where nothing is delivered between.
    fn on_too_many(&mut self, outcome: &Outcome, now: Mono, slots: u32) {
        let within = limits::LIMITED_PAUSE_FIRST.max(outcome.duration.saturating_mul(2));
        if self.delivered_at.is_some_and(|at| now.since(at) > within) {
            self.limit.rest(now);
        }
        self.limit.excess += 1;
        if self.limit.excess < limits::LIMITED_EXCESS {
            return;
        }
        self.limit.excess = 0;
        if matches!(self.phase, Phase::Closed) {
            // Trusted as before, but with fewer.
            let turn = Turn::default();
            self.phase = Phase::Recovering(Recovery { slots, delivered: slots, held_until: None, turn });
        }
        if let Phase::Recovering(recovery) = &mut self.phase {
            recovery.halve();
            recovery.held_until = Some(now + limits::LIMITED_HELD);
        }
    }

    fn on_refused(&mut self, probe: bool, now: Mono, slots: u32) -> Switched {
        let Phase::Open(open) = &mut self.phase else { return Switched::Same };
        if open.unreachable_only {
            return self.close(0, slots);
        }
        if probe {
            open.trying = false;
            (open.try_at, open.cut_at) = (now, now);
        }
        Switched::Same
    }

    fn on_failed(&mut self, tried: &Tried<'_>, now: Mono, slots: u32, pause_max: Duration) -> Switched {
        let outcome = tried.outcome;
        let full = self.streak.is_full();
        let quiet_after = quiet_after(outcome).max(self.flaps.quiet(now));
        let quiet = self.delivered_at.is_none_or(|at| now.since(at) > quiet_after);
        let unreachable = self.unreachable >= limits::CIRCUIT_UNREACHABLE;
        match &mut self.phase {
            Phase::Open(open) => {
                open.unreachable_only &= !full;
                if open.unreachable_only && outcome.class == Class::Rejected {
                    return self.close(0, slots);
                }
                if !tried.probe {
                    return Switched::Same;
                }
                open.trying = false;
                open.rest(now, asked(outcome), pause_max);
                let known = open.error.replace(words(outcome)).is_some();
                if known { Switched::Same } else { Switched::Opened }
            }
            Phase::Fresh | Phase::Asking if !unreachable => Switched::Same,
            Phase::Fresh | Phase::Asking | Phase::Closed | Phase::Recovering(_) => {
                if let Phase::Recovering(recovery) = &mut self.phase
                    && outcome.class == Class::Busy
                    && outcome.status != Some(429)
                {
                    recovery.halve();
                }
                let opens = unreachable || (full && quiet);
                if !opens {
                    return Switched::Same;
                }
                let mut open = Open {
                    since: now,
                    unreachable_only: !full,
                    pause: Duration::ZERO,
                    try_at: now,
                    cut_at: now,
                    trying: false,
                    arrived: false,
                    turn: Turn::default(),
                    error: Some(words(outcome)),
                };
                open.rest(now, asked(outcome), pause_max);
                self.phase = Phase::Open(open);
                Switched::Opened
            }
        }
    }

    /// Closes an open one; `delivered` counts what did it.
    fn close(&mut self, delivered: u32, slots: u32) -> Switched {
        let known = self.open_error().is_some();
        let recovery = Recovery { slots: 1, delivered, held_until: None, turn: Turn::default() };
        self.phase = if recovery.is_over(slots) { Phase::Closed } else { Phase::Recovering(recovery) };
        if known { Switched::Closed } else { Switched::Same }
    }
}

impl Open {
    /// Begins the next pause: twice as long as the one before, and not shorter than the destination asked for.
    fn rest(&mut self, now: Mono, asked: Duration, pause_max: Duration) {
        let first = limits::CIRCUIT_PAUSE_FIRST.min(pause_max);
        self.pause = (self.pause * 2).clamp(first, pause_max);
        let asked = asked.min(pause_max);
        self.cut_at = now + first.max(asked);
        self.try_at = if self.arrived { self.cut_at } else { now + self.pause.max(asked) };
    }
}

impl Recovery {
    fn on_delivered(&mut self, now: Mono) {
        self.delivered = self.delivered.saturating_add(1);
        if self.held_until.is_none_or(|until| now >= until) {
            self.slots = self.slots.saturating_add(1);
        }
    }

    fn halve(&mut self) {
        self.slots = (self.slots / 2).max(1);
    }

    /// A client that is away has no slots, and says nothing about how many its destination bears.
    fn is_over(&self, slots: u32) -> bool {
        slots > 0 && self.slots >= slots && self.delivered >= slots
    }
}

impl Flaps {
    /// A delivery closed what had opened then.
    fn on_close(&mut self, opened: Mono, now: Mono) {
        let steady = self.closed_at.is_none_or(|at| opened.since(at) > limits::CIRCUIT_FLAP);
        let outage = now.since(opened) > limits::CIRCUIT_FLAP;
        self.count = if steady || outage { 1 } else { limits::CIRCUIT_FLAPS_MAX.min(self.count + 1) };
        self.closed_at = Some(now);
    }

    fn is_recent(&self, now: Mono) -> bool {
        self.closed_at.is_some_and(|at| now.since(at) <= limits::CIRCUIT_FLAP)
    }

    /// How long nothing must have been delivered before failures open it.
    fn quiet(&self, now: Mono) -> Duration {
        if self.is_recent(now) { limits::CIRCUIT_FLAP_QUIET * self.count } else { Duration::ZERO }
    }
}

impl Limit {
    fn on_delivered(&mut self) {
        self.excess = self.excess.saturating_sub(4);
        (self.until, self.pause) = (None, Duration::ZERO);
    }

    /// Those that went out before the pause say nothing new.
    fn rest(&mut self, now: Mono) {
        if self.until.is_none_or(|until| now >= until) {
            self.pause = (self.pause * 2).clamp(limits::LIMITED_PAUSE_FIRST, limits::LIMITED_PAUSE_MAX);
            self.until = Some(now + self.pause);
        }
    }
}

impl Turn {
    /// What has just arrived goes first, so that an event that the destination would take is not kept behind those that it
    /// does not; but not so often that the others never get a try.
    fn pick(self, arrived: bool) -> Pick {
        let first = arrived && self.newest < limits::CIRCUIT_NEWEST_MAX;
        if self.fewest && !first { Pick::FewestTries } else { Pick::Newest }
    }

    fn on_picked(&mut self, pick: Pick) {
        self.fewest = pick == Pick::Newest;
        self.newest = if self.fewest { self.newest.saturating_add(1) } else { 0 };
    }
}

/// How long nothing must have been delivered before failures open a circuit. A destination that takes long for each answer
/// has few answers in a second: there it is the time of two.
fn quiet_after(outcome: &Outcome) -> Duration {
    let answer = if outcome.class == Class::Rejected { outcome.duration } else { Duration::ZERO };
    limits::CIRCUIT_QUIET.max(answer.saturating_mul(2))
}

fn asked(outcome: &Outcome) -> Duration {
    outcome.retry_after.filter(|_| outcome.class.heeds_retry_after()).unwrap_or_default()
}

fn words(outcome: &Outcome) -> String {
    match (&outcome.error, outcome.status) {
        (Some(error), _) => error.to_string(),
        (None, Some(status)) => format!("answered {status}"),
        (None, None) => outcome.class.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests;
