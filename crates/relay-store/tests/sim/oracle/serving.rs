//! The client that takes what it gets, beside those on links that carry next to nothing: what is leased for it goes out to it.

use std::collections::{BTreeMap, BTreeSet};

use relay_core::{
    delivery::Change,
    id::InstanceId,
    limits,
    time::Wall,
    wire::{
        codec::{self, LeaseKey},
        message::Message,
    },
};

use super::Oracle;
use crate::plan::Plan;

/// What is known of that client.
#[derive(Debug)]
pub(super) struct Serving {
    /// There are others that crawl, and the store reads bodies faster than leases end.
    beside_crawlers: bool,
    /// Its targets take their time, and large bodies wait for slots.
    large_may_wait: bool,
    /// Since when each of its lives is known to the server.
    since: BTreeMap<InstanceId, Wall>,
    /// Grants that have begun to leave.
    granted: BTreeSet<LeaseKey>,
}

impl Serving {
    pub(super) fn new(plan: &Plan) -> Self {
        let faults = &plan.faults;
        Self {
            // Where each read takes seconds, whoever is the twentieth in line waits for as long as his lease lasts.
            beside_crawlers: faults.crawlers && faults.store_ms < 1_000,
            large_may_wait: faults.target_trouble || faults.mixed || faults.poison,
            since: BTreeMap::new(),
            granted: BTreeSet::new(),
        }
    }

    /// A server starts that has met nobody yet.
    pub(super) fn forget(&mut self) {
        self.since.clear();
    }

    /// The server said something.
    pub(super) fn note(&mut self, message: &Message) {
        if let Message::Grant(grant) = message {
            self.granted.extend(grant.lease.iter().flat_map(codec::lease_key));
        }
    }
}

impl Oracle {
    /// The client that takes what it gets is there.
    pub(crate) fn served(&mut self, instance: InstanceId, wall: Wall) {
        self.serving.since.entry(instance).or_insert(wall);
    }

    /// A lease ends that nobody reported: nothing is handed back because it has waited for room in vain (I15).
    pub(super) fn check_served(&mut self, change: &Change, wall: Wall) {
        let before = &change.before;
        let (serving, id) = (&self.serving, change.next.id);
        let Some(lease) = before.lease.filter(|_| serving.beside_crawlers) else { return };
        let known = serving.since.get(&lease.instance).is_some_and(|since| *since <= lease.since);
        let waited = lease.since + limits::LEASE * 3 / 4 <= wall;
        let may_wait = before.is_suspect() || serving.large_may_wait && before.body_bytes > limits::SMALL_BODY_BYTES;
        let starved = known && waited && !may_wait && !serving.granted.contains(&(id, before.token));
        self.check(!starved, "I15", || {
            format!(
                "{id} waited for room since {} while others take nothing, and is handed back: {before:?}",
                lease.since
            )
        });
    }
}
