//! Who saw which payload: one line of the audit log for each user, event and hour.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use relay_core::{id::EventId, time::Wall};

use super::{People, Present};
use crate::{
    principal::Principal,
    secret::{hex, sha256},
};

/// Another line for the same user and event after this.
const AGAIN_AFTER: Duration = Duration::from_hours(1);
/// Views that are remembered; of more there may be a line too many.
const KEPT_MAX: usize = 10_000;

/// What was seen lately.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<BTreeMap<(String, String), Wall>>);

impl Views {
    /// Whether that is to be told; from then on it is.
    fn is_new(&self, name: &str, what: &str, now: Wall) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), what.to_owned());
        if seen.get(&key).is_some_and(|at| now.since(*at) < AGAIN_AFTER) {
            return false;
        }
        if seen.len() >= KEPT_MAX {
            seen.retain(|_, at| now.since(*at) < AGAIN_AFTER);
        }
        if seen.len() >= KEPT_MAX {
            seen.clear();
        }
        seen.insert(key, now);
        true
    }

    /// It could not be told: the next one is.
    fn forget(&self, name: &str, what: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(name.to_owned(), what.to_owned()));
    }
}

impl People {
    /// Writes down that somebody sees the payload of an event. Where that cannot be written, as on a full disk, he sees it all the same, and
    /// the log says so: whoever has to mend something must not be kept from looking.
    pub(crate) async fn note_view(&self, present: &Present, who: &Principal, event: EventId) {
        let event = event.to_string();
        self.note(present, who, ("event.view", &event), &event).await;
    }

    /// Writes down that somebody sees the secrets in header fields of an event.
    pub(crate) async fn note_reveal(&self, present: &Present, who: &Principal, event: EventId) {
        let event = event.to_string();
        self.note(present, who, ("event.reveal", &event), &format!("reveal {event}")).await;
    }

    /// The same of somebody who has bodies looked through: where, for what kind of thing, and not for what, which may be a payload. Another
    /// text is another line.
    pub(crate) async fn note_scan(&self, present: &Present, who: &Principal, subject: &str, looked_for: &[&str; 2]) {
        let digest = sha256(format!("{subject}\n{}\n{}", looked_for[0], looked_for[1]).as_bytes());
        self.note(present, who, ("event.scan", subject), &hex(&digest)).await;
    }

    async fn note(&self, present: &Present, who: &Principal, (action, subject): (&str, &str), what: &str) {
        let now = self.clock.wall();
        if !self.views.is_new(&present.name, what, now) {
            return;
        }
        let entry = who.audited(now, action, subject);
        if let Err(error) = self.store.audit(vec![entry]).await {
            self.views.forget(&present.name, what);
            tracing::warn!(event = "audit_unwritten", %error, who = present.name, "a view of a payload is not in the audit log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_told_once_an_hour_and_what_is_remembered_is_bounded() {
        let (views, hour) = (Views::default(), Duration::from_hours(1));
        let at = Wall::from_micros(1_700_000_000_000_000);
        let event = |number: u128| format!("evt_{number:032x}");
        assert!(views.is_new("user:alice", &event(1), at) && !views.is_new("user:alice", &event(1), at + hour / 2));
        assert!(views.is_new("user:bob", &event(1), at) && views.is_new("user:alice", &event(2), at));
        assert!(views.is_new("user:alice", &event(1), at + hour));
        for number in 0..3 * KEPT_MAX as u128 {
            views.is_new("user:mallory", &event(number), at);
        }
        assert!(views.0.lock().unwrap().len() <= KEPT_MAX);
    }
}
