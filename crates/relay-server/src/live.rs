//! Numbers that move, for whoever looks: one task reads them while somebody listens, and none while nobody does.
//!
//! **Invariant:** a message carries counters alone. What a viewer may see is decided where he reads it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::{delivery::State as DeliveryState, hub::DestinationView, storage::StoreError};
use relay_store::seam::{DestinationStats, Stats, Upkeep};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{DestinationPulseDto, PulseDto, SourcePulseDto},
    depth::{count, waiting},
    health::Health,
    hub::{Handle, View},
    metrics::Metrics,
    supervise::{Supervisor, TaskKind},
};

/// Between two looks at the numbers: four messages a second at most.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same message is sent again after this: a stream that is silent for five seconds counts as cut.
const AGAIN_AFTER: Duration = Duration::from_millis(1_500);
/// Streams of one viewer: each of his browsers has one, whatever tabs it has.
const STREAMS_EACH_MAX: usize = 4;
/// Sources and destinations that a message names, each.
const NAMED_MAX: usize = 256;

/// Where the numbers are told.
pub(crate) struct Live {
    upkeep: Arc<dyn Upkeep>,
    hub: Handle,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    supervisor: Supervisor,
    /// Streams in all: a part of the connections that there may be.
    streams_max: usize,
    /// The latest message, as JSON; none while nobody listens.
    latest: watch::Sender<Option<Arc<str>>>,
    listeners: Mutex<Listeners>,
    look: tokio::sync::Mutex<Option<(Instant, PulseDto)>>,
}

#[derive(Debug, Default)]
struct Listeners {
    /// By viewer, then by browser.
    by_name: BTreeMap<String, BTreeMap<String, Stream>>,
    /// Numbers streams.
    next: u64,
    /// The task that tells them runs.
    told: bool,
}

#[derive(Debug)]
struct Stream {
    number: u64,
    end: CancellationToken,
}

/// Somebody who listens, until it is dropped.
pub(crate) struct Listener {
    live: Arc<Live>,
    name: String,
    browser: String,
    number: u64,
    end: CancellationToken,
    messages: watch::Receiver<Option<Arc<str>>>,
}

impl Live {
    /// `connections`: those of the listener that serves the streams, a quarter of which they may take.
    pub(crate) fn new(
        upkeep: Arc<dyn Upkeep>,
        hub: Handle,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        supervisor: Supervisor,
        connections: usize,
    ) -> Self {
        let (streams_max, latest) = ((connections / 4).max(1), watch::Sender::new(None));
        let (listeners, look) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { upkeep, hub, health, metrics, supervisor, streams_max, latest, listeners, look }
    }

    /// The numbers as they are, or were a moment ago.
    ///
    /// # Errors
    /// The store does not tell.
    pub(crate) async fn once(&self) -> Result<PulseDto, StoreError> {
        let mut look = self.look.lock().await;
        if let Some((at, pulse)) = &*look
            && at.elapsed() < LOOK_EVERY / 2
        {
            return Ok(pulse.clone());
        }
        let began = self.health.moment();
        let stats = self.upkeep.stats().await?;
        let hub = self.hub.view().await;
        let reasons = self.health.judge(&stats, &hub, began).len() as u64;
        let pulse = PulseDto { reasons, ..pulse(&stats, &hub, &self.metrics.refused_by_source()) };
        *look = Some((Instant::now(), pulse.clone()));
        Ok(pulse)
    }

    /// Hears of it whenever something has moved. A browser, known by its session, has one stream: it leaves pages without a word, so that
    /// the next ends the one before. `None`: his other browsers, or all together, have as many as there may be.
    pub(crate) fn listen(self: &Arc<Self>, name: &str, browser: Option<&str>) -> Option<Listener> {
        let mut listeners = self.lock();
        let number = listeners.next;
        let browser = browser.map_or_else(|| format!("{number}"), str::to_owned);
        let all: usize = listeners.by_name.values().map(BTreeMap::len).sum();
        let his = listeners.by_name.get(name);
        let is_another = his.is_none_or(|his| !his.contains_key(&browser));
        if is_another && (all >= self.streams_max || his.map_or(0, BTreeMap::len) >= STREAMS_EACH_MAX) {
            return None;
        }
        listeners.next += 1;
        let end = CancellationToken::new();
        let stream = Stream { number, end: end.clone() };
        let before = listeners.by_name.entry(name.to_owned()).or_default().insert(browser.clone(), stream);
        if let Some(before) = before {
            before.end.cancel();
        }
        if !std::mem::replace(&mut listeners.told, true) {
            let live = Arc::clone(self);
            self.supervisor.spawn(TaskKind::Pulse, "pulse", async move {
                live.tell().await;
                Ok(())
            });
        }
        let mut messages = self.latest.subscribe();
        messages.mark_changed();
        Some(Listener { live: Arc::clone(self), name: name.to_owned(), browser, number, end, messages })
    }

    /// Tells until nobody listens.
    async fn tell(&self) {
        let _told = Told(self);
        let mut sent: Option<(Instant, Arc<str>)> = None;
        while !self.is_deserted() {
            // What the store does not tell is not told: whoever hears nothing says so.
            if let Ok(pulse) = self.once().await {
                let text: Arc<str> = serde_json::to_string(&pulse).unwrap_or_default().into();
                let is_news = sent.as_ref().is_none_or(|(at, last)| *last != text || at.elapsed() >= AGAIN_AFTER);
                if is_news {
                    self.latest.send_replace(Some(Arc::clone(&text)));
                    sent = Some((Instant::now(), text));
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether nobody listens; then whoever tells them has ended.
    fn is_deserted(&self) -> bool {
        let mut listeners = self.lock();
        listeners.told = !listeners.by_name.is_empty();
        if !listeners.told {
            // What is the latest now is old for whoever comes next.
            self.latest.send_replace(None);
        }
        !listeners.told
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After a panic the next who listens begins anew.
struct Told<'a>(&'a Live);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        // Otherwise that is taken down by now, and may be another task's.
        if std::thread::panicking() {
            self.0.lock().told = false;
        }
    }
}

impl Listener {
    /// The next message; `None` once its browser has another stream. Cancel safe; of those that nobody took in time the latest alone is left.
    pub(crate) async fn next(&mut self) -> Option<Arc<str>> {
        loop {
            self.end.run_until_cancelled(self.messages.changed()).await?.ok()?;
            if let Some(message) = self.messages.borrow_and_update().clone() {
                return Some(message);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.live.lock();
        let Some(his) = listeners.by_name.get_mut(&self.name) else { return };
        if his.get(&self.browser).is_some_and(|stream| stream.number == self.number) {
            his.remove(&self.browser);
        }
        if his.is_empty() {
            listeners.by_name.remove(&self.name);
        }
    }
}

fn pulse(stats: &Stats, hub: &View, refused: &BTreeMap<String, u64>) -> PulseDto {
    let source = |stats: &relay_store::seam::SourceStats| SourcePulseDto {
        name: stats.source.to_string(),
        accepted: stats.accepted,
        refused: refused.get(stats.source.as_str()).copied().unwrap_or_default(),
    };
    let destination = |stats: &DestinationStats| {
        let seen = hub.destinations.iter().find(|seen| seen.destination == stats.destination);
        destination(stats, seen)
    };
    let left_out = [stats.sources.len(), stats.destinations.len()].map(|count| count.saturating_sub(NAMED_MAX) as u64);
    PulseDto {
        accepted: stats.sources.iter().map(|stats| stats.accepted).sum(),
        sources: stats.sources.iter().take(NAMED_MAX).map(source).collect(),
        destinations: stats.destinations.iter().take(NAMED_MAX).map(destination).collect(),
        left_out: left_out.iter().sum(),
        tries: stats.destinations.iter().flat_map(|stats| stats.outcomes).sum(),
        reasons: 0,
    }
}

fn destination(stats: &DestinationStats, seen: Option<&DestinationView>) -> DestinationPulseDto {
    DestinationPulseDto {
        name: stats.destination.to_string(),
        waiting: waiting(stats) + count(stats, DeliveryState::Leased),
        leased: count(stats, DeliveryState::Leased),
        delivered: count(stats, DeliveryState::Delivered),
        dead: count(stats, DeliveryState::Dead) + count(stats, DeliveryState::Expired),
        clients: seen.map_or(0, |seen| seen.clients.len() as u64 + u64::from(seen.elsewhere)),
        circuit_open: seen
            .is_some_and(|seen| seen.elsewhere_down > 0 || seen.clients.iter().any(|client| client.circuit_open)),
    }
}

#[cfg(test)]
mod tests {
    use relay_store::memory::MemoryStore;

    use super::*;

    /// While nobody looks there is no task that reads; whoever comes next begins it anew.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_while_nobody_listens() {
        let store = Arc::new(MemoryStore::new());
        let state = crate::offline::tests::admin(Arc::<MemoryStore>::clone(&store)).await;
        for _ in 0..2 {
            let before = store.reads();
            let mut listener = state.live.listen("user:alice", Some("a")).unwrap();
            assert!(
                state.live.listen("user:bob", Some("b")).is_none(),
                "one in all, where there are so few connections"
            );
            assert!(listener.next().await.unwrap().contains("\"accepted\":0"));
            let again = Instant::now();
            listener.next().await.unwrap();
            assert!(again.elapsed() >= AGAIN_AFTER, "nothing has moved");
            let mut next = state.live.listen("user:alice", Some("a")).unwrap();
            assert!(listener.next().await.is_none(), "its browser is on another page by now");
            drop(listener);
            assert!(next.next().await.is_some() && state.live.lock().told);
            drop(next);
            while state.live.lock().told {
                sleep(LOOK_EVERY).await;
            }
            assert!(state.live.latest.borrow().is_none() && state.live.lock().by_name.is_empty());
            let reads = store.reads();
            assert!(reads > before, "somebody has looked");
            sleep(Duration::from_hours(1)).await;
            assert_eq!(store.reads(), reads, "nobody looks any more");
        }
    }
}
