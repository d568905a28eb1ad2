//! Consumers of groups: each run of a server leases as one of its own, which would stay for ever.
//!
//! One goes with nothing pending, once its run is not heard of any more. With something pending it would take that along (R11): its
//! leases end first.

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    keys::{Key, Keys},
    reply::Fault,
    scripts::Script,
};

impl Core {
    /// What the consumer of a run is called.
    pub(super) fn consumer(&self, run: u64) -> String {
        format!("{}:{run:016x}", self.options.consumer)
    }

    /// Takes those out of the group of a stream whose runs are gone; gives how many.
    pub(super) async fn retire_consumers(&self, keys: &Keys, ready: Key) -> Result<u64, Fault> {
        let runs = Command::new("HGETALL").arg(self.space.runs());
        let runs = match self.nodes.readable(vec![runs]).await {
            // Who is there nobody knows as long as the registry's node is away; the index is looked at all the same.
            Err(Fault::Away) if self.nodes.is_cluster() => return Ok(0),
            runs => runs?.pop().ok_or(Fault::Away)?.many()?,
        };
        let mut arguments = vec![self.options.consumers_idle.as_millis().to_string().into_bytes()];
        for run in runs.into_iter().step_by(2) {
            // Whatever a run of another name of consumers is called, its number is behind that.
            let Ok(run) = <[u8; 8]>::try_from(run.bytes()?) else { continue };
            arguments.push(format!("{:016x}", u64::from_be_bytes(run)).into_bytes());
        }
        let call = Script::Consumers.call(&[keys.counters(), ready], arguments);
        Ok(self.nodes.commit(Urgency::Upkeep, call).await?.number()?.max(0) as u64)
    }
}
