//! What a command does to a delivery, and to which.

use std::{collections::BTreeMap, time::Duration};

use super::Pace;
use crate::{
    delivery::{self, Delivery, State},
    name::Name,
    storage::{Ended, Step},
    time::Wall,
};

/// What a command does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Dead or expired to ready: attempts, losses and TTL start anew.
    Redrive {
        /// TTL of routes, by source and destination.
        ttl: BTreeMap<(Name, Name), Duration>,
        /// For those not named.
        ttl_default: Duration,
        /// Not all at once.
        pace: Option<Pace>,
    },
    /// Dead or expired: removed now, counted as retired.
    Purge,
    /// Open: cancelled. A leased one too; its report comes too late.
    Cancel,
}

impl Action {
    /// The states that it is for.
    pub const fn states(&self) -> &'static [State] {
        match self {
            Self::Redrive { .. } | Self::Purge => &[State::Dead, State::Expired],
            Self::Cancel => &[State::Ready, State::Scheduled, State::Leased],
        }
    }

    /// Whether it makes anything due.
    pub const fn makes_due(&self) -> bool {
        matches!(self, Self::Redrive { .. })
    }

    /// When the one behind so many others is due, where they come at a rate.
    pub(super) fn due(&self, before: u64) -> Option<Wall> {
        match self {
            Self::Redrive { pace: Some(pace), .. } => Some(pace.due(before)),
            Self::Redrive { pace: None, .. } | Self::Purge | Self::Cancel => None,
        }
    }

    /// Puts what becomes of a delivery, behind so many others, into a step; `false` if it is not one for this.
    pub(super) fn decide(&self, found: &Delivery, before: u64, now: Wall, step: &mut Step) -> bool {
        if !self.states().contains(&found.state) {
            return false;
        }
        match self {
            Self::Redrive { ttl, ttl_default, .. } => {
                let route = (found.source.clone(), found.destination.clone());
                let ttl = ttl.get(&route).copied().unwrap_or(*ttl_default);
                let mut change = delivery::redrive(found, now, ttl);
                if let Some(due) = self.due(before) {
                    change.next = change.next.due_from(due);
                }
                step.settle.push(change);
            }
            Self::Purge => step.retire.extend(Ended::of(found)),
            Self::Cancel => step.settle.push(delivery::cancel(found, now)),
        }
        true
    }
}
