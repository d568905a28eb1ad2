//! What became of the samples that were sent.

use std::io::Write as _;

use http::Uri;
use relay_server::{api::ProblemDto, error::Code};
use serde_json::json;

use crate::{
    config::target::shown_targets,
    exit::{Exit, Failure},
    next_step,
    output::{compact, print, say, shortened},
    render::{human_duration, progress::Progress, style, visible::visible},
    send::Sent,
};

/// Failures in a row that are alike and end the command: the next thousand would be no other.
const ALIKE_MAX: u64 = 10;
/// Ids that a terminal is given one below the other; more of them are for a pipe.
const LISTED_MAX: u64 = 20;

/// What became of all of them.
pub(super) struct Tally {
    count: u64,
    json: bool,
    accepted: u64,
    refused: u64,
    unanswered: u64,
    slowest: std::time::Duration,
    /// The last failure, and how many in a row were like it.
    alike: (String, u64),
    progress: Progress,
    /// Why the last refused one was, if that was said.
    code: Option<Code>,
    /// Of those that were accepted, in this order, the events that their answers name, where somebody waits for their end.
    stored: Option<Vec<Option<String>>>,
}

impl Tally {
    /// Of so many to be sent.
    ///
    /// `waits`: what was accepted is listed when it has ended, and not before.
    pub(super) fn new(count: u64, json: bool, waits: bool) -> Self {
        Self {
            count,
            json,
            accepted: 0,
            refused: 0,
            unanswered: 0,
            slowest: std::time::Duration::ZERO,
            alike: (String::new(), 0),
            progress: Progress::new(count),
            code: None,
            stored: waits.then(Vec::new),
        }
    }

    /// Tells of one; whether to go on.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn report(&mut self, sent: &Sent, url: &Uri) -> Result<bool, Failure> {
        self.slowest = self.slowest.max(sent.took);
        let is_accepted = sent.is_accepted();
        match &sent.answer {
            Ok(_) if is_accepted => {
                self.accepted += 1;
                if let Some(stored) = &mut self.stored {
                    stored.push(sent.event_id.clone());
                }
            }
            Ok(_) => {
                self.refused += 1;
                self.code = code(&sent.text);
            }
            Err(_) => self.unanswered += 1,
        }
        let goes_on = self.tell(sent, url)?;
        if self.is_many() {
            self.progress.add(1);
        }
        Ok(goes_on)
    }

    fn is_many(&self) -> bool {
        self.count > LISTED_MAX
    }

    fn tell(&mut self, sent: &Sent, url: &Uri) -> Result<bool, Failure> {
        let failure = match &sent.answer {
            Ok(_) if sent.is_accepted() => None,
            Ok(status) => Some(format!("{} {status}: {}", style::bad("refused"), refusal(&sent.text))),
            Err(error) => {
                // Who speaks TLS, or means to, is there.
                let next = if url.scheme_str() == Some("https") {
                    "Say where it is, by a name that its certificate has: --to URL"
                } else {
                    "Start a server: crm-relay dev; or say where one is: --to URL"
                };
                let why = format!("{}: {}. {next}", shown_targets(&url.to_string()), visible(error));
                Some(format!("{} {why}", style::bad("not sent to")))
            }
        };
        if self.json {
            let line = json!({
                "event_id": sent.event_id,
                "status": sent.answer.as_ref().ok().map(http::StatusCode::as_u16),
                "error": sent.answer.as_ref().err(),
                "duration_ms": sent.took.as_secs_f64() * 1_000.0,
            });
            print(&compact(&line))?;
        }
        let Some(failure) = failure else {
            self.alike = (String::new(), 0);
            let is_listed = !(self.json || self.stored.is_some() || self.is_many() && style::is_terminal());
            return match (&sent.event_id, &sent.answer) {
                (Some(id), _) if is_listed => print(&visible(id)),
                // Platforms want no id in the answer; it has one all the same.
                (None, Ok(status)) if is_listed && style::is_terminal() => {
                    print(&format!("accepted ({status}): {}", style::dim("crm-relay event show last")))
                }
                (None, Ok(status)) if is_listed => print(&format!("accepted ({status})")),
                _ => Ok(()),
            }
            .map(|()| true);
        };
        if self.alike.0 != failure {
            if !self.json {
                self.progress.clear();
                say(&shortened(&failure));
            }
            self.alike = (failure, 0);
        }
        self.alike.1 += 1;
        Ok(self.alike.1 < ALIKE_MAX)
    }

    /// How the command ends.
    pub(super) fn exit(&self) -> Exit {
        match (self.accepted, self.refused, self.unanswered) {
            (_, 0, 0) => Exit::Done,
            (0, 0, _) => Exit::Unreachable,
            _ => Exit::No,
        }
    }

    /// Of those that were accepted, the events that their answers name.
    pub(super) fn stored(&mut self) -> Vec<Option<String>> {
        self.stored.take().unwrap_or_default()
    }

    /// Why the last refused one was, if a relay said so.
    pub(super) const fn code(&self) -> Option<Code> {
        self.code
    }

    /// Tells of all.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.progress.clear();
        let sent = self.accepted + self.refused + self.unanswered;
        if sent < self.count {
            let why = if self.alike.1 >= ALIKE_MAX {
                format!("{ALIKE_MAX} in a row failed alike")
            } else {
                "interrupted".to_owned()
            };
            say(&style::warn(format!("stopped after {sent} of {}: {why}", self.count)));
        }
        if self.count > 1 && !self.json {
            let slowest = human_duration(self.slowest);
            say(&format!(
                "{} accepted, {} refused, {} not answered, slowest {slowest}",
                self.accepted, self.refused, self.unanswered
            ));
        }
        std::io::stdout().flush().map_err(Failure::from)
    }
}

/// The code of a problem document of the relay's.
fn code(answer: &str) -> Option<Code> {
    let problem: ProblemDto = serde_json::from_str(answer).ok()?;
    next_step::of_name(&problem.code)
}

/// Why a server refused: the detail of its problem document, or what it answered.
fn refusal(answer: &str) -> String {
    let problem: ProblemDto = serde_json::from_str(answer).unwrap_or_default();
    let said = if problem.detail.is_empty() { answer.trim() } else { &problem.detail };
    visible(said).into_owned()
}
