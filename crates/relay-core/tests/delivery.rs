//! The transitions of a delivery against a reference that keeps only what the contract speaks of. Every case is a seed; a
//! failure names it.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use relay_core::{
    delivery::{
        self, Change, Claim, Delivery, Reason, State, Terms, Token,
        outcome::{Class, Outcome},
        retry::{RetryPolicy, Schedule},
    },
    id::{DeliveryId, EventId, InstanceId},
    limits,
    name::Name,
    time::Wall,
};

/// When every case begins.
const START: Wall = Wall::from_micros(1_700_000_000_000_000);
const TTL: Duration = Duration::from_hours(1);
const UNCOUNTED_DELAY_MAX: Duration = Duration::from_secs(40);
const RETRY_AFTER_MAX: Duration = Duration::from_mins(20);

fn name(text: &str) -> Name {
    text.parse().expect("names in tests are names")
}

/// An outcome of a class with a fitting status.
fn outcome(class: Class) -> Outcome {
    let status = match class {
        Class::Delivered => Some(200),
        Class::Rejected => Some(500),
        Class::Refused => Some(422),
        Class::Busy | Class::Unreachable => None,
    };
    let duration = Duration::from_millis(20);
    Outcome { class, status, retry_after: None, duration, error: Some(class.as_str().into()), answer: None }
}

/// What the contract says of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    state: State,
    reason: Option<Reason>,
    counted: u32,
    tries: u32,
    losses: u32,
    /// Leases that ended without a word and are not counted as lost.
    unheard: u32,
    /// How many the destination had ever got when its previous failed try was reported.
    seen: Option<u64>,
    leases: u64,
    expires_at: Wall,
    /// What it was before it was redriven.
    was: Option<(State, Option<Reason>)>,
}

impl Reference {
    fn end(&mut self, state: State, reason: Option<Reason>) {
        (self.state, self.reason) = (state, reason);
    }

    fn back(&mut self, now: Wall) {
        if now >= self.expires_at {
            self.end(State::Expired, Some(Reason::Expired));
        } else {
            self.end(State::Ready, None);
        }
    }

    fn lose(&mut self) {
        self.losses += 1;
        if self.losses >= limits::LOSSES_MAX && matches!(self.state, State::Ready | State::Scheduled) {
            self.end(State::Dead, Some(Reason::LostLeases));
        }
    }

    fn report(&mut self, current: bool, reported: &Outcome, charges: bool, delivered: u64, retries: u32, now: Wall) {
        let class = reported.class;
        if class == Class::Delivered {
            if !matches!(self.state, State::Delivered | State::Cancelled) {
                self.end(State::Delivered, None);
                self.counted += 1;
                self.tries += 1;
            }
            return;
        }
        if !current || self.state != State::Leased {
            return;
        }
        let counts = match class {
            Class::Refused => true,
            Class::Rejected => charges,
            Class::Busy => {
                let others = charges && self.seen.is_some_and(|seen| delivered > seen);
                let patient = match reported.status {
                    None => true,
                    Some(429) => false,
                    Some(_) => self.tries >= 7,
                };
                others && patient
            }
            Class::Unreachable | Class::Delivered => false,
        };
        self.tries += 1;
        self.counted += u32::from(counts);
        self.seen = Some(delivered);
        if now >= self.expires_at {
            self.end(State::Expired, Some(Reason::Expired));
        } else if counts && self.counted == retries + 1 {
            let reason = match class {
                Class::Busy => Reason::Busy,
                Class::Refused => Reason::Refused,
                _ => Reason::Rejected,
            };
            self.end(State::Dead, Some(reason));
        } else {
            self.end(State::Scheduled, None);
        }
    }
}

/// The delivery and its reference, side by side.
struct Pair {
    record: Delivery,
    reference: Reference,
    now: Wall,
    delivered: u64,
    tokens: Vec<Token>,
    archived: Vec<u32>,
    /// Numbers of the tries that may have been made since it became ready; of a lease, that of its try.
    made: Vec<u32>,
    number: u32,
    rng: StdRng,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let record = ready(&mut rng);
        let reference = Reference {
            state: State::Ready,
            reason: None,
            counted: 0,
            tries: 0,
            losses: 0,
            seen: None,
            unheard: 0,
            leases: 0,
            expires_at: record.expires_at,
            was: None,
        };
        Self {
            record,
            reference,
            now: START,
            delivered: 0,
            tokens: Vec::new(),
            archived: Vec::new(),
            made: Vec::new(),
            number: 0,
            rng,
        }
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_secs(self.rng.random_range(0..120));
        self.delivered += self.rng.random_range(0..2);
        match self.rng.random_range(0..10) {
            0..=2 => self.lease(),
            3..=5 => self.report(),
            6 => self.end_lease(),
            7 => {
                let due = matches!(self.record.state, State::Ready | State::Scheduled)
                    && self.now >= self.reference.expires_at;
                if due {
                    self.reference.end(State::Expired, Some(Reason::Expired));
                }
                let change = delivery::expire(&self.record, self.now);
                self.apply(change);
            }
            8 if self.record.state.is_open() && self.rng.random_ratio(1, 20) => {
                let (state, reason) = self.reference.was.unwrap_or((State::Cancelled, None));
                self.reference.end(state, reason);
                self.apply(Some(delivery::cancel(&self.record, self.now)));
            }
            _ => self.redrive(),
        }
    }

    fn lease(&mut self) {
        let waits = matches!(self.record.state, State::Ready | State::Scheduled);
        if !waits || self.record.due_at > self.now || self.record.expires_at <= self.now {
            return;
        }
        let until = self.now + limits::LEASE;
        self.number = self.record.next_attempt();
        self.record = delivery::leased(&self.record, InstanceId::from_u128(1), self.rng.random(), self.now, until);
        self.tokens.push(self.record.token);
        self.reference.leases += 1;
        self.reference.end(State::Leased, None);
    }

    fn report(&mut self) {
        let Some(token) = self.tokens.choose(&mut self.rng).copied() else { return };
        let classes = [Class::Delivered, Class::Rejected, Class::Refused, Class::Busy, Class::Busy, Class::Unreachable];
        let class = *classes.choose(&mut self.rng).expect("there are six");
        let mut reported: Outcome = outcome(class);
        if class == Class::Busy {
            reported.status = *[None, Some(429), Some(503)].choose(&mut self.rng).expect("there are three");
        }
        if self.rng.random() {
            reported.retry_after = Some(Duration::from_secs(self.rng.random_range(0..4_000)));
        }
        let retry = RetryPolicy {
            max_retries: 2,
            schedule: Schedule::Exponential { delay: Duration::from_secs(10), multiplier: 3.0 },
        };
        let charges = !self.rng.random_ratio(1, 8);
        let jitter = self.rng.random_range(-1.0..=1.0);
        let terms = Terms {
            retry: &retry,
            retry_after_max: RETRY_AFTER_MAX,
            uncounted_delay_max: UNCOUNTED_DELAY_MAX,
            delivered: self.delivered,
            charges,
            jitter,
        };
        let current = token == self.record.token;
        if current && self.record.state == State::Leased {
            self.made.push(self.number);
        }
        let before = self.record.attempts;
        self.reference.report(current, &reported, charges, self.delivered, retry.max_retries, self.now);
        let change = delivery::settle(&self.record, token, &reported, &terms, self.now);
        self.apply(change);
        if self.record.state == State::Scheduled && current && self.record.changed_at == self.now {
            let counted = self.record.attempts > before;
            self.check_delay(counted, &retry, &reported);
        }
        let again = delivery::settle(&self.record, token, &reported, &terms, self.now);
        assert_eq!(again, None, "I7: settling is idempotent");
    }

    fn check_delay(&self, counted: bool, retry: &RetryPolicy, reported: &Outcome) {
        if self.record.last.as_ref().is_none_or(|last| last.at != self.now) {
            return;
        }
        let n = if counted { self.record.attempts } else { self.record.tries };
        let planned = retry.schedule.delay(n).as_secs_f64();
        let planned = if counted { planned } else { planned.min(UNCOUNTED_DELAY_MAX.as_secs_f64()) };
        let asked = match reported.class {
            Class::Refused | Class::Rejected | Class::Busy => {
                reported.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)
            }
            Class::Delivered | Class::Unreachable => Duration::ZERO,
        };
        let delay = self.record.due_at.since(self.now).as_secs_f64();
        let (least, most) = ((planned * 0.9).max(asked.as_secs_f64()), (planned * 1.1).max(asked.as_secs_f64()));
        assert!((least - 0.001..=most + 0.001).contains(&delay), "{delay} s is not within {least} and {most}");
    }

    fn end_lease(&mut self) {
        let Some(token) = self.tokens.choose(&mut self.rng).copied() else { return };
        let current = token == self.record.token && self.record.state == State::Leased;
        let change = match self.rng.random_range(0..4) {
            0 => {
                if current {
                    self.reference.back(self.now);
                }
                delivery::hand_back(&self.record, Claim::by_taker(token), self.now)
            }
            1 => {
                if current {
                    self.made.push(self.number);
                    self.reference.back(self.now);
                    self.reference.unheard += 1;
                }
                delivery::end_unheard(&self.record, Claim::by_taker(token), self.now)
            }
            2 => {
                if current {
                    self.made.push(self.number);
                    self.reference.back(self.now);
                    self.reference.lose();
                }
                delivery::lose(&self.record, Claim::by_taker(token), self.now)
            }
            _ => {
                // Counted twice, for its answer was lost, it counts once.
                if self.record.state.is_open() && self.reference.unheard > 0 {
                    self.reference.unheard -= 1;
                    self.reference.lose();
                }
                delivery::count_loss(&self.record, self.record.ready_at, self.now)
            }
        };
        self.apply(change);
    }

    fn redrive(&mut self) {
        if !matches!(self.record.state, State::Dead | State::Expired) {
            return;
        }
        let Reference { leases, state, reason, .. } = self.reference;
        self.reference = Reference { leases, was: Some((state, reason)), ..Pair::new(0).reference };
        self.reference.expires_at = self.now + TTL;
        self.made.clear();
        self.apply(Some(delivery::redrive(&self.record, self.now, TTL)));
    }

    fn apply(&mut self, change: Option<Change>) {
        let Some(Change { before, next, archive }) = change else { return };
        assert_eq!(before, self.record);
        assert_eq!(next.version, before.version + 1);
        if let Some(attempt) = archive {
            self.archived.push(before.earlier + attempt.number);
        }
        self.record = next;
    }

    fn check(&self) {
        let Delivery { state, reason, attempts, tries, losses, unheard, mark, token, expires_at, .. } = self.record;
        let reference = Reference {
            state,
            reason,
            counted: attempts,
            tries,
            losses,
            unheard,
            seen: mark,
            leases: token.counter,
            expires_at,
            was: self.reference.was,
        };
        assert_eq!(reference, self.reference);
        assert_eq!(self.record.lease.is_some(), state == State::Leased);
        assert_eq!(reason.is_some(), matches!(state, State::Dead | State::Expired));
        assert!(self.made.is_sorted_by(|a, b| a < b), "I9: tries have numbers of their own: {:?}", self.made);
        assert!(self.archived.is_sorted_by(|a, b| a < b), "attempt records never meet: {:?}", self.archived);
    }
}

fn ready(rng: &mut StdRng) -> Delivery {
    let event = relay_core::event::Event {
        id: EventId::from_u128(rng.random()),
        source: name("src"),
        method: "POST".into(),
        path: "/webhook".into(),
        query: None,
        headers: Vec::new(),
        body: "{}".into(),
        body_sha256: [0; 32],
        received_at: START,
        name: None,
        key: None,
    };
    Delivery::ready(DeliveryId::from_u128(rng.random()), &event, name("crm"), false, START, TTL)
}

/// I7, I10, I11, I12, I13: every transition is the one that the reference makes.
#[test]
fn a_delivery_goes_the_way_of_its_reference() {
    for seed in 0..400 {
        let run = std::panic::catch_unwind(|| {
            let mut pair = Pair::new(seed);
            for _ in 0..150 {
                pair.step();
                pair.check();
            }
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
