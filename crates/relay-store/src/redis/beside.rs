//! What stands beside rows and events and has a seal: earlier attempts, names of later deliveries, dedupe entries, marks of jobs.

use std::fmt;

use relay_core::{
    id::{DeliveryId, EventId, JobId},
    name::Name,
};

use super::{
    Core,
    client::Command,
    dedupe::{self, Entry},
    keys::Key,
    mark, replays,
    reply::{Fault, Reply},
};
use crate::{
    cipher::Ciphers,
    record::{self, RecordError},
};

/// Which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Earlier attempts of a delivery.
    Attempts(DeliveryId),
    /// Names of deliveries that were made of an event later.
    Replays(EventId),
    /// A dedupe entry.
    Dedupe(Name, [u8; 32]),
    /// How far a job is.
    Mark(JobId),
}

/// What came of reading it.
pub(super) enum Read {
    /// It holds, or is gone by now.
    Whole,
    /// Some of it, at least, does not hold.
    Damaged {
        /// Why.
        error: RecordError,
        /// What would hold in its place, if anything does.
        holds: Vec<Vec<u8>>,
    },
}

impl Beside {
    /// Of a key that is called so within its partition.
    pub(super) fn of(within: &[u8]) -> Option<Self> {
        let id = |kind: &str| {
            let id = within.strip_prefix(kind.as_bytes())?;
            id.try_into().ok().map(u128::from_be_bytes)
        };
        if let Some(id) = id("t:") {
            return Some(Self::Attempts(DeliveryId::from_u128(id)));
        }
        if let Some(id) = id("r:") {
            return Some(Self::Replays(EventId::from_u128(id)));
        }
        if let Some(id) = id("step:") {
            return Some(Self::Mark(JobId::from_u128(id)));
        }
        let (source, key) = within.strip_prefix(b"k:")?.split_last_chunk::<32>()?;
        let source = std::str::from_utf8(source.strip_suffix(b":")?).ok()?;
        Some(Self::Dedupe(source.parse().ok()?, *key))
    }

    fn read(&self, reply: Reply, ciphers: &Ciphers) -> Result<Read, Fault> {
        if matches!(reply.refusal(), Some(Fault::Damaged(_) | Fault::Unexpected(_))) {
            return Ok(Read::Damaged { error: RecordError::Field("its type"), holds: Vec::new() });
        }
        if let Self::Attempts(of) = self {
            let attempts = reply.many()?.into_iter().map(Reply::bytes).collect::<Result<Vec<_>, _>>()?;
            let fault = |attempt: &[u8]| record::decode_attempt(attempt, of.sequence(), ciphers).err();
            let error = attempts.iter().find_map(|attempt| fault(attempt));
            // What may be whole stays.
            let holds = attempts.into_iter().filter(|attempt| fault(attempt).is_none_or(|error| error.is_later()));
            return Ok(error.map_or(Read::Whole, |error| Read::Damaged { error, holds: holds.collect() }));
        }
        let Some(bytes) = reply.maybe_bytes()? else { return Ok(Read::Whole) };
        Ok(match self.read_bytes(&bytes) {
            Ok(()) => Read::Whole,
            Err((error, holds)) => Read::Damaged { error, holds: holds.into_iter().collect() },
        })
    }

    /// Else why not, and what would hold.
    fn read_bytes(&self, bytes: &[u8]) -> Result<(), (RecordError, Option<Vec<u8>>)> {
        match self {
            Self::Attempts(_) => Ok(()),
            Self::Replays(event) => {
                let found = replays::read(*event, bytes);
                let left: Vec<u8> = found.ids.into_iter().flat_map(|id| replays::write(*event, id)).collect();
                found.whole.map_err(|error| (error, Some(left).filter(|left| !left.is_empty())))
            }
            Self::Dedupe(source, key) => match dedupe::read(source, key, bytes) {
                Ok(Entry::Whole(_)) => Ok(()),
                Ok(Entry::Apart(meant)) => Err((RecordError::Field("what is in the open"), Some(meant))),
                Err(error) => Err((error, None)),
            },
            Self::Mark(job) => mark::read(*job, Some(bytes)).map(drop).map_err(|error| (error, None)),
        }
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempts(id) => write!(f, "an attempt of {id}"),
            Self::Replays(event) => write!(f, "what was made of {event} later"),
            Self::Dedupe(source, _) => write!(f, "a dedupe key of {source}"),
            Self::Mark(job) => job.fmt(f),
        }
    }
}

impl Core {
    /// Reads these; those that do not hold are named.
    pub(super) async fn read_beside(&self, of: Vec<(Beside, Key)>) -> Result<Vec<(Beside, Key, Read)>, Fault> {
        let ask = |(beside, key): &(Beside, Key)| match beside {
            Beside::Attempts(_) => Command::new("LRANGE").arg(key).number(0).number(-1),
            Beside::Replays(_) | Beside::Dedupe(..) | Beside::Mark(_) => Command::new("GET").arg(key),
        };
        let replies = self.nodes.ask_leniently(of.iter().map(ask).collect()).await?;
        let mut all = Vec::with_capacity(of.len());
        for ((beside, key), reply) in of.into_iter().zip(replies) {
            let read = beside.read(reply, self.ciphers())?;
            if let Read::Damaged { error, .. } = &read {
                self.damage.name(&beside, error);
            }
            all.push((beside, key, read));
        }
        Ok(all)
    }
}
