//! The loop that commits: everything that has queued up at once, on a connection of its own, and answers when all of it is
//! answered.
//!
//! **Invariant:** nothing else is sent on that connection, for WAIT speaks of what its own connection wrote.
//! **Invariant:** what was sent and not answered is told as *unknown*, and the connection is given up.

use std::{mem::take, sync::Arc, time::Duration};

use relay_core::{storage::AppendError, time::Wall};
use tokio::sync::{mpsc, oneshot};

use super::{
    backlog::{Appending, Ask, Backlog, Batch, Urgency},
    check::{self, Heard},
    client::{Broken, Command, Sent},
    keys::Space,
    life::Edge,
    meta::{self, Laid},
    primary::{Primary, Reached},
    reply::{Fault, Reply},
    room::Room,
    scripts::Script,
    shared::Shared,
    standing::{Demand, RedisState},
};

/// Rows that one call of a script handles.
pub(super) const ROWS_MAX: usize = 64;
/// As often what Redis did not know the script of is sent again.
const SENDS_MAX: usize = 3;

enum Work {
    Ask(Ask),
    Append(Appending),
    Close(oneshot::Sender<()>),
}

/// Where what is to be committed is handed over.
#[derive(Clone)]
pub(super) struct Commits {
    work: mpsc::UnboundedSender<Work>,
}

impl Commits {
    /// Begins the loop; it ends once nobody can hand anything over any more.
    pub(super) fn begin(
        shared: &Shared,
        (primary, room, standing): (&Arc<Primary>, &Arc<Room>, &Arc<RedisState>),
    ) -> Self {
        let (work, waiting) = mpsc::unbounded_channel();
        let committer = Committer {
            shared: shared.clone(),
            primary: Arc::clone(primary),
            room: Arc::clone(room),
            standing: Arc::clone(standing),
            reached: None,
            backlog: Backlog::default(),
        };
        tokio::spawn(committer.run(waiting));
        Self { work }
    }

    /// Commits these as one; a reply for each. They wait for their turn from now on, not from when the answer is asked for.
    pub(super) fn all(
        &self,
        urgency: Urgency,
        commands: Vec<Command>,
    ) -> impl Future<Output = Result<Vec<Reply>, Fault>> + Send + use<> {
        let (answer, asked) = oneshot::channel();
        // If the loop is gone, so is the answer's sender with it.
        drop(self.work.send(Work::Ask(Ask { urgency, commands: as_one(commands), answer })));
        async move { asked.await.unwrap_or(Err(Fault::Unavailable)) }
    }

    /// Appends, when its turn comes.
    pub(super) fn append(&self, appending: Appending) {
        drop(self.work.send(Work::Append(appending)));
    }

    /// Finishes what waits.
    pub(super) async fn close(&self) {
        let (closed, over) = oneshot::channel();
        if self.work.send(Work::Close(closed)).is_ok() {
            drop(over.await);
        }
    }
}

/// A transaction of these, where there are several.
fn as_one(commands: Vec<Command>) -> Vec<Command> {
    if commands.len() < 2 {
        return commands;
    }
    let mut transaction = vec![Command::new("MULTI")];
    transaction.extend(commands);
    transaction.push(Command::new("EXEC"));
    transaction
}

/// The replies to the commands of one transaction, or of one command. Behind so many bodies it changes something.
fn of_one(mut replies: Vec<Reply>, bodies: usize, is_script: bool) -> Result<Vec<Reply>, Fault> {
    if replies.len() < 2 {
        return match replies.first().and_then(Reply::refusal) {
            Some(fault) if is_script => Err(fault.half_way()),
            Some(fault) => Err(fault),
            None => Ok(replies),
        };
    }
    match replies.pop() {
        Some(Reply::Many(done)) => match done.iter().find_map(Reply::refusal) {
            None => Ok(done),
            Some(fault) => {
                let is_begun = done.iter().skip(bodies).any(|reply| reply.refusal().is_none());
                Err(fault.half_way().behind(is_begun))
            }
        },
        // What was refused while it queued up says why, and EXEC only that something was: nothing is done.
        Some(over) => {
            Err(replies.iter().chain([&over]).find_map(Reply::refusal).unwrap_or_else(|| Fault::shape(&over)))
        }
        None => Ok(Vec::new()),
    }
}

struct Committer {
    shared: Shared,
    primary: Arc<Primary>,
    room: Arc<Room>,
    standing: Arc<RedisState>,
    reached: Option<Reached>,
    backlog: Backlog,
}

impl Committer {
    async fn run(mut self, mut waiting: mpsc::UnboundedReceiver<Work>) {
        let mut closing = Vec::new();
        loop {
            if self.backlog.is_empty() && !closing.is_empty() {
                closing.drain(..).for_each(|closed: oneshot::Sender<()>| {
                    // Whoever closed it may be gone.
                    let _ = closed.send(());
                });
            }
            if self.backlog.is_empty() {
                match waiting.recv().await {
                    Some(work) => self.take(work, &mut closing),
                    None => return,
                }
            }
            while let Ok(work) = waiting.try_recv() {
                self.take(work, &mut closing);
            }
            let batch = self.backlog.next();
            if !batch.is_empty() {
                self.commit(batch).await;
            }
        }
    }

    fn take(&mut self, work: Work, closing: &mut Vec<oneshot::Sender<()>>) {
        match work {
            Work::Close(closed) => closing.push(closed),
            Work::Ask(ask) => match self.shared.life.check() {
                Ok(()) => self.backlog.ask(ask),
                Err(fault) => drop(ask.answer.send(Err(fault))),
            },
            Work::Append(appending) => match self.shared.life.check() {
                Ok(()) => self.backlog.append(appending),
                Err(fault) => drop(appending.answer.send(Err(fault.of_append()))),
            },
        }
    }

    async fn commit(&mut self, batch: Batch) {
        let mut parts = self.parts(batch);
        for _ in 0..SENDS_MAX {
            if parts.is_empty() {
                return;
            }
            let sent = self.send(&mut parts).await;
            self.standing.came_of(sent.as_ref().err());
            match sent {
                Ok((replies, sent)) => parts = answer(parts, replies, &sent),
                Err(fault) => return fail_all(parts, &fault),
            }
            // What is left met a Redis that does not know our scripts (any more).
            if !parts.is_empty() {
                self.reached = None;
            }
        }
        fail_all(parts, &Fault::Unknown);
    }

    /// Sends all parts at once; the replies, one behind the other.
    async fn send(&mut self, parts: &mut [BatchPart]) -> Result<(Vec<Reply>, Sent), Fault> {
        if self.shared.options.edges.dies_at(Edge::BeforeSend) {
            return Err(self.die("died before it was sent"));
        }
        let mut reached = match self.reached.take().filter(|reached| self.primary.holds(reached)) {
            Some(reached) => reached,
            None => self.connect().await?,
        };
        // What the connection is, may have been found out just now.
        let demand = self.standing.demand()?;
        let mut commands: Vec<Command> = parts.iter_mut().flat_map(|part| take(&mut part.commands)).collect();
        let confirming = confirming(demand, self.shared.options.replicas_within);
        let confirmations = confirming.len();
        commands.extend(confirming);
        let (mut replies, sent) = reached.link.send_kept(commands).await.map_err(|broken| {
            tracing::debug!(why = %broken, "the committing connection to Redis broke");
            self.primary.doubt();
            Fault::Unknown
        })?;
        let confirmed = replies.split_off(replies.len() - confirmations);
        let is_primary = self.primary.holds(&reached);
        // What one has taken in that is no primary any more is gone with it, unless the next one has it, too.
        if !is_primary || !is_confirmed(demand, confirmed) {
            // With the next connection it is looked at anew who is waited for.
            self.primary.doubt();
            return Err(Fault::Unknown);
        }
        if self.primary.is_told() && !replies.is_empty() {
            self.standing.is_down(replies.iter().any(is_down));
        }
        let is_turned_away = self.primary.is_told() && replies.iter().any(is_turned_away);
        if is_turned_away || replies.iter().any(is_elsewhere) {
            self.primary.doubt();
        }
        self.reached = Some(reached).filter(|_| !is_turned_away);
        if self.shared.options.edges.dies_at(Edge::AfterReplies) {
            return Err(self.die("died before it told anybody"));
        }
        Ok((replies, sent))
    }

    /// A connection to a Redis that keeps what it is given, and knows our scripts.
    async fn connect(&self) -> Result<Reached, Fault> {
        let connected = async {
            let mut reached = self.primary.connect().await?;
            self.look_at(&mut reached).await?;
            if self.standing.is_unsettled() {
                self.primary.ask_anew().await;
                self.look_at(&mut reached).await?;
            }
            let loaded = reached.link.send(Script::ALL.iter().map(|script| script.load()).collect()).await?;
            Ok((reached, loaded.iter().find_map(Reply::refusal)))
        };
        let (reached, refused) = connected.await.map_err(|broken: Broken| {
            tracing::debug!(why = %broken, "no connection to Redis for commits");
            self.primary.doubt();
            self.standing.unreached(&broken);
            Fault::Away
        })?;
        refused.map_or(Ok(reached), Err)
    }

    /// Looks whether it keeps what it is given.
    async fn look_at(&self, reached: &mut Reached) -> Result<(), Broken> {
        let asked = check::asks().into_iter().chain(meta::asks(&self.shared.space)).collect();
        let mut replies = reached.link.send(asked).await?.into_iter();
        if let (Some(info), Some(settings)) = (replies.next(), replies.next()) {
            self.standing.heard(&Heard::new(info, settings), &self.shared.options, self.primary.steady_since());
        }
        // Where the registry is not, nobody knows.
        if let (Some(meta), Some(strange)) = (replies.next(), replies.next())
            && let Ok(laid) = Laid::read([meta, strange])
        {
            self.standing.holds_another(laid.not_ours(self.shared.space.partitions().len()));
        }
        Ok(())
    }

    fn die(&self, why: &str) -> Fault {
        self.shared.life.fail(why.to_owned());
        Fault::Unavailable
    }

    /// What is sent for a batch; appends of a source in a partition go together.
    fn parts(&self, batch: Batch) -> Vec<BatchPart> {
        let mut parts: Vec<BatchPart> = batch.asks.into_iter().map(BatchPart::ask).collect();
        let (now, is_full) = (self.shared.clock.now(), self.room.is_full());
        let mut groups: Vec<(usize, Vec<Appending>)> = Vec::new();
        for appending in batch.appends {
            if appending.deadline < now.unwrap_or(Wall::MIN).max(appending.received_at) {
                drop(appending.answer.send(Err(AppendError::TooLate)));
            } else if is_full {
                drop(appending.answer.send(Err(AppendError::Full)));
            } else {
                join(&mut groups, appending);
            }
        }
        parts.extend(groups.into_iter().map(|(_, group)| BatchPart::append(&self.shared.space, group)));
        parts
    }
}

/// Whether it did nothing, as one does that is no primary.
fn is_turned_away(reply: &Reply) -> bool {
    reply.refusal() == Some(Fault::Away)
}

/// Whether the node does nothing, for it takes its cluster for down.
fn is_down(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused { word, .. } if &**word == "CLUSTERDOWN")
}

/// Whether the node has not got what that is about.
fn is_elsewhere(reply: &Reply) -> bool {
    reply.refusal() == Some(Fault::Elsewhere)
}

/// What is asked behind a batch: that as many replicas have it.
fn confirming(demand: Demand, within: Duration) -> Vec<Command> {
    let Demand { replicas, on_disk } = demand;
    let (replicas, within) = (i64::from(replicas), within.as_millis() as i64);
    let mut commands = Vec::new();
    if replicas > 0 {
        commands.push(Command::new("WAIT").number(replicas).number(within));
        // Behind WAIT it costs little: alone it waits for the replicas' next word, a second away.
        commands.extend(on_disk.then(|| Command::new("WAITAOF").number(1).number(replicas).number(within)));
        // One that has come to follow since was not waited for, and may be the next primary all the same.
        commands.push(Command::new("INFO").arg("replication"));
    }
    commands
}

/// Whether what came back meets it: the commands answer when their time is over, too. All that follow by then have it.
fn is_confirmed(demand: Demand, mut confirmed: Vec<Reply>) -> bool {
    let following = confirmed.pop().map(|info| Heard::new(info, Reply::Nil).replicas().len());
    let needed = i64::from(demand.replicas).max(following.unwrap_or_default() as i64);
    let counts = |reply: Option<Reply>| match reply {
        Some(Reply::Many(counts)) => counts.into_iter().map(|count| count.number().unwrap_or(0)).collect(),
        Some(reply) => vec![reply.number().unwrap_or(0)],
        None => Vec::new(),
    };
    if demand.replicas == 0 {
        return true;
    }
    let mut confirmed = confirmed.into_iter();
    let has_it = counts(confirmed.next()).first().is_some_and(|count| *count >= needed);
    let mut on_disk =
        || matches!(counts(confirmed.next())[..], [primary, replicas] if primary >= 1 && replicas >= needed);
    has_it && (!demand.on_disk || on_disk())
}

fn join(groups: &mut Vec<(usize, Vec<Appending>)>, appending: Appending) {
    let weight = appending.destinations.len().max(1);
    let fits = |(rows, group): &&mut (usize, Vec<Appending>)| {
        let first = &group[0];
        first.partition == appending.partition && first.source == appending.source && *rows + weight <= ROWS_MAX
    };
    match groups.iter_mut().find(fits) {
        Some((rows, group)) => {
            *rows += weight;
            group.push(appending);
        }
        None => groups.push((weight, vec![appending])),
    }
}

/// What is done whole or not at all.
struct BatchPart {
    /// They have left for the connection while they are sent.
    commands: Vec<Command>,
    count: usize,
    /// So many of them, the first, only set what their script stores then.
    bodies: usize,
    /// Whether the last is a script: refused, it may be half done.
    is_script: bool,
    asker: Asker,
}

/// Who is told.
enum Asker {
    Ask(oneshot::Sender<Result<Vec<Reply>, Fault>>),
    Append(Vec<oneshot::Sender<Result<Reply, AppendError>>>),
}

impl BatchPart {
    fn ask(ask: Ask) -> Self {
        let is_script = ask.commands.last().is_some_and(Command::is_script);
        Self { count: ask.commands.len(), commands: ask.commands, bodies: 0, is_script, asker: Asker::Ask(ask.answer) }
    }

    fn append(space: &Space, group: Vec<Appending>) -> Self {
        let keys = &space.partitions()[group[0].partition];
        let mut arguments = vec![group[0].source.as_str().as_bytes().to_vec(), group.len().to_string().into_bytes()];
        let mut written = keys.written(group.iter().flat_map(|appending| &appending.destinations).collect());
        written.extend([keys.source(&group[0].source), keys.lone()]);
        written.extend(group.iter().map(|appending| appending.event.0.clone()));
        let (mut commands, mut answers) = (Vec::new(), Vec::new());
        for appending in group {
            let (key, value) = appending.event;
            // What an earlier try has set stands: the script may have put its place into it since.
            commands.push(Command::new("SET").arg(key).arg(value).arg("NX"));
            arguments.extend(appending.arguments);
            answers.push(appending.answer);
        }
        commands.push(Script::Append.call(&written, arguments));
        let (commands, bodies) = (as_one(commands), answers.len());
        Self { count: commands.len(), commands, bodies, is_script: true, asker: Asker::Append(answers) }
    }

    fn fail(self, fault: &Fault) {
        match self.asker {
            Asker::Ask(answer) => drop(answer.send(Err(fault.clone()))),
            Asker::Append(answers) => {
                for answer in answers {
                    drop(answer.send(Err(fault.clone().of_append())));
                }
            }
        }
    }

    fn answer(self, mut replies: Vec<Reply>) {
        match self.asker {
            Asker::Ask(answer) => drop(answer.send(Ok(replies))),
            Asker::Append(answers) => {
                // The last is what the script says, one for each event.
                let items = replies.pop().ok_or(Fault::Unknown).and_then(Reply::many).unwrap_or_default();
                let mut items = items.into_iter();
                for answer in answers {
                    drop(answer.send(items.next().ok_or(AppendError::Unknown)));
                }
            }
        }
    }
}

fn fail_all(parts: Vec<BatchPart>, fault: &Fault) {
    for part in parts {
        part.fail(fault);
    }
}

/// Tells each part what came of it; gives those that are to be sent again.
fn answer(parts: Vec<BatchPart>, replies: Vec<Reply>, sent: &Sent) -> Vec<BatchPart> {
    let (mut again, mut from) = (Vec::new(), 0);
    let mut replies = replies.into_iter();
    for part in parts {
        let begin = from;
        from += part.count;
        match of_one(replies.by_ref().take(part.count).collect(), part.bodies, part.is_script) {
            Err(Fault::Unscripted) => again.push(BatchPart { commands: sent.again(begin, part.count), ..part }),
            Err(fault) => part.fail(&fault),
            Ok(replies) => part.answer(replies),
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(word: &str) -> Reply {
        Reply::Refused { word: word.into(), text: format!("{word} because").into() }
    }

    fn done() -> Reply {
        Reply::Bytes(b"OK".to_vec())
    }

    /// I1: as many as were asked for, and all that follow by then: one that has come since may be the next primary.
    #[test]
    fn all_that_follow_have_it() {
        let info = |replicas: usize| {
            let one = |at| format!("slave{at}:ip=h,port={at},state=online,offset=1,lag=0\r\n");
            Reply::Bytes((0..replicas).map(one).collect::<String>().into_bytes())
        };
        let of = |replicas, on_disk, confirmed| is_confirmed(Demand { replicas, on_disk }, confirmed);
        assert!(of(0, false, vec![]));
        assert!(of(2, false, vec![Reply::Number(2), info(2)]));
        assert!(of(2, false, vec![Reply::Number(2), info(1)]));
        assert!(!of(2, false, vec![Reply::Number(1), info(1)]));
        assert!(!of(1, false, vec![Reply::Number(1), info(2)]), "one came since");
        let on_disk = |replicas| Reply::Many(vec![Reply::Number(1), Reply::Number(replicas)]);
        assert!(of(1, true, vec![Reply::Number(1), on_disk(1), info(1)]));
        assert!(!of(1, true, vec![Reply::Number(2), on_disk(1), info(2)]));
        assert!(!of(1, true, vec![Reply::Number(1), on_disk(0), info(1)]));
        assert!(!of(1, false, vec![refused("UNBLOCKED"), info(0)]));
    }

    /// I2: what a script was refused half way is unknown; what was refused before it began is not done.
    #[test]
    fn what_may_be_half_done_is_unknown() {
        let queued = |last: Reply| vec![done(), done(), done(), last];
        let many = |replies: &[Reply]| queued(Reply::Many(replies.to_vec()));
        let damaged = |word: &str| Fault::Damaged(format!("{word} because").into());
        for (replies, bodies, is_script, wanted) in [
            // A script by itself.
            (vec![refused("ERR")], 0, true, Fault::Unknown),
            (vec![refused("WRONGTYPE")], 0, true, Fault::Unknown),
            (vec![refused("SPOILT")], 0, true, damaged("SPOILT")),
            (vec![refused("OOM")], 0, true, Fault::Full),
            (vec![refused("READONLY")], 0, true, Fault::Away),
            // A command by itself does nothing where it is refused.
            (vec![refused("WRONGTYPE")], 0, false, Fault::Unexpected("WRONGTYPE because".into())),
            // A transaction that did not begin.
            (vec![done(), refused("OOM"), refused("EXECABORT")], 0, true, Fault::Full),
            (vec![done(), done(), refused("EXECABORT")], 0, true, Fault::Away),
            // Bodies alone are nothing yet.
            (many(&[done(), refused("SPOILT")]), 1, true, damaged("SPOILT")),
            (many(&[done(), refused("NOSCRIPT")]), 1, true, Fault::Unscripted),
            (many(&[done(), refused("WRONGTYPE")]), 1, true, Fault::Unknown),
            // Of two scripts the first is done.
            (many(&[done(), refused("SPOILT")]), 0, true, Fault::Unknown),
            (many(&[done(), refused("OOM")]), 0, true, Fault::Unknown),
            (many(&[refused("SPOILT"), refused("SPOILT")]), 0, true, damaged("SPOILT")),
        ] {
            assert_eq!(of_one(replies.clone(), bodies, is_script), Err(wanted), "{replies:?}");
        }
        assert_eq!(of_one(many(&[done()]), 0, true), Ok(vec![done()]));
        assert_eq!(of_one(vec![done()], 0, true), Ok(vec![done()]));
    }
}
