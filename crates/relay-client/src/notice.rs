//! The client's log lines: each has a fixed `event=`, none holds a payload, a secret or the URL of a target.

use relay_core::{
    delivery::outcome::{Class, Outcome},
    name::Name,
    session::client::{Exit, Forward, Notice, View},
};

use crate::{
    config::Config,
    status::{self, Status},
};

/// What was said, so that the same thing is said once.
pub(crate) struct Notices {
    server: String,
    /// Why the transport was lost, in its own words.
    lost: Option<String>,
    /// The destinations of the last `Up`, as said.
    said: Vec<(Name, bool, bool, u32)>,
}

impl Notices {
    pub(crate) fn new(config: &Config) -> Self {
        let server = config.relay_url.host().unwrap_or("the server").to_owned();
        Self { server, lost: None, said: Vec::new() }
    }

    /// Keeps why the transport was lost for the notice that follows.
    pub(crate) fn lost(&mut self, why: String) {
        self.lost = Some(why);
    }

    pub(crate) fn tell(&mut self, notice: Notice) {
        match notice {
            Notice::Up { server_version, destinations } => {
                tracing::info!(event = "connected", server = %self.server, server_version, "connected to the server");
                self.destinations(destinations);
            }
            Notice::Down { why, pause, failures } => {
                let why = self.lost.take().unwrap_or(why);
                let retry_in_ms = pause.as_millis() as u64;
                tracing::warn!(
                    event = "disconnected",
                    server = %self.server,
                    failures,
                    retry_in_ms,
                    "no session with the server: {why}"
                );
            }
            Notice::Peers { destination, others } => shared(&destination, others),
            Notice::Corrupt(delivery) => tracing::error!(
                event = "body_corrupt",
                %delivery,
                "a body did not match its digest and was handed back, not forwarded"
            ),
        }
    }

    fn destinations(&mut self, destinations: Vec<(Name, bool, bool, u32)>) {
        for said in &destinations {
            if self.said.contains(said) {
                continue;
            }
            let (destination, allowed, known, others) = said;
            match (allowed, known, others) {
                (false, _, _) => tracing::warn!(
                    event = "destination_refused",
                    %destination,
                    "the token may not serve this destination; nothing will come for it"
                ),
                (true, false, _) => tracing::warn!(
                    event = "destination_unknown",
                    %destination,
                    "no route of the server leads to this destination yet"
                ),
                (true, true, 0) => {}
                (true, true, others) => shared(destination, *others),
            }
        }
        self.said = destinations;
    }

    pub(crate) fn exit(&self, exit: Exit) {
        match exit {
            Exit::Stopped => tracing::info!(event = "stopped", "everything is settled or handed back"),
            Exit::TokenRefused => {
                tracing::error!(event = "token_refused", server = %self.server, "the server refused the token");
            }
            Exit::VersionRefused => {
                tracing::error!(event = "version_refused", server = %self.server, "the server speaks another protocol version");
            }
        }
    }
}

fn shared(destination: &Name, others: u32) {
    let words = if others == 0 {
        "no other client serves this destination any more"
    } else {
        "other clients serve this destination too: each webhook goes to one of them"
    };
    tracing::info!(event = "destination_shared", %destination, others, "{words}");
}

/// One try at a target ended.
pub(crate) fn forwarded(forward: &Forward, outcome: &Outcome) {
    let (delivery, destination) = (forward.delivery, &forward.destination);
    match outcome.class {
        Class::Delivered => tracing::debug!(event = "forwarded", %delivery, %destination, "delivered"),
        Class::Rejected | Class::Busy | Class::Unreachable | Class::Refused => tracing::warn!(
            event = "forward_failed",
            %delivery,
            %destination,
            source = %forward.source,
            attempt = forward.attempt,
            class = outcome.class.as_str(),
            duration_ms = outcome.duration.as_millis() as u64,
            "{}",
            outcome.error.as_deref().unwrap_or("failed")
        ),
    }
}

/// The line of each `HEALTH_CHECK_INTERVAL`.
pub(crate) fn summary(view: &View, status: &Status) {
    tracing::info!(
        event = "summary",
        connected = view.up,
        held = status::held(view),
        delivered = status.tries(Class::Delivered),
        refused = status.tries(Class::Refused),
        rejected = status.tries(Class::Rejected),
        busy = status.tries(Class::Busy),
        unreachable = status.tries(Class::Unreachable),
        "client"
    );
}

/// It was told to stop.
pub(crate) fn stopping(view: &View) {
    tracing::info!(event = "stopping", held = status::held(view), "waiting for what is under way to be settled");
}

/// It stops with work in hand.
pub(crate) fn grace_exceeded(view: &View) {
    tracing::warn!(
        event = "grace_exceeded",
        held = status::held(view),
        "stopped before everything was settled: what is held will be delivered again"
    );
}
