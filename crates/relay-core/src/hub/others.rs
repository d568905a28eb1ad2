//! Others: servers that work on the same store. Each says which clients it has, and hears of those of the others.
//!
//! With one owner nothing of this happens: see [`Setup::shares`](super::Setup::shares).
//!
//! **Invariant:** one presence is said at a time. A loss is counted by an answer that was asked for when it was due.

use std::collections::{BTreeMap, BTreeSet};

use super::{Hub, leases::PendingLoss, settle::Why, timers::Timer};
use crate::{
    circuit::Circuit,
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    storage::{About, OpenCircuit, Presence, Reading, SeenCircuit, SeenClient, StoreError},
    time::{Mono, Wall},
};

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Runs of other servers that were heard of lately.
    runs: BTreeMap<u64, SeenServer>,
    /// It is known which these are.
    known: bool,
    /// Open circuits of clients elsewhere, as who has the client says.
    open: BTreeMap<(InstanceId, Name), OpenCircuit>,
    /// When that was heard.
    heard: Mono,
    /// How often the others were asked for, and how many of those are answered, if only by an error.
    asked: u64,
    answered: u64,
    /// Clients that have a socket elsewhere, and what they serve.
    seen: BTreeMap<InstanceId, BTreeSet<Name>>,
    /// When the timer goes off.
    next: Option<Mono>,
    /// What is said is under way.
    saying: bool,
    /// It is not what is so by now.
    changed: bool,
    /// Losses that are due, and are judged by the answer after the next.
    due: Vec<(DeliveryId, PendingLoss)>,
    /// Those that are judged by the next one.
    judged: Vec<(DeliveryId, PendingLoss)>,
}

/// What another server says of itself.
#[derive(Clone, Debug)]
pub(super) struct SeenServer {
    pub(super) run: u64,
    pub(super) about: About,
    pub(super) stopping: bool,
    pub(super) clock: Option<Reading>,
    /// How many clients it has.
    pub(super) clients: usize,
}

impl SeenServer {
    fn of(said: &Presence) -> Self {
        let Presence { run, server, stopping, clock, clients, .. } = said;
        Self { run: *run, about: server.clone(), stopping: *stopping, clock: *clock, clients: clients.len() }
    }
}

impl Others {
    /// Runs that work on the store and go on: those that were heard of lately and `mine`, each once, by number. All servers that
    /// hear of each other find the same; where there is one owner, there is one.
    pub(super) fn runs(&self, mine: u64) -> Vec<u64> {
        let others = self.runs.values().filter(|other| !other.stopping).map(|other| other.run);
        let runs: BTreeSet<u64> = others.chain([mine]).collect();
        runs.into_iter().collect()
    }

    /// What the others say of themselves, by run.
    pub(super) fn servers(&self) -> impl Iterator<Item = &SeenServer> {
        self.runs.values()
    }

    /// Clients that have a socket elsewhere.
    pub(super) fn clients(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.seen.keys().copied()
    }

    /// Whether that which was asked for then is answered.
    pub(super) fn has_answered(&self, word: u64) -> bool {
        self.answered >= word
    }

    /// Whether something is being said to them.
    pub(super) fn are_being_told(&self) -> bool {
        self.saying
    }

    /// When the others were heard last.
    pub(super) fn heard(&self) -> Mono {
        self.heard
    }

    /// What is down for a client at other servers.
    pub(super) fn open_of(&self, id: InstanceId) -> Vec<(Name, OpenCircuit)> {
        let theirs = self.open.iter().filter(|((instance, _), _)| *instance == id);
        theirs.map(|((_, name), open)| (name.clone(), open.clone())).collect()
    }

    /// Whether the circuit of a client elsewhere is open.
    pub(super) fn is_open(&self, id: InstanceId, name: &Name) -> bool {
        self.open.contains_key(&(id, name.clone()))
    }

    /// Whether it was ever heard which others there are.
    pub(super) fn have_been_heard(&self) -> bool {
        self.known
    }

    /// Whether a client has a socket elsewhere.
    pub(super) fn see(&self, id: InstanceId) -> bool {
        // Canary: a client that is elsewhere has lost nothing.
        self.seen.contains_key(&id) && !crate::canary::is("loss_while_elsewhere")
    }

    /// Clients elsewhere that serve a destination.
    pub(super) fn serving<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = InstanceId> + 'a {
        self.seen.iter().filter(|(_, serves)| serves.contains(name)).map(|(id, _)| *id)
    }

    /// It came back here.
    pub(super) fn forgive(&mut self, id: InstanceId) {
        self.due.retain(|(_, loss)| loss.instance != id);
        self.judged.retain(|(_, loss)| loss.instance != id);
    }
}

impl Hub {
    /// What it says of itself before it starts, for its driver to hear of the others by.
    pub fn first_presence(&self, at: Wall) -> Presence {
        Presence { at, ..self.presence() }
    }

    /// Runs of servers that work on the store and are not stopping, this one among them, by number.
    pub fn runs(&self) -> Vec<u64> {
        self.others.runs(self.nonce)
    }

    /// Says which clients are here, now or as soon as what was said before is answered.
    pub(super) fn say_presence(&mut self) {
        if !self.setup.shares || self.failed {
            return;
        }
        if std::mem::replace(&mut self.others.saying, true) {
            self.others.changed = true;
            return;
        }
        if let Some(before) = self.others.next.take() {
            self.timers.remove(&(before, Timer::Presence));
        }
        self.others.changed = false;
        let due = std::mem::take(&mut self.others.due);
        self.others.judged.extend(due);
        self.others.asked += 1;
        let op = self.ops.presence(self.presence());
        self.ask_store(op);
    }

    /// Says who is here, to hear what the others say from now on: the number of that answer.
    pub(super) fn ask_for_word(&mut self) -> u64 {
        self.say_presence();
        self.others.asked + u64::from(self.others.changed)
    }

    fn presence(&self) -> Presence {
        let here = self.instances.iter().filter(|(_, instance)| instance.conn.is_some());
        let clients = here.map(|(id, instance)| {
            let serves = instance.served.iter().filter(|(_, served)| served.slots.are_offered());
            SeenClient { instance: *id, since: instance.since, serves: serves.map(|(name, _)| name.clone()).collect() }
        });
        let (server, clock) = (self.setup.server.clone(), self.clocks.told());
        let (clients, circuits) = (clients.collect(), self.open_circuits());
        let stopping = self.stopping;
        Presence {
            run: self.nonce,
            at: self.clocks.of_store(self.now.wall),
            server,
            stopping,
            clock,
            clients,
            circuits,
        }
    }

    /// Those of clients that are here first, then those that are remembered of others.
    fn open_circuits(&self) -> Vec<SeenCircuit> {
        let mut all: Vec<_> = self.instances.iter().collect();
        all.sort_by_key(|(_, instance)| instance.conn.is_none());
        let services = all.into_iter().flat_map(|(id, of)| of.served.iter().map(move |(name, at)| (id, of, name, at)));
        let open = services.filter_map(|(id, instance, name, served)| {
            let open = served.circuit.told(self.now.mono)?;
            Some(SeenCircuit { instance: *id, since: instance.since, destination: name.clone(), open })
        });
        open.take(limits::PRESENCE_CIRCUITS_MAX).collect()
    }

    /// The timer for that went off.
    pub(super) fn on_presence_due(&mut self) {
        self.others.next = None;
        self.read_clock();
    }

    pub(super) fn on_presence(&mut self, result: Result<Vec<Presence>, StoreError>) {
        self.others.saying = false;
        self.others.answered = self.others.asked;
        let judged = std::mem::take(&mut self.others.judged);
        if let Ok(others) = result {
            self.compare_clocks(&others);
            self.on_others(others);
            self.judge(judged);
        } else {
            // Of whom nothing is known nothing is counted.
            self.others.due.extend(judged);
            self.turn_away_early();
        }
        self.welcome_who_waited();
        if self.others.saying {
            return;
        }
        if self.others.changed {
            return self.say_presence();
        }
        let calm = self.others.due.is_empty() && self.clocks.are_compared();
        let pause = if calm { limits::PRESENCE_EVERY } else { limits::STORE_RETRY };
        self.others.next = Some(self.now.mono + pause);
        self.arm(pause, Timer::Presence);
    }

    fn on_others(&mut self, others: Vec<Presence>) {
        self.others.runs = others.iter().map(|other| (other.run, SeenServer::of(other))).collect();
        self.others.open = open_circuits(&others);
        self.others.heard = self.now.mono;
        self.others.known = true;
        let mut seen: BTreeMap<InstanceId, BTreeSet<Name>> = BTreeMap::new();
        for client in others.into_iter().flat_map(|other| other.clients) {
            seen.entry(client.instance).or_default().extend(client.serves);
        }
        let before = std::mem::replace(&mut self.others.seen, seen);
        let nobody = BTreeSet::new();
        let ids: BTreeSet<InstanceId> = before.keys().chain(self.others.seen.keys()).copied().collect();
        let mut recounted = BTreeSet::new();
        for id in ids {
            let (was, is) = (before.get(&id).unwrap_or(&nobody), self.others.seen.get(&id).unwrap_or(&nobody));
            recounted.extend(was.symmetric_difference(is).cloned());
        }
        for name in recounted.into_iter().filter(|name| self.destinations.contains_key(name)) {
            self.recounted.entry(name).or_insert(InstanceId::from_u128(0));
        }
        // It came back, if not here: nothing is lost.
        let back: Vec<InstanceId> = self
            .others
            .seen
            .keys()
            .filter(|id| self.instances.contains_key(id) && self.others.see(**id))
            .copied()
            .collect();
        for id in back {
            self.forgive_losses(id);
            self.forget_circuits(id);
        }
    }

    /// Whoever is elsewhere has its circuits there: what is remembered here would come back with it as it was.
    fn forget_circuits(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id).filter(|instance| instance.conn.is_none()) else { return };
        for (name, served) in &mut instance.served {
            served.circuit = Circuit::default();
            if let Some(destination) = self.destinations.get_mut(name) {
                destination.open.remove(&id);
            }
        }
    }

    /// The end of a released lease has come, and its instance has not come back here: perhaps it is elsewhere.
    pub(super) fn judge_loss(&mut self, id: DeliveryId, loss: PendingLoss) {
        if self.others.due.is_empty() {
            self.others.due.push((id, loss));
            self.say_presence();
        } else {
            self.others.due.push((id, loss));
        }
    }

    fn judge(&mut self, losses: Vec<(DeliveryId, PendingLoss)>) {
        for (id, loss) in losses {
            if !self.others.see(loss.instance) {
                self.look_up(id, Why::CountLoss(loss.ready_at));
            }
        }
    }
}

/// The open circuits that others tell of: those of each client as the server has them to which it came last.
fn open_circuits(others: &[Presence]) -> BTreeMap<(InstanceId, Name), OpenCircuit> {
    let mut homes: BTreeMap<InstanceId, (Wall, u64)> = BTreeMap::new();
    for other in others {
        let clients = other.clients.iter().map(|client| (client.instance, client.since));
        for (id, since) in clients.chain(other.circuits.iter().map(|circuit| (circuit.instance, circuit.since))) {
            let home = homes.entry(id).or_insert((since, other.run));
            *home = (*home).max((since, other.run));
        }
    }
    let mut open = BTreeMap::new();
    for other in others {
        let at_home = |id| homes.get(&id).is_some_and(|(_, run)| *run == other.run);
        let told = other.circuits.iter().filter(|circuit| at_home(circuit.instance));
        open.extend(told.map(|circuit| ((circuit.instance, circuit.destination.clone()), circuit.open.clone())));
    }
    open
}
