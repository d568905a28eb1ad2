//! Outcome classes: what one try says about the event and about the destination.

use std::{sync::Arc, time::Duration};

use super::answer::Answer;

/// What one try came to. The numbers are stored: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// A complete response head with a 2xx status.
    Delivered = 1,
    /// Any other complete head except those of the other classes; a malformed or oversized head. Says something about the
    /// event or about the destination, nobody knows which. Counts while the circuit is closed.
    Rejected = 2,
    /// Timeout, socket closed before a complete head, or a status that says "not now". Counts only if the destination
    /// served another event since this one's previous try: see [`settle`](fn@super::settle).
    Busy = 3,
    /// Everything before a request could be sent: DNS, refused, TLS. Never counts.
    Unreachable = 4,
    /// The destination has judged this event, and would again: counts always.
    Refused = 5,
}

impl Class {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Delivered, Self::Rejected, Self::Busy, Self::Unreachable, Self::Refused];

    /// Its word in JSON, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }

    /// The class of a complete response head: it follows from the status alone.
    pub fn of_status(status: u16) -> Self {
        match status {
            // Canary: a redirect must not pass for a delivery.
            300..=399 if crate::canary::is("three_xx_success") => Self::Delivered,
            200..=299 => Self::Delivered,
            400 | 409 | 412..=415 | 422 | 424 | 431 => Self::Refused,
            408 | 425 | 429 | 502 | 503 | 504 => Self::Busy,
            _ => Self::Rejected,
        }
    }

    /// The class behind a stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u8 == number)
    }

    /// Whether a `Retry-After` beside it is honoured: where the destination answered, and not with 2xx.
    pub const fn heeds_retry_after(self) -> bool {
        match self {
            Self::Rejected | Self::Busy | Self::Refused => true,
            Self::Delivered | Self::Unreachable => false,
        }
    }
}

/// The outcome of one try, as a client reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its class.
    pub class: Class,
    /// Status of the complete response head, if there was one.
    pub status: Option<u16>,
    /// The answer's `Retry-After`, already in a span from the moment of the answer.
    pub retry_after: Option<Duration>,
    /// How long the try took.
    pub duration: Duration,
    /// What went wrong, in words; no payload, no secret.
    pub error: Option<Box<str>>,
    /// What the destination said with its refusal, if its client tells.
    pub answer: Option<Arc<Answer>>,
}
