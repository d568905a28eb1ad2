//! The follower of the registry: it compares each snapshot with the one before it and tells the hub, the sessions and the
//! sweeps what follows, whoever made the change.
//!
//! Whoever looks something up (the door, the admin API, health) reads the present snapshot and needs no telling.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use relay_core::{name::Name, time::Wall};
use relay_store::seam::DocumentKind;
use tokio::sync::{Mutex, watch};

use super::{
    sessions::{SecretOf, Sessions},
    uses::Uses,
};
use crate::{
    clock::Clock,
    directory::Directory,
    document::Token,
    hub::{Followed, Handle},
};

/// Tells of changes those who keep something of the registry.
pub(super) struct Follower {
    /// Set once the server has one.
    hub: OnceLock<Handle>,
    /// By what let them in.
    sessions: Arc<Sessions>,
    /// How what is being replaced is used.
    uses: Arc<Uses>,
    /// What all of them know. One who was told half of something is told all of it again.
    told: Mutex<Told>,
    /// Goes on with every new snapshot, for those who look when something in it is over.
    sweeps: watch::Sender<()>,
}

/// A snapshot, and when it was looked at: some of it ends by the time.
#[derive(Default)]
struct Told {
    directory: Arc<Directory>,
    at: Wall,
}

/// What follows from a change.
#[derive(Debug, Default, PartialEq)]
struct Follows {
    hub: Followed,
    /// Secrets of tokens that let nobody in any more, while the token does.
    replaced: Vec<SecretOf>,
}

impl Follower {
    pub(super) fn new(sessions: Arc<Sessions>, uses: Arc<Uses>) -> Self {
        Self { hub: OnceLock::new(), sessions, uses, told: Mutex::default(), sweeps: watch::Sender::new(()) }
    }

    /// From now on this hub is told, which begins with what was told last.
    pub(super) fn tell(&self, hub: Handle) {
        // A registry has one hub.
        let _ = self.hub.set(hub);
    }

    /// Tells of every new snapshot.
    pub(super) fn sweeps(&self) -> watch::Receiver<()> {
        self.sweeps.subscribe()
    }

    /// Tells all what follows from the present snapshot, and from the time that has passed; completes when they have it (F16).
    ///
    /// Cancel safety: what was not told to its end is told again.
    pub(super) async fn follow(&self, present: &ArcSwap<Directory>, clock: &Clock) {
        let mut told = self.told.lock().await;
        // Looked at in its turn: an older one must not come behind a newer one.
        let next = Told { directory: present.load_full(), at: clock.wall() };
        let Follows { hub, replaced } = Follows::between(&told, &next);
        if let Some(handle) = self.hub.get().filter(|_| hub != Followed::default()) {
            handle.follow(hub).await;
        }
        self.sessions.end(&replaced);
        let is_new = !Arc::ptr_eq(&told.directory, &next.directory);
        *told = next;
        if is_new {
            self.uses.keep(|kind, name, since| is_under_way(&told.directory, kind, name, since));
            self.sweeps.send_modify(|()| {});
        }
    }
}

impl Follows {
    fn between(before: &Told, now: &Told) -> Self {
        let (old, new) = (&before.directory.routing, &now.directory.routing);
        let routing = (!Arc::ptr_eq(old, new) && old != new).then(|| Arc::clone(new));
        let woken = old.paused.difference(&new.paused).cloned().collect();
        let mut follows = Self { hub: Followed { routing, woken, ..Followed::default() }, replaced: Vec::new() };
        for (name, entry) in &before.directory.tokens {
            let present = now.directory.tokens.get(name).map(|entry| &entry.document);
            follows.of_token((&entry.document, before.at), (present, now.at));
        }
        follows
    }

    fn of_token(&mut self, (before, then): (&Token, Wall), (present, now): (Option<&Token>, Wall)) {
        let was_valid: Vec<&[u8; 32]> = before.digests(then).collect();
        if was_valid.is_empty() {
            return;
        }
        let Some(present) = present.filter(|token| token.revoked_at.is_none() && token.serves() == before.serves())
        else {
            return self.hub.revoked.push(before.name.clone());
        };
        let valid: BTreeSet<&[u8; 32]> = present.digests(now).collect();
        let gone = was_valid.into_iter().filter(|digest| !valid.contains(digest));
        self.replaced.extend(gone.map(|digest| (before.name.clone(), *digest)));
    }
}

/// Whether the rotation that began then goes on.
fn is_under_way(directory: &Directory, kind: DocumentKind, name: &Name, since: Wall) -> bool {
    let of_source = || Some(directory.sources.get(name)?.document.rotation.as_ref()?.since);
    let of_token = || Some(directory.tokens.get(name)?.document.rotation.as_ref()?.since);
    since == (if kind == DocumentKind::Source { of_source() } else { of_token() }).unwrap_or(Wall::MAX)
}

#[cfg(test)]
mod tests;
