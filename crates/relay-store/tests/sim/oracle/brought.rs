//! A client that goes from one server to another: what was found to be down for it is not found out at the expense of webhooks
//! again.

use std::collections::{BTreeMap, BTreeSet};

use relay_core::{
    delivery::{Delivery, outcome::Class},
    id::InstanceId,
    name::Name,
    storage::Presence,
};

use super::Oracle;

/// What is known of that.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// What each server has heard to be down elsewhere, by answers that it refused or failed.
    heard: BTreeMap<u64, BTreeSet<(InstanceId, Name)>>,
    /// Who was welcome at which server.
    welcomed: BTreeSet<(InstanceId, u64)>,
    /// What is down at which server for a client that has brought it along.
    down: BTreeSet<(u64, InstanceId, Name)>,
}

impl Oracle {
    /// The server whose turn it is hears of the others.
    pub(crate) fn heard_of_others(&mut self, others: &[Presence]) {
        let mentions = |other: &Presence, id: InstanceId| {
            let clients = other.clients.iter().filter(move |client| client.instance == id).map(|client| client.since);
            let circuits = other.circuits.iter().filter(move |open| open.instance == id).map(|open| open.since);
            clients.chain(circuits).max()
        };
        let mut down = BTreeSet::new();
        for other in others {
            let is_last = |id, since| others.iter().all(|any| any.run == other.run || mentions(any, id) < Some(since));
            let told = other.circuits.iter();
            let told = told.filter(|told| !told.open.unreachable_only && is_last(told.instance, told.since));
            down.extend(told.map(|told| (told.instance, told.destination.clone())));
        }
        self.brought.heard.insert(self.run, down);
    }

    /// It welcomes an instance.
    pub(crate) fn welcomes(&mut self, instance: InstanceId) {
        let (run, brought) = (self.run, &mut self.brought);
        brought.down.retain(|(_, known, _)| *known != instance);
        if !brought.welcomed.insert((instance, run)) {
            // It may know something else from before.
            return;
        }
        let heard = brought.heard.get(&run).into_iter().flatten().filter(|(known, _)| *known == instance);
        brought.down.extend(heard.map(|(_, name)| (run, instance, name.clone())));
    }

    /// A target takes something.
    pub(crate) fn target_took(&mut self, destination: &Name) {
        self.brought.down.retain(|(_, _, down)| down != destination);
    }

    /// I10: nothing is charged meanwhile but what its target has refused.
    pub(super) fn check_brought(&mut self, before: &Delivery, class: Class) {
        let Some(lease) = before.lease.filter(|_| matches!(class, Class::Rejected | Class::Busy)) else { return };
        let key = (self.run, lease.instance, before.destination.clone());
        let free = !self.brought.down.contains(&key);
        self.check(free, "I10", || {
            format!("{} was charged though its target was known to be down at another server", before.id)
        });
    }
}
