//! Keys and certificates that were fetched, for as long as they hold.
//!
//! Strangers name the URLs (below hosts that their provider pins), so everything is bounded: how many are kept, how often a
//! source, and an address, makes the relay fetch one it never saw and that is not there, and how soon one that failed is tried
//! again. Good ones are kept in the store, so that nobody can use a restart.

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
use relay_net::origin::{Address, Network};
use relay_store::seam::Registry;
use tokio::sync::OnceCell;

use super::{Fetcher, Unfetched, shelf::Shelf};
use crate::clock::Clock;

/// The span that fetches of a source are counted in.
const MINUTE: Duration = Duration::from_mins(1);

type Fetch = BoxFuture<'static, Result<Bytes, Unfetched>>;

/// What was fetched, by URL.
#[derive(Debug)]
pub(crate) struct Keyring {
    fetcher: Fetcher,
    clock: Clock,
    shelf: Shelf,
    loaded: OnceCell<()>,
    pub(super) kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) entries: BTreeMap<String, Entry>,
    asked: BTreeMap<Name, Asked>,
    /// When what is kept was last asked for again.
    renewed: BTreeMap<String, Mono>,
}

/// Fetches of one source within a minute that are under way or came to nothing.
#[derive(Debug)]
struct Asked {
    since: Mono,
    all: u32,
    by: BTreeMap<Network, u32>,
    /// Of the reserve beside a good key.
    reserve_by: BTreeMap<Network, u32>,
}

#[derive(Debug)]
pub(super) enum Entry {
    /// Somebody fetches it; whoever wants it too waits for the same answer. Given up when nobody waits any more.
    Underway { fetch: WeakShared<Fetch>, was_good: bool },
    /// It was there, and is believed for so long.
    Good { body: Bytes, until: Mono },
    /// It was not.
    Bad { why: Unfetched, at: Mono },
}

impl Keyring {
    /// One that knows what is in the store.
    pub(crate) fn new(fetcher: Fetcher, clock: Clock, store: Arc<dyn Registry>) -> Arc<Self> {
        let (shelf, loaded) = (Shelf::new(store), OnceCell::new());
        Arc::new(Self { fetcher, clock, shelf, loaded, kept: Mutex::default() })
    }

    /// What is at `url`: as it was fetched within the last day, or as it is now. Whoever wants it is charged for what is not
    /// there.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub(crate) async fn key(self: &Arc<Self>, source: &Name, asker: Address, url: &str) -> Result<Bytes, Unfetched> {
        self.loaded.get_or_init(|| self.load()).await;
        self.key_at(source, asker, url, self.clock.now().mono).await
    }

    pub(super) async fn key_at(
        self: &Arc<Self>,
        source: &Name,
        asker: Address,
        url: &str,
        now: Mono,
    ) -> Result<Bytes, Unfetched> {
        match self.look(source, asker, url, now) {
            Look::Answer(answer) => answer,
            Look::Wait(fetch) => fetch.await,
        }
    }

    /// What is at `url` now, where it is something else than `known`: a platform that changes its keys signs with new ones
    /// before a day is over. What is kept stays if it cannot be fetched.
    pub(crate) async fn renewed(self: &Arc<Self>, source: &Name, url: &str, known: &Bytes) -> Option<Bytes> {
        let now = self.clock.now().mono;
        {
            let mut kept = self.lock();
            if let Some(Entry::Good { body, .. }) = kept.entries.get(url)
                && body != known
            {
                return Some(body.clone());
            }
            if !kept.may_renew(url, now) {
                return None;
            }
        }
        let body = self.fetcher.get(url).await.ok().filter(|body| body != known)?;
        self.lock().entries.insert(url.to_owned(), Entry::Good { body: body.clone(), until: now + limits::KEY_KEPT });
        tracing::info!(event = "keys_renewed", %source, "a platform has new keys");
        self.keep(url, &body).await;
        Some(body)
    }

    /// Fetches `url` now, for what it does there.
    ///
    /// # Errors
    /// Why it could not.
    pub(crate) async fn visit(&self, source: &Name, asker: Address, url: &str) -> Result<(), Unfetched> {
        if !self.lock().may_ask(source, asker, url, self.clock.now().mono) {
            return Err(too_often());
        }
        let visited = self.fetcher.get(url).await.map(drop);
        if visited.is_ok() {
            self.lock().give_back(source, asker);
        }
        visited
    }

    /// Takes over what earlier runs fetched. A store that does not tell is no reason to refuse anybody: all is fetched anew.
    async fn load(&self) {
        let now = self.clock.now();
        match self.shelf.all(now.wall).await {
            Ok(found) => {
                let mut kept = self.lock();
                for found in found {
                    let until = now.mono + limits::KEY_KEPT.saturating_sub(found.age);
                    kept.entries.entry(found.url).or_insert(Entry::Good { body: found.body, until });
                }
            }
            Err(error) => tracing::debug!(%error, "fetched keys could not be read from the store"),
        }
    }

    fn look(self: &Arc<Self>, source: &Name, asker: Address, url: &str, now: Mono) -> Look {
        let mut kept = self.lock();
        let was_good = match kept.entries.get(url) {
            Some(Entry::Good { body, until }) if now < *until => {
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
        if !was_good && !kept.may_ask(source, asker, url, now) {
            return Look::Answer(Err(too_often()));
        }
        kept.make_room(url);
        let charged = (!was_good).then(|| (source.clone(), asker));
        let fetch = Arc::clone(self).fetch(url.to_owned(), charged, now).boxed().shared();
        if let Some(fetch) = fetch.downgrade() {
            kept.entries.insert(url.to_owned(), Entry::Underway { fetch, was_good });
        }
        Look::Wait(fetch)
    }

    async fn fetch(
        self: Arc<Self>,
        url: String,
        charged: Option<(Name, Address)>,
        at: Mono,
    ) -> Result<Bytes, Unfetched> {
        let fetched = self.fetcher.get(&url).await;
        let entry = match &fetched {
            Ok(body) => Entry::Good { body: body.clone(), until: at + limits::KEY_KEPT },
            Err(why) => Entry::Bad { why: why.clone(), at },
        };
        {
            let mut kept = self.lock();
            kept.entries.insert(url.clone(), entry);
            if let Some((source, asker)) = charged.filter(|_| fetched.is_ok()) {
                kept.give_back(&source, asker);
            }
        }
        if let Ok(body) = &fetched {
            self.keep(&url, body).await;
        }
        fetched
    }

    async fn keep(&self, url: &str, body: &Bytes) {
        if let Err(error) = self.shelf.keep(url, body, self.clock.wall()).await {
            tracing::debug!(%error, "a fetched key could not be kept in the store");
        }
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
    /// Charges a fetch to the source and to whoever asks, if they may cause one more.
    fn may_ask(&mut self, source: &Name, asker: Address, url: &str, now: Mono) -> bool {
        self.asked.retain(|_, asked| now.since(asked.since) < MINUTE);
        let reserve = if self.is_like_a_good_one(url) { limits::FETCHES_RESERVE } else { 0 };
        let fresh = || Asked { since: now, all: 0, by: BTreeMap::new(), reserve_by: BTreeMap::new() };
        let asked = self.asked.entry(source.clone()).or_insert_with(fresh);
        let is_in_reserve = asked.all >= limits::FETCHES_PER_MINUTE;
        let spent = |by: &BTreeMap<Network, u32>, most: u32| {
            let share = |network: Network| {
                if network.is_wider() { most * relay_net::limits::WIDER_NETWORK_SHARES as u32 } else { most }
            };
            // Behind a proxy on this machine everybody has its address, and it is of no network.
            asker.networks().any(|network| by.get(&network).is_some_and(|own| *own >= share(network)))
        };
        if spent(&asked.by, limits::FETCHES_PER_ADDRESS)
            || is_in_reserve && spent(&asked.reserve_by, limits::FETCHES_RESERVE_PER_NETWORK)
            || asked.all >= limits::FETCHES_PER_MINUTE + reserve
        {
            return false;
        }
        asked.all += 1;
        for network in asker.networks() {
            *asked.by.entry(network).or_default() += 1;
            if is_in_reserve {
                *asked.reserve_by.entry(network).or_default() += 1;
            }
        }
        true
    }

    /// Whether what is kept of `url` may be asked for again.
    fn may_renew(&mut self, url: &str, now: Mono) -> bool {
        self.renewed.retain(|_, at| now.since(*at) < limits::KEY_RENEWED_AFTER);
        let is_kept = matches!(self.entries.get(url), Some(Entry::Good { .. }));
        is_kept && self.renewed.len() < limits::KEYS_MAX && self.renewed.insert(url.to_owned(), now).is_none()
    }

    /// What was there is no invention: it costs nobody anything.
    fn give_back(&mut self, source: &Name, asker: Address) {
        if let Some(asked) = self.asked.get_mut(source) {
            let was_in_reserve = asked.all > limits::FETCHES_PER_MINUTE;
            asked.all = asked.all.saturating_sub(1);
            for network in asker.networks() {
                let reserve = was_in_reserve.then_some(&mut asked.reserve_by);
                for by in [Some(&mut asked.by), reserve].into_iter().flatten() {
                    if let Some(own) = by.get_mut(&network) {
                        *own = own.saturating_sub(1);
                    }
                }
            }
        }
    }

    /// Whether something beside it, at the same host and in the same folder, was there.
    fn is_like_a_good_one(&self, url: &str) -> bool {
        let folder = |url: &str| url.rfind('/').map(|at| url[..at].to_owned());
        let wanted = folder(url);
        let was_good = |entry: &Entry| matches!(entry, Entry::Good { .. } | Entry::Underway { was_good: true, .. });
        wanted.is_some() && self.entries.iter().any(|(known, entry)| was_good(entry) && folder(known) == wanted)
    }

    /// Forgets one that is worth least if there are too many: a failure, then the oldest.
    fn make_room(&mut self, url: &str) {
        if self.entries.len() < limits::KEYS_MAX || self.entries.contains_key(url) {
            return;
        }
        let worth = |entry: &Entry| match entry {
            Entry::Bad { at, .. } => (0, Some(*at)),
            Entry::Good { until, .. } => (1, Some(*until)),
            Entry::Underway { .. } => (2, None),
        };
        let least = self.entries.iter().min_by_key(|(_, entry)| worth(entry)).map(|(url, _)| url.clone());
        least.map(|url| self.entries.remove(&url));
    }
}

fn too_often() -> Unfetched {
    let why = format!(
        "more than {} keys a minute that are not there were asked for by one address, or {} at this source",
        limits::FETCHES_PER_ADDRESS,
        limits::FETCHES_PER_MINUTE
    );
    Unfetched { host: "not asked".into(), why }
}
