//! What the hub shows of itself, and what must always hold of it.

use std::collections::BTreeMap;

use super::{Hub, instances::Instance, others::SeenServer, session::Phase};
use crate::{
    id::InstanceId,
    name::Name,
    storage::{About, Reading},
    time::{Mono, Wall},
};

/// What the hub knows of one destination, for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationView {
    /// Which.
    pub destination: Name,
    /// Client instances that serve it: id, label, leases held, whether the circuit is open.
    pub clients: Vec<ClientView>,
    /// Clients that other servers have of it, and this one has not.
    pub elsewhere: u32,
    /// Those of them whose circuit is open.
    pub elsewhere_down: u32,
    /// Some client has credit and a closed circuit.
    pub served: bool,
}

/// What the hub knows of one client instance at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// Its instance.
    pub instance: InstanceId,
    /// Its name for people.
    pub label: String,
    /// Its token's name.
    pub token: Name,
    /// Its address.
    pub peer: String,
    /// Since when its socket has been open, by the clock that servers share.
    pub since: Wall,
    /// Leases held there.
    pub held: u32,
    /// Slots there.
    pub slots: u32,
    /// Whether its circuit is open.
    pub circuit_open: bool,
    /// Since when.
    pub open_since: Option<Mono>,
    /// When the next try may go out while it is open; `None` while one is under way.
    pub next_try: Option<Mono>,
    /// The latest failure while the circuit is open; none yet if it began open.
    pub error: Option<String>,
}

/// Another server that works on the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// The number of its run.
    pub run: u64,
    /// What it says of itself.
    pub about: About,
    /// How its clock was found to go, if it knows.
    pub clock: Option<Reading>,
    /// How many clients it has.
    pub clients: usize,
    /// Whether its configuration is this server's, as far as it is to be.
    pub same_config: bool,
}

impl ServerView {
    /// `mine`: the digest of this server's configuration.
    fn of(said: &SeenServer, mine: &[u8; 32]) -> Self {
        let SeenServer { run, about, clock, clients, stopping: _ } = said.clone();
        let same_config = about.config == *mine;
        Self { run, about, clock, clients, same_config }
    }
}

/// A destination that clients want to serve and no route leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnroutedView {
    /// Which.
    pub destination: Name,
    /// How many instances.
    pub clients: usize,
    /// One of them: its name for people.
    pub label: String,
    /// And its token's name.
    pub token: Name,
}

impl Hub {
    /// What clients want to serve and no route leads to, by name; at most so many.
    pub fn unrouted(&self, most: usize) -> Vec<UnroutedView> {
        let mut found = BTreeMap::new();
        for instance in self.instances.values().filter(|instance| instance.joined) {
            let served = instance.served.iter().filter(|(_, served)| served.slots.are_offered());
            for (name, _) in served.filter(|(name, _)| !self.routed.contains(*name)) {
                if found.len() < most || found.contains_key(name) {
                    let (clients, _) = found.entry(name).or_insert((0, instance));
                    *clients += 1;
                }
            }
        }
        let view = |(name, (clients, instance)): (&Name, (usize, &Instance))| UnroutedView {
            destination: name.clone(),
            clients,
            label: instance.label.clone(),
            token: instance.token.clone(),
        };
        found.into_iter().map(view).collect()
    }

    /// What is known of each destination that is routed to or served, by name.
    pub fn view(&self) -> Vec<DestinationView> {
        self.destinations.keys().map(|name| self.destination_view(name)).collect()
    }

    fn destination_view(&self, name: &Name) -> DestinationView {
        let joined = self.destinations.get(name).into_iter().flat_map(|destination| &destination.joined);
        let mut clients = Vec::new();
        for id in joined {
            let Some(instance) = self.instances.get(id) else { continue };
            let Some(served) = instance.served.get(name) else { continue };
            clients.push(ClientView {
                instance: *id,
                label: instance.label.clone(),
                token: instance.token.clone(),
                peer: instance.peer.clone(),
                since: instance.since,
                held: served.slots.used(),
                slots: served.slots.offered(),
                circuit_open: served.circuit.is_open(),
                open_since: served.circuit.open_since(),
                next_try: served.circuit.next_try(),
                error: served.circuit.open_error().map(str::to_owned),
            });
        }
        let served = self.destinations.get(name).is_some_and(|destination| destination.takers.take_arrivals());
        let (mut elsewhere, mut elsewhere_down) = (0, 0);
        for id in self.only_elsewhere(name) {
            elsewhere += 1;
            elsewhere_down += u32::from(self.others.is_open(id, name));
        }
        DestinationView { destination: name.clone(), clients, elsewhere, elsewhere_down, served }
    }

    /// Other servers that work on the store, by run.
    pub fn servers(&self) -> Vec<ServerView> {
        self.others.servers().map(|said| ServerView::of(said, &self.setup.server.config)).collect()
    }

    /// Clients that other servers have, and this one has not.
    pub fn clients_elsewhere(&self) -> usize {
        let joined = |id: &InstanceId| self.instances.get(id).is_some_and(|instance| instance.joined);
        self.others.clients().filter(|id| !joined(id)).count()
    }

    /// Bytes of events on their way out.
    pub fn bytes_out(&self) -> u64 {
        self.room.out()
    }

    /// Panics if the hub's indexes contradict each other. Called after every input in debug builds.
    pub fn check_invariants(&self) {
        assert_eq!(self.held.len(), self.ends.len(), "every lease has one end");
        let indexed: usize = self.instances.values().map(|instance| instance.held.len()).sum();
        assert_eq!(self.held.len(), indexed, "every lease belongs to one instance");
        let losses: usize = self.instances.values().map(|instance| instance.losses.len()).sum();
        assert_eq!(self.losses.len(), losses, "every pending loss belongs to one instance");
        let greets = |conn| self.sessions.get(conn).is_some_and(|session| !matches!(session.phase, Phase::Up(_)));
        assert!(self.greeting.iter().all(greets), "whoever greets has a socket and no Welcome");
        for (name, destination) in &self.destinations {
            // What is asked for is asked for one of these.
            destination.takers.check(|id| self.instances.get(&id)?.served.get(name)?.rank);
        }
        self.room.check();
        for (id, instance) in &self.instances {
            self.check_instance(*id, instance);
            for (name, served) in &instance.served {
                let takers = self.destinations.get(name).map(|destination| &destination.takers);
                let ranked = served.rank.is_none_or(|rank| takers.is_some_and(|takers| takers.has(*id, rank)));
                assert!(ranked, "the takers know each rank");
            }
        }
    }

    fn check_instance(&self, id: InstanceId, instance: &Instance) {
        let used: usize = instance.served.values().map(|served| served.slots.used() as usize).sum();
        let parked: usize = instance.served.keys().map(|name| self.parked.count(&(id, name.clone()))).sum();
        assert!(used + parked >= instance.held.len(), "what is held takes a slot, or is parked");
        for (name, served) in &instance.served {
            let parked = self.parked.at(&(id, name.clone()));
            let tried = parked.iter().filter(|id| self.held.get(id).is_some_and(|held| held.delivery.tries > 0));
            let counted = served.slots.tried_parked() as usize;
            assert_eq!(tried.count(), counted, "those that are parked and were tried are counted");
            assert!(served.slots.used() as usize >= served.slots.suspects(), "suspects take slots");
        }
    }
}
