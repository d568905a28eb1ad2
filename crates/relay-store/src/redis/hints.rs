//! Hints of changes of the registry: each server tells the others, who look then.
//!
//! They are never needed. Who waits for a change looks by himself as well, and so does the listener whenever it has connected anew.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::watch, time};

use super::{
    Core,
    client::{Command, Ear},
};

/// A lost connection is made again after so long, twice as long each time, up to the other.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The version that was last heard of.
#[derive(Debug)]
pub(super) struct Hints(watch::Sender<Option<u64>>);

impl Hints {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// The registry has this version by now.
    fn saw(&self, version: Option<u64>) {
        self.0.send_if_modified(|known| {
            let is_new = *known != version;
            *known = version;
            is_new
        });
    }
}

/// Listens for what others say, as long as there is a store.
pub(super) async fn listen(core: Weak<Core>) {
    let mut pause = AGAIN_AFTER.0;
    loop {
        let Some(ear) = ear(&core).await else { return };
        match ear {
            Ok(mut ear) => {
                pause = AGAIN_AFTER.0;
                look(&core).await;
                while let Some(has_changed) = heard(&mut ear).await {
                    if has_changed {
                        look(&core).await;
                    } else if core.strong_count() == 0 {
                        return;
                    }
                }
            }
            Err(why) => tracing::debug!(why, "hints of Redis are not heard"),
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN_AFTER.1);
    }
}

/// A new connection that hears; nothing: the store is gone.
async fn ear(core: &Weak<Core>) -> Option<Result<Ear, String>> {
    let core = core.upgrade()?;
    let (options, channel) = (&core.options, core.space.hints());
    Some(Ear::open(options, &channel).await.map_err(|broken| broken.to_string()))
}

/// Whether anything was said for a while; nothing: the connection is gone.
async fn heard(ear: &mut Ear) -> Option<bool> {
    match time::timeout(AGAIN_AFTER.1, ear.hears()).await {
        Ok(is_open) => is_open.then_some(true),
        Err(_) => Some(false),
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
        let tell = Command::new("PUBLISH").arg(self.space.hints()).arg("registry");
        let Ok(replies) = self.reads.ask_leniently(vec![version, tell]).await else { return };
        let version = replies.into_iter().next().and_then(|reply| reply.number().ok());
        if let Some(version) = version {
            self.hints.saw(Some(version.max(0) as u64));
        }
    }

    /// Completes once the version is another one than was last heard of.
    pub(super) fn changes(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let mut hints = self.hints.0.subscribe();
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
}
