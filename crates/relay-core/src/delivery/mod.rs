//! The delivery: one event on its way along one route, and every transition it can make.
//!
//! The functions here are the only place that decides what becomes of a delivery. They take the record as stored and
//! what happened, and give back the [`Change`] that a store applies if nobody else was faster.
//!
//! ```text
//!            lease                settle 2xx
//!  ready ----------> leased --------------------> delivered
//!    ^ ^               |  \----- dead(reason) <---- redrive ----.
//!    | | due           |   \---- expired (TTL)  <-- redrive --. |
//!    | scheduled <-----'                                      | |
//!    '--------------------------------------------------------'-'
//! ```

pub mod alike;
pub mod answer;
mod change;
mod ending;
mod lease;
pub mod outcome;
mod resend;
pub mod retry;
mod settle;
#[cfg(test)]
mod tests;

pub use change::Change;
pub use ending::{cancel, expire, give_up, is_over_for_good, redrive};
pub use lease::{Claim, adopt, count_loss, end_unheard, extended, hand_back, lapse, lapsed_by, leased, lose};
pub use resend::{is_delivered, is_over, may_be_resent};
pub use settle::{Terms, settle};

use std::sync::Arc;

use self::answer::Answer;
use crate::{
    id::{DeliveryId, EventId, InstanceId},
    limits,
    name::Name,
    time::Wall,
};

/// Where a delivery stands. The numbers are stored: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Due, waiting for a client with credit.
    Ready = 1,
    /// Waits for its due time after a failed try.
    Scheduled = 2,
    /// A client holds a fenced claim on it.
    Leased = 3,
    /// The destination answered 2xx, and that is durable. An end.
    Delivered = 4,
    /// Given up, with a [`Reason`]. An end, until redriven.
    Dead = 5,
    /// Its TTL passed without success. An end, until redriven.
    Expired = 6,
    /// An operator cancelled it. An end.
    Cancelled = 7,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Ready, Self::Scheduled, Self::Leased, Self::Delivered, Self::Dead, Self::Expired, Self::Cancelled];

    /// Those of dead letters: what ended in one of them can be redriven.
    pub const DEAD_LETTER: [Self; 2] = [Self::Dead, Self::Expired];

    /// The state behind a stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// Its word in JSON, metrics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Scheduled => "scheduled",
            Self::Leased => "leased",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it still has a way to go: ready, scheduled or leased.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Ready | Self::Scheduled | Self::Leased => true,
            Self::Delivered | Self::Dead | Self::Expired | Self::Cancelled => false,
        }
    }

    /// Whether it ended without success, and has a [`Reason`]: see [`Self::DEAD_LETTER`].
    pub const fn is_dead_letter(self) -> bool {
        match self {
            Self::Dead | Self::Expired => true,
            Self::Ready | Self::Scheduled | Self::Leased | Self::Delivered | Self::Cancelled => false,
        }
    }
}

/// Why a delivery ended without success. The numbers are stored: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The destination answered, and not with 2xx, more often than the route retries.
    Rejected = 1,
    /// The destination hung or was overloaded by this event while it served others.
    Busy = 2,
    /// Its leases were lost too often: see [`LOSSES_MAX`](crate::limits::LOSSES_MAX).
    LostLeases = 3,
    /// Its TTL passed.
    Expired = 4,
    /// The destination judged the event itself, and would not have it, more often than the route retries.
    Refused = 5,
}

impl Reason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Rejected, Self::Busy, Self::LostLeases, Self::Expired, Self::Refused];

    /// Its word in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Busy => "busy",
            Self::LostLeases => "lost_leases",
            Self::Expired => "expired",
            Self::Refused => "refused",
        }
    }

    /// The reason behind a stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }
}

/// A fence: proves that a report belongs to the lease it speaks of. Compared for equality, never for order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Leases of this delivery so far; goes up by one with each.
    pub counter: u64,
    /// Random number of the leasing server, so that a counter of a lost branch of history never matches.
    pub nonce: u64,
}

/// A time-boxed, fenced claim of one client instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub instance: InstanceId,
    /// The run of a server that keeps it, by the nonce of its hub: the one that leased it, until another adopts it.
    pub keeper: u64,
    /// When it began.
    pub since: Wall,
    /// When it ends unless extended.
    pub until: Wall,
}

/// What one HTTP try came to, as shown to operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 + tries reported or lost before it: what the target saw as `Relay-Attempt`.
    pub number: u32,
    /// When the server learned of it.
    pub at: Wall,
    /// How long the try took.
    pub duration_ms: u64,
    /// HTTP status, if a complete response head arrived.
    pub status: Option<u16>,
    /// The class it fell into.
    pub class: outcome::Class,
    /// Whether it counted against the route's retries.
    pub counted: bool,
    /// What went wrong, in words, at most 500 bytes; never a payload, never a secret.
    pub error: Option<Box<str>>,
    /// What the destination said with its refusal, if its client tells.
    pub answer: Option<Arc<Answer>>,
}

/// One delivery as stored.
///
/// **Order** `version` goes up by one with every change, so "the record I decided on is still the one stored" is one
/// comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The event it carries.
    pub event: EventId,
    /// The source the event came from; with [`Self::destination`] it names the route.
    pub source: Name,
    /// Where it goes.
    pub destination: Name,
    /// Made by a replay of an old event: the target sees `Relay-Replay: true`.
    pub replay: bool,
    /// Body bytes of its event, so that credit can be reckoned without reading the body.
    pub body_bytes: u64,

    /// Goes up by one with every change.
    pub version: u64,
    /// Where it stands.
    pub state: State,
    /// Why it ended; set exactly in [`State::Dead`] and [`State::Expired`].
    pub reason: Option<Reason>,
    /// The fence of the current or last lease.
    pub token: Token,
    /// Set exactly in [`State::Leased`].
    pub lease: Option<Lease>,

    /// Tries that counted, since it became ready.
    pub attempts: u32,
    /// Tries reported, counted or not, since it became ready.
    pub tries: u32,
    /// Leases lost, since it became ready.
    pub losses: u32,
    /// Leases since it became ready that ended without a word, their body perhaps at its client, and that are no losses: its
    /// instance came back, or may still.
    pub unheard: u32,
    /// Tries reported, lost or unheard before it was last redriven: keeps attempt records apart.
    pub earlier: u32,
    /// How many deliveries the destination had ever got when its previous failed try was reported: see [`outcome`].
    pub mark: Option<u64>,
    /// Why it had ended before it was last redriven: what it goes back to if the redrive is cancelled.
    pub redriven_from: Option<Reason>,

    /// When it was made: a redrive changes nothing about that.
    pub made_at: Wall,
    /// When it became ready (accepted, redriven, replayed): the TTL counts from here.
    pub ready_at: Wall,
    /// Not leased before this.
    pub due_at: Wall,
    /// Without success by then, it expires.
    pub expires_at: Wall,
    /// When it reached the state it is in.
    pub changed_at: Wall,
    /// The latest try.
    pub last: Option<Attempt>,
}

impl Delivery {
    /// A new delivery of `event`, ready at `now`. Its id is put into the event's partition.
    pub fn ready(
        id: DeliveryId,
        event: &crate::event::Event,
        destination: Name,
        replay: bool,
        now: Wall,
        ttl: std::time::Duration,
    ) -> Self {
        Self {
            id: id.beside(event.id),
            event: event.id,
            source: event.source.clone(),
            destination,
            replay,
            body_bytes: event.body.len() as u64,
            version: 0,
            state: State::Ready,
            reason: None,
            token: Token::default(),
            lease: None,
            attempts: 0,
            tries: 0,
            losses: 0,
            unheard: 0,
            earlier: 0,
            mark: None,
            redriven_from: None,
            made_at: now,
            ready_at: now,
            due_at: now,
            expires_at: now + ttl,
            changed_at: now,
            last: None,
        }
    }

    /// The number of the try that a lease taken now would make: 1 + tries reported or lost, counted or not. Of a lease that
    /// may have made one, nothing has to be known for certain: no copy has the number of an earlier one.
    pub fn next_attempt(&self) -> u32 {
        self.gone_out().saturating_add(1)
    }

    /// Tries since it became ready, as far as they are known.
    fn gone_out(&self) -> u32 {
        self.tries.saturating_add(self.losses).saturating_add(self.unheard)
    }

    /// Leased alone, because it may be what takes its clients down.
    pub fn is_suspect(&self) -> bool {
        self.losses >= limits::LOSSES_SUSPECT
    }

    /// The latest try as it is kept beside later ones: with what the destination said if it is one of the first.
    fn archived(&self) -> Option<Attempt> {
        let number = self.earlier.saturating_add(self.last.as_ref()?.number);
        let is_early = number <= limits::ANSWERS_ARCHIVED_MAX;
        self.last.clone().map(|last| Attempt { answer: last.answer.filter(|_| is_early), ..last })
    }
}
