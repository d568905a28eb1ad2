//! The wire: what server and client say to each other over one WebSocket.
//!
//! `docs/internals/wire.md` is the document for other implementers; these modules are its code.

pub mod codec;
mod counts;
pub mod message;

/// Version of the session protocol. Peers of another version are refused with HTTP 426 before any message.
pub const VERSION: u32 = 1;
