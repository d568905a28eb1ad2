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
        let has = |other: &Presence, id| other.clients.iter().any(|client| client.instance == id);
        let mut down = BTreeSet::new();
        for other in others {
            let known = |id| has(other, id) || !others.iter().any(|any| has(any, id));
            let told = other.circuits.iter().filter(|told| !told.open.unreachable_only && known(told.instance));
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
