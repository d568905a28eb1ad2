//! The server copies its store to a directory by itself: when it is due, whether it went well, and how old the newest copy is.
//!
//! **Invariant:** nothing waits for a copy. It is written and read by a thread of its own, at a low priority; a disk that hangs holds up
//! that thread alone, and is told. What has its name is whole and was read through, and only then an older one goes.

mod shelf;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use relay_core::time::{Mono, Now, Wall};
use relay_store::{
    copy::{
        BackupError, Copying, Piece,
        dir::{CopyDir, CopyDirError},
    },
    private::{self, Owners},
    seam::Upkeep,
    sqlite::check_copy,
    watch::Watch,
};
use rustix::process::setpriority_process;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::shelf::CopyShelf;
pub(crate) use self::shelf::KeptCopy;
use crate::{
    clock::{Clock, rough},
    config::BackupPlan,
};

/// Between two looks at whether a copy is due, at most.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// After a copy that failed the next is taken so much later, or when it is due, if that is sooner.
const RETRY_AFTER: Duration = Duration::from_mins(15);
/// The first copy of a run that has not come about by then is missed, whatever it does.
const FIRST_WITHIN: Duration = Duration::from_hours(1);
/// A copy of later than so much from now was taken by another clock: it says nothing about when the next is due.
const AHEAD_MAX: Duration = Duration::from_hours(1);
/// A directory that does not say so long what is in it does not answer; a copy that stands still so long neither, reading it through being one
/// step.
const LIST_WITHIN: Duration = Duration::from_mins(1);
const STEP_WITHIN: Duration = Duration::from_hours(1);
/// A copy that somebody takes by hand is waited for so long, and asked for so often.
const UNDER_WAY_MAX: Duration = Duration::from_hours(1);
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How much the thread of a copy stands back.
const NICE: i32 = 10;

/// Takes copies, and knows how they stand.
pub(crate) struct Backups {
    plan: BackupPlan,
    shelf: CopyShelf,
    store: Arc<dyn Upkeep>,
    data_dir: PathBuf,
    disk_reserve: u64,
    clock: Clock,
    standing: Mutex<Standing>,
    /// Looks at the directory: one at a time, however long it takes.
    listing: tokio::sync::Mutex<Option<JoinHandle<Option<KeptCopy>>>>,
}

/// How copies stand.
#[derive(Clone, Debug, Default)]
struct Standing {
    newest: Option<KeptCopy>,
    /// Which of them this run took last, and when that began.
    taken: Option<(PathBuf, Mono)>,
    /// Why the latest could not be taken.
    trouble: Option<String>,
    /// The directory does not answer.
    is_silent: bool,
    /// It did: which is the newest is known.
    has_listed: bool,
    /// When the copy under way last went on.
    moved: Mono,
    /// None is tried before.
    not_before: Mono,
    has_tried: bool,
}

/// What is wrong with them: the latest failed, or none is younger than `missed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanting {
    pub(crate) dir: String,
    /// How old the newest is; `None`: there is none.
    pub(crate) age: Option<Duration>,
    pub(crate) missed: Option<Duration>,
    /// Why the latest could not be taken.
    pub(crate) trouble: Option<String>,
    /// Its directory was read: what is not in it is not there.
    pub(crate) is_known: bool,
}

/// What somebody is shown of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopiesShown {
    pub(crate) dir: String,
    pub(crate) newest: Option<KeptCopy>,
    pub(crate) age: Option<Duration>,
    pub(crate) trouble: Option<String>,
}

/// Ends the work of a thread when nobody waits for it any more.
struct Ended(Arc<Watch>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Backups {
    /// As it is planned; `epoch`: what the store's copies have in common, so that others may use the same directory.
    pub(crate) fn new(
        plan: BackupPlan,
        epoch: String,
        store: Arc<dyn Upkeep>,
        (data_dir, disk_reserve): (PathBuf, u64),
        clock: Clock,
    ) -> Self {
        let shelf = CopyShelf::new(plan.dir.clone(), epoch);
        let (standing, listing) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { plan, shelf, store, data_dir, disk_reserve, clock, standing, listing }
    }

    /// Takes copies for as long as it is polled.
    pub(crate) async fn run(self: Arc<Self>) {
        let every = LOOK_EVERY.min(self.plan.every / 4);
        loop {
            self.step().await;
            sleep(every).await;
        }
    }

    /// One look, and the copy that is due.
    async fn step(self: &Arc<Self>) {
        if !self.list().await || !self.is_due(self.clock.now()) {
            return;
        }
        let began = self.clock.now().mono;
        let taken = self.take_watched().await;
        let now = self.clock.now().mono;
        let mut standing = self.standing();
        (standing.has_tried, standing.is_silent) = (true, false);
        match taken {
            Ok(copy) => {
                standing.taken = Some((copy.path.clone(), began));
                (standing.newest, standing.trouble) = (Some(copy), None);
            }
            Err(why) => {
                tracing::warn!(event = "backup_failed", dir = %self.plan.dir.display(), why, "it is tried again");
                standing.not_before = now + RETRY_AFTER.min(self.plan.every);
                standing.trouble = Some(why);
            }
        }
    }

    /// Looks which is the newest; `false`: the directory does not answer.
    async fn list(self: &Arc<Self>) -> bool {
        let mut listing = self.listing.lock().await;
        let this = Arc::clone(self);
        let asked =
            listing.get_or_insert_with(|| tokio::task::spawn_blocking(move || this.shelf.newest(this.clock.present())));
        let answer = timeout(LIST_WITHIN, asked).await;
        let mut standing = self.standing();
        standing.is_silent = answer.is_err();
        let Ok(answer) = answer else {
            // Of one that has never answered nobody knows what is in it.
            standing.has_tried |= standing.has_listed;
            return false;
        };
        *listing = None;
        if let Ok(newest) = answer {
            (standing.newest, standing.has_listed) = (newest, true);
        }
        true
    }

    /// The same as [`Self::take`]; one that stands still is told.
    async fn take_watched(self: &Arc<Self>) -> Result<KeptCopy, String> {
        self.standing().moved = self.clock.now().mono;
        let mut taking = std::pin::pin!(self.take());
        loop {
            if let Ok(taken) = timeout(LOOK_EVERY, taking.as_mut()).await {
                return taken;
            }
            let now = self.clock.now().mono;
            let mut standing = self.standing();
            standing.is_silent = now.since(standing.moved) >= STEP_WITHIN;
        }
    }

    fn is_due(&self, now: Now) -> bool {
        let standing = self.standing().clone();
        let age = standing.newest.as_ref().map(|copy| self.age(copy, &standing, now));
        age.is_none_or(|age| age >= self.plan.every) && now.mono >= standing.not_before
    }

    /// What is wrong with them, if anything is.
    pub(crate) fn wanting(&self, now: Now) -> Option<Wanting> {
        let standing = self.standing().clone();
        let (age, limit) = (standing.newest.as_ref().map(|copy| self.age(copy, &standing, now)), self.plan.every * 2);
        // A run that has just begun takes one first.
        let had_time = standing.has_tried || now.mono >= Mono::default() + FIRST_WITHIN;
        let missed = (had_time && age.is_none_or(|age| age >= limit)).then_some(limit);
        let (dir, trouble) = (self.plan.dir.display().to_string(), standing.trouble());
        let is_known = standing.has_listed;
        (missed.is_some() || trouble.is_some()).then_some(Wanting { dir, age, missed, trouble, is_known })
    }

    /// How they stand, for whoever asks.
    pub(crate) fn shown(&self, now: Now) -> CopiesShown {
        let standing = self.standing().clone();
        let age = standing.newest.as_ref().map(|copy| self.age(copy, &standing, now));
        let dir = self.plan.dir.display().to_string();
        let trouble = standing.trouble();
        CopiesShown { dir, newest: standing.newest, age, trouble }
    }

    /// By this run's own time where it took it, whatever becomes of the clock.
    fn age(&self, copy: &KeptCopy, standing: &Standing, now: Now) -> Duration {
        match &standing.taken {
            Some((path, taken)) if *path == copy.path => now.mono.since(*taken),
            Some(_) | None => self.clock.present().since(copy.at),
        }
    }

    /// Takes one now, on a thread of its own. Cancel safe: that ends then, and leaves nothing of it.
    async fn take(self: &Arc<Self>) -> Result<KeptCopy, String> {
        let (watch, (answer, taken)) = (Arc::new(Watch::default()), oneshot::channel());
        let _ended = Ended(Arc::clone(&watch));
        let (this, runtime) = (Arc::clone(self), Handle::current());
        let work = move || {
            stand_back();
            // Whoever asked may have gone.
            drop(answer.send(this.copy(&runtime, &watch)));
        };
        let spawned = thread::Builder::new().name("backup".into()).spawn(work);
        spawned.map_err(|error| format!("its thread cannot begin: {error}"))?;
        taken.await.unwrap_or_else(|_| Err("its thread panicked: this is a bug".to_owned()))
    }

    /// The whole of it: a new copy, read through and named; then those that are too many.
    fn copy(&self, runtime: &Handle, watch: &Arc<Watch>) -> Result<KeptCopy, String> {
        let dir = &self.plan.dir;
        if !dir.is_dir() {
            let dir = dir.display();
            return Err(format!("there is no directory {dir}. Make it: mkdir -m 700 {dir}; or mount what it is on"));
        }
        private::check_dir(dir, Owners::Us).map_err(|danger| danger.to_string())?;
        let whole = |path: &PathBuf| std::fs::canonicalize(path).ok();
        if whole(dir).zip(whole(&self.data_dir)).is_some_and(|(dir, data)| dir.starts_with(data)) {
            return Err("that is in DATA_DIR, and is lost with it: name a directory on another disk".to_owned());
        }
        let began = self.clock.now().mono;
        let at = self.clock.present();
        let removed = |left: &std::path::Path| {
            tracing::info!(event = "backup_left_removed", path = %left.display(), "of a copy that was cut short");
        };
        let mut copy = CopyDir::begin(&self.shelf.path(at), removed).map_err(|error| error.to_string())?;
        let kept = match self.fill(&mut copy, runtime, watch, at) {
            Ok(kept) => kept,
            Err(why) => {
                let left = copy.undo().err().map_or_else(String::new, |(path, error)| {
                    format!("; what is left of it in {} could not be removed: {error}", path.display())
                });
                return Err(format!("{why}{left}"));
            }
        };
        let (path, took_ms) = (kept.path.display(), self.clock.now().mono.since(began).as_millis() as u64);
        tracing::info!(event = "backup_taken", %path, events = kept.events, bytes = kept.bytes, took_ms);
        for (path, error) in self.shelf.keep(self.plan.keep, &kept) {
            tracing::warn!(event = "backup_not_removed", path = %path.display(), %error, "an older copy stays");
        }
        Ok(kept)
    }

    fn fill(&self, copy: &mut CopyDir, runtime: &Handle, watch: &Arc<Watch>, at: Wall) -> Result<KeptCopy, String> {
        let of_dir = |error: CopyDirError| error.to_string();
        let Copying { backup, mut pieces } = self.begin(runtime, watch).map_err(|error| error.to_string())?;
        copy.expect(&backup, self.reserve()).map_err(of_dir)?;
        let manifest = loop {
            if watch.is_stopped() {
                return Err("the server stops".to_owned());
            }
            self.standing().moved = self.clock.now().mono;
            match pieces.blocking_recv() {
                Some(Ok(Piece::Bytes(bytes))) => copy.write(&bytes).map_err(of_dir)?,
                Some(Ok(Piece::End(manifest))) => break *manifest,
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the store ended it".to_owned()),
            }
        };
        copy.finish(&manifest).map_err(of_dir)?;
        let report =
            check_copy(copy.part(), &self.plan.ciphers, watch).map_err(|error| format!("it does not read: {error}"))?;
        if let Some(first) = report.faults.first() {
            let count = report.faults.len();
            return Err(format!(
                "it does not hold ({count} faults, the first: {first}). What was copied may be damaged: stop the server and run crm-relay \
                 store check"
            ));
        }
        copy.name().map_err(of_dir)?;
        Ok(KeptCopy { path: self.shelf.path(at), at, events: backup.events, bytes: backup.bytes })
    }

    /// One that somebody takes by hand is waited for.
    fn begin(&self, runtime: &Handle, watch: &Watch) -> Result<Copying, BackupError> {
        let until = self.clock.now().mono + UNDER_WAY_MAX;
        loop {
            match runtime.block_on(self.store.backup()) {
                Err(BackupError::UnderWay) if !watch.is_stopped() && self.clock.now().mono < until => {
                    self.standing().moved = self.clock.now().mono;
                    thread::sleep(ASK_EVERY);
                }
                begun => return begun,
            }
        }
    }

    /// What has to stay free beside a copy: on the disk of the store what webhooks never fill.
    fn reserve(&self) -> u64 {
        let device = |path: &PathBuf| std::fs::metadata(path).map(|found| found.dev()).ok();
        if device(&self.plan.dir) == device(&self.data_dir) { self.disk_reserve } else { 0 }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Why there is none, as far as that is known.
    fn trouble(&self) -> Option<String> {
        let silent = || "it does not answer: look at what it is mounted from".to_owned();
        if self.is_silent { Some(silent()) } else { self.trouble.clone() }
    }
}

/// Everybody else goes first.
fn stand_back() {
    // On Linux that is this thread alone. Where it may not be set the copy goes on as everybody.
    if let Err(error) = setpriority_process(None, NICE) {
        tracing::debug!(event = "backup_priority", %error, "copies have the priority of everything else");
    }
}

impl fmt::Display for Wanting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dir, age, missed, trouble, is_known } = self;
        match (missed, is_known) {
            (Some(limit), true) => write!(f, "there is no backup younger than {} in {dir}", rough(*limit))?,
            (Some(limit), false) => write!(f, "nobody knows of a backup younger than {} in {dir}", rough(*limit))?,
            (None, true) => write!(f, "the latest backup to {dir} failed, and is tried again")?,
            (None, false) => write!(f, "no backup can be taken to {dir}, and it is tried again")?,
        }
        match age {
            Some(age) => write!(f, "; the newest is {} old", rough(*age))?,
            None if *is_known => f.write_str("; there is none")?,
            None => f.write_str("; what is in it is not known")?,
        }
        trouble.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}
