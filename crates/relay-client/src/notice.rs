//! The client's log lines: each has a fixed `event=`, none holds a payload, a secret or the URL of a target.
//!
//! What others say, the server or a target, is a field of a line, which every format escapes, and never its message. How
//! many lines others can cause is limited by kind; those that were left out are counted.

use relay_core::{
    client::{DialFailure, Exit, Forward, Notice, View},
    delivery::outcome::{Class, Outcome},
    limits,
    lines::LogLines,
    name::Name,
    time::Mono,
};
use relay_net::shortage::Shortage;
use tokio::time::Instant;

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
    began: Instant,
    /// By event; as many as there are.
    lines: LogLines<&'static str>,
    /// By destination, of those in the configuration, and class.
    tries: LogLines<(Name, Class)>,
}

impl Notices {
    pub(crate) fn new(config: &Config) -> Self {
        let server = config.relay_url.host().unwrap_or("the server").to_owned();
        Self {
            server,
            lost: None,
            said: Vec::new(),
            began: Instant::now(),
            lines: LogLines::default(),
            tries: LogLines::default(),
        }
    }

    /// Keeps why the transport was lost for the notice that follows.
    pub(crate) fn lost(&mut self, why: String) {
        self.lost = Some(why);
    }

    pub(crate) fn tell(&mut self, notice: Notice) {
        match notice {
            Notice::Up { server_version, destinations } => {
                if let Some(left_out) = self.allows("connected") {
                    tracing::info!(event = "connected", server = %self.server, server_version, left_out = counted(left_out), "connected to the server");
                }
                self.destinations(destinations);
            }
            Notice::Down { why, pause, failures } => {
                let why = self.lost.take().unwrap_or(why);
                let Some(left_out) = self.allows("disconnected") else { return };
                tracing::warn!(
                    event = "disconnected",
                    server = %self.server,
                    failures,
                    retry_in_ms = pause.as_millis() as u64,
                    why = why.as_str(),
                    left_out = counted(left_out),
                    "no session with the server"
                );
            }
            Notice::Peers { destination, others } => self.shared(&destination, others),
            Notice::Renewing => {
                self.lost = None;
                tracing::info!(event = "renewing", server = %self.server, "a new session begins");
            }
            Notice::Corrupt(delivery) => {
                if let Some(left_out) = self.allows("body_corrupt") {
                    tracing::error!(
                        event = "body_corrupt",
                        %delivery,
                        left_out = counted(left_out),
                        "a body did not match its digest and was handed back, not forwarded"
                    );
                }
            }
        }
    }

    /// One try at a target ended.
    pub(crate) fn forwarded(&mut self, forward: &Forward, outcome: &Outcome) {
        let (delivery, destination) = (forward.delivery, &forward.destination);
        match outcome.class {
            Class::Delivered => tracing::debug!(event = "forwarded", %delivery, %destination, "delivered"),
            Class::Rejected | Class::Busy | Class::Unreachable | Class::Refused => {
                let Some(left_out) = self.allows_try(destination, outcome.class) else { return };
                tracing::warn!(
                    event = "forward_failed",
                    %delivery,
                    %destination,
                    source = %forward.source,
                    attempt = forward.attempt,
                    class = outcome.class.as_str(),
                    duration_ms = outcome.duration.as_millis() as u64,
                    error = outcome.error.as_deref().unwrap_or("failed"),
                    left_out = counted(left_out)
                );
            }
        }
    }

    /// This machine lacks something for requests at targets.
    pub(crate) fn lacking(&mut self, what: Shortage) {
        let Some(left_out) = self.allows("own_shortage") else { return };
        tracing::warn!(
            event = "own_shortage",
            %what,
            remedy = what.remedy(),
            left_out = counted(left_out),
            "this machine lacks something for a connection to a target: webhooks wait for it, and no try is charged"
        );
    }

    /// Which server its lines name from now on.
    pub(crate) fn server_is(&mut self, now: &Config) {
        now.relay_url.host().unwrap_or("the server").clone_into(&mut self.server);
    }

    /// Tells of lines that were left out and have had no follower since.
    pub(crate) fn left_out(&mut self) {
        for (event, left_out) in self.lines.left_out() {
            tracing::info!(event = *event, left_out, "more lines like these were left out");
        }
        for ((destination, class), left_out) in self.tries.left_out() {
            let class = class.as_str();
            tracing::warn!(event = "forward_failed", %destination, class, left_out, "more tries failed like these");
        }
    }

    /// Whether a line of this kind may be written; if so, how many were left out before it.
    fn allows(&mut self, event: &'static str) -> Option<u64> {
        let now = self.now();
        self.lines.may_tell(&event, limits::LINES, now)
    }

    fn allows_try(&mut self, destination: &Name, class: Class) -> Option<u64> {
        let now = self.now();
        self.tries.may_tell(&(destination.clone(), class), limits::LINES_OF_TRIES, now)
    }

    fn now(&self) -> Mono {
        Mono::default() + self.began.elapsed()
    }

    fn destinations(&mut self, destinations: Vec<(Name, bool, bool, u32)>) {
        for said in &destinations {
            if self.said.contains(said) || self.allows("destinations").is_none() {
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
                (true, true, others) => self.shared(destination, *others),
            }
        }
        self.said = destinations;
    }

    fn shared(&mut self, destination: &Name, others: u32) {
        let Some(left_out) = self.allows("destination_shared") else { return };
        let words = if others == 0 {
            "no other client serves this destination any more"
        } else {
            "other clients serve this destination too: each webhook goes to one of them"
        };
        tracing::info!(event = "destination_shared", %destination, others, left_out = counted(left_out), "{words}");
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

/// A count as a field that is left out of a line where it is zero.
fn counted(count: u64) -> Option<u64> {
    Some(count).filter(|count| *count > 0)
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

/// A new configuration is in use; before it these destinations were served.
pub(crate) fn reloaded(now: &Config, before: &[Name], renews: bool) {
    for destination in before.iter().filter(|name| now.destinations.iter().all(|served| served.name != **name)) {
        tracing::warn!(event = "undeclared", %destination, "no longer in the configuration: this client does not serve it any more");
    }
    let targets: Vec<String> = now.destinations.iter().map(|d| format!("{} -> {}", d.name, d.url)).collect();
    let session = if renews { "another one follows once what is under way is settled" } else { "the same goes on" };
    tracing::info!(event = "reloaded", server = %now.relay_url, targets = targets.join(", "), session);
}

/// A new configuration cannot be used.
/// Sessions are polled from now on.
pub(crate) fn polls(config: &Config, why: &str) {
    let server = config.relay_url.host().unwrap_or("the server");
    tracing::warn!(
        event = "polling",
        server,
        why,
        "something between here and the server does not let WebSockets through: the session is carried by requests (long-poll), which \
         costs some latency; crm-relay doctor says what to change"
    );
}

/// They are not any more.
pub(crate) fn polls_no_more(config: &Config) {
    let server = config.relay_url.host().unwrap_or("the server");
    tracing::info!(
        event = "polling_ended",
        server,
        "WebSockets come through to the server again: the session goes on with one"
    );
}

/// The configuration is not taken.
pub(crate) fn reload_failed(error: &(dyn std::error::Error + 'static)) {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let why = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    tracing::error!(event = "reload_failed", why, "the present configuration stays in use");
}

/// A new configuration was in use until a server refused it for good.
pub(crate) fn gone_back(refused: &Config, failure: &DialFailure) {
    let server = &refused.relay_url;
    let why = match failure {
        DialFailure::TokenRefused => "the server refuses RELAY_TOKEN",
        DialFailure::VersionRefused => "the server speaks another protocol version",
        DialFailure::Later { why, .. } | DialFailure::Failed(why) => why,
    };
    tracing::error!(event = "reload_failed", %server, why, "the configuration of before is in use again");
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
        requests = view.destinations.iter().map(|held| held.forwarding).sum::<u32>(),
        outcomes = view.destinations.iter().map(|held| held.reported).sum::<u32>(),
        "stopped before everything was settled: requests that were cut off, and outcomes that never reached the server, are \
         delivered again"
    );
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::Write as _,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use bytes::Bytes;
    use relay_core::{
        id::{DeliveryId, EventId},
        time::Wall,
    };

    use super::*;
    use crate::config::Destination;

    fn notices() -> Notices {
        let target = "http://127.0.0.1:9/".parse().unwrap();
        Notices::new(&Config {
            relay_url: "ws://127.0.0.1:9".parse().unwrap(),
            token: "crt_test".into(),
            destinations: vec![Destination::new("crm".parse().unwrap(), target)],
            buffer_bytes: 1 << 20,
            proxy: None,
            ca_file: None,
            pins: Vec::new(),
            carrier: crate::Carrier::Auto,
            identity: None,
            listen: None,
            listen_names: Vec::new(),
            shutdown_grace: limits::LINES.span,
            summary_interval: limits::LINES.span,
            label: "test".into(),
        })
    }

    fn webhook() -> Forward {
        Forward {
            delivery: DeliveryId::from_u128(2),
            event: EventId::from_u128(1),
            destination: "crm".parse().unwrap(),
            source: "stripe".parse().unwrap(),
            attempt: 1,
            received_at: Wall::MIN,
            method: Bytes::from_static(b"POST"),
            rest: Bytes::new(),
            query: None,
            headers: Vec::new(),
            original_url: Bytes::new(),
            replay: false,
            body: Bytes::new(),
            body_sha256: [0; 32],
            trace: None,
        }
    }

    fn tried(class: Class) -> Outcome {
        Outcome { class, status: None, retry_after: None, duration: Duration::ZERO, error: None, answer: None }
    }

    /// Keeps the fields of each line.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl Log {
        /// Lines about failed tries since the last call.
        fn take(&self) -> Vec<String> {
            let mut lines = std::mem::take(&mut *self.0.lock().unwrap());
            lines.retain(|line| line.contains("event=\"forward_failed\""));
            lines
        }
    }

    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = String::new();
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                write!(line, "{field}={value:?} ").unwrap();
            });
            self.0.lock().unwrap().push(line);
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    /// S27: a target that fails a thousand times makes few lines, and it is said how many were left out: with the next one, or
    /// with the summary where none follows. Another way to fail has lines of its own.
    #[tokio::test(start_paused = true)]
    async fn a_target_that_fails_has_few_lines_and_the_others_are_counted() {
        let log = Log::default();
        let _guard = tracing::subscriber::set_default(log.clone());
        let (mut notices, webhook) = (notices(), webhook());
        let fail = |notices: &mut Notices, times, class| {
            for _ in 0..times {
                notices.forwarded(&webhook, &tried(class));
            }
            log.take()
        };
        let most = limits::LINES_OF_TRIES.most as usize;
        let left_out = format!("left_out={} ", 1_000 - most);
        let lines = fail(&mut notices, 1_000, Class::Busy);
        assert_eq!(lines.len(), most);
        assert!(lines.iter().all(|line| !line.contains("left_out=")), "{lines:?}");
        let other = fail(&mut notices, 1, Class::Rejected);
        assert!(other.len() == 1 && other[0].contains("class=\"rejected\""), "{other:?}");

        tokio::time::advance(limits::LINES_OF_TRIES.span).await;
        let next = fail(&mut notices, 1, Class::Busy);
        assert!(next.len() == 1 && next[0].contains(&left_out), "{next:?}");

        tokio::time::advance(limits::LINES_OF_TRIES.span).await;
        fail(&mut notices, 1_000, Class::Busy);
        notices.left_out();
        let rest = log.take();
        assert!(rest.len() == 1 && rest[0].contains(&left_out) && rest[0].contains("destination=crm "), "{rest:?}");
        notices.left_out();
        assert!(log.take().is_empty(), "once");
    }

    /// S18, S27: a server that has the same told a thousand times makes few lines, and the others are counted.
    #[tokio::test(start_paused = true)]
    async fn a_server_has_its_share_of_each_second() {
        let destination: Name = "crm".parse().unwrap();
        let mut notices = notices();
        for others in 0..1_000 {
            notices.tell(Notice::Peers { destination: destination.clone(), others });
            notices.tell(Notice::Up { server_version: "0".into(), destinations: Vec::new() });
            notices.tell(Notice::Down { why: "over".into(), pause: limits::LINES.span, failures: 1 });
        }
        let most = u64::from(limits::LINES.most);
        let left_out: Vec<_> = notices.lines.left_out().map(|(event, left_out)| (*event, left_out)).collect();
        let events = ["connected", "destination_shared", "disconnected"];
        assert_eq!(left_out, events.map(|event| (event, 1_000 - most)));
        tokio::time::advance(limits::LINES.span).await;
        assert!(notices.allows("destination_shared").is_some(), "later there is another");
        // What a Welcome names is told by the same share.
        let named = |number: u32| (destination.clone(), true, true, number);
        for number in 1..=1_000 {
            notices.tell(Notice::Up { server_version: "0".into(), destinations: vec![named(number)] });
        }
        let left_out: u64 = notices.lines.left_out().map(|(_, left_out)| left_out).sum();
        assert!(left_out > 2 * (1_000 - 2 * most), "{left_out}");
    }
}
