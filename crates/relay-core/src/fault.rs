//! Who is at fault, and whether trying again helps: the two questions every public error answers.

use std::time::Duration;

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The other end of a connection: a sender, a client, a target.
    Peer,
    /// Whoever runs the relay: configuration, permissions, disk.
    Operator,
    /// The code that called.
    Caller,
    /// Something ran out: memory, disk, time.
    Resource,
    /// We: a state that must not be.
    Bug,
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No: the same call fails the same way.
    Never,
    /// Yes, with growing pauses.
    Backoff,
    /// Yes, after this long.
    After(Duration),
}
