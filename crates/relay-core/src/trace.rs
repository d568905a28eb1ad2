//! Traces: which events a collector hears of, and what it is told of their way, made of what is known once a step is over.
//!
//! Nothing of it is stored. The trace is the one that the sender names in `traceparent` (W3C Trace Context), else the event's id;
//! whether it is told follows from that, and the ids of spans from those of events, deliveries and leases. So every server, and each
//! after its restart, says the same of an event that another one took in.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{
    delivery::{State, Token, outcome::Class},
    id::{DeliveryId, EventId},
    mixed::mixed_bytes,
    name::Name,
    time::Wall,
};

/// The header field that a trace is passed on in.
pub const TRACEPARENT: &str = "traceparent";

/// The flag of a trace that is told.
const SAMPLED: u8 = 1;
/// The flag of an id that was made at random.
const RANDOM: u8 = 2;

/// Names a trace: never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// Names a span of it: never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl SpanId {
    /// Of a step of what has these ids: the same for the same.
    fn of(step: u8, ids: &[&[u8]]) -> Self {
        Self(mixed_bytes(&[&[step], ids.concat().as_slice()].concat()).max(1))
    }
}

/// Where in a trace something happens, as it is passed on: the trace, the span it happens in, and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    flags: u8,
}

impl TraceContext {
    /// Bytes of it on the wire: the trace's id, the span's and the flags.
    pub const BYTES: usize = 25;

    /// What a sender says in its header fields, if it says that once and right.
    pub fn of_headers(headers: &[(Bytes, Bytes)]) -> Option<Self> {
        let mut values = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(TRACEPARENT.as_bytes()));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Self::read(value),
            _ => None,
        }
    }

    /// Reads `00-TRACE-SPAN-FLAGS`; of a later version what this one has in common with it.
    fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
        let mut parts = text.splitn(5, '-');
        let version = hex(parts.next()?, 2)?;
        let (trace, span, flags) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
        let is_version = version != 0xff && (version > 0 || parts.next().is_none());
        (is_version && trace != 0 && span != 0).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span as u64),
            flags: flags as u8,
        })
    }

    /// From its bytes on the wire; `None` if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (trace, rest) = bytes.split_first_chunk::<16>()?;
        let (span, flags) = rest.split_first_chunk::<8>()?;
        let (trace, span) = (u128::from_be_bytes(*trace), u64::from_be_bytes(*span));
        (trace != 0 && span != 0).then_some(Self { trace: TraceId(trace), span: SpanId(span), flags: *flags.first()? })
    }

    /// Whether both are in one trace.
    pub fn is_of_the_trace_of(self, other: Self) -> bool {
        self.trace == other.trace
    }

    /// Its bytes on the wire.
    pub fn to_bytes(self) -> Bytes {
        [&self.trace.0.to_be_bytes()[..], &self.span.0.to_be_bytes(), &[self.flags]].concat().into()
    }
}

/// As it stands in a header field.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// A number of so many digits, in small letters, as the field has them.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let fits = text.len() == digits && text.bytes().all(is_hex);
    u128::from_str_radix(text, 16).ok().filter(|_| fits)
}

/// Which events are told: those whose sender says so of its trace, and of those that say nothing a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Of 2^64.
    share: u128,
}

impl Sampling {
    /// A share from 0 to 1; `None` for another number.
    pub fn of_share(share: f64) -> Option<Self> {
        const ALL: f64 = 18_446_744_073_709_551_616.0;
        (0.0..=1.0).contains(&share).then_some(Self { share: (share * ALL) as u128 })
    }

    /// The trace of an event that came with these header fields, if it is told.
    pub fn trace_of(self, event: EventId, headers: &[(Bytes, Bytes)]) -> Option<Trace> {
        self.trace_under(event, TraceContext::of_headers(headers))
    }

    /// The same, where it is known what its sender says.
    pub fn trace_under(self, event: EventId, sender: Option<TraceContext>) -> Option<Trace> {
        let Some(sender) = sender else {
            let is_told = u128::from(mixed_bytes(&event.as_u128().to_be_bytes())) < self.share;
            return is_told.then_some(Trace { id: TraceId(event.as_u128().max(1)), parent: None, flags: SAMPLED });
        };
        let flags = sender.flags & (SAMPLED | RANDOM);
        (flags & SAMPLED != 0).then_some(Trace { id: sender.trace, parent: Some(sender.span), flags })
    }
}

/// The trace that an event is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: TraceId,
    /// The sender's span.
    parent: Option<SpanId>,
    flags: u8,
}

impl Trace {
    /// What a destination is told whose parent is to be the try under this lease.
    pub fn of_try(self, delivery: DeliveryId, lease: Token) -> TraceContext {
        TraceContext { trace: self.id, span: step_of_lease(FORWARD, delivery, lease), flags: self.flags }
    }
}

/// Steps, as they go into the ids of their spans: never change one.
const ACCEPT: u8 = 1;
const COMMIT: u8 = 2;
const WAIT: u8 = 3;
const FORWARD: u8 = 4;

fn step_of_event(step: u8, event: EventId) -> SpanId {
    SpanId::of(step, &[&event.as_u128().to_be_bytes()])
}

fn step_of_lease(step: u8, delivery: DeliveryId, lease: Token) -> SpanId {
    let (delivery, counter, nonce) =
        (delivery.as_u128().to_be_bytes(), lease.counter.to_be_bytes(), lease.nonce.to_be_bytes());
    SpanId::of(step, &[&delivery, &counter, &nonce])
}

/// A span: one step, from when to when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Of which trace.
    pub trace: TraceId,
    /// Its own id.
    pub id: SpanId,
    /// The span that it is part of, or follows from.
    pub parent: Option<SpanId>,
    /// What is done.
    pub name: &'static str,
    /// Whom it concerns.
    pub side: Side,
    /// Since when.
    pub begun: Wall,
    /// Until when: not before.
    pub ended: Wall,
    /// What more is known of it.
    pub facts: Vec<(&'static str, Fact)>,
    /// It failed, and why.
    pub failed: Option<String>,
}

/// Whom a span concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Somebody outside asked for it.
    Server,
    /// Nobody outside.
    Internal,
    /// Somebody outside is asked.
    Client,
}

/// A value that is known of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
}

/// A webhook that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// Its trace.
    pub trace: Trace,
    /// Its event.
    pub event: EventId,
    /// Its source.
    pub source: Name,
    /// When its head was there.
    pub begun: Wall,
    /// When it went to the store.
    pub asked: Wall,
    /// When it was known to be durable.
    pub durable: Wall,
    /// When it was answered.
    pub ended: Wall,
    /// With this status.
    pub status: u16,
}

/// A try that was reported, and is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The trace of its event.
    pub trace: Trace,
    /// Its event.
    pub event: EventId,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// The lease under which it was made.
    pub lease: Token,
    /// Where to.
    pub destination: Name,
    /// The client's name for people.
    pub client: String,
    /// `Relay-Attempt`.
    pub attempt: u32,
    /// From when on it could be made.
    pub due: Wall,
    /// Since when it was leased.
    pub leased: Wall,
    /// When its outcome was heard.
    pub ended: Wall,
    /// How long the client says that it took.
    pub took: Duration,
    /// What came of it.
    pub class: Class,
    /// The target's status, if it gave one.
    pub status: Option<u16>,
    /// What went wrong, in words.
    pub error: Option<Box<str>>,
    /// What its delivery is by now.
    pub state: State,
}

/// What a collector hears of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// A webhook was taken in.
    Accepted(Box<Acceptance>),
    /// It was forwarded, or that failed.
    Forwarded(Box<Forwarded>),
}

impl Traced {
    /// How many spans tell of each.
    pub const SPANS: usize = 2;

    /// The spans that tell it.
    pub fn spans(&self) -> [Span; Self::SPANS] {
        match self {
            Self::Accepted(acceptance) => acceptance.spans(),
            Self::Forwarded(forwarded) => forwarded.spans(),
        }
    }
}

impl Acceptance {
    /// Taking it in, and its commit within that.
    fn spans(&self) -> [Span; Traced::SPANS] {
        let Self { trace, event, begun, asked, durable, ended, status, .. } = *self;
        let id = step_of_event(ACCEPT, event);
        let accept = Span {
            trace: trace.id,
            id,
            parent: trace.parent,
            name: "accept",
            side: Side::Server,
            begun,
            ended: ended.max(begun),
            facts: vec![
                ("crm_relay.event_id", Fact::Text(event.to_string())),
                ("crm_relay.source", Fact::Text(self.source.to_string())),
                ("http.response.status_code", Fact::Number(status.into())),
            ],
            failed: None,
        };
        let commit = Span {
            id: step_of_event(COMMIT, event),
            parent: Some(id),
            name: "commit",
            side: Side::Internal,
            begun: asked,
            ended: durable.max(asked),
            facts: Vec::new(),
            ..accept.clone()
        };
        [accept, commit]
    }
}

impl Forwarded {
    /// Waiting for a client, and the try.
    fn spans(&self) -> [Span; Traced::SPANS] {
        let Self { trace, event, delivery, lease, due, leased, ended, .. } = *self;
        let parent = Some(step_of_event(ACCEPT, event));
        let of_delivery = || {
            vec![
                ("crm_relay.delivery_id", Fact::Text(delivery.to_string())),
                ("crm_relay.destination", Fact::Text(self.destination.to_string())),
                ("crm_relay.attempt", Fact::Number(self.attempt.into())),
            ]
        };
        let wait = Span {
            trace: trace.id,
            id: step_of_lease(WAIT, delivery, lease),
            parent,
            name: "wait",
            side: Side::Internal,
            begun: due.min(leased),
            ended: leased,
            facts: of_delivery(),
            failed: None,
        };
        let mut facts = of_delivery();
        facts.extend([
            ("crm_relay.event_id", Fact::Text(event.to_string())),
            ("crm_relay.client", Fact::Text(self.client.clone())),
            ("crm_relay.class", Fact::Text(self.class.as_str().to_owned())),
            ("crm_relay.state", Fact::Text(self.state.as_str().to_owned())),
            ("crm_relay.target_ms", Fact::Number(u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX))),
        ]);
        facts.extend(self.status.map(|status| ("http.response.status_code", Fact::Number(status.into()))));
        let is_delivered = self.class == Class::Delivered;
        let error = || self.error.as_deref().unwrap_or(self.class.as_str()).to_owned();
        let forward = Span {
            id: step_of_lease(FORWARD, delivery, lease),
            name: "forward",
            side: Side::Client,
            begun: leased,
            ended: ended.max(leased),
            facts,
            failed: (!is_delivered).then(error),
            ..wait.clone()
        };
        [wait, forward]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::IdMint;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn fields(values: &[&str]) -> Vec<(Bytes, Bytes)> {
        let field = |value: &&str| (Bytes::from_static(b"traceparent"), Bytes::copy_from_slice(value.as_bytes()));
        values.iter().map(field).collect()
    }

    fn event(seed: u64) -> EventId {
        IdMint::new(0, seed).event(Wall::from_micros(1_700_000_000_000_000))
    }

    fn share(share: f64) -> Sampling {
        Sampling::of_share(share).unwrap()
    }

    #[test]
    fn what_a_sender_says_is_taken_only_if_it_says_that_once_and_right() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be";
        for (value, written) in
            [(SENT, SENT), (&SENT.replace("-01", "-00"), &SENT.replace("-01", "-00")), (later, SENT)]
        {
            let context = TraceContext::of_headers(&fields(&[value])).unwrap();
            assert_eq!(context.to_string(), *written, "{value}");
            assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Some(context));
        }
        for none in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::of_headers(&fields(&[none])), None, "{none}");
        }
        assert_eq!(TraceContext::of_headers(&fields(&[SENT, SENT])), None, "twice is not once");
        assert_eq!(TraceContext::of_headers(&[]), None);
        assert_eq!(TraceContext::from_bytes(&[0; TraceContext::BYTES]), None);
        assert_eq!(TraceContext::from_bytes(&[1; 24]), None);
    }

    #[test]
    fn what_is_told_is_the_senders_to_say_and_else_a_share() {
        let unsampled = SENT.replace("-01", "-00");
        for share in [share(0.0), share(1.0)] {
            assert!(share.trace_of(event(1), &fields(&[SENT])).is_some());
            assert_eq!(share.trace_of(event(1), &fields(&[&unsampled])), None);
        }
        let told = |share: Sampling| (0..4_000).filter(|seed| share.trace_of(event(*seed), &[]).is_some()).count();
        assert_eq!((told(share(0.0)), told(share(1.0))), (0, 4_000));
        let of_four = told(share(0.25));
        assert!((900..1_100).contains(&of_four), "{of_four}");
        assert_eq!(Sampling::of_share(1.1).or(Sampling::of_share(-0.1)).or(Sampling::of_share(f64::NAN)), None);
    }

    fn acceptance(trace: Trace) -> Traced {
        let at = Wall::from_micros;
        let (begun, asked, durable, ended) = (at(1), at(20), at(30), at(40));
        let source = "shop".parse().unwrap();
        Traced::Accepted(Box::new(Acceptance {
            trace,
            event: event(1),
            source,
            begun,
            asked,
            durable,
            ended,
            status: 202,
        }))
    }

    fn forwarded(trace: Trace, counter: u64, class: Class) -> Traced {
        let at = |micros| Wall::from_micros(micros + 100 * counter as i64);
        Traced::Forwarded(Box::new(Forwarded {
            trace,
            event: event(1),
            delivery: DeliveryId::from_u128(7),
            lease: Token { counter, nonce: 9 },
            destination: "crm".parse().unwrap(),
            client: "desk".into(),
            attempt: counter as u32,
            due: at(1),
            leased: at(2),
            ended: at(3),
            took: Duration::from_millis(5),
            class,
            status: Some(200),
            error: (class != Class::Delivered).then(|| "500 Internal Server Error".into()),
            state: State::Delivered,
        }))
    }

    #[test]
    fn a_way_over_two_tries_is_one_trace_under_its_sender() {
        let trace = share(0.0).trace_of(event(1), &fields(&[SENT])).unwrap();
        let told = [acceptance(trace), forwarded(trace, 1, Class::Rejected), forwarded(trace, 2, Class::Delivered)];
        let spans: Vec<Span> = told.iter().flat_map(Traced::spans).collect();
        let names: Vec<&str> = spans.iter().map(|span| span.name).collect();
        assert_eq!(names, ["accept", "commit", "wait", "forward", "wait", "forward"]);
        assert!(spans.iter().all(|span| span.trace.to_string() == SENT[3..35] && span.begun <= span.ended));
        let ids: std::collections::HashSet<SpanId> = spans.iter().map(|span| span.id).collect();
        assert_eq!(ids.len(), 6, "each has its own id");
        assert_eq!(spans[0].parent.unwrap().to_string(), SENT[36..52]);
        assert!(spans[1..].iter().all(|span| span.parent == Some(spans[0].id)));
        let failed: Vec<Option<&str>> = spans.iter().map(|span| span.failed.as_deref()).collect();
        assert_eq!(failed, [None, None, None, Some("500 Internal Server Error"), None, None]);
    }

    /// What a target is told is the span that is told of its try, whoever reckons it.
    #[test]
    fn the_parent_that_a_target_gets_is_the_span_of_its_try() {
        let trace = share(1.0).trace_of(event(1), &[]).unwrap();
        let [_, forward] = forwarded(trace, 3, Class::Delivered).spans();
        let passed = trace.of_try(DeliveryId::from_u128(7), Token { counter: 3, nonce: 9 });
        assert_eq!(passed.to_string(), format!("00-{}-{}-01", forward.trace, forward.id));
        assert_eq!(forward.trace.to_string(), format!("{:032x}", event(1).as_u128()));
        // Another version reckons the same.
        assert_eq!(passed.span, SpanId(0xc3b4_a2b9_61f4_c822), "{:#x}", passed.span.0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_context_or_none(value: Vec<u8>) {
            let read = TraceContext::of_headers(&[(Bytes::from_static(b"Traceparent"), Bytes::from(value.clone()))]);
            prop_assert!(read.is_none_or(|context| TraceContext::read(context.to_string().as_bytes()) == Some(context)));
            let bytes = TraceContext::from_bytes(&value);
            prop_assert!(bytes.is_none_or(|context| context.to_bytes() == value));
        }
    }
}
