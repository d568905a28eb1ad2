//! What is written, by one thread: operations in transactions, each commit with its one fsync.

pub(crate) mod append;
pub(crate) mod columns;
pub(crate) mod erase;
pub(crate) mod lease;
pub(crate) mod marks;
pub(crate) mod mend;
pub(crate) mod put;
pub(crate) mod queue;
pub(crate) mod rekey;
pub(crate) mod replay;
pub(crate) mod retain;
pub(crate) mod settle;
pub(crate) mod step;
pub(crate) mod transaction;
pub(crate) mod writer;
