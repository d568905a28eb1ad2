//! The values that cross the store seam: what the core asks of a store, and what a store answers.
//!
//! The core decides, a store applies. Every operation is a batch, every answer stands for a durable fact. The seam
//! itself, with its promises, is `relay_store::seam`.

mod append;
mod audit;
mod body;
mod changed;
mod clock;
mod due;
mod error;
mod events;
mod filter;
mod lease;
mod marks;
mod op;
mod page;
mod presence;
mod replay;
mod retire;
mod step;

pub use self::{
    append::{Append, Appended, Dedupe},
    audit::AuditEntry,
    body::BodyOf,
    changed::Changed,
    clock::{Apart, ClockAsk, Reading, start_at},
    due::{DestinationDue, Due, DueAsk, HeldAsk, HeldOf},
    error::{AppendError, StoreError},
    events::{EventFilter, EventRow, EventsAsk, NameCount, NameCounts, WholeEvent, WholePage},
    filter::{DeliveryFilter, PageAsk},
    lease::{Backlog, Extend, Extended, LeaseAsk, LeaseEnd, LeaseOrder, Leased},
    marks::{Indexed, MarkedAsk, MarkedEvent, MarkedPage, Marker, Marking},
    op::{Answered, Ask, Asked, OpId, Receipt, StoreOp, Stored},
    page::{Listing, Page, Range},
    presence::{About, OpenCircuit, Presence, SeenCircuit, SeenClient},
    replay::{Replay, Replayed},
    retire::{Ended, Forget, OverAsk, Retire, Retired, rows_of_body, rows_removed},
    step::{Erased, Mark, Step, Stepped},
};
