//! Fills marks: reads events behind the commits that stored them, from where it was on, and backwards from there to the oldest.
//!
//! **Invariant:** what is read, and what rests, is no more than that of one look through bodies; what is written waits behind all that is taken
//! in. A moment is passed once nothing that was minted before it can be stored any more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use relay_core::{
    limits,
    name::Name,
    storage::{EventFilter, Page, Range, StoreError, WholeEvent, WholePage},
    time::Wall,
};
use relay_store::seam::{Indexed, MarkedEvent, Marking};
use tokio::time::{Instant, sleep};

use super::{
    Marks,
    value::{Wanted, marked},
};
use crate::directory::Directory;

/// Between two looks whether something came: longer than a writer without work waits before it takes its rest.
const EVERY: Duration = Duration::from_secs(2);
/// Of one read; of one that is too slow a tenth.
const PAGE_EVENTS: u32 = 200;
/// Of one read, and then to the end of a body.
const PAGE_BYTES: u64 = 1 << 20;

/// Parsed of one read, for all marks together, and then to the end of a body.
const PAGE_PARSED: usize = 16 << 20;
/// After so long that nothing comes of it is told.
const TOLD_AFTER: Duration = Duration::from_mins(1);

const MILLI: Duration = Duration::from_millis(1);

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// What came since.
    Forwards,
    /// What had come before.
    Backwards,
}

/// What a run remembers between two pages.
#[derive(Default)]
pub(super) struct Run {
    /// The registry as it was looked at.
    seen: Option<Arc<Directory>>,
    wanted: BTreeMap<Name, Vec<Wanted>>,
    /// Slots with rows that nobody wants.
    unwanted: Vec<(Name, u8)>,
    /// Where a page ended, for which slots: more than one event may be of a millisecond.
    cursors: BTreeMap<(Name, Way), (Vec<u8>, String)>,
    /// Events of a page; 0 is [`PAGE_EVENTS`].
    size: u32,
    /// Since when nothing comes of it, and whether that was told.
    trouble: Option<(Instant, bool)>,
    /// That nothing is kept was told.
    is_told: bool,
}

impl Marks {
    /// Runs until it is dropped; where no source declares marks it sleeps until one does.
    pub(crate) async fn run(&self) {
        let (mut run, mut changes) = (Run::default(), self.registry.changes());
        loop {
            let begun = Instant::now();
            let done = self.round(&mut run).await;
            run.tell(done.as_ref().err());
            match done {
                Ok(true) => sleep(begun.elapsed().max(MILLI)).await,
                // A shorter page may be read, and who reads besides has his turn first.
                Err(StoreError::TooSlow { .. }) if run.size() > 1 => sleep(begun.elapsed().max(EVERY / 10)).await,
                // Cancel safety: what changed since it was subscribed to is heard, whenever that was.
                Ok(false) if run.has_nothing_to_do() && changes.changed().await.is_ok() => {}
                Ok(false) | Err(_) => sleep(EVERY).await,
            }
        }
    }

    /// One page of each source, or a step of removing; whether there is more to do. What fails of one source is left for the next round.
    pub(super) async fn round(&self, run: &mut Run) -> Result<bool, StoreError> {
        let directory = self.registry.directory();
        if run.seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &directory)) {
            self.look_at(run, &directory).await?;
            run.seen = Some(directory);
        }
        let mut more = self.remove(run).await?;
        let until = self.nothing_comes_before();
        if let Some(source) = run.wanted.keys().next() {
            // One writer takes up what comes in its order: what was minted before that moment, and taken up before its deadline, is stored
            // when this is answered, and what still waits then is refused, for its deadline is over.
            self.upkeep.mark(Marking::nothing(source.clone())).await?;
        }
        let mut failed = None;
        for (source, wanted) in run.wanted.clone() {
            for way in [Way::Forwards, Way::Backwards] {
                let done = match way {
                    Way::Forwards => self.forwards(run, &source, &wanted, until).await,
                    Way::Backwards => self.backwards(run, &source, &wanted).await,
                };
                match done {
                    Ok(is_more) => more |= is_more,
                    Err(error) => failed = Some(error),
                }
            }
        }
        failed.map_or(Ok(more), Err)
    }

    /// Takes over what sources declare by now. A store that never had any says so without looking.
    async fn look_at(&self, run: &mut Run, directory: &Directory) -> Result<(), StoreError> {
        let wanted = self.wanted(directory);
        if !self.are_kept {
            if !wanted.is_empty() && !std::mem::replace(&mut run.is_told, true) {
                tracing::warn!(
                    event = "marks_not_kept",
                    sources = wanted.len(),
                    "sources declare marks, which Redis does not keep yet"
                );
            }
            return Ok(());
        }
        let stored = self.archive.indexed().await?;
        let is_wanted = |stored: &Indexed| {
            wanted.get(&stored.source).is_some_and(|marks| marks.iter().any(|mark| mark.marker == stored.marker))
        };
        let (known, unwanted): (Vec<Indexed>, Vec<Indexed>) = stored.into_iter().partition(is_wanted);
        run.unwanted = unwanted.into_iter().map(|stored| (stored.source, stored.marker.slot)).collect();
        let known: Vec<Indexed> = known.into_iter().map(|stored| self.at_least(stored)).collect();
        self.known().clear();
        self.reached(known);
        (run.wanted, run.cursors) = (wanted, BTreeMap::new());
        Ok(())
    }

    /// A step of removing what nobody wants.
    async fn remove(&self, run: &mut Run) -> Result<bool, StoreError> {
        let Some((source, slot)) = run.unwanted.last().cloned() else { return Ok(false) };
        if !self.upkeep.unmark(source, slot).await? {
            run.unwanted.pop();
        }
        Ok(true)
    }

    /// What came since the last page; whether there is more.
    async fn forwards(&self, run: &mut Run, source: &Name, wanted: &[Wanted], until: Wall) -> Result<bool, StoreError> {
        let reach = self.begun(run, source, wanted, until).await?;
        let Some(since) = reach.iter().map(|indexed| indexed.to).min().filter(|since| *since < until) else {
            return Ok(false);
        };
        let range = Range { since: Some(since), until: Some(until) };
        let (is_all, marked) = self.read(run, source, (&begun(wanted, &reach), range), Way::Forwards).await?;
        let reach_to =
            |to: Wall| reach.iter().map(|indexed| Indexed { to: indexed.to.max(to), ..indexed.clone() }).collect();
        self.put(source, marked, is_all.then_some(until), &reach_to).await?;
        Ok(!is_all)
    }

    /// What had come before what is filled, of those marks that are the least far; whether there is more.
    async fn backwards(&self, run: &mut Run, source: &Name, wanted: &[Wanted]) -> Result<bool, StoreError> {
        let reach: Vec<Indexed> = wanted.iter().filter_map(|mark| self.reach(source, mark.marker)).collect();
        let Some(until) = reach.iter().map(|indexed| indexed.from).max().filter(|from| *from > Wall::MIN) else {
            return Ok(false);
        };
        let reach: Vec<Indexed> = reach.into_iter().filter(|indexed| indexed.from == until).collect();
        let range = Range { since: None, until: Some(until) };
        let (is_all, marked) = self.read(run, source, (&begun(wanted, &reach), range), Way::Backwards).await?;
        // Of the millisecond of the last one there may be more.
        let reach_from = |from: Wall| {
            let from = if from == Wall::MIN { from } else { from + MILLI };
            reach.iter().map(|indexed| Indexed { from: indexed.from.min(from), ..indexed.clone() }).collect()
        };
        self.put(source, marked, is_all.then_some(Wall::MIN), &reach_from).await?;
        Ok(true)
    }

    /// How far the marks of a source go; those that go nowhere yet begin where the others are.
    async fn begun(
        &self,
        run: &Run,
        source: &Name,
        wanted: &[Wanted],
        until: Wall,
    ) -> Result<Vec<Indexed>, StoreError> {
        let is_free = |mark: &Wanted| !run.unwanted.contains(&(source.clone(), mark.marker.slot));
        let known = |mark: &Wanted| self.reach(source, mark.marker);
        let at = wanted.iter().filter_map(known).map(|indexed| indexed.to).min().unwrap_or(until);
        let new: Vec<Indexed> = wanted
            .iter()
            .filter(|mark| is_free(mark) && known(mark).is_none())
            .map(|mark| Indexed { source: source.clone(), marker: mark.marker, from: at, to: at })
            .collect();
        if !new.is_empty() {
            self.commit(Marking { source: source.clone(), events: Vec::new(), reach: new }).await?;
        }
        Ok(wanted.iter().filter_map(known).collect())
    }

    /// Reads a page: whether it was the last, and what stands for the values of each event, with the moment that its id names.
    async fn read(
        &self,
        run: &mut Run,
        source: &Name,
        (wanted, range): (&[Wanted], Range),
        way: Way,
    ) -> Result<(bool, Vec<(Wall, MarkedEvent)>), StoreError> {
        let filter =
            EventFilter { source: Some(source.clone()), range, name: None, oldest_first: way == Way::Forwards };
        let (place, slots): (_, Vec<u8>) =
            ((source.clone(), way), wanted.iter().map(|mark| mark.marker.slot).collect());
        let cursor = run.cursors.get(&place).filter(|(of, _)| *of == slots).map(|(_, cursor)| cursor.clone());
        let page = Page { cursor, limit: run.size() };
        let held = self.room.acquire().await.map_err(|_| StoreError::Unavailable)?;
        let page = self.archive.browse_whole(filter, page, PAGE_BYTES).await;
        run.read(page.as_ref().err());
        let WholePage { items, next, .. } = page?;
        let wanted = wanted.to_vec();
        // Where that holds up nobody: bodies are parsed, and decoded.
        let judged = tokio::task::spawn_blocking(move || judge(items, &wanted));
        let (marked, behind) = judged.await.map_err(|_| StoreError::Unavailable)?;
        let next = behind.or(next);
        drop(held);
        let is_all = next.is_none();
        match next {
            Some(next) => run.cursors.insert(place, (slots, next)),
            None => run.cursors.remove(&place),
        };
        Ok((is_all, marked))
    }

    /// Writes them, in commits that are short, each with how far marks go then; `end`: how far behind the last one.
    async fn put(
        &self,
        source: &Name,
        marked: Vec<(Wall, MarkedEvent)>,
        end: Option<Wall>,
        reach: &(dyn Fn(Wall) -> Vec<Indexed> + Sync),
    ) -> Result<(), StoreError> {
        let (mut events, mut values, mut last) = (Vec::new(), 0, None);
        for (at, event) in marked {
            last = Some(at);
            values += event.values.len();
            if !event.values.is_empty() {
                events.push(event);
            }
            if values >= limits::MARKS_A_COMMIT {
                let events = std::mem::take(&mut events);
                self.commit(Marking { source: source.clone(), events, reach: reach(at) }).await?;
                values = 0;
            }
        }
        let Some(at) = end.or(last) else { return Ok(()) };
        let reach = reach(at);
        // Where nothing came that is worth a commit the next run looks at that again; what had come before is looked at once.
        if events.is_empty() && end.is_some_and(|end| end > Wall::MIN) {
            self.reached(reach);
            return Ok(());
        }
        self.commit(Marking { source: source.clone(), events, reach }).await
    }

    pub(super) async fn commit(&self, marking: Marking) -> Result<(), StoreError> {
        let reach = marking.reach.clone();
        self.upkeep.mark(marking).await?;
        self.reached(reach);
        Ok(())
    }

    /// What was minted before then is stored, or refused for good: the millisecond of a commit's deadline.
    fn nothing_comes_before(&self) -> Wall {
        let at = self.clock.wall() - limits::COMMIT_WITHIN;
        Wall::from_micros(at.as_micros() / 1000 * 1000)
    }
}

/// What stands for the values of a page's events, each with the moment that its id names; and behind which it ended, where more was parsed than
/// one page may have.
fn judge(items: Vec<WholeEvent>, wanted: &[Wanted]) -> (Vec<(Wall, MarkedEvent)>, Option<String>) {
    let (mut judged, mut budget) = (Vec::with_capacity(items.len()), PAGE_PARSED);
    let count = items.len();
    for (place, WholeEvent { event, cursor }) in items.into_iter().enumerate() {
        let (marked, parsed) = marked(&event, wanted);
        judged.push((event.id.minted_at(), marked));
        budget = budget.saturating_sub(parsed);
        if budget == 0 && place + 1 < count {
            return (judged, Some(cursor));
        }
    }
    (judged, None)
}

/// Those of the marks that go that far.
fn begun(wanted: &[Wanted], reach: &[Indexed]) -> Vec<Wanted> {
    let goes = |mark: &&Wanted| reach.iter().any(|indexed| indexed.marker == mark.marker);
    wanted.iter().filter(goes).cloned().collect()
}

impl Run {
    /// A page was read, or not: after one that was too slow the next is a tenth of it.
    pub(super) fn read(&mut self, error: Option<&StoreError>) {
        self.size = match error {
            None => (self.size() * 10).min(PAGE_EVENTS),
            Some(StoreError::TooSlow { .. }) => (self.size() / 10).max(1),
            Some(_) => self.size(),
        };
    }

    /// Says once that nothing has come of it for a minute.
    fn tell(&mut self, error: Option<&StoreError>) {
        let Some(error) = error else {
            self.trouble = None;
            return;
        };
        let (since, is_told) = self.trouble.get_or_insert_with(|| (Instant::now(), false));
        if !*is_told && since.elapsed() >= TOLD_AFTER {
            *is_told = true;
            tracing::warn!(event = "marks_waiting", %error, "marks are not filled; it is tried again every two seconds");
        }
    }

    /// No source declares marks, and none is left of one that did.
    fn has_nothing_to_do(&self) -> bool {
        self.wanted.is_empty() && self.unwanted.is_empty()
    }

    pub(super) const fn size(&self) -> u32 {
        if self.size == 0 { PAGE_EVENTS } else { self.size }
    }
}
