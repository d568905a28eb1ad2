//! SIGHUP: the configuration is read anew, and what may change while a process runs does. A faulty one changes nothing.

use std::{convert::Infallible, future::pending, path::PathBuf, time::Duration};

use relay_core::limits;
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    config::{Logging, fault::Faults, kind::Value},
    signals::Hangups,
    systemd::Notifier,
};

/// What a process reads at its start, and again at each SIGHUP.
pub(crate) struct Read<C> {
    /// What it runs by.
    pub(crate) config: C,
    /// What is worth saying once.
    pub(crate) notes: Vec<String>,
    /// How it logs.
    pub(crate) logging: Logging,
    /// What it was read from.
    pub(crate) ground: Ground,
}

/// What a configuration was read from, to tell what has changed.
pub(crate) struct Ground {
    /// All settings.
    pub(crate) settings: Values,
    /// The file, if anything stands in it.
    pub(crate) file: Option<PathBuf>,
}

/// The values of settings, by name.
pub(crate) type Values = Vec<(&'static str, Option<Value>)>;

/// What takes effect at the next start only.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fixed {
    /// Every setting: what may change is declared beside them.
    All,
    /// These.
    These(&'static [&'static str]),
}

/// Reads the configuration at each SIGHUP and has it taken over, for as long as it is polled. `told` hears of each, and then
/// what this process does.
pub(crate) async fn serve<C: Send + 'static>(
    mut hangups: Hangups,
    read: impl Fn() -> Result<Read<C>, Faults> + Clone + Send + 'static,
    begun_with: Ground,
    fixed: Fixed,
    take_over: impl AsyncFn(C),
    told: (Notifier, String),
) -> Infallible {
    let Ground { settings: begun_with, file: mut in_use } = begun_with;
    let mut reading = Reading::new(limits::RELOAD_READ_WITHIN);
    let (notifier, status) = told;
    while hangups.next().await {
        tracing::info!(event = "reloading", "SIGHUP: the configuration is read anew");
        notifier.reloading();
        match reading.read(&read).await {
            // Why not is told.
            None => {}
            Some(Ok(Read { ground: Ground { file: None, .. }, .. })) if in_use.is_some() => tell_empty(in_use.as_ref()),
            Some(Ok(found)) => {
                for note in &found.notes {
                    tracing::warn!(event = "configuration", "{note}");
                }
                tell_fixed(&begun_with, &found.ground.settings, fixed);
                in_use = found.ground.file;
                take_over(found.config).await;
            }
            Some(Err(faults)) => tell(&faults),
        }
        notifier.ready(&status);
    }
    pending().await
}

/// Reads under way that took longer than is waited for: of files on a file system that is away, or of pipes whose writers
/// write nothing. What comes of them is not used.
struct Reading<R> {
    within: Duration,
    late: Vec<JoinHandle<R>>,
}

impl<R: Send + 'static> Reading<R> {
    fn new(within: Duration) -> Self {
        Self { within, late: Vec::new() }
    }

    /// What was read, or why not is told.
    async fn read(&mut self, read: &(impl Fn() -> R + Clone + Send + 'static)) -> Option<R> {
        self.late.retain(|late| !late.is_finished());
        if self.late.len() >= limits::RELOADS_READING_MAX {
            tell_late("the files of earlier reloads are still being read: is their file system there?");
            return None;
        }
        let mut reading = tokio::task::spawn_blocking(read.clone());
        match timeout(self.within, &mut reading).await {
            Ok(Ok(read)) => Some(read),
            Ok(Err(_)) => {
                tell_late("reading it ended by a defect, see above");
                None
            }
            Err(_) => {
                tell_late(
                    "a file could not be read within 30 s: is its file system there, does somebody write to that pipe?",
                );
                self.late.push(reading);
                None
            }
        }
    }
}

fn tell_late(want: &str) {
    tracing::error!(event = "configuration", want);
    tell_failed(1);
}

/// Settings that differ from those at the start and cannot be changed without another.
fn tell_fixed(begun_with: &Values, found: &Values, fixed: Fixed) {
    let is_fixed = |name: &str| match fixed {
        Fixed::All => true,
        Fixed::These(names) => names.contains(&name),
    };
    let pairs = begun_with.iter().zip(found);
    let changed: Vec<&str> =
        pairs.filter(|(before, now)| before != now && is_fixed(now.0)).map(|(_, (name, _))| *name).collect();
    if !changed.is_empty() {
        let settings = changed.join(", ");
        tracing::warn!(event = "reload_incomplete", settings, "changed, and in effect from the next start on");
    }
}

/// A file that held the configuration and is empty or gone: an editor that saves has got so far. Whoever means it leaves a
/// comment in it, or starts anew.
fn tell_empty(file: Option<&PathBuf>) {
    let place = file.map(|path| path.display().to_string());
    tracing::error!(
        event = "configuration",
        place,
        want = "the file is empty or gone, as while an editor saves it; a comment alone in it takes everything back"
    );
    tell_failed(1);
}

fn tell_failed(faults: usize) {
    tracing::error!(event = "reload_failed", faults, "the present configuration stays in use");
}

/// All that is wrong, a line each.
fn tell(faults: &Faults) {
    for fault in &faults.0 {
        tracing::error!(
            event = "configuration",
            setting = fault.name,
            value = fault.value.as_deref(),
            place = %fault.origin,
            want = fault.text
        );
    }
    tell_failed(faults.0.len());
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc as blocking};

    use super::*;

    /// I22: a file that does not come holds up neither the next reload nor, after many, the pool of threads.
    #[tokio::test]
    async fn a_read_that_does_not_end_is_given_up_and_the_next_one_is_made() {
        let mut reading = Reading::new(Duration::from_millis(1));
        let mut gates = Vec::new();
        let stuck = || {
            let (open, gate) = blocking::channel::<()>();
            let gate = Arc::new(Mutex::new(gate));
            (open, move || u8::from(gate.lock().is_ok_and(|gate| gate.recv().is_err())))
        };
        for _ in 0..limits::RELOADS_READING_MAX {
            let (open, read) = stuck();
            gates.push(open);
            assert_eq!(reading.read(&read).await, None);
        }
        assert_eq!(reading.read(&|| 8).await, None, "as many threads as are given to it are stuck");
        gates.clear();
        while reading.late.iter().any(|late| !late.is_finished()) {
            tokio::task::yield_now().await;
        }
        reading.within = limits::RELOAD_READ_WITHIN;
        assert_eq!(reading.read(&|| 9).await, Some(9));
    }
}
