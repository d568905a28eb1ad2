//! The memory that clients make their sessions keep: messages that are not whole yet, and what is not taken of what was said.
//!
//! Each session has [`limits::SESSION_OWN_BYTES`] to itself. What is beyond stands on one account of all sessions, and where that
//! is full the session ends that keeps most. Buffers that grew do not shrink while their session lives, so the most that one
//! ever had is what counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use relay_core::{hub::ConnId, limits};
use tokio::sync::Notify;

use crate::outbox::Pace;

/// Bytes of a pong beside its payload.
const PONG_HEAD_BYTES: u64 = 2;
/// Most that counts of what comes: a frame, and the fragments before it.
const COMING_BYTES_MAX: u64 = 2 * limits::MESSAGE_BYTES_MAX as u64;

/// What all sessions keep beyond their own.
#[derive(Debug)]
pub(super) struct Account {
    bound: u64,
    charged: Mutex<Charged>,
}

#[derive(Debug, Default)]
struct Charged {
    sum: u64,
    of: BTreeMap<ConnId, (u64, Arc<Way>)>,
}

/// How a session hears that it has to end.
#[derive(Debug, Default)]
struct Way {
    gone: AtomicBool,
    told: Notify,
}

/// One session's part. Dropped, it gives back what was on the account.
#[derive(Debug)]
pub(super) struct Share {
    account: Arc<Account>,
    conn: ConnId,
    pace: Arc<Pace>,
    way: Arc<Way>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Most bytes that had come of a message.
    coming: u64,
    /// Bytes that were given to the socket's buffer so far.
    given: u64,
    /// Most of them that were not taken.
    going: u64,
    pongs: Pongs,
    charged: u64,
}

/// Pongs that may not be taken yet: those since a moment that has been, and since the one before it.
#[derive(Debug, Default)]
struct Pongs {
    before: u64,
    since: u64,
    /// What was given by then. Once so much is taken, all of `before` is.
    until: u64,
}

impl Account {
    /// An empty one for so many bytes.
    pub(super) fn new(bound: u64) -> Arc<Self> {
        Arc::new(Self { bound, charged: Mutex::default() })
    }

    /// That of a session whose socket has this pace.
    pub(super) fn share(self: &Arc<Self>, conn: ConnId, pace: Arc<Pace>) -> Share {
        Share { account: Arc::clone(self), conn, pace, way: Arc::default(), kept: Mutex::default() }
    }

    /// A session keeps so much beyond its own. Whoever keeps most ends where that is too much, of equals the eldest.
    fn charge(&self, conn: ConnId, bytes: u64, way: &Arc<Way>) {
        let mut charged = self.lock();
        if way.gone.load(Ordering::Relaxed) {
            return;
        }
        charged.give_back(conn);
        charged.sum += bytes;
        charged.of.insert(conn, (bytes, Arc::clone(way)));
        while charged.sum > self.bound {
            let most = charged.of.iter().max_by_key(|(conn, (bytes, _))| (*bytes, std::cmp::Reverse(**conn)));
            let Some((conn, way)) = most.map(|(conn, (_, way))| (*conn, Arc::clone(way))) else { return };
            charged.give_back(conn);
            way.gone.store(true, Ordering::Relaxed);
            way.told.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Charged> {
        self.charged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Charged {
    fn give_back(&mut self, conn: ConnId) {
        if let Some((bytes, _)) = self.of.remove(&conn) {
            self.sum -= bytes;
        }
    }
}

impl Share {
    /// What the socket's peer took, and what came of it.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// So much has come of a message.
    pub(super) fn comes(&self, bytes: u64) {
        let mut kept = self.lock();
        kept.coming = kept.coming.max(bytes.min(COMING_BYTES_MAX));
        self.charge(&mut kept);
    }

    /// A message of so many bytes is about to be given to the socket's buffer.
    pub(super) fn gives(&self, bytes: usize) {
        let mut kept = self.lock();
        let head = if bytes < 126 {
            2
        } else if bytes < 65_536 {
            4
        } else {
            10
        };
        self.give(&mut kept, bytes as u64 + head);
    }

    /// A ping with so many bytes has come, and its pong goes out. Whether pongs are taken; if not, the session is to end.
    #[must_use]
    pub(super) fn answers(&self, payload: usize) -> bool {
        let mut kept = self.lock();
        let (bytes, taken) = (payload as u64 + PONG_HEAD_BYTES, self.pace.taken());
        self.give(&mut kept, bytes);
        let given = kept.given;
        let pongs = &mut kept.pongs;
        if taken >= pongs.until {
            (pongs.before, pongs.since, pongs.until) = (pongs.since, 0, given);
        }
        pongs.since += bytes;
        pongs.before + pongs.since <= limits::SESSION_PONGS_BYTES_MAX
    }

    /// Completes when the session has to end for others. Cancel-safe.
    pub(super) async fn gave_way(&self) {
        self.way.told.notified().await;
    }

    fn give(&self, kept: &mut Kept, bytes: u64) {
        kept.given += bytes;
        kept.going = kept.going.max(kept.given.saturating_sub(self.pace.taken()));
        self.charge(kept);
    }

    fn charge(&self, kept: &mut Kept) {
        let beyond = (kept.coming + kept.going).saturating_sub(limits::SESSION_OWN_BYTES);
        if beyond > kept.charged {
            kept.charged = beyond;
            self.account.charge(self.conn, beyond, &self.way);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.lock().give_back(self.conn);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn share(account: &Arc<Account>, conn: u64) -> Share {
        account.share(ConnId(conn), Arc::default())
    }

    /// S11: who keeps most ends, the eldest of equals; what a session has to itself is on nobody's account.
    #[test]
    fn whoever_keeps_most_gives_way() {
        let account = Account::new(3 * MIB);
        let shares: Vec<_> = (0..4).map(|conn| share(&account, conn)).collect();
        for _ in 0..100 {
            shares[0].comes(limits::SESSION_OWN_BYTES);
        }
        assert_eq!(account.lock().sum, 0);
        for share in &shares[1..] {
            share.comes(limits::SESSION_OWN_BYTES + MIB);
        }
        assert_eq!(account.lock().sum, 3 * MIB);
        shares[0].gives(70_000);
        assert!(account.lock().sum <= 3 * MIB);
        let ends: Vec<_> = shares.iter().map(|share| share.gave_way().now_or_never().is_some()).collect();
        assert_eq!(ends, [false, true, false, false]);
        shares[1].comes(2 * MIB);
        assert!(account.lock().of.len() == 3, "who ends is charged no more");
        drop(shares);
        assert_eq!(account.lock().sum, 0);
    }
}
