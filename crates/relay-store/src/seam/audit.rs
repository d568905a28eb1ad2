//! The audit log: its lines, and which of them.

use relay_core::{
    delivery::{Delivery, State},
    storage::Change,
    time::Wall,
};

use super::Range;

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
        let was_over = matches!(change.before.state, State::Dead | State::Expired);
        (was_over && change.next.state == State::Ready).then(|| Self {
            at: change.next.ready_at,
            who: "sender".into(),
            action: "delivery.redrive".into(),
            subject: format!("{} of {}", change.next.id, change.next.event),
            origin: String::new(),
        })
    }
}

/// Which lines of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this asker.
    pub who: Option<String>,
    /// Of this action, or of a noun: `dead.redrive`, `dead`.
    pub action: Option<String>,
    /// Written then.
    pub range: Range,
}

impl AuditFilter {
    /// Whether a line is one of those.
    pub fn holds(&self, entry: &AuditEntry) -> bool {
        let of_action = |action: &String| {
            let behind = entry.action.strip_prefix(action.as_str());
            behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('.'))
        };
        self.who.as_ref().is_none_or(|who| *who == entry.who)
            && self.action.as_ref().is_none_or(of_action)
            && self.range.since.is_none_or(|since| entry.at >= since)
            && self.range.until.is_none_or(|until| entry.at < until)
    }
}
