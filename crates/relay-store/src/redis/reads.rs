//! The connections that read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::{
    address::Deployment,
    client::{Broken, Command},
    life::Life,
    primary::{Primary, Reached},
    reply::{Fault, Reply},
    shared::Shared,
    standing::RedisState,
};

/// Reads, in turn over a few connections; each asks one thing after the other.
pub(super) struct Reads {
    links: Vec<Mutex<Option<Reached>>>,
    /// As long an answer may take.
    patience: Duration,
    next: AtomicUsize,
    primary: Arc<Primary>,
    life: Arc<Life>,
    standing: Arc<RedisState>,
    /// There are others, which are not to wait for this one.
    is_one_of_several: bool,
}

impl Reads {
    /// None of them is connected yet.
    pub(super) fn new(shared: &Shared, primary: &Arc<Primary>, standing: &Arc<RedisState>) -> Self {
        let links = (0..shared.options.readers.max(1)).map(|_| Mutex::new(None)).collect();
        let (primary, life, standing) = (Arc::clone(primary), Arc::clone(&shared.life), Arc::clone(standing));
        let is_one_of_several = matches!(shared.options.address, Deployment::Cluster(_));
        let patience = shared.options.patience;
        Self { links, patience, next: AtomicUsize::new(0), primary, life, standing, is_one_of_several }
    }

    /// Asks these at once; one reply for each, refusals among them. One of several that was not reached when it was last tried is away at
    /// once: others wait for what is asked of all of them.
    pub(super) async fn ask(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        self.life.check()?;
        if self.is_given_up() {
            return if self.standing.may_try() { self.ask_again(commands).await } else { Err(Fault::Away) };
        }
        let mut link = self.link().lock().await;
        // Whoever had it before may have found that out.
        if self.is_given_up() {
            return Err(Fault::Away);
        }
        self.ask_over(&mut link, commands).await
    }

    /// The same of one that was not reached before, to see whether it is there again.
    pub(super) async fn ask_again(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        self.life.check()?;
        let mut link = self.link().lock().await;
        let came = self.ask_over(&mut link, commands).await?;
        self.standing.reached();
        Ok(came)
    }

    fn is_given_up(&self) -> bool {
        self.is_one_of_several && self.standing.is_unreached()
    }

    fn link(&self) -> &Mutex<Option<Reached>> {
        &self.links[self.next.fetch_add(1, Ordering::Relaxed) % self.links.len()]
    }

    async fn ask_over(&self, link: &mut Option<Reached>, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        // A connection that broke while nobody used it is no reason to answer that the store is away; of several nodes one that is silent is.
        let (tries, since) = (if link.is_some() { 2 } else { 1 }, Instant::now());
        for left in (0..tries).rev() {
            match self.ask_once(link, commands.clone()).await {
                Ok(replies) => return Ok(replies),
                Err(broken) => {
                    tracing::debug!(why = %broken, "a reading connection to Redis broke");
                    self.primary.doubt();
                    if left == 0 || (self.is_one_of_several && since.elapsed() >= self.patience) {
                        self.standing.unreached(&broken);
                        break;
                    }
                }
            }
        }
        Err(Fault::Away)
    }

    async fn ask_once(&self, kept: &mut Option<Reached>, commands: Vec<Command>) -> Result<Vec<Reply>, Broken> {
        // Taken out: one that is given up, also by dropping this future, is not used again.
        let mut reached = match kept.take().filter(|reached| self.primary.holds(reached)) {
            Some(reached) => reached,
            None => self.primary.connect().await?,
        };
        let replies = reached.link.send(commands).await?;
        if !self.primary.holds(&reached) {
            // What one says that is no primary any more may be older than what was told already.
            return Err(Broken::Away("another is the primary by now".to_owned()));
        }
        *kept = Some(reached);
        Ok(replies)
    }
}
