//! The names of keys: see `docs/internals/redis.md`.

use relay_core::{
    id::{DeliveryId, EventId, JobId, Partition},
    name::Name,
    partitions::Partitions,
};

use super::tags;
use crate::seam::DocumentKind;

/// The key of something.
pub(super) type Key = Vec<u8>;

/// What a key of ours should be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) of_type: &'static str,
    /// Where it goes if it is of another type, in the same slot.
    pub(super) aside: Key,
    /// What stands in its place then; nothing: nothing.
    pub(super) instead: &'static [u8],
}

/// The keys of one store.
#[derive(Debug)]
pub(super) struct Space {
    name: String,
    dead_letters: String,
    partitions: Vec<Keys>,
    registry: String,
    /// What stands in braces in the keys of each part, by its place: the partitions, and the registry behind them.
    tags: Vec<&'static str>,
}

/// That of the registry.
const REGISTRY: &str = "reg";

impl Space {
    /// Of a store of this name in so many partitions, whose dead letters go to a stream of that name.
    pub(super) fn new(name: &str, dead_letters: &str, partitions: usize) -> Self {
        let of = partitions.clamp(1, tags::PARTITIONS_MAX);
        let keys = |partition| Keys::new(name, dead_letters, tags::tag(partition, of));
        let partitions = (0..of).map(keys).collect();
        let tags = (0..of).map(|partition| tags::tag(partition, of)).chain([REGISTRY]).collect();
        let registry = format!("{name}:{{{REGISTRY}}}:");
        Self { name: name.to_owned(), dead_letters: dead_letters.to_owned(), partitions, registry, tags }
    }

    /// How many parts it has, each in a slot: the partitions, and the registry.
    pub(super) fn parts(&self) -> usize {
        self.tags.len()
    }

    /// The place of the registry, among the parts.
    pub(super) fn registry_place(&self) -> usize {
        self.partitions.len()
    }

    /// The slot of a part, in a cluster.
    pub(super) fn slot(&self, place: usize) -> u16 {
        tags::slot(self.tags[place])
    }

    /// Which part a key of ours is in.
    pub(super) fn part_of(&self, key: &[u8]) -> Option<usize> {
        // Dead letters are in streams of another name.
        let within = |name: &str| key.strip_prefix(name.as_bytes())?.strip_prefix(b":{");
        let tag = within(&self.name).or_else(|| within(&self.dead_letters))?;
        let tag = &tag[..tag.iter().position(|byte| *byte == b'}')?];
        self.tags.iter().position(|known| known.as_bytes() == tag)
    }

    /// A pattern that the keys of all partitions match.
    pub(super) fn pattern(&self) -> Vec<u8> {
        pattern(format!("{}:{{", self.name).as_bytes())
    }

    /// All partitions.
    pub(super) fn partitions(&self) -> &[Keys] {
        &self.partitions
    }

    /// Which of them something is in.
    pub(super) fn place(&self, partition: Partition) -> usize {
        usize::from(partition.number()) % self.partitions.len()
    }

    /// Those that are asked for, with their places.
    pub(super) fn some(&self, asked: Partitions) -> impl Iterator<Item = (usize, &Keys)> {
        self.partitions.iter().enumerate().filter(move |(place, _)| self.is_one_of(asked, *place))
    }

    /// Whether the partition of that place is asked for.
    pub(super) fn is_one_of(&self, asked: Partitions, place: usize) -> bool {
        // Whoever counts them otherwise asks for all of them or for none.
        if usize::from(asked.count()) == self.partitions.len() {
            asked.places().any(|one| usize::from(one) == place)
        } else {
            !asked.is_empty()
        }
    }

    /// The keys of the partition that an event is in.
    pub(super) fn of_event(&self, id: EventId) -> &Keys {
        &self.partitions[self.place(id.partition())]
    }

    /// The keys of the partition that a delivery is in.
    pub(super) fn of_delivery(&self, id: DeliveryId) -> &Keys {
        &self.partitions[self.place(id.partition())]
    }

    /// The keys of the partition that a job's mark is in.
    pub(super) fn of_job(&self, id: JobId) -> &Keys {
        &self.partitions[self.place(id.partition())]
    }

    /// The registry's documents of a kind.
    pub(super) fn documents(&self, kind: DocumentKind) -> Key {
        format!("{}doc:{}", self.registry, kind as u8).into_bytes()
    }

    /// Where documents of kinds would be that this version does not know.
    pub(super) fn strange_documents(&self) -> impl Iterator<Item = Key> {
        let known = |number: &u8| DocumentKind::ALL.iter().any(|kind| *kind as u8 == *number);
        let numbers = (1..=u8::MAX).filter(move |number| !known(number));
        numbers.map(|number| format!("{}doc:{number}", self.registry).into_bytes())
    }

    /// The registry's version: another one with each document that was written.
    pub(super) fn version(&self) -> Key {
        format!("{}version", self.registry).into_bytes()
    }

    /// The channel of hints.
    pub(super) fn hints(&self) -> Key {
        format!("{}hints", self.registry).into_bytes()
    }

    /// What runs of servers said.
    pub(super) fn runs(&self) -> Key {
        format!("{}runs", self.registry).into_bytes()
    }

    /// How many events had been accepted, from time to time.
    pub(super) fn accepted(&self) -> Key {
        format!("{}accepted", self.registry).into_bytes()
    }

    /// What the store is: its layout, in how many partitions, and its epoch.
    pub(super) fn meta(&self) -> Key {
        format!("{}meta", self.registry).into_bytes()
    }

    /// Never there: what a user may do is tried on it.
    pub(super) fn trial(&self) -> Key {
        format!("{}trial", self.registry).into_bytes()
    }

    /// The stream of dead letters of the first partition.
    pub(super) fn dead_letters(&self) -> Key {
        self.partitions[0].dead_letters.clone().into_bytes()
    }

    /// Keys of the registry, and what they should be.
    pub(super) fn of_registry(&self) -> Vec<Wanted> {
        let documents = DocumentKind::ALL.map(|kind| (self.documents(kind), "hash"));
        let others = [
            (self.meta(), "hash"),
            (self.version(), "string"),
            (self.runs(), "hash"),
            (self.registry_audit(), "stream"),
            (self.accepted(), "stream"),
        ];
        let wanted = |(key, of_type): (Key, &'static str)| {
            let within = &key[self.registry.len()..];
            let aside = [self.registry.as_bytes(), ASIDE.as_bytes(), within].concat();
            Wanted { key, of_type, aside, instead: b"" }
        };
        others.into_iter().chain(documents).map(wanted).collect()
    }

    /// Keys that any store has or will have, each with its part and its type.
    pub(super) fn fixed(&self) -> Vec<(usize, Key, &'static str)> {
        let of_registry = self.of_registry().into_iter();
        let mut keys: Vec<_> = of_registry.map(|wanted| (self.registry_place(), wanted.key, wanted.of_type)).collect();
        for (place, of) in self.partitions.iter().enumerate() {
            let here = [
                (of.counters(), "hash"),
                (of.leases(), "zset"),
                (of.lone(), "zset"),
                (of.marks(), "zset"),
                (of.tally(), "hash"),
                (of.audit(), "stream"),
                (of.gone(), "stream"),
                (of.dead_letters.clone().into_bytes(), "stream"),
            ];
            keys.extend(here.into_iter().map(|(key, of_type)| (place, key, of_type)));
        }
        keys
    }

    /// Lines of the audit log about the registry.
    pub(super) fn registry_audit(&self) -> Key {
        format!("{}audit", self.registry).into_bytes()
    }
}

/// The keys of one partition.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
    dead_letters: String,
}

/// Those that the scripts name themselves, and write without having read them: named for whoever routes a script.
const WRITTEN_OF_DESTINATION: [(&str, &str); 9] = [
    ("ready:", ":0:1"),
    ("back:", ":0"),
    ("due:", ":0"),
    ("tries:", ":0"),
    ("exp:", ""),
    ("done:", ""),
    ("ended:", ""),
    ("log:", ""),
    ("made:", ""),
];

/// What keys begin with that were put aside.
pub(super) const ASIDE: &str = "aside:";

impl Keys {
    fn new(name: &str, dead_letters: &str, tag: &str) -> Self {
        Self { prefix: format!("{name}:{{{tag}}}:"), dead_letters: format!("{dead_letters}:{{{tag}}}") }
    }

    fn of(&self, kind: &str, id: &[u8]) -> Key {
        [self.prefix.as_bytes(), kind.as_bytes(), id].concat()
    }

    fn named(&self, kind: &str, name: &Name, behind: &str) -> Key {
        format!("{}{kind}{name}{behind}", self.prefix).into_bytes()
    }

    /// What a key is called within the partition, if it is there.
    pub(super) fn within<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(self.prefix.as_bytes())
    }

    /// The key that is called so within the partition.
    pub(super) fn inner(&self, within: &str) -> Key {
        self.of("", within.as_bytes())
    }

    /// Where a key goes that is of another type than ours.
    pub(super) fn aside(&self, within: &[u8]) -> Key {
        self.of(ASIDE, within)
    }

    /// The stream of dead letters.
    pub(super) fn dead_letters(&self) -> Wanted {
        let key = self.dead_letters.clone().into_bytes();
        Wanted { key, of_type: "stream", aside: self.aside(b"dead-letters"), instead: b"" }
    }

    /// Keys of a destination, and what they should be.
    pub(super) fn of_destination<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = (Key, &'static str)> {
        let is_stream = |kind: &str| ["ready:", "done:", "log:"].contains(&kind);
        let of = WRITTEN_OF_DESTINATION.iter();
        of.map(move |(kind, behind)| (self.named(kind, name, behind), if is_stream(kind) { "stream" } else { "zset" }))
    }

    /// An event.
    pub(super) fn event(&self, id: EventId) -> Key {
        self.of("e:", &id.as_u128().to_be_bytes())
    }

    /// Ids of deliveries that were made of an event later.
    pub(super) fn replays(&self, id: EventId) -> Key {
        self.of("r:", &id.as_u128().to_be_bytes())
    }

    /// A delivery's row.
    pub(super) fn delivery(&self, id: DeliveryId) -> Key {
        self.of("d:", &id.as_u128().to_be_bytes())
    }

    /// A delivery's earlier attempts.
    pub(super) fn attempts(&self, id: DeliveryId) -> Key {
        self.of("t:", &id.as_u128().to_be_bytes())
    }

    /// The entry of a dedupe key.
    pub(super) fn dedupe(&self, source: &Name, key: &[u8; 32]) -> Key {
        self.of("k:", &[source.as_str().as_bytes(), b":", key].concat())
    }

    /// How far a job is.
    pub(super) fn mark(&self, id: JobId) -> Key {
        self.of("step:", &id.as_u128().to_be_bytes())
    }

    /// Marks of jobs, by when those were begun.
    pub(super) fn marks(&self) -> Key {
        self.of("steps", &[])
    }

    /// Counters.
    pub(super) fn counters(&self) -> Key {
        self.of("n", &[])
    }

    /// A recount under way.
    pub(super) fn tally(&self) -> Key {
        self.of("tally", &[])
    }

    /// Ends of leases.
    pub(super) fn leases(&self) -> Key {
        self.of("leases", &[])
    }

    /// Events without a delivery.
    pub(super) fn lone(&self) -> Key {
        self.of("lone", &[])
    }

    /// Lines of the audit log.
    pub(super) fn audit(&self) -> Key {
        self.of("audit", &[])
    }

    /// What was removed lately while it was young.
    pub(super) fn gone(&self) -> Key {
        self.of("gone", &[])
    }

    /// What waits for its first lease.
    pub(super) fn ready(&self, destination: &Name) -> Key {
        self.named("ready:", destination, ":0:1")
    }

    /// What was never tried and waits out of turn.
    pub(super) fn back(&self, destination: &Name) -> Key {
        self.named("back:", destination, ":0")
    }

    /// What was tried and waits.
    pub(super) fn due(&self, destination: &Name) -> Key {
        self.named("due:", destination, ":0")
    }

    /// The same, by tries.
    pub(super) fn tries(&self, destination: &Name) -> Key {
        self.named("tries:", destination, ":0")
    }

    /// All that waits, by the end of its TTL.
    pub(super) fn expiries(&self, destination: &Name) -> Key {
        self.named("exp:", destination, "")
    }

    /// What was delivered or cancelled, by its end.
    pub(super) fn done(&self, destination: &Name) -> Key {
        self.named("done:", destination, "")
    }

    /// What died or expired, by its end.
    pub(super) fn ended(&self, destination: &Name) -> Key {
        self.named("ended:", destination, "")
    }

    /// Deliveries, in the order of their ids.
    pub(super) fn log(&self, destination: &Name) -> Key {
        self.named("log:", destination, "")
    }

    /// Deliveries that stand in no such order.
    pub(super) fn made(&self, destination: &Name) -> Key {
        self.named("made:", destination, "")
    }

    /// Events of a source, in the order of their ids.
    pub(super) fn source(&self, source: &Name) -> Key {
        self.named("src:", source, "")
    }

    /// What stands in KEYS of a script: the counters, from whose name it makes all others; the stream of dead letters; and what
    /// it may write without having read it.
    pub(super) fn written(&self, mut destinations: Vec<&Name>) -> Vec<Key> {
        let mut keys = vec![self.counters(), self.dead_letters.clone().into_bytes(), self.leases(), self.audit()];
        destinations.sort_unstable();
        destinations.dedup();
        for destination in destinations {
            let of = WRITTEN_OF_DESTINATION.iter();
            keys.extend(of.map(|(kind, behind)| self.named(kind, destination, behind)));
        }
        keys
    }
}

/// A pattern that all keys match that begin so.
fn pattern(begin: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(begin.len() + 1);
    for byte in begin {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I12: every key is in the part whose slot it is in, and what is no key of ours is in none.
    #[test]
    fn keys_are_in_the_part_that_their_tag_says() {
        let space = Space::new("hooks", "dead", 16);
        for (place, keys) in space.partitions().iter().enumerate() {
            assert_eq!(space.part_of(&keys.counters()), Some(place));
            assert_eq!(space.part_of(&keys.inner("e:}{reg}:")), Some(place));
            assert_eq!(space.part_of(&keys.dead_letters().key), Some(place));
        }
        assert_eq!(space.part_of(&space.meta()), Some(space.registry_place()));
        assert_eq!(space.part_of(&space.hints()), Some(space.registry_place()));
        let strange =
            ["", "hooks", "hooks:{", "hooks:{reg", "hooks:{other}:n", "hooks2:{reg}:meta", "0", "replication"];
        assert!(strange.iter().all(|key| space.part_of(key.as_bytes()).is_none()));
        let slots: std::collections::BTreeSet<u16> = (0..space.parts()).map(|place| space.slot(place)).collect();
        assert_eq!(slots.len(), 17);
    }
}
