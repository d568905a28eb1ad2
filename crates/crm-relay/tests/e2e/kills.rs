//! `kill -9` before whatever a command is about to change on the disk: a backup, a restore, a check, an open. The same
//! command again comes to its end, nothing that was stored is lost, nothing half is taken for a whole, nothing is left.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    process::{Server, run, wait_for},
    sender::Sender,
};

/// What changes files; those that a machine does not have are passed over.
const CHANGES: &str = "?mkdir,?mkdirat,?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir,?fsync,?fdatasync,?pwrite64,\
                       ?ftruncate,?fallocate,?fchmod,?fchown";
/// More of them no command here needs on a thread.
const STEPS_MAX: usize = 400;

/// A command that is killed before the `step`-th change of a thread of it.
fn until(step: usize, dir: &Path, args: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CHANGES}")])
        .args(["-e", &format!("inject={CHANGES}:signal=KILL:when={step}")])
        .arg(env!("CARGO_BIN_EXE_crm-relay"))
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(dir)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    strace
}

/// Runs a command that is killed before the `step`-th change of a thread of it; whether it came so far.
fn killed_at(step: usize, dir: &Path, args: &[&str]) -> bool {
    let status = until(step, dir, args).status().expect("strace is installed by `make test`");
    let killed = status.signal() == Some(9) || status.code() == Some(137);
    assert!(killed || status.success(), "step {step}: {status}");
    killed
}

/// Kills a command at each of its steps, each time in a fresh place, and judges what is left.
fn kill_at_each_step(
    what: &str,
    args: impl Fn(&Path) -> Vec<String>,
    fresh: impl Fn(&Path),
    judge: impl Fn(&Path, &str),
) {
    for step in 1..STEPS_MAX {
        let dir = tempfile::tempdir().unwrap();
        fresh(dir.path());
        let args = args(dir.path());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let killed = killed_at(step, dir.path(), &args);
        judge(dir.path(), &format!("{what}, killed at step {step}"));
        if !killed {
            assert!(step > 3, "{what} changes more than that");
            return;
        }
    }
    panic!("{what} never came to its end");
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn copy(from: &Path, into: &Path) {
    fs::create_dir(into).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), into.join(&name)).unwrap();
    }
}

/// A data directory as a killed server leaves it, with `EVENTS` events, much of them in the log, and a backup of them.
async fn killed_server(dir: &Path) -> (PathBuf, PathBuf) {
    let mut server = Server::start(dir, &[]);
    let sender = Sender::new();
    for _ in 0..EVENTS {
        sender.post(&server.url("/webhook"), "x".repeat(50_000)).await.unwrap().event();
    }
    let backup = dir.join("backup");
    assert!(server.cli(&["store", "backup", backup.to_str().unwrap()]).status.success());
    server.process.kill();
    // What is kept of it is what a store is; the rest belongs to the process.
    let kept = dir.join("kept");
    fs::create_dir(&kept).unwrap();
    for name in ["store.db", "store.db-wal", "ledger"] {
        fs::copy(server.data_dir().join(name), kept.join(name)).unwrap();
    }
    (kept, backup)
}

const EVENTS: u64 = 12;

/// Counts what is stored, and looks at what lies in the directory once it was opened by somebody who may write there: a command
/// that looks leaves all as it is.
fn all_is_there(data: &Path, what: &str) {
    let dir = data.parent().unwrap();
    let audit = run(dir, &["audit", "--json", "--data-dir", data.to_str().unwrap()], &[]);
    let told = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(audit.status.success(), "{what}: {told}{}", String::from_utf8_lossy(&audit.stderr));
    let audit: serde_json::Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!(audit["events"][0]["stored"], EVENTS, "{what}: {audit:#}");
    let opened = run(dir, &["store", "check", "--accept-loss", "--data-dir", data.to_str().unwrap()], &[]);
    assert!(opened.status.success(), "{what}: {}", String::from_utf8_lossy(&opened.stderr));
    let known = ["store.db", "store.db-wal", "store.db-shm", "ledger", "store.lock"].map(str::to_owned);
    let left: Vec<String> = names(data).into_iter().filter(|name| !known.contains(name)).collect();
    assert_eq!(left, Vec::<String>::new(), "{what}: left behind");
}

/// I18 under F1: a backup that is killed has no name; the next one removes what is left of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backup_leaves_nothing_that_looks_like_one() {
    let source = tempfile::tempdir().unwrap();
    let (kept, _) = killed_server(source.path()).await;
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let args = |dir: &Path| {
        vec![
            "store".into(),
            "backup".into(),
            text(dir.join("copies/first")),
            "--data-dir".into(),
            text(dir.join("data")),
        ]
    };
    let fresh = |dir: &Path| {
        copy(&kept, &dir.join("data"));
        fs::create_dir(dir.join("copies")).unwrap();
    };
    kill_at_each_step("a backup", args, fresh, |dir, what| {
        let is_there = dir.join("copies/first").exists();
        if is_there {
            // Killed behind its last step, or not at all.
            let args = ["store", "restore", "copies/first", "--data-dir", "restored"];
            assert!(run(dir, &args, &[]).status.success(), "{what}");
            all_is_there(&dir.join("restored"), what);
        }
        let again = run(dir, &["store", "backup", "copies/second", "--data-dir", "data"], &[]);
        assert!(again.status.success(), "{what}: {}", String::from_utf8_lossy(&again.stderr));
        let expected: &[&str] = if is_there { &["first", "second"] } else { &["second"] };
        assert_eq!(names(&dir.join("copies")), expected.iter().map(|name| (*name).to_owned()).collect(), "{what}");
        all_is_there(&dir.join("data"), what);
    });
}

/// I18 under F1: a restore that is killed is no store; the same restore again makes one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_restore_is_done_again() {
    let source = tempfile::tempdir().unwrap();
    let (kept, backup) = killed_server(source.path()).await;
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let args = |dir: &Path| {
        vec!["store".into(), "restore".into(), text(backup.clone()), "--data-dir".into(), text(dir.join("data"))]
    };
    // Of the store that was lost its ledger is left.
    let fresh = |dir: &Path| {
        fs::create_dir(dir.join("data")).unwrap();
        fs::copy(kept.join("ledger"), dir.join("data/ledger")).unwrap();
    };
    kill_at_each_step("a restore", args, fresh, |dir, what| {
        let data = dir.join("data");
        if !data.join("store.db").exists() {
            let check = run(dir, &["store", "check", "--data-dir", data.to_str().unwrap()], &[]);
            assert_eq!(check.status.code(), Some(74), "{what}: {}", String::from_utf8_lossy(&check.stderr));
            assert!(!data.join("store.db").exists(), "{what}: a store was made beside it");
            let args = ["store", "restore", backup.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
            let again = run(dir, &args, &[]);
            assert!(again.status.success(), "{what}: {}", String::from_utf8_lossy(&again.stderr));
        }
        all_is_there(&data, what);
    });
}

/// I18 under F1: an open that is killed, or a check that accepts a loss, leaves a store that opens; the loss is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_open_or_check_leaves_a_store_that_opens() {
    let source = tempfile::tempdir().unwrap();
    let (kept, _) = killed_server(source.path()).await;
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let of_data = |dir: &Path, args: &[&str]| -> Vec<String> {
        let args = args.iter().map(|arg| (*arg).to_owned());
        args.chain(["--data-dir".to_owned(), text(dir.join("data"))]).collect()
    };
    let left_over = ["room.probe", "suspect.new", "damaged.new", "ledger.new", "ledger.left", "store.db.part-wal"];
    let fresh = |dir: &Path| {
        copy(&kept, &dir.join("data"));
        for name in left_over {
            fs::write(dir.join("data").join(name), "left").unwrap();
        }
    };
    kill_at_each_step(
        "an open",
        |dir| of_data(dir, &["audit"]),
        fresh,
        |dir, what| all_is_there(&dir.join("data"), what),
    );

    let without_ledger = |dir: &Path| {
        fresh(dir);
        fs::remove_file(dir.join("data/ledger")).unwrap();
    };
    let check = |dir: &Path| of_data(dir, &["store", "check", "--accept-loss"]);
    kill_at_each_step("a check", check, without_ledger, |dir, what| {
        let args = check(dir);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let again = run(dir, &args, &[]);
        assert!(again.status.success(), "{what}: {}", String::from_utf8_lossy(&again.stdout));
        all_is_there(&dir.join("data"), what);
        let audit = run(dir, &["audit", "--json", "--data-dir", "data"], &[]);
        let audit: serde_json::Value = serde_json::from_slice(&audit.stdout).unwrap();
        // Killed before its ledger was there, it had to be said again.
        assert!((1..=2).contains(&audit["unknown"].as_array().unwrap().len()), "{what}: {audit:#}");
    });
}

/// I1, I18 under F1: a first start that is killed anywhere is taken up by the next one, and so is a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_was_killed_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data_text = data.to_str().unwrap();
    let sender = Sender::new();
    let mut stored = 0;
    // Thousands of steps are behind those of the start.
    for step in [1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20] {
        if step % 2 == 0 {
            let _ = fs::remove_dir_all(&data);
            stored = 0;
        }
        let args = ["server", "--data-dir", data_text, "--server-port", "0", "--admin-listen", "off"];
        let announced = data.join("run.json");
        let _ = fs::remove_file(&announced);
        let mut strace = until(step, dir.path(), &args).spawn().unwrap();
        wait_for("the start to be killed, or to be over", || {
            if let Ok(run) = fs::read(&announced)
                && let Ok(run) = serde_json::from_slice::<serde_json::Value>(&run)
            {
                // Whichever of the two is first.
                let _ = Command::new("kill").args(["-KILL", &run["pid"].to_string()]).status().unwrap();
            }
            strace.try_wait().unwrap()
        });
        let mut server = Server::start(dir.path(), &[]);
        sender.post(&server.url("/webhook"), "x").await.unwrap().event();
        stored += 1;
        server.audit();
        assert_eq!(server.json(&["audit"])["events"][0]["stored"], stored, "step {step}");
        server.process.signal("TERM");
        assert!(server.process.wait().success());
        let left: Vec<String> =
            names(&data).into_iter().filter(|name| name.contains(".new") || name == "room.probe").collect();
        assert_eq!(left, Vec::<String>::new(), "step {step}");
    }
}
