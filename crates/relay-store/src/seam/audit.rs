//! Which lines of the audit log.

use super::{AuditEntry, Range};

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
