//! What is said on a terminal at a stop: what it waits for, and how to end that.

use std::time::Duration;

use relay_client::Waiting;
use relay_server::OnStop;

use crate::{
    output::say,
    render::{human_duration, style},
};

/// Tells what a client waits for, if somebody looks.
pub(crate) fn of_client() -> Option<Box<dyn FnOnce(Waiting) + Send>> {
    style::is_attended().then(|| {
        let tell: Box<dyn FnOnce(Waiting) + Send> = Box::new(|waiting| {
            let what = match (waiting.requests, waiting.outcomes) {
                (0, 0) => return,
                (0, outcomes) => format!("for the server to confirm {}", counted(outcomes, "outcome")),
                (requests, _) => format!("for {}", counted(requests, "request")),
            };
            say(&line(&what, waiting.grace));
        });
        tell
    })
}

/// Tells how many webhooks clients are forwarding for a server that stops, if somebody looks.
pub(crate) fn of_server() -> Option<OnStop> {
    style::is_attended().then(|| {
        let tell: OnStop = Box::new(|held, grace| {
            if held > 0 {
                say(&line(&format!("for {} at its clients", counted(held, "webhook")), grace));
            }
        });
        tell
    })
}

/// The last word, if somebody looks and all went well.
pub(crate) fn last(outcome: &crate::exit::Outcome) {
    if style::is_attended() && outcome.is_ok() {
        say("stopped; what is not delivered is after the next start");
    }
}

/// A second signal ends the process.
pub(crate) fn at_once() {
    if style::is_attended() {
        say("stopped at once; what was under way is tried again after the next start");
    }
}

fn line(what: &str, grace: Duration) -> String {
    format!("waiting {what} (up to {}); Ctrl-C again stops at once", human_duration(grace))
}

fn counted(count: u32, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_says_what_it_waits_for_and_for_how_long() {
        let line = line(&format!("for {}", counted(1, "request")), Duration::from_secs(30));
        assert_eq!(line, "waiting for 1 request (up to 30 s); Ctrl-C again stops at once");
        assert_eq!(counted(2, "outcome"), "2 outcomes");
    }
}
