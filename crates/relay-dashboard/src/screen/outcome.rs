//! What became of a delivery, as a word, a sign and a colour.

use std::time::Duration;

use relay_core::{
    delivery::{Delivery, Reason, State},
    id::{DeliveryId, EventId},
    name::Name,
    time::Wall,
};

use crate::{show, text};

/// What became of a delivery, for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub id: DeliveryId,
    /// Of this event.
    pub event: EventId,
    /// Where it goes.
    pub destination: Name,
    /// Where it stands.
    pub state: State,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// Tries that were reported.
    pub tries: u32,
    /// Of the last answer.
    pub status: Option<u16>,
    /// How long the last try took.
    pub took: Option<Duration>,
    /// When it may be tried.
    pub due_at: Wall,
}

impl Outcome {
    /// Of a delivery as it is stored.
    pub fn of(delivery: &Delivery) -> Self {
        let last = delivery.last.as_ref();
        Self {
            id: delivery.id,
            event: delivery.event,
            destination: delivery.destination.clone(),
            state: delivery.state,
            reason: delivery.reason,
            tries: delivery.tries,
            status: last.and_then(|last| last.status),
            took: last.map(|last| Duration::from_millis(last.duration_ms)),
            due_at: delivery.due_at,
        }
    }

    pub(crate) const fn tone(&self) -> &'static str {
        match self.state {
            State::Delivered => "ok",
            State::Leased => "on",
            State::Scheduled => "warn",
            State::Dead | State::Expired => "bad",
            State::Ready | State::Cancelled => "quiet",
        }
    }

    pub(crate) const fn sign(&self) -> &'static str {
        match self.state {
            State::Delivered => "✓",
            State::Leased => "→",
            State::Scheduled => "↻",
            State::Dead | State::Expired => "✕",
            State::Ready => "•",
            State::Cancelled => "–",
        }
    }

    pub(crate) const fn word(&self) -> &'static str {
        text::state(self.state)
    }

    /// What there is to say beside the state.
    pub(crate) fn note(&self) -> String {
        match self.state {
            State::Delivered => self.took.map(show::span).unwrap_or_default(),
            State::Ready => text::WAITS.to_owned(),
            State::Leased => text::UNDER_WAY.to_owned(),
            State::Scheduled => text::tried(self.tries, self.status),
            State::Dead | State::Expired => text::ended(self.state, self.reason, self.status),
            State::Cancelled => text::state(self.state).to_owned(),
        }
    }
}
