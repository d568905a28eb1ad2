//! How busy the processor was.

use std::{collections::BTreeMap, fs};

use tokio::time::Instant;

/// Parts of a second in which the kernel counts what processes used; so on all machines that the relay runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// How busy it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Busy {
    /// Which part of all cores.
    pub(crate) cores: f64,
    /// Which part of one core the busiest thread was, of those that were looked at: one that is all of it holds up whatever others there are.
    pub(crate) thread: f64,
    /// Whose it is.
    pub(crate) whose: &'static str,
}

/// What was used up to a moment.
pub(crate) struct Used {
    at: Instant,
    /// By these processes, as they are called.
    who: Vec<(u32, &'static str)>,
    own: Option<f64>,
    /// By each of their threads.
    threads: BTreeMap<(u32, String), f64>,
    /// By all of the machine: busy, and in all.
    machine: Option<(f64, f64)>,
}

impl Used {
    /// So far, by these processes and by all.
    pub(crate) fn by(who: Vec<(u32, &'static str)>) -> Self {
        let of = |(pid, _): &(u32, _)| seconds(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
        let own = who.iter().map(of).sum();
        let machine = fs::read_to_string("/proc/stat").ok().and_then(|stat| shares(&stat));
        let threads = who.iter().flat_map(|(pid, _)| threads(*pid)).collect();
        Self { at: Instant::now(), who, own, threads, machine }
    }

    /// How busy it was since; `None` where the kernel does not say.
    ///
    /// What these processes used counts against the cores that they may use, which are fewer in some containers; others count too, since
    /// what they take is not there.
    pub(crate) fn since(self) -> Option<Busy> {
        let now = Self::by(self.who);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let span = (now.at - self.at).as_secs_f64();
        let own = now.own.zip(self.own).map(|(after, before)| (after - before) / (span * cores));
        let machine = now.machine.zip(self.machine).map(|(after, before)| (after.0 - before.0) / (after.1 - before.1));
        let share = own.into_iter().chain(machine).filter(|share| share.is_finite()).reduce(f64::max);
        let since = |(thread, after): (&(u32, String), &f64)| {
            ((after - self.threads.get(thread).unwrap_or(&0.0)) / span, thread.0)
        };
        let shares = now.threads.iter().map(since).filter(|(share, _)| share.is_finite());
        let (thread, pid) = shares.max_by(|one, other| one.0.total_cmp(&other.0))?;
        let whose = now.who.iter().find(|(of, _)| *of == pid)?.1;
        share.map(|share| Busy { cores: share.clamp(0.0, 1.0), thread: thread.clamp(0.0, 1.0), whose })
    }
}

/// Seconds that each thread of a process used.
fn threads(pid: u32) -> Vec<((u32, String), f64)> {
    let Ok(all) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of = |path: std::path::PathBuf| {
        let used = seconds(&fs::read_to_string(path.join("stat")).ok()?)?;
        Some(((pid, path.file_name()?.to_string_lossy().into_owned()), used))
    };
    all.filter_map(|entry| of(entry.ok()?.path())).collect()
}

/// Seconds that a process used, out of its `stat`. Its name is in parentheses, and may have any in it.
fn seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// Busy ticks and all ticks of the machine, out of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. Those of guests
/// are in user and nice already.
fn shares(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_whitespace().take(8).map_while(|text| text.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    let all = ticks.iter().sum::<f64>();
    Some((all - idle, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_used_is_read_whatever_it_is_called() {
        let stat = "7 (a) (b c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 5 6 20 0 9 0 100 200";
        assert_eq!(seconds(stat), Some(2.0));
        assert_eq!(seconds("7 (a) S 1"), None);
    }

    #[test]
    fn a_thread_that_works_is_found() {
        let used = Used::by(vec![(std::process::id(), "this")]);
        let before = this_thread();
        // The least that the kernel counts, and some.
        while this_thread() - before < 5.0 / TICKS_PER_SECOND {}
        let busy = used.since().expect("Linux says so");
        assert!(busy.thread > 0.0 && busy.cores > 0.0 && busy.whose == "this", "{busy:?}");
    }

    fn this_thread() -> f64 {
        fs::read_to_string("/proc/thread-self/stat").ok().and_then(|stat| seconds(&stat)).expect("Linux says so")
    }

    #[test]
    fn waiting_for_the_disk_is_not_busy() {
        assert_eq!(shares("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 2 3\n"), Some((20.0, 100.0)));
        assert_eq!(shares("cpu0 1 2 3 4 5\n"), None);
    }
}
