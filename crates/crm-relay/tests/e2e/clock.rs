//! A clock of its own for a process, by libfaketime.

use std::{process::Command, sync::OnceLock};

/// What to start a process behind so that its clock goes as `settings` say: `FAKETIME=+6h`, `DONT_FAKE_MONOTONIC=1`.
///
/// The library and not the command `faketime`: a kill would meet that one and not the process.
pub(crate) fn clock<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    static PRELOAD: OnceLock<String> = OnceLock::new();
    let preload = PRELOAD.get_or_init(|| format!("LD_PRELOAD={}", library()));
    ["env", preload].into_iter().chain(settings.iter().copied()).collect()
}

/// Where the library is, as the loader takes it. It is tried: without it every test here would run by the right time.
fn library() -> String {
    // The command makes a semaphore by its process id, and fails where somebody who was killed left one of that name.
    let ask = || Command::new("faketime").args(["-m", "-f", "+0d", "printenv", "LD_PRELOAD"]).output().unwrap();
    let found =
        (0..32).map(|_| ask()).find(|asked| asked.status.success()).expect("faketime to say where its library is");
    let library = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    let date =
        Command::new("date").arg("+%Y").env("LD_PRELOAD", &library).env("FAKETIME", "@1999-06-01 12:00:00").output();
    assert_eq!(date.unwrap().stdout, b"1999\n", "{library} moves no clock");
    library
}

/// Removes what the library leaves behind of a process that was killed.
pub(crate) fn forget(pid: u32) {
    for name in [format!("/dev/shm/faketime_shm_{pid}"), format!("/dev/shm/sem.faketime_sem_{pid}")] {
        // Most processes have the clock of all.
        let _ = std::fs::remove_file(name);
    }
}
