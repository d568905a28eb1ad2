//! The circuit: stops trying a destination that does not answer, per destination and client instance.
//!
//! **Invariant:** an open circuit lets out one probe at a time, and one success closes it.

use std::time::Duration;

use crate::{
    delivery::outcome::{Class, Outcome},
    id::EventId,
    limits,
    time::Mono,
};

/// The circuit of one destination as one client instance sees it.
#[derive(Clone, Debug, Default)]
pub struct Circuit {
    unreachable: u32,
    /// Different events in a row that failed; never more than [`limits::CIRCUIT_EVENTS`].
    failed: Vec<EventId>,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    pause: Duration,
    probe_at: Mono,
    probing: bool,
    error: String,
}

/// What a circuit lets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It is closed: whatever is due.
    All,
    /// It is open and its pause is over: one delivery, as a probe.
    Probe,
    /// Nothing before then.
    NotBefore(Mono),
    /// Nothing until its probe has come back.
    Probing,
}

/// What an outcome did to a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It opened.
    Opened,
    /// It closed.
    Closed,
    /// It is as it was, open or closed.
    Same,
}

impl Circuit {
    /// What may go out at `now`.
    pub fn permit(&self, now: Mono) -> Permit {
        match &self.open {
            None => Permit::All,
            Some(open) if open.probing => Permit::Probing,
            Some(open) if now >= open.probe_at => Permit::Probe,
            Some(open) => Permit::NotBefore(open.probe_at),
        }
    }

    /// Whether it is open, and the latest failure in words.
    pub fn open_error(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.error.as_str())
    }

    /// Whether there is nothing to remember of it.
    pub fn is_blank(&self) -> bool {
        self.open.is_none() && self.unreachable == 0 && self.failed.is_empty()
    }

    /// The one probe is on its way.
    pub fn on_probe(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
    }

    /// The probe found no room to go out: it may as soon as there is some.
    pub fn on_probe_waits(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// The probe ended without an outcome: lost, handed back, or nothing was due.
    pub fn on_probe_gone(&mut self, now: Mono) {
        if let Some(open) = &mut self.open {
            open.probing = false;
            open.probe_at = now + open.pause;
        }
    }

    /// A try of `event` ended. `probe`: it was the one that [`Self::on_probe`] spoke of.
    pub fn on_outcome(
        &mut self,
        event: EventId,
        outcome: &Outcome,
        probe: bool,
        now: Mono,
        pause_max: Duration,
    ) -> Turn {
        if outcome.class == Class::Delivered {
            let was_open = self.open.is_some();
            *self = Self::default();
            return if was_open { Turn::Closed } else { Turn::Same };
        }
        if let Some(open) = &mut self.open {
            if probe {
                open.probing = false;
                open.pause = (open.pause * 2).min(pause_max);
                open.probe_at = now + open.pause;
                open.error = words(outcome);
            }
            return Turn::Same;
        }
        self.unreachable = if outcome.class == Class::Unreachable { self.unreachable + 1 } else { 0 };
        if !self.failed.contains(&event) {
            self.failed.push(event);
        }
        if self.unreachable < limits::CIRCUIT_UNREACHABLE && self.failed.len() < limits::CIRCUIT_EVENTS {
            return Turn::Same;
        }
        let pause = limits::CIRCUIT_PAUSE_FIRST.min(pause_max);
        self.open = Some(Open { pause, probe_at: now + pause, probing: false, error: words(outcome) });
        Turn::Opened
    }
}

fn words(outcome: &Outcome) -> String {
    match (&outcome.error, outcome.status) {
        (Some(error), _) => error.to_string(),
        (None, Some(status)) => format!("answered {status}"),
        (None, None) => outcome.class.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE_MAX: Duration = Duration::from_secs(4);

    fn outcome(class: Class) -> Outcome {
        Outcome { class, status: None, retry_after: None, duration: Duration::ZERO, error: None }
    }

    fn feed(circuit: &mut Circuit, event: u128, class: Class, probe: bool, now: Mono) -> Turn {
        circuit.on_outcome(EventId::from_u128(event), &outcome(class), probe, now, PAUSE_MAX)
    }

    fn opened(now: Mono) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..3 {
            feed(&mut circuit, 1, Class::Unreachable, false, now);
        }
        circuit
    }

    #[test]
    fn three_unreachable_in_a_row_open_it() {
        let mut circuit = Circuit::default();
        let now = Mono::from_micros(0);
        let classes = [Class::Unreachable, Class::Unreachable, Class::Busy, Class::Unreachable, Class::Unreachable];
        for class in classes {
            assert_eq!(feed(&mut circuit, 1, class, false, now), Turn::Same);
        }
        assert_eq!(feed(&mut circuit, 1, Class::Unreachable, false, now), Turn::Opened);
    }

    #[test]
    fn five_different_events_without_a_success_open_it() {
        let mut circuit = Circuit::default();
        let now = Mono::from_micros(0);
        for event in [1, 2, 3, 4, 4, 1] {
            assert_eq!(feed(&mut circuit, event, Class::Rejected, false, now), Turn::Same);
        }
        feed(&mut circuit, 9, Class::Delivered, false, now);
        for event in [1, 2, 3, 4] {
            assert_eq!(feed(&mut circuit, event, Class::Rejected, false, now), Turn::Same);
        }
        assert_eq!(feed(&mut circuit, 5, Class::Rejected, false, now), Turn::Opened);
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_one_probe_is_out_at_a_time() {
        let mut now = Mono::from_micros(0);
        let mut circuit = opened(now);
        for pause in [1, 2, 4, 4] {
            let at = now + Duration::from_secs(pause);
            assert_eq!(circuit.permit(now), Permit::NotBefore(at));
            now = at;
            assert_eq!(circuit.permit(now), Permit::Probe);
            circuit.on_probe();
            assert_eq!(circuit.permit(now), Permit::Probing);
            assert_eq!(feed(&mut circuit, 1, Class::Rejected, true, now), Turn::Same);
        }
    }

    #[test]
    fn one_success_closes_it_probe_or_not() {
        let now = Mono::from_micros(0);
        let mut circuit = opened(now);
        assert_eq!(feed(&mut circuit, 2, Class::Delivered, false, now), Turn::Closed);
        assert_eq!(circuit.permit(now), Permit::All);
    }
}
