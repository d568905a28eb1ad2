//! Clients that come back: nothing is taken from them while they say what they hold.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    delivery::{Change, State},
    limits,
    time::Wall,
    wire::codec::LeaseKey,
};
use relay_store::memory::MemoryStore;

use super::Oracle;

/// A Hello on its way.
#[derive(Debug)]
pub(super) struct Return {
    /// The leases that it names, and until when they may last at least.
    held: BTreeMap<LeaseKey, Wall>,
    /// When it began, or more of it came.
    heard: Wall,
}

impl Oracle {
    /// A client that was away for less than the grace begins to say what it holds. Each of its leases may last for `most`.
    pub(crate) fn returns(&mut self, socket: u64, held: &[LeaseKey], most: Duration, store: &MemoryStore, heard: Wall) {
        let own = |(id, token): &&LeaseKey| {
            let was_reported = self.reported.iter().any(|(key, _)| *key == (*id, *token));
            let record =
                store.delivery(*id).filter(|record| record.token == *token && record.state == State::Leased)?;
            (!was_reported && !self.let_go.contains(&(self.run, (*id, *token)))).then_some(record.lease?.since + most)
        };
        let held = held.iter().filter_map(|key| Some((*key, own(&key)?))).collect();
        self.returning.insert(socket, Return { held, heard });
    }

    /// More of it came.
    pub(crate) fn goes_on_returning(&mut self, socket: u64, heard: Wall) {
        if let Some(returning) = self.returning.get_mut(&socket) {
            returning.heard = heard;
        }
    }

    /// It has said it, or will not.
    pub(crate) fn returned(&mut self, socket: u64) {
        self.returning.remove(&socket);
    }

    /// Nothing is taken from a client while its Hello goes on arriving that names it.
    pub(super) fn check_return(&mut self, change: &Change, wall: Wall) {
        let key = (change.next.id, change.before.token);
        let stands = |returning: &Return| {
            let lasts = returning.held.get(&key).is_some_and(|until| *until > wall);
            lasts && returning.heard + limits::RESUME_GRACE > wall
        };
        let stands = self.returning.values().any(stands);
        self.check(!stands, "I8", || format!("{} is taken from a client that is saying that it holds it", key.0));
    }
}
