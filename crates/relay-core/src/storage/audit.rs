//! Lines of the audit log.

use crate::{
    delivery::{Change, Delivery, State},
    time::Wall,
};

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Wall,
    /// Who: `cli`, `admin`, `config`, `sender`.
    pub who: String,
    /// What was done: `dead.redrive`, `source.create`, ...
    pub action: String,
    /// To what, in words; no secret, no payload.
    pub subject: String,
    /// From where, as the server writes and reads it: JSON; empty where nobody asked.
    pub origin: String,
}

impl AuditEntry {
    /// The line about an event that its sender wanted delivered again.
    pub fn of_resend(made: &[Delivery]) -> Option<Self> {
        made.first().map(|delivery| Self {
            at: delivery.ready_at,
            who: "sender".into(),
            action: "event.resend".into(),
            subject: delivery.event.to_string(),
            origin: String::new(),
        })
    }

    /// The line about a settled change that redrives: a sender's repeat did that, for operators redrive by bulk steps.
    pub fn of_redrive(change: &Change) -> Option<Self> {
        let was_over = change.before.state.is_dead_letter();
        (was_over && change.next.state == State::Ready).then(|| Self {
            at: change.next.ready_at,
            who: "sender".into(),
            action: "delivery.redrive".into(),
            subject: format!("{} of {}", change.next.id, change.next.event),
            origin: String::new(),
        })
    }
}
