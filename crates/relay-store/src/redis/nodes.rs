//! Which node has which part of the store: a partition, or the registry.
//!
//! A single node, and a primary that sentinels name, has all of them. In a cluster each is where its slot is, by what the nodes say
//! (`cluster`), until they say something else. Who has no part any more is not asked, nor believed, any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{
    address::{Address, Deployment},
    claims::{Owner, Told},
    client::Broken,
    keys::Space,
    node::Node,
    primary::{Primary, Verdict},
    reply::Fault,
    shared::Shared,
};
use crate::seam::Durability;

/// Whoever wants to know it anew waits so long for that.
const ASKED_WITHIN: Duration = Duration::from_secs(3);
/// Where nobody has looked for so long who has what, something is wrong with that.
const LATE: Duration = Duration::from_secs(10);

/// All nodes that have a part of the store.
pub(super) struct Nodes {
    shared: Shared,
    table: watch::Sender<Table>,
    doubt: Arc<Notify>,
}

/// Who has what.
#[derive(Clone)]
struct Table {
    /// Of each part.
    owners: Vec<Result<Owned, Broken>>,
    /// Primaries by where they are, also those that have no part of ours.
    known: BTreeMap<Address, Arc<Node>>,
    /// How often a part went to another one.
    version: u64,
    /// Keys of one are on their way.
    is_moving: bool,
    /// They were asked last then.
    asked: Option<Instant>,
}

/// Who has a part, and since which epoch.
#[derive(Clone)]
struct Owned {
    node: Arc<Node>,
    epoch: u64,
}

impl Nodes {
    /// Nobody was asked yet.
    pub(super) fn of(shared: Shared) -> Arc<Self> {
        let doubt = Arc::default();
        let parts = shared.space.parts();
        let mut table = Table { owners: Vec::new(), known: BTreeMap::new(), version: 0, is_moving: false, asked: None };
        if let Deployment::Cluster(_) = &shared.options.address {
            table.owners = vec![Err(Broken::Away("no node of the cluster was asked yet".to_owned())); parts];
        } else {
            let node = Arc::new(Node::of(Primary::of(&shared.options), &shared));
            table.owners = vec![Ok(Owned { node, epoch: 0 }); parts];
        }
        Arc::new(Self { shared, table: watch::Sender::new(table), doubt })
    }

    /// What they have in shared.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn space(&self) -> &Space {
        &self.shared.space
    }

    /// Whether parts can be at several nodes.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.shared.options.address, Deployment::Cluster(_))
    }

    /// Who has a part.
    pub(super) fn of_part(&self, place: usize) -> Result<Arc<Node>, Broken> {
        self.table.borrow().owners[place].as_ref().map(|owned| Arc::clone(&owned.node)).map_err(Clone::clone)
    }

    /// Who has the registry.
    pub(super) fn of_registry(&self) -> Result<Arc<Node>, Broken> {
        self.of_part(self.space().registry_place())
    }

    /// The primary at that address, if there is one.
    pub(super) fn at(&self, address: &Address) -> Option<Arc<Node>> {
        self.table.borrow().known.get(address).cloned()
    }

    /// Where primaries are known to be.
    pub(super) fn addresses(&self) -> Vec<Address> {
        self.table.borrow().known.keys().cloned().collect()
    }

    /// Those that have a part, each once, with the places of theirs.
    pub(super) fn owners(&self) -> Vec<(Arc<Node>, Vec<usize>)> {
        let mut owners: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (place, owned) in self.table.borrow().owners.iter().enumerate() {
            let Ok(owned) = owned else { continue };
            match owners.iter_mut().find(|(node, _)| Arc::ptr_eq(node, &owned.node)) {
                Some((_, places)) => places.push(place),
                None => owners.push((Arc::clone(&owned.node), vec![place])),
            }
        }
        owners
    }

    /// Primaries that have no part, and were not reached when they were last asked for something.
    pub(super) fn unreached_without_parts(&self) -> Vec<Arc<Node>> {
        let table = self.table.borrow();
        let has_part = |node: &Arc<Node>| table.owners.iter().flatten().any(|owned| Arc::ptr_eq(&owned.node, node));
        table.known.values().filter(|node| node.standing.is_unreached() && !has_part(node)).cloned().collect()
    }

    /// Why nobody is known to have a part, if there is one of which that is so.
    pub(super) fn missing(&self) -> Option<Broken> {
        self.table.borrow().owners.iter().find_map(|owned| owned.as_ref().err().cloned())
    }

    /// How often a part went to another one.
    pub(super) fn version(&self) -> u64 {
        self.table.borrow().version
    }

    /// Looks whether all parts are where they were at that version, and stay there.
    ///
    /// # Errors
    /// [`Fault::Elsewhere`]: one has moved since, or keys of it are on their way.
    pub(super) async fn are_in_place(&self, since: Option<u64>) -> Result<(), Fault> {
        if !self.is_cluster() {
            return Ok(());
        }
        self.ask_anew().await;
        let table = self.table.borrow();
        if table.is_moving || since.is_some_and(|since| since != table.version) {
            return Err(Fault::Elsewhere);
        }
        Ok(())
    }

    /// Something is wrong: who has what is asked anew soon.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Completes when there is doubt.
    pub(super) fn doubted(&self) -> Arc<Notify> {
        Arc::clone(&self.doubt)
    }

    /// Completes once it was asked who has what, or after a few seconds.
    pub(super) async fn are_asked(&self) {
        if self.is_cluster() && self.table.borrow().asked.is_none() {
            let mut table = self.table.subscribe();
            // Cancel safety: nothing is taken.
            let _ = timeout(ASKED_WITHIN, table.wait_for(|table| table.asked.is_some())).await;
        }
    }

    /// Asks anew who has what, from now on, and waits until that is answered, at most a few seconds.
    pub(super) async fn ask_anew(&self) {
        if !self.is_cluster() {
            return drop(join_all(self.owners().iter().map(|(node, _)| node.primary.ask_anew())).await);
        }
        let (from, mut table) = (Instant::now(), self.table.subscribe());
        self.doubt();
        let is_answered = |table: &Table| table.asked.is_some_and(|asked| asked >= from);
        // Cancel safety: nothing is taken. Whoever waited looks for himself what is known by now.
        let _ = timeout(ASKED_WITHIN, table.wait_for(is_answered)).await;
    }

    /// Takes note of what they say who were asked.
    pub(super) fn told(&self, asked: Instant, told: Result<Told, Broken>) {
        self.table.send_modify(|table| {
            table.asked = Some(asked);
            match told {
                Ok(told) => self.take(table, asked, told),
                // Who had something may well still have it.
                Err(why) => table.owners.iter_mut().filter(|owned| owned.is_err()).for_each(|owned| {
                    *owned = Err(why.clone());
                }),
            }
        });
    }

    fn take(&self, table: &mut Table, asked: Instant, told: Told) {
        table.is_moving = told.owners.iter().flatten().any(|owner| owner.is_moving);
        let mut steady: BTreeMap<Address, bool> = BTreeMap::new();
        let mut moved: BTreeMap<Address, usize> = BTreeMap::new();
        for (owned, owner) in table.owners.iter_mut().zip(told.owners) {
            let Some(Owner { at, epoch, is_vouched, is_steady, is_moving: _ }) = owner else {
                if let Err(why) = owned {
                    *why = Broken::Away("a slot of the cluster is nobody's".to_owned());
                }
                continue;
            };
            // What one says that was cut off is older than what is known.
            if !is_vouched && owned.as_ref().is_ok_and(|owned| owned.epoch > epoch) {
                continue;
            }
            let node = table.known.entry(at.clone()).or_insert_with(|| self.fresh(&at));
            if !owned.as_ref().is_ok_and(|owned| Arc::ptr_eq(&owned.node, node)) {
                table.version += 1;
                *moved.entry(at.clone()).or_default() += usize::from(owned.is_ok());
            }
            if let Ok(before) = owned.as_ref().map(|owned| &owned.node)
                && !Arc::ptr_eq(before, node)
            {
                node.standing.is_never_weaker_than(&before.standing);
            }
            *owned = Ok(Owned { node: Arc::clone(node), epoch });
            steady.entry(at).and_modify(|all| *all &= is_steady).or_insert(is_steady);
        }
        for (at, parts) in moved.into_iter().filter(|(_, parts)| *parts > 0) {
            tracing::info!(event = "redis_primary", %at, parts, "parts of the store have another primary");
        }
        for at in &told.primaries {
            // One that slots are being moved to is asked for keys that have come there already.
            table.known.entry(at.clone()).or_insert_with(|| self.fresh(at));
        }
        Self::settle(table, asked, &told.primaries, &steady);
    }

    fn fresh(&self, at: &Address) -> Arc<Node> {
        Arc::new(Node::of(Primary::of_part(&self.shared.options, at, &self.doubt), &self.shared))
    }

    /// Tells each primary what is known of it; those that are none any more are given up.
    fn settle(table: &mut Table, asked: Instant, primaries: &BTreeSet<Address>, steady: &BTreeMap<Address, bool>) {
        let owning: Vec<Arc<Node>> = table.owners.iter().flatten().map(|owned| Arc::clone(&owned.node)).collect();
        table.known.retain(|at, node| {
            let is_owner = owning.iter().any(|owner| Arc::ptr_eq(owner, node));
            let is_steady = is_owner && steady.get(at).copied().unwrap_or_default();
            let stays = is_owner || primaries.contains(at);
            let verdict = if stays { Verdict::Is { at: at.clone(), is_steady } } else { Verdict::Gone };
            node.primary.told(asked, verdict);
            stays
        });
    }

    /// When a commit is answered: as at the one that promises least.
    pub(super) fn durability(&self) -> Durability {
        let options = &self.shared.options;
        let of = |(node, _): &(Arc<Node>, Vec<usize>)| node.standing.durability(options);
        let least = self.owners().iter().map(of).min();
        least.or(options.durability).unwrap_or(Durability::Fsync)
    }

    /// Why nothing is committed, or not everywhere; and whether something is.
    pub(super) fn reasons(&self) -> (bool, Vec<String>) {
        let (mut commits, mut reasons) = (false, Vec::new());
        for (node, places) in self.owners() {
            let why = node.standing.reasons();
            commits |= why.is_empty();
            let of = || node.primary.at().map_or_else(|why| why.to_string(), |at| at.to_string());
            let parts = places.len();
            let named = |why| if self.is_cluster() { format!("{} ({parts} parts): {why}", of()) } else { why };
            reasons.extend(why.into_iter().map(named));
        }
        if self.is_cluster() && self.table.borrow().asked.is_none() {
            // As of a node that was never asked for anything.
            return (true, reasons);
        }
        reasons.extend(self.missing().map(|why| format!("Redis cannot be reached: {why}")));
        reasons.extend(self.late());
        (commits, reasons)
    }

    /// Why it is late that it is looked who has what, if it is.
    fn late(&self) -> Option<String> {
        if !self.is_cluster() {
            return self.owners().iter().find_map(|(node, _)| node.primary.late(&self.shared.awake));
        }
        let since = self.shared.awake.since(self.table.borrow().asked?);
        (since > LATE)
            .then(|| format!("no node of the cluster was asked for {} s: restart this server", since.as_secs()))
    }

    /// Bytes that all of them use.
    pub(super) fn used(&self) -> u64 {
        self.owners().iter().map(|(node, _)| node.room.used()).sum()
    }

    /// Bytes up to which they take more, all together; 0: one of them does not say.
    pub(super) fn bound(&self) -> u64 {
        let bounds: Vec<u64> = self.owners().iter().map(|(node, _)| node.room.bound()).collect();
        if bounds.contains(&0) { 0 } else { bounds.into_iter().sum() }
    }

    /// Whether one of them takes nothing that adds to what is stored.
    pub(super) fn is_full(&self) -> bool {
        self.owners().iter().any(|(node, _)| node.room.is_full())
    }

    /// Finishes what waits, everywhere.
    pub(super) async fn close(&self) {
        let owners = self.owners();
        join_all(owners.iter().map(|(node, _)| node.commits.close())).await;
        self.shared.life.close();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::redis::{Cluster, Options, clock::Clock, life::Life};

    pub(in crate::redis) fn node(port: u16) -> Address {
        Address::Tcp { host: "127.0.0.1".into(), port }
    }

    /// Those of a cluster which nobody was asked about yet.
    pub(in crate::redis) fn of_cluster() -> Arc<Nodes> {
        let cluster = Cluster { at: vec![node(1)], elsewhere: BTreeMap::new() };
        let options = Options { partitions: 2, ..Options::new(Deployment::Cluster(cluster)) };
        let space = Arc::new(Space::new(&options.stream_name, &options.dead_letter_queue, options.partitions));
        let (life, clock, of_store) = (Arc::new(Life::begin()), Clock::default(), Arc::default());
        Nodes::of(Shared { options, space, life, clock, awake: Arc::default(), of_store })
    }

    /// That each part, in turn, is at one of these.
    pub(in crate::redis) fn have_all(nodes: &Nodes, ports: &[u16]) -> Told {
        let owner = |port: u16| Owner { at: node(port), epoch: 1, is_vouched: true, is_steady: true, is_moving: false };
        let owners = ports.iter().cycle().take(nodes.space().parts()).map(|port| Some(owner(*port))).collect();
        Told { owners, primaries: BTreeSet::from([node(1), node(2)]) }
    }

    /// I24: a primary that has no part, and was not reached, is one that is to be tried again: keys that move are asked for there.
    #[tokio::test]
    async fn one_without_parts_is_tried_again() {
        let nodes = of_cluster();
        nodes.told(Instant::now(), Ok(have_all(&nodes, &[1])));
        assert!(nodes.unreached_without_parts().is_empty());
        let [first, other] = [1, 2].map(|port| nodes.at(&node(port)).expect("it is a primary"));
        for node in [&first, &other] {
            node.standing.unreached(&Broken::Away("it is gone".to_owned()));
        }
        let tried = nodes.unreached_without_parts();
        assert!(matches!(&tried[..], [tried] if Arc::ptr_eq(tried, &other)), "one that has parts is looked at anyway");
        nodes.told(Instant::now(), Ok(have_all(&nodes, &[2])));
        let tried = nodes.unreached_without_parts();
        assert!(matches!(&tried[..], [tried] if Arc::ptr_eq(tried, &first)));
        first.standing.reached();
        assert!(nodes.unreached_without_parts().is_empty());
    }
}
