//! The dashboard of the real binary in a real browser: Chromium, driven by `dashboard/visit.mjs`, which says what it looks for.

use std::{path::Path, process::Command};

use crate::process::{API_KEY, Process, wait_for};

/// S24, S25, S26: a developer sees a webhook come by the link of `crm-relay dashboard`; a viewer signs in, sees no payload, follows a link
/// of another site, and is out when he is disabled; an administrator chooses a password and makes a user; payloads are text, and everything
/// is read without JavaScript. The pictures stay for whoever wants to look.
#[test]
fn people_use_the_dashboard_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("SERVER_PORT", "0"), ("ADMIN_LISTEN", "127.0.0.1:0"), ("API_KEY", API_KEY), ("DISK_RESERVE", "1MiB")];
    let dev = Process::start(&dir.path().join("dev.log"), &["dev"], &env);
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
