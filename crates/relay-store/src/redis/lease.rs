//! Leasing, and the ends of leases.

use std::sync::atomic::Ordering;

use relay_core::{
    delivery,
    name::Name,
    storage::{Backlog, Extend, Extended, LeaseAsk, LeaseEnd, LeaseOrder, Leased},
    time::Wall,
};

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    commit::ROWS_MAX,
    keys::Keys,
    reply::{Fault, Replies, Reply},
    row,
    scripts::Script,
    settle::all_done,
    text,
};

/// So often a group that strayed is put right within one call.
const MENDS_MAX: usize = 3;

/// What waits at a destination in one partition, before anything is asked of it.
struct Known {
    /// Waits, due or not.
    waits: u64,
    /// Is not over.
    open: u64,
    /// Something that was tried waits.
    tried: bool,
    /// Nobody knows: the node that has it is away.
    is_away: bool,
}

impl Known {
    fn read(replies: Vec<Reply>) -> Result<Self, Fault> {
        let mut replies = Replies::new(replies);
        let mut states = [0; 3];
        for (count, reply) in states.iter_mut().zip(replies.next()?.many()?) {
            // Where a count does not read nobody knows: something may wait.
            *count = if reply == Reply::Nil { 0 } else { reply.number().map_or(1, |count| count.max(0) as u64) };
        }
        let [ready, scheduled, leased] = states;
        let waits = ready + scheduled;
        Ok(Self { waits, open: waits + leased, tried: replies.next()?.number()? != 0, is_away: false })
    }
}

impl Core {
    /// Leases what is due, from one partition after the other; each call begins with another one, so that what is plenty in
    /// one keeps nobody waiting in the rest.
    pub(super) async fn lease(&self, ask: &LeaseAsk) -> Result<Leased, Fault> {
        let partitions = self.space.partitions();
        if let [keys] = partitions {
            return self.lease_in(keys, ask).await;
        }
        let mut all = Leased { end: LeaseEnd::Drained { next_due: None }, ..Leased::default() };
        let mut left = ask.clone();
        let mut failed = None;
        let known = self.known(&ask.destination).await?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % partitions.len();
        let places = (turn..partitions.len()).chain(0..turn);
        for place in places.filter(|place| self.space.is_one_of(ask.partitions, *place)) {
            let (keys, known) = (&partitions[place], &known[place]);
            if known.is_away {
                // Nobody knows whether anything waits there. Once it is there `due` tells; to ask each second until then comes to nothing.
                continue;
            }
            if known.waits == 0 || left.limit == 0 {
                all.backlog.open += known.open;
                all.backlog.tried |= known.tried;
                all.end = if known.waits > 0 { LeaseEnd::More } else { all.end };
                continue;
            }
            // Others on the node of one that failed just now, too.
            let came =
                if self.nodes.takes_commits(place) { self.lease_in(keys, &left).await } else { Err(Fault::Away) };
            let part = match came {
                Ok(part) => part,
                Err(Fault::Unknown) if !self.nodes.is_cluster() => return Err(Fault::Unknown),
                // What others gave is held; what this one may have leased is looked for.
                Err(Fault::Unknown) => {
                    all.unsure = true;
                    all.end = LeaseEnd::More;
                    all.backlog.open += known.open;
                    all.backlog.tried |= known.tried;
                    continue;
                }
                // Nothing was leased there. What is spoilt in one partition keeps nothing waiting in the others; where a single node is
                // away, so it is for them.
                Err(fault) => {
                    let is_its_own = matches!(fault, Fault::Damaged(_) | Fault::Later(_)) || self.nodes.is_cluster();
                    left.limit *= u32::from(is_its_own);
                    all.end = LeaseEnd::More;
                    all.backlog.open += known.open;
                    all.backlog.tried |= known.tried;
                    failed.get_or_insert(fault);
                    continue;
                }
            };
            let tried = part.deliveries.iter().filter(|leased| leased.tries > 0).count() as u32;
            left.limit -= part.deliveries.len() as u32;
            left.tried_max = left.tried_max.saturating_sub(tried);
            all.deliveries.extend(part.deliveries);
            all.end = joined(all.end, part.end);
            all.backlog.tried |= part.backlog.tried;
            all.backlog.open += part.backlog.open;
        }
        if all.unsure && all.deliveries.is_empty() {
            return Err(Fault::Unknown);
        }
        // What was leased is held; the rest is asked for again.
        failed.filter(|_| all.deliveries.is_empty()).map_or(Ok(all), Err)
    }

    /// What waits in each partition: a commit is worth its while only where something does.
    async fn known(&self, destination: &Name) -> Result<Vec<Known>, Fault> {
        let ask = |keys: &Keys| {
            let counted = Command::new("HMGET").arg(keys.counters());
            let counted = counted.args((1..=3).map(|state| format!("d:{destination}:{state}")));
            vec![counted, Command::new("EXISTS").arg(keys.due(destination))]
        };
        let known = |of: Option<Vec<Reply>>| match of {
            Some(replies) => Known::read(replies),
            None => Ok(Known { waits: 0, open: 0, tried: false, is_away: true }),
        };
        self.nodes.ask_parts(self.space.partitions().iter().map(ask).collect()).await?.into_iter().map(known).collect()
    }

    async fn lease_in(&self, keys: &Keys, ask: &LeaseAsk) -> Result<Leased, Fault> {
        let call = lease_call(keys, ask, &self.consumer(ask.nonce));
        for _ in 0..MENDS_MAX {
            match self.nodes.commit_once(Urgency::Lease, call.clone()).await {
                Err(Fault::Strayed) => {
                    let group = [keys.counters(), keys.ready(&ask.destination)];
                    self.nodes
                        .commit_once(Urgency::Lease, Script::Group.call(&group, [ask.destination.as_str()]))
                        .await?;
                }
                answer => return self.leased(answer?),
            }
        }
        Err(Fault::Unknown)
    }

    fn leased(&self, reply: Reply) -> Result<Leased, Fault> {
        let mut replies = Replies::new(reply.many()?);
        let end = replies.next()?.number()?;
        let next_due = text::read_moment(&replies.next()?.bytes()?);
        let tried = replies.next()?.number()? != 0;
        let open = replies.next()?.number()?.max(0) as u64;
        let end = match end {
            0 => LeaseEnd::Drained { next_due },
            1 => LeaseEnd::Tried { next_due },
            _ => LeaseEnd::More,
        };
        Ok(Leased { deliveries: self.pairs(replies)?, end, backlog: Backlog { tried, open }, unsure: false })
    }

    /// Moves the ends of leases that stand; one answer for each, in order.
    pub(super) async fn extend(&self, batch: &[Extend]) -> Result<Vec<Extended>, Fault> {
        self.life.check()?;
        let mut asked = Vec::new();
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<(usize, &Extend)> = batch
                .iter()
                .enumerate()
                .filter(|(_, extend)| self.space.place(extend.id.partition()) == place)
                .collect();
            let calls: Vec<Command> = here.chunks(ROWS_MAX).map(|chunk| extend_call(keys, chunk)).collect();
            if !calls.is_empty() {
                asked.push((here, self.nodes.all(Urgency::Extend, calls)));
            }
        }
        let mut answers = vec![Extended::Over(None); batch.len()];
        for (here, extended) in all_done(asked).await? {
            let mut rows = Vec::with_capacity(here.len());
            for reply in extended {
                rows.extend(reply.many()?);
            }
            for ((at, extend), row) in here.into_iter().zip(rows) {
                let found = row.maybe_bytes()?.and_then(|bytes| self.row(extend.id, &bytes));
                // The row is as the script left it: what stands has that end by now, or a later one.
                let stands = found.as_ref().and_then(|found| delivery::extended(found, extend.claim, Wall::MIN));
                answers[at] = stands.map_or_else(|| Extended::Over(found.map(Box::new)), |it| Extended::stands(&it));
            }
        }
        Ok(answers)
    }
}

fn extend_call(keys: &Keys, extends: &[(usize, &Extend)]) -> Command {
    let mut arguments = vec![extends.len().to_string().into_bytes()];
    for (_, extend) in extends {
        arguments.push(extend.id.as_u128().to_be_bytes().to_vec());
        arguments.push(row::fence(extend.claim.token).to_vec());
        arguments.push(extend.claim.keeper.to_be_bytes().to_vec());
        arguments.push(row::end(extend.until));
    }
    Script::Extend.call(&keys.written(Vec::new()), arguments)
}

fn lease_call(keys: &Keys, ask: &LeaseAsk, consumer: &str) -> Command {
    let (order, share) = match ask.order {
        LeaseOrder::Shared { tried } => ("s", tried),
        LeaseOrder::FewestTries => ("f", 0),
        LeaseOrder::Newest => ("n", 0),
    };
    let number = |number: u32| number.to_string().into_bytes();
    let arguments = [
        ask.destination.as_str().as_bytes().to_vec(),
        text::moment(ask.now).into_bytes(),
        number(ask.limit.min(ROWS_MAX as u32)),
        number(ask.tried_max),
        order.as_bytes().to_vec(),
        number(share),
        ask.nonce.to_be_bytes().to_vec(),
        row::taken(ask.instance, ask.nonce, ask.now),
        row::end(ask.until),
        consumer.as_bytes().to_vec(),
    ];
    Script::Lease.call(&keys.written(vec![&ask.destination]), arguments)
}

/// Why there is no more, of two partitions.
fn joined(one: LeaseEnd, other: LeaseEnd) -> LeaseEnd {
    let earlier = |one: Option<Wall>, other: Option<Wall>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    match (one, other) {
        (LeaseEnd::More, _) | (_, LeaseEnd::More) => LeaseEnd::More,
        (LeaseEnd::Drained { next_due: one }, LeaseEnd::Drained { next_due: other }) => {
            LeaseEnd::Drained { next_due: earlier(one, other) }
        }
        (
            LeaseEnd::Drained { next_due: one } | LeaseEnd::Tried { next_due: one },
            LeaseEnd::Drained { next_due: other } | LeaseEnd::Tried { next_due: other },
        ) => LeaseEnd::Tried { next_due: earlier(one, other) },
    }
}
