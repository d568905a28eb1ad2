//! Drives the core's hub: one task, one loop over all that can happen to it.
//!
//! The loop takes what is there, feeds it to the machine one by one, performs what the machine wants, and hands the
//! appends of a turn to the store together, so that many requests share one commit.
//!
//! **Invariant:** nothing here decides about a delivery.

mod allowance;
mod commits;
mod driver;
mod handle;
mod past;

use std::sync::Arc;

use relay_core::{
    hub::{Accepting, Answer, ConnId, Serves},
    id::DeliveryId,
    jobs::ForHub,
    name::Name,
    partitions::Partitions,
    routing::Routing,
};
use tokio::sync::oneshot;

pub(crate) use allowance::{Allowance, Said};
pub(crate) use commits::OldestCommit;
pub(crate) use driver::Driver;
pub(crate) use handle::{Handle, Inlet, View};

use crate::{outbox::Outbox, quotas::Hold};

/// Events that wait for the hub; more than a turn takes, so that a turn is full under load.
const QUEUE: usize = 1024;

/// A request that waits for its acknowledgement.
pub(crate) struct Request {
    accepting: Box<Accepting>,
    waiting: Waiting,
}

/// Who waits for the answer to a request, and what is held for it of its source's quotas.
struct Waiting {
    answer: oneshot::Sender<Answer>,
    hold: Option<Box<Hold>>,
}

impl Waiting {
    /// Tells the answer. What is stored is counted whether or not its sender is there to hear of it.
    fn hears(self, answer: Answer) {
        let is_new = matches!(answer, Answer::Accepted { repeat: false, .. });
        if let Some(hold) = self.hold.filter(|_| is_new) {
            hold.count();
        }
        // The sender may have gone away; the event stays.
        let _ = self.answer.send(answer);
    }
}

/// All that can happen to the hub but requests, answers of the store and time.
pub(crate) enum Event {
    /// A client passed the token check.
    Opened { conn: ConnId, token: Name, serves: Serves, peer: String, socket: Socket },
    /// A client said something.
    Received(ConnId, Said),
    /// A client is about to say something: part of it came.
    Heard(ConnId),
    /// A client's socket is gone.
    Closed(ConnId),
    /// The registry changed; told once the machine has what follows.
    Followed(Followed, oneshot::Sender<()>),
    /// Something was done past the hub, by an operator's hand.
    Changed(ForHub),
    /// Somebody wants to know.
    View(oneshot::Sender<View>),
    /// Somebody wants to know what this server looks after.
    Partitions(oneshot::Sender<Partitions>),
    /// Somebody makes deliveries (replays) and needs ids that rise with the hub's own.
    Mint(usize, oneshot::Sender<Vec<DeliveryId>>),
    /// The configuration was read anew, and has this digest.
    Configured([u8; 32]),
    /// Stop; told when every lease is settled or handed back.
    Stop(oneshot::Sender<()>),
}

/// What follows for the hub from a change of the registry.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Followed {
    /// Tokens that were revoked or serve something else: their sockets are closed, and nothing is given to them any more.
    pub(crate) revoked: Vec<Name>,
    /// Routes and pauses, if they are others.
    pub(crate) routing: Option<Arc<Routing>>,
    /// Destinations that are not paused any more.
    pub(crate) woken: Vec<Name>,
}

impl Event {
    /// What it costs to handle, beside the others of a turn.
    fn weight(&self) -> u32 {
        if let Self::Received(_, said) = self { said.weight } else { 1 }
    }
}

/// The hub's end of a client's socket.
pub(crate) struct Socket {
    /// To its writer.
    pub(crate) outbox: Outbox,
    /// Asks it to end soon, whether or not its peer reads.
    pub(crate) hangup: oneshot::Sender<&'static str>,
}
