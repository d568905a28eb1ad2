//! Alerts, and what they are told of.

use relay_core::{alert::Past, name::Name};

use crate::{
    alerts::Receiver,
    api::{AlertDto, ConditionDto},
    clock::rfc3339,
    config::alert::Way,
};

impl AlertDto {
    /// S27: nothing of a URL but its host, and nothing of a command but its program.
    pub(crate) fn new(receiver: &Receiver) -> Self {
        let (alert, account) = (receiver.declared(), receiver.account());
        let to = match &alert.way {
            Way::Post(post) => post.url.host().unwrap_or_default().to_owned(),
            Way::Command(command) => command.program.clone(),
        };
        Self {
            name: alert.name.to_string(),
            format: alert.way.as_str().to_owned(),
            to,
            kinds: alert.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
            severity: alert.severity.as_str().to_owned(),
            told: account.told,
            untold: account.untold,
            waiting: account.waiting as u64,
            told_at: account.told_at.map(rfc3339),
            error: account.error,
        }
    }
}

impl ConditionDto {
    pub(crate) fn new(past: &Past, alerts: &[&Name]) -> Self {
        Self {
            kind: past.key.kind.as_str().to_owned(),
            subject: past.key.subject.as_ref().map(ToString::to_string),
            severity: past.severity.as_str().to_owned(),
            words: past.words.clone(),
            count: past.count,
            since: rfc3339(past.since),
            over_at: past.over.map(rfc3339),
            flapping: past.is_flapping,
            alerts: alerts.iter().map(ToString::to_string).collect(),
        }
    }
}
