//! How much comes in: servers note down from time to time how many events were ever accepted. What is stored says nothing about that: one
//! old event that nobody removes makes the others look rare.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use relay_core::time::Wall;
use tokio::time::Instant;

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    reply::{Fault, number},
};

/// A day.
pub(super) const DAY: Duration = Duration::from_hours(24);
/// One note after another.
const NOTED_EVERY: Duration = Duration::from_mins(10);
/// What came in less time than this says nothing about a day.
const RATE_OF_LEAST: Duration = Duration::from_mins(10);
/// Older notes are of no use: a day, and what lies between two of them.
const KEPT_FOR: Duration = Duration::from_hours(25);

/// What this server last saw of it.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    noted: Option<Instant>,
    a_day: Option<u64>,
}

impl Pace {
    /// Events a day, by the last day; `None`: it is too early to say.
    pub(super) fn a_day(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).a_day
    }

    fn is_noted(&self) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner).noted;
        noted.is_some_and(|noted| noted.elapsed() < NOTED_EVERY)
    }

    fn saw(&self, a_day: Option<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seen { noted: Some(Instant::now()), a_day };
    }
}

/// One note: at that moment so many had been accepted.
type Note = (Wall, u64);

/// Events a day, by notes of the last day, the oldest first, and what there is now.
fn a_day(notes: &[Note], (now, accepted): Note) -> Option<u64> {
    let is_young = |(at, _): &&Note| now.since(*at) <= DAY;
    // Counters that somebody took away begin anew: what was noted before that is of another count.
    let from = notes.iter().rposition(|(_, before)| *before > accepted).map_or(0, |at| at + 1);
    let (since, before) = notes[from..].iter().find(is_young)?;
    let span = now.since(*since);
    let a_day = u128::from(accepted - before) * DAY.as_millis() / span.as_millis().max(1);
    (span >= RATE_OF_LEAST).then(|| u64::try_from(a_day).unwrap_or(u64::MAX))
}

impl Core {
    /// Notes down how many were accepted, now and then.
    pub(super) async fn note_pace(&self) -> Result<(), Fault> {
        if self.pace.is_noted() || !self.acknowledged.has_begun() {
            return Ok(());
        }
        let (now, accepted) = self.accepted_now().await?;
        let notes = self.notes_of_pace().await?;
        let before = Wall::from_micros(now.as_micros() - KEPT_FOR.as_micros() as i64).as_millis();
        // The stream's own ids are moments, and rise: a clock that was set back waits until it is there again.
        let place = format!("{}-0", now.as_millis());
        let is_due = notes.last().is_none_or(|(at, _)| now.since(*at) >= NOTED_EVERY);
        if is_due {
            let add =
                Command::new("XADD").arg(self.space.accepted()).arg("MINID").arg(format!("{before}-0")).arg(place);
            let add = add.arg("n").arg(accepted.to_string());
            self.nodes.commit(Urgency::Upkeep, add).await?;
        }
        self.pace.saw(a_day(&notes, (now, accepted)));
        Ok(())
    }

    /// Events a day, by the last day.
    pub(super) async fn pace_now(&self) -> Result<Option<u64>, Fault> {
        Ok(a_day(&self.notes_of_pace().await?, self.accepted_now().await?))
    }

    async fn accepted_now(&self) -> Result<Note, Fault> {
        let counters = self.counters().await?;
        let accepted = counters.iter().flat_map(|counters| counters.sources.values()).map(|tally| tally.accepted).sum();
        Ok((self.clock().await?, accepted))
    }

    async fn notes_of_pace(&self) -> Result<Vec<Note>, Fault> {
        let all = Command::new("XRANGE").arg(self.space.accepted()).arg("-").arg("+");
        let all = self.nodes.readable(vec![all]).await?.pop().ok_or(Fault::Away)?;
        let note = |(place, text): (super::place::Place, Vec<u8>)| {
            let accepted = number(&text).ok()?;
            Some((place.moment(), accepted.max(0) as u64))
        };
        Ok(audit::entries(all)?.into_iter().filter_map(note).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hour: u64) -> Wall {
        Wall::from_micros((hour * 3_600_000_000) as i64)
    }

    /// I24: it is what came in the last day, however old what is stored is, and whatever became of counters before.
    #[test]
    fn what_comes_in_a_day_is_counted_over_a_known_span() {
        let notes = [(hour(1), 10), (hour(30), 1_000), (hour(40), 2_000)];
        assert_eq!(a_day(&notes, (hour(50), 3_000)), Some(2_400), "by the twenty hours that there are");
        assert_eq!(a_day(&notes, (hour(60), 2_000)), Some(0));
        assert_eq!(a_day(&notes[..1], (hour(50), 3_000)), None, "older than a day");
        assert_eq!(a_day(&notes, (hour(50), 1_500)), None, "counted anew since");
        let anew = [(hour(40), 2_000), (hour(44), 100)];
        assert_eq!(a_day(&anew, (hour(50), 700)), Some(2_400));
        let minutes = |minutes: u64| Wall::from_micros((minutes * 60_000_000) as i64);
        assert_eq!(a_day(&[(minutes(0), 0)], (minutes(9), 9)), None, "too early to say");
        assert_eq!(a_day(&[(minutes(0), 0)], (minutes(10), 10)), Some(1_440));
    }
}
