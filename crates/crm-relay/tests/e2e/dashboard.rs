//! The dashboard of the real binary in a real browser: Chromium, driven by `dashboard/visit.mjs`, which says what it looks for.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    process::{API_KEY, Process, wait_for},
    target::{Arrival, Reply, Target},
};

/// S24, S25, S26: a developer sees a webhook come by the link of `crm-relay dashboard`; a viewer signs in, sees no payload, follows a link
/// of another site, and is out when he is disabled; an administrator chooses a password and makes a user; payloads are text, and everything
/// is read without JavaScript. By keyboard alone an event is replayed, a destination paused and resumed, a delivery cancelled, and a group of
/// dead letters redriven: I12, what died after the preview stays. The pictures stay for whoever wants to look.
#[test]
fn people_use_the_dashboard_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let target = runtime.block_on(Target::start(mended()));
    let env = [
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "127.0.0.1:0"),
        ("API_KEY", API_KEY),
        ("DISK_RESERVE", "1MiB"),
        ("MAX_RETRIES", "0"),
    ];
    let dev = Process::start(&dir.path().join("dev.log"), &["dev", "--to", &target.url("/")], &env);
    let data_dir = dir.path().join("crm-relay-dev");
    let run: serde_json::Value = wait_for("dev to announce itself", || {
        serde_json::from_slice(&std::fs::read(data_dir.join("run.json")).ok()?).ok()
    });
    let public = format!("http://{}", run["public"].as_str().unwrap().replace("0.0.0.0", "127.0.0.1"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let libraries = target.with_file_name("vendors").join("browser");
    assert!(libraries.join("node_modules").exists(), "{} is not there: make setup", libraries.display());
    let visited = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/dashboard/visit.mjs"))
        .arg(target.join("dashboard"))
        .env("BROWSER_LIBRARIES", libraries)
        .env("PROGRAM", env!("CARGO_BIN_EXE_crm-relay"))
        .env("DATA_DIR", &data_dir)
        .env("PUBLIC", public)
        .env("API_KEY", API_KEY)
        .output()
        .expect("node runs: make setup");
    let (figures, said) = (String::from_utf8_lossy(&visited.stdout), String::from_utf8_lossy(&visited.stderr));
    assert!(visited.status.success(), "{figures}\n{said}\n{}", dev.log());
    let log = dev.log();
    assert!(!log.contains("crl_") && !log.contains("crs_"), "no link or session is in the log: {log}");
    eprintln!("{}", figures.trim());
}

/// Refuses what is bad, until it is mended.
fn mended() -> impl Fn(&Arrival) -> Reply + Send + Sync + 'static {
    let mended = AtomicBool::new(false);
    move |seen| {
        if *seen.body == *b"mend" {
            mended.store(true, Ordering::Relaxed);
        }
        let is_bad = seen.body.starts_with(b"bad") && !mended.load(Ordering::Relaxed);
        Reply::status(if is_bad { 422 } else { 200 })
    }
}
