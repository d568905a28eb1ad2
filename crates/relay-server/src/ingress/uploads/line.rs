//! Turns: who of those whose bodies are large may take memory next, so that what is begun becomes whole.
//!
//! Bodies that reserve as they come hold a part each where memory is short, and none becomes whole. So a body may hold
//! [`limits::SMALL_BODY_BYTES`] as it likes, and beyond that what it had a turn for: one that its head has proven all that
//! it declares, before it is read, and any other as much again as has come, since whoever announces much and sends nothing
//! is to have nothing. A turn is given while what is held and what is promised to those that come on leave room for it. Whoever
//! stalls has no promise, and what he holds counts for nothing towards others like him: it is taken from him when they come
//! to need it.
//!
//! Turns go by class, then by order of coming, so that what is large is not passed for ever by what is less so. Nobody waits
//! for longer than [`limits::MEMORY_WAIT`]; whoever has not begun to send by then has lost nothing.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use relay_core::limits;
use tokio::time::{Instant, timeout_at};

use super::{
    Class, FOR_TURNS, LOOK_AGAIN, LOOK_EVERY, LOOKED_AT_PER_MILLISECOND, Listed, Paused, Sum, Table, Upload, Uploads,
    Waited, class_of,
};

/// What the bodies of one class hold, and what they are promised beside it.
#[derive(Clone, Copy, Default)]
struct Holding {
    held: u64,
    /// Of that, what those hold that give way to others of their class.
    yielding: u64,
    promised: u64,
}

/// What a body wants a turn for.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Turn {
    /// What it may hold then.
    pub(in super::super) ceiling: u64,
    /// How much that is beyond what is reserved for it.
    pub(in super::super) more: u64,
    /// And what it is with all that is held beside it.
    pub(in super::super) size: u64,
}

const CLASSES: usize = Class::AddressOverHalf as usize + 1;

impl Uploads {
    /// Waits for a body's turn.
    pub(in super::super) async fn turn(&self, listed: &Listed<'_>, wanted: Turn) -> Waited {
        let upload = &listed.upload;
        if self.stand_in_line(upload, wanted) {
            return Waited::Grown;
        }
        let (standing, paused) = (Standing { uploads: self, upload }, Paused::begin(self, upload));
        let (in_line, until) = (self.budget.wait_for_turn(), Instant::now() + limits::MEMORY_WAIT);
        loop {
            // Before the look: whatever is given back from now on is heard of.
            let told = in_line.told();
            self.look_along();
            let called = poll_fn(|cx| match (listed.is_given_up(cx), upload.wants.load(Ordering::Acquire)) {
                (true, _) => Poll::Ready(Waited::GivenUp),
                (false, 0) => Poll::Ready(Waited::Grown),
                (false, _) => Poll::Pending,
            });
            let now = Instant::now();
            // Cancel safety: whoever leaves the line gives its place back.
            tokio::select! {
                biased;
                waited = called => {
                    drop((standing, paused));
                    return waited;
                }
                () = async { let _ = timeout_at(until.min(now + LOOK_AGAIN), told).await; } => {}
            }
            if now >= until {
                return Waited::InVain;
            }
        }
    }

    /// Whether its turn has come at once; else it is in the line.
    fn stand_in_line(&self, upload: &Upload, Turn { ceiling, more, size }: Turn) -> bool {
        let mut table = self.lock();
        let limit = self.budget.part(self.budget.entitles(size));
        // As if nothing of what is promised had come: for what is far from full.
        let taken = self.budget.used().saturating_add(table.ceilings).saturating_add(ceiling);
        if table.in_line == 0 && taken <= limit {
            table.promise(upload, ceiling);
            return true;
        }
        // Whoever stands there again has come when he first did.
        if upload.turn.load(Ordering::Relaxed) == 0 {
            table.last_turn += 1;
            upload.turn.store(table.last_turn, Ordering::Relaxed);
        }
        upload.limit.store(limit, Ordering::Relaxed);
        upload.more.store(more, Ordering::Relaxed);
        upload.wants.store(ceiling, Ordering::Relaxed);
        table.in_line += 1;
        false
    }

    /// Looks along the line, now and then, and calls those whose turn it is.
    fn look_along(&self) {
        let now = self.tick();
        let mut table = self.lock();
        let pause = (table.uploads.len() as u64 / LOOKED_AT_PER_MILLISECOND).min(LOOK_EVERY);
        let next = &self.next_look[FOR_TURNS];
        if now < next.load(Ordering::Relaxed) {
            return;
        }
        next.store(now + pause, Ordering::Relaxed);
        table.sum_promises(now);
        let half = self.budget.max() / 2;
        let (mut holdings, mut line, mut reading) = ([Holding::default(); CLASSES], Vec::new(), false);
        for upload in table.all() {
            let (class, held) = (upload.class_in_line(half), upload.held());
            let holding = &mut holdings[class as usize];
            holding.held += held;
            if upload.wants.load(Ordering::Relaxed) > 0 {
                line.push((class, upload.turn.load(Ordering::Relaxed), Arc::clone(upload)));
            } else if upload.yields(now) {
                holding.yielding += held;
            } else {
                let promised = upload.promised(now);
                holding.promised += promised;
                reading |= promised > 0;
            }
        }
        line.sort_unstable_by_key(|(class, turn, _)| (*class, *turn));
        for (place, (class, _, upload)) in line.iter().enumerate() {
            let wants = upload.wants.load(Ordering::Relaxed);
            let more = upload.more.load(Ordering::Relaxed);
            let whole = counted(self.budget.used(), &holdings, *class).saturating_add(more);
            let lacking = whole.saturating_sub(upload.limit.load(Ordering::Relaxed));
            if lacking > 0 {
                // Nobody comes on, and those behind hold what the first one waits for.
                if place == 0 && !reading {
                    give_up_last(&line[1..], lacking);
                }
                return;
            }
            holdings[*class as usize].promised += more;
            table.promise(upload, wants);
            upload.waker.wake();
        }
    }
}

/// Gives up those that came last, until so many bytes are on their way back.
fn give_up_last(line: &[(Class, u64, Arc<Upload>)], bytes: u64) {
    let mut coming = 0;
    for (.., upload) in line.iter().rev().filter(|(.., upload)| upload.held() > 0) {
        if coming >= bytes {
            return;
        }
        upload.give_up();
        coming += upload.held();
    }
}

/// Bytes that are not to be had by a body of that class.
fn counted(used: u64, holdings: &[Holding; CLASSES], class: Class) -> u64 {
    let (own, behind) = (holdings[class as usize], &holdings[class as usize + 1..]);
    let given_way = own.yielding + behind.iter().map(|holding| holding.held).sum::<u64>();
    let promised = holdings[..=class as usize].iter().map(|holding| holding.promised).sum::<u64>();
    used.saturating_sub(given_way).saturating_add(promised)
}

impl Table {
    /// It may hold so much from now on, and is not in the line any more.
    fn promise(&mut self, upload: &Upload, ceiling: u64) {
        self.ceilings -= upload.promised_once();
        upload.ceiling.store(ceiling, Ordering::Relaxed);
        self.ceilings += upload.promised_once();
        self.leave_line(upload);
    }

    fn leave_line(&mut self, upload: &Upload) {
        if upload.wants.swap(0, Ordering::Release) > 0 {
            self.in_line -= 1;
        }
    }

    /// What all of each source and network hold and are promised.
    fn sum_promises(&self, now: u64) {
        let all = || self.all().flat_map(|upload| upload.sums().map(move |sum| (upload, sum)));
        all().for_each(|(_, sum)| sum.promised.store(0, Ordering::Relaxed));
        for (upload, sum) in all() {
            sum.promised.fetch_add(upload.held() + upload.promised(now), Ordering::Relaxed);
        }
    }
}

impl Upload {
    /// What it was ever promised, once it had a turn.
    pub(super) fn promised_once(&self) -> u64 {
        let ceiling = self.ceiling.load(Ordering::Relaxed);
        if ceiling > limits::SMALL_BODY_BYTES { ceiling } else { 0 }
    }

    /// What it is promised beside what it holds.
    fn promised(&self, now: u64) -> u64 {
        if self.wants.load(Ordering::Relaxed) > 0 || self.is_late(now) {
            return 0;
        }
        self.promised_once().saturating_sub(self.held())
    }

    /// Whether it gives way to another of its class that has just come.
    fn yields(&self, now: u64) -> bool {
        self.is_given_up() || self.is_stalled(now) || (!self.proven && self.is_late(now))
    }

    /// The class by which it stands in line: by what is promised, since that is what is divided there.
    fn class_in_line(&self, half: u64) -> Class {
        let over = |sum: &Sum| sum.promised.load(Ordering::Relaxed) > half;
        class_of(self.proven, over(&self.of_source), self.of_networks.iter().any(|sum| over(sum)))
    }
}

impl Listed<'_> {
    /// The bytes that it may hold without another turn.
    pub(in super::super) fn ceiling(&self) -> u64 {
        self.upload.ceiling.load(Ordering::Relaxed)
    }
}

/// A body in the line; leaves it when dropped.
struct Standing<'a> {
    uploads: &'a Uploads,
    upload: &'a Upload,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.uploads.lock().leave_line(self.upload);
    }
}
