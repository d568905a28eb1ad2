//! What a command does to a delivery, and to which.

use std::{collections::BTreeMap, time::Duration};

use super::Pace;
use crate::{
    delivery::{self, Delivery, State},
    name::Name,
    routing::Route,
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
    /// Of events: what was received is gone, and their deliveries are over for good.
    Erase {
        /// Open deliveries are cancelled for it; else an event that has one is left.
        cancels: bool,
    },
    /// Of old events: new deliveries.
    Replay {
        /// Along which routes, by source; events of others are passed over.
        routes: BTreeMap<Name, Vec<Route>>,
        /// So many events a second.
        pace: Option<Pace>,
    },
}

impl Action {
    /// The states that it is for; of events, those of deliveries that it changes.
    pub const fn states(&self) -> &'static [State] {
        match self {
            Self::Redrive { .. } | Self::Purge | Self::Erase { cancels: false } => &State::DEAD_LETTER,
            Self::Cancel => &[State::Ready, State::Scheduled, State::Leased],
            Self::Erase { cancels: true } => {
                &[State::Ready, State::Scheduled, State::Leased, State::Dead, State::Expired]
            }
            Self::Replay { .. } => &[],
        }
    }

    /// Whether it makes anything due.
    pub const fn makes_due(&self) -> bool {
        matches!(self, Self::Redrive { .. } | Self::Replay { .. })
    }

    /// Whether it removes anything.
    pub(super) const fn removes(&self) -> bool {
        matches!(self, Self::Purge)
    }

    /// How fast what it makes due comes, if not all at once.
    pub(super) const fn pace(&self) -> Option<Pace> {
        match self {
            Self::Redrive { pace, .. } | Self::Replay { pace, .. } => *pace,
            Self::Purge | Self::Cancel | Self::Erase { .. } => None,
        }
    }

    /// Along which routes events of a source are replayed.
    pub(super) fn routes(&self, source: &Name) -> &[Route] {
        match self {
            Self::Replay { routes, .. } => routes.get(source).map_or(&[], Vec::as_slice),
            Self::Redrive { .. } | Self::Purge | Self::Cancel | Self::Erase { .. } => &[],
        }
    }

    /// Most deliveries that it makes of one event.
    pub(super) fn routes_max(&self) -> usize {
        match self {
            Self::Replay { routes, .. } => routes.values().map(Vec::len).max().unwrap_or(0),
            Self::Redrive { .. } | Self::Purge | Self::Cancel | Self::Erase { .. } => 0,
        }
    }

    /// Whether a delivery that matches now did so then, as far as its record tells. `is_picked`: by what its last try came to, and not by a limit alone.
    pub(super) fn matched(&self, found: &Delivery, then: Wall, is_picked: bool) -> bool {
        let is_as_it_was = found.changed_at <= then;
        match self {
            Self::Redrive { .. } | Self::Purge | Self::Replay { .. } => is_as_it_was,
            // Open all the while, whatever has been tried; but another try may be what it is picked by.
            Self::Cancel => is_as_it_was || (!is_picked && found.ready_at <= then),
            // It is about events, and these change no more.
            Self::Erase { .. } => true,
        }
    }

    /// Puts what becomes of a delivery, due then if it comes at a rate, into a step; `false` if it is not one for this.
    pub(super) fn decide(&self, found: &Delivery, due: Option<Wall>, now: Wall, step: &mut Step) -> bool {
        if !self.states().contains(&found.state) {
            return false;
        }
        match self {
            Self::Redrive { ttl, ttl_default, .. } => {
                let route = (found.source.clone(), found.destination.clone());
                let ttl = ttl.get(&route).copied().unwrap_or(*ttl_default);
                let mut change = delivery::redrive(found, now, ttl);
                if let Some(due) = due {
                    change.next = change.next.due_from(due);
                }
                step.settle.push(change);
            }
            Self::Purge => step.retire.extend(Ended::of(found)),
            Self::Cancel => step.settle.push(delivery::cancel(found, now)),
            Self::Erase { .. } => {
                step.settle.extend(delivery::give_up(found, now));
                step.erase.push(found.event);
            }
            Self::Replay { .. } => {}
        }
        true
    }
}
