//! The values that cross the store seam: what the core asks of a store, and what a store answers.
//!
//! The core decides, a store applies. Every operation is a batch, every answer stands for a durable fact. The seam
//! itself, with its promises, is `relay_store::seam`.

mod append;
mod body;
mod change;
mod due;
mod error;
mod lease;
mod op;

pub use self::{
    append::{Append, Appended, Dedupe},
    body::BodyOf,
    change::{Change, Changed},
    due::{DestinationDue, Due, DueAsk, HeldAsk},
    error::{AppendError, StoreError},
    lease::{Backlog, Extend, LeaseAsk, LeaseEnd, LeaseOrder, Leased},
    op::{Answered, Ask, Asked, OpId, Receipt, StoreOp, Stored},
};
