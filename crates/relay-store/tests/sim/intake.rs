//! The memory that bodies come in with: what of it is taken, and by what.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use relay_core::{event::Event, storage::StoreOp};

use crate::world::World;

/// Bytes of bodies that came in and are still held by somebody in the server's process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intake(Arc<AtomicU64>);

/// One body; it is counted as long as anybody holds a piece of it.
struct Body {
    bytes: Bytes,
    intake: Intake,
}

impl Intake {
    /// A body as the ingress hands it to the hub.
    pub(crate) fn body(&self, bytes: &Bytes) -> Bytes {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Bytes::from_owner(Body { bytes: bytes.clone(), intake: self.clone() })
    }

    fn held(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.intake.0.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

impl World {
    /// I15, I16: beside the requests that wait for their answer, at most a quarter of the memory for what comes in is taken.
    pub(crate) fn check_intake(&mut self) {
        let waiting: u64 = self.tickets.values().map(|(sending, _)| self.sendings[*sending].body.len() as u64).sum();
        let lent = self.intake.held().saturating_sub(waiting);
        if lent > self.plan.servers as u64 * self.plan.intake_bytes / 4 {
            let of = self.plan.intake_bytes;
            self.oracle.broken("I16", format!("clients hold {lent} of the {of} bytes that are for what comes in"));
        }
    }
}

/// Whether it changes what is stored: its answer may be lost.
pub(crate) fn writes(op: &StoreOp) -> bool {
    !matches!(op, StoreOp::Find(_) | StoreOp::Due(_) | StoreOp::Held(_) | StoreOp::Clock(_))
}

/// The operation with bodies of its own, as a disk has them.
pub(crate) fn on_disk(op: &StoreOp) -> StoreOp {
    let mut op = op.clone();
    if let StoreOp::Append(append) = &mut op {
        let body = Bytes::copy_from_slice(&append.ask.event.body);
        append.ask.event = Arc::new(Event { body, ..Event::clone(&append.ask.event) });
    }
    op
}
