//! Sessions that are open, by the secret that let each of them in: they end with it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use relay_core::{hub::ConnId, name::Name};
use tokio::sync::oneshot;

/// SHA-256 of a secret of a token.
pub(crate) type SecretOf = (Name, [u8; 32]);

/// The sessions of all tokens.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<ConnId, Entry>>);

#[derive(Debug)]
struct Entry {
    secret: SecretOf,
    /// Taken once it was told to end.
    end: Option<oneshot::Sender<()>>,
}

/// A session that is open, until this is dropped.
pub(crate) struct Open<'a> {
    sessions: &'a Sessions,
    conn: ConnId,
    end: oneshot::Receiver<()>,
}

impl Sessions {
    /// A session that this secret let in. Whoever opens one looks at the registry afterwards: what was replaced before is told
    /// to nobody.
    pub(crate) fn open(&self, conn: ConnId, token: &Name, digest: [u8; 32]) -> Open<'_> {
        let (end, ended) = oneshot::channel();
        self.lock().insert(conn, Entry { secret: (token.clone(), digest), end: Some(end) });
        Open { sessions: self, conn, end: ended }
    }

    /// Whether a token has let any in.
    pub(crate) fn has(&self, token: &Name) -> bool {
        self.lock().values().any(|entry| entry.secret.0 == *token)
    }

    /// How many a secret let in.
    pub(crate) fn count(&self, token: &Name, digest: &[u8; 32]) -> usize {
        self.lock().values().filter(|entry| entry.secret.0 == *token && entry.secret.1 == *digest).count()
    }

    /// Ends those that one of these secrets let in.
    pub(super) fn end(&self, replaced: &[SecretOf]) {
        if replaced.is_empty() {
            return;
        }
        for entry in self.lock().values_mut().filter(|entry| replaced.contains(&entry.secret)) {
            if let Some(end) = entry.end.take() {
                // It may have ended by itself.
                let _ = end.send(());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open<'_> {
    /// Completes when the secret that let it in is worth nothing any more. Cancel-safe.
    pub(crate) async fn replaced(&mut self) {
        if (&mut self.end).await.is_err() {
            // Nobody is left who could say so.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.conn);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// I21: those of a secret that is replaced end, no others, and each leaves when it is over.
    #[test]
    fn a_session_ends_with_the_secret_that_let_it_in() {
        let (sessions, office): (_, Name) = (Sessions::default(), "office".parse().unwrap());
        let home: Name = "home".parse().unwrap();
        let mut of_old = sessions.open(ConnId(1), &office, [1; 32]);
        let mut of_new = sessions.open(ConnId(2), &office, [2; 32]);
        let mut of_other = sessions.open(ConnId(3), &home, [1; 32]);
        assert_eq!((sessions.count(&office, &[1; 32]), sessions.count(&office, &[2; 32])), (1, 1));
        sessions.end(&[(office.clone(), [1; 32])]);
        assert!(of_old.replaced().now_or_never().is_some());
        assert!(of_new.replaced().now_or_never().is_none() && of_other.replaced().now_or_never().is_none());
        // Told again of what is known already.
        sessions.end(&[(office.clone(), [1; 32])]);
        drop((of_old, of_new, of_other));
        assert!(sessions.lock().is_empty());
    }
}
