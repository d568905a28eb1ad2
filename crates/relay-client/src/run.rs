//! The driver: one loop over one closed set of events, which feeds the session machine and does what it asks.
//!
//! **Invariant:** no decision about a delivery is made here, and nothing is spawned: when [`run`] returns, nothing of the
//! client is left.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream as _, StreamExt as _, stream::FuturesUnordered};
use relay_core::{
    client::{Client, DialFailure, Exit, Forward, Input, Notice, Output, Served, Setup},
    id::InstanceId,
    limits,
    name::Name,
    time::Mono,
    wire::message::{Message, Report},
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Interval, Sleep},
};

use crate::{
    clock::Clock,
    config::{Config, Destination},
    dial::{Dialer, DialerError},
    forward::{self, Target, TargetError},
    listen,
    notice::{self, Notices},
    status::Status,
    transport::Transport,
};

/// Events after which what is to be sent is sent and timers are looked at, even while more events wait.
const EVENTS_PER_FLUSH: u32 = 32;

/// Hears of each try at a target, on the client's loop: it must not take long.
pub type Watcher = Box<dyn FnMut(&Forward, &relay_core::delivery::outcome::Outcome) + Send>;

/// What a client waits for at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Requests at their targets.
    pub requests: u32,
    /// Outcomes that the server has not confirmed.
    pub outcomes: u32,
    /// How long it waits at most.
    pub grace: Duration,
}

/// What reaches a running client from outside, and what is told there.
#[derive(Default)]
pub struct Outside {
    /// Hears of each try, in place of the log.
    pub watcher: Option<Watcher>,
    /// Hears what a stop waits for.
    pub stopping: Option<Box<dyn FnOnce(Waiting) + Send>>,
    /// Configurations to go on with.
    pub reloads: Option<mpsc::Receiver<Config>>,
    /// Counts the lines of the log that were lost.
    pub lost_lines: Option<Arc<AtomicU64>>,
}

/// One attempt to reach the server.
pub type Dialing = Pin<Box<dyn Future<Output = Result<Transport, DialFailure>> + Send>>;

/// How a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop; everything is settled or handed back.
    Stopped,
    /// It was told to stop, and forwards or confirmations took longer than the grace.
    GraceExceeded,
    /// The server refused its token.
    TokenRefused,
    /// The server speaks another protocol version.
    VersionRefused,
}

/// Why a client cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server cannot be dialled with this configuration.
    #[error("failed to prepare the connection to the server")]
    Dialer(#[from] DialerError),
    /// A target cannot be used.
    #[error("failed to prepare the target of destination {destination}")]
    Target {
        /// Of which destination.
        destination: Name,
        /// Why.
        #[source]
        source: TargetError,
    },
    /// The listener for health and metrics cannot be opened.
    #[error("failed to listen on {addr}")]
    Listen {
        /// Where.
        addr: std::net::SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("failed to read random bytes")]
    Random,
}

impl RunError {
    /// Who has to change something: whoever runs the client.
    pub const fn fault(&self) -> relay_core::fault::Fault {
        relay_core::fault::Fault::Operator
    }

    /// Whether trying again helps: never, without a change.
    pub const fn retry(&self) -> relay_core::fault::Retry {
        relay_core::fault::Retry::Never
    }
}

/// Runs a client until it is told to stop by `shutdown`, or the server refuses it for good.
///
/// # Errors
/// [`RunError`]: it cannot start; nothing was dialled.
pub async fn run(
    config: Config,
    outside: Outside,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Ended, RunError> {
    let way = Way::<fn() -> Dialing>::Server(Box::new(Dialer::new(&config)?));
    run_by(config, way, outside, shutdown).await
}

/// [`run`] with another way to reach the server, such as a hub in the same process.
///
/// # Errors
/// [`RunError`]: it cannot start; nothing was dialled.
pub async fn run_with(
    config: Config,
    dial: impl FnMut() -> Dialing + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Ended, RunError> {
    run_watched(config, dial, Outside::default(), shutdown).await
}

/// [`run_with`], with somebody who watches.
///
/// # Errors
/// [`RunError`]: it cannot start; nothing was dialled.
pub async fn run_watched(
    config: Config,
    dial: impl FnMut() -> Dialing + Send,
    outside: Outside,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Ended, RunError> {
    run_by(config, Way::Other(dial), outside, shutdown).await
}

async fn run_by<D: FnMut() -> Dialing + Send>(
    config: Config,
    way: Way<D>,
    outside: Outside,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Ended, RunError> {
    let status = Arc::new(Status::new(config.names()));
    if let Some(lost) = outside.lost_lines.clone() {
        status.count_lost_lines(lost);
    }
    let (listen, names) = (config.listen, listen::Names::new(&config.listen_names));
    // Boxed: the driver's state would make every future that awaits this one large.
    let driven = Box::pin(Driver::new(config, status.clone(), way, outside)?.run(shutdown));
    let Some(addr) = listen else { return Ok(driven.await) };
    let listener = TcpListener::bind(addr).await.map_err(|source| RunError::Listen { addr, source })?;
    tokio::select! {
        ended = driven => Ok(ended),
        never = listen::serve(listener, names, status) => match never {},
    }
}

/// All that wakes a client.
enum Event {
    Received(Message),
    /// Part of a message came.
    Heard,
    /// Part of what is to be sent left.
    Taken,
    Lost(String),
    Dialed(Result<Transport, DialFailure>),
    /// A WebSocket comes through where sessions are polled.
    Found(Transport),
    Forwarded(Arc<Forward>, forward::Ended),
    Timeout,
    Reload(Box<Config>),
    Stop,
    GraceOver,
    Summary,
}

/// How the server is reached.
enum Way<D> {
    /// As the configuration says, whatever it is by then.
    Server(Box<Dialer>),
    /// As whoever runs this says.
    Other(D),
}

impl<D: FnMut() -> Dialing> Way<D> {
    fn dial(&mut self) -> Dialing {
        match self {
            Self::Server(dialer) => {
                let dialer = dialer.clone();
                Box::pin(async move { dialer.dial().await })
            }
            Self::Other(dial) => dial(),
        }
    }

    /// Looks for a WebSocket where sessions are polled.
    fn again(&self) -> Option<Pin<Box<dyn Future<Output = Transport> + Send>>> {
        let Self::Server(dialer) = self else { return None };
        Some(Box::pin(dialer.as_ref().clone().again()))
    }

    /// Takes note of what came of a session.
    fn ended(&self, transport: &Transport) {
        let Self::Server(dialer) = self else { return };
        match (transport.is_polled(), transport.has_heard()) {
            (false, has_heard) => dialer.ended(has_heard),
            (true, false) => dialer.polled_in_vain(),
            (true, true) => {}
        }
    }

    /// The same for another configuration.
    fn renewed(&self, config: &Config) -> Result<Option<Self>, DialerError> {
        match self {
            Self::Server(_) => Ok(Some(Self::Server(Box::new(Dialer::new(config)?)))),
            Self::Other(_) => Ok(None),
        }
    }
}

/// A message that goes behind so many others: without what a target said, where these are too many to keep it for all.
fn lightened(message: Message, waiting: usize) -> Message {
    match message {
        Message::Report(report) if waiting >= limits::ANSWERS_WAITING_MAX => {
            Message::Report(Report { answer: None, ..report })
        }
        other => other,
    }
}

type Forwarding = Pin<Box<dyn Future<Output = (Arc<Forward>, forward::Ended)> + Send>>;

struct Driver<D> {
    config: Config,
    /// Whether a server has let it in with this session's part of it.
    proven: bool,
    /// With which one did last, while it is not known whether one does with the present one.
    former: Option<Box<(Config, InstanceId)>>,
    clock: Clock,
    client: Client,
    instance: InstanceId,
    targets: BTreeMap<Name, Arc<Target>>,
    way: Way<D>,
    outside: Outside,
    dialing: Option<Dialing>,
    /// A WebSocket in place of a session that is polled: looked for, and found.
    looking: Option<Pin<Box<dyn Future<Output = Transport> + Send>>>,
    found: Option<Transport>,
    transport: Option<Transport>,
    /// When part of a message was heard of last.
    heard: Mono,
    /// When it was told last that part of what is to be sent has left.
    taken: Mono,
    outbox: VecDeque<Message>,
    unflushed: bool,
    /// The outbox is full: the session ends.
    overflowed: bool,
    events_since_flush: u32,
    /// Sockets that say goodbye.
    closing: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>,
    forwarding: FuturesUnordered<Forwarding>,
    timeout: Pin<Box<Sleep>>,
    timeout_at: Option<Mono>,
    grace_over: Option<Pin<Box<Sleep>>>,
    summary: Interval,
    notices: Notices,
    status: Arc<Status>,
}

impl<D: FnMut() -> Dialing> Driver<D> {
    fn new(config: Config, status: Arc<Status>, way: Way<D>, outside: Outside) -> Result<Self, RunError> {
        let clock = Clock::start();
        let instance = new_instance()?;
        Ok(Self {
            client: Client::new(setup(&config, instance)?, clock.now()),
            clock,
            instance,
            targets: targets(&config, &status)?,
            way,
            outside,
            dialing: None,
            looking: None,
            found: None,
            transport: None,
            heard: Mono::default(),
            taken: Mono::default(),
            outbox: VecDeque::new(),
            unflushed: false,
            overflowed: false,
            events_since_flush: 0,
            closing: FuturesUnordered::new(),
            forwarding: FuturesUnordered::new(),
            timeout: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timeout_at: None,
            grace_over: None,
            summary: ticks(config.summary_interval),
            notices: Notices::new(&config),
            status,
            config,
            proven: false,
            former: None,
        })
    }

    async fn run(mut self, shutdown: impl Future<Output = ()>) -> Ended {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut stopping = false;
        loop {
            if let Some(exit) = self.perform() {
                return self.leave(exit).await;
            }
            let event = std::future::poll_fn(|cx| {
                if !stopping && shutdown.as_mut().poll(cx).is_ready() {
                    stopping = true;
                    return Poll::Ready(Event::Stop);
                }
                self.poll_event(cx)
            })
            .await;
            if matches!(event, Event::GraceOver) {
                if self.holds_nothing() {
                    // Its server has not let it go yet, and need not.
                    self.hang_up();
                    return self.leave(Exit::Stopped).await;
                }
                notice::grace_exceeded(&self.client.view());
                return self.leave_early().await;
            }
            self.take(event);
        }
    }

    /// Feeds one event to the machine.
    fn take(&mut self, event: Event) {
        if let Some(what) = self.status.lacking().untold() {
            self.notices.lacking(what);
        }
        let input = match event {
            Event::Received(message) => Input::Received(message),
            Event::Heard => Input::Heard,
            Event::Taken => Input::Taken,
            Event::Lost(why) => {
                self.looking = None;
                if let Some(transport) = self.transport.take() {
                    self.way.ended(&transport);
                }
                self.outbox.clear();
                self.unflushed = false;
                self.overflowed = false;
                self.notices.lost(why);
                Input::Disconnected
            }
            Event::Dialed(Ok(mut transport)) => {
                if let Some(why) = transport.why_polled() {
                    notice::polls(&self.config, &why);
                }
                self.status.polls(transport.is_polled());
                self.looking = if transport.is_polled() { self.way.again() } else { None };
                self.transport = Some(transport);
                Input::Connected
            }
            Event::Found(transport) => return self.move_to(transport),
            Event::Dialed(Err(failure)) => {
                if let Some(former) = self.former.take_if(|_| is_final(&failure)) {
                    return self.go_back(*former, failure);
                }
                Input::DialFailed(failure)
            }
            Event::Forwarded(forward, forward::Ended::Tried(outcome)) => {
                self.status.forwarded(&forward.destination, outcome.class);
                match &mut self.outside.watcher {
                    Some(watcher) => watcher(&forward, &outcome),
                    None => self.notices.forwarded(&forward, &outcome),
                }
                Input::Forwarded(forward.delivery, outcome)
            }
            Event::Forwarded(forward, forward::Ended::Lacking) => {
                self.status.ended(&forward.destination);
                Input::Unasked(forward.delivery)
            }
            Event::Forwarded(forward, forward::Ended::Corrupt) => {
                self.status.ended(&forward.destination);
                Input::Corrupt(forward.delivery)
            }
            Event::Timeout => {
                self.timeout_at = None;
                return self.client.handle_timeout(self.clock.now());
            }
            Event::Reload(config) => return self.reload(*config),
            Event::Stop => {
                notice::stopping(&self.client.view());
                let grace = self.config.shutdown_grace;
                self.grace_over = Some(Box::pin(tokio::time::sleep(waits_of(grace))));
                self.client.handle(Input::Stop, self.clock.now());
                return self.tell_stopping();
            }
            Event::Summary => {
                self.targets.values().for_each(|target| target.retire());
                self.notices.left_out();
                return notice::summary(&self.client.view(), &self.status);
            }
            Event::GraceOver => return,
        };
        self.client.handle(input, self.clock.now());
    }

    /// Goes on with the session on a WebSocket, in place of requests.
    fn move_to(&mut self, transport: Transport) {
        if self.client.view().stopping || !self.client.view().up {
            return;
        }
        // Without random bytes it goes on as it is.
        let Ok(setup) = setup(&self.config, self.instance) else { return };
        notice::polls_no_more(&self.config);
        self.found = Some(transport);
        self.client.handle(Input::Renew(Box::new(setup)), self.clock.now());
    }

    fn holds_nothing(&self) -> bool {
        let view = self.client.view();
        view.destinations.iter().all(|held| held.assembling + held.waiting + held.forwarding + held.reported == 0)
    }

    /// Tells what is left to wait for once all that has not begun was handed back.
    fn tell_stopping(&mut self) {
        let Some(told) = self.outside.stopping.take() else { return };
        let destinations = self.client.view().destinations;
        told(Waiting {
            requests: destinations.iter().map(|held| held.forwarding).sum(),
            outcomes: destinations.iter().map(|held| held.reported).sum(),
            grace: self.config.shutdown_grace,
        });
    }

    /// Goes on with another configuration; with the present one if the other cannot be used.
    fn reload(&mut self, config: Config) {
        if self.client.view().stopping {
            return;
        }
        let before: Vec<Name> = self.config.names().collect();
        match self.take_over(config, None) {
            Ok(renews) => notice::reloaded(&self.config, &before, renews),
            Err(error) => notice::reload_failed(&error),
        }
    }

    /// The server refuses for good what it was to be asked with now: all is as it was before, and the process goes on.
    fn go_back(&mut self, (former, instance): (Config, InstanceId), failure: DialFailure) {
        notice::gone_back(&self.config, &failure);
        let failure = match self.take_over(former, Some(instance)) {
            Ok(_) => DialFailure::Failed("the configuration of before is in use again".into()),
            Err(error) => {
                // It was in use before; what it names outside of it may be gone since.
                notice::reload_failed(&error);
                failure
            }
        };
        // Unless the machine has given that dial up already: one that stops begins nothing anew, and has yet to report.
        self.client.handle(Input::DialFailed(failure), self.clock.now());
    }

    /// All of it or nothing, as the instance that had it before if there was one. What is at its target ends as it began; the session is
    /// kept if it would be the same, else `true` comes back.
    fn take_over(&mut self, config: Config, instance: Option<InstanceId>) -> Result<bool, RunError> {
        let targets = targets(&config, &self.status)?;
        let way = self.way.renewed(&config)?;
        let is_other = !config.has_session_of(&self.config);
        // An instance belongs to its token: with another one it would break into what was leased to somebody else.
        let belongs = config.token == self.config.token && config.relay_url == self.config.relay_url;
        let instance = match instance {
            Some(instance) => instance,
            None if belongs => self.instance,
            None => new_instance()?,
        };
        let renews = is_other || !self.client.view().up;
        let renewal = if renews { Some(Box::new(setup(&config, instance)?)) } else { None };
        self.targets = targets;
        let before_it = std::mem::replace(&mut self.instance, instance);
        if let Some(way) = way {
            self.way = way;
        }
        if config.summary_interval != self.config.summary_interval {
            self.summary = ticks(config.summary_interval);
        }
        self.status.serve(config.names());
        self.notices.server_is(&config);
        let before = std::mem::replace(&mut self.config, config);
        if is_other && std::mem::take(&mut self.proven) {
            self.former = Some(Box::new((before, before_it)));
        }
        if let Some(setup) = renewal {
            self.client.handle(Input::Renew(setup), self.clock.now());
        }
        Ok(is_other)
    }

    /// Does everything the machine asks for, then sets the timer.
    fn perform(&mut self) -> Option<Exit> {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Dial => {
                    self.dialing = Some(match self.found.take() {
                        Some(transport) => Box::pin(std::future::ready(Ok(transport))),
                        None => self.way.dial(),
                    });
                }
                // What is lost with it is said again in the next session.
                Output::Send(_) if self.outbox.len() >= limits::CLIENT_OUTBOX_MAX => self.overflowed = true,
                Output::Send(message) => {
                    let message = lightened(message, self.outbox.len());
                    self.outbox.push_back(message);
                    self.unflushed = true;
                }
                Output::Hangup => self.hang_up(),
                Output::Forward(forward) => self.forward(forward),
                Output::Notice(notice) => {
                    if matches!(notice, Notice::Up { .. }) {
                        (self.proven, self.former) = (true, None);
                    }
                    self.status.noticed(&notice);
                    self.notices.tell(notice);
                }
                Output::Exit(exit) => return Some(exit),
            }
        }
        let due = self.client.poll_timeout();
        if due != self.timeout_at {
            self.timeout_at = due;
            if let Some(due) = due {
                self.timeout.as_mut().reset(self.clock.instant(due));
            }
        }
        None
    }

    fn forward(&mut self, forward: Arc<Forward>) {
        // The machine admits only grants for destinations of its own setup, which are those of the targets.
        let Some(target) = self.targets.get(&forward.destination).cloned() else { return };
        self.status.began(&forward.destination);
        self.forwarding.push(Box::pin(async move {
            let ended = target.forward(&forward).await;
            (forward, ended)
        }));
    }

    fn hang_up(&mut self) {
        self.dialing = None;
        self.unflushed = false;
        self.overflowed = false;
        let outbox = std::mem::take(&mut self.outbox);
        self.looking = None;
        if let Some(transport) = self.transport.take() {
            self.way.ended(&transport);
            self.closing.push(Box::pin(transport.close(outbox)));
        }
    }

    /// The next event. What is to be sent goes out when nothing else is ready, so that one write carries many messages.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.overflowed {
            return Poll::Ready(Event::Lost("the server does not read what is sent to it".into()));
        }
        if self.events_since_flush >= EVENTS_PER_FLUSH {
            if let Some(lost) = self.flush(cx) {
                return Poll::Ready(lost);
            }
            self.events_since_flush = 0;
            // Under constant load there is always work: heartbeats must not wait for its end.
            if let Some(event) = self.poll_time(cx) {
                return Poll::Ready(event);
            }
        }
        if let Some(event) = self.poll_work(cx).or_else(|| self.poll_time(cx)) {
            self.events_since_flush += 1;
            return Poll::Ready(event);
        }
        self.events_since_flush = 0;
        match self.flush(cx) {
            Some(lost) => Poll::Ready(lost),
            None => Poll::Pending,
        }
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        if let Poll::Ready(Some((forward, ended))) = Pin::new(&mut self.forwarding).poll_next(cx) {
            return Some(Event::Forwarded(forward, ended));
        }
        if let Some(transport) = &mut self.transport {
            if let Poll::Ready(got) = transport.poll_recv(cx) {
                return Some(got.map_or_else(Event::Lost, Event::Received));
            }
            if transport.has_more() {
                let now = self.clock.now().mono;
                if now.since(self.heard) >= limits::HEARD_EVERY {
                    self.heard = now;
                    return Some(Event::Heard);
                }
            }
        }
        if let Some(dialing) = &mut self.dialing
            && let Poll::Ready(dialed) = dialing.as_mut().poll(cx)
        {
            self.dialing = None;
            return Some(Event::Dialed(dialed));
        }
        if let Some(looking) = &mut self.looking
            && let Poll::Ready(transport) = looking.as_mut().poll(cx)
        {
            self.looking = None;
            return Some(Event::Found(transport));
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.closing).poll_next(cx) {}
        match self.outside.reloads.as_mut()?.poll_recv(cx) {
            Poll::Ready(Some(config)) => Some(Event::Reload(Box::new(config))),
            // Nobody is there any more who would send one.
            Poll::Ready(None) => {
                self.outside.reloads = None;
                None
            }
            Poll::Pending => None,
        }
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        if self.timeout_at.is_some() && self.timeout.as_mut().poll(cx).is_ready() {
            return Some(Event::Timeout);
        }
        if let Some(grace_over) = &mut self.grace_over
            && grace_over.as_mut().poll(cx).is_ready()
        {
            return Some(Event::GraceOver);
        }
        self.summary.poll_tick(cx).is_ready().then_some(Event::Summary)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        let transport = self.transport.as_mut().filter(|_| self.unflushed)?;
        match transport.poll_send(&mut self.outbox, cx) {
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                None
            }
            Poll::Ready(Err(why)) => Some(Event::Lost(why)),
            Poll::Pending => {
                let now = self.clock.now().mono;
                if now.since(self.taken) < limits::HEARD_EVERY || !transport.has_taken() {
                    return None;
                }
                self.taken = now;
                Some(Event::Taken)
            }
        }
    }

    /// Lets out what was said by now: the outcomes of what has ended, so that none of it is delivered again.
    async fn leave_early(mut self) -> Ended {
        let patience = last_words_of(self.config.shutdown_grace);
        self.forwarding.clear();
        self.hang_up();
        let said = async { while self.closing.next().await.is_some() {} };
        // A server that does not read takes none of it.
        let _ = tokio::time::timeout(patience, said).await;
        Ended::GraceExceeded
    }

    /// Lets the goodbye out before everything is dropped.
    async fn leave(mut self, exit: Exit) -> Ended {
        self.notices.exit(exit);
        let patience = last_words_of(self.config.shutdown_grace);
        let said = async { while self.closing.next().await.is_some() {} };
        // A server that has gone without a word takes none of it.
        let _ = tokio::time::timeout(patience, said).await;
        match exit {
            Exit::Stopped => Ended::Stopped,
            Exit::TokenRefused => Ended::TokenRefused,
            Exit::VersionRefused => Ended::VersionRefused,
        }
    }
}

/// Whether to ask again changes nothing.
fn is_final(failure: &DialFailure) -> bool {
    matches!(failure, DialFailure::TokenRefused | DialFailure::VersionRefused)
}

/// How much of a `SHUTDOWN_GRACE` a request has that is sent when it begins: it is answered by then, that is reported and
/// confirmed, and the last words are out.
pub fn forwards_within(grace: Duration) -> Duration {
    waits_of(grace).saturating_sub(last_words_of(grace))
}

/// How long a stop waits for what is under way.
fn waits_of(grace: Duration) -> Duration {
    grace.saturating_sub(last_words_of(grace))
}

/// The part of a grace that is for what was said last.
fn last_words_of(grace: Duration) -> Duration {
    (grace / limits::LAST_WORDS_SHARE).min(limits::LAST_WORDS_WITHIN)
}

fn targets(config: &Config, status: &Status) -> Result<BTreeMap<Name, Arc<Target>>, RunError> {
    let one = |destination: &Destination| match Target::new(destination, Arc::clone(status.lacking())) {
        Ok(target) => Ok((destination.name.clone(), Arc::new(target))),
        Err(source) => Err(RunError::Target { destination: destination.name.clone(), source }),
    };
    config.destinations.iter().map(one).collect()
}

/// Ticks of the summary line, the first after a whole interval.
fn ticks(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

fn new_instance() -> Result<InstanceId, RunError> {
    Ok(InstanceId::from_u128(u128::from_be_bytes(random()?)))
}

fn setup(config: &Config, instance: InstanceId) -> Result<Setup, RunError> {
    let served = |destination: &Destination| Served {
        name: destination.name.clone(),
        slots: destination.concurrency,
        forward_timeout: destination.forward_timeout,
    };
    Ok(Setup {
        instance,
        label: config.label.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        destinations: config.destinations.iter().map(served).collect(),
        buffer_bytes: config.buffer_bytes,
        seed: u64::from_be_bytes(random()?),
    })
}

fn random<const N: usize>() -> Result<[u8; N], RunError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RunError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
