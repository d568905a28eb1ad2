//! What looks after indexes by itself: a glance every few seconds, and one round after another through all keys, slowly.
//!
//! It looks after those partitions of which this server is the janitor, as it was last asked about (`due`); of others somebody else does.
//! Whatever goes wrong, it goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use relay_core::partitions::Partitions;
use tokio::time::{self, Instant};

use super::{
    Core,
    awake::Awake,
    glance::Glance,
    mend::{Mended, Round},
    reply::Fault,
};

/// It rests so many times as long as it worked: so long as nothing is wrong, about one part in thirty of one connection is its own.
const RESTS: u32 = 30;
/// And at least so long, and at most.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));
/// A partition of which a glance sees what going through it did not change is gone through again after so long.
const WALKED_ANEW: Duration = Duration::from_mins(1);
/// Where it has not run for so long, something is wrong with it.
const LATE: Duration = Duration::from_secs(60);

/// How it is with what looks after indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// So long ago its last step was.
    pub ran: Option<Duration>,
    /// So long ago its last round through all keys ended.
    pub through: Option<Duration>,
    /// What came of all its rounds.
    pub mended: Mended,
}

/// What others are told of it, and what it is told.
#[derive(Debug, Default)]
pub(super) struct Scrubs {
    awake: Arc<Awake>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    janitor_of: Option<Partitions>,
    began: Option<Instant>,
    ran: Option<Instant>,
    through: Option<Instant>,
    mended: Mended,
}

impl Scrubs {
    /// In a process that says when it ran.
    pub(super) fn of(awake: &Arc<Awake>) -> Self {
        Self { awake: Arc::clone(awake), state: Mutex::default() }
    }

    fn with<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It goes on: something came of a step, however many there are of it.
    pub(super) fn goes_on(&self) {
        self.with(|state| state.ran = Some(Instant::now()));
    }

    /// This server looks after these from now on.
    pub(super) fn look_after(&self, partitions: Partitions) {
        self.with(|state| state.janitor_of = Some(partitions));
    }

    /// When it last ran, and what came of it.
    pub(super) fn scrubbed(&self) -> Scrubbed {
        self.with(|state| Scrubbed {
            ran: state.ran.map(|at| at.elapsed()),
            through: state.through.map(|at| at.elapsed()),
            mended: state.mended,
        })
    }

    /// Why it is late, if it is.
    pub(super) fn late(&self) -> Option<String> {
        let since = self.awake.since(self.with(|state| state.ran.max(state.began))?);
        let is_late = since > LATE;
        is_late
            .then(|| format!("indexes in Redis have not been looked at for {} s: restart this server", since.as_secs()))
    }
}

/// Where it is.
#[derive(Default)]
struct Scrub {
    glanced: Option<Instant>,
    /// What glances saw last that a round could not change.
    known: BTreeMap<usize, BTreeMap<String, i64>>,
    /// Through all partitions, slowly, and when its next step is.
    round: Option<Round>,
    steps_next: Option<Instant>,
    /// Through each partition of which a glance saw that something is apart, at once.
    walks: BTreeMap<usize, Round>,
    /// The one that had the last turn.
    walked: usize,
    in_vain: InVain,
}

/// Partitions that were gone through for nothing: what a glance saw there is the same behind it.
#[derive(Debug, Default)]
struct InVain(BTreeMap<usize, (Glance, Instant)>);

impl InVain {
    /// Notes what a glance sees behind a walk, if that changed nothing.
    fn note(&mut self, place: usize, seen: &Glance, has_changed: bool, now: Instant) {
        if has_changed {
            self.0.remove(&place);
        } else {
            self.0.insert(place, (seen.clone(), now));
        }
    }

    /// Whether a glance saw the same as lately, when nothing came of it.
    fn holds(&self, place: usize, seen: &Glance, now: Instant) -> bool {
        self.0
            .get(&place)
            .is_some_and(|(before, at)| before == seen && now.saturating_duration_since(*at) < WALKED_ANEW)
    }
}

/// Looks after indexes as long as there is a store.
pub(super) async fn scrub(core: Weak<Core>) {
    let state = Arc::new(tokio::sync::Mutex::new(Scrub::default()));
    while let Some(core) = core.upgrade() {
        core.scrubs.with(|state| state.began = Some(Instant::now()));
        let began = Instant::now();
        let (step, of) = (Arc::clone(&core), Arc::clone(&state));
        let step = tokio::spawn(async move { step.scrub_step(&mut *of.lock().await).await }).await;
        match step {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::debug!(?fault, "indexes are looked at later"),
            Err(panic) => {
                tracing::error!(event = "scrub_failed", %panic, "indexes are looked at again from the beginning");
                *state.lock().await = Scrub::default();
            }
        }
        core.scrubs.goes_on();
        let walks = !state.lock().await.walks.is_empty();
        let rest = if walks { began.elapsed().min(REST.1) } else { rest_behind(began.elapsed()) };
        let rest = rest.min(core.options.glance_every);
        drop(core);
        time::sleep(rest).await;
    }
}

fn rest_behind(worked: Duration) -> Duration {
    (worked * RESTS).clamp(REST.0, REST.1)
}

impl Core {
    async fn scrub_step(&self, scrub: &mut Scrub) -> Result<(), Fault> {
        let places = self.places_of_janitor();
        // What is away, or takes no commits, keeps no other from being looked at.
        let there: BTreeSet<usize> = places.iter().copied().filter(|place| self.nodes.takes_commits(*place)).collect();
        scrub.walks.retain(|place, _| there.contains(place));
        if there.is_empty() {
            scrub.round = None;
            return Ok(());
        }
        let mut glanced = Ok(());
        if scrub.glanced.is_none_or(|at| at.elapsed() >= self.options.glance_every) {
            scrub.glanced = Some(Instant::now());
            for place in &there {
                glanced = self.look_at(*place, scrub).await.and(glanced);
            }
        }
        let walked = self.walk_on(scrub).await;
        let mut stepped = Ok(());
        if scrub.steps_next.is_none_or(|next| next <= Instant::now()) {
            let began = Instant::now();
            let round = scrub.round.get_or_insert_with(|| Round::through(places));
            round.only_in(|place| there.contains(&place));
            stepped = self.step_of(round).await;
            let is_stuck =
                matches!(stepped, Err(Fault::Damaged(_) | Fault::Unexpected(_) | Fault::Later(_) | Fault::Elsewhere));
            if round.is_over() || is_stuck {
                // One that met what it cannot work on, or parts that have moved, begins anew, by the types of keys.
                if let Some(round) = scrub.round.take() {
                    self.end_round(&round);
                }
            }
            let rest = rest_behind(began.elapsed()).min(self.options.glance_every);
            scrub.steps_next = Some(Instant::now() + rest);
        }
        stepped.and(walked).and(glanced)
    }

    /// A step, of which is told what came of it, however it ends.
    async fn step_of(&self, round: &mut Round) -> Result<(), Fault> {
        let before = round.mended();
        let stepped = self.mend_step(round).await;
        let done = round.mended().since(before);
        self.scrubs.with(|state| state.mended.join(done));
        stepped
    }

    fn places_of_janitor(&self) -> BTreeSet<usize> {
        let partitions = self.scrubs.with(|state| state.janitor_of);
        let places = partitions.into_iter().flat_map(|partitions| self.space.some(partitions).map(|(place, _)| place));
        places.collect()
    }

    fn end_round(&self, round: &Round) {
        let mended = round.mended();
        self.scrubs.with(|state| {
            let is_through = round.is_over() && round.is_whole();
            state.through = is_through.then(Instant::now).or(state.through);
        });
        if mended.has_changed() {
            let Mended { rows, mended, strays, lost, orphans, aside, kept, .. } = mended;
            tracing::warn!(
                event = "store_mended",
                rows,
                mended,
                strays,
                lost,
                orphans,
                aside,
                kept,
                "what Redis held did not fit together, and does again"
            );
        }
    }

    /// A glance at a partition. Where less or more stands in its indexes than should, they are all gone through, from now on; what that
    /// does not change is known then.
    async fn look_at(&self, place: usize, scrub: &mut Scrub) -> Result<(), Fault> {
        if scrub.walks.contains_key(&place) {
            return Ok(());
        }
        let seen = self.glance(place).await;
        let is_known = |apart: &BTreeMap<String, i64>| scrub.known.get(&place).is_some_and(|known| known == apart);
        match &seen {
            Ok(seen) if seen.is_whole && (seen.apart.is_empty() || is_known(&seen.apart)) => return Ok(()),
            Ok(seen) if scrub.in_vain.holds(place, seen, Instant::now()) => return Ok(()),
            Ok(_) | Err(Fault::Damaged(_) | Fault::Unexpected(_)) => {}
            Err(fault) => return Err(fault.clone()),
        }
        scrub.walks.insert(place, Round::through(BTreeSet::from([place])));
        Ok(())
    }

    /// A step through one of the partitions that are gone through, each in its turn: however large one is, it keeps nothing else waiting.
    async fn walk_on(&self, scrub: &mut Scrub) -> Result<(), Fault> {
        let behind = scrub.walks.range(scrub.walked + 1..).chain(scrub.walks.range(..=scrub.walked));
        let Some(place) = behind.map(|(place, _)| *place).next() else { return Ok(()) };
        scrub.walked = place;
        // Whatever else goes wrong on the way, the next glance begins it anew.
        let Some(mut round) = scrub.walks.remove(&place) else { return Ok(()) };
        match self.step_of(&mut round).await {
            // It is tried again, and then passed over.
            Err(Fault::Unknown) => {}
            stepped => stepped?,
        }
        if round.is_over() {
            return self.end_walk(place, &round, scrub).await;
        }
        scrub.walks.insert(place, round);
        Ok(())
    }

    async fn end_walk(&self, place: usize, round: &Round, scrub: &mut Scrub) -> Result<(), Fault> {
        let mut seen = self.glance(place).await?;
        let mut has_changed = round.mended().has_changed();
        if !seen.is_whole || !seen.apart.is_empty() || round.mended().lost > 0 {
            let has_counted = self.mend_counters_of(place, round).await?;
            self.scrubs.with(|state| state.mended.counters += u64::from(has_counted));
            has_changed |= has_counted;
            seen = self.glance(place).await?;
        }
        scrub.in_vain.note(place, &seen, has_changed, Instant::now());
        scrub.known.insert(place, seen.apart);
        self.end_round(round);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I15: what going through a partition does not change is gone through again a minute later, and as soon as something else is apart.
    #[test]
    fn a_partition_is_not_gone_through_for_nothing_again_and_again() {
        let (mut in_vain, now) = (InVain::default(), Instant::now());
        let seen = Glance { is_whole: false, apart: BTreeMap::from([("exp:crm".to_owned(), 1)]) };
        let other = Glance { apart: BTreeMap::new(), ..seen.clone() };
        assert!(!in_vain.holds(3, &seen, now), "nobody went through it yet");
        in_vain.note(3, &seen, true, now);
        assert!(!in_vain.holds(3, &seen, now), "something came of it");
        in_vain.note(3, &seen, false, now);
        assert!(in_vain.holds(3, &seen, now) && !in_vain.holds(3, &other, now) && !in_vain.holds(4, &seen, now));
        assert!(in_vain.holds(3, &seen, now + WALKED_ANEW - Duration::from_millis(1)));
        assert!(!in_vain.holds(3, &seen, now + WALKED_ANEW));
    }
}
