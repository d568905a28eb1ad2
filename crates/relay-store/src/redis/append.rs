//! Accepting.

use std::time::Duration;

use bytes::Bytes;
use relay_core::{
    delivery::State,
    id::{DeliveryId, EventId},
    storage::{Append, AppendError, Appended},
};
use tokio::sync::oneshot;

use super::{
    Core,
    backlog::Appending,
    dedupe::{self, Entry},
    event,
    place::Place,
    reply::{Fault, Replies, Reply},
    row, text,
};
use crate::record::RecordError;

/// A key is kept for so long behind its end, so that a clock that is set back does not lose it. What decides is the end itself.
const KEY_KEPT: Duration = Duration::from_hours(25);
/// So often one append is asked for again because of what the entry of its key is found to be.
const ASKS_MAX: usize = 4;

/// What the entry of a key was found to be, for the script to go by.
#[derive(Debug, Default)]
struct Judged {
    /// The entry.
    seen: Vec<u8>,
    /// What it is in truth; nothing: none that holds.
    mended: Vec<u8>,
}

/// What a reply comes to.
enum Came {
    Of(Appended),
    /// To be asked for again.
    Again(Judged),
}

impl Core {
    /// Stores events with their deliveries; one answer for each, in order.
    pub(super) async fn append(&self, batch: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        self.nodes.are_asked().await;
        let mut asked = Vec::with_capacity(batch.len());
        for append in &batch {
            asked.push(self.ask_append(append, Judged::default()));
        }
        let mut answers = Vec::with_capacity(batch.len());
        for (append, later) in batch.iter().zip(asked) {
            let answer = self.answer_of(append, later).await;
            if answer.as_ref().is_ok_and(Appended::is_stored) {
                let waits = append.deliveries.iter().filter(|made| made.state == State::Ready);
                self.hints.made_due(&mut waits.map(|made| &made.destination));
                self.acknowledged.remember(self.space.place(append.event.id.partition()), &append.deliveries);
            }
            answers.push(answer);
        }
        answers
    }

    fn ask_append(&self, append: &Append, judged: Judged) -> oneshot::Receiver<Result<Reply, AppendError>> {
        let (answer, later) = oneshot::channel();
        self.nodes.append(self.appending(append, judged, answer));
        later
    }

    async fn answer_of(
        &self,
        append: &Append,
        mut later: oneshot::Receiver<Result<Reply, AppendError>>,
    ) -> Result<Appended, AppendError> {
        for _ in 0..ASKS_MAX {
            let reply = later.await.unwrap_or(Err(AppendError::Unavailable))?;
            match self.came(append, reply).map_err(Fault::of_append)? {
                Came::Of(appended) => return Ok(appended),
                Came::Again(judged) => later = self.ask_append(append, judged),
            }
        }
        // Whoever changes that entry all the time: the same append may be asked for again.
        Err(AppendError::Unknown)
    }

    fn appending(
        &self,
        append: &Append,
        judged: Judged,
        answer: oneshot::Sender<Result<Reply, AppendError>>,
    ) -> Appending {
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
        arguments.extend([judged.seen, judged.mended]);
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
            arguments.extend([
                id.to_be_bytes().to_vec(),
                row::write(made, self.ciphers()),
                Place::of_id(id).to_string().into_bytes(),
            ]);
        }
        Appending {
            partition,
            source: event.source.clone(),
            event: (keys.event(event.id), event::write(append, self.ciphers())),
            arguments,
            destinations: append.deliveries.iter().map(|made| made.destination.clone()).collect(),
            received_at: event.received_at,
            deadline: append.deadline,
            answer,
        }
    }

    fn came(&self, append: &Append, reply: Reply) -> Result<Came, Fault> {
        let id = append.event.id;
        let mut replies = Replies::new(reply.many()?);
        match &replies.next()?.bytes()?[..] {
            b"s" => Ok(Came::Of(Appended::as_asked(id))),
            b"a" => {
                let (deliveries, there) = self.some_of(Replies::new(replies.next()?.many()?))?;
                // As if it were all as asked for, it must not look.
                if deliveries.len() < there {
                    return Err(Fault::Damaged(format!("deliveries of {id}").into()));
                }
                Ok(Came::Of(Appended::Stored { event: id, deliveries }))
            }
            b"q" => {
                let seen = replies.next()?.bytes()?;
                let mended = match self.entry(append, &seen) {
                    Some(Entry::Whole(_)) | None => Vec::new(),
                    Some(Entry::Apart(mended)) => mended,
                };
                Ok(Came::Again(Judged { seen, mended }))
            }
            _ => self.repeated(append, replies),
        }
    }

    /// The key was taken, if its entry holds. What cannot be delivered any more takes no key: its repeat is an event of its own (I20).
    fn repeated(&self, append: &Append, mut replies: Replies) -> Result<Came, Fault> {
        let seen = replies.next()?.bytes()?;
        let taken = match self.entry(append, &seen) {
            Some(Entry::Whole(taken)) => taken,
            Some(Entry::Apart(mended)) => return Ok(Came::Again(Judged { seen, mended })),
            None => return Ok(Came::Again(Judged { seen, mended: Vec::new() })),
        };
        let value = Bytes::from(replies.next()?.bytes()?);
        let Some(stored_with) = self.stored_with(taken.event, &value) else {
            return Ok(Came::Again(Judged { seen, mended: Vec::new() }));
        };
        let later = self.replays(taken.event, &replies.next()?.bytes()?);
        let listed = stored_with.len() + later.ids.len();
        let (deliveries, _) = self.some_of(Replies::new(replies.next()?.many()?))?;
        let gone = deliveries.len() < listed || listed == 0 || later.whole.is_err();
        Ok(Came::Of(Appended::Repeat {
            first: taken.event,
            received_at: taken.received_at,
            differs: taken.body_sha256 != append.event.body_sha256,
            deliveries,
            gone,
        }))
    }

    /// What an entry of the key of an append says; one that does not hold is named.
    fn entry(&self, append: &Append, entry: &[u8]) -> Option<Entry> {
        let (source, key) = (&append.event.source, append.dedupe.as_ref().map_or([0; 32], |dedupe| dedupe.key));
        let what = format_args!("a dedupe key of {source}");
        let found = self.damage.passed(&what, dedupe::read(source, &key, entry))?;
        if matches!(found, Entry::Apart(_)) {
            self.damage.name(&what, &RecordError::Field("what is in the open"));
        }
        Some(found)
    }

    /// Ids that an event was stored with, by the first bytes of its value; nothing: it is known to be damaged.
    fn stored_with(&self, id: EventId, value: &Bytes) -> Option<Vec<DeliveryId>> {
        let ids = self.damage.passed(&id, event::read_ids(id, value, self.ciphers()))?;
        (!self.damage.is_known(&id)).then_some(ids)
    }
}
