//! The client's one clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use relay_core::time::{Mono, Now, Wall};

/// Wall time is the wall clock at the start + monotonic time passed, so that a clock that jumps moves nothing here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall: Wall,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), wall: Wall::MIN + since_epoch }
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
