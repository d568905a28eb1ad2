//! Producers: what they send, and what they do when nobody says yes.

use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use rand::RngExt as _;
use relay_core::{
    hub::{Accepting, Answer, Input, Ticket},
    id::EventId,
    limits,
    name::Name,
    storage::Dedupe,
};

use crate::{
    plan::pick,
    world::{What, World, micros},
};

/// How the body of an event begins that its target always hangs on.
pub(crate) const POISON: &[u8] = b"poison";
/// What a scenario calls a webhook with a large body.
pub(crate) const LARGE: &str = "large";
/// Bytes of that.
const LARGE_BYTES: usize = 1024 * 1024;
/// Sends of one webhook at most.
const SENDS_MAX: u32 = 5;

/// One webhook of a producer.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) source: Name,
    pub(crate) body: Bytes,
    /// It has a dedupe key, so sending it again is the same event.
    pub(crate) keyed: bool,
    sends: u32,
    /// Sends after the first yes, as some platforms do.
    encores: u32,
    state: State,
    /// What a scenario calls it.
    scripted: Option<&'static str>,
    /// The event that it became.
    event: Option<EventId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    Under,
    Over,
}

impl Sending {
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What a script calls it.
    pub(crate) fn kind(&self) -> &str {
        std::str::from_utf8(&self.body).ok().and_then(|text| text.split(' ').next()).unwrap_or_default()
    }
}

impl World {
    /// Spreads the load over the time of trouble, and a trickle over the time behind it, so that a target which hangs on
    /// one event can be seen to serve others.
    pub(crate) fn plan_load(&mut self) {
        let trouble = micros(self.plan.trouble);
        for number in 0..self.plan.events {
            let at = self.rng.random_range(0..trouble);
            let poison = self.plan.faults.poison && number == 0;
            self.plan_sending(number, at, poison);
        }
        let trickle = if self.plan.faults.poison { 40 } else { 3 };
        for number in 0..trickle {
            let at = trouble + micros(Duration::from_secs(20)) * u64::from(number + 1);
            self.plan_sending(self.plan.events + number, at, false);
        }
    }

    /// Plans one webhook of a scenario.
    pub(crate) fn plan_scripted(&mut self, at: u64, kind: &'static str, source: usize) {
        let sending = self.sendings.len();
        let mut body = format!("{kind} webhook {sending}").into_bytes();
        if kind == LARGE {
            body.resize(LARGE_BYTES, b'.');
        }
        let body = Bytes::from(body);
        let source = self.plan.sources[source].clone();
        let state = State::Waits;
        self.sendings.push(Sending {
            source,
            body,
            keyed: false,
            sends: 0,
            encores: 0,
            state,
            scripted: Some(kind),
            event: None,
        });
        self.at(at, What::Send { sending });
    }

    /// The kinds of all scripted events that were accepted.
    pub(crate) fn scripted(&self) -> BTreeMap<EventId, &'static str> {
        let known = |sending: &Sending| Some((sending.event?, sending.scripted?));
        self.sendings.iter().filter_map(known).collect()
    }

    fn plan_sending(&mut self, number: u32, at: u64, poison: bool) {
        let often = if self.plan.faults.is_slow() || self.plan.faults.crawlers { 0.6 } else { 0.1 };
        let large = self.plan.faults.large_bodies && self.rng.random_bool(often);
        let length = if large { self.rng.random_range(10_000..=300_000) } else { self.rng.random_range(0..=60) };
        let mut body = if poison { POISON.to_vec() } else { Vec::new() };
        body.extend_from_slice(format!("webhook {number} ").as_bytes());
        body.resize(body.len() + length, b'.');
        let keyed = self.rng.random_bool(0.6);
        let encores = if keyed && self.rng.random_bool(0.3) { self.rng.random_range(1..=2) } else { 0 };
        let source = pick(&mut self.rng, &self.plan.sources).clone();
        self.sendings.push(Sending {
            source,
            body: body.into(),
            keyed,
            sends: 0,
            encores,
            state: State::Waits,
            scripted: None,
            event: None,
        });
        let sending = self.sendings.len() - 1;
        self.at(at, What::Send { sending });
    }

    pub(crate) fn send(&mut self, number: usize) {
        self.turn_to_some();
        self.send_here(number);
        // Some platforms, and those before them, send a webhook twice at once.
        if self.sendings[number].keyed && self.plan.servers > 1 && self.several.random_bool(0.2) {
            self.turn_to_some();
            self.send_here(number);
        }
    }

    fn send_here(&mut self, number: usize) {
        let sending = &mut self.sendings[number];
        sending.sends += 1;
        sending.state = State::Under;
        let sends = sending.sends;
        let Some(skew) = self.server.as_ref().map(|server| server.skew + server.apart) else {
            return self.went_unanswered(number);
        };
        let wall = self.wall(skew);
        let sending = &self.sendings[number];
        let dedupe =
            sending.keyed.then(|| Dedupe { key: dedupe_key(number as u32), until: wall + limits::DEDUPE_WINDOW });
        let request = Accepting {
            source: sending.source.clone(),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from(format!("/webhook/{}/a%2Fb", sending.source)),
            query: number.is_multiple_of(2).then(|| Bytes::from_static(b"x=1&x=2")),
            headers: vec![
                (Bytes::from_static(b"x-number"), Bytes::from(number.to_string())),
                (Bytes::from_static(b"x-number"), Bytes::from_static(b"\xff\x00\x80")),
            ],
            body_sha256: sha256(&sending.body),
            body: self.intake.body(&sending.body),
            received_at: wall,
            name: number.is_multiple_of(3).then(|| "invoice.paid".into()),
            key: None,
            dedupe,
            // Every third sender never tries again by itself.
            resend: number.is_multiple_of(3),
            deadline: wall + Duration::from_millis(2_500),
        };
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let epoch = self.server.as_ref().map_or(0, |server| server.epoch);
        self.tickets.insert(ticket, (number, epoch));
        self.tell(format_args!("webhook {number} is sent, time {sends}"));
        self.server_handles(Input::Accept { ticket, request: Box::new(request) });
    }

    pub(crate) fn answered(&mut self, ticket: Ticket, answer: &Answer) {
        let Some((number, _)) = self.tickets.remove(&ticket) else { return };
        self.tell(format_args!("webhook {number} is answered {answer:?}"));
        let key = self.sendings[number].keyed.then_some(number as u32);
        self.oracle.answered(key, answer, &self.store);
        let alone = !self.tickets.values().any(|(other, _)| *other == number);
        self.oracle.refused(number, alone, answer, &self.store);
        match answer {
            Answer::Accepted { event, .. } => {
                let sending = &mut self.sendings[number];
                sending.event = Some(*event);
                sending.state = State::Over;
                if sending.encores > 0 {
                    sending.encores -= 1;
                    self.send_again(number, 60_000);
                }
            }
            Answer::Unavailable | Answer::NotStored(_) | Answer::Busy | Answer::Full | Answer::Stopping => {
                self.went_unanswered(number);
            }
        }
    }

    /// No yes: the producer tries again later, or gives up.
    pub(crate) fn went_unanswered(&mut self, number: usize) {
        if self.sendings[number].sends < SENDS_MAX {
            self.send_again(number, 30_000);
        } else {
            self.sendings[number].state = State::Over;
        }
    }

    fn send_again(&mut self, number: usize, within_millis: u64) {
        self.sendings[number].state = State::Waits;
        let pause = self.some_millis(within_millis);
        self.after(pause, What::Send { sending: number });
    }
}

/// The dedupe key of a webhook with one.
pub(crate) fn dedupe_key(number: u32) -> [u8; 32] {
    sha256(&u64::from(number).to_be_bytes())
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
