//! What goes round and round as long as a store does, when it last came round, and when something came of that: who waits for one that has
//! stopped, or that fails each time, waits for ever.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{awake::Awake, reply::Fault};

/// Later than it should be by so much, something is wrong with it.
const LATE: Duration = Duration::from_secs(10);
/// Where nothing has come of its rounds for so long, though the store commits, something is in its way that does not pass by itself.
const FAILS: Duration = Duration::from_mins(1);

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    /// How Redis is.
    Look,
    /// Whether Redis still has what was acknowledged last.
    Watch,
    /// What other servers say of changes.
    Hints,
    /// What is due: whoever works with the store asks for it.
    Due,
    /// That this server is there: likewise.
    Presence,
}

impl Loop {
    const ALL: [Self; 5] = [Self::Look, Self::Watch, Self::Hints, Self::Due, Self::Presence];

    /// So long it may take from one round to the next, where each answer may take this.
    fn round(self, patience: Duration) -> Duration {
        match self {
            Self::Look | Self::Due => Duration::from_secs(1) + patience,
            // It asks several things, one behind the other.
            Self::Watch => Duration::from_secs(1) + 4 * patience,
            Self::Hints => Duration::from_secs(5) + 2 * patience,
            Self::Presence => Duration::from_secs(3) + patience,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Look => "it has not been looked at how Redis is",
            Self::Watch => "it has not been looked at whether Redis has what was acknowledged",
            Self::Hints => "nobody has listened to what other servers say",
            Self::Due => "nobody has asked what is due",
            Self::Presence => "this server has not told the others that it is there",
        }
    }
}

/// What became of each of them; one that never began is not waited for. What the process stood still for makes none of them late.
#[derive(Debug, Default)]
pub(super) struct Loops {
    awake: Arc<Awake>,
    rounds: Mutex<[Option<Rounds>; Loop::ALL.len()]>,
}

/// How it is with one of them.
#[derive(Clone, Debug)]
struct Rounds {
    /// When it last came round, whatever came of it.
    ran: Instant,
    /// When something last came of it, or it began.
    well: Instant,
    /// What kept anything from coming of its last round.
    fault: Option<Fault>,
}

impl Loops {
    /// Those of a process that says when it ran; each of them is a sign of that.
    pub(super) fn of(awake: &Arc<Awake>) -> Self {
        Self { awake: Arc::clone(awake), rounds: Mutex::default() }
    }

    /// It has come round, and this came of it.
    pub(super) fn ran<T>(&self, which: Loop, came: &Result<T, Fault>) {
        self.ran_at(which, Instant::now(), came.as_ref().err());
    }

    fn ran_at(&self, which: Loop, at: Instant, fault: Option<&Fault>) {
        self.awake.runs_at(at);
        let mut all = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all[which as usize].as_ref().map_or(at, |rounds| rounds.well);
        let well = if fault.is_none() { at } else { before };
        all[which as usize] = Some(Rounds { ran: at, well, fault: fault.cloned() });
    }

    /// Which of them stand still, and, where the store commits, which come to nothing, in words.
    pub(super) fn late(&self, patience: Duration, commits: bool) -> Vec<String> {
        self.late_at(Instant::now(), patience, commits)
    }

    fn late_at(&self, now: Instant, patience: Duration, commits: bool) -> Vec<String> {
        let all = self.rounds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let late = |which: Loop| {
            let Rounds { ran, well, fault } = all[which as usize].as_ref()?;
            let since = self.awake.since_at(*ran, now);
            if since > which.round(patience) + LATE {
                return Some(format!("{} for {} s: restart this server", which.in_words(), since.as_secs()));
            }
            let (since, fault) = (self.awake.since_at(*well, now), fault.as_ref()?);
            let fails = commits && since > FAILS;
            fails
                .then(|| format!("{} for {} s, however often it was tried: {fault}", which.in_words(), since.as_secs()))
        };
        Loop::ALL.into_iter().filter_map(late).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds pass, in which the process runs: somebody asks how it is.
    fn pass(loops: &Loops, now: &mut Instant, by: Duration) {
        let end = *now + by;
        while *now < end {
            *now = end.min(*now + Duration::from_secs(5));
            loops.late_at(*now, Duration::ZERO, false);
        }
    }

    /// I24: each that stands still is named once it is ten seconds late, and not any more once it goes on.
    #[test]
    fn whatever_stands_still_is_named() {
        let (loops, patience, mut now) = (Loops::default(), Duration::from_secs(2), Instant::now());
        assert_eq!(loops.late_at(now, patience, true), Vec::<String>::new(), "what never began is not late");
        for which in Loop::ALL {
            let is_named =
                |now| loops.late_at(now, patience, false).iter().any(|late| late.starts_with(which.in_words()));
            loops.ran_at(which, now, None);
            pass(&loops, &mut now, which.round(patience) + LATE);
            assert!(!is_named(now), "{which:?}");
            pass(&loops, &mut now, Duration::from_secs(1));
            assert!(is_named(now), "{which:?}");
        }
        assert_eq!(loops.late_at(now, patience, true).len(), Loop::ALL.len());
        loops.ran_at(Loop::Due, now, None);
        assert_eq!(loops.late_at(now, patience, true).len(), Loop::ALL.len() - 1);
    }

    /// I24: each that comes round and fails each time is named after a minute, with what is in its way, as long as the store commits; one
    /// round that comes to something ends that.
    #[test]
    fn whatever_fails_each_time_is_named() {
        let (loops, patience) = (Loops::default(), Duration::from_secs(2));
        for which in Loop::ALL {
            let mut now = Instant::now();
            let fails = |now, commits| {
                let all = loops.late_at(now, patience, commits);
                all.into_iter().find(|late| late.starts_with(which.in_words()))
            };
            let fault = Fault::Damaged("no number: 1.5".into());
            for _ in 0..=60 {
                loops.ran_at(which, now, Some(&fault));
                assert_eq!(fails(now, true), None, "{which:?}");
                now += Duration::from_secs(1);
            }
            loops.ran_at(which, now, Some(&fault));
            let told = fails(now, true).unwrap_or_else(|| panic!("{which:?} has failed for a minute"));
            assert!(told.ends_with("for 61 s, however often it was tried: no number: 1.5"), "{told}");
            assert_eq!(fails(now, false), None, "{which:?}: the store says why by itself");
            loops.ran_at(which, now, None);
            assert_eq!(fails(now, true), None, "{which:?}");
        }
    }

    /// F6, I24: where the clock jumps by an hour, or the process stood still for one, none is late that goes on then, and all are that
    /// do not.
    #[test]
    fn an_hour_that_the_process_did_not_run_makes_none_late() {
        let (loops, patience, mut now) = (Loops::default(), Duration::from_secs(2), Instant::now());
        for which in Loop::ALL {
            loops.ran_at(which, now, None);
        }
        now += Duration::from_hours(1);
        assert_eq!(loops.late_at(now, patience, false), Vec::<String>::new());
        pass(&loops, &mut now, Duration::from_secs(2));
        assert_eq!(loops.late_at(now, patience, false), Vec::<String>::new());
        pass(&loops, &mut now, Duration::from_mins(1));
        let late = loops.late_at(now, patience, false);
        assert_eq!(late.len(), Loop::ALL.len());
        assert!(late.iter().all(|late| late.contains(" for 68 s")), "{late:?}");
    }
}
