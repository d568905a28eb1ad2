//! The connections that read.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Mutex;

use super::{
    Options,
    client::{Command, Link},
    life::Life,
    reply::{Fault, Reply},
};

/// Reads, in turn over a few connections; each asks one thing after the other.
pub(super) struct Reads {
    links: Vec<Mutex<Option<Link>>>,
    next: AtomicUsize,
    options: Options,
    life: Arc<Life>,
}

impl Reads {
    /// None of them is connected yet.
    pub(super) fn new(options: &Options, life: &Arc<Life>) -> Self {
        let links = (0..options.readers.max(1)).map(|_| Mutex::new(None)).collect();
        Self { links, next: AtomicUsize::new(0), options: options.clone(), life: Arc::clone(life) }
    }

    /// Asks these at once; one reply for each.
    pub(super) async fn ask(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        let replies = self.each(commands).await?;
        let refused = replies.iter().find_map(Reply::refusal);
        refused.map_or(Ok(replies), Err)
    }

    /// The same, where one key that somebody spoilt is to keep none of the others from being read: what is of another type than is
    /// asked for reads as nothing. The scrub names it.
    pub(super) async fn readable(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        let mut replies = self.each(commands).await?;
        for reply in &mut replies {
            match reply.refusal() {
                None => {}
                Some(Fault::Damaged(_)) => *reply = Reply::Nil,
                Some(fault) => return Err(fault),
            }
        }
        Ok(replies)
    }

    /// The same, refusals among them.
    pub(super) async fn each(&self, commands: Vec<Command>) -> Result<Vec<Reply>, Fault> {
        self.life.check()?;
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.links.len();
        let mut link = self.links[place].lock().await;
        // A connection that broke while nobody used it is no reason to answer that the store is away.
        let tries = if link.is_some() { 2 } else { 1 };
        for _ in 0..tries {
            match self.ask_once(&mut link, commands.clone()).await {
                Ok(replies) => return Ok(replies),
                Err(why) => tracing::debug!(why, "a reading connection to Redis broke"),
            }
        }
        Err(Fault::Away)
    }

    /// Asks one thing.
    pub(super) async fn one(&self, command: Command) -> Result<Reply, Fault> {
        self.ask(vec![command]).await?.pop().ok_or(Fault::Away)
    }

    async fn ask_once(&self, kept: &mut Option<Link>, commands: Vec<Command>) -> Result<Vec<Reply>, String> {
        // Taken out: one that is given up, also by dropping this future, is not used again.
        let mut link = match kept.take() {
            Some(link) => link,
            None => Link::connect(&self.options.address, self.options.patience).await.map_err(|broken| broken.0)?,
        };
        let replies = link.send(commands).await.map_err(|broken| broken.0)?;
        *kept = Some(link);
        Ok(replies)
    }
}
