//! Hints: each server tells the others of changes of the registry, and of destinations where something has become due; they look then.
//!
//! They are never needed. Who waits for a change looks by himself as well, and so does the listener whenever it has connected anew.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::name::Name;
use tokio::{
    sync::{Notify, watch},
    time,
};

use super::{
    Core,
    client::{Broken, Command, Ear},
    loops::Loop,
    primary::Primary,
    reply::Fault,
};

/// A lost connection is made again after so long, twice as long each time, up to the other.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// What becomes due within so long is told together.
const JOINED_OVER: Duration = Duration::from_millis(5);
/// Destinations that wait to be told, or heard, at most: of more they are looked for.
const NAMES_MAX: usize = 1_024;
/// What is said of the registry.
const REGISTRY: &str = "registry";
/// How that begins which is said of destinations; the run that says so and their names follow.
const DUE: &str = "due";

/// What was heard last, and what is to be said.
#[derive(Debug)]
pub(super) struct Hints {
    version: watch::Sender<Option<u64>>,
    /// The number of this run; 0: nobody else is known, who could hear anything.
    run: AtomicU64,
    said: Arc<Woken>,
    heard: Woken,
}

/// Destinations, and whoever waits for some.
#[derive(Debug, Default)]
struct Woken {
    names: Mutex<BTreeSet<Name>>,
    some: Notify,
}

impl Woken {
    fn add(&self, more: &mut dyn Iterator<Item = &Name>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.extend(more.take(NAMES_MAX).cloned());
        while names.len() > NAMES_MAX {
            names.pop_last();
        }
        if !names.is_empty() {
            self.some.notify_one();
        }
    }

    fn take(&self) -> BTreeSet<Name> {
        std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Hints {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        let version = watch::Sender::new(None);
        Self { version, run: AtomicU64::new(0), said: Arc::default(), heard: Woken::default() }
    }

    /// The registry has this version by now.
    fn saw(&self, version: Option<u64>) {
        self.version.send_if_modified(|known| {
            let is_new = *known != version;
            *known = version;
            is_new
        });
    }

    /// Whether there are others to tell, and as whom.
    pub(super) fn know(&self, run: u64, has_others: bool) {
        self.run.store(if has_others { run } else { 0 }, Ordering::Relaxed);
    }

    /// Something has become due here that was not there before: the others are told soon.
    pub(super) fn made_due(&self, destinations: &mut dyn Iterator<Item = &Name>) {
        if self.run.load(Ordering::Relaxed) != 0 {
            self.said.add(destinations);
        }
    }

    /// What one of the servers said of destinations.
    fn heard(&self, word: &str) {
        let mut words = word.split(' ').skip(1);
        let run = words.next().and_then(|run| u64::from_str_radix(run, 16).ok());
        if run.is_some_and(|run| run != self.run.load(Ordering::Relaxed)) {
            let names: Vec<Name> = words.take(NAMES_MAX).filter_map(|name| name.parse().ok()).collect();
            self.heard.add(&mut names.iter());
        }
    }
}

/// Tells what became due here, as long as there is a store.
pub(super) async fn tell(core: Weak<Core>) {
    let Some(said) = core.upgrade().map(|core| Arc::clone(&core.hints.said)) else { return };
    while core.strong_count() > 0 {
        // Cancel safety: a notice that is not waited for stays.
        if time::timeout(AGAIN_AFTER.1, said.some.notified()).await.is_err() {
            continue;
        }
        time::sleep(JOINED_OVER).await;
        let Some(core) = core.upgrade() else { return };
        let names = said.take();
        let run = core.hints.run.load(Ordering::Relaxed);
        let word = names.iter().fold(format!("{DUE} {run:x}"), |word, name| format!("{word} {name}"));
        let tell = Command::new("PUBLISH").arg(core.space.hints()).arg(word);
        // What is not heard is looked for.
        let _ = core.nodes.ask_leniently(vec![tell]).await;
    }
}

/// Listens for what others say, as long as there is a store.
pub(super) async fn listen(core: Weak<Core>) {
    let mut pause = AGAIN_AFTER.0;
    loop {
        let Some(ear) = ear(&core).await else { return };
        let mut came = Ok(());
        match ear {
            Ok((mut ear, primary, era)) => {
                pause = AGAIN_AFTER.0;
                look(&core).await;
                // At one that is no primary any more nobody says anything, and nobody ends the connection.
                while let Some(word) = heard(&mut ear).await.filter(|_| still_there(&core, &primary, era)) {
                    if let Some(core) = core.upgrade() {
                        core.loops.ran(Loop::Hints, &Ok(()));
                    }
                    match word {
                        Some(word) if word.starts_with(DUE) => {
                            let Some(core) = core.upgrade() else { return };
                            core.hints.heard(&word);
                        }
                        Some(_) => look(&core).await,
                        None if core.strong_count() == 0 => return,
                        None => {}
                    }
                }
            }
            Err(why) => {
                tracing::debug!(why, "hints of Redis are not heard");
                came = Err(Fault::Unexpected(why.into()));
            }
        }
        if let Some(core) = core.upgrade() {
            core.loops.ran(Loop::Hints, &came);
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN_AFTER.1);
    }
}

/// A new connection that hears, and of which era it is; nothing: the store is gone.
async fn ear(core: &Weak<Core>) -> Option<Result<(Ear, Arc<Primary>, u64), String>> {
    let core = core.upgrade()?;
    let heard = async {
        let primary = Arc::clone(&core.nodes.of_registry()?.primary);
        let era = primary.era();
        Ok((primary.hear(&core.space.hints()).await?, primary, era))
    };
    Some(heard.await.map_err(|broken: Broken| broken.to_string()))
}

/// Whether hints are told where that one is.
fn still_there(core: &Weak<Core>, primary: &Arc<Primary>, era: u64) -> bool {
    let there = core.upgrade().and_then(|core| core.nodes.of_registry().ok());
    primary.era() == era && there.is_none_or(|node| Arc::ptr_eq(&node.primary, primary))
}

/// What was said, if anything was for a while; nothing: the connection is gone.
async fn heard(ear: &mut Ear) -> Option<Option<String>> {
    match time::timeout(AGAIN_AFTER.1, ear.hears()).await {
        Ok(word) => word.map(Some),
        Err(_) => Some(None),
    }
}

async fn look(core: &Weak<Core>) {
    let Some(core) = core.upgrade() else { return };
    // Where it cannot be looked at, whoever waits looks again.
    if let Ok(version) = core.version().await {
        core.hints.saw(version);
    }
}

impl Core {
    /// Tells all servers, this one among them, that the registry has changed.
    pub(super) async fn hint(&self) {
        let version = Command::new("GET").arg(self.space.version());
        let tell = Command::new("PUBLISH").arg(self.space.hints()).arg(REGISTRY);
        let Ok(replies) = self.nodes.ask_leniently(vec![version, tell]).await else { return };
        let version = replies.into_iter().next().and_then(|reply| reply.number().ok());
        if let Some(version) = version {
            self.hints.saw(Some(version.max(0) as u64));
        }
    }

    /// Completes once the version is another one than was last heard of.
    pub(super) fn changes(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let mut hints = self.hints.version.subscribe();
        let core = Arc::clone(self);
        async move {
            loop {
                match time::timeout(core.options.look_every, hints.changed()).await {
                    Ok(Ok(())) => return,
                    Ok(Err(_)) => return std::future::pending().await,
                    // Whatever keeps it from looking: it looks again.
                    Err(_) => {
                        if let Ok(version) = core.version().await {
                            core.hints.saw(version);
                        }
                    }
                }
            }
        }
    }

    /// Completes with destinations where others made something due.
    pub(super) fn arrivals(self: &Arc<Self>) -> impl Future<Output = Vec<Name>> + Send + use<> {
        let core = Arc::clone(self);
        async move {
            loop {
                let names = core.hints.heard.take();
                if !names.is_empty() {
                    return names.into_iter().collect();
                }
                core.hints.heard.some.notified().await;
            }
        }
    }
}
