//! Timers: everything the hub does because time has passed.

use std::time::Duration;

use super::{ConnId, HeldFor, Hub};
use crate::{
    id::InstanceId,
    name::Name,
    time::{Mono, Now, Wall},
};

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Look for what has expired, and for work that nobody announced.
    Poll,
    /// Read the leases of an earlier run again.
    Load,
    /// Ask again for appends that may not be stored.
    Appends,
    /// Read bodies again that the store could not read for now.
    Bodies,
    /// Look at what clients take.
    Pace,
    /// Look for leases that nobody knows of.
    Strays,
    /// Say which clients are here.
    Presence,
    /// Read the leases again of a client that has come here.
    Claim(ConnId),
    /// Take decisions again whose store operation failed for now.
    Retry,
    /// Look at successes again whose lease another has.
    Late,
    /// Heartbeat of a session, and whether it is still alive.
    Tick(ConnId),
    /// An instance without a socket has been away too long.
    Grace(InstanceId),
    /// An instance without a socket may be forgotten.
    Forget(InstanceId),
    /// A delivery becomes due.
    NextDue(Name),
    /// An open circuit may let out a probe.
    Probe(InstanceId, Name),
}

impl Hub {
    /// The next moment at which [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if self.room.is_woken() || self.parked.is_woken() {
            return Some(self.now.mono);
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        let end = self.ends.first().map(|(at, _)| self.mono_of(*at));
        let loss = self.losses.first_key_value().map(|((at, _), _)| self.mono_of(*at));
        [timer, end, loss].into_iter().flatten().min()
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        self.set_now(now);
        while let Some((at, _)) = self.timers.first()
            && *at <= now.mono
            && let Some((_, timer)) = self.timers.pop_first()
        {
            self.on_timer(timer);
        }
        while let Some((until, id)) = self.ends.first().copied()
            && until <= now.wall
        {
            self.on_lease_end(id);
        }
        while let Some((until, id)) = self.losses.first_key_value().map(|(key, _)| *key)
            && until <= now.wall
        {
            self.on_loss_due(until, id);
        }
        self.finish_input();
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Poll => self.ask_due(),
            Timer::Load => self.ask_held(HeldFor::Start, None),
            Timer::Appends => self.on_appends_due(),
            Timer::Bodies => self.on_bodies_due(),
            Timer::Pace => self.on_pace_due(),
            Timer::Strays => self.on_strays_due(),
            Timer::Presence => self.on_presence_due(),
            Timer::Claim(conn) => self.on_claim_due(conn),
            Timer::Retry => self.on_retry(),
            Timer::Late => self.on_late_due(),
            Timer::Tick(conn) => self.on_tick(conn),
            Timer::Grace(instance) => self.on_grace_over(instance),
            Timer::Forget(instance) => self.forget_if_old(instance),
            Timer::NextDue(name) => self.on_next_due(&name),
            Timer::Probe(instance, name) => {
                self.rerank(instance, &name);
                self.ask_soon(&name);
            }
        }
    }

    /// Sets a timer.
    pub(super) fn arm(&mut self, after: Duration, timer: Timer) {
        self.timers.insert((self.now.mono + after, timer));
    }

    /// The same moment on the monotonic clock, not before now.
    pub(super) fn mono_of(&self, at: Wall) -> Mono {
        self.now.mono + at.since(self.now.wall)
    }
}
