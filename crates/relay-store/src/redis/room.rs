//! Whether there is room for more: Redis has a bound of its memory, and what comes in ends before it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::check::Heard;

/// Of so many hundredths of the bound, what adds to what is stored is refused.
const FULL_AT: u64 = 80;

type Probe = Arc<dyn Fn() -> bool + Send + Sync>;

/// Says whether it is full in the place of what Redis says: for tests.
#[derive(Clone)]
pub struct FullProbe(Probe);

impl FullProbe {
    /// By this.
    pub fn new(is_full: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_full))
    }
}

impl fmt::Debug for FullProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FullProbe")
    }
}

/// The room there is, as it was last heard of.
#[derive(Debug, Default)]
pub(super) struct Room {
    probe: Option<FullProbe>,
    used: AtomicU64,
    bound: AtomicU64,
    full: AtomicBool,
}

impl Room {
    /// By what Redis says, or by this.
    pub(super) fn new(probe: Option<FullProbe>) -> Self {
        Self { probe, ..Self::default() }
    }

    /// Whether what adds to what is stored is refused.
    pub(super) fn is_full(&self) -> bool {
        self.probe.as_ref().map_or_else(|| self.full.load(Ordering::Relaxed), |probe| (probe.0)())
    }

    /// Bytes that Redis uses.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes up to which what adds to what is stored is taken; 0: it does not say.
    pub(super) fn bound(&self) -> u64 {
        self.bound.load(Ordering::Relaxed)
    }

    /// What Redis says of its memory.
    pub(super) fn heard(&self, heard: &Heard) {
        let used = heard.number("used_memory");
        let bound = match heard.number("maxmemory") {
            0 => heard.number("total_system_memory"),
            bound => bound,
        };
        // Of next to none there is a little, or it would be taken for one that does not say.
        let bound = if bound == 0 { 0 } else { (bound / 100 * FULL_AT).max(1) };
        self.used.store(used, Ordering::Relaxed);
        self.bound.store(bound, Ordering::Relaxed);
        self.full.store(bound > 0 && used >= bound, Ordering::Relaxed);
    }
}
