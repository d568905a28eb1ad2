//! When keys and tokens were last used, and how what is being replaced still is, so that operators know what may go: in memory, since the
//! server started.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::{limits, name::Name, time::Wall};
use relay_store::seam::DocumentKind;

use crate::document::Rotation;

/// What proved a request or let a client in, of two that are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// What was there before.
    Old,
    /// What is to replace it.
    New,
}

/// How often it proved somebody, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Option<Wall>,
}

/// The old one and the new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Both {
    /// What was there before.
    pub old: Use,
    /// What is to replace it.
    pub new: Use,
}

/// What is used so often is written down no more often.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Uses of keys, of tokens and of what is being replaced, and the places of tokens' sessions.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    kept: Mutex<Kept>,
    /// By source and key: each webhook at a key source looks here.
    keys: Mutex<BTreeMap<Name, BTreeMap<Arc<str>, Wall>>>,
}

#[derive(Debug, Default)]
struct Kept {
    proved: BTreeMap<(DocumentKind, Name), (Wall, Both)>,
    places: BTreeMap<Name, usize>,
    tokens: BTreeMap<Name, Wall>,
}

impl Uses {
    /// A request to a source, or a client of a token, was proved; what proves it is being replaced since then.
    pub(crate) fn proved(&self, kind: DocumentKind, name: &Name, since: Wall, by: Proof, at: Wall) {
        let mut kept = self.lock();
        let (known_since, both) = kept.proved.entry((kind, name.clone())).or_insert((since, Both::default()));
        if *known_since != since {
            (*known_since, *both) = (since, Both::default());
        }
        let used = match by {
            Proof::Old => &mut both.old,
            Proof::New => &mut both.new,
        };
        used.count += 1;
        used.last = used.last.max(Some(at));
    }

    /// A key proved a webhook of a source.
    pub(crate) fn key(&self, source: &Name, key: &Arc<str>, at: Wall) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get_mut(source).and_then(|keys| keys.get_mut(key)) {
            Some(last) if at.since(*last) < NOTED_EVERY => {}
            Some(last) => *last = at,
            None => drop(keys.entry(source.clone()).or_default().insert(Arc::clone(key), at)),
        }
    }

    /// When it last did.
    pub(crate) fn key_used(&self, source: &Name, key: &str) -> Option<Wall> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(source)?.get(key).copied()
    }

    /// A token let a client in, or one that it let in went.
    pub(crate) fn token(&self, token: &Name, at: Wall) {
        self.lock().tokens.insert(token.clone(), at);
    }

    /// When that last was.
    pub(crate) fn token_used(&self, token: &Name) -> Option<Wall> {
        self.lock().tokens.get(token).copied()
    }

    /// How the secrets were used in this rotation.
    pub(crate) fn of<T>(&self, kind: DocumentKind, name: &Name, rotation: &Rotation<T>) -> Both {
        let kept = self.lock();
        let found = kept.proved.get(&(kind, name.clone())).filter(|(since, _)| *since == rotation.since);
        found.map_or(Both::default(), |(_, both)| *both)
    }

    /// Forgets what is not being replaced any more.
    pub(super) fn keep(&self, goes_on: impl Fn(DocumentKind, &Name, Wall) -> bool) {
        self.lock().proved.retain(|(kind, name), (since, _)| goes_on(*kind, name, *since));
    }

    /// A place among the sessions of a token, until what is returned is dropped; `None` where all are taken.
    pub(crate) fn place(self: &Arc<Self>, token: &Name) -> Option<TokenUse> {
        let mut kept = self.lock();
        let taken = kept.places.entry(token.clone()).or_default();
        if *taken >= limits::SESSIONS_PER_TOKEN_MAX {
            return None;
        }
        *taken += 1;
        Some(TokenUse { uses: Arc::clone(self), token: token.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place of a session among those of its token, from before its upgrade to its end, however it ends.
pub(crate) struct TokenUse {
    uses: Arc<Uses>,
    token: Name,
}

impl Drop for TokenUse {
    fn drop(&mut self) {
        let mut kept = self.uses.lock();
        let Some(taken) = kept.places.get_mut(&self.token) else { return };
        *taken -= 1;
        if *taken == 0 {
            kept.places.remove(&self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S11: what a token may have open is counted by the token, given back at each end, and nothing of it stays.
    #[test]
    fn a_token_has_so_many_places() {
        let (uses, office, home) = (Arc::new(Uses::default()), "office".parse().unwrap(), "home".parse().unwrap());
        let mut places: Vec<TokenUse> = std::iter::from_fn(|| uses.place(&office)).take(1_000).collect();
        assert_eq!(places.len(), limits::SESSIONS_PER_TOKEN_MAX);
        assert!(uses.place(&home).is_some(), "another token has its own");
        let last = places.pop();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _place = last;
            panic!("a bug")
        }));
        assert!(panicked.is_err());
        places.extend(uses.place(&office));
        assert_eq!(places.len(), limits::SESSIONS_PER_TOKEN_MAX, "a panic gives its place back");
        drop(places);
        assert!(uses.lock().places.is_empty());
    }

    /// Each webhook says so, and one a second is written down.
    #[test]
    fn a_key_says_when_it_was_last_used() {
        let (uses, shop): (Uses, Name) = (Uses::default(), "shop".parse().unwrap());
        let (key, at) = (Arc::from("berlin"), |millis: i64| Wall::from_micros(1_700_000_000_000_000 + millis * 1_000));
        assert_eq!(uses.key_used(&shop, "berlin"), None);
        for (millis, noted) in [(0, 0), (999, 0), (1_000, 1_000), (500, 1_000)] {
            uses.key(&shop, &key, at(millis));
            assert_eq!(uses.key_used(&shop, "berlin"), Some(at(noted)), "{millis}");
        }
        assert_eq!(uses.key_used(&shop, "paris"), None);
    }

    /// What is not being replaced any more takes no room, and one that is keeps its count.
    #[test]
    fn uses_go_with_what_they_are_of() {
        let (uses, shop): (Uses, Name) = (Uses::default(), "shop".parse().unwrap());
        let (since, later) = (Wall::from_micros(5), Wall::from_micros(9));
        let rotation = Rotation { old: (), since, until: None };
        uses.proved(DocumentKind::Source, &shop, since, Proof::Old, later);
        uses.keep(|kind, name, began| kind == DocumentKind::Source && *name == shop && began == since);
        assert_eq!(uses.of(DocumentKind::Source, &shop, &rotation).old, Use { count: 1, last: Some(later) });
        uses.keep(|_, _, began| began == later);
        assert!(uses.lock().proved.is_empty());
    }
}
