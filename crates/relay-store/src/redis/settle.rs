//! Settling: changes that the core decided on.

use std::collections::BTreeSet;

use relay_core::{
    delivery::{Attempt, Change},
    id::{DeliveryId, Partition},
    name::Name,
    storage::{AuditEntry, Changed},
};

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    commit::ROWS_MAX,
    keys::Keys,
    reply::{Fault, Reply},
    row::{self, Decided},
    scripts::Script,
};
use crate::{cipher::Ciphers, record};

/// A write like any other, though it changes nothing; one that adds could be refused.
pub(super) fn again(keys: &Keys) -> Command {
    Command::new("HSET").arg(keys.counters()).arg("confirmed").number(1)
}

/// Where changes make something due that had ended.
pub(super) fn redriven(changes: &[Change]) -> impl Iterator<Item = &Name> {
    changes.iter().filter(|change| AuditEntry::of_redrive(change).is_some()).map(|change| &change.next.destination)
}

impl Core {
    /// Completes once what stands in these partitions is confirmed: a write whose answer was lost, or that too few replicas had,
    /// is otherwise seen by who reads before it is kept by all that keep it. A commit behind it is waited for like any other.
    pub(super) async fn confirm(&self, partitions: impl IntoIterator<Item = Partition>) -> Result<(), Fault> {
        let places: BTreeSet<usize> = partitions.into_iter().map(|partition| self.space.place(partition)).collect();
        for place in places.into_iter().filter(|place| self.nodes.waits_for_replicas(*place)) {
            let confirmed = self.nodes.commit(Urgency::Settle, again(&self.space.partitions()[place])).await;
            confirmed.map_err(of_a_key)?;
        }
        Ok(())
    }

    /// Applies changes whose record is the one decided on; one answer for each.
    pub(super) async fn settle(&self, batch: Vec<Change>) -> Result<Vec<Changed>, Fault> {
        self.life.check()?;
        self.apply(Urgency::Settle, &batch, true).await.map_err(of_a_key)
    }

    /// `is_audited`: a sender's redrive is written down.
    pub(super) async fn apply(
        &self,
        urgency: Urgency,
        batch: &[Change],
        is_audited: bool,
    ) -> Result<Vec<Changed>, Fault> {
        let mut answers: Vec<Option<Changed>> = vec![None; batch.len()];
        let mut asked = Vec::new();
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<usize> =
                (0..batch.len()).filter(|at| self.space.place(batch[*at].next.id.partition()) == place).collect();
            let calls: Vec<Command> = here
                .chunks(ROWS_MAX)
                .map(|chunk| {
                    let changes: Vec<_> = chunk.iter().map(|at| &batch[*at]).collect();
                    settle_call(keys, &changes, self.ciphers(), is_audited)
                })
                .collect();
            if !calls.is_empty() {
                asked.push((here, self.nodes.all(urgency, calls)));
            }
        }
        for (here, replies) in all_done(asked).await? {
            let mut places = here.into_iter();
            for reply in replies {
                // It is done, whatever is said of it.
                for answer in reply.many().map_err(|_| Fault::Unknown)? {
                    let at = places.next().ok_or(Fault::Unknown)?;
                    answers[at] = Some(self.changed(batch[at].next.id, answer).map_err(|_| Fault::Unknown)?);
                }
            }
        }
        self.hints.made_due(&mut redriven(batch));
        answers.into_iter().map(|answer| answer.ok_or(Fault::Unknown)).collect()
    }

    pub(super) fn changed(&self, id: DeliveryId, answer: Reply) -> Result<Changed, Fault> {
        Ok(match answer {
            Reply::Number(1) => Changed::Applied,
            Reply::Number(_) => Changed::Conflict(None),
            stored => Changed::Conflict(self.row(id, &stored.bytes()?).map(Box::new)),
        })
    }
}

/// What a refusal means that a key of another type than ours is the reason of: nothing was done, and it is put aside soon. No record is
/// damaged by it, and whoever took one for that would end what is not stored (I6). A record that does not read is told as one that is not
/// there.
fn of_a_key(fault: Fault) -> Fault {
    match fault {
        Fault::Damaged(what) | Fault::Unexpected(what) => {
            tracing::warn!(event = "settle_refused", %what, "a key in Redis is not of its type: outcomes wait until it is put aside");
            Fault::Away
        }
        fault => fault,
    }
}

/// What came of the parts of an operation, which are under way. Where one of them is not done, and another is or may be, it is unknown.
pub(super) async fn all_done<T, A>(asked: Vec<(T, A)>) -> Result<Vec<(T, Vec<Reply>)>, Fault>
where
    A: Future<Output = Result<Vec<Reply>, Fault>>,
{
    let (mut done, mut failed) = (Vec::with_capacity(asked.len()), None);
    let mut is_begun = false;
    for (what, answer) in asked {
        match answer.await {
            Ok(replies) => done.push((what, replies)),
            Err(fault) => {
                is_begun |= fault == Fault::Unknown;
                failed.get_or_insert(fault);
            }
        }
    }
    failed.map_or(Ok(()), |fault| Err(fault.behind(is_begun || !done.is_empty())))?;
    Ok(done)
}

/// What scripts are told of a change.
pub(super) fn change_arguments(
    change: &Change,
    audit: Option<AuditEntry>,
    ciphers: &Ciphers,
    arguments: &mut Vec<Vec<u8>>,
) {
    let Decided { state, version, fence } = Decided::on(&change.before);
    let archive = change.archive.as_ref().map(|attempt| {
        let mut out = Vec::new();
        record::encode_attempt(attempt, change.next.id.sequence(), ciphers, &mut out);
        out
    });
    let is_new = |attempt: &&Attempt| change.before.last.as_ref() != Some(*attempt);
    let tried = change.next.last.as_ref().filter(is_new);
    let (line, place) = audit.map_or_else(Default::default, |entry| (audit::write(&entry), audit::place(&entry)));
    arguments.extend([
        change.next.id.as_u128().to_be_bytes().to_vec(),
        state.to_vec(),
        version.to_vec(),
        fence.to_vec(),
        row::write(&change.next, ciphers),
        archive.unwrap_or_default(),
        line,
        place.into_bytes(),
        tried.map(|attempt| (attempt.class as u8).to_string()).unwrap_or_default().into_bytes(),
        u8::from(tried.is_some_and(|attempt| attempt.number > 1)).to_string().into_bytes(),
    ]);
}

fn settle_call(keys: &Keys, changes: &[&Change], ciphers: &Ciphers, is_audited: bool) -> Command {
    let mut arguments = vec![changes.len().to_string().into_bytes()];
    let mut destinations = Vec::new();
    for change in changes {
        let audit = AuditEntry::of_redrive(change).filter(|_| is_audited);
        change_arguments(change, audit, ciphers, &mut arguments);
        destinations.push(&change.next.destination);
    }
    let mut written = keys.written(destinations);
    written
        .extend(changes.iter().filter(|change| change.archive.is_some()).map(|change| keys.attempts(change.next.id)));
    Script::Settle.call(&written, arguments)
}
