//! The one decision a store makes: which of the waiting deliveries are leased, and what waits at all.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use relay_core::{
    delivery::{self, Delivery, State},
    event::Event,
    id::DeliveryId,
    name::Name,
    partitions::Partitions,
    storage::{Backlog, BodyOf, DestinationDue, Due, DueAsk, HeldAsk, LeaseAsk, LeaseEnd, LeaseOrder, Leased},
    time::Wall,
};

use super::{counters::slot, disk::Disk};

impl Disk {
    /// Leases what is due, in the order asked for, until a bound is met.
    pub(super) fn lease(&mut self, ask: &LeaseAsk, away: Option<Partitions>) -> Leased {
        let mut leased = Leased { backlog: self.backlog(&ask.destination), ..Leased::default() };
        let (mut tried, mut kept_back) = (0, false);
        for id in self.due_at(ask, away) {
            let Some(found) = self.deliveries.get(&id) else { continue };
            if leased.deliveries.len() as u64 >= u64::from(ask.limit) {
                leased.end = LeaseEnd::More;
                return leased;
            }
            if found.tries > 0 {
                if tried >= ask.tried_max {
                    kept_back = true;
                    continue;
                }
                tried += 1;
            }
            let next = delivery::leased(found, ask.instance, ask.nonce, ask.now, ask.until);
            self.replace(next.clone());
            leased.deliveries.push(next);
        }
        let next_due = self.next_due_after(ask, away);
        leased.end = if kept_back { LeaseEnd::Tried { next_due } } else { LeaseEnd::Drained { next_due } };
        leased
    }

    /// Events of leased deliveries.
    pub(super) fn bodies(&self, of: &[BodyOf]) -> Vec<Option<Arc<Event>>> {
        of.iter().map(|of| self.events.get(&of.event).map(Arc::clone)).collect()
    }

    /// Ids of the destination's deliveries that are due and within their TTL, in order; one more than may be leased.
    fn due_at(&self, ask: &LeaseAsk, away: Option<Partitions>) -> Vec<DeliveryId> {
        let Some(waiting) = self.waiting.get(&ask.destination) else { return Vec::new() };
        let wanted = ask.limit as usize + 1;
        let is_there = |id: &DeliveryId| ask.partitions.hold(id.partition()) && !is_away(away, *id);
        let alive =
            |id: &DeliveryId| is_there(id) && self.deliveries.get(id).is_some_and(|found| found.expires_at > ask.now);
        let by = ..=(ask.now, DeliveryId::from_u128(u128::MAX));
        let oldest = |of: &BTreeSet<(Wall, DeliveryId)>| -> Vec<(Wall, DeliveryId)> {
            of.range(by).filter(|(_, id)| alive(id)).take(wanted).copied().collect()
        };
        let by_tries = || {
            let due = waiting.by_tries.iter().filter(|(_, due_at, id)| *due_at <= ask.now && alive(id));
            due.map(|(_, due_at, id)| (*due_at, *id))
        };
        let found: Vec<(Wall, DeliveryId)> = match ask.order {
            LeaseOrder::Shared { tried } => shared(oldest(&waiting.tried), oldest(&waiting.fresh), tried as usize, ask),
            LeaseOrder::FewestTries => oldest(&waiting.fresh).into_iter().chain(by_tries()).take(wanted).collect(),
            LeaseOrder::Newest => {
                let newest = waiting.fresh.range(by).rev().filter(|(_, id)| alive(id)).copied();
                newest.chain(by_tries()).take(wanted).collect()
            }
        };
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// What there is at a destination, due or not.
    fn backlog(&self, destination: &Name) -> Backlog {
        let tried = self.waiting.get(destination).is_some_and(|waiting| !waiting.tried.is_empty());
        let states = self.counters.destinations.get(destination).map(|tally| tally.states).unwrap_or_default();
        let open = State::ALL.into_iter().filter(|state| state.is_open()).map(|state| states[slot(state)]).sum();
        Backlog { tried, open }
    }

    fn next_due_after(&self, ask: &LeaseAsk, away: Option<Partitions>) -> Option<Wall> {
        let behind = (Bound::Excluded((ask.now, DeliveryId::from_u128(u128::MAX))), Bound::Unbounded);
        let waiting = self.waiting.get(&ask.destination)?;
        let is_there = |id: &DeliveryId| ask.partitions.hold(id.partition()) && !is_away(away, *id);
        let mut waiting = waiting.by_due.range(behind).filter(|(_, id)| is_there(id));
        waiting.next().map(|(due_at, _)| *due_at)
    }

    /// What waits, and what has passed its TTL while waiting.
    pub(super) fn due(&self, ask: DueAsk, away: Option<Partitions>) -> Due {
        let DueAsk { now, partitions, lapsed_by, lapsed_in, limit } = ask;
        let mut due = Due::default();
        let mut expired: Vec<(Wall, DeliveryId)> = Vec::new();
        for (destination, waiting) in &self.waiting {
            let mut there = waiting.by_due.iter().filter(|(_, id)| !is_away(away, *id));
            let Some((next_due, _)) = there.next() else { continue };
            let tally = self.counters.destinations.get(destination);
            let delivered = tally.map_or(0, |tally| tally.outcomes[0]);
            let destination = destination.clone();
            due.destinations.push(DestinationDue { destination, next_due: Some(*next_due), delivered });
            let over = waiting.by_expiry.iter().take_while(|(expires_at, _)| *expires_at <= now);
            expired.extend(over.filter(|(_, id)| partitions.hold(id.partition()) && !is_away(away, *id)));
        }
        expired.sort_unstable();
        expired.truncate(limit as usize);
        due.expired = expired.iter().filter_map(|(_, id)| self.deliveries.get(id).cloned()).collect();
        let ends = lapsed_by.map(|by| self.leases.range(..=(by, DeliveryId::from_u128(u128::MAX))));
        due.lapsed = ends
            .into_iter()
            .flatten()
            .filter(|(_, id)| lapsed_in.hold(id.partition()) && !is_away(away, *id))
            .take(limit as usize)
            .filter_map(|(_, id)| self.deliveries.get(id).cloned())
            .collect();
        due
    }

    /// Leased deliveries behind an id.
    pub(super) fn held(&self, ask: HeldAsk) -> Vec<Delivery> {
        let from = ask.after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.deliveries.range((from, Bound::Unbounded)).map(|(_, found)| found);
        let is_asked = |found: &Delivery| ask.partitions.hold(found.id.partition());
        let wanted = |found: &&Delivery| is_asked(found) && found.lease.is_some_and(|lease| ask.of.holds(&lease));
        behind.filter(wanted).take(ask.limit as usize).cloned().collect()
    }
}

fn is_away(away: Option<Partitions>, id: DeliveryId) -> bool {
    away.is_some_and(|away| away.hold(id.partition()))
}

/// Which of those that are due come first when both kinds have their share: see [`LeaseOrder::Shared`].
fn shared<T: Ord>(mut tried: Vec<T>, mut fresh: Vec<T>, share: usize, ask: &LeaseAsk) -> Vec<T> {
    let limit = ask.limit as usize;
    let of_tried = tried.len().min(share.max(limit.saturating_sub(fresh.len()))).min(ask.tried_max as usize);
    let of_fresh = fresh.len().min(limit.saturating_sub(of_tried));
    let mut rest = tried.split_off(of_tried);
    rest.extend(fresh.split_off(of_fresh));
    tried.extend(fresh);
    tried.sort_unstable();
    tried.extend(rest);
    tried
}
