//! What became of the samples that were sent.

use std::io::Write as _;

use http::Uri;
use serde_json::json;

use super::shared_options::print;
use crate::{
    exit::{Exit, Failure},
    render::{human_duration, style},
    send::Sent,
};

/// What became of all of them.
#[derive(Default)]
pub(super) struct Tally {
    accepted: u64,
    refused: u64,
    unanswered: u64,
    slowest: std::time::Duration,
}

impl Tally {
    /// Tells of one.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn report(&mut self, sent: &Sent, url: &Uri, json: bool) -> Result<(), Failure> {
        self.slowest = self.slowest.max(sent.took);
        let is_accepted = sent.is_accepted();
        match &sent.answer {
            Ok(_) if is_accepted => self.accepted += 1,
            Ok(_) => self.refused += 1,
            Err(_) => self.unanswered += 1,
        }
        let status = sent.answer.as_ref().ok().map(http::StatusCode::as_u16);
        if json {
            let line = json!({
                "event_id": sent.event_id,
                "status": status,
                "error": sent.answer.as_ref().err(),
                "duration_ms": sent.took.as_secs_f64() * 1_000.0,
            });
            return print(&line.to_string());
        }
        match (&sent.answer, &sent.event_id) {
            (Ok(_), Some(id)) if is_accepted => print(id),
            (Ok(status), _) if is_accepted => print(&format!("accepted ({status})")),
            (Ok(status), _) => {
                anstream::eprintln!("{} {status}: {}", style::bad("refused"), refusal(&sent.text));
                Ok(())
            }
            (Err(error), _) => {
                anstream::eprintln!("{} {url}: {error}. Does a server listen there?", style::bad("not sent to"));
                Ok(())
            }
        }
    }

    /// How the command ends.
    pub(super) fn exit(&self) -> Exit {
        match (self.accepted, self.refused, self.unanswered) {
            (_, 0, 0) => Exit::Done,
            (0, 0, _) => Exit::Unreachable,
            _ => Exit::No,
        }
    }

    /// Tells of all.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn finish(&self, count: u64, json: bool) -> Result<(), Failure> {
        if count > 1 && !json {
            let slowest = human_duration(self.slowest);
            anstream::eprintln!(
                "{} accepted, {} refused, {} not answered, slowest {slowest}",
                self.accepted,
                self.refused,
                self.unanswered
            );
        }
        std::io::stdout().flush().map_err(Failure::from)
    }
}

/// Why a server refused: the detail of its problem document, or what it answered.
fn refusal(answer: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let detail = problem.get("detail").and_then(serde_json::Value::as_str);
    detail.unwrap_or_else(|| answer.trim()).to_owned()
}
