//! Accepting.

use std::time::Duration;

use relay_core::{
    delivery::State,
    storage::{Append, AppendError, Appended},
};
use tokio::sync::oneshot;

use super::{
    Core,
    backlog::Appending,
    dedupe, event,
    place::Place,
    reply::{Fault, Replies, Reply},
    row, text,
};

/// A key is kept for so long behind its end, so that a clock that is set back does not lose it. What decides is the end itself.
const KEY_KEPT: Duration = Duration::from_hours(25);

impl Core {
    /// Stores events with their deliveries; one answer for each, in order.
    pub(super) async fn append(&self, batch: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let mut asked = Vec::with_capacity(batch.len());
        for append in &batch {
            let (answer, later) = oneshot::channel();
            self.commits.append(self.appending(append, answer));
            asked.push(later);
        }
        let mut answers = Vec::with_capacity(batch.len());
        for (append, later) in batch.iter().zip(asked) {
            let reply = later.await.unwrap_or(Err(AppendError::Unavailable));
            let answer = reply.and_then(|reply| self.appended(append, reply).map_err(Fault::of_append));
            if answer.as_ref().is_ok_and(Appended::is_stored) {
                let waits = append.deliveries.iter().filter(|made| made.state == State::Ready);
                self.hints.made_due(&mut waits.map(|made| &made.destination));
                self.acknowledged.remember(self.space.place(append.event.id.partition()), &append.deliveries);
            }
            answers.push(answer);
        }
        answers
    }

    fn appending(&self, append: &Append, answer: oneshot::Sender<Result<Reply, AppendError>>) -> Appending {
        let event = &append.event;
        let partition = self.space.place(event.id.partition());
        let keys = &self.space.partitions()[partition];
        let mut arguments = vec![event.id.as_u128().to_be_bytes().to_vec()];
        match &append.dedupe {
            Some(dedupe) => {
                let kept = dedupe.until.since(event.received_at) + KEY_KEPT;
                arguments.extend([
                    dedupe.key.to_vec(),
                    text::moment(event.received_at).into_bytes(),
                    dedupe::write(event, dedupe),
                    kept.as_millis().to_string().into_bytes(),
                ]);
            }
            None => {
                arguments.extend([Vec::new(), text::moment(event.received_at).into_bytes(), Vec::new(), Vec::new()]);
            }
        }
        let ids = append.deliveries.iter().map(|made| made.id.sequence()).chain([event.id.sequence()]);
        let moments = append.deliveries.iter().map(|made| made.changed_at).chain([event.received_at]);
        arguments.extend([
            text::sequence(ids.max().unwrap_or_default()).into_bytes(),
            text::moment(moments.max().unwrap_or_default()).into_bytes(),
            Place::of_id(event.id.as_u128()).to_string().into_bytes(),
            append.deliveries.len().to_string().into_bytes(),
        ]);
        for made in &append.deliveries {
            let id = made.id.as_u128();
            arguments.extend([id.to_be_bytes().to_vec(), row::write(made), Place::of_id(id).to_string().into_bytes()]);
        }
        Appending {
            partition,
            source: event.source.clone(),
            event: (keys.event(event.id), event::write(append)),
            arguments,
            destinations: append.deliveries.iter().map(|made| made.destination.clone()).collect(),
            received_at: event.received_at,
            deadline: append.deadline,
            answer,
        }
    }

    fn appended(&self, append: &Append, reply: Reply) -> Result<Appended, Fault> {
        let event = &append.event;
        let mut replies = Replies::new(reply.many()?);
        match &replies.next()?.bytes()?[..] {
            b"s" => Ok(Appended::as_asked(event.id)),
            b"a" => {
                let deliveries = self.pairs(Replies::new(replies.next()?.many()?))?;
                Ok(Appended::Stored { event: event.id, deliveries })
            }
            _ => {
                let entry = replies.next()?.bytes()?;
                let gone = replies.next()?.number()? != 0;
                let deliveries = self.pairs(Replies::new(replies.next()?.many()?))?;
                let key = append.dedupe.as_ref().map_or([0; 32], |dedupe| dedupe.key);
                let taken = dedupe::read(&event.source, &key, &entry);
                let taken = self.damage.told(&format_args!("a dedupe key of {}", event.source), taken)?;
                Ok(Appended::Repeat {
                    first: taken.event,
                    received_at: taken.received_at,
                    differs: taken.body_sha256 != event.body_sha256,
                    deliveries,
                    gone,
                })
            }
        }
    }
}
