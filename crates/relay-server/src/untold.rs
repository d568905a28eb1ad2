//! Which alerts reach nobody, for whoever asks how the server is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay_core::{name::Name, time::Mono};

/// Alerts that reach nobody. Cheap to clone; bounded by the alerts that are declared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Untold(Arc<Mutex<BTreeMap<Name, Failing>>>);

/// Since when an alert reaches nobody, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    pub(crate) since: Mono,
    pub(crate) why: String,
}

impl Untold {
    /// It reaches nobody.
    pub(crate) fn fails(&self, alert: &Name, why: &str, now: Mono) {
        let mut all = self.lock();
        let failing = all.entry(alert.clone()).or_insert_with(|| Failing { since: now, why: String::new() });
        why.clone_into(&mut failing.why);
    }

    /// It reached somebody.
    pub(crate) fn works(&self, alert: &Name) {
        self.lock().remove(alert);
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<Name, Failing> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
