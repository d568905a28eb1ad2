//! A command under way: page, decide, step, next.

use std::{collections::BTreeMap, time::Duration};

use super::{Action, Command, ForHub, JobOp, JobStored, Last, Output, Pace, Target};
use crate::{
    delivery::{self, Delivery, State},
    fault::Retry,
    id::{DeliveryId, EventId},
    limits,
    name::Name,
    routing::Route,
    storage::{
        self, Asked, Changed, DeliveryFilter, EventFilter, EventRow, EventsAsk, Listing, Mark, OpId, Page, PageAsk,
        Range, Step, Stepped, StoreError,
    },
    time::Wall,
};

/// A command under way. See [the module](super) for how to drive it.
#[derive(Debug)]
pub struct Job {
    command: Command,
    target: Reads,
    /// As it is stored; of a dry run, as it was counted.
    mark: Mark,
    /// Of a dry run: how many deliveries of each destination it is about.
    split: BTreeMap<Name, u64>,
    /// Of a dry run: the outermost that it counted, whatever order they came in.
    last: Option<Last>,
    /// Of a dry run: the first that it counted.
    first: Option<DeliveryId>,
    /// Where the next page starts.
    cursor: Option<String>,
    /// Most on a page, and most there may be.
    page_max: u32,
    page_limit: u32,
    ops: u64,
    phase: Phase,
    /// Times that the store could not, since it last could.
    tries: u8,
    is_pausing: bool,
    is_stopped: bool,
    tells: Option<ForHub>,
}

/// How a target is read.
#[derive(Debug)]
enum Reads {
    Ids(Vec<DeliveryId>),
    Matching(DeliveryFilter),
    Events(EventFilter),
    /// There is none.
    Nothing,
}

/// What comes next.
#[derive(Debug)]
enum Phase {
    /// A page is to be read.
    Read,
    Reading(OpId),
    /// Named ones are being read; the next are behind this place.
    Finding(OpId, Option<String>),
    /// These are to be decided about.
    Decide(Listing<Delivery>),
    /// These are to be replayed; so many ids are wanted for that.
    Replay(Listing<EventRow>),
    Minting(Listing<EventRow>),
    Make(Listing<EventRow>, Vec<DeliveryId>),
    /// These have changed since they were decided about, for so many times.
    DecideAgain(Vec<Delivery>, u8),
    /// This step is to be asked for.
    Ready(PendingStep),
    Stepping(OpId, PendingStep),
    Over(End),
}

/// A step and how it came about.
#[derive(Debug)]
struct PendingStep {
    step: Box<Step>,
    /// So many times its deliveries were decided about anew.
    round: u8,
    /// It was asked for, and may be done.
    is_uncertain: bool,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It is through, or has reached its limit.
    Done,
    /// It was stopped before it was through.
    Stopped,
    /// Somebody, this one, stopped the job in the store before it was through.
    StoppedBy(String),
    /// Another command has its id: nothing was done.
    Taken,
    /// The store could not, more often than it is asked. What was done stays done.
    Failed(StoreError),
}

/// What a job came to, with all that was done under its id before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSums {
    /// How it ended.
    pub end: End,
    /// What was decided about: deliveries, or events of a replay or an erasure.
    pub matched: u64,
    /// Deliveries that were changed, removed or made; of an erasure, events that were erased.
    pub changed: u64,
    /// Of a dry run: how many deliveries of each destination are among those, or would be made.
    pub split: BTreeMap<Name, u64>,
    /// Of a dry run that has reached its limit: the outermost that it counted.
    pub last: Option<Last>,
    /// Of a dry run: one of the deliveries that it counted.
    pub example: Option<DeliveryId>,
    /// Where a command goes on that asks for the rest.
    pub next: Option<String>,
    /// Where they come at a rate: when the next would be due.
    pub next_due: Option<Wall>,
}

impl Job {
    /// A job that has not begun.
    pub fn new(command: Command) -> Self {
        let target = match (&command.target, &command.action) {
            (Target::Events(filter), Action::Replay { .. } | Action::Erase { .. }) => {
                Reads::Events(until(filter, command.as_of))
            }
            (Target::Events(_), _) | (_, Action::Replay { .. } | Action::Erase { .. }) => Reads::Nothing,
            (Target::Ids(ids), _) => Reads::Ids(ids.iter().copied().collect()),
            (Target::Matching(filter), action) => narrowed(filter, action.states(), command.as_of),
        };
        let cursor = command.cursor.clone();
        let page_limit = limits::JOB_STEP_MAX / u32::try_from(command.action.routes_max()).unwrap_or(u32::MAX).max(1);
        Self {
            command,
            target,
            mark: Mark::default(),
            split: BTreeMap::new(),
            last: None,
            first: None,
            cursor,
            page_max: page_limit.max(1),
            page_limit: page_limit.max(1),
            ops: 0,
            phase: Phase::Read,
            tries: 0,
            is_pausing: false,
            is_stopped: false,
            tells: None,
        }
    }

    /// The same, with so many deliveries at most in a step.
    #[must_use]
    pub fn by(self, page_limit: u32) -> Self {
        let page_limit = page_limit.clamp(1, self.page_limit);
        Self { page_max: page_limit, page_limit, ..self }
    }

    /// The same, so far already as the store has it: without a look at what lies before that.
    #[must_use]
    pub fn at(mut self, mark: Mark) -> Self {
        if mark.steps > 0 && mark.fingerprint == self.command.fingerprint {
            self.mark = mark;
            self.go_on();
        }
        self
    }

    /// Ends it before its next page: what is under way is waited for.
    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// The next thing to do; `None` while an answer is waited for.
    pub fn poll(&mut self, now: Wall) -> Option<Output> {
        loop {
            if let Some(told) = self.tells.take() {
                return Some(Output::Tell(told));
            }
            if self.is_stopped && (self.is_pausing || matches!(self.phase, Phase::Read | Phase::Minting(_))) {
                self.end(End::Stopped);
                continue;
            }
            if std::mem::take(&mut self.is_pausing) {
                return Some(Output::Pause(limits::STORE_RETRY));
            }
            match std::mem::replace(&mut self.phase, Phase::Read) {
                Phase::Read => {
                    if let Some(op) = self.read() {
                        return Some(Output::Ask(op));
                    }
                }
                Phase::Decide(page) => self.decide(page, now),
                Phase::Replay(page) if matches!(self.command.action, Action::Erase { .. }) => self.erase(&page, now),
                Phase::Replay(page) => match self.wants(&page) {
                    0 => self.make(&page, Vec::new(), now),
                    wanted => {
                        self.phase = Phase::Minting(page);
                        return Some(Output::Mint(wanted));
                    }
                },
                Phase::Make(page, ids) => self.make(&page, ids, now),
                Phase::DecideAgain(found, round) => self.decide_again(&found, round, now),
                Phase::Ready(work) => {
                    let asked = Asked::new(self.next_op(), work.step.clone());
                    self.phase = Phase::Stepping(asked.id(), work);
                    return Some(Output::Ask(JobOp::Step(asked)));
                }
                waiting @ (Phase::Reading(_) | Phase::Finding(..) | Phase::Minting(_) | Phase::Stepping(..)) => {
                    self.phase = waiting;
                    return None;
                }
                Phase::Over(end) => {
                    self.phase = Phase::Over(end);
                    return Some(Output::Over);
                }
            }
        }
    }

    /// Takes the ids that [`Output::Mint`] asks for. Whoever has none to give stops it.
    pub fn mint(&mut self, ids: Vec<DeliveryId>) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Read) {
            Phase::Minting(page) => Phase::Make(page, ids),
            other => other,
        };
    }

    /// The store answered. What nobody waits for is passed over.
    pub fn handle(&mut self, answer: JobStored) {
        match (std::mem::replace(&mut self.phase, Phase::Read), answer) {
            (Phase::Reading(id), JobStored::Page(one)) if one.id() == id => self.on_page(one.answer, Phase::Decide),
            (Phase::Reading(id), JobStored::Events(one)) if one.id() == id => self.on_page(one.answer, Phase::Replay),
            (Phase::Finding(id, next), JobStored::Find(one)) if one.id() == id => {
                let found =
                    |found: Vec<Option<Delivery>>| Listing { items: found.into_iter().flatten().collect(), next };
                self.on_page(one.answer.map(found), Phase::Decide);
            }
            (Phase::Stepping(id, work), JobStored::Step(one)) if one.id() == id => self.on_step(work, one.answer),
            (other, _) => self.phase = other,
        }
    }

    /// What it came to; `None` until it is over.
    pub fn outcome(&self) -> Option<JobSums> {
        let Phase::Over(end) = &self.phase else { return None };
        let Mark { matched, changed, next_due, .. } = self.mark;
        let next = self.cursor.clone();
        let next_due = self.command.action.pace().map(|pace| next_due.unwrap_or(pace.from));
        let (split, example) = (self.split.clone(), self.first);
        let last = self.last.filter(|_| self.command.limit.is_some_and(|limit| matched >= limit));
        Some(JobSums { end: end.clone(), matched, changed, split, last, example, next, next_due })
    }

    /// Asks for the next page; or notes that there is nothing on it.
    fn read(&mut self) -> Option<JobOp> {
        let wanted = self.left().min(u64::from(self.page_max)) as u32;
        if wanted == 0 {
            self.end(End::Done);
            return None;
        }
        match &self.target {
            Reads::Ids(ids) => {
                // Text that no page gave out starts at the first.
                let from = self.cursor.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0).min(ids.len());
                let to = ids.len().min(from + wanted as usize);
                let (these, next) = (ids[from..to].to_vec(), (to < ids.len()).then(|| to.to_string()));
                let asked = Asked::new(self.next_op(), these);
                self.phase = Phase::Finding(asked.id(), next);
                Some(JobOp::Find(asked))
            }
            Reads::Matching(filter) => {
                let page = Page { cursor: self.cursor.clone(), limit: wanted };
                let ask = PageAsk { filter: filter.clone(), page };
                let asked = Asked::new(self.next_op(), ask);
                self.phase = Phase::Reading(asked.id());
                Some(JobOp::Page(asked))
            }
            Reads::Events(filter) => {
                let page = Page { cursor: self.cursor.clone(), limit: wanted };
                let ask = EventsAsk { filter: filter.clone(), page };
                let asked = Asked::new(self.next_op(), ask);
                self.phase = Phase::Reading(asked.id());
                Some(JobOp::Events(asked))
            }
            Reads::Nothing => {
                self.phase = Phase::Decide(Listing { items: Vec::new(), next: None });
                None
            }
        }
    }

    fn on_page<T>(&mut self, result: Result<Listing<T>, StoreError>, then: fn(Listing<T>) -> Phase) {
        match result {
            Ok(page) => {
                self.tries = 0;
                self.page_max = self.page_max.saturating_mul(2).min(self.page_limit);
                self.phase = then(page);
            }
            Err(error) if error.wants_less() && self.page_max > 1 => self.page_max /= 2,
            Err(error) => self.on_trouble(error),
        }
    }

    fn decide(&mut self, page: Listing<Delivery>, now: Wall) {
        if let Some(fewer) = self.fewer(&page.items) {
            // They are read anew: only the store knows where a page behind the last of them starts.
            self.page_max = fewer;
            return;
        }
        // Behind the last there is none.
        let is_end =
            self.command.last.is_some_and(|last| page.items.last().is_some_and(|found| self.is_behind(found, last)));
        let meant: Vec<Delivery> = page.items.into_iter().filter(|found| self.is_for(found)).collect();
        if self.command.dry_run {
            self.count(&meant);
        }
        let mut step = self.step(page.next.filter(|_| !is_end));
        let pace = self.pace(now);
        self.put(&mut step, &meant, now, |number| pace.map(|pace| pace.due(number)));
        self.decided(step, pace);
    }

    /// Counts these, as a dry run does.
    fn count(&mut self, meant: &[Delivery]) {
        for found in meant {
            *self.split.entry(found.destination.clone()).or_default() += 1;
        }
        self.first = self.first.or_else(|| meant.first().map(|found| found.id));
        self.last = meant.iter().map(|found| self.place(found)).chain(self.last).min();
    }

    /// Whether nothing behind this one, where the newest come first, is of those up to the last. Servers whose clocks are apart by as much
    /// as they may mint ids that are not in the order in which a store lists them.
    fn is_behind(&self, found: &Delivery, last: Last) -> bool {
        if self.comes_by_end() {
            self.place(found) < last
        } else {
            found.id.minted_at() + limits::CLOCKS_APART < DeliveryId::from_u128(last.id).minted_at()
        }
    }

    fn comes_by_end(&self) -> bool {
        matches!(&self.target, Reads::Matching(filter) if filter.comes_by_end())
    }

    /// Where one stands among the others.
    fn place(&self, found: &Delivery) -> Last {
        Last { at: if self.comes_by_end() { found.changed_at } else { Wall::MIN }, id: found.id.as_u128() }
    }

    /// How many of these one step may be about, if that is not all: what is removed in one commit is bounded in rows.
    fn fewer(&self, found: &[Delivery]) -> Option<u32> {
        if self.command.dry_run || !self.command.action.removes() {
            return None;
        }
        let mut rows = 0;
        let fit = found.iter().take_while(|found| {
            rows += if self.is_for(found) { storage::rows_removed(found, Some(found.body_bytes)) } else { 0 };
            rows <= u64::from(limits::JOB_STEP_MAX)
        });
        // One alone goes, whatever it takes.
        let fit = fit.count().max(1);
        (fit < found.len()).then_some(fit as u32)
    }

    /// How many ids a page of events wants.
    fn wants(&self, page: &Listing<EventRow>) -> usize {
        if self.command.dry_run {
            return 0;
        }
        page.items.iter().map(|row| self.routes(row).len()).sum()
    }

    /// Along which routes an event is replayed.
    fn routes(&self, row: &EventRow) -> &[Route] {
        let is_meant = self.is_up_to_last(row) && !row.event.is_erased();
        if is_meant { self.command.action.routes(&row.event.source) } else { &[] }
    }

    /// Whether an event is one of those that a preview counted. The oldest come first.
    fn is_up_to_last(&self, row: &EventRow) -> bool {
        let Command { as_of, last, .. } = &self.command;
        as_of.is_none_or(|then| row.event.received_at <= then)
            && last.is_none_or(|last| row.event.id.as_u128() <= last.id)
    }

    /// Where the page behind this one starts; `None`: there is none, or nothing on it is meant.
    fn behind(&self, page: &Listing<EventRow>) -> Option<String> {
        let end = |last: Last| EventId::from_u128(last.id).minted_at() + limits::CLOCKS_APART;
        let behind = |last: Last| page.items.last().is_some_and(|row| row.event.id.minted_at() > end(last));
        page.next.clone().filter(|_| !self.command.last.is_some_and(behind))
    }

    /// Puts the new deliveries of these events into a step.
    fn make(&mut self, page: &Listing<EventRow>, ids: Vec<DeliveryId>, now: Wall) {
        let mut step = self.step(self.behind(page));
        let (pace, mut ids) = (self.pace(now), ids.into_iter());
        let (mut split, mut last) = (std::mem::take(&mut self.split), self.last);
        for row in &page.items {
            let routes = self.routes(row);
            if routes.is_empty() {
                continue;
            }
            last = last.max(Some(Last { at: Wall::MIN, id: row.event.id.as_u128() }));
            for route in routes.iter().filter(|_| self.command.dry_run) {
                *split.entry(route.destination.clone()).or_default() += 1;
            }
            let due = pace.map_or(Wall::MIN, |pace| pace.due(step.matched));
            for (route, id) in routes.iter().zip(&mut ids) {
                // Minted anew by whoever runs this job again, which a store has to know for the same.
                let id = id.of_job(self.command.job, row.event.id, &route.destination);
                let made = Delivery::ready(id, &row.event, route.destination.clone(), true, now, route.ttl);
                // A row has its event without the body.
                step.make.push(Delivery { body_bytes: row.body_bytes, ..made }.due_from(due));
            }
            step.matched += 1;
        }
        (self.split, self.last) = (split, last);
        self.decided(step, pace);
    }

    /// Puts these events into a step, and the end of what of them may still go out.
    fn erase(&mut self, page: &Listing<EventRow>, now: Wall) {
        if let Some(fewer) = self.fewer_erased(&page.items) {
            self.page_max = fewer;
            return;
        }
        let mut step = self.step(self.behind(page));
        let Action::Erase { cancels } = self.command.action else { return self.decided(step, None) };
        for row in &page.items {
            if !self.is_erasable(row) {
                continue;
            }
            let open = || row.deliveries.iter().filter(|found| found.state.is_open());
            let is_left = !cancels && open().next().is_some();
            if self.command.dry_run {
                self.last = self.last.max(Some(Last { at: Wall::MIN, id: row.event.id.as_u128() }));
                open().for_each(|found| *self.split.entry(found.destination.clone()).or_default() += 1);
            } else if !is_left {
                step.settle.extend(row.deliveries.iter().filter_map(|found| delivery::give_up(found, now)));
                step.erase.push(row.event.id);
            }
            step.matched += 1;
        }
        self.decided(step, None);
    }

    /// Whether an event is one to erase.
    fn is_erasable(&self, row: &EventRow) -> bool {
        !row.event.is_erased() && self.is_up_to_last(row)
    }

    /// How many of these events one step may erase, if that is not all: it writes their bodies over.
    fn fewer_erased(&self, found: &[EventRow]) -> Option<u32> {
        let mut bytes = 0_u64;
        let fit = found.iter().take_while(|row| {
            bytes += if self.is_erasable(row) { row.body_bytes } else { 0 };
            bytes <= limits::ERASED_BYTES
        });
        // One alone goes, however long it is.
        let fit = fit.count().max(1);
        (!self.command.dry_run && fit < found.len()).then_some(fit as u32)
    }

    /// From when on the next come, where they come at a rate: behind those before them, and not at once for what was late.
    fn pace(&self, now: Wall) -> Option<Pace> {
        let pace = self.command.action.pace()?;
        Some(Pace { from: pace.from.max(now).max(self.mark.next_due.unwrap_or(Wall::MIN)), ..pace })
    }

    fn decided(&mut self, mut step: Step, pace: Option<Pace>) {
        step.is_over = step.cursor.is_none();
        step.next_due = pace.map(|pace| pace.due(step.matched));
        if self.command.dry_run {
            self.mark.matched += step.matched;
            self.cursor = step.cursor;
            self.phase = if step.is_over { Phase::Over(End::Done) } else { Phase::Read };
        } else if step.matched > 0 || step.is_over {
            self.phase = Phase::Ready(PendingStep { step: Box::new(step), round: 0, is_uncertain: false });
        } else {
            self.cursor = step.cursor;
        }
    }

    /// Decides about what has changed since it was decided about: counted already, and not the first at its rate.
    fn decide_again(&mut self, found: &[Delivery], round: u8, now: Wall) {
        let mut step = Step { is_over: self.mark.is_over, ..self.step(self.mark.cursor.clone()) };
        // In the turn of the next one, whose turn it stays.
        let due = self.pace(now).map(|pace| pace.from);
        self.put(&mut step, found, now, |_| due);
        if step.matched == 0 {
            return self.go_on();
        }
        step.matched = 0;
        self.phase = Phase::Ready(PendingStep { step: Box::new(step), round, is_uncertain: false });
    }

    /// A step that does nothing yet.
    fn step(&self, cursor: Option<String>) -> Step {
        Step {
            job: self.command.job,
            before: self.mark.steps,
            cursor,
            matched: 0,
            fingerprint: self.command.fingerprint,
            next_due: self.mark.next_due,
            is_over: false,
            settle: Vec::new(),
            retire: Vec::new(),
            make: Vec::new(),
            erase: Vec::new(),
            audit: self.command.audit.clone().filter(|_| self.mark.changed == 0),
        }
    }

    /// Puts what is decided about these into a step; where they come at a rate, each due behind so many of the others.
    fn put(&self, step: &mut Step, found: &[Delivery], now: Wall, due: impl Fn(u64) -> Option<Wall>) {
        for found in found.iter().filter(|found| self.is_meant(found)) {
            if self.command.action.decide(found, due(step.matched), now, step) {
                step.matched += 1;
            }
        }
    }

    fn is_meant(&self, found: &Delivery) -> bool {
        let Command { action, pick, as_of, last, .. } = &self.command;
        // Of events that are erased the deliveries are meant whichever they are.
        let is_behind = |last: Last| self.place(found) < last && !matches!(action, Action::Erase { .. });
        pick.as_ref().is_none_or(|pick| pick.holds(found))
            && !last.is_some_and(is_behind)
            && as_of.is_none_or(|then| action.matched(found, then, pick.is_some()))
    }

    /// Whether something is done to it.
    fn is_for(&self, found: &Delivery) -> bool {
        self.is_meant(found) && self.command.action.states().contains(&found.state)
    }

    fn on_step(&mut self, work: PendingStep, result: Result<Stepped, StoreError>) {
        match result {
            Ok(Stepped::Done { mark, settled, retired, made, .. }) => {
                self.tries = 0;
                self.mark = mark;
                let again = self.note(&work.step, settled, &retired, &made);
                if work.is_uncertain {
                    // Where a step is done in parts, some of them may have been when it was asked for before.
                    self.tell(ForHub::of_any(&work.step));
                }
                if again.is_empty() || work.round >= limits::DECIDE_AGAIN_MAX {
                    self.go_on();
                } else {
                    self.phase = Phase::DecideAgain(again, work.round + 1);
                }
            }
            Ok(Stepped::Elsewhere(mark)) if mark.steps > 0 && mark.fingerprint != self.command.fingerprint => {
                self.end(End::Taken);
            }
            Ok(Stepped::Elsewhere(mark)) => {
                self.tries = 0;
                if work.is_uncertain {
                    self.tell(ForHub::of_any(&work.step));
                }
                self.mark = mark;
                self.go_on();
            }
            Err(error) => {
                let work = PendingStep { is_uncertain: work.is_uncertain || error.is_unknown(), ..work };
                self.phase = Phase::Ready(work);
                self.on_trouble(error);
            }
        }
    }

    /// Takes note of what a step did; gives what it did not do, and may still be done.
    fn note(&mut self, step: &Step, settled: Vec<Changed>, retired: &[bool], made: &[bool]) -> Vec<Delivery> {
        self.tell(ForHub::of_step(step, &settled, retired, made));
        let again = |changed| if let Changed::Conflict(Some(other)) = changed { Some(*other) } else { None };
        settled.into_iter().filter_map(again).collect()
    }

    fn tell(&mut self, told: ForHub) {
        self.tells = Some(told).filter(|told| !told.is_empty());
    }

    /// Behind the mark.
    fn go_on(&mut self) {
        if let Some(who) = self.mark.stopped_by() {
            (self.phase, self.cursor) = (Phase::Over(End::StoppedBy(who.to_owned())), None);
            return;
        }
        self.cursor.clone_from(&self.mark.cursor);
        self.phase = if self.mark.is_over { Phase::Over(End::Done) } else { Phase::Read };
    }

    /// The store could not; the phase is what is asked for next.
    fn on_trouble(&mut self, error: StoreError) {
        self.tries += 1;
        let again = error.retry() != Retry::Never && self.tries <= limits::JOB_TRIES_MAX;
        if again {
            self.is_pausing = true;
        } else {
            self.end(End::Failed(error));
        }
    }

    fn end(&mut self, end: End) {
        self.is_pausing = false;
        if let Phase::Ready(work) = std::mem::replace(&mut self.phase, Phase::Over(end))
            && work.is_uncertain
        {
            self.tell(ForHub::of_any(&work.step));
        }
    }

    /// How many more it may be about.
    fn left(&self) -> u64 {
        self.command.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.mark.matched))
    }

    fn next_op(&mut self) -> OpId {
        self.ops += 1;
        OpId(self.ops)
    }
}

/// A filter without what was received after that.
fn until(filter: &EventFilter, as_of: Option<Wall>) -> EventFilter {
    EventFilter { range: up_to(filter.range, as_of), ..filter.clone() }
}

/// A range that ends with that moment, if not before.
fn up_to(range: Range, as_of: Option<Wall>) -> Range {
    let Some(then) = as_of else { return range };
    let behind = then + Duration::from_micros(1);
    Range { until: Some(range.until.map_or(behind, |until| until.min(behind))), ..range }
}

/// A filter with those states alone that an action is for. Where they come by when they ended, those that ended later than a preview was
/// made are not even read; the order stays the same.
fn narrowed(filter: &DeliveryFilter, states: &[State], as_of: Option<Wall>) -> Reads {
    let is_wanted = |state: &State| filter.states.is_empty() || filter.states.contains(state);
    let states: Vec<State> = states.iter().copied().filter(is_wanted).collect();
    if states.is_empty() {
        return Reads::Nothing;
    }
    let mut narrow = DeliveryFilter { states, ..filter.clone() };
    if narrow.comes_by_end() {
        narrow.range = up_to(narrow.range, as_of);
    }
    Reads::Matching(narrow)
}
