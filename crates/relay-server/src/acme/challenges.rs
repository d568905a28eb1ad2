//! What an authority is to find at this server while it checks whose a name is.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

/// Below this path an authority looks for what it wants over plain HTTP (RFC 8555, section 8.3).
const PATH: &str = "/.well-known/acme-challenge/";

/// Answers over plain HTTP, by the token that is asked for.
#[derive(Debug, Default)]
pub(crate) struct Challenges(RwLock<BTreeMap<String, String>>);

impl Challenges {
    /// What is to be found at a path, if an order is under way that wants it found there.
    pub(crate) fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// From now on this is to be found.
    pub(crate) fn put(&self, token: String, answer: String) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(token, answer);
    }

    /// There is nothing to be found any more.
    pub(crate) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
