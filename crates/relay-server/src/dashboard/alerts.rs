//! Alerts: what is not as it should be, what was, and who is told.

use axum::response::Response;
use relay_core::{alert::Past, time::Wall};
use relay_dashboard::screen::{Alerts, ConditionLine, ReceiverLine};

use super::frame::{Drawn, Looking};
use crate::{alerts::Receiver, api::AlertDto, state::State};

/// Conditions that are over, and are listed.
const OVER_MAX: usize = 200;

pub(super) async fn show(looking: Looking) -> Response {
    let (state, page) = (&looking.state, looking.page.clone());
    let line = |past: &Past| condition_line(past, state);
    let alerts = Alerts {
        page,
        now: state.alerts.firing().iter().map(line).collect(),
        over: state.alerts.over().iter().take(OVER_MAX).map(line).collect(),
        receivers: state.alerts.receivers().map(|receiver| receiver_line(receiver)).collect(),
    };
    looking.answer(Ok(Drawn::page(&alerts, false)))
}

fn condition_line(past: &Past, state: &State) -> ConditionLine {
    ConditionLine {
        kind: past.key.kind,
        subject: past.key.subject.clone(),
        severity: past.severity,
        words: past.words.clone(),
        since: past.since,
        over: past.over,
        flapping: past.is_flapping,
        told_to: state.alerts.told_to(past).iter().map(ToString::to_string).collect(),
    }
}

/// S27: nothing of a URL but its host.
fn receiver_line(receiver: &Receiver) -> ReceiverLine {
    let AlertDto { name, format, to, told, untold, error, .. } = AlertDto::new(receiver);
    let told_at: Option<Wall> = receiver.account().told_at;
    ReceiverLine { name, way: format!("{format}: {to}"), told, untold, told_at, error }
}
