//! The loop: take, feed, perform, re-arm the timer.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use relay_core::{
    delivery::Reason,
    hub::{ConnId, Hub, Input, Notice, Output, Ticket},
    id::InstanceId,
    jobs::ForHub,
    limits,
    name::Name,
    storage::{Append, Asked, StoreOp, Stored},
    time::Now,
    trace::Traced,
};
use relay_store::{
    Later,
    seam::{Queue, Upkeep, append_all, perform},
};
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot},
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    Event, Followed, Inlet, OldestCommit, Request, Said, Socket, View, Waiting,
    commits::{Commits, has_committed},
};
use crate::{clock::Clock, depth, metrics::Metrics, notice::Notices, outbox::Outbox, traces::Traces};

/// Inputs of one turn: enough that a full turn makes a full commit, few enough that no socket waits long.
const TURN: usize = 256;
/// Appends of one store call, so that one call is about one commit of the store.
const APPENDS_MAX: usize = 512;
/// Body bytes of one store call; a larger append goes alone.
const APPEND_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How far the timer is set when the machine waits for nothing.
const IDLE: Duration = Duration::from_hours(1);
/// A timer that is looked at so late says that the process stood still.
const STOOD_STILL: Duration = Duration::from_millis(500);
/// How long is listened then before anything is judged: the sockets' tasks read what their peers said meanwhile.
const HEARS_FOR: Duration = Duration::from_millis(300);

/// The hub's task.
pub(crate) struct Driver {
    hub: Hub,
    clock: Clock,
    /// When this turn's inputs were taken.
    now: Now,
    queue: Arc<dyn Queue>,
    upkeep: Arc<dyn Upkeep>,
    metrics: Arc<Metrics>,
    notices: Notices,
    /// Where it is told what came of tries.
    traces: Option<Arc<Traces>>,
    inlet: Inlet,
    tickets: u64,
    waiting: BTreeMap<Ticket, Waiting>,
    sockets: BTreeMap<ConnId, OpenSocket>,
    appends: BTreeMap<(Name, u16), Vec<Asked<Box<Append>>>>,
    commits: Commits,
    pending: FuturesUnordered<Pending>,
    /// Until when nothing is judged by the time.
    hears_until: Option<Instant>,
    stopping: Option<oneshot::Sender<()>>,
    stopped: bool,
}

/// A socket as the driver keeps it.
struct OpenSocket {
    outbox: Outbox,
    hangup: Option<oneshot::Sender<&'static str>>,
    /// Its queue is full; a [`Done::Space`] is under way.
    full: bool,
    /// It ends as soon as the machine has nothing more for it.
    closing: bool,
}

/// What was asked for elsewhere. A kind each, so that none costs an allocation beside its own.
enum Pending {
    Store(Later<Stored>),
    /// Since when.
    Append(Later<Vec<Stored>>, Instant),
    Other(Later<Done>),
}

impl Future for Pending {
    type Output = Done;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Done> {
        match self.get_mut() {
            Self::Store(later) => later.as_mut().poll(context).map(Done::Stored),
            Self::Append(later, began) => {
                let began = *began;
                later.as_mut().poll(context).map(|all| Done::Appended(all, began.elapsed()))
            }
            Self::Other(later) => later.as_mut().poll(context),
        }
    }
}

/// What was asked for elsewhere and is done.
enum Done {
    Stored(Stored),
    /// Appends of one call, and how long it took.
    Appended(Vec<Stored>, Duration),
    /// The queue of this socket takes at least one message again.
    Space(ConnId),
    /// A destination is up again, after this long, and so many wait for it.
    Up(Name, InstanceId, Duration, u64),
}

impl Driver {
    /// A driver of this machine, which has had its first inputs.
    pub(crate) fn new(
        hub: Hub,
        clock: Clock,
        (queue, upkeep): (Arc<dyn Queue>, Arc<dyn Upkeep>),
        metrics: Arc<Metrics>,
        inlet: Inlet,
        oldest_commit: OldestCommit,
    ) -> Self {
        let commits = Commits::new(oldest_commit, hub.has_parts());
        Self {
            hub,
            now: clock.own(),
            clock,
            queue,
            upkeep,
            metrics,
            notices: Notices::default(),
            traces: None,
            inlet,
            tickets: 0,
            waiting: BTreeMap::new(),
            sockets: BTreeMap::new(),
            appends: BTreeMap::new(),
            commits,
            pending: FuturesUnordered::new(),
            hears_until: None,
            stopping: None,
            stopped: false,
        }
    }

    /// The same, which tells of tries there, and whose lines of the log lead to the dashboard at this URL.
    pub(crate) fn telling(self, traces: Option<Arc<Traces>>, dashboard: Option<String>) -> Self {
        Self { traces, notices: Notices::linking(dashboard), ..self }
    }

    /// Drives until the hub was stopped and has settled everything, or until nobody can reach it any more.
    pub(crate) async fn run(mut self) {
        let mut requests = Vec::with_capacity(TURN);
        let mut timer = std::pin::pin!(sleep_until(Instant::now()));
        let mut arrivals = self.queue.arrivals();
        self.perform();
        self.flush();
        while !self.stopped {
            self.arm(timer.as_mut());
            // Cancel safety: `recv`, `recv_many` and `next` take nothing unless they complete; the timer is re-armed each turn, and
            // what others tell is waited for on.
            tokio::select! {
                count = self.inlet.requests.recv_many(&mut requests, TURN) => {
                    if count == 0 {
                        break;
                    }
                    self.gather(&mut requests).await;
                    self.now = self.clock.own();
                    requests.drain(..).for_each(|request| self.on_request(request));
                }
                event = self.inlet.events.recv() => {
                    let Some(event) = event else { break };
                    self.now = self.clock.own();
                    self.on_events(event);
                }
                Some(done) = self.pending.next(), if !self.pending.is_empty() => {
                    self.now = self.clock.own();
                    self.on_done(done);
                    for _ in 1..TURN {
                        let Some(Some(done)) = self.pending.next().now_or_never() else { break };
                        self.on_done(done);
                    }
                }
                names = &mut arrivals => {
                    self.now = self.clock.own();
                    for name in names {
                        self.feed(Input::Woken(name));
                    }
                    arrivals = self.queue.arrivals();
                }
                () = timer.as_mut() => {
                    self.now = self.clock.own();
                    if !self.stood_still() {
                        self.hub.handle_timeout(self.now);
                    }
                }
            }
            self.perform();
            self.flush();
            self.clock.put_right(self.hub.clock_shift());
        }
        self.inlet.turn_away_requests().await;
        if self.stopped {
            self.say_the_rest().await;
        }
        if let Some(stopped) = self.stopping.take() {
            // Whoever asked may have given up waiting.
            let _ = stopped.send(());
        }
    }

    /// Whether the process has just stood still: stopped, or without a processor. What came meanwhile, a heartbeat that names a lease
    /// among it, is heard for a moment before that lease's end is judged.
    fn stood_still(&mut self) -> bool {
        let late = self.hub.poll_timeout().is_some_and(|due| self.now.mono.since(due) >= STOOD_STILL);
        if late && self.hears_until.is_none() {
            self.hears_until = Some(Instant::now() + HEARS_FOR);
            return true;
        }
        self.hears_until = None;
        false
    }

    /// What the machine said last goes out as far as its peers take it in a moment: a client that hears that its outcomes are
    /// kept does not wait for it, nor reports them again.
    async fn say_the_rest(&mut self) {
        let rest = async {
            while self.sockets.values().any(|open| open.full)
                && let Some(done) = self.pending.next().await
            {
                if let Done::Space(conn) = done
                    && let Some(open) = self.sockets.get_mut(&conn)
                {
                    open.full = false;
                    self.transmit(conn);
                }
            }
        };
        // Whoever does not read has the rest of it from the next server.
        let _ = timeout(limits::LAST_WORDS_WITHIN, rest).await;
    }

    /// Lets every connection that is ready go first, and takes their requests too. The first to come wakes this task at
    /// once; without this pause each request would be a turn, an append and an answer of the store of its own.
    async fn gather(&mut self, requests: &mut Vec<Request>) {
        tokio::task::yield_now().await;
        while requests.len() < TURN
            && let Ok(request) = self.inlet.requests.try_recv()
        {
            requests.push(request);
        }
    }

    fn on_request(&mut self, request: Request) {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.waiting.insert(ticket, request.waiting);
        self.feed(Input::Accept { ticket, request: request.accepting });
    }

    /// A turn's events: what has come, until they are many or name much.
    fn on_events(&mut self, first: Event) {
        let mut weight = first.weight();
        self.on_event(first);
        for _ in 1..TURN {
            if weight >= limits::TURN_WEIGHT {
                break;
            }
            let Ok(event) = self.inlet.events.try_recv() else { break };
            weight = weight.saturating_add(event.weight());
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Opened { conn, token, serves, peer, socket } => {
                let Socket { outbox, hangup } = socket;
                let open = OpenSocket { outbox, hangup: Some(hangup), full: false, closing: false };
                self.sockets.insert(conn, open);
                self.feed(Input::Opened { conn, token, serves, peer });
            }
            Event::Received(conn, said) => {
                if self.sockets.get(&conn).is_some_and(|open| !open.closing) {
                    // What it has of its session's allowance it has until it is handled.
                    let Said { message, weight: _, part: _part } = said;
                    self.feed(Input::Received(conn, message));
                }
            }
            Event::Heard(conn) => self.feed(Input::Heard(conn)),
            Event::Closed(conn) => {
                self.sockets.remove(&conn);
                // Also after the hub closed it itself: only now is it gone.
                self.feed(Input::Closed(conn));
            }
            Event::Followed(followed, known) => {
                self.on_followed(followed);
                // Whoever asked may have given up waiting.
                let _ = known.send(());
            }
            Event::Changed(ForHub { touched, woken }) => {
                let touched = touched.into_iter().map(Input::Touched);
                touched.chain(woken.into_iter().map(Input::Woken)).for_each(|input| self.feed(input));
            }
            // Whoever asked may have given up waiting.
            Event::View(answer) => drop(answer.send(View::of(&self.hub, self.notices.departures()))),
            Event::Partitions(answer) => drop(answer.send(self.hub.partitions())),
            Event::Mint(count, answer) => {
                let now = self.clock.wall();
                drop(answer.send((0..count).map(|_| self.hub.mint_delivery(now)).collect()));
            }
            Event::Configured(config) => self.feed(Input::Configured(config)),
            Event::Stop(stopped) => {
                self.stopping = Some(stopped);
                self.feed(Input::Stop);
            }
        }
    }

    /// Who is let in no more gets nothing of what the new routes would give him (I21).
    fn on_followed(&mut self, Followed { revoked, routing, woken }: Followed) {
        let revoked = revoked.into_iter().map(Input::Revoked);
        let woken = woken.into_iter().map(Input::Woken);
        for input in revoked.chain(routing.map(Input::Routing)).chain(woken) {
            self.feed(input);
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Stored(stored) => {
                self.commits.end(stored.id(), has_committed(&stored), self.now.mono);
                self.feed(Input::Stored(stored));
            }
            Done::Appended(all, took) => {
                self.metrics.committed(took);
                if let Some(first) = all.first() {
                    self.commits.end(first.id(), all.iter().any(has_committed), self.now.mono);
                }
                for stored in all {
                    self.feed(Input::Stored(stored));
                }
            }
            Done::Up(destination, instance, down, waiting) => {
                self.notices.on_up(&destination, instance, down, waiting, self.now.mono);
            }
            Done::Space(conn) => {
                if let Some(open) = self.sockets.get_mut(&conn) {
                    open.full = false;
                    self.transmit(conn);
                }
            }
        }
    }

    fn feed(&mut self, input: Input) {
        self.hub.handle(input, self.now);
    }

    /// Performs all that the machine wants, in its order. Appends are gathered by source, and by part of the store, so that none waits for a part that it is not in: nothing of the same turn can
    /// depend on them, since the machine believes a write only when its completion comes back.
    fn perform(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Store(op) => self.ask(op),
                Output::Answer(ticket, answer) => {
                    if let Some(waiting) = self.waiting.remove(&ticket) {
                        waiting.hears(answer);
                    }
                }
                Output::Transmit(conn) => self.transmit(conn),
                Output::Close(conn, why) => self.close(conn, why),
                Output::Notice(Notice::DestinationUp { destination, instance }) => {
                    self.ask_waiting(destination, instance);
                }
                Output::Notice(Notice::Forwarded(forwarded)) => {
                    if let Some(traces) = &self.traces {
                        traces.put(Traced::Forwarded(forwarded));
                    }
                }
                Output::Notice(notice) => self.note(&notice),
                Output::Stopped => self.stopped = true,
            }
        }
    }

    /// Writes a notice down, and counts what ended.
    fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::DeliveryDead { destination, reason, .. } => self.metrics.ended(destination, *reason),
            Notice::DeliveryExpired { destination, .. } => self.metrics.ended(destination, Reason::Expired),
            _ => {}
        }
        self.notices.on(notice, self.now);
    }

    /// Asks how much waits for a destination that is up again, to say so.
    fn ask_waiting(&mut self, destination: Name, instance: InstanceId) {
        let down = self.notices.up(&destination, instance, self.now.mono);
        self.pending.push(Pending::Other(Box::pin(self.upkeep.stats().map(move |stats| {
            let stats = stats.map_or_else(|_| Vec::new(), |stats| stats.destinations);
            let waiting = stats.iter().find(|stats| stats.destination == destination).map_or(0, depth::waiting);
            Done::Up(destination, instance, down, waiting)
        }))));
    }

    fn ask(&mut self, op: StoreOp) {
        if matches!(op, StoreOp::Lease(_) | StoreOp::Extend(_) | StoreOp::Settle(_) | StoreOp::Replay(_)) {
            self.commits.begin(op.id(), self.now.mono);
        }
        match op {
            StoreOp::Append(asked) => {
                let part = self.hub.part_of(asked.ask.event.id);
                self.appends.entry((asked.ask.event.source.clone(), part)).or_default().push(asked);
            }
            other => self.pending.push(Pending::Store(perform(&*self.queue, other))),
        }
    }

    /// Hands the turn's appends to the store, those of a source and a part of the store together.
    fn flush(&mut self) {
        while let Some((_, group)) = self.appends.pop_first() {
            let (mut batch, mut bytes) = (Vec::with_capacity(group.len().min(APPENDS_MAX)), 0);
            for asked in group {
                let size = asked.ask.event.size();
                if !batch.is_empty() && (batch.len() == APPENDS_MAX || bytes + size > APPEND_BYTES_MAX) {
                    self.append(std::mem::take(&mut batch));
                    bytes = 0;
                }
                bytes += size;
                batch.push(asked);
            }
            self.append(batch);
        }
    }

    fn append(&mut self, batch: Vec<Asked<Box<Append>>>) {
        batch.first().into_iter().for_each(|asked| self.commits.begin(asked.id(), self.now.mono));
        let began = Instant::now();
        self.pending.push(Pending::Append(append_all(&*self.queue, batch), began));
    }

    /// Moves messages from the machine to a socket while its queue takes them; goes on when its writer made space.
    fn transmit(&mut self, conn: ConnId) {
        let Some(open) = self.sockets.get_mut(&conn) else { return };
        if open.full {
            return;
        }
        loop {
            match open.outbox.try_reserve() {
                Ok(permit) => match self.hub.poll_transmit(conn, permit.piece_bytes()) {
                    Some(message) => permit.send(message),
                    None => break,
                },
                Err(TrySendError::Full(())) => {
                    open.full = true;
                    let space = open.outbox.space();
                    self.pending.push(Pending::Other(Box::pin(space.map(move |()| Done::Space(conn)))));
                    return;
                }
                // The socket's task has ended; its `Closed` is on the way.
                Err(TrySendError::Closed(())) => break,
            }
        }
        if open.closing {
            self.sockets.remove(&conn);
        }
    }

    fn close(&mut self, conn: ConnId, why: &'static str) {
        let Some(open) = self.sockets.get_mut(&conn) else { return };
        open.closing = true;
        if let Some(hangup) = open.hangup.take() {
            // Its task may have ended already.
            let _ = hangup.send(why);
        }
        self.transmit(conn);
    }

    fn arm(&self, timer: Pin<&mut Sleep>) {
        let at = match self.hub.poll_timeout() {
            Some(at) => self.clock.instant(at).into(),
            None => Instant::now() + IDLE,
        };
        let at = self.hears_until.map_or(at, |until| at.max(until));
        if timer.deadline() != at {
            timer.reset(at);
        }
    }
}

#[cfg(test)]
mod tests;
