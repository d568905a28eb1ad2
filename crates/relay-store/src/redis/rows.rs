//! Reading deliveries: those of an answer, and those of ids.

use relay_core::{
    delivery::{Attempt, Delivery},
    id::DeliveryId,
};

use super::{
    Core,
    client::Command,
    reply::{Fault, Replies, Reply},
    row,
};
use crate::record;

/// An id of an answer or an entry.
pub(super) fn id(bytes: &[u8]) -> Result<u128, Fault> {
    let bits: [u8; 16] = bytes.try_into().map_err(|_| Fault::Damaged("an id that is none".into()))?;
    Ok(u128::from_be_bytes(bits))
}

/// Ids that stand one behind the other; what is too short for one is none.
pub(super) fn ids(bytes: &[u8]) -> impl Iterator<Item = u128> {
    bytes.as_chunks::<16>().0.iter().map(|bits| u128::from_be_bytes(*bits))
}

impl Core {
    /// One row, if it reads; else it is named.
    pub(super) fn row(&self, id: DeliveryId, bytes: &[u8]) -> Option<Delivery> {
        self.damage.passed(&id, row::read(id, bytes, self.ciphers()))
    }

    /// Id and row, one behind the other: those that read.
    pub(super) fn pairs(&self, replies: Replies) -> Result<Vec<Delivery>, Fault> {
        Ok(self.some_of(replies)?.0)
    }

    /// The same, and how many there are.
    pub(super) fn some_of(&self, mut replies: Replies) -> Result<(Vec<Delivery>, usize), Fault> {
        let (mut found, mut there) = (Vec::new(), 0);
        while !replies.is_over() {
            let id = DeliveryId::from_u128(id(&replies.next()?.bytes()?)?);
            found.extend(self.row(id, &replies.next()?.bytes()?));
            there += 1;
        }
        Ok((found, there))
    }

    /// Those of these ids, in order; `None` for those that are gone or do not read.
    pub(super) async fn find(&self, ids: &[DeliveryId]) -> Result<Vec<Option<Delivery>>, Fault> {
        let get = |id: &DeliveryId| Command::new("GET").arg(self.space.of_delivery(*id).delivery(*id));
        let replies = self.nodes.readable(ids.iter().map(get).collect()).await?;
        let read = |(id, reply): (&DeliveryId, Reply)| Ok(reply.maybe_bytes()?.and_then(|bytes| self.row(*id, &bytes)));
        ids.iter().zip(replies).map(read).collect()
    }

    /// Those of these ids that are there and read, in order.
    pub(super) async fn found(&self, ids: &[DeliveryId]) -> Result<Vec<Delivery>, Fault> {
        Ok(self.find(ids).await?.into_iter().flatten().collect())
    }

    /// The attempts of a delivery, oldest first, the latest included.
    pub(super) async fn attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>, Fault> {
        let keys = self.space.of_delivery(id);
        let asked = vec![
            Command::new("LRANGE").arg(keys.attempts(id)).number(0).number(-1),
            Command::new("GET").arg(keys.delivery(id)),
        ];
        let mut replies = Replies::new(self.nodes.ask(asked).await?);
        let mut attempts = Vec::new();
        for sealed in replies.next()?.many()? {
            let read = record::decode_attempt(&sealed.bytes()?, id.sequence(), self.ciphers());
            attempts.extend(self.damage.passed(&format_args!("an attempt of {id}"), read));
        }
        let found = replies.next()?.maybe_bytes()?.and_then(|bytes| self.row(id, &bytes));
        attempts.extend(found.and_then(|found| found.last));
        Ok(attempts)
    }
}
