//! Trouble, and the end of it.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};
use relay_core::{client::Input as ClientInput, hub::Input, name::Name, partitions::Partitions, storage::StoreError};
use relay_store::memory::Trouble;

use crate::{
    net::{End, Packet},
    plan::pick,
    world::{PARTITIONS, What, World, micros, routing},
};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Reset,
    HalfOpen,
    Partition,
    PartitionOver(usize),
    ServerKill,
    ServerStop,
    Cut(bool),
    ClientKill,
    ClientStop,
    ClientRenew,
    TargetMood,
    TargetMixed,
    StoreFull(bool),
    StoreTrouble(bool),
    RouteRemoved,
    RouteMade,
    Narrow,
    Thief,
    Backup,
    Restore,
}

const DAY: i64 = 24 * 3600 * 1_000_000;

impl World {
    /// Spreads this seed's faults over its time of trouble.
    pub(crate) fn plan_trouble(&mut self) {
        let faults = &self.plan.faults;
        let kinds = [
            (faults.resets, Fault::Reset, 6),
            (faults.half_open, Fault::HalfOpen, 3),
            (faults.partitions, Fault::Partition, 3),
            (faults.server_kills || faults.clock_jumps, Fault::ServerKill, 4),
            (faults.server_stops, Fault::ServerStop, 2),
            (faults.client_kills, Fault::ClientKill, 6),
            (faults.client_stops, Fault::ClientStop, 4),
            (faults.target_trouble, Fault::TargetMood, 12),
            (faults.store_full, Fault::StoreFull(true), 3),
        ];
        let trouble = micros(self.plan.trouble);
        for (on, fault, most) in kinds {
            let times = if on { self.rng.random_range(1..=most) } else { 0 };
            for _ in 0..times {
                let at = self.rng.random_range(0..trouble);
                self.at(at, What::Trouble(fault));
            }
        }
        if self.plan.faults.store_trouble {
            for _ in 0..self.unwell.random_range(1..=4) {
                let at = self.unwell.random_range(0..trouble);
                self.at(at, What::Trouble(Fault::StoreTrouble(true)));
            }
        }
        if self.plan.faults.backups {
            for _ in 0..self.unwell.random_range(1..=3) {
                let at = self.unwell.random_range(0..trouble * 3 / 4);
                self.at(at, What::Trouble(Fault::Backup));
            }
            let at = self.unwell.random_range(trouble / 2..trouble);
            self.at(at, What::Trouble(Fault::Restore));
        }
        if self.plan.servers > 1 && self.plan.faults.resets {
            for _ in 0..self.several.random_range(0..=20) {
                let at = self.several.random_range(0..trouble);
                self.at(at, What::Trouble(Fault::Reset));
            }
        }
        if self.plan.faults.cuts {
            for _ in 0..self.several.random_range(1..=4) {
                let at = self.several.random_range(0..trouble);
                self.at(at, What::Trouble(Fault::Cut(true)));
            }
        }
        if self.plan.faults.renewals {
            for _ in 0..self.renewing.random_range(1..=4) {
                let at = self.renewing.random_range(0..trouble);
                self.at(at, What::Trouble(Fault::ClientRenew));
            }
        }
        if self.plan.faults.mixed {
            for _ in 0..self.later.random_range(1..=4) {
                let at = self.later.random_range(0..trouble);
                self.at(at, What::Trouble(Fault::TargetMixed));
            }
        }
        if self.plan.faults.routes {
            for _ in 0..self.later.random_range(1..=4) {
                let at = self.later.random_range(0..trouble);
                self.at(at, What::Trouble(Fault::RouteRemoved));
            }
        }
        if self.plan.faults.narrowing {
            for _ in 0..self.later.random_range(1..=4) {
                let at = self.later.random_range(0..trouble);
                self.at(at, What::Trouble(Fault::Narrow));
            }
        }
        if self.plan.faults.thieves {
            for _ in 0..self.later.random_range(1..=6) {
                let at = self.later.random_range(0..trouble);
                self.at(at, What::Trouble(Fault::Thief));
            }
        }
    }

    pub(crate) fn trouble(&mut self, fault: Fault) {
        if self.healed_at.is_some() {
            return;
        }
        self.tell(format_args!("fault {fault:?}"));
        match fault {
            Fault::Reset => self.reset(),
            Fault::HalfOpen => {
                if let Some(number) = self.some_socket()
                    && let Some(socket) = self.sockets.get_mut(&number)
                {
                    socket.half_open = true;
                }
            }
            Fault::Partition => {
                let client = self.some_client();
                self.clients[client].partitioned = true;
                let span = self.some_millis(90_000);
                self.after(span, What::Trouble(Fault::PartitionOver(client)));
            }
            Fault::PartitionOver(client) => self.end_partition(client),
            Fault::ServerKill => {
                self.turn_to_some();
                if self.is_last_right() {
                    return;
                }
                if self.plan.faults.clock_jumps {
                    self.skew = *pick(&mut self.rng, &[-DAY, 0, DAY]);
                }
                self.end_server(false);
            }
            Fault::ServerStop => {
                self.turn_to_some();
                if !self.is_last_right() {
                    self.stop_server();
                }
            }
            Fault::Cut(begins) => self.cut_off(begins),
            Fault::ClientKill => {
                let client = self.some_client();
                self.kill_client(client);
            }
            Fault::ClientStop => {
                let client = self.some_client();
                self.client_handles(client, ClientInput::Stop);
            }
            Fault::ClientRenew => {
                let client = self.renewing.random_range(0..self.clients.len());
                self.renew_client(client);
            }
            Fault::TargetMood => {
                let (name, mood) = self.targets.change(&mut self.rng);
                self.tell(format_args!("target {name} is now {mood:?}"));
            }
            Fault::TargetMixed => {
                let (name, mood) = self.targets.mix(&mut self.later);
                self.tell(format_args!("target {name} is now {mood:?}"));
            }
            Fault::RouteRemoved => self.remove_route(),
            Fault::RouteMade => self.make_routes(1),
            Fault::Narrow => {
                self.turn_to_some();
                self.narrow();
            }
            Fault::Thief => self.thief_comes(),
            Fault::StoreTrouble(begins) => self.trouble_store(begins),
            Fault::Backup => self.take_backup(),
            Fault::Restore => self.restore_backup(),
            Fault::StoreFull(full) => {
                self.store.set_full(full);
                if full {
                    let span = self.some_millis(20_000);
                    self.after(span, What::Trouble(Fault::StoreFull(false)));
                }
            }
        }
    }

    /// Everything is well from now on. What was broken is noticed and repaired by the machines themselves; a clock that is
    /// off stays off.
    pub(crate) fn heal(&mut self) {
        self.tell(format_args!("healed"));
        self.targets.heal();
        self.store.set_full(false);
        self.store.set_trouble(Vec::new());
        self.store.set_away(None);
        self.lossy = false;
        self.cut.clear();
        self.leave_alone_who_is_apart();
        for client in 0..self.clients.len() {
            self.end_partition(client);
        }
        self.is_healing = true;
        let wall = self.server_wall();
        self.resume_all(wall);
        self.widen_all();
        self.plan.faults.bytes_per_second = None;
        for client in &mut self.plan.clients {
            client.bytes_per_second = None;
        }
        self.make_routes(usize::MAX);
        self.oracle.healed(&self.store, wall);
        self.healed_at = Some(self.clock);
    }

    /// Some of the store's operations fail for a while: those that write for want of room, others because they are slow; or the
    /// store is away, or its answers are lost.
    fn trouble_store(&mut self, begins: bool) {
        let (mut trouble, mut away) = (Vec::new(), None);
        self.lossy = false;
        if begins {
            let slow = StoreError::TooSlow { after: Duration::from_secs(1) };
            let writes = [Trouble::Lease, Trouble::Extend, Trouble::Settle, Trouble::Replay];
            let reads = [Trouble::Bodies, Trouble::Find, Trouble::Due, Trouble::Held];
            let some = |rng: &mut StdRng| rng.random_bool(0.5);
            trouble.extend(writes.into_iter().filter(|_| some(&mut self.unwell)).map(|op| (op, StoreError::Full)));
            trouble.extend(reads.into_iter().filter(|_| some(&mut self.unwell)).map(|op| (op, slow.clone())));
            // Or it cannot be reached, which no append is spared.
            if self.unwell.random_bool(0.3) {
                for (_, error) in &mut trouble {
                    *error = StoreError::Away;
                }
                trouble.push((Trouble::Append, StoreError::Away));
            }
            self.lossy = self.unwell.random_bool(0.5);
            // Or a part of it cannot, as one of three primaries has.
            if self.plan.servers > 1 && self.unwell.random_bool(0.5) {
                let first = self.unwell.random_range(0..3);
                let places = (first..PARTITIONS).step_by(3);
                away = Some(places.fold(Partitions::none(PARTITIONS), Partitions::with));
            }
            let span = Duration::from_millis(self.unwell.random_range(0..30_000));
            self.after(span, What::Trouble(Fault::StoreTrouble(false)));
        }
        let lossy = self.lossy;
        self.tell(format_args!("store fails {trouble:?}, loses answers: {lossy}, away: {away:?}"));
        self.store.set_away(away);
        self.store.set_trouble(trouble);
    }

    /// A copy of one moment, while everything goes on: it holds whatever was promised by then.
    fn take_backup(&mut self) {
        let copy = self.store.copy();
        self.oracle.backed_up(&copy);
        self.backup = Some(copy);
    }

    /// The disk is lost, and the copy put in its place: the server is away meanwhile, and comes back to what was.
    fn restore_backup(&mut self) {
        let Some(copy) = self.backup.take() else { return };
        self.end_server(false);
        let wall = self.wall(self.skew);
        self.store = copy.restored(wall);
        self.oracle.restored(&self.store);
        self.tell(format_args!("the backup is restored"));
    }

    /// A route of a source that has others; what is under way along it goes on.
    fn remove_route(&mut self) {
        let routes = &mut self.plan.routing.routes;
        let sources: Vec<Name> = routes.iter().filter(|(_, led)| led.len() > 1).map(|(name, _)| name.clone()).collect();
        if sources.is_empty() {
            return;
        }
        let source = pick(&mut self.later, &sources).clone();
        let Some(led) = routes.get_mut(&source) else { return };
        let route = led.remove(self.later.random_range(0..led.len()));
        self.oracle.unrouted(&source, &route.destination);
        self.unrouted.push((source, route));
        self.rerouted();
        let span = Duration::from_millis(self.later.random_range(0..60_000));
        self.after(span, What::Trouble(Fault::RouteMade));
    }

    /// The first of the removed routes are made again.
    fn make_routes(&mut self, count: usize) {
        let count = count.min(self.unrouted.len());
        for (source, route) in self.unrouted.drain(..count) {
            self.plan.routing.routes.entry(source).or_default().push(route);
        }
        if count > 0 {
            self.rerouted();
        }
    }

    fn rerouted(&mut self) {
        self.oracle.routed(self.plan.routing.clone());
        self.server_handles(Input::Routing(routing(&self.plan)));
    }

    fn end_partition(&mut self, client: usize) {
        self.clients[client].partitioned = false;
        let numbers: Vec<u64> =
            self.sockets.iter().filter(|(_, socket)| socket.client == client).map(|(number, _)| *number).collect();
        for number in numbers {
            let Some(socket) = self.sockets.get_mut(&number) else { continue };
            let stalled = std::mem::take(&mut socket.stalled);
            let to_client = stalled.iter().filter(|(end, _)| *end == End::Client);
            socket.queued -= to_client.map(|(_, packet)| packet.len()).sum::<usize>();
            for (end, packet) in stalled {
                self.put(number, end, packet);
            }
        }
    }

    /// Both ends hear that the socket is gone; what was on its way is lost.
    fn reset(&mut self) {
        let Some(number) = self.some_socket() else { return };
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        socket.reset = true;
        self.tell(format_args!("socket {number} is reset"));
        for end in [End::Client, End::Server] {
            let span = self.some_millis(100);
            self.after(span, What::Arrive { socket: number, end, packet: Packet::Close });
        }
    }

    fn some_socket(&mut self) -> Option<u64> {
        let numbers: Vec<u64> = self.sockets.keys().copied().collect();
        (!numbers.is_empty()).then(|| *pick(&mut self.rng, &numbers))
    }

    fn some_client(&mut self) -> usize {
        self.rng.random_range(0..self.clients.len())
    }
}

/// How long after healing every destination must have seen a try: half-open sockets are noticed within 45 s, a client is
/// back within 30 s, and the first try follows within 65 s; beside the longest time that a forward may hang.
pub(crate) const FIRST_TRY_WITHIN: Duration = Duration::from_secs(115);
