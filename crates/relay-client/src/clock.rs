//! The client's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_core::time::{Mono, Now, Wall};
use tokio::time::Instant;

/// Wall time is the wall clock at the start + monotonic time passed, so that a clock that jumps moves nothing here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Of the runtime, as the timers are.
    start: Instant,
    wall: Wall,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), wall: wall() }
    }

    pub(crate) fn now(&self) -> Now {
        let passed = self.start.elapsed();
        Now { wall: self.wall + passed, mono: Mono::default() + passed }
    }

    /// The instant at which the monotonic clock shows `mono`.
    pub(crate) fn instant(&self, mono: Mono) -> Instant {
        self.start + Duration::from_micros(mono.as_micros())
    }
}

/// What the machine's clock shows, for whoever compares it with theirs: unlike [`Clock`] it follows corrections, and it has
/// gone on while the machine slept.
pub(crate) fn wall() -> Wall {
    Wall::MIN + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
