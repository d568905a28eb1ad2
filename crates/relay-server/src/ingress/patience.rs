//! How long peers may take, in any version of HTTP.

use std::time::Duration;

use relay_core::limits;

/// How long a request head may take to arrive, from its first byte.
pub(super) const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a handshake of TLS may take: within the place of its connection.
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long each side may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a request head, from its first byte (from the start of the connection for the first).
    pub head: Duration,
    /// For a handshake of TLS.
    pub handshake: Duration,
    /// Between an answer and the next request; less where connections are few.
    pub idle: Duration,
    /// For a body: this long for any, and without a byte; and at least 1 KiB/s beyond.
    pub body: Duration,
    /// To take any byte of an answer, and any answer; and at least 1 KiB/s beyond.
    pub write: Duration,
    /// For the commit: this one is the sender's patience with us. Platforms give up after 3 s and more; a `503` that they
    /// see is better than an answer that they do not.
    pub commit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: HEAD_TIME_MAX,
            handshake: HANDSHAKE_TIME_MAX,
            idle: Duration::from_mins(1),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            commit: limits::COMMIT_WITHIN,
        }
    }
}
