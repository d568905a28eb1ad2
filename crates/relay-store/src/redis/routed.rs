//! What is asked of a store goes to the nodes that have it, part by part, and is sent again where a part has gone elsewhere.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use relay_core::storage::AppendError;
use tokio::time::{Instant, sleep};

use super::{
    address::{Deployment, host_and_port},
    backlog::{Appending, Urgency},
    client::Command,
    node::Node,
    nodes::Nodes,
    reply::{Fault, Reply},
};

/// Before something is sent again for the first time, and from then on; who has what is asked meanwhile.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What stands where a string should.
pub(super) enum Value {
    Bytes(Vec<u8>),
    Nothing,
    /// Something of another type.
    Strange,
}

/// Commands that are answered together: one, or a transaction.
struct Unit {
    /// Where they stood among those asked.
    at: usize,
    commands: Vec<Command>,
    place: usize,
}

impl Nodes {
    /// Commits these as one; a reply for each. They wait for their turn from now on, not from when the answer is asked for.
    pub(super) fn all(
        self: &Arc<Self>,
        urgency: Urgency,
        commands: Vec<Command>,
    ) -> impl Future<Output = Result<Vec<Reply>, Fault>> + Send + use<> {
        let (nodes, place) = (Arc::clone(self), self.place_of(&commands));
        let kept = self.is_cluster().then(|| commands.clone());
        let until = Instant::now() + self.shared().options.patience;
        let first = self.there(place).map(|node| node.commits.all(urgency, commands));
        async move {
            let mut came = match first {
                Ok(first) => first.await,
                Err(fault) => Err(fault),
            };
            let Some(kept) = kept else { return came };
            while came == Err(Fault::Elsewhere) && Instant::now() < until {
                nodes.look_again().await;
                came = match nodes.there(place) {
                    Ok(node) => node.commits.all(urgency, kept.clone()).await,
                    Err(fault) => Err(fault),
                };
            }
            came
        }
    }

    /// Commits this one, at whoever is known to have its part now: where others wait for it, it is not sent again.
    pub(super) async fn commit_once(&self, urgency: Urgency, command: Command) -> Result<Reply, Fault> {
        let commands = vec![command];
        let node = self.there(self.place_of(&commands))?;
        node.commits.all(urgency, commands).await?.pop().ok_or(Fault::Unknown)
    }

    /// Whether commits come about where a part is, as far as that is known: in a cluster nothing is begun there meanwhile that only a commit
    /// can end.
    pub(super) fn takes_commits(&self, place: usize) -> bool {
        !self.is_cluster() || self.of_part(place).is_ok_and(|node| node.standing.reasons().is_empty())
    }

    /// Who has a part. In a cluster whoever was not reached when it was last tried is tried again by who looks at it: nobody else waits for
    /// that.
    fn there(&self, place: usize) -> Result<Arc<Node>, Fault> {
        let node = self.of_part(place).map_err(|_| Fault::Elsewhere)?;
        if self.is_given_up(&node) { Err(Fault::Away) } else { Ok(node) }
    }

    /// Whether it was not reached when it was last tried, and whoever asks this is not to try it: to be asked once for an operation.
    fn is_given_up(&self, node: &Node) -> bool {
        self.is_cluster() && node.standing.is_unreached() && !node.standing.may_try()
    }

    /// Commits this one.
    pub(super) async fn commit(self: &Arc<Self>, urgency: Urgency, command: Command) -> Result<Reply, Fault> {
        self.all(urgency, vec![command]).await?.pop().ok_or(Fault::Unknown)
    }

    /// Appends, when its turn comes. What is known not to be there, or not to commit, is not waited for: who has no key goes elsewhere.
    pub(super) fn append(&self, appending: Appending) {
        match self.of_part(appending.partition) {
            Ok(node) if self.takes_appends(&node) => node.commits.append(appending),
            // Whoever asked may be gone.
            Ok(_) | Err(_) => drop(appending.answer.send(Err(AppendError::Away))),
        }
    }

    /// One that commits nothing is tried again each second (`stats.rs`), by what nobody waits for.
    fn takes_appends(&self, node: &Node) -> bool {
        !self.is_cluster() || node.standing.reasons().is_empty() || node.standing.may_try()
    }

    /// Whether replicas are waited for where a part is.
    pub(super) fn waits_for_replicas(&self, place: usize) -> bool {
        self.of_part(place).is_ok_and(|node| node.standing.waits_for_replicas())
    }

    /// Asks these at once; one reply for each.
    pub(super) async fn ask(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        let replies = self.ask_leniently(commands).await?;
        let refused = replies.iter().find_map(Reply::refusal);
        refused.map_or(Ok(replies), Err)
    }

    /// The same, where one key that somebody spoilt is to keep none of the others from being read: what is of another type than is
    /// asked for reads as nothing. The scrub names it.
    pub(super) async fn readable(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        let mut replies = self.ask_leniently(commands).await?;
        for reply in &mut replies {
            match reply.refusal() {
                None => {}
                Some(Fault::Damaged(_) | Fault::Unexpected(_)) => *reply = Reply::Nil,
                Some(fault) => return Err(fault),
            }
        }
        Ok(replies)
    }

    /// Values of strings, where it matters whether something is there.
    pub(super) async fn values(&self, commands: Vec<Command>) -> Result<Vec<Value>, Fault> {
        let value = |reply: Reply| match reply.refusal() {
            None => Ok(reply.maybe_bytes()?.map_or(Value::Nothing, Value::Bytes)),
            Some(Fault::Damaged(_) | Fault::Unexpected(_)) => Ok(Value::Strange),
            Some(fault) => Err(fault),
        };
        self.ask_leniently(commands).await?.into_iter().map(value).collect()
    }

    /// Asks one thing.
    pub(super) async fn one(&self, command: Command) -> Result<Reply, Fault> {
        self.ask(vec![command]).await?.pop().ok_or(Fault::Away)
    }

    /// Asks something of each part, in their order, at all nodes at once; nothing of those whose node is away, or that refuse it: a key
    /// that somebody spoilt in one part keeps nothing in the others waiting.
    ///
    /// # Errors
    /// Nothing came of any of them.
    pub(super) async fn ask_parts(&self, of_parts: Vec<Vec<Command>>) -> Result<Vec<Option<Vec<Reply>>>, Fault> {
        self.are_asked().await;
        let mut replies = vec![None; of_parts.len()];
        let asked = self.owners().into_iter().map(async |(node, mut places)| {
            places.retain(|place| *place < of_parts.len());
            let commands = places.iter().flat_map(|place| of_parts[*place].clone()).collect();
            (places, node.reads.ask(commands).await)
        });
        let mut away = Fault::Away;
        for (places, came) in join_all(asked).await {
            let mut came = match came {
                Ok(came) => came.into_iter(),
                Err(fault @ (Fault::Away | Fault::Elsewhere)) => {
                    away = fault;
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            for place in places {
                let of_part: Vec<Reply> = came.by_ref().take(of_parts[place].len()).collect();
                match of_part.iter().find_map(Reply::refusal) {
                    None => replies[place] = Some(of_part),
                    Some(fault) => {
                        if matches!(fault, Fault::Away | Fault::Elsewhere) {
                            self.doubt();
                        }
                        away = fault;
                    }
                }
            }
        }
        if replies.iter().all(Option::is_none) { Err(away) } else { Ok(replies) }
    }

    /// Asks whoever has that part, whatever it is about; refusals are among the replies.
    pub(super) async fn ask_at(&self, place: usize, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        self.of_part(place).map_err(|_| Fault::Away)?.reads.ask(commands).await
    }

    /// Asks these, each where it belongs; one reply for each, refusals among them.
    pub(super) async fn ask_leniently(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        if !self.is_cluster() {
            return self.ask_at(0, commands).await;
        }
        self.are_asked().await;
        let until = Instant::now() + self.shared().options.patience;
        let mut replies = vec![Reply::Nil; commands.len()];
        let mut left = self.units(commands);
        loop {
            let mut again = Vec::new();
            for (unit, came) in self.ask_once(left).await? {
                if Instant::now() < until && came.iter().any(is_elsewhere) {
                    again.push(unit);
                } else {
                    replies[unit.at..unit.at + came.len()].clone_from_slice(&came);
                }
            }
            if again.is_empty() {
                return Ok(replies);
            }
            left = again;
            self.look_again().await;
        }
    }

    /// One try, at all nodes at once.
    async fn ask_once(&self, units: Vec<Unit>) -> Result<Vec<(Unit, Vec<Reply>)>, Fault> {
        let mut of_nodes: Vec<(Arc<Node>, Vec<Unit>)> = Vec::new();
        for unit in units {
            let node = self.of_part(unit.place).map_err(|_| Fault::Away)?;
            match of_nodes.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, units)) => units.push(unit),
                None => of_nodes.push((node, vec![unit])),
            }
        }
        let asked = of_nodes.into_iter().map(async |(node, units)| {
            let commands = units.iter().flat_map(|unit| unit.commands.clone()).collect();
            let mut replies = node.reads.ask(commands).await?.into_iter();
            let mut came = Vec::with_capacity(units.len());
            for unit in units {
                let mut of_unit: Vec<Reply> = replies.by_ref().take(unit.commands.len()).collect();
                if let [Reply::Refused { word, text }] = &of_unit[..]
                    && &**word == "ASK"
                {
                    of_unit = self.ask_there(text, &unit, of_unit.clone()).await;
                }
                came.push((unit, of_unit));
            }
            Ok(came)
        });
        let came: Result<Vec<_>, Fault> = join_all(asked).await.into_iter().collect();
        Ok(came?.into_iter().flatten().collect())
    }

    /// What the node says that a key has moved to ahead of its slot; what was said here, if that one does not say anything.
    async fn ask_there(&self, said: &str, unit: &Unit, here: Vec<Reply>) -> Vec<Reply> {
        let Deployment::Cluster(cluster) = &self.shared().options.address else { return here };
        let Some((host, port)) = said.rsplit(' ').next().and_then(host_and_port) else { return here };
        let Some(node) = self.at(&cluster.reached(&host, port)) else { return here };
        let commands = [vec![Command::new("ASKING")], unit.commands.clone()].concat();
        match node.reads.ask(commands).await {
            Ok(mut replies) => replies.split_off(1),
            Err(_) => here,
        }
    }

    /// Who has what is asked anew, and something is sent again behind that.
    async fn look_again(&self) {
        self.ask_anew().await;
        sleep(AGAIN_AFTER).await;
    }

    /// Which part these are about; what is about none is asked where the registry is.
    fn place_of(&self, commands: &[Command]) -> usize {
        let part = |command: &Command| self.space().part_of(command.key()?);
        commands.iter().find_map(part).unwrap_or_else(|| self.space().registry_place())
    }

    fn units(&self, commands: Vec<Command>) -> Vec<Unit> {
        let (mut units, mut open, mut is_transaction): (_, Vec<Command>, _) = (Vec::new(), Vec::new(), false);
        for (at, command) in commands.into_iter().enumerate() {
            match command.name() {
                b"MULTI" => is_transaction = true,
                b"EXEC" => is_transaction = false,
                _ => {}
            }
            open.push(command);
            if !is_transaction {
                let commands = std::mem::take(&mut open);
                units.push(Unit { at: at + 1 - commands.len(), place: self.place_of(&commands), commands });
            }
        }
        units
    }
}

/// Whether the node has not got that part, or not all of it.
fn is_elsewhere(reply: &Reply) -> bool {
    reply.refusal() == Some(Fault::Elsewhere)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::redis::nodes::tests::{have_all, of_cluster};

    /// I1, I24: where commits do not come about nothing is sent that could go elsewhere, and nothing is begun that only a commit ends; what
    /// another primary has goes on.
    #[tokio::test]
    async fn nothing_is_begun_where_nothing_is_committed() {
        // Each takes connections, and says nothing.
        let silent = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free"));
        let ports = silent.each_ref().map(|silent| silent.local_addr().expect("it is bound").port());
        let nodes = of_cluster();
        nodes.told(Instant::now(), Ok(have_all(&nodes, &ports)));
        let append = |partition: usize| {
            let (answer, mut asked) = oneshot::channel();
            nodes.append(Appending {
                partition,
                source: "in".parse().expect("it is a name"),
                event: (nodes.space().partitions()[partition].counters(), Vec::new()),
                arguments: Vec::new(),
                destinations: Vec::new(),
                received_at: relay_core::time::Wall::MIN,
                deadline: relay_core::time::Wall::MAX,
                answer,
            });
            asked.try_recv().ok()
        };
        assert!([0, 1].into_iter().all(|place| nodes.takes_commits(place)), "nothing is known against them");
        let node = nodes.of_part(0).expect("it is somebody's");
        node.standing.came_of(Some(&Fault::Unknown));
        assert_eq!([0, 1].map(|place| nodes.takes_commits(place)), [false, true]);
        assert_eq!(append(0), Some(Err(AppendError::Away)), "it was not sent");
        assert_eq!(append(1), None, "it is under way");
        node.standing.came_of(None);
        assert!(nodes.takes_commits(0));
        assert_eq!(append(0), None, "it is under way");
    }
}
