//! Keys and certificates that were fetched, for as long as they hold.
//!
//! Strangers name the URLs (below hosts that their provider pins), so everything is bounded: how many are kept, how often a
//! source, and an address, makes the relay fetch one it never saw and that is not there, and how soon one that failed is tried
//! again. Good ones are kept in the store, so that nobody can use a restart.
//!
//! Behind a proxy on this machine nobody has an address, and what a stranger makes up looks like the next key of the platform.
//! So what may be fetched comes back bit by bit, each time after a while that nobody can foretell, and not all at once for whoever
//! is there first. The platform, whose webhooks keep coming, is then first in its part of all who ask: to keep a new key away,
//! strangers have to ask many times as often as it, for as long as it does.

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
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use relay_core::{limits, name::Name, time::Mono};
use relay_net::origin::{Address, Network};
use relay_store::seam::Registry;
use tokio::sync::OnceCell;

use super::{Fetcher, Unfetched, shelf::KeyShelf};
use crate::clock::Clock;

/// The span in which all that may be fetched comes back.
const MINUTE: Duration = Duration::from_mins(1);
/// The longest pause until something may be fetched again, in mean ones.
const PAUSE_MAX: f64 = 5.0;

type Fetch = BoxFuture<'static, Result<Bytes, Unfetched>>;

/// What was fetched, by URL.
#[derive(Debug)]
pub(crate) struct Keyring {
    fetcher: Fetcher,
    clock: Clock,
    shelf: KeyShelf,
    loaded: OnceCell<()>,
    pub(super) kept: Mutex<Kept>,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) rng: StdRng,
    asked: BTreeMap<Name, Asked>,
    /// When what is kept was last asked for again.
    renewed: BTreeMap<String, Mono>,
}

/// What is left of the fetches that one source may cause and that come to nothing.
#[derive(Debug, Default)]
struct Asked {
    all: Allowance,
    by: BTreeMap<Network, Allowance>,
    /// Beside a good key.
    reserve: Allowance,
    reserve_by: BTreeMap<Network, Allowance>,
}

/// So many at once, and so many in a minute.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    spent: u32,
    /// When the next one of them is back.
    next_at: Mono,
}

impl Allowance {
    /// Has back what time has brought back.
    fn look(&mut self, most: u32, now: Mono, rng: &mut StdRng) {
        while self.spent > 0 && self.next_at <= now {
            self.spent -= 1;
            self.next_at = self.next_at + pause(most, rng);
        }
    }

    fn spend(&mut self, most: u32, now: Mono, rng: &mut StdRng) {
        if self.spent == 0 {
            self.next_at = now + pause(most, rng);
        }
        self.spent += 1;
    }

    fn give_back(&mut self) {
        self.spent = self.spent.saturating_sub(1);
    }
}

/// Until the next of so many in a minute: whoever has waited for it knows no better than at the start.
fn pause(most: u32, rng: &mut StdRng) -> Duration {
    let mean = MINUTE / most;
    mean.mul_f64((-(1.0 - rng.random::<f64>()).ln()).min(PAUSE_MAX))
}

/// Who has paid for a fetch, and from what.
#[derive(Clone, Debug)]
struct Charge {
    source: Name,
    asker: Address,
    from_reserve: bool,
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
        let (shelf, loaded) = (KeyShelf::new(store), OnceCell::new());
        let rng = StdRng::from_rng(&mut rand::rng());
        let kept = Kept { entries: BTreeMap::new(), rng, asked: BTreeMap::new(), renewed: BTreeMap::new() };
        Arc::new(Self { fetcher, clock, shelf, loaded, kept: Mutex::new(kept) })
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
        let charge = self.lock().charge(source, asker, url, self.clock.now().mono).ok_or_else(too_often)?;
        let visited = self.fetcher.get(url).await.map(drop);
        if costs_nothing(visited.as_ref().err()) {
            self.lock().give_back(&charge);
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
        let charge = if was_good { None } else { kept.charge(source, asker, url, now) };
        if !was_good && charge.is_none() {
            return Look::Answer(Err(too_often()));
        }
        kept.make_room(url);
        let fetch = Arc::clone(self).fetch(url.to_owned(), charge, now).boxed().shared();
        if let Some(fetch) = fetch.downgrade() {
            kept.entries.insert(url.to_owned(), Entry::Underway { fetch, was_good });
        }
        Look::Wait(fetch)
    }

    async fn fetch(self: Arc<Self>, url: String, charge: Option<Charge>, at: Mono) -> Result<Bytes, Unfetched> {
        let fetched = self.fetcher.get(&url).await;
        let entry = match &fetched {
            Ok(body) => Some(Entry::Good { body: body.clone(), until: at + limits::KEY_KEPT }),
            Err(why) if why.is_ours => None,
            Err(why) => Some(Entry::Bad { why: why.clone(), at }),
        };
        {
            let mut kept = self.lock();
            // Else the next one who asks finds that nobody fetches it any more.
            if let Some(entry) = entry {
                kept.entries.insert(url.clone(), entry);
            }
            if let Some(charge) = charge.filter(|_| costs_nothing(fetched.as_ref().err())) {
                kept.give_back(&charge);
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
    /// Charges a fetch to the source and to whoever asks, if they may cause one more. Behind a proxy on this machine everybody has
    /// its address, which is of no network.
    fn charge(&mut self, source: &Name, asker: Address, url: &str, now: Mono) -> Option<Charge> {
        let may_be_good = self.is_like_a_good_one(url);
        let rng = &mut self.rng;
        self.asked.retain(|_, asked| asked.look(now, rng));
        let asked = self.asked.entry(source.clone()).or_default();
        let is_left = |by: &BTreeMap<Network, Allowance>, most: u32| {
            asker.networks().all(|network| by.get(&network).is_none_or(|own| own.spent < share(network, most)))
        };
        let from_reserve = asked.all.spent >= limits::FETCHES_PER_MINUTE;
        let may_from_reserve = may_be_good
            && asked.reserve.spent < limits::FETCHES_RESERVE
            && is_left(&asked.reserve_by, limits::FETCHES_RESERVE_PER_NETWORK);
        if !is_left(&asked.by, limits::FETCHES_PER_ADDRESS) || from_reserve && !may_from_reserve {
            return None;
        }
        asked.change(asker, from_reserve, |allowance, most| allowance.spend(most, now, rng));
        Some(Charge { source: source.clone(), asker, from_reserve })
    }

    /// Whether what is kept of `url` may be asked for again.
    fn may_renew(&mut self, url: &str, now: Mono) -> bool {
        self.renewed.retain(|_, at| now.since(*at) < limits::KEY_RENEWED_AFTER);
        let is_kept = matches!(self.entries.get(url), Some(Entry::Good { .. }));
        is_kept && self.renewed.len() < limits::KEYS_MAX && self.renewed.insert(url.to_owned(), now).is_none()
    }

    /// It costs nobody anything.
    fn give_back(&mut self, charge: &Charge) {
        if let Some(asked) = self.asked.get_mut(&charge.source) {
            asked.change(charge.asker, charge.from_reserve, |allowance, _| allowance.give_back());
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

impl Asked {
    /// Has back what time has brought back; whether anything is still spent.
    fn look(&mut self, now: Mono, rng: &mut StdRng) -> bool {
        self.all.look(limits::FETCHES_PER_MINUTE, now, rng);
        self.reserve.look(limits::FETCHES_RESERVE, now, rng);
        let by =
            [(&mut self.by, limits::FETCHES_PER_ADDRESS), (&mut self.reserve_by, limits::FETCHES_RESERVE_PER_NETWORK)];
        for (by, most) in by {
            by.retain(|network, own| {
                own.look(share(*network, most), now, rng);
                own.spent > 0
            });
        }
        self.all.spent > 0 || self.reserve.spent > 0 || !self.by.is_empty() || !self.reserve_by.is_empty()
    }

    /// Changes all that a fetch is charged to.
    fn change(&mut self, asker: Address, from_reserve: bool, mut change: impl FnMut(&mut Allowance, u32)) {
        if from_reserve {
            change(&mut self.reserve, limits::FETCHES_RESERVE);
        } else {
            change(&mut self.all, limits::FETCHES_PER_MINUTE);
        }
        for network in asker.networks() {
            change(self.by.entry(network).or_default(), share(network, limits::FETCHES_PER_ADDRESS));
            if from_reserve {
                let most = share(network, limits::FETCHES_RESERVE_PER_NETWORK);
                change(self.reserve_by.entry(network).or_default(), most);
            }
        }
    }
}

/// What a network may have of what one address may.
const fn share(network: Network, most: u32) -> u32 {
    if network.is_wider() { most * relay_net::limits::WIDER_NETWORK_SHARES as u32 } else { most }
}

/// What was there is no invention, and what this machine had no means for is nobody's.
fn costs_nothing(failed: Option<&Unfetched>) -> bool {
    failed.is_none_or(|failed| failed.is_ours)
}

fn too_often() -> Unfetched {
    let why = format!(
        "more than {} keys a minute that are not there were asked for by one address, or {} at this source",
        limits::FETCHES_PER_ADDRESS,
        limits::FETCHES_PER_MINUTE
    );
    Unfetched { host: "not asked".into(), why, is_ours: false, status: None }
}
