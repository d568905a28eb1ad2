//! The hub, as the rest of the server reaches it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use relay_core::{
    hub::{Accepting, Answer, ConnId, DestinationView, Hub, ServerView, UnroutedView},
    id::DeliveryId,
    limits,
    partitions::Partitions,
    storage::Apart,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{Event, Followed, QUEUE, Request, Waiting};
use crate::{departures::Departures, quotas::Hold};

/// Reaches the hub. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    requests: mpsc::Sender<Request>,
    events: mpsc::Sender<Event>,
    conns: Arc<AtomicU64>,
}

/// What the hub knows of destinations and clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Destinations that are routed to or served.
    pub(crate) destinations: Vec<DestinationView>,
    /// What clients want to serve and no route leads to, the first few.
    pub(crate) unrouted: Vec<UnroutedView>,
    /// Other servers that work on the store.
    pub(crate) servers: Vec<ServerView>,
    /// Clients that they have and this one has not.
    pub(crate) clients_elsewhere: usize,
    /// How far this server's clock is from theirs: it takes no leases.
    pub(crate) clock_apart: Option<Apart>,
    /// Who went last, of each destination.
    pub(crate) departures: Departures,
}

impl View {
    pub(super) fn of(hub: &Hub, departures: Departures) -> Self {
        let (destinations, unrouted) = (hub.view(), hub.unrouted(limits::HINTS_SHOWN));
        let (clients_elsewhere, clock_apart) = (hub.clients_elsewhere(), hub.clock_apart());
        Self { destinations, unrouted, servers: hub.servers(), clients_elsewhere, clock_apart, departures }
    }

    /// Clients that serve something, at whatever server.
    pub(crate) fn clients(&self) -> usize {
        let here = self.destinations.iter().flat_map(|seen| &seen.clients).map(|client| client.instance);
        here.collect::<BTreeSet<_>>().len() + self.clients_elsewhere
    }
}

/// Where the driver takes from what the handles put in.
pub(crate) struct Inlet {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) events: mpsc::Receiver<Event>,
}

impl Inlet {
    /// Answers what nobody will take any more: nothing was done with it, and nothing comes behind it.
    pub(super) async fn turn_away_requests(&mut self) {
        // First, so that none slips in behind the last one.
        self.requests.close();
        while let Some(request) = self.requests.recv().await {
            request.waiting.hears(Answer::Stopping);
        }
    }
}

#[cfg(test)]
impl Inlet {
    /// The next event, for a test that stands where the hub is.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Handle {
    /// A handle and where it leads.
    pub(crate) fn new() -> (Self, Inlet) {
        let (requests, requests_in) = mpsc::channel(QUEUE);
        let (events, events_in) = mpsc::channel(QUEUE);
        let handle = Self { requests, events, conns: Arc::default() };
        (handle, Inlet { requests: requests_in, events: events_in })
    }

    /// Makes a request durable. Dropping the future gives up the answer, not the request, nor what is held for it.
    pub(crate) async fn accept(&self, accepting: Box<Accepting>, hold: Option<Box<Hold>>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let request = Request { accepting, waiting: Waiting { answer, hold } };
        if self.requests.send(request).await.is_err() {
            // It has ended, and was never asked: nothing is uncertain.
            return Answer::Stopping;
        }
        answered.await.unwrap_or(Answer::Unavailable)
    }

    /// A number for a new socket.
    pub(crate) fn next_conn(&self) -> ConnId {
        ConnId(self.conns.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells the hub; waits while it is busy. `false` if it has ended.
    pub(crate) async fn tell(&self, event: Event) -> bool {
        // There is nearly always room, and then a message costs no wait.
        match self.events.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(event)) => self.events.send(event).await.is_ok(),
            Err(TrySendError::Closed(_)) => false,
        }
    }

    /// Tells the hub what follows from a change of the registry; completes when it has that, or has ended.
    pub(crate) async fn follow(&self, followed: Followed) {
        let (known, done) = oneshot::channel();
        self.tell(Event::Followed(followed, known)).await;
        // An error means that the hub has ended: nothing is accepted any more that could go the wrong way.
        let _ = done.await;
    }

    /// What the hub knows; empty if it has ended.
    pub(crate) async fn view(&self) -> View {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::View(answer)).await;
        answered.await.unwrap_or_default()
    }

    /// The partitions of the store that this server looks after; `None` if the hub has ended.
    pub(crate) async fn partitions(&self) -> Option<Partitions> {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Partitions(answer)).await;
        answered.await.ok()
    }

    /// New delivery ids; `None` if the hub has ended.
    pub(crate) async fn mint(&self, count: usize) -> Option<Vec<DeliveryId>> {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Mint(count, answer)).await;
        answered.await.ok()
    }

    /// Stops the hub; completes when every lease is settled or handed back.
    pub(crate) async fn stop(&self) {
        let (stopped, done) = oneshot::channel();
        self.tell(Event::Stop(stopped)).await;
        // An error means that the hub has ended, which is what was asked for.
        let _ = done.await;
    }
}
