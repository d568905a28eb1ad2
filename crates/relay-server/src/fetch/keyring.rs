//! Keys and certificates that were fetched, for as long as they hold.
//!
//! Strangers name the URLs (below hosts that their provider pins), so everything is bounded: how many are kept, how often a
//! source makes the relay fetch one it never saw, and how soon one that failed is tried again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use relay_core::{limits, name::Name, time::Mono};

use super::{Fetcher, Unfetched};
use crate::clock::Clock;

/// The span that fetches of a source are counted in.
const MINUTE: Duration = Duration::from_mins(1);

type Fetch = BoxFuture<'static, Result<Bytes, Unfetched>>;

/// What was fetched, by URL.
#[derive(Debug)]
pub(crate) struct Keyring {
    fetcher: Fetcher,
    clock: Clock,
    pub(super) kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Begin of the minute and fetches since, by source.
    asked: BTreeMap<Name, (Mono, u32)>,
}

#[derive(Debug)]
pub(super) enum Entry {
    /// Somebody fetches it; whoever wants it too waits for the same answer. Given up when nobody waits any more.
    Underway { fetch: WeakShared<Fetch>, was_good: bool },
    /// It was there.
    Good { body: Bytes, at: Mono },
    /// It was not.
    Bad { why: Unfetched, at: Mono },
}

impl Keyring {
    /// An empty one.
    pub(crate) fn new(fetcher: Fetcher, clock: Clock) -> Arc<Self> {
        Arc::new(Self { fetcher, clock, kept: Mutex::default() })
    }

    /// What is at `url`: as it was fetched within the last day, or as it is now.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub(crate) async fn key(self: &Arc<Self>, source: &Name, url: &str) -> Result<Bytes, Unfetched> {
        self.key_at(source, url, self.clock.now().mono).await
    }

    pub(super) async fn key_at(self: &Arc<Self>, source: &Name, url: &str, now: Mono) -> Result<Bytes, Unfetched> {
        match self.look(source, url, now) {
            Look::Answer(answer) => answer,
            Look::Wait(fetch) => fetch.await,
        }
    }

    /// Fetches `url` now, for what it does there.
    ///
    /// # Errors
    /// Why it could not.
    pub(crate) async fn visit(&self, source: &Name, url: &str) -> Result<(), Unfetched> {
        if !self.lock().may_ask(source, self.clock.now().mono) {
            return Err(too_often());
        }
        self.fetcher.get(url).await.map(drop)
    }

    fn look(self: &Arc<Self>, source: &Name, url: &str, now: Mono) -> Look {
        let mut kept = self.lock();
        let was_good = match kept.entries.get(url) {
            Some(Entry::Good { body, at }) if now.since(*at) < limits::KEY_KEPT => {
                return Look::Answer(Ok(body.clone()));
            }
            Some(Entry::Bad { why, at }) if now.since(*at) < limits::KEY_FAILURE_KEPT => {
                return Look::Answer(Err(why.clone()));
            }
            Some(Entry::Underway { fetch, was_good }) => match fetch.upgrade() {
                Some(fetch) => return Look::Wait(fetch),
                None => *was_good,
            },
            Some(Entry::Good { .. }) => true,
            Some(Entry::Bad { .. }) | None => false,
        };
        // What was good once is no invention of a stranger.
        if !was_good && !kept.may_ask(source, now) {
            return Look::Answer(Err(too_often()));
        }
        kept.make_room(url);
        let fetch = Arc::clone(self).fetch(url.to_owned(), now).boxed().shared();
        if let Some(fetch) = fetch.downgrade() {
            kept.entries.insert(url.to_owned(), Entry::Underway { fetch, was_good });
        }
        Look::Wait(fetch)
    }

    async fn fetch(self: Arc<Self>, url: String, at: Mono) -> Result<Bytes, Unfetched> {
        let fetched = self.fetcher.get(&url).await;
        let entry = match &fetched {
            Ok(body) => Entry::Good { body: body.clone(), at },
            Err(why) => Entry::Bad { why: why.clone(), at },
        };
        self.lock().entries.insert(url, entry);
        fetched
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Look {
    Answer(Result<Bytes, Unfetched>),
    Wait(Shared<Fetch>),
}

impl Kept {
    /// Counts a fetch for this source, if it may cause one more.
    fn may_ask(&mut self, source: &Name, now: Mono) -> bool {
        self.asked.retain(|_, (since, _)| now.since(*since) < MINUTE);
        let (_, count) = self.asked.entry(source.clone()).or_insert((now, 0));
        *count += 1;
        *count <= limits::FETCHES_PER_MINUTE
    }

    /// Forgets one that is worth least if there are too many: a failure, then the oldest.
    fn make_room(&mut self, url: &str) {
        if self.entries.len() < limits::KEYS_MAX || self.entries.contains_key(url) {
            return;
        }
        let worth = |entry: &Entry| match entry {
            Entry::Bad { at, .. } => (0, Some(*at)),
            Entry::Good { at, .. } => (1, Some(*at)),
            Entry::Underway { .. } => (2, None),
        };
        let least = self.entries.iter().min_by_key(|(_, entry)| worth(entry)).map(|(url, _)| url.clone());
        least.map(|url| self.entries.remove(&url));
    }
}

fn too_often() -> Unfetched {
    let why = format!("the source asked for more than {} new keys this minute", limits::FETCHES_PER_MINUTE);
    Unfetched { host: "not asked".into(), why }
}
