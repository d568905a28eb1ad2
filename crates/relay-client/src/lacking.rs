//! What this client lacks to reach its targets, for the log and `/health`.

use std::sync::{Mutex, PoisonError};

use relay_core::limits;
use relay_net::shortage::Shortage;
use tokio::time::Instant;

/// What was lacking, and when last. Targets write it, the driver and the listener read.
#[derive(Debug, Default)]
pub(crate) struct Lacking(Mutex<Option<Lacked>>);

#[derive(Clone, Copy, Debug)]
struct Lacked {
    what: Shortage,
    at: Instant,
    told: bool,
}

impl Lacking {
    /// It was lacking just now.
    pub(crate) fn note(&self, what: Shortage) {
        let mut lacked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = is_recent(*lacked).is_some_and(|before| before.told && before.what == what);
        *lacked = Some(Lacked { what, at: Instant::now(), told });
    }

    /// What is lacking, or was a moment ago.
    pub(crate) fn now(&self) -> Option<Shortage> {
        is_recent(*self.0.lock().unwrap_or_else(PoisonError::into_inner)).map(|lacked| lacked.what)
    }

    /// The same, once for each time that something is lacking.
    pub(crate) fn untold(&self) -> Option<Shortage> {
        let mut lacked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lacked = lacked.as_mut().filter(|lacked| !lacked.told)?;
        lacked.told = true;
        Some(lacked.what)
    }
}

fn is_recent(lacked: Option<Lacked>) -> Option<Lacked> {
    lacked.filter(|lacked| lacked.at.elapsed() < limits::SHORTAGE_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_lacking_is_told_once_and_shown_for_a_while() {
        let lacking = Lacking::default();
        assert_eq!((lacking.now(), lacking.untold()), (None, None));
        for _ in 0..3 {
            lacking.note(Shortage::Ports);
        }
        assert_eq!(lacking.untold(), Some(Shortage::Ports));
        lacking.note(Shortage::Ports);
        assert_eq!((lacking.now(), lacking.untold()), (Some(Shortage::Ports), None));
        lacking.note(Shortage::Memory);
        assert_eq!(lacking.untold(), Some(Shortage::Memory));
        tokio::time::advance(limits::SHORTAGE_SHOWN).await;
        assert_eq!((lacking.now(), lacking.untold()), (None, None));
        lacking.note(Shortage::Memory);
        assert_eq!(lacking.untold(), Some(Shortage::Memory), "it is another time");
    }
}
