//! One lease as the hub holds it.

use std::sync::Arc;

use super::{clocks::Clocks, room::Pair};
use crate::{
    delivery::Delivery,
    event::Event,
    id::InstanceId,
    time::{Mono, Wall},
    trace::Trace,
};

/// A lease.
#[derive(Debug)]
pub(super) struct Held {
    /// The record as last known.
    pub(super) delivery: Delivery,
    pub(super) instance: InstanceId,
    /// Its end unless extended.
    pub(super) until: Wall,
    /// Not extended beyond this; set when its body has left, and once more when its client has it whole.
    pub(super) cap: Option<Wall>,
    pub(super) sent: Sent,
    /// Its event, once it is read and until the body has left, with the room it takes meanwhile.
    pub(super) event: Option<(Arc<Event>, u64)>,
    /// That event came in and was not stored first.
    pub(super) borrowed: bool,
    /// When it was put in line.
    pub(super) lined_at: Mono,
    /// A part of it has left, and the rest is to be read again.
    pub(super) rest: Option<Rest>,
    /// The probe of an open circuit.
    pub(super) probe: bool,
    /// Taken over from another run of the server, and its instance has not come yet.
    pub(super) rearmed: bool,
    /// Whether its end is stored is being found out.
    pub(super) in_doubt: bool,
    /// The trace that its try is told in, once its grant is in line.
    pub(super) trace: Option<Trace>,
    /// Where it stands in its instance's list.
    pub(super) place: usize,
}

/// How much of a grant has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sent {
    /// Nothing: it waits for room; or it is a suspect, and waits until its instance holds nothing else of the destination.
    Waiting,
    /// Nothing: its body is being read.
    Reading,
    /// Nothing yet.
    Queued,
    /// A part of the body.
    Begun,
    /// Everything, as far as this end can see: the rest may still be on its way.
    Done,
    /// Its client has named it, so it has the whole body.
    Named,
}

/// What is to be sent yet of a grant that has begun to leave and was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// How much of the body has left.
    pub(super) offset: usize,
    /// It has room, and is being read.
    pub(super) reading: bool,
}

impl Held {
    pub(super) fn new(instance: InstanceId, delivery: Delivery, probe: bool, clocks: &Clocks) -> Self {
        let until = delivery.lease.map_or(Wall::MIN, |lease| clocks.own(lease.until));
        Self {
            delivery,
            instance,
            until,
            cap: None,
            sent: Sent::Waiting,
            event: None,
            borrowed: false,
            lined_at: Mono::default(),
            rest: None,
            probe,
            rearmed: false,
            in_doubt: false,
            trace: None,
            place: 0,
        }
    }

    /// Whose it is.
    pub(super) fn pair(&self) -> Pair {
        (self.instance, self.delivery.destination.clone())
    }
}
