//! The books of what a client holds: bodies on their way in, forwards, outcomes that wait for their confirmation.
//!
//! **Invariant:** at most `CONCURRENCY` leases per destination and `CLIENT_BUFFER` bytes of body stand on the server's
//! account, and no more bytes of body are kept in memory, on that account or not. A body larger than that stands alone,
//! and is at most [`limits::GRANT_BYTES_MAX`]. No delivery is forwarded twice at the same time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{Forward, HeldView, Setup};
use crate::{
    delivery::{
        Token,
        outcome::{Class, Outcome},
    },
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    time::Wall,
    wire::{
        codec::{self, LeaseKey},
        message::{Chunk, Grant, HeaderField},
    },
};

/// What the peer did that the protocol does not allow.
pub(super) type Violation = &'static str;

/// What became of a grant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Its body is not complete yet, or it waits, or it takes over a forward that still runs.
    Held,
    /// The delivery was made under an earlier lease: this is the outcome.
    Known(Outcome),
}

/// Everything held.
#[derive(Debug)]
pub(super) struct Holdings {
    /// What this client is now.
    instance: InstanceId,
    leases: BTreeMap<LeaseKey, Holding>,
    /// Which lease the running forward of a delivery belongs to.
    running: BTreeMap<DeliveryId, LeaseKey>,
    destinations: BTreeMap<Name, OwnSlots>,
    credited_bytes: u64,
    /// Bytes of the bodies in memory, announced ones included.
    kept_bytes: u64,
    /// Bytes of announced bodies that are no longer wanted and may still arrive.
    stray_bytes: u64,
    buffer_bytes: u64,
    /// Outcomes that carry what a target said.
    answers: usize,
}

#[derive(Debug)]
struct Holding {
    destination: Name,
    body_bytes: u64,
    /// It stands on the server's account of slots and bytes; ends with the report, a release, or the socket.
    credited: bool,
    /// To which instance it was leased. If this client is another one by now, to name it in a Hello would break the protocol; what
    /// comes of it is reported all the same.
    leased_to: InstanceId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Assembling(Box<Assembly>),
    Waiting(Arc<Forward>),
    Forwarding,
    /// Its body does not match its digest or finds no room, or its target cannot be asked; handed back at the next heartbeat.
    Returning,
    Reported(Outcome),
}

#[derive(Debug)]
struct Assembly {
    forward: Forward,
    body: BytesMut,
}

#[derive(Debug)]
struct OwnSlots {
    most: u32,
    /// Forwards that ran when that was set, or leases that a Welcome let go on: they may be more.
    before: u32,
    credited: u32,
    running: u32,
    waiting: VecDeque<LeaseKey>,
}

impl Holdings {
    pub(super) fn new(setup: &Setup) -> Self {
        let slots = |most| OwnSlots { most, before: 0, credited: 0, running: 0, waiting: VecDeque::new() };
        Self {
            instance: setup.instance,
            leases: BTreeMap::new(),
            running: BTreeMap::new(),
            destinations: setup.destinations.iter().map(|served| (served.name.clone(), slots(served.slots))).collect(),
            credited_bytes: 0,
            kept_bytes: 0,
            stray_bytes: 0,
            buffer_bytes: setup.buffer_bytes,
            answers: 0,
        }
    }

    /// Goes on with the destinations and the buffer of another setup, and as its instance. What runs ends; nothing else may be held.
    pub(super) fn reconfigure(&mut self, setup: &Setup) {
        self.instance = setup.instance;
        self.buffer_bytes = setup.buffer_bytes;
        for slots in self.destinations.values_mut() {
            (slots.most, slots.before) = (0, slots.running);
        }
        for served in &setup.destinations {
            let anew = || OwnSlots { most: 0, before: 0, credited: 0, running: 0, waiting: VecDeque::new() };
            self.destinations.entry(served.name.clone()).or_insert_with(anew).most = served.slots;
        }
        let leases = &self.leases;
        self.destinations.retain(|name, slots| slots.most > 0 || leases.values().any(|held| held.destination == *name));
    }

    /// Whether anything is at the target of this destination.
    pub(super) fn runs_at(&self, destination: &Name) -> bool {
        self.destinations.get(destination).is_some_and(|slots| slots.running > 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Takes a grant in, with the first piece of its body.
    pub(super) fn grant(&mut self, grant: Grant) -> Result<Arrived, Violation> {
        let Ok(key) = codec::required_lease(grant.lease.as_ref()) else { return Err("a grant without a lease") };
        let destination = self.admit(&key, &grant)?;
        let known = self.delivered_before(key.0);
        let adopted = self.running.get(&key.0).copied();
        let body_bytes = grant.body_bytes;
        let rest = body_bytes.saturating_sub(grant.body.len() as u64);
        let stage = if let Some(outcome) = &known {
            self.expect_stray(rest);
            Stage::Reported(outcome.clone())
        } else if let Some(earlier) = adopted {
            // The earlier lease was lost while its forward went on: one try at the target serves both.
            self.expect_stray(rest);
            self.remove(earlier);
            self.running.insert(key.0, key);
            self.slots(&destination).running += 1;
            Stage::Forwarding
        } else {
            self.drop_unbegun(key.0);
            if self.is_crowded(body_bytes) {
                self.expect_stray(rest);
                Stage::Returning
            } else {
                stage_of(grant, &destination)?
            }
        };
        if matches!(stage, Stage::Waiting(_)) {
            self.slots(&destination).waiting.push_back(key);
        }
        let held = Holding { destination, body_bytes, credited: false, leased_to: self.instance, stage };
        self.kept_bytes += held.kept_bytes();
        self.leases.insert(key, held);
        if let Some(outcome) = known {
            return Ok(Arrived::Known(outcome));
        }
        self.credit(key);
        Ok(Arrived::Held)
    }

    /// Takes a piece of a body in.
    pub(super) fn chunk(&mut self, chunk: &Chunk) -> Result<(), Violation> {
        let Ok(key) = codec::required_lease(chunk.lease.as_ref()) else { return Err("a chunk without a lease") };
        // Chunks of what was just handed back may still be on their way, and those of a taken-over forward are not needed.
        let Some(held) = self.leases.get_mut(&key) else { return self.stray(chunk) };
        let assembly = match &mut held.stage {
            Stage::Assembling(assembly) => assembly,
            Stage::Waiting(_) => return Err("a chunk behind the end of its body"),
            Stage::Forwarding | Stage::Returning | Stage::Reported(_) => return self.stray(chunk),
        };
        if chunk.offset != assembly.body.len() as u64 {
            return Err("a chunk out of its order");
        }
        if chunk.data.len() as u64 > held.body_bytes - chunk.offset {
            return Err("a chunk behind the end of its body");
        }
        assembly.body.extend_from_slice(&chunk.data);
        if assembly.body.len() as u64 == held.body_bytes {
            let mut forward = assembly.forward.clone();
            forward.body = std::mem::take(&mut assembly.body).freeze();
            held.stage = Stage::Waiting(Arc::new(forward));
            let destination = held.destination.clone();
            self.slots(&destination).waiting.push_back(key);
        }
        Ok(())
    }

    /// Lets as many bytes of body arrive that nobody waits for: the rest of one that is handed back.
    pub(super) fn expect_stray(&mut self, bytes: u64) {
        self.stray_bytes = self.stray_bytes.saturating_add(bytes);
    }

    /// A chunk that belongs to nothing that is assembled here.
    fn stray(&mut self, chunk: &Chunk) -> Result<(), Violation> {
        match self.stray_bytes.checked_sub(chunk.data.len() as u64) {
            Some(left) => {
                self.stray_bytes = left;
                Ok(())
            }
            None => Err("more of a body than was announced"),
        }
    }

    /// The next forward for which its destination has a slot.
    pub(super) fn begin(&mut self) -> Option<Arc<Forward>> {
        for slots in self.destinations.values_mut() {
            if slots.running >= slots.most {
                continue;
            }
            let Some(key) = slots.waiting.pop_front() else { continue };
            let held = self.leases.get_mut(&key)?;
            let Stage::Waiting(forward) = std::mem::replace(&mut held.stage, Stage::Forwarding) else { return None };
            slots.running += 1;
            self.running.insert(key.0, key);
            return Some(forward);
        }
        None
    }

    /// A forward ended: its outcome is kept until it is settled, without what the target said where too many wait. Gives the
    /// lease it belongs to, and what is to be reported.
    pub(super) fn forwarded(&mut self, delivery: DeliveryId, mut outcome: Outcome) -> Option<(LeaseKey, Outcome)> {
        let key = self.running.remove(&delivery)?;
        self.discredit(key);
        let held = self.leases.get_mut(&key)?;
        self.kept_bytes -= held.kept_bytes();
        if self.answers >= limits::ANSWERS_WAITING_MAX {
            outcome.answer = None;
        }
        self.answers += usize::from(outcome.answer.is_some());
        held.stage = Stage::Reported(outcome.clone());
        let destination = held.destination.clone();
        self.slots(&destination).running -= 1;
        Some((key, outcome))
    }

    /// A forward could not begin. `false` if there is no such forward.
    pub(super) fn returns(&mut self, delivery: DeliveryId) -> bool {
        let Some(key) = self.running.remove(&delivery) else { return false };
        let Some(held) = self.leases.get_mut(&key) else { return false };
        self.kept_bytes -= held.kept_bytes();
        held.stage = Stage::Returning;
        let destination = held.destination.clone();
        self.slots(&destination).running -= 1;
        true
    }

    /// Drops what is damaged or found no room. Gives the leases, to be handed back.
    pub(super) fn take_returning(&mut self) -> Vec<LeaseKey> {
        self.drop_all(|stage| matches!(stage, Stage::Returning))
    }

    /// The outcome is durable: forgets it.
    pub(super) fn settled(&mut self, key: LeaseKey) {
        if self.leases.get(&key).is_some_and(|held| matches!(held.stage, Stage::Reported(_))) {
            self.remove(key);
        }
    }

    /// The server took the lease away: drops what has not begun; what has begun goes on and is reported.
    pub(super) fn released(&mut self, key: LeaseKey) {
        let Some(held) = self.leases.get(&key) else { return };
        match held.stage {
            Stage::Assembling(_) | Stage::Waiting(_) | Stage::Returning => self.remove(key),
            Stage::Forwarding | Stage::Reported(_) => self.discredit(key),
        }
    }

    /// Drops everything that has not begun. Gives their leases, to be handed back.
    pub(super) fn hand_back(&mut self) -> Vec<LeaseKey> {
        self.drop_all(Stage::has_not_begun)
    }

    /// The socket is gone: bodies still arriving are lost, and nothing is on the server's account until it resumes.
    pub(super) fn disconnected(&mut self) {
        self.drop_all(|stage| matches!(stage, Stage::Assembling(_) | Stage::Returning));
        self.stray_bytes = 0;
        for key in self.keys(|_| true) {
            self.discredit(key);
        }
    }

    /// The server knows these leases; all others are no longer ours, and of them what has not begun is dropped. Gives those that
    /// are not held any more.
    pub(super) fn resume(&mut self, resumed: &BTreeSet<LeaseKey>) -> Vec<LeaseKey> {
        for key in self.keys(|stage| matches!(stage, Stage::Waiting(_) | Stage::Forwarding)) {
            if resumed.contains(&key) {
                self.credit(key);
            } else if !crate::canary::is("resumed_keeps_released") {
                self.released(key);
            }
        }
        // Where several servers share a store, this one may go on with what the other had taken back: its answer was lost.
        for slots in self.destinations.values_mut() {
            slots.before = slots.before.max(slots.credited);
        }
        resumed.iter().filter(|key| !self.leases.contains_key(key)).copied().collect()
    }

    /// The outcomes that are not settled.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (LeaseKey, &Outcome)> {
        self.leases.iter().filter_map(|(key, held)| match &held.stage {
            Stage::Reported(outcome) => Some((*key, outcome)),
            Stage::Assembling(_) | Stage::Waiting(_) | Stage::Forwarding | Stage::Returning => None,
        })
    }

    /// Every lease of this instance that is held, for a Hello.
    pub(super) fn all(&self) -> impl Iterator<Item = LeaseKey> {
        self.leases.iter().filter(|(_, held)| held.leased_to == self.instance).map(|(key, _)| *key)
    }

    /// The leases on the server's account that are at their targets, for a heartbeat: from the first on they have the time of a
    /// forward. The server extends the others by itself: it knows best how far their bodies are, and what waits here behind forwards
    /// whose leases are lost has not begun yet.
    pub(super) fn begun(&self) -> impl Iterator<Item = LeaseKey> {
        let has_begun = |held: &Holding| held.credited && matches!(held.stage, Stage::Forwarding);
        self.leases.iter().filter(move |(_, held)| has_begun(held)).map(|(key, _)| *key)
    }

    pub(super) fn view(&self) -> Vec<HeldView> {
        let mut views: BTreeMap<&Name, HeldView> = BTreeMap::new();
        for name in self.destinations.keys() {
            let destination = name.clone();
            views.insert(name, HeldView { destination, assembling: 0, waiting: 0, forwarding: 0, reported: 0 });
        }
        for held in self.leases.values() {
            let Some(view) = views.get_mut(&held.destination) else { continue };
            match held.stage {
                Stage::Assembling(_) => view.assembling += 1,
                Stage::Waiting(_) | Stage::Returning => view.waiting += 1,
                Stage::Forwarding => view.forwarding += 1,
                Stage::Reported(_) => view.reported += 1,
            }
        }
        views.into_values().collect()
    }

    /// Panics if the books contradict each other.
    pub(super) fn check_invariants(&self) {
        let credited: u64 = self.leases.values().filter(|held| held.credited).map(|held| held.body_bytes).sum();
        assert_eq!(credited, self.credited_bytes, "credited bytes");
        let kept: u64 = self.leases.values().map(Holding::kept_bytes).sum();
        assert_eq!(kept, self.kept_bytes, "bytes of bodies in memory");
        let answers = self.leases.values().filter(|held| held.stage.has_answer()).count();
        assert_eq!(answers, self.answers, "outcomes with what a target said");
        assert!(answers <= limits::ANSWERS_WAITING_MAX, "too many outcomes with what a target said");
        for (name, slots) in &self.destinations {
            let here = || self.leases.values().filter(|held| held.destination == *name);
            let running = here().filter(|held| matches!(held.stage, Stage::Forwarding)).count();
            assert_eq!(running, slots.running as usize, "running forwards of {name}");
            let most = slots.most.max(slots.before);
            assert!(slots.running <= most, "more forwards than slots at {name}");
            assert_eq!(
                here().filter(|held| held.credited).count(),
                slots.credited as usize,
                "credited leases of {name}"
            );
            assert!(slots.credited <= most, "{} leases of {most} at {name}", slots.credited);
            let waiting = here().filter(|held| matches!(held.stage, Stage::Waiting(_))).count();
            assert_eq!(waiting, slots.waiting.len(), "waiting forwards of {name}");
        }
        let running = self.leases.iter().filter(|(_, held)| matches!(held.stage, Stage::Forwarding));
        assert!(running.clone().all(|(key, _)| self.running.get(&key.0) == Some(key)), "a forward without its lease");
        assert_eq!(running.count(), self.running.len(), "a delivery is forwarded twice");
    }

    /// Checks a grant against credit. Gives the destination's own name, so that none is allocated per delivery.
    fn admit(&self, key: &LeaseKey, grant: &Grant) -> Result<Name, Violation> {
        let Some((name, slots)) = self.destinations.get_key_value(grant.destination.as_str()) else {
            return Err("a grant for a destination that is not served here");
        };
        if self.leases.contains_key(key) {
            return Err("a lease granted twice");
        }
        if self.leases.len() >= limits::HELD_MAX {
            return Err("a grant while too many outcomes are not confirmed");
        }
        if slots.credited >= slots.most {
            return Err("a grant without a free slot");
        }
        if grant.body_bytes > limits::GRANT_BYTES_MAX {
            return Err("a grant of a body that is too large");
        }
        let bytes = self.credited_bytes.saturating_add(grant.body_bytes);
        if self.credited_bytes > 0 && bytes > self.buffer_bytes {
            return Err("a grant beyond the buffer");
        }
        Ok(name.clone())
    }

    /// Whether a body has no room beside those whose leases were lost while their forwards went on. The server knows nothing
    /// of these, so that its grant is in order.
    fn is_crowded(&self, body_bytes: u64) -> bool {
        let is_lost = |held: &Holding| !held.credited && held.kept_bytes() > 0;
        self.kept_bytes.saturating_add(body_bytes) > self.buffer_bytes && self.leases.values().any(is_lost)
    }

    fn delivered_before(&self, delivery: DeliveryId) -> Option<Outcome> {
        self.of(delivery).find_map(|(_, held)| match &held.stage {
            Stage::Reported(outcome) if outcome.class == Class::Delivered => Some(outcome.clone()),
            Stage::Reported(_) | Stage::Assembling(_) | Stage::Waiting(_) | Stage::Forwarding | Stage::Returning => {
                None
            }
        })
    }

    /// Forgets earlier leases of a delivery that have not begun: the server has just granted a newer one.
    fn drop_unbegun(&mut self, delivery: DeliveryId) {
        let unbegun = |held: &Holding| held.stage.has_not_begun();
        let stale: Vec<LeaseKey> = self.of(delivery).filter(|(_, held)| unbegun(held)).map(|(key, _)| *key).collect();
        for key in stale {
            self.remove(key);
        }
    }

    fn of(&self, delivery: DeliveryId) -> impl Iterator<Item = (&LeaseKey, &Holding)> {
        let token = |n| Token { counter: n, nonce: n };
        self.leases.range((delivery, token(0))..=(delivery, token(u64::MAX)))
    }

    fn drop_all(&mut self, unwanted: impl Fn(&Stage) -> bool) -> Vec<LeaseKey> {
        let keys = self.keys(unwanted);
        for key in &keys {
            self.remove(*key);
        }
        keys
    }

    fn keys(&self, wanted: impl Fn(&Stage) -> bool) -> Vec<LeaseKey> {
        self.leases.iter().filter(|(_, held)| wanted(&held.stage)).map(|(key, _)| *key).collect()
    }

    fn remove(&mut self, key: LeaseKey) {
        self.discredit(key);
        let Some(held) = self.leases.remove(&key) else { return };
        self.kept_bytes -= held.kept_bytes();
        self.answers -= usize::from(held.stage.has_answer());
        if let Stage::Assembling(assembly) = &held.stage {
            self.expect_stray(held.body_bytes - assembly.body.len() as u64);
        }
        let slots = self.slots(&held.destination);
        match held.stage {
            Stage::Waiting(_) => slots.waiting.retain(|other| *other != key),
            Stage::Forwarding => {
                slots.running -= 1;
                self.running.remove(&key.0);
            }
            Stage::Assembling(_) | Stage::Returning | Stage::Reported(_) => {}
        }
    }

    fn credit(&mut self, key: LeaseKey) {
        let Some(held) = self.leases.get_mut(&key).filter(|held| !held.credited) else { return };
        held.credited = true;
        self.credited_bytes += held.body_bytes;
        let destination = held.destination.clone();
        self.slots(&destination).credited += 1;
    }

    fn discredit(&mut self, key: LeaseKey) {
        let Some(held) = self.leases.get_mut(&key).filter(|held| held.credited) else { return };
        held.credited = false;
        self.credited_bytes -= held.body_bytes;
        let destination = held.destination.clone();
        self.slots(&destination).credited -= 1;
    }

    fn slots(&mut self, destination: &Name) -> &mut OwnSlots {
        self.destinations.get_mut(destination).expect("only grants for served destinations are admitted")
    }
}

impl Holding {
    /// Bytes of body that it keeps in memory, or will once they have arrived.
    fn kept_bytes(&self) -> u64 {
        match self.stage {
            Stage::Assembling(_) | Stage::Waiting(_) | Stage::Forwarding => self.body_bytes,
            Stage::Returning | Stage::Reported(_) => 0,
        }
    }
}

impl Stage {
    fn has_answer(&self) -> bool {
        matches!(self, Self::Reported(outcome) if outcome.answer.is_some())
    }

    /// Nothing of it reached the target.
    fn has_not_begun(&self) -> bool {
        match self {
            Self::Assembling(_) | Self::Waiting(_) | Self::Returning => true,
            Self::Forwarding | Self::Reported(_) => false,
        }
    }
}

/// A new lease: waiting if its body is complete, else assembling.
fn stage_of(grant: Grant, destination: &Name) -> Result<Stage, Violation> {
    let body_bytes = grant.body_bytes;
    let mut forward = forward_of(grant, destination)?;
    if forward.body.len() as u64 == body_bytes {
        return Ok(Stage::Waiting(Arc::new(forward)));
    }
    let mut body = BytesMut::with_capacity(body_bytes.min(limits::ASSEMBLY_BYTES_FIRST) as usize);
    body.extend_from_slice(&std::mem::take(&mut forward.body));
    Ok(Stage::Assembling(Box::new(Assembly { forward, body })))
}

fn forward_of(grant: Grant, destination: &Name) -> Result<Forward, Violation> {
    debug_assert!(grant.body.len() <= limits::CHUNK_BYTES, "the codec bounds it");
    let (Ok((delivery, _)), Ok(event)) = (codec::required_lease(grant.lease.as_ref()), codec::event_id(&grant)) else {
        return Err("a grant with a malformed id");
    };
    let Ok(body_sha256) = codec::body_digest(&grant) else { return Err("a grant with a malformed digest") };
    let Ok(source) = grant.source.parse() else { return Err("a grant with a malformed source") };
    let field = |field: HeaderField| -> (Bytes, Bytes) { (field.name, field.value) };
    let trace = codec::trace(&grant);
    Ok(Forward {
        delivery,
        event,
        destination: destination.clone(),
        source,
        attempt: grant.attempt,
        received_at: Wall::from_micros(grant.received_at),
        method: grant.method,
        rest: grant.rest,
        query: grant.query,
        headers: grant.headers.into_iter().map(field).collect(),
        original_url: grant.original_url,
        replay: grant.replay,
        body: grant.body,
        body_sha256,
        trace,
    })
}
