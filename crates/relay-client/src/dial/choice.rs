//! Which way a session is carried: by a WebSocket, or by requests where something in between cuts those. No IO.

use std::time::Duration;

use relay_core::limits;

use crate::Carrier;

/// What is known of the way to a server.
#[derive(Debug)]
pub(super) struct Choice {
    asked: Carrier,
    /// `WebSockets` in a row of which nothing was heard.
    silent: u32,
    /// Those of them that had opened.
    opened: u32,
    /// Requests came through where `WebSockets` did not; so long until these are tried again.
    polls: Option<Duration>,
}

impl Choice {
    pub(super) const fn new(asked: Carrier) -> Self {
        Self { asked, silent: 0, opened: 0, polls: None }
    }

    /// Whether the next session begins with requests.
    pub(super) fn polls(&self) -> bool {
        self.asked == Carrier::Poll || self.polls.is_some()
    }

    /// Whether nothing but a WebSocket is to be tried.
    pub(super) fn asked_for_websocket(&self) -> bool {
        self.asked == Carrier::WebSocket
    }

    /// Whether requests are to be tried where a WebSocket was just refused (`is_cut`) or has just come to nothing.
    pub(super) fn may_poll(&self, is_cut: bool) -> bool {
        self.asked == Carrier::Auto && (is_cut || self.silent >= limits::WEBSOCKETS_CUT)
    }

    /// Whether requests are to be tried first: `WebSockets` open, so that what refuses them is never met, and nothing is heard on them.
    pub(super) fn opens_in_vain(&self) -> bool {
        self.asked == Carrier::Auto && self.opened >= limits::WEBSOCKETS_CUT
    }

    /// A WebSocket did not come about, without anybody saying why.
    pub(super) fn fell_silent(&mut self) {
        self.silent = self.silent.saturating_add(1);
    }

    /// Nothing was heard on one that opened before it ended.
    pub(super) fn opened_in_vain(&mut self) {
        self.fell_silent();
        self.opened = self.opened.saturating_add(1);
    }

    /// A server was heard on a WebSocket.
    pub(super) fn stands(&mut self) {
        (self.silent, self.opened, self.polls) = (0, 0, None);
    }

    /// Requests came through; whether that is new.
    pub(super) fn polled(&mut self) -> bool {
        if self.asked == Carrier::Poll || self.polls.is_some() {
            return false;
        }
        self.polls = Some(limits::WEBSOCKET_AGAIN);
        true
    }

    /// They do not any more: the next session begins as the first did.
    pub(super) fn lost_polls(&mut self) {
        (self.silent, self.opened, self.polls) = (0, 0, None);
    }

    /// How long to poll before a WebSocket is tried again, and longer the next time. `None`: it is not to be.
    pub(super) fn again(&mut self) -> Option<Duration> {
        let pause = self.polls.as_mut()?;
        let now = *pause;
        *pause = (now * 2).min(limits::WEBSOCKET_AGAIN_MAX);
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_tried_where_an_upgrade_is_refused_or_three_fall_silent() {
        let mut choice = Choice::new(Carrier::Auto);
        assert!(choice.may_poll(true) && !choice.may_poll(false) && !choice.polls());
        for _ in 1..limits::WEBSOCKETS_CUT {
            choice.fell_silent();
            assert!(!choice.may_poll(false));
        }
        choice.fell_silent();
        assert!(choice.may_poll(false));
        assert!(choice.polled() && !choice.polled(), "it is told once");
        assert!(choice.polls());
        choice.stands();
        assert!(!choice.polls() && !choice.may_poll(false));
    }

    #[test]
    fn requests_that_come_to_nothing_are_forgotten() {
        let mut choice = Choice::new(Carrier::Auto);
        (0..limits::WEBSOCKETS_CUT).for_each(|_| choice.fell_silent());
        choice.polled();
        choice.lost_polls();
        assert!(!choice.polls() && !choice.may_poll(false), "all begins as at first");
    }

    #[test]
    fn websockets_are_tried_again_ever_more_seldom() {
        let mut choice = Choice::new(Carrier::Auto);
        assert_eq!(choice.again(), None);
        choice.polled();
        let hours: Vec<u64> =
            std::iter::from_fn(|| choice.again()).take(6).map(|pause| pause.as_secs() / 3600).collect();
        assert_eq!(hours, [1, 2, 4, 8, 12, 12]);
    }

    #[test]
    fn what_was_asked_for_is_not_probed() {
        let mut choice = Choice::new(Carrier::WebSocket);
        (0..9).for_each(|_| choice.fell_silent());
        assert!(!choice.may_poll(true) && !choice.may_poll(false));
        let mut choice = Choice::new(Carrier::Poll);
        assert!(choice.polls() && !choice.polled() && choice.again().is_none());
    }
}
