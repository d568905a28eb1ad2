//! The trade of those who look after a store: jobs, retention, counters, copies, its life.
//!
//! # When the answer is lost
//!
//! | operation | again | resolved by |
//! | --- | --- | --- |
//! | `step` | safe: by the steps before it | asking again: it is done, or the mark says that it was |
//! | `retire` | safe: by version and state | the next page of what retention is over for |
//! | `mark` | safe: it puts the same rows | asking again |
//! | `unmark` | safe: what is gone is passed over | asking again |
//! | `rekey` | safe: what is sealed with the newest key is passed over | asking again |
//! | `backup` | begins another copy, while none is under way | |
//! | `close` | safe: it is closed | nobody |
//! | all others | safe: they read | asking again |

use relay_core::{
    delivery::Delivery,
    name::Name,
    storage::{OverAsk, Retire, Retired, Step, Stepped, StoreError},
};

use super::{Condition, Marking, Promises, Recount, Rekeyed, Stats};
use crate::{
    Later,
    copy::{BackupError, Copying},
};

/// A store as something to look after.
pub trait Upkeep: Send + Sync + 'static {
    /// One step of a job, whole or not at all: see [`Step`]. Changes as in [`Queue::settle`](super::Queue::settle), but
    /// for its lines of the audit log: a job has its own. It waits behind the hub's work.
    fn step(&self, step: Step) -> Later<Result<Stepped, StoreError>>;

    /// Ended deliveries that retention is over for, those that ended first before others of the same destination and
    /// state. What is damaged is passed over; fewer than were asked for are all there are.
    fn over(&self, ask: OverAsk) -> Later<Result<Vec<Delivery>, StoreError>>;

    /// Removes what retention is over for, as a [`Step`] of a purge does, at least one of those that are named; passes over
    /// what is not the record decided on any more, and forgets what only time ends. Each delivery goes whole or not at all;
    /// all of them may take several commits.
    fn retire(&self, retire: Retire) -> Later<Result<Retired, StoreError>>;

    /// Writes what events can be found by, behind the commit that stored them: see [`Marking`]. It waits behind the hub's work. A store that
    /// [promises no marks](Promises::marks) writes nothing, and says nowhere that it has.
    fn mark(&self, marking: Marking) -> Later<Result<(), StoreError>>;

    /// Removes all rows of a slot, as many as a short commit does; whether there are more. From the first step on the mark goes nowhere.
    fn unmark(&self, source: Name, slot: u8) -> Later<Result<bool, StoreError>>;

    /// One bounded step of sealing with the newest key what is clear, or sealed with an older one: `from` is where the step before it
    /// said. Nothing of what is stored says anything else after it. Without a key nothing is done.
    fn rekey(&self, from: Option<String>) -> Later<Result<Rekeyed, StoreError>>;

    /// Depths, totals and oldest waiting age. Cost does not depend on how much is stored.
    fn stats(&self) -> Later<Result<Stats, StoreError>>;

    /// Recounts everything at one read snapshot, in chunks, and compares with the counters.
    fn recount(&self) -> Later<Result<Recount, StoreError>>;

    /// Begins a consistent copy of the store, to be taken piece by piece while it goes on working: one at a time.
    fn backup(&self) -> Later<Result<Copying, BackupError>>;

    /// What all copies of this store have in common, until a restore or a loss begins another history; `None`: it is not copied.
    fn epoch(&self) -> Option<String> {
        None
    }

    /// What this backend guarantees, for the log and `/health`.
    fn promises(&self) -> Promises;

    /// How it is at the moment. Asks nobody: whoever has to find out does so beside this, and says here when that has not
    /// been possible.
    fn condition(&self) -> Condition;

    /// Completes when the store has failed for good, with the reason.
    fn failed(&self) -> Later<String>;

    /// Finishes what was asked for and closes. Later calls answer `Unavailable`.
    fn close(&self) -> Later<()>;
}
