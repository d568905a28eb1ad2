//! Replays: new deliveries of old events.

use relay_core::{
    delivery::Delivery,
    storage::{AuditEntry, Replay, Replayed},
};

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    keys::Keys,
    place::Place,
    reply::{Fault, Replies},
    row,
    scripts::Script,
    text,
};

impl Core {
    /// Stores new deliveries of old events.
    pub(super) async fn replay(&self, replay: Replay, audit: &[AuditEntry]) -> Result<Replayed, Fault> {
        self.life.check()?;
        if self.room.is_full() {
            return Err(Fault::Full);
        }
        let mut answers = vec![false; replay.made.len()];
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<usize> = (0..replay.made.len())
                .filter(|at| self.space.place(replay.made[*at].event.partition()) == place)
                .collect();
            if here.is_empty() {
                continue;
            }
            let made: Vec<&Delivery> = here.iter().map(|at| &replay.made[*at]).collect();
            let call = replay_call(keys, &made, replay.decided_on, audit);
            let reply = self.commits.one(Urgency::Other, call).await;
            let reply = reply.map_err(|fault| fault.behind(answers.contains(&true)))?;
            let mut replies = Replies::new(reply.many()?);
            if replies.next()?.number()? == 0 {
                return Ok(Replayed::Elsewise(self.pairs(Replies::new(replies.next()?.many()?))?));
            }
            for at in here {
                answers[at] = replies.next()?.number()? != 0;
            }
        }
        self.hints.made_due(&mut replay.made.iter().map(|made| &made.destination));
        Ok(Replayed::Stored(answers))
    }
}

/// What scripts are told of new deliveries.
pub(super) fn made_arguments(made: &[&Delivery], arguments: &mut Vec<Vec<u8>>) {
    arguments.push(made.len().to_string().into_bytes());
    for made in made {
        let id = made.id.as_u128();
        arguments.push(id.to_be_bytes().to_vec());
        arguments.push(row::write(made));
        arguments.push(Place::of_id(id).to_string().into_bytes());
        arguments.push(text::sequence(made.id.sequence()).into_bytes());
    }
}

fn replay_call(keys: &Keys, made: &[&Delivery], decided_on: Option<u32>, audit: &[AuditEntry]) -> Command {
    let mut arguments = vec![
        decided_on.map(|count| count.to_string()).unwrap_or_default().into_bytes(),
        audit.len().to_string().into_bytes(),
    ];
    for entry in audit {
        arguments.extend([audit::write(entry), audit::place(entry).into_bytes()]);
    }
    made_arguments(made, &mut arguments);
    Script::Replay.call(&keys.written(made.iter().map(|made| &made.destination).collect()), arguments)
}
