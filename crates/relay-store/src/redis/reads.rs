//! The connections that read.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Mutex;

use super::{
    client::{Broken, Command},
    life::Life,
    primary::{Primary, Reached},
    reply::{Fault, Reply},
    standing::Standing,
};

/// Reads, in turn over a few connections; each asks one thing after the other.
pub(super) struct Reads {
    links: Vec<Mutex<Option<Reached>>>,
    next: AtomicUsize,
    primary: Arc<Primary>,
    life: Arc<Life>,
    standing: Arc<Standing>,
}

impl Reads {
    /// None of them is connected yet.
    pub(super) fn new(count: usize, primary: &Arc<Primary>, life: &Arc<Life>, standing: &Arc<Standing>) -> Self {
        let links = (0..count.max(1)).map(|_| Mutex::new(None)).collect();
        let (primary, life, standing) = (Arc::clone(primary), Arc::clone(life), Arc::clone(standing));
        Self { links, next: AtomicUsize::new(0), primary, life, standing }
    }

    /// Asks these at once; one reply for each, refusals among them.
    pub(super) async fn ask(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        self.life.check()?;
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.links.len();
        let mut link = self.links[place].lock().await;
        // A connection that broke while nobody used it is no reason to answer that the store is away.
        let tries = if link.is_some() { 2 } else { 1 };
        for left in (0..tries).rev() {
            match self.ask_once(&mut link, commands.clone()).await {
                Ok(replies) => return Ok(replies),
                Err(broken) => {
                    tracing::debug!(why = %broken, "a reading connection to Redis broke");
                    self.primary.doubt();
                    if left == 0 {
                        self.standing.unreached(&broken);
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
