//! How what is being replaced is still used, so that operators know when the old may go: in memory, since the server started.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay_core::{hub::ConnId, limits, name::Name, time::Wall};

use relay_store::seam::DocumentKind;

use super::document::Rotation;

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

/// Uses of what is being replaced, and the sessions that a token's secrets let in.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    proved: BTreeMap<(DocumentKind, Name), (Wall, Both)>,
    sessions: BTreeMap<ConnId, (Name, [u8; 32])>,
    places: BTreeMap<Name, usize>,
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

    /// How the secrets were used in this rotation.
    pub(crate) fn of<T>(&self, kind: DocumentKind, name: &Name, rotation: &Rotation<T>) -> Both {
        let kept = self.lock();
        let found = kept.proved.get(&(kind, name.clone())).filter(|(since, _)| *since == rotation.since);
        found.map_or(Both::default(), |(_, both)| *both)
    }

    /// A session was let in with the secret of this digest; it is counted until what is returned is dropped.
    pub(crate) fn session(&self, conn: ConnId, token: &Name, digest: [u8; 32]) -> SessionOf<'_> {
        self.lock().sessions.insert(conn, (token.clone(), digest));
        SessionOf { uses: self, conn }
    }

    /// Open sessions that the secret of this digest let in.
    pub(crate) fn sessions_of(&self, token: &Name, digest: &[u8; 32]) -> usize {
        self.lock().sessions.values().filter(|(name, of)| name == token && of == digest).count()
    }

    /// A place among the sessions of a token, until what is returned is dropped; `None` where all are taken.
    pub(crate) fn place(self: &Arc<Self>, token: &Name) -> Option<Place> {
        let mut kept = self.lock();
        let taken = kept.places.entry(token.clone()).or_default();
        if *taken >= limits::SESSIONS_PER_TOKEN_MAX {
            return None;
        }
        *taken += 1;
        Some(Place { uses: Arc::clone(self), token: token.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is open.
pub(crate) struct SessionOf<'a> {
    uses: &'a Uses,
    conn: ConnId,
}

impl Drop for SessionOf<'_> {
    fn drop(&mut self) {
        self.uses.lock().sessions.remove(&self.conn);
    }
}

/// A place of a session among those of its token, from before its upgrade to its end, however it ends.
pub(crate) struct Place {
    uses: Arc<Uses>,
    token: Name,
}

impl Drop for Place {
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
        let mut places: Vec<Place> = std::iter::from_fn(|| uses.place(&office)).take(1_000).collect();
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
}
