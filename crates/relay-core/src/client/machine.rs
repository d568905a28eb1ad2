//! The machine: one session after the other, over what is held.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    DialFailure, Exit, Input, Notice, Output, Served, Setup, View,
    held::{Arrived, Holdings, Violation},
};
use crate::{
    delivery::outcome::Outcome,
    id::DeliveryId,
    limits,
    name::Name,
    time::{Mono, Now},
    wire::{
        codec::{self, LeaseKey},
        message::{self, GoAway, Grant, HeldList, Hello, HelloDestination, LeaseRef, Message, Peers, Release, Welcome},
    },
};

/// Last words of a session that another one follows.
const RENEWS: &str = "the client reads its configuration anew";
/// Last words of a client that stops.
const STOPS: &str = "the client stops";

/// The client's end of the session. Drive it as [`crate`] says; it asks for its first socket at once.
///
/// **Order** After [`Output::Exit`] no input does anything.
#[derive(Debug)]
pub struct Client {
    setup: Setup,
    rng: StdRng,
    link: Link,
    held: Holdings,
    /// Sessions and dials in a row that came to nothing.
    failures: u32,
    stopping: bool,
    /// Whether the token ever let this process in.
    let_in: bool,
    /// Since when it has been refused without a break.
    refused_since: Option<Mono>,
    /// The server said goodbye: why, and how long to stay away.
    leaving: Option<(String, Option<Duration>)>,
    /// The setup to go on with once nothing is held any more, or the session is lost.
    renewal: Option<Box<Setup>>,
    /// Nothing is held any more: until when the server's close is waited for, which says that nothing is on its way either.
    parting: Option<Mono>,
    outputs: VecDeque<Output>,
}

/// Where the link to the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// No socket; the next dial is due then.
    Idle(Mono),
    /// A socket was asked for.
    Dialing,
    /// The Hello is on its way, or its answer is.
    Greeting(HelloWait),
    /// The session is up.
    Up(Up),
    /// The machine has ended.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HelloWait {
    /// When a part of the Hello left last, or a part of its answer came.
    since: Mono,
    /// How long the answer, or more of it, is waited for.
    patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Up {
    since: Mono,
    heartbeat: Duration,
    /// When the last message or part of one arrived: pings of the transport do not count.
    heard: Mono,
    /// When the last heartbeat was sent.
    beat: Mono,
}

impl Client {
    /// A client that holds nothing and dials.
    pub fn new(setup: Setup, _now: Now) -> Self {
        Self {
            rng: StdRng::seed_from_u64(setup.seed),
            link: Link::Dialing,
            held: Holdings::new(&setup),
            setup,
            failures: 0,
            stopping: false,
            let_in: false,
            refused_since: None,
            leaving: None,
            renewal: None,
            parting: None,
            outputs: VecDeque::from([Output::Dial]),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input, now: Now) {
        if self.link == Link::Ended {
            return;
        }
        match input {
            Input::Connected => self.connected(now),
            Input::DialFailed(failure) => self.dial_failed(failure, now),
            Input::Received(message) => self.received(message, now),
            Input::Heard => self.heard(now),
            Input::Taken => self.taken(now),
            Input::Disconnected => self.disconnected(now),
            Input::Forwarded(delivery, outcome) => {
                if let Some((lease, outcome)) = self.held.forwarded(delivery, outcome) {
                    self.report(lease, &outcome);
                }
            }
            Input::Corrupt(delivery) => {
                if self.returns(delivery) {
                    self.outputs.push_back(Output::Notice(Notice::Corrupt(delivery)));
                }
            }
            Input::Unasked(delivery) => _ = self.returns(delivery),
            Input::Renew(setup) => self.renew(setup, now),
            Input::Stop => self.stop(),
        }
        self.go_on(now);
    }

    /// The next thing to do; `None` when nothing is left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let due = match self.link {
            Link::Idle(until) => until,
            Link::Greeting(greeting) => greeting.until(),
            Link::Up(session) => session.next_beat().min(session.dead_at()),
            Link::Dialing | Link::Ended => return None,
        };
        Some(self.parting.map_or(due, |until| until.min(due)))
    }

    /// Does what time makes due; too early is harmless.
    pub fn handle_timeout(&mut self, now: Now) {
        match self.link {
            Link::Idle(until) if now.mono >= until => {
                self.link = Link::Dialing;
                self.outputs.push_back(Output::Dial);
            }
            Link::Greeting(greeting) if now.mono >= greeting.until() => {
                self.hang_up("the server did not answer the Hello", now);
            }
            Link::Up(session) if now.mono >= session.dead_at() => self.hang_up("the server fell silent", now),
            Link::Up(session) if now.mono >= session.next_beat() => {
                self.link = Link::Up(Up { beat: now.mono, ..session });
                self.release_returning();
                let mut held = references(self.held.begun());
                let first = HeldList { held: message::first_of(&mut held) };
                self.send(Message::Extend(first));
                while !held.is_empty() {
                    let next = HeldList { held: message::first_of(&mut held) };
                    self.send(Message::Extend(next));
                }
            }
            Link::Idle(_) | Link::Dialing | Link::Greeting(_) | Link::Up(_) | Link::Ended => {}
        }
        self.go_on(now);
    }

    /// What it holds, and whether it is connected.
    pub fn view(&self) -> View {
        let up = matches!(self.link, Link::Up(_));
        View { up, stopping: self.stopping, destinations: self.held.view() }
    }

    /// The leases that its Hello would name.
    pub fn held(&self) -> impl Iterator<Item = LeaseKey> {
        self.held.all()
    }

    /// Panics if its books contradict each other: for tests and simulation.
    pub fn check_invariants(&self) {
        self.held.check_invariants();
        assert!(
            self.leaving.is_none() || matches!(self.link, Link::Up(_)),
            "only a session that is up can end by goodbye"
        );
        assert!(
            self.parting.is_none() || (self.held.is_empty() && matches!(self.link, Link::Greeting(_) | Link::Up(_))),
            "it parts from a server, holding nothing"
        );
    }

    fn connected(&mut self, now: Now) {
        if self.link != Link::Dialing {
            return;
        }
        let destination = |served: &Served| HelloDestination {
            name: served.name.to_string(),
            slots: served.slots,
            forward_timeout_ms: u32::try_from(served.forward_timeout.as_millis()).unwrap_or(u32::MAX).max(1),
        };
        let hello = Hello {
            instance: Bytes::copy_from_slice(&self.setup.instance.as_u128().to_be_bytes()),
            version: self.setup.version.clone(),
            destinations: self.setup.destinations.iter().map(destination).collect(),
            buffer_bytes: self.setup.buffer_bytes,
            held: references(self.held.all()),
            label: codec::plain(&self.setup.label),
        };
        let hello = Message::Hello(hello);
        self.link = Link::Greeting(HelloWait::begin(&hello, now));
        self.send(hello);
    }

    fn dial_failed(&mut self, failure: DialFailure, now: Now) {
        if self.link != Link::Dialing {
            return;
        }
        match failure {
            DialFailure::TokenRefused if self.may_hope(now) => {
                self.down("the server refuses the token, though it took one before".into(), Some(Duration::ZERO), now);
            }
            DialFailure::TokenRefused => self.exit(Exit::TokenRefused),
            DialFailure::VersionRefused => self.exit(Exit::VersionRefused),
            DialFailure::Later { after, why } => self.down(why, Some(after), now),
            DialFailure::Failed(why) => self.down(why, Some(Duration::ZERO), now),
        }
    }

    /// Whether a refused token may be taken again: it was before, and that is not long ago.
    fn may_hope(&mut self, now: Now) -> bool {
        let since = *self.refused_since.get_or_insert(now.mono);
        self.let_in && !self.stopping && now.mono.since(since) < limits::TOKEN_REFUSED_MAX
    }

    /// A forward came to nothing before its target was asked: its lease goes back at the next heartbeat, so that who meets the
    /// same at once goes in no circles. Whether there is such a forward.
    fn returns(&mut self, delivery: DeliveryId) -> bool {
        let is_there = self.held.returns(delivery);
        if self.is_going() {
            self.release_returning();
        }
        is_there
    }

    fn received(&mut self, message: Message, now: Now) {
        match self.link {
            Link::Greeting(_) => match message {
                Message::Welcome(welcome) => self.welcomed(&welcome, now),
                Message::GoAway(go_away) => {
                    self.outputs.push_back(Output::Hangup);
                    let pause = pause_of(&go_away);
                    self.down(go_away.reason, pause, now);
                }
                Message::Hello(_)
                | Message::Grant(_)
                | Message::Chunk(_)
                | Message::Extend(_)
                | Message::Report(_)
                | Message::Settled(_)
                | Message::Release(_)
                | Message::Peers(_) => self.violated("a message before its Welcome", now),
            },
            Link::Up(session) => {
                self.link = Link::Up(Up { heard: now.mono, ..session });
                if let Err(violation) = self.take(message, now) {
                    self.violated(violation, now);
                }
            }
            // What was on its way when the socket was given up.
            Link::Idle(_) | Link::Dialing | Link::Ended => {}
        }
    }

    /// Part of a message came: over a slow link that takes as long as it takes.
    fn heard(&mut self, now: Now) {
        match &mut self.link {
            Link::Greeting(greeting) => greeting.since = now.mono,
            Link::Up(session) => session.heard = now.mono,
            // What was on its way when the socket was given up.
            Link::Idle(_) | Link::Dialing | Link::Ended => {}
        }
    }

    /// Part of what was said has left: while it is the Hello, there is no answer to wait for yet.
    fn taken(&mut self, now: Now) {
        if let Link::Greeting(greeting) = &mut self.link {
            greeting.since = now.mono;
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, now: Now) {
        if welcome.heartbeat_ms == 0 {
            return self.violated("a Welcome without a heartbeat", now);
        }
        if welcome.destinations.len() > self.setup.destinations.len() {
            return self.violated("a Welcome of more destinations than the Hello named", now);
        }
        (self.let_in, self.refused_since) = (true, None);
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms.into()).max(limits::HEARTBEAT_MIN);
        self.link = Link::Up(Up { since: now.mono, heartbeat, heard: now.mono, beat: now.mono });
        let resumed = welcome.resumed.iter().flat_map(codec::lease_key).collect();
        let unheld = self.held.resume(&resumed);
        let known = |name: &str| self.setup.destinations.iter().find(|served| served.name.as_str() == name);
        let destinations: Vec<(Name, bool, bool, u32)> = welcome
            .destinations
            .iter()
            .filter_map(|said| Some((known(&said.name)?.name.clone(), said.allowed, said.known, said.others)))
            .collect();
        self.outputs.push_back(Output::Notice(Notice::Up { server_version: welcome.version.clone(), destinations }));
        // Also those whose lease is lost: a success still completes the delivery.
        let reports: Vec<_> = self.held.outcomes().map(|(lease, outcome)| codec::report(lease, outcome)).collect();
        for report in reports {
            self.send(Message::Report(report));
        }
        // What was handed back while the Hello was on its way.
        self.release(unheld);
        self.parting = None;
        self.say_goodbye();
    }

    fn take(&mut self, message: Message, now: Now) -> Result<(), Violation> {
        match message {
            Message::Grant(grant) => self.granted(*grant)?,
            Message::Chunk(chunk) => self.held.chunk(&chunk)?,
            Message::Settled(settled) => {
                settled.leases.iter().flat_map(codec::lease_key).for_each(|lease| self.held.settled(lease));
            }
            Message::Release(release) => {
                release.leases.iter().flat_map(codec::lease_key).for_each(|lease| self.held.released(lease));
            }
            Message::GoAway(go_away) => {
                let pause = pause_of(&go_away);
                self.leaving = Some((go_away.reason, pause));
                let unbegun = self.held.hand_back();
                self.release(unbegun);
                if pause.is_none() && self.goes_elsewhere_at_once(now) {
                    self.hang_up("the server sends it elsewhere", now);
                }
            }
            // It was heard, and that is all a heartbeat is for here.
            Message::Extend(_) => {}
            Message::Peers(peers) => self.counted(&peers),
            Message::Hello(_) | Message::Welcome(_) | Message::Report(_) => return Err("a message of the other side"),
        }
        Ok(())
    }

    /// Whether another server may go on with what is at its target, as after a lost socket, so that nothing else waits for that.
    /// Once: where servers send it back and forth, or there is no way but to this one, it stays until all of it is settled.
    fn goes_elsewhere_at_once(&self, now: Now) -> bool {
        let Link::Up(session) = self.link else { return false };
        session.is_good(now) && !self.stopping && self.renewal.is_none()
    }

    /// The server told how many clients serve a destination.
    fn counted(&mut self, peers: &Peers) {
        let served = self.setup.destinations.iter().find(|served| served.name.as_str() == peers.destination);
        if let Some(served) = served {
            let (destination, others) = (served.name.clone(), peers.clients.saturating_sub(1));
            self.outputs.push_back(Output::Notice(Notice::Peers { destination, others }));
        }
    }

    fn granted(&mut self, grant: Grant) -> Result<(), Violation> {
        let Ok(lease) = codec::required_lease(grant.lease.as_ref()) else { return Err("a grant without a lease") };
        if self.is_going() {
            self.held.expect_stray(grant.body_bytes.saturating_sub(grant.body.len() as u64));
            self.release(vec![lease]);
            return Ok(());
        }
        match self.held.grant(grant)? {
            Arrived::Held => {}
            Arrived::Known(outcome) => self.report(lease, &outcome),
        }
        Ok(())
    }

    fn disconnected(&mut self, now: Now) {
        match self.link {
            // It is what was waited for.
            Link::Greeting(_) | Link::Up(_) if self.parting.is_some() => {
                self.link = Link::Idle(now.mono);
                self.go(now);
            }
            Link::Greeting(_) | Link::Up(_) => self.down("the connection was lost".into(), Some(Duration::ZERO), now),
            // The socket was given up already.
            Link::Idle(_) | Link::Dialing | Link::Ended => {}
        }
    }

    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        let unbegun = self.held.hand_back();
        self.release(unbegun);
        self.say_goodbye();
    }

    /// Begins what has a slot, and leaves once nothing is held any more.
    fn go_on(&mut self, now: Now) {
        if self.link == Link::Ended {
            return;
        }
        while let Some(forward) = self.held.begin() {
            self.outputs.push_back(Output::Forward(forward));
        }
        if !self.held.is_empty() {
            return;
        }
        if self.leaving.is_some() && !self.stopping {
            self.hang_up("the server stops", now);
        } else if self.stopping || self.renewal.is_some() {
            self.part(now);
        }
    }

    /// Nothing is held any more, and nothing new is taken. What the server granted before it heard the goodbye is handed back until
    /// the server closes the socket, which says that all of that is back; an older server does not, and is not waited for.
    fn part(&mut self, now: Now) {
        match (self.link, self.parting) {
            (Link::Greeting(_) | Link::Up(_), Some(until)) if now.mono < until => {}
            (Link::Greeting(_) | Link::Up(_), None) => {
                self.parting = Some(now.mono + limits::LAST_WORDS_WITHIN);
                if let Link::Up(_) = self.link {
                    let reason = self.last_words().unwrap_or_default().to_owned();
                    self.send(Message::GoAway(GoAway { reason, done: true, ..GoAway::default() }));
                }
            }
            (Link::Idle(_) | Link::Dialing | Link::Greeting(_) | Link::Up(_) | Link::Ended, _) => self.go(now),
        }
    }

    /// Ends, or begins anew as another instance.
    fn go(&mut self, now: Now) {
        self.parting = None;
        if self.stopping {
            self.exit(Exit::Stopped);
        } else if let Some(setup) = self.renewal.take() {
            self.begin_anew(*setup, now);
        }
    }

    /// Nothing new is begun in this session.
    fn is_going(&self) -> bool {
        self.stopping || self.leaving.is_some() || self.renewal.is_some()
    }

    /// The setup has changed. What runs goes on in the session of the new one, as after a lost socket, and nothing else waits for
    /// it. Where that cannot be, the session ends as at a stop, so that nothing goes out twice.
    fn renew(&mut self, setup: Box<Setup>, now: Now) {
        if self.stopping {
            return;
        }
        let goes_on = self.goes_on_with(&setup);
        match self.link {
            Link::Greeting(_) | Link::Up(_) if !goes_on => {
                let was_told = self.renewal.replace(setup).is_some();
                let unbegun = self.held.hand_back();
                self.release(unbegun);
                if !was_told {
                    self.say_goodbye();
                }
                if let Link::Greeting(greeting) = &mut self.link {
                    greeting.hurry(now);
                }
            }
            Link::Idle(_) | Link::Dialing | Link::Greeting(_) | Link::Up(_) => self.begin_anew(*setup, now),
            Link::Ended => {}
        }
    }

    /// Whether a Hello of this setup can name what runs: it is the same instance, and leaves those forwards the time that they began
    /// with, for the server bounds their leases by what it says.
    fn goes_on_with(&self, setup: &Setup) -> bool {
        let is_up = matches!(self.link, Link::Up(_));
        let cuts = |served: &Served| {
            let then = setup.destinations.iter().find(|then| then.name == served.name);
            then.is_some_and(|then| then.forward_timeout < served.forward_timeout) && self.held.runs_at(&served.name)
        };
        setup.instance == self.setup.instance && !(is_up && self.setup.destinations.iter().any(cuts))
    }

    /// Goes on with another setup, and dials at once: somebody waits to see whether it works.
    fn begin_anew(&mut self, setup: Setup, now: Now) {
        match self.link {
            Link::Dialing | Link::Greeting(_) | Link::Up(_) => self.outputs.push_back(Output::Hangup),
            Link::Idle(_) | Link::Ended => {}
        }
        self.held.disconnected();
        (self.leaving, self.renewal, self.parting) = (None, None, None);
        self.take_over(setup);
        self.failures = 0;
        self.link = Link::Idle(now.mono);
        self.outputs.push_back(Output::Notice(Notice::Renewing));
    }

    fn take_over(&mut self, setup: Setup) {
        self.held.hand_back();
        self.held.reconfigure(&setup);
        self.refused_since = None;
        self.setup = setup;
    }

    fn violated(&mut self, violation: Violation, now: Now) {
        self.hang_up(&format!("the server broke the protocol: {violation}"), now);
    }

    fn hang_up(&mut self, why: &str, now: Now) {
        self.outputs.push_back(Output::Hangup);
        self.down(why.to_owned(), Some(Duration::ZERO), now);
    }

    /// There is no socket: says so, and dials again after a pause of at least `at_least`.
    /// `at_least`: the shortest pause; `None` if another server is there.
    fn down(&mut self, why: String, at_least: Option<Duration>, now: Now) {
        let was_good = match self.link {
            Link::Up(session) => session.is_good(now),
            Link::Idle(_) | Link::Dialing | Link::Greeting(_) | Link::Ended => false,
        };
        let (why, at_least) = self.leaving.take().map_or((why, at_least), |(reason, pause)| (reason, pause));
        self.failures = if was_good { 1 } else { self.failures.saturating_add(1) };
        self.held.disconnected();
        self.parting = None;
        if let Some(setup) = self.renewal.take() {
            self.take_over(*setup);
        }
        let pause = match at_least {
            Some(at_least) => at_least.min(limits::RECONNECT_LATER_MAX) + self.jitter(),
            // Once: servers that send it back and forth are no better than none.
            None if self.failures == 1 => Duration::ZERO,
            None => self.jitter(),
        };
        self.link = Link::Idle(now.mono + pause);
        self.outputs.push_back(Output::Notice(Notice::Down { why, pause, failures: self.failures }));
    }

    /// Full jitter, so that the clients of a server that restarts do not come back all at once.
    fn jitter(&mut self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        let bound = limits::RECONNECT_PAUSE_FIRST.saturating_mul(doubled).min(limits::RECONNECT_PAUSE_MAX);
        Duration::from_micros(self.rng.random_range(0..=bound.as_micros() as u64))
    }

    /// Reports an outcome if the session is up; else the next Welcome brings it.
    fn report(&mut self, lease: LeaseKey, outcome: &Outcome) {
        if matches!(self.link, Link::Up(_)) {
            self.send(Message::Report(codec::report(lease, outcome)));
        }
    }

    /// Hands leases back if the session is up; else they are missing from the next Hello, which says the same.
    fn release(&mut self, leases: Vec<LeaseKey>) {
        let mut leases = references(leases.into_iter());
        while !leases.is_empty() && matches!(self.link, Link::Up(_)) {
            let first = message::first_of(&mut leases);
            self.send(Message::Release(Release { leases: first }));
        }
    }

    /// At heartbeats only, so that a body that is damaged in the store does not go back and forth without a pause.
    fn release_returning(&mut self) {
        let returning = self.held.take_returning();
        self.release(returning);
    }

    /// Says that nothing new is taken, if that is so and there is something to wait for yet: see [`Self::part`].
    fn say_goodbye(&mut self) {
        if let Some(reason) = self.last_words().filter(|_| !self.held.is_empty() && matches!(self.link, Link::Up(_))) {
            self.send(Message::GoAway(GoAway { reason: reason.into(), ..GoAway::default() }));
        }
    }

    /// Why this session ends, if it is this end that wants it.
    fn last_words(&self) -> Option<&'static str> {
        if self.stopping { Some(STOPS) } else { self.renewal.as_ref().map(|_| RENEWS) }
    }

    fn exit(&mut self, exit: Exit) {
        if matches!(self.link, Link::Greeting(_) | Link::Up(_)) {
            self.outputs.push_back(Output::Hangup);
        }
        (self.leaving, self.renewal, self.parting) = (None, None, None);
        self.link = Link::Ended;
        self.outputs.push_back(Output::Exit(exit));
    }

    fn send(&mut self, message: Message) {
        self.outputs.push_back(Output::Send(message));
    }
}

impl HelloWait {
    fn begin(hello: &Message, now: Now) -> Self {
        // What the system has taken of it may still be on this side of a slow link, and nobody sees it leave.
        let unseen = hello.encoded_len().min(limits::HELLO_UNSEEN_BYTES) as u32;
        let on_its_way = Duration::from_secs(u64::from(unseen / limits::LINK_BYTES_PER_SECOND_MIN));
        Self { since: now.mono, patience: limits::WELCOME_WAIT + on_its_way }
    }

    /// The setup that was said may be what keeps the server from answering.
    fn hurry(&mut self, now: Now) {
        *self = Self { since: now.mono, patience: limits::LAST_WORDS_WITHIN };
    }

    fn until(self) -> Mono {
        self.since + self.patience
    }
}

impl Up {
    /// Whether it has lived for so long that its server is worth coming back to.
    fn is_good(self, now: Now) -> bool {
        now.mono.since(self.since) >= limits::SESSION_GOOD_AFTER
    }

    fn next_beat(self) -> Mono {
        self.beat + self.heartbeat
    }

    /// A quick heartbeat is for short leases; a server that is busy for a moment is not gone.
    fn dead_at(self) -> Mono {
        self.heard + self.heartbeat.max(limits::HEARTBEAT) * limits::HEARTBEATS_MISSED_MAX
    }
}

fn references(leases: impl Iterator<Item = LeaseKey>) -> Vec<LeaseRef> {
    leases.map(codec::lease_ref).collect()
}

/// How long the server wants it to stay away; `None`: it shall dial another one at once.
fn pause_of(go_away: &GoAway) -> Option<Duration> {
    (!go_away.elsewhere).then(|| Duration::from_millis(go_away.retry_after_ms.into()))
}
