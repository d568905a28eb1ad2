//! What goes round and round as long as a store does, and when it last came round: who waits for one that has stopped waits for ever.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::awake::Awake;

/// Later than it should be by so much, something is wrong with it.
const LATE: Duration = Duration::from_secs(10);

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

/// When each of them last came round; one that never began is not waited for. What the process stood still for makes none of them late.
#[derive(Debug, Default)]
pub(super) struct Loops {
    awake: Arc<Awake>,
    ran: Mutex<[Option<Instant>; Loop::ALL.len()]>,
}

impl Loops {
    /// Those of a process that says when it ran; each of them is a sign of that.
    pub(super) fn of(awake: &Arc<Awake>) -> Self {
        Self { awake: Arc::clone(awake), ran: Mutex::default() }
    }

    /// It has come round, whatever came of it.
    pub(super) fn ran(&self, which: Loop) {
        self.ran_at(which, Instant::now());
    }

    fn ran_at(&self, which: Loop, at: Instant) {
        self.awake.runs_at(at);
        self.ran.lock().unwrap_or_else(PoisonError::into_inner)[which as usize] = Some(at);
    }

    /// Which of them are late, in words.
    pub(super) fn late(&self, patience: Duration) -> Vec<String> {
        self.late_at(Instant::now(), patience)
    }

    fn late_at(&self, now: Instant, patience: Duration) -> Vec<String> {
        let ran = *self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        let late = |which: Loop| {
            let since = self.awake.since_at(ran[which as usize]?, now);
            let is_late = since > which.round(patience) + LATE;
            is_late.then(|| format!("{} for {} s: restart this server", which.in_words(), since.as_secs()))
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
            loops.late_at(*now, Duration::ZERO);
        }
    }

    /// I24: each that stands still is named once it is ten seconds late, and not any more once it goes on.
    #[test]
    fn whatever_stands_still_is_named() {
        let (loops, patience, mut now) = (Loops::default(), Duration::from_secs(2), Instant::now());
        assert_eq!(loops.late_at(now, patience), Vec::<String>::new(), "what never began is not late");
        for which in Loop::ALL {
            let is_named = |now| loops.late_at(now, patience).iter().any(|late| late.starts_with(which.in_words()));
            loops.ran_at(which, now);
            pass(&loops, &mut now, which.round(patience) + LATE);
            assert!(!is_named(now), "{which:?}");
            pass(&loops, &mut now, Duration::from_secs(1));
            assert!(is_named(now), "{which:?}");
        }
        assert_eq!(loops.late_at(now, patience).len(), Loop::ALL.len());
        loops.ran_at(Loop::Due, now);
        assert_eq!(loops.late_at(now, patience).len(), Loop::ALL.len() - 1);
    }

    /// F6, I24: where the clock jumps by an hour, or the process stood still for one, none is late that goes on then, and all are that
    /// do not.
    #[test]
    fn an_hour_that_the_process_did_not_run_makes_none_late() {
        let (loops, patience, mut now) = (Loops::default(), Duration::from_secs(2), Instant::now());
        for which in Loop::ALL {
            loops.ran_at(which, now);
        }
        now += Duration::from_hours(1);
        assert_eq!(loops.late_at(now, patience), Vec::<String>::new());
        pass(&loops, &mut now, Duration::from_secs(2));
        assert_eq!(loops.late_at(now, patience), Vec::<String>::new());
        pass(&loops, &mut now, Duration::from_mins(1));
        let late = loops.late_at(now, patience);
        assert_eq!(late.len(), Loop::ALL.len());
        assert!(late.iter().all(|late| late.contains(" for 68 s")), "{late:?}");
    }
}
