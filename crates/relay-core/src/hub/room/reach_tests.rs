//! Clients of all paces at one room: what each waits for, in seconds of a small world in which every client has a link.

use std::{collections::BTreeMap, time::Duration};

use super::*;

const MAX: u64 = 64 * 1024 * 1024;
const MEBI: u64 = 1024 * 1024;
/// Of a second.
const STEPS: u64 = 20;

/// A body that is out, as the hub has it.
struct Out {
    pair: Pair,
    id: u128,
    body: u64,
    to_leave: u64,
    lined_at: Mono,
}

/// A room, and links.
struct World {
    room: Room,
    step: u64,
    /// Bytes a second of each client.
    links: BTreeMap<u128, u64>,
    out: Vec<Out>,
    /// What was taken back in the middle: how much of it is to leave yet.
    rests: BTreeMap<u128, u64>,
    bodies: BTreeMap<u128, (Pair, u64, u64)>,
    /// How many steps each body waited until it had left whole.
    took: BTreeMap<u128, u64>,
    last: u128,
    looks_at: Option<u64>,
    taken_back: usize,
}

impl World {
    fn new(links: impl IntoIterator<Item = u64>) -> Self {
        let mut room = Room::new(MAX);
        let links: BTreeMap<u128, u64> = (1..).zip(links).collect();
        for client in links.keys() {
            room.set_buffer(InstanceId::from_u128(*client), u64::MAX);
        }
        Self {
            room,
            step: 0,
            links,
            out: Vec::new(),
            rests: BTreeMap::new(),
            bodies: BTreeMap::new(),
            took: BTreeMap::new(),
            last: 0,
            looks_at: None,
            taken_back: 0,
        }
    }

    fn now(&self) -> Mono {
        Mono::default() + Duration::from_millis(self.step * 1_000 / STEPS)
    }

    fn send(&mut self, client: u128, destination: &str, body: u64) -> u128 {
        self.last += 1;
        let pair = (InstanceId::from_u128(client), destination.parse().expect("a name"));
        self.room.wait(&pair, DeliveryId::from_u128(self.last), body);
        self.bodies.insert(self.last, (pair, body, self.step));
        self.last
    }

    /// One step, of the room's driver and of all links.
    fn pass(&mut self) {
        self.step += 1;
        self.room.set_now(self.now());
        let looks = self.looks_at == Some(self.step);
        if looks {
            self.look();
        }
        while let Some((pair, id)) = self.room.next() {
            let id = id.as_u128();
            let body = self.bodies[&id].1;
            self.room.came(&pair, body, body + 100);
            self.room.line_up(pair.0, body + 100);
            let to_leave = self.rests.remove(&id).unwrap_or(body + 100);
            self.out.push(Out { pair, id, body, to_leave, lined_at: self.now() });
        }
        if !self.room.is_contended() {
            self.looks_at = None;
        } else if looks || self.looks_at.is_none() {
            if self.looks_at.is_none() {
                self.room.begin_to_look();
            }
            self.looks_at = Some(self.step + limits::REACH_LOOK.as_secs() * STEPS);
        }
        if self.step.is_multiple_of(STEPS) {
            self.room.check();
        }
        self.carry();
    }

    fn look(&mut self) {
        let beyond = self.room.look();
        let mut out = std::mem::take(&mut self.out);
        out.sort_by_key(|out| out.lined_at);
        for out in out {
            let out_for = self.now().since(out.lined_at);
            if !beyond.contains(&out.pair.0) || !self.room.is_in_the_way(&out.pair, out.body, out_for) {
                self.out.push(out);
                continue;
            }
            self.taken_back += 1;
            let (id, size) = (DeliveryId::from_u128(out.id), out.body + 100);
            self.room.unline(out.pair.0, size);
            if out.to_leave < size {
                self.rests.insert(out.id, out.to_leave);
                self.room.wait_again(&out.pair, id, out.body, size, false);
            } else {
                self.room.left(&out.pair, out.body, size);
                self.room.settled(&out.pair, out.body);
                self.room.wait(&out.pair, id, out.body);
            }
        }
    }

    /// Each link carries what it can, small ones first.
    fn carry(&mut self) {
        let mut links: BTreeMap<u128, u64> = self.links.iter().map(|(client, rate)| (*client, rate / STEPS)).collect();
        for small in [true, false] {
            for out in self.out.iter_mut().filter(|out| (out.body <= 65_536) == small) {
                let Some(bytes) = links.get_mut(&out.pair.0.as_u128()).filter(|bytes| **bytes > 0) else { continue };
                let now = out.to_leave.min(*bytes);
                (out.to_leave, *bytes) = (out.to_leave - now, *bytes - now);
                self.room.took(out.pair.0, now);
            }
        }
        for out in self.out.extract_if(.., |out| out.to_leave == 0) {
            self.room.unline(out.pair.0, out.body + 100);
            self.room.left(&out.pair, out.body, out.body + 100);
            self.room.settled(&out.pair, out.body);
            self.took.insert(out.id, self.step - self.bodies[&out.id].2);
        }
    }

    /// So many seconds, in which `client` is sent small and large bodies: how long the slowest of each kind took, of those sent
    /// from the twentieth second on, when it is known what the others take, and not in the last twenty.
    fn serve(&mut self, client: u128, seconds: u64, large: u64) -> (u64, u64) {
        let (mut small, mut big) = (Vec::new(), Vec::new());
        let begin = self.step;
        for step in 0..seconds * STEPS {
            if step % (STEPS / 2) == 0 {
                small.push(self.send(client, "good", 1_000));
            }
            // A fifth of what its link carries.
            if step % (STEPS * (large / (4 * MEBI)).max(2)) == 0 {
                big.push(self.send(client, "good", large));
            }
            self.pass();
        }
        let slowest = |ids: &[u128]| {
            let sent = |id: &&u128| (20 * STEPS..(seconds - 20) * STEPS).contains(&(self.bodies[id].2 - begin));
            let took = ids.iter().filter(sent).map(|id| self.took.get(id).copied().unwrap_or(u64::MAX));
            took.max().unwrap_or_default()
        };
        (slowest(&small), slowest(&big))
    }

    fn has_left(&self, client: u128) -> u64 {
        let of = |id: &&u128| self.bodies[*id].0.0 == InstanceId::from_u128(client);
        let whole: u64 = self.took.keys().filter(of).map(|id| self.bodies[id].1).sum();
        let parts = self.out.iter().filter(|out| out.pair.0 == InstanceId::from_u128(client));
        let rests = self.rests.iter().filter(|(id, _)| of(id)).map(|(id, left)| self.bodies[id].1 + 100 - left);
        whole + parts.map(|out| out.body + 100 - out.to_leave).sum::<u64>() + rests.sum::<u64>()
    }
}

/// Clients with these links, each with a destination of its own and bodies of this size there, and then one that is fast.
fn crowd(rates: &[u64], body: u64, each: usize) -> (World, u128) {
    let fast = 20 * MEBI;
    let mut world = World::new(rates.iter().copied().chain([fast]));
    for _ in 0..each {
        for client in 1..=rates.len() as u128 {
            world.send(client, &format!("slow-{client}"), body);
        }
    }
    world.pass();
    (world, rates.len() as u128 + 1)
}

/// I15: whatever number of clients take nothing, or little, and however large their bodies are, one that takes what it gets goes
/// on getting: small ones at once, large ones in a few seconds.
#[test]
fn whoever_takes_what_he_gets_goes_on_getting() {
    let cases: [(&[u64], u64, usize); 7] = [
        (&[0; 20], 2 * MEBI, 3),
        (&[0; 6], 12 * MEBI, 2),
        (&[0; 200], 60_000, 40),
        (&[0; 100], 2 * MEBI, 1),
        (&[10_000; 8], 8 * MEBI, 3),
        (&[100_000; 40], 12 * MEBI, 3),
        (&[0, 0, 0, 0, 10_000, 10_000, 100_000, 100_000, 1_000_000, 1_000_000], 12 * MEBI, 3),
    ];
    for (rates, body, each) in cases {
        for large in [MEBI / 2, 12 * MEBI, 40 * MEBI] {
            let (mut world, good) = crowd(rates, body, each);
            let (small, big) = world.serve(good, 60, large);
            let case = format!("{} clients, {body} bytes each, beside {large}", rates.len());
            assert!(small <= STEPS / 4, "{case}: a small one took {small} steps");
            // One that needs more than what slow links leave comes behind those before it as well.
            let most = if large > MAX / 2 { 40 } else { 15 };
            assert!(big <= most * STEPS, "{case}: a large one took {big} steps");
        }
    }
}

/// I15, I19: those on slow links go on too, each of them, while others wait for the same room.
#[test]
fn slow_links_go_on_beside_each_other() {
    let (mut world, good) = crowd(&[100_000; 12], 12 * MEBI, 2);
    world.serve(good, 300, MEBI);
    for client in 1..=12 {
        let has = world.has_left(client);
        assert!(has > 2_000_000, "client {client} got {has} bytes in five minutes");
    }
    let (mut alone, _) = crowd(&[100_000; 3], 12 * MEBI, 2);
    for _ in 0..600 * STEPS {
        alone.pass();
    }
    assert_eq!((alone.took.len(), alone.taken_back), (6, 0), "where nobody waits nothing is taken back");
}

/// I15: a client that was slow for a minute and is fast then has what it takes soon, though others take nothing for ever.
#[test]
fn a_client_that_recovers_is_served_as_before() {
    let mut rates = vec![0; 8];
    rates.push(10_000);
    let (mut world, good) = crowd(&rates, 8 * MEBI, 3);
    world.serve(good, 60, MEBI);
    world.links.insert(9, 20 * MEBI);
    world.serve(good, 60, MEBI);
    let has = world.has_left(9);
    assert!(has >= 24 * MEBI, "it has {has} bytes a minute later");
    let (small, large) = world.serve(9, 60, 8 * MEBI);
    assert!(small <= STEPS / 4 && large <= 10 * STEPS, "small {small}, large {large}");
}

/// However many they are: of clients that take what they get nothing is taken back, and nobody waits long.
#[test]
fn fast_clients_lose_nothing_to_each_other() {
    let (mut world, good) = crowd(&[20 * MEBI; 60], 2 * MEBI, 3);
    let (small, large) = world.serve(good, 60, 12 * MEBI);
    assert_eq!(world.taken_back, 0);
    assert!(small <= 2 && large <= 5 * STEPS, "small {small}, large {large}");
}

/// I15: one that serves all destinations, and takes nothing.
#[test]
fn all_destinations_at_one_client_that_takes_nothing() {
    let mut world = World::new([0, 0, 0, 0, 20 * MEBI]);
    for client in 1..=4 {
        for number in 0..400 {
            world.send(client, &format!("d{number}"), 60_000);
            world.send(client, &format!("d{number}"), MEBI);
        }
        world.send(client, "good", 60_000);
        world.send(client, "good", 4 * MEBI);
    }
    let (small, large) = world.serve(5, 90, 4 * MEBI);
    assert!(small <= STEPS / 4 && large <= 15 * STEPS, "small {small}, large {large}");
}
