//! What deadlines of appends are compared with.

use std::sync::{Arc, Mutex, PoisonError};

use relay_core::time::Wall;

/// What deadlines are compared with.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<Mutex<Option<Now>>>);

type Now = Arc<dyn Fn() -> Wall + Send + Sync>;

impl Clock {
    /// Goes by this from now on.
    pub(super) fn keep(&self, now: Now) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// What time it is; nothing: nobody has said how to tell.
    pub(super) fn now(&self) -> Option<Wall> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        now.map(|now| now())
    }
}
