//! Jobs: what is done to many deliveries, a page at a time.
//!
//! A [`Job`] is a command of an operator: it redrives, cancels or purges those that match. A [`Retention`] removes what has
//! ended long enough ago. Both decide here; a store reads pages and applies steps, and decides nothing.
//!
//! # How to drive one
//! `poll(now)` gives the next thing to do, and `handle(answer)` takes what a store says, until `poll` gives
//! [`Output::Over`]; retention has one kind of output and is over when it has an outcome. One thing is under way at a time.
//! A driver may drop a job between any two of them, as a crash does.
//!
//! # One step
//! ```text
//!  page (filter, cursor) -> decide each -> step (changes, removals, audit line, mark) -> tell the hub -> next page
//! ```
//! A step is one commit. With it goes the job's [`Mark`](crate::storage::Mark): how many steps are done, where the next page
//! starts, how many deliveries were matched and changed so far. A store does a step only if the stored mark says that all
//! before it are done, and it alone; else it answers with the mark. So
//!
//! - a step that is asked for again, because its answer was lost, does nothing twice;
//! - the same command under the same id, in another process, goes on behind the last step that was done, with the sums of
//!   all: its first step is refused, and the answer says where the job is;
//! - two that run one job at the same time do each step once.
//!
//! A store that is spread over several places may have done some of a step before its mark. Done again, by whatever pages, that makes
//! no delivery twice, for what a job makes of an event says so in its id ([`DeliveryId::of_job`](crate::id::DeliveryId::of_job)); and what was
//! changed or removed is another record by then.
//!
//! A page on which nothing was to be done makes no step. The last one does, whatever it had, so that a job that is
//! over stays over.
//!
//! # What others do meanwhile
//! Between a page and its step a client may report, a lease may begin or end, retention may remove. Each change, and each
//! removal, names the record that it was decided on, and does nothing to another one. Where it is another one by then, and
//! still one for this command (a lease was extended while it is being cancelled), the job decides again on that, in
//! a step of its own; else it passes over it. Either way nothing that somebody else did is undone, and `changed` counts what
//! the job did.
//!
//! # Trouble
//! A store that is full, away, or does not answer is asked the same again, [`limits::STORE_RETRY`](crate::limits::STORE_RETRY)
//! later and [`limits::JOB_TRIES_MAX`](crate::limits::JOB_TRIES_MAX) times; a page that takes too long is made smaller. Then
//! the job ends with the error, and the same command goes on where it stands.

mod action;
mod command;
mod job;
mod op;
mod pace;
mod retention;

pub use self::{
    action::Action,
    command::{Command, Last, Meant, Target},
    job::{End, Job, JobSums},
    op::{ForHub, JobOp, JobStored, Output, RetentionOp, RetentionStored},
    pace::Pace,
    retention::{Retained, Retention, Rules},
};
