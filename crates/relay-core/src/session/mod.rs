//! The session between a client and the server: handshake, credit, heartbeats, resume. Both ends are machines.

pub mod client;
pub mod server;
