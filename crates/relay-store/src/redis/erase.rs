//! Erasing: what was received of an event, and what was answered to it, is written over.

use bytes::Bytes;
use relay_core::{
    delivery,
    delivery::State,
    id::{DeliveryId, EventId},
    storage::Erased,
};

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    event::{self, Erasing},
    reply::{Fault, Reply},
    retire::LOOKS_MAX,
    row,
    scripts::Script,
};
use crate::record::{self, RecordError};

/// What the script says.
const DONE: i64 = 1;
const OPEN: i64 = 2;

impl Core {
    /// Erases an event, if nothing of it may still go out. What was answered to it goes behind it: where this process ends in between, it is
    /// gone when the same is asked for again.
    pub(super) async fn erase(&self, id: EventId) -> Result<Erased, Fault> {
        let keys = self.space.of_event(id);
        let over: Vec<u8> =
            State::ALL.into_iter().filter(|state| delivery::is_over_for_good(*state)).map(row::digit).collect();
        for _ in 0..LOOKS_MAX {
            let Some(value) = self.value_of(&keys.event(id)).await? else { return Ok(Erased::Gone) };
            let read = event::erased(id, &Bytes::from(value), self.ciphers());
            let Some(Erasing { front, begin, erased }) = self.damage.passed(&id, read) else {
                return Ok(Erased::Damaged);
            };
            let Some(erased) = erased else {
                self.erase_answers(id, &front).await?;
                return Ok(Erased::Before);
            };
            let source = front.head.event.source.as_str().as_bytes().to_vec();
            let bits = id.as_u128().to_be_bytes().to_vec();
            let arguments = [bits, source, front.sealed.to_vec(), begin.to_vec(), erased, over.clone()];
            let call = Script::Erase.call(&keys.written(Vec::new()), arguments);
            match self.nodes.commit(Urgency::Upkeep, call).await?.number()? {
                DONE => {
                    self.erase_answers(id, &front).await.map_err(|fault| fault.behind(true))?;
                    return Ok(Erased::Now);
                }
                OPEN => return Ok(Erased::Open),
                _ => {}
            }
        }
        Err(Fault::Away)
    }

    /// What targets answered to its deliveries, and to those of them that are removed by now.
    async fn erase_answers(&self, id: EventId, front: &event::Front) -> Result<(), Fault> {
        for delivery in self.ids_of(id, front).await? {
            self.erase_row(delivery).await?;
            self.erase_attempts(delivery).await?;
        }
        Ok(())
    }

    async fn erase_row(&self, id: DeliveryId) -> Result<(), Fault> {
        let key = self.space.of_delivery(id).delivery(id);
        let Some(found) = self.value_of(&key).await? else { return Ok(()) };
        let erased = self.damage.passed(&id, row::erased(id, &found, self.ciphers())).flatten();
        let Some(erased) = erased else { return Ok(()) };
        let call = Script::Reseal.call(std::slice::from_ref(&key), [found, erased]);
        // Nothing changes it any more, but its place in an index.
        self.again_if_other(call).await
    }

    async fn erase_attempts(&self, id: DeliveryId) -> Result<(), Fault> {
        let key = self.space.of_delivery(id).attempts(id);
        let read = vec![Command::new("LRANGE").arg(&key).number(0).number(-1)];
        let found = self.nodes.readable(read).await?.pop().ok_or(Fault::Away)?;
        let Reply::Many(found) = found else { return Ok(()) };
        let found = found.into_iter().map(Reply::bytes).collect::<Result<Vec<_>, _>>()?;
        let erased = found.iter().map(|bytes| self.erased_attempt(id, bytes));
        let erased = self.damage.passed(&format_args!("an attempt of {id}"), erased.collect::<Result<Vec<_>, _>>());
        let Some(erased) = erased.filter(|erased| *erased != found) else { return Ok(()) };
        let mut arguments = vec![found.len().to_string().into_bytes()];
        arguments.extend(found);
        arguments.extend(erased);
        self.again_if_other(Script::ResealList.call(std::slice::from_ref(&key), arguments)).await
    }

    fn erased_attempt(&self, id: DeliveryId, bytes: &[u8]) -> Result<Vec<u8>, RecordError> {
        let attempt = record::decode_attempt(bytes, id.sequence(), self.ciphers())?;
        let Some(erased) = record::erased_attempt(&attempt) else { return Ok(bytes.to_vec()) };
        let mut out = Vec::with_capacity(bytes.len());
        record::encode_attempt(&erased, id.sequence(), self.ciphers(), &mut out);
        Ok(out)
    }

    /// What has changed since it was read is read again when the same is asked for once more.
    async fn again_if_other(&self, call: Command) -> Result<(), Fault> {
        match self.nodes.commit(Urgency::Upkeep, call).await?.number()? {
            0 => Err(Fault::Unknown),
            _ => Ok(()),
        }
    }
}
