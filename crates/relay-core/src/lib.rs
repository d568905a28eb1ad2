//! Delivery policy, sessions and the wire codec of crm-relay, free of IO.
//!
//! # How to drive a machine
//! [`hub::Hub`] (server) and [`client::Client`] (client) are driven the same way (for [`jobs`] see there):
//!
//! 1. `handle(input, now)` with one input,
//! 2. `poll_output()` until it gives `None`, performing each output in order,
//! 3. `poll_timeout()` names the next moment at which `handle_timeout(now)` wants to be called.
//!
//! A machine never assumes a write: what must be durable leaves as an output with an operation id and counts when the
//! same id comes back with its answer.
//!
//! **Invariant:** no async, no sockets, no files, no environment, no clocks, no global random numbers.

pub mod alert;
mod by_id;
pub mod canary;
pub mod circuit;
pub mod client;
pub mod delivery;
pub mod event;
pub mod fault;
pub mod glob;
pub mod hub;
pub mod id;
pub mod jobs;
pub mod limits;
pub mod lines;
mod mixed;
pub mod name;
mod outbox;
pub mod partitions;
pub mod pretty;
pub mod quota;
pub mod routing;
pub mod secret_field;
pub mod storage;
pub mod target;
pub mod throttle;
pub mod time;
pub mod trace;
pub mod wire;
