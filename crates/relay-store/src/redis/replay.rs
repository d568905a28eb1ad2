//! Replays: new deliveries of old events.

use relay_core::{
    delivery::Delivery,
    id::EventId,
    storage::{AuditEntry, Replay, Replayed},
};

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    keys::Keys,
    place::Place,
    replays,
    reply::{Fault, Replies},
    row,
    scripts::Script,
    text,
};
use crate::cipher::Ciphers;

/// So often it is asked for again where rows do not read.
const ASKS_MAX: usize = 3;

impl Core {
    /// Stores new deliveries of old events.
    pub(super) async fn replay(&self, replay: Replay, audit: &[AuditEntry]) -> Result<Replayed, Fault> {
        self.life.check()?;
        if self.nodes.is_full() {
            return Err(Fault::Full);
        }
        let mut answers = vec![false; replay.made.len()];
        // The lines go with the first partition in which anything is made, or was when it was asked for before.
        let mut audit = audit;
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<usize> = (0..replay.made.len())
                .filter(|at| self.space.place(replay.made[*at].event.partition()) == place)
                .collect();
            if here.is_empty() {
                continue;
            }
            let here = self.without_erased(&replay.made, here).await?;
            if here.is_empty() {
                continue;
            }
            let made: Vec<&Delivery> = here.iter().map(|at| &replay.made[*at]).collect();
            let stored = self.replay_in(keys, &made, replay.decided_on, audit).await;
            match stored.map_err(|fault| fault.behind(answers.contains(&true)))? {
                elsewise @ Replayed::Elsewise(_) => return Ok(elsewise),
                Replayed::Stored(stored) => {
                    if stored.contains(&true) {
                        audit = &[];
                    }
                    for (at, stored) in here.into_iter().zip(stored) {
                        answers[at] = stored;
                    }
                }
            }
        }
        self.hints.made_due(&mut replay.made.iter().map(|made| &made.destination));
        Ok(Replayed::Stored(answers))
    }

    /// Those of events that are not erased. One that is erased just now has a delivery all the same, which ends when its body is read.
    async fn without_erased(&self, made: &[Delivery], here: Vec<usize>) -> Result<Vec<usize>, Fault> {
        let mut events: Vec<EventId> = here.iter().map(|at| made[*at].event).collect();
        events.sort_unstable();
        events.dedup();
        let fronts = self.fronts(&events).await?;
        let is_erased = |at: &usize| {
            let front = events.binary_search(&made[*at].event).ok().and_then(|at| fronts[at].as_ref());
            front.is_some_and(|front| front.head.event.is_erased())
        };
        Ok(here.into_iter().filter(|at| !is_erased(at)).collect())
    }

    /// The same in one partition. The script counts rows, and whoever decided counted those that read: where that differs, he is
    /// taken at his word with the rows that there are.
    async fn replay_in(
        &self,
        keys: &Keys,
        made: &[&Delivery],
        decided_on: Option<u32>,
        audit: &[AuditEntry],
    ) -> Result<Replayed, Fault> {
        let mut count = decided_on;
        for _ in 0..ASKS_MAX {
            let reply =
                self.nodes.commit(Urgency::Other, replay_call(keys, made, self.ciphers(), count, audit)).await?;
            let mut replies = Replies::new(reply.many()?);
            if replies.next()?.number()? != 0 {
                let mut stored = Vec::with_capacity(made.len());
                while !replies.is_over() {
                    stored.push(replies.next()?.number()? != 0);
                }
                return Ok(Replayed::Stored(stored));
            }
            let (found, there) = self.some_of(Replies::new(replies.next()?.many()?))?;
            if decided_on != u32::try_from(found.len()).ok() || found.len() == there {
                return Ok(Replayed::Elsewise(found));
            }
            count = u32::try_from(there).ok();
        }
        Err(Fault::Away)
    }
}

/// What scripts are told of new deliveries.
pub(super) fn made_arguments(made: &[&Delivery], ciphers: &Ciphers, arguments: &mut Vec<Vec<u8>>) {
    arguments.push(made.len().to_string().into_bytes());
    for made in made {
        let id = made.id.as_u128();
        arguments.push(id.to_be_bytes().to_vec());
        arguments.push(row::write(made, ciphers));
        arguments.push(Place::of_id(id).to_string().into_bytes());
        arguments.push(text::sequence(made.id.sequence()).into_bytes());
        arguments.push(replays::write(made.event, made.id).to_vec());
    }
}

fn replay_call(
    keys: &Keys,
    made: &[&Delivery],
    ciphers: &Ciphers,
    decided_on: Option<u32>,
    audit: &[AuditEntry],
) -> Command {
    let mut arguments = vec![
        decided_on.map(|count| count.to_string()).unwrap_or_default().into_bytes(),
        audit.len().to_string().into_bytes(),
    ];
    for entry in audit {
        arguments.extend([audit::write(entry), audit::place(entry).into_bytes()]);
    }
    made_arguments(made, ciphers, &mut arguments);
    Script::Replay.call(&keys.written(made.iter().map(|made| &made.destination).collect()), arguments)
}
