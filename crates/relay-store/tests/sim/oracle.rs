//! The oracle: looks at everything that crosses a border and says when a promise is broken.
//!
//! It believes nobody. What was promised to producers, what targets answered and what clients said it writes down itself,
//! and compares with every change that reaches the store.

mod brought;
mod commands;
mod healing;
mod heard;
mod kept;
mod owners;
mod returning;
mod serving;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_core::{
    client::Forward,
    delivery::{Change, Delivery, Reason, State, Token, outcome::Class, retry::RetryPolicy},
    event::Event,
    hub::{Answer, DestinationView, Serves},
    id::{DeliveryId, EventId, InstanceId, JobId, Partition},
    limits,
    name::Name,
    partitions::Partitions,
    routing::Routing,
    storage::{Append, Appended, Changed, Extend, Extended, HeldOf, Leased, Replayed, StoreOp, Stored},
    time::Wall,
    wire::{
        codec::{self, LeaseKey},
        message::{Message, Report},
    },
};
use relay_store::memory::MemoryStore;

use self::{kept::Kept, owners::Owners, returning::Return, serving::Serving};
use crate::{chaos::FIRST_TRY_WITHIN, load::dedupe_key, plan::Plan};

/// How long a slow link takes to empty what is on its way.
const FULL_LINK: Duration = Duration::from_secs(120);

/// A broken promise.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) promise: &'static str,
    pub(crate) what: String,
}

/// What has been seen so far.
#[derive(Debug)]
pub(crate) struct Oracle {
    routing: Routing,
    /// The routes of the beginning: one that is made again has the policy it had.
    planned: Routing,
    events: BTreeMap<EventId, Event>,
    /// Answered 2xx to a producer.
    promised: BTreeSet<EventId>,
    /// Event of each dedupe key that was answered.
    keyed: BTreeMap<u32, EventId>,
    /// Deliveries that their target really answered 2xx.
    received: BTreeSet<DeliveryId>,
    books: BTreeMap<DeliveryId, Book>,
    /// Versions of the records that the present settlement meets.
    met: BTreeMap<DeliveryId, u64>,
    /// Deliveries made durable at each destination.
    made: BTreeMap<Name, u64>,
    /// What was reported of each lease, as the server heard it.
    heard: BTreeMap<(u64, LeaseKey), Heard>,
    /// Different events at each destination that failed without having been charged, since it last delivered.
    failed: BTreeMap<(u64, Name), BTreeSet<EventId>>,
    /// Leases that this start of the server has let go of: what is reported of one says nothing of its destination any more.
    let_go: BTreeSet<(u64, LeaseKey)>,
    /// Parts in which a server could not read what a client holds, and what it could not decide: a client goes on with what it names there.
    unread: Vec<(u64, HeldOf, Partitions)>,
    undecided: BTreeSet<(u64, DeliveryId)>,
    /// Failures that clients reported.
    reported: BTreeSet<(LeaseKey, u32)>,
    /// Forwards of what the target had taken already.
    pub(crate) duplicates: u64,
    /// Destinations that had due work when everything was well again, and have not seen a try since.
    awaiting: BTreeSet<Name>,
    /// Where the deliveries of an event lead: along the routes there were when it was accepted, and those of its replays.
    reaches: BTreeMap<EventId, BTreeSet<Name>>,
    /// Routes that once were removed.
    unrouted: BTreeSet<(Name, Name)>,
    /// Destinations that are paused, and since when.
    paused: BTreeMap<Name, Wall>,
    /// Deliveries that an operator cancelled.
    cancelled: BTreeSet<DeliveryId>,
    /// Replays that an operator made: nobody else has to wait for them.
    by_hand: BTreeSet<DeliveryId>,
    /// Deliveries that were retired: of which event, and where to.
    retired: BTreeSet<(EventId, Name)>,
    /// Events that were retired and never had a delivery.
    forgotten: BTreeSet<EventId>,
    /// What each job has changed or removed.
    commands: BTreeMap<JobId, BTreeSet<DeliveryId>>,
    /// Which events each job has replayed, and where to.
    replays: BTreeMap<JobId, BTreeSet<(EventId, Name)>>,
    /// Jobs that said that they are over.
    over: BTreeSet<JobId>,
    /// What the latest append under each dedupe key found missing of the event that it repeats: the sender is answered with
    /// that event only once all of it is there again.
    owed: BTreeMap<[u8; 32], (EventId, BTreeSet<Name>)>,
    /// Deliveries that waited when all was well again, with so much of their TTL left that they had to arrive.
    hopeful: BTreeSet<DeliveryId>,
    /// Events that the store named in the answer to an append, when it was durable: it may be retired while the answer is on its
    /// way to the sender.
    vouched: BTreeSet<EventId>,
    /// Events whose append was asked for.
    asked: BTreeSet<EventId>,
    /// What was true when the latest backup was taken.
    backup: Option<Kept>,
    /// Deliveries that a backup knows nothing of that was put back: a client may hold them still.
    taken_back: BTreeSet<DeliveryId>,
    /// Numbers of the tries that clients have made of each delivery.
    numbers: BTreeMap<DeliveryId, BTreeSet<u32>>,
    /// Deliveries whose numbers may have begun anew: redriven, or as they were in a backup that was put back.
    renumbered: BTreeSet<DeliveryId>,
    /// The server whose turn it is.
    run: u64,
    /// What is told of several servers.
    owners: Owners,
    brought: brought::Brought,
    /// Sockets whose token was revoked.
    shut: BTreeSet<u64>,
    /// What each socket's token may serve.
    serves: BTreeMap<u64, Serves>,
    /// Clients that are saying what they hold, by their new sockets.
    returning: BTreeMap<u64, Return>,
    /// What the client is given that takes what it gets, beside those that crawl.
    serving: Serving,
    /// Nothing happens that could cost a lease.
    loses_nothing: bool,
    /// No server's clock is a day off: what it stored then is due a day late.
    steady_clock: bool,
    /// How long after healing each destination with due work has seen a try.
    first_try_within: Duration,
    pub(crate) violation: Option<Violation>,
}

/// What is known of one delivery.
#[derive(Debug)]
struct Book {
    due_at: Wall,
    /// Ends of its leases that no loss has been counted for.
    lease_ends: BTreeMap<Token, Wall>,
    /// Times that its lease ended without a report, or that it was redriven.
    excused: u32,
}

/// What a report was, at the moment when the server heard it.
#[derive(Clone, Copy, Debug)]
struct Heard {
    retry_after: Duration,
    /// So few events have failed that it may be they, and not their destination.
    may_be_charged: bool,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Self {
        let longest = plan.clients.iter().map(|client| client.forward_timeout).max().unwrap_or_default();
        // A client's buffer may hold one large body at a time: then one of each of its destinations may hang first.
        let hangs_in_turn = plan.faults.poison && plan.faults.large_bodies;
        let turns = if hangs_in_turn { plan.destinations.len().max(1) as u32 } else { 1 };
        Self {
            planned: plan.routing.clone(),
            routing: plan.routing.clone(),
            serves: BTreeMap::new(),
            steady_clock: !plan.faults.clock_jumps,
            loses_nothing: plan.spares_clients() && !plan.operators,
            first_try_within: FIRST_TRY_WITHIN
                + longest * turns
                + if plan.faults.is_slow() { FULL_LINK } else { Duration::ZERO },
            events: BTreeMap::new(),
            promised: BTreeSet::new(),
            keyed: BTreeMap::new(),
            received: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            reaches: BTreeMap::new(),
            unrouted: BTreeSet::new(),
            books: BTreeMap::new(),
            met: BTreeMap::new(),
            made: BTreeMap::new(),
            heard: BTreeMap::new(),
            failed: BTreeMap::new(),
            let_go: BTreeSet::new(),
            unread: Vec::new(),
            undecided: BTreeSet::new(),
            reported: BTreeSet::new(),
            duplicates: 0,
            paused: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            retired: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            commands: BTreeMap::new(),
            replays: BTreeMap::new(),
            over: BTreeSet::new(),
            owed: BTreeMap::new(),
            hopeful: BTreeSet::new(),
            vouched: BTreeSet::new(),
            asked: BTreeSet::new(),
            backup: None,
            taken_back: BTreeSet::new(),
            numbers: BTreeMap::new(),
            renumbered: BTreeSet::new(),
            run: 0,
            owners: Owners::new(plan),
            brought: brought::Brought::default(),
            returning: BTreeMap::new(),
            serving: Serving::new(plan),
            shut: BTreeSet::new(),
            violation: None,
        }
    }

    /// Writes down the first broken promise; what follows from it would only confuse.
    pub(crate) fn broken(&mut self, promise: &'static str, what: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { promise, what });
        }
    }

    fn check(&mut self, holds: bool, promise: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(promise, what());
        }
    }

    /// A producer was answered.
    pub(crate) fn answered(&mut self, key: Option<u32>, answer: &Answer, store: &MemoryStore) {
        let Answer::Accepted { event, repeat, .. } = answer else { return };
        self.promised.insert(*event);
        let kept = store.holds_event(*event) || (self.vouched.contains(event) && self.is_retired(*event));
        self.check(kept, "I1", || format!("{event} was acknowledged and is not durable"));
        if let Some(key) = key.filter(|_| *repeat)
            && let Some((first, missing)) = self.owed.get(&dedupe_key(key))
        {
            let kept = first != event || !store.holds_event(*event) || missing.is_empty();
            let missing = missing.clone();
            self.check(kept, "I20", || {
                format!("key {key}: {event} was acknowledged again, and to {missing:?} it goes no more")
            });
        }
        if let Some(key) = key {
            // A key goes with its event: what is sent after a purge is a new one.
            let first = self.keyed.get(&key).copied().filter(|first| store.holds_event(*first)).unwrap_or(*event);
            self.keyed.insert(key, first);
            self.check(first == *event, "I20", || format!("key {key} was answered with {first} and with {event}"));
        }
    }

    /// A store operation is about to take effect: writes down the versions that changes will meet.
    pub(crate) fn applying(&mut self, op: &StoreOp, store: &MemoryStore) {
        if let StoreOp::Replay(made) = op
            && self.is_decided_on_what_is(&made.ask, store)
        {
            for delivery in &made.ask.made {
                self.resent(delivery, store);
            }
        }
        let StoreOp::Settle(changes) = op else { return };
        let met =
            changes.ask.iter().filter_map(|change| Some((change.next.id, store.delivery(change.next.id)?.version)));
        self.met = met.collect();
    }

    /// A store operation took effect.
    pub(crate) fn applied(&mut self, op: &StoreOp, answer: &Stored, store: &MemoryStore, wall: Wall) {
        if let (StoreOp::Append(asked), Stored::Append(answered)) = (op, answer)
            && let Ok(appended) = &answered.answer
        {
            let named = if let Appended::Repeat { first, .. } = appended { *first } else { asked.ask.event.id };
            if let Some(dedupe) = &asked.ask.dedupe {
                let missing = self.lacking(named, &asked.ask.event.source, store);
                self.owed.insert(dedupe.key, (named, missing));
            }
            self.check(store.holds_event(named), "I1", || {
                format!("the store answers with {named}, which is not durable")
            });
            // One that was not answered is asked for again, and answered as if it were the first time.
            if self.vouched.insert(named) && appended.is_stored() {
                self.appended(&asked.ask, wall);
            }
        }
        match (op, answer) {
            (StoreOp::Lease(asked), Stored::Lease(answered)) => {
                answered.answer.iter().for_each(|leased| self.leased(leased, asked.ask.now));
            }
            (StoreOp::Settle(asked), Stored::Settle(answered)) => {
                for (change, answer) in asked.ask.iter().zip(answered.answer.iter().flatten()) {
                    if *answer == Changed::Applied {
                        self.changed(change, wall);
                    }
                }
            }
            (StoreOp::Replay(asked), Stored::Replay(answered))
                if matches!(answered.answer, Ok(Replayed::Stored(_))) =>
            {
                self.check_decided_on();
                // Of an event that was retired meanwhile nothing is made.
                let mut made = asked.ask.made.clone();
                made.retain(|delivery| store.delivery(delivery.id).is_some());
                self.replayed(&made);
            }
            (StoreOp::Extend(asked), Stored::Extend(answered)) => {
                for (extend, answer) in asked.ask.iter().zip(answered.answer.iter().flatten()) {
                    self.extended(extend, answer);
                }
            }
            _ => {}
        }
    }

    /// The hub asks for this at this moment: each event gets one delivery per route that there is now. What it asks to be
    /// settled it holds no longer, whatever the store answers.
    pub(crate) fn asking(&mut self, op: &StoreOp, wall: Wall) {
        let extent = match op {
            StoreOp::Settle(changes) => changes.ask.len(),
            StoreOp::Find(ids) => ids.ask.len(),
            _ => 0,
        };
        self.check(extent <= limits::DECISIONS_MAX, "I16", || format!("one store operation is about {extent} records"));
        if let StoreOp::Settle(changes) = op {
            changes
                .ask
                .iter()
                .filter(|change| is_unreported(change))
                .for_each(|change| self.check_served(change, wall));
            changes
                .ask
                .iter()
                .filter(|change| is_unreported(change))
                .for_each(|change| self.check_return(change, wall));
            let leased = changes.ask.iter().filter(|change| change.before.state == State::Leased);
            let run = self.run;
            self.let_go.extend(leased.map(|change| (run, (change.next.id, change.before.token))));
        }
        let (made, key) = match op {
            StoreOp::Append(append) => (&append.ask.deliveries[..], append.ask.dedupe.as_ref()),
            StoreOp::Replay(made) => (&made.ask.made[..], None),
            _ => (&[][..], None),
        };
        for made in made {
            let is_beside = made.id.partition() == made.event.partition();
            let is_with_key = key.is_none_or(|key| made.event.partition() == Partition::of_digest(&key.key));
            self.check(is_beside && is_with_key, "I12", || {
                format!("{} of {} is in another partition than its event or its key", made.id, made.event)
            });
        }
        let StoreOp::Append(asked) = op else { return };
        let append = &asked.ask;
        if !self.asked.insert(append.event.id) {
            return;
        }
        let routes = self.routing.routes.get(&append.event.source).into_iter().flatten();
        let wanted: BTreeSet<&Name> = routes.map(|route| &route.destination).collect();
        let found: BTreeSet<&Name> = append.deliveries.iter().map(|made| &made.destination).collect();
        let one_each = found == wanted && append.deliveries.len() == wanted.len();
        let what = format!("{} gets deliveries to {found:?}, routes lead to {wanted:?}", append.event.id);
        self.check(one_each, "I2", || what);
    }

    /// Where routes lead now, and where deliveries of this event were that are gone, and not made again.
    fn lacking(&self, event: EventId, source: &Name, store: &MemoryStore) -> BTreeSet<Name> {
        let left: BTreeSet<Name> =
            store.deliveries().into_iter().filter(|left| left.event == event).map(|left| left.destination).collect();
        let routes = self.routing.routes.get(source).into_iter().flatten().map(|route| &route.destination);
        let gone = |name: &&Name| !left.contains(*name) && self.retired.contains(&(event, (*name).clone()));
        routes.filter(gone).cloned().collect()
    }

    /// The routes are others from now on.
    pub(crate) fn routed(&mut self, routing: Routing) {
        // Along a route that is not there nothing is made.
        let led: BTreeSet<Name> = routing.routes.values().flatten().map(|route| route.destination.clone()).collect();
        for (_, missing) in self.owed.values_mut() {
            missing.retain(|name| led.contains(name));
        }
        self.routing = routing;
    }

    /// A route is removed.
    pub(crate) fn unrouted(&mut self, source: &Name, destination: &Name) {
        self.unrouted.insert((source.clone(), destination.clone()));
    }

    /// An event is delivered again because somebody pressed Resend: nothing of it was on its way there, and it
    /// happens seldom.
    fn resent(&mut self, made: &Delivery, store: &MemoryStore) {
        let mut known = store.deliveries();
        known.retain(|known| known.event == made.event && !self.by_hand.contains(&known.id));
        // Where none is left this is the one that was purged, and not one more.
        let replaces = !known.iter().any(|known| known.destination == made.destination);
        let here = |known: &Delivery| known.destination == made.destination;
        let open = known.iter().any(|known| here(known) && known.state.is_open()) && !replaces;
        self.check(!open, "I20", || format!("{} is delivered again while it is on its way", made.event));
        let hour = |known: &&Delivery| known.replay && known.id.minted_at() + Duration::from_hours(1) > made.ready_at;
        let times = known.iter().filter(hour).filter(|known| known.destination == made.destination).count();
        self.check(times < 5, "I20", || format!("{} was delivered again {times} times this hour", made.event));
    }

    fn appended(&mut self, append: &Append, wall: Wall) {
        self.owners.leased(self.run, &append.deliveries);
        let event = Event::clone(&append.event);
        self.reaches.insert(event.id, append.deliveries.iter().map(|made| made.destination.clone()).collect());
        for delivery in &append.deliveries {
            let mut book = Book { due_at: delivery.due_at, lease_ends: BTreeMap::new(), excused: 0 };
            if let Some(lease) = delivery.lease {
                book.lease_ends.insert(delivery.token, lease.until);
                self.check(lease.until > wall, "I11", || {
                    format!("{} was stored with a lease that is over", delivery.id)
                });
            }
            self.books.insert(delivery.id, book);
        }
        self.events.insert(event.id, event);
    }

    fn extended(&mut self, extend: &Extend, answer: &Extended) {
        let Extended::Stands { until, .. } = answer else { return };
        self.check_extends(extend);
        let ends = self.books.get_mut(&extend.id).map(|book| &mut book.lease_ends);
        let Some(end) = ends.and_then(|ends| ends.get_mut(&extend.claim.token)) else { return };
        let was = std::mem::replace(end, *until);
        let id = extend.id;
        self.check(was <= *until && *until >= extend.until, "I8", || {
            format!("the end of a lease of {id} was moved back from {was}, or stands before what it was moved to")
        });
    }

    fn leased(&mut self, leased: &Leased, now: Wall) {
        self.owners.leased(self.run, &leased.deliveries);
        for delivery in &leased.deliveries {
            let Some(book) = self.books.get_mut(&delivery.id) else { continue };
            let due_at = book.due_at;
            if let Some(lease) = delivery.lease {
                book.lease_ends.insert(delivery.token, lease.until);
                self.check_pause(delivery, lease.since);
            }
            self.check(due_at <= now, "I10", || format!("{} was due at {due_at} and leased at {now}", delivery.id));
            self.check(delivery.expires_at > now, "I13", || format!("{} was leased after its TTL", delivery.id));
        }
    }

    fn changed(&mut self, change: &Change, wall: Wall) {
        let Change { before, next, .. } = change;
        let id = next.id;
        let cancelled = self.cancelled.contains(&id);
        self.check(!cancelled, "I12", || format!("{id} was cancelled, and is {} now", next.state.as_str()));
        let met = self.met.insert(id, next.version).unwrap_or(before.version);
        self.check(met == before.version, "I7", || {
            format!("{id}: a decision on version {} was applied over version {met}", before.version)
        });
        self.check_keeper(change, wall);
        if next.last != before.last && next.last.is_some() {
            self.tried(before, next);
        }
        if next.losses > before.losses {
            self.lost(before, wall);
        }
        match next.state {
            State::Delivered => {
                let received = self.received.contains(&id);
                self.check(received, "I6", || format!("{id} is delivered, but its target never answered 2xx"));
                *self.made.entry(next.destination.clone()).or_default() += 1;
                self.owners.delivered(self.run, &next.destination, wall);
            }
            State::Dead => self.check_death(next),
            State::Expired => {
                let over = next.expires_at <= wall;
                self.check(over, "I13", || format!("{id} expired before its TTL {}", next.expires_at));
            }
            State::Ready | State::Scheduled | State::Leased | State::Cancelled => {}
        }
        if let Some(book) = self.books.get_mut(&id) {
            book.due_at = next.due_at;
            let unreported = is_unreported(change);
            let redriven = !before.state.is_open() && next.state == State::Ready;
            book.excused += u32::from(unreported || redriven);
        }
    }

    fn tried(&mut self, before: &Delivery, next: &Delivery) {
        let Some(last) = &next.last else { return };
        let (id, class) = (next.id, last.class);
        let charged = next.attempts > before.attempts;
        if class != Class::Delivered {
            let report = ((id, before.token), class as u32);
            let said = self.reported.contains(&report) && before.state == State::Leased;
            self.check(said, "I7", || format!("{id} was failed under {:?}, which nobody reported", before.token));
        }
        match class {
            Class::Delivered | Class::Rejected => {}
            Class::Refused => self.check(charged, "I10", || format!("{id} was refused and not charged")),
            Class::Unreachable => self.check(!charged, "I11", || format!("{id} was charged for an outage")),
            Class::Busy => {
                let made = self.made.get(&next.destination).copied().unwrap_or(0);
                let served_others = before.mark.is_some_and(|mark| made > mark) || self.served_by_some_clock(before);
                self.check(!charged || served_others, "I11", || {
                    format!("{id} was charged as busy while its target served nobody")
                });
                if charged {
                    self.check_served_since(before);
                }
            }
        }
        if charged {
            self.check_brought(before, class);
        }
        if charged && matches!(class, Class::Rejected | Class::Busy) {
            let may = self.heard.get(&(self.run, (id, before.token))).is_some_and(|heard| heard.may_be_charged);
            self.check(may, "I10", || format!("{id} was charged, and so were four others since the last delivery"));
        }
        if next.state == State::Scheduled {
            self.check_delay(before, next, charged);
        }
        self.owners.tried(self.run, id, last.at);
        self.check(next.tries == before.tries + 1, "I10", || format!("{id}: one try counted otherwise"));
    }

    /// A try that did not count has no say in when those come that do.
    fn check_delay(&mut self, before: &Delivery, next: &Delivery, charged: bool) {
        let heard = self.heard.get(&(self.run, (next.id, before.token)));
        let asked = heard.map(|heard| heard.retry_after.min(limits::RETRY_AFTER_MAX)).unwrap_or_default();
        let bound = if charged { self.longest_delay(next, next.attempts) } else { limits::UNCOUNTED_DELAY_MAX };
        let delay = next.due_at.since(next.changed_at);
        self.check(delay <= bound.max(asked) + Duration::from_millis(1), "I10", || {
            format!("{} is due after {delay:?}: {next:?}", next.id)
        });
    }

    /// The delay after so many counted attempts, on its route or, while that is removed, on any.
    fn longest_delay(&self, delivery: &Delivery, attempts: u32) -> Duration {
        let standard = RetryPolicy::default();
        let own = self.planned.route(&delivery.source, &delivery.destination).map(|route| &route.retry);
        let longest = own.into_iter().chain([&standard]).map(|retry| retry.schedule.delay(attempts)).max();
        longest.unwrap_or_default().mul_f64(1.1)
    }

    fn lost(&mut self, before: &Delivery, wall: Wall) {
        let id = before.id;
        let nothing = self.loses_nothing;
        self.check(!nothing, "I11", || format!("{id}: a loss was counted though its client is there all the time"));
        self.check_nowhere(before, wall);
        let Some(book) = self.books.get_mut(&id) else { return };
        let over = book.lease_ends.iter().find(|(_, until)| **until <= wall).map(|(token, _)| *token);
        match over {
            Some(token) => {
                book.lease_ends.remove(&token);
            }
            None => self.broken("I11", format!("{id}: a loss was counted though none of its leases is over")),
        }
    }

    /// Retries of a route. What fails while its route is removed has those of the standard policy.
    fn retries(&self, source: &Name, destination: &Name) -> u32 {
        let standard = RetryPolicy::default().max_retries;
        let own = self.planned.route(source, destination).map_or(standard, |route| route.retry.max_retries);
        let removed = self.unrouted.contains(&(source.clone(), destination.clone()));
        if removed { own.min(standard) } else { own }
    }

    fn check_death(&mut self, next: &Delivery) {
        let retries = self.retries(&next.source, &next.destination);
        let id = next.id;
        match next.reason {
            Some(Reason::Refused | Reason::Rejected | Reason::Busy) => {
                let attempts = next.attempts;
                self.check(attempts > retries, "I10", || {
                    format!("{id} is dead after {attempts} attempts, {retries} retries are allowed")
                });
            }
            Some(Reason::LostLeases) => {
                let losses = next.losses;
                self.check(losses >= limits::LOSSES_MAX, "I11", || format!("{id} is dead after {losses} losses"));
            }
            Some(Reason::Expired) | None => self.broken("I12", format!("{id} is dead without a reason of the dead")),
        }
    }

    /// A client said something.
    pub(crate) fn client_said(&mut self, message: &Message) {
        if let Message::Report(Report { lease, class, .. }) = message
            && let Ok(key) = codec::required_lease(lease.as_ref())
        {
            self.reported.insert((key, *class));
        }
    }

    /// A server starts, which knows nothing of what its clients met before.
    pub(crate) fn server_starts(&mut self, run: u64, alone: bool) {
        self.run = run;
        if alone {
            self.failed.clear();
            self.let_go.clear();
            self.returning.clear();
            self.serving.forget();
        }
    }

    /// What happens from now on happens to this one.
    pub(crate) fn turns_to(&mut self, run: u64) {
        self.run = run;
    }

    /// The server said something.
    pub(crate) fn server_said(&mut self, socket: u64, message: &Message, store: &MemoryStore) {
        let gives = matches!(message, Message::Grant(_) | Message::Chunk(_));
        let shut = self.shut.contains(&socket);
        self.check(!(gives && shut), "I21", || format!("socket {socket} gets more after its token was revoked"));
        self.check_told(socket, message);
        self.serving.note(message);
        if let Message::Grant(grant) = message {
            let granted = grant.lease.iter().flat_map(codec::lease_key).map(|(id, _)| id);
            let redriven = |id: &DeliveryId| store.delivery(*id).is_some_and(|found| found.redriven_from.is_some());
            self.renumbered.extend(granted.filter(redriven));
        }
        if let Message::Welcome(welcome) = message {
            let may = self.serves.get(&socket).is_some_and(|serves| *serves != Serves::Only(BTreeSet::new()));
            let resumes = !welcome.resumed.is_empty();
            self.check(may || !resumes, "I21", || format!("socket {socket} resumes what its token may not serve"));
            for (id, token) in welcome.resumed.iter().flat_map(codec::lease_key) {
                // A late success of somebody else may just have ended it; the server hears of that in a moment.
                let waits = |state| matches!(state, State::Ready | State::Scheduled);
                let held = store.delivery(id).is_some_and(|found| found.token == token && !waits(found.state));
                // Its own report may just have ended it at another server.
                let held = held || (self.owners.several() && (self.was_reported(id, token) || self.may_not_know(id)));
                self.check(held, "I7", || format!("{id}: a client may resume a lease that is not its own any more"));
            }
        }
        let Message::Settled(settled) = message else { return };
        for (id, token) in settled.leases.iter().flat_map(codec::lease_key) {
            // Beyond its token nothing that a client says counts, and it may forget it.
            let counts = |name: &Name| self.serves.get(&socket).is_some_and(|serves| serves.allows(name));
            let open = store.delivery(id).is_some_and(|found| {
                found.state == State::Leased && found.token == token && counts(&found.destination)
            });
            self.check(!open, "I6", || format!("{id}: the client was told that its outcome is durable, and it is not"));
        }
    }

    /// A forward begins. `taken_away`: the server had told this client that the lease is no longer its own.
    pub(crate) fn forwarding(&mut self, forward: &Forward, taken_away: bool, calm: bool) {
        let id = forward.delivery;
        self.check(!taken_away, "I7", || format!("{id} is forwarded under a lease that the server took away"));
        let Some(event) = self.events.get(&forward.event) else {
            return self.broken("I11", format!("{id} is forwarded though its event is not durable"));
        };
        let same = event.body == forward.body
            && event.headers == forward.headers
            && event.query == forward.query
            && event.method == forward.method
            && event.rest() == &forward.rest[..];
        self.check(same, "I3", || format!("{id} is forwarded with other bytes than were taken in"));
        self.awaiting.remove(&forward.destination);
        let own = self.numbers.entry(id).or_default().insert(forward.attempt);
        let anew = self.renumbered.contains(&id) || self.taken_back.contains(&id);
        self.check(own || anew, "I9", || format!("{id} is forwarded a second time as try {}", forward.attempt));
        if !self.received.contains(&id) {
            return;
        }
        self.duplicates += 1;
        self.check(!calm, "I9", || format!("{id} is forwarded again in a run without faults"));
        // Whoever held such a lease may have delivered without being able to say so; nobody knows until a later try succeeds.
        let explained = self.books.get(&id).is_some_and(|book| book.excused > 0) || self.taken_back.contains(&id);
        self.check(explained, "I9", || {
            format!("{id} is forwarded again, and no lease of it has ended without a report")
        });
    }

    /// A target answered.
    pub(crate) fn target_answered(&mut self, delivery: DeliveryId, status: Option<u16>) {
        if status.is_some_and(|status| (200..300).contains(&status)) {
            self.received.insert(delivery);
        }
    }

    /// These destinations are paused from now on, and no others.
    pub(crate) fn paused(&mut self, names: &BTreeSet<Name>, wall: Wall) {
        self.paused = names.iter().map(|name| (name.clone(), wall)).collect();
    }

    /// A socket is open, and its token may serve this.
    pub(crate) fn opened(&mut self, socket: u64, serves: Serves) {
        self.serves.insert(socket, serves);
    }

    /// The server counts these clients, right after one has said Hello on this socket.
    pub(crate) fn counted(&mut self, socket: u64, instance: InstanceId, view: &[DestinationView]) {
        for DestinationView { destination, clients, .. } in view {
            let counts = clients.iter().any(|client| client.instance == instance);
            let may = self.serves.get(&socket).is_some_and(|serves| serves.allows(destination));
            self.check(may || !counts, "I24", || format!("{destination} counts a client that may not serve it"));
        }
    }

    /// What is told on a socket of a destination, its token may serve.
    fn check_told(&mut self, socket: u64, message: &Message) {
        let name = match message {
            Message::Grant(grant) => &grant.destination,
            Message::Peers(peers) => &peers.destination,
            _ => return,
        };
        let name: Option<Name> = name.parse().ok();
        let may = name.is_some_and(|name| self.serves.get(&socket).is_some_and(|serves| serves.allows(&name)));
        self.check(may, "I21", || format!("socket {socket} is told what its token may not serve: {message:?}"));
    }

    /// The tokens of these sockets were revoked.
    pub(crate) fn revoked(&mut self, sockets: &[u64]) {
        self.shut.extend(sockets);
    }

    /// Deliveries of an old event were made.
    fn replayed(&mut self, made: &[Delivery]) {
        for delivery in made {
            let book = Book { due_at: delivery.due_at, lease_ends: BTreeMap::new(), excused: 0 };
            self.books.insert(delivery.id, book);
            self.reaches.entry(delivery.event).or_default().insert(delivery.destination.clone());
            // From here on it has to be found, until it is removed once more.
            self.retired.remove(&(delivery.event, delivery.destination.clone()));
            for (_, missing) in self.owed.values_mut().filter(|(event, _)| *event == delivery.event) {
                missing.remove(&delivery.destination);
            }
        }
    }

    fn check_pause(&mut self, delivery: &Delivery, since: Wall) {
        let paused = self.paused.get(&delivery.destination).is_some_and(|at| *at < since);
        let name = &delivery.destination;
        self.check(!paused, "I12", || format!("{} was leased though {name} is paused", delivery.id));
    }

    /// After every start of a server, and at the end: nothing promised is missing, nothing is half there, sums are even.
    pub(crate) fn check_store(&mut self, store: &MemoryStore) {
        let recount = store.recount_now();
        let even = recount.counted == recount.kept;
        self.check(even, "I5", || format!("counters {:?}, recount {:?}", recount.kept, recount.counted));
        let mut deliveries: BTreeMap<EventId, BTreeSet<Name>> = BTreeMap::new();
        for delivery in store.deliveries() {
            deliveries.entry(delivery.event).or_default().insert(delivery.destination);
        }
        let stored: BTreeSet<EventId> = store.event_ids().into_iter().collect();
        for id in &self.promised.clone() {
            let kept = stored.contains(id) || self.is_retired(*id);
            self.check(kept, "I1", || format!("{id} was acknowledged and is gone"));
        }
        for id in &stored {
            let Some(wanted) = self.reaches.get(id).cloned() else { continue };
            let mut found = deliveries.remove(id).unwrap_or_default();
            found.extend(self.retired.iter().filter(|(event, _)| event == id).map(|(_, name)| name.clone()));
            self.check(found == wanted, "I2", || {
                format!("{id} has deliveries to {found:?}, routes lead to {wanted:?}")
            });
        }
    }

    /// After the liveness phase: everything has ended, and duplicates are explained.
    pub(crate) fn check_end(&mut self, store: &MemoryStore) {
        self.check_store(store);
        for delivery in store.deliveries() {
            let (id, state) = (delivery.id, delivery.state);
            self.check(!state.is_open(), "I19", || format!("{id} is still {}: {delivery:?}", state.as_str()));
            let given_up = state == State::Expired && self.hopeful.contains(&id);
            self.check(!given_up, "I19", || format!("{id} expired long after all was well: {delivery:?}"));
        }
    }
}

/// A lease ends, and not because its outcome was reported.
fn is_unreported(change: &Change) -> bool {
    let Change { before, next, .. } = change;
    before.state == State::Leased && next.tries == before.tries && next.state != State::Leased
}
