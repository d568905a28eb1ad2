//! All users and all sessions that stand, for whoever lists them.
//!
//! **Invariant:** however many look, they are read once a second at most, by one at a time. What this server wrote since is in it;
//! what another wrote may be a second late. Nobody is let in by it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::{
    name::Name,
    time::{Mono, Wall},
};
use relay_store::seam::DocumentKind;

use super::{
    Kept, People,
    document::{Entry, SignIn, User},
    present::{handle, is_over},
};
use crate::registry::RegistryError;

/// How old a look that is shared may be.
const FRESH: Duration = Duration::from_secs(1);

/// All users, and their sessions that stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Everybody {
    /// By name.
    pub(crate) users: Vec<User>,
    /// By whose they are, as the audit log calls him; the latest used first.
    sessions: BTreeMap<String, Vec<SessionSeen>>,
}

/// One of somebody's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionSeen {
    pub(crate) began_at: Wall,
    pub(crate) used_at: Wall,
    pub(crate) peer: String,
    pub(crate) agent: String,
    /// Of its document.
    pub(super) id: String,
}

/// The latest look.
#[derive(Debug, Default)]
pub(super) struct Shared {
    look: tokio::sync::Mutex<Option<Look>>,
    /// Goes up with everything that this server writes.
    written: AtomicU64,
}

#[derive(Debug)]
struct Look {
    at: Mono,
    /// What had been written when it began.
    written: u64,
    everybody: Arc<Everybody>,
}

impl SessionSeen {
    /// What it is called by whoever ends it; it opens nothing.
    pub(crate) fn handle(&self) -> &str {
        handle(&self.id)
    }
}

impl Everybody {
    /// Those of one holder, by the name that the audit log calls him.
    pub(crate) fn sessions_of(&self, holder: &str) -> &[SessionSeen] {
        self.sessions.get(holder).map_or(&[], Vec::as_slice)
    }

    /// How many a user has.
    pub(crate) fn open(&self, user: &User) -> u64 {
        self.sessions_of(&user.holder().name).len() as u64
    }
}

impl Shared {
    /// Something is another: the next look is a fresh one.
    pub(super) fn forget(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }
}

impl People {
    /// All users and sessions, as they were a second ago at most.
    ///
    /// # Errors
    /// The store does not tell.
    pub(crate) async fn everybody(&self) -> Result<Arc<Everybody>, RegistryError> {
        let mut look = self.shared.look.lock().await;
        let (written, at) = (self.shared.written.load(Ordering::Relaxed), self.clock.now().mono);
        if let Some(look) = &*look
            && look.written == written
            && at.since(look.at) < FRESH
        {
            return Ok(Arc::clone(&look.everybody));
        }
        let everybody = Arc::new(self.look_at_everybody().await?);
        *look = Some(Look { at, written, everybody: Arc::clone(&everybody) });
        Ok(everybody)
    }

    async fn look_at_everybody(&self) -> Result<Everybody, RegistryError> {
        let users = self.users().await?;
        let by_name: BTreeMap<&Name, &User> = users.iter().map(|user| (&user.name, user)).collect();
        let now = self.clock.wall();
        let mut sessions: BTreeMap<String, Vec<SessionSeen>> = BTreeMap::new();
        for (id, Kept { document, .. }) in self.all::<Entry>(DocumentKind::Session).await? {
            if is_over(&document, now) {
                continue;
            }
            let Entry::SignIn(session) = document else { continue };
            let user = session.holder.user().and_then(|name| by_name.get(&name).copied());
            if session.holder.stands(user, self.of_token) {
                let SignIn { began_at, used_at, peer, agent, holder, .. } = session;
                let seen = SessionSeen { began_at, used_at, peer, agent, id };
                sessions.entry(holder.name).or_default().push(seen);
            }
        }
        for his in sessions.values_mut() {
            his.sort_by_key(|session| std::cmp::Reverse(session.used_at));
        }
        Ok(Everybody { users, sessions })
    }
}
