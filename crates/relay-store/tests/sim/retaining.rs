//! Retention as each server runs it: an operation of the store at a time, some of them in vain, with everything else going on in between.
//! What is not heard ends a round, and the next one does the rest.

use std::{collections::btree_map::Entry, time::Duration};

use rand::RngExt as _;
use relay_core::{
    jobs::{Retention, RetentionOp, RetentionStored, Rules},
    time::Wall,
};

use crate::{
    operator::Fate,
    world::{What, World},
};

/// A round of one server that goes on.
pub(crate) struct Round {
    retention: Retention,
    rules: Rules,
    /// Asked of the store, and has not taken effect.
    pending: Option<RetentionOp>,
}

impl World {
    /// The server whose turn it is begins one, unless one goes on there.
    pub(crate) fn retain(&mut self, wall: Wall) {
        let Some((epoch, partitions)) = self.server.as_ref().map(|server| (server.epoch, server.hub.partitions()))
        else {
            return;
        };
        let (short, long) = (Duration::from_mins(1), Duration::from_mins(2));
        let rules = Rules { now: wall, delivered_before: wall - short, dead_before: wall - long, partitions };
        if let Entry::Vacant(free) = self.rounds.entry(epoch) {
            free.insert(Round { retention: Retention::new(rules).by(20), rules, pending: None });
            self.round_goes_on(epoch);
        }
    }

    fn round_goes_on(&mut self, epoch: u64) {
        let Some(round) = self.rounds.get_mut(&epoch) else { return };
        round.pending = round.retention.poll();
        if round.pending.is_some() {
            let span = self.store_takes();
            self.after(span, What::RetentionActs { epoch });
        } else if let Some(over) = self.rounds.remove(&epoch) {
            self.tell(format_args!("retention of server {epoch}: {:?}", over.retention.outcome()));
        }
    }

    /// What a round asked for takes effect, and is answered, or not.
    pub(crate) fn retention_acts(&mut self, epoch: u64) {
        // What is to be there in the end is nobody's to remove any more.
        if !self.turn_to(epoch) || self.healed_at.is_some() {
            self.rounds.remove(&epoch);
            return;
        }
        let fate = self.fate(epoch);
        let Some(round) = self.rounds.get_mut(&epoch) else { return };
        let (op, rules) = (round.pending.take(), round.rules);
        let Some(op) = op else { return };
        let answer = match fate {
            Fate::Heard => self.perform_retention(op, rules),
            Fate::Away => self.store.turn_retention_away(op),
            Fate::Unheard { happens } => {
                if happens {
                    self.perform_retention(op.clone(), rules);
                }
                self.store.retention_unheard(op)
            }
        };
        self.tell(format_args!("store answers retention of server {epoch}: {answer:?}"));
        if let Some(round) = self.rounds.get_mut(&epoch) {
            round.retention.handle(answer);
        }
        self.round_goes_on(epoch);
    }

    /// The server is gone: what its round asked for happened, or did not, and nobody is told.
    pub(crate) fn round_dies(&mut self, epoch: u64, clean: bool) {
        if let Some(Round { rules, pending: Some(op), .. }) = self.rounds.remove(&epoch)
            && (clean || self.operator.random_bool(0.5))
        {
            self.tell(format_args!("retention of server {epoch} happened, unanswered"));
            self.perform_retention(op, rules);
        }
    }

    fn perform_retention(&mut self, op: RetentionOp, rules: Rules) -> RetentionStored {
        let (before, events) = (self.store.deliveries(), self.store.event_ids());
        let answer = self.store.perform_retention(op);
        self.oracle.retained(&before, &events, &self.store, rules);
        answer
    }
}
