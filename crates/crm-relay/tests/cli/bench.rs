//! `bench`: it measures, ends by itself, and leaves nothing behind, also when somebody ends it.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::place::{Place, wait_until};

/// Processes that work in a directory, or in one below it.
fn processes_in(place: &Place) -> Vec<String> {
    let dir = place.path("").canonicalize().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let is_there =
        |entry: &fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&dir));
    entries.filter(is_there).map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// What stands in its directory.
fn left_in(place: &Place) -> usize {
    fs::read_dir(place.path("on")).unwrap().count()
}

#[test]
fn a_machine_is_measured_and_nothing_is_left_behind() {
    let place = Place::new();
    fs::create_dir(place.path("on")).unwrap();
    // Whatever stands there is not for what is measured.
    place.write("crm-relay.toml", "api_key = \"a-key-of-somebody-else\"\nadmin_listen = \"nonsense\"\n");
    let args = ["bench", "--seconds", "0.2", "--senders", "2", "--dir", "on", "--json"];
    let output = place.run(&args, &[("RELAY_TOKEN", "crt_0123456789abcdef"), ("SERVER_PORT", "none")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let above = |value: &Value| assert!(value.as_f64().is_some_and(|number| number > 0.0), "{value} in {told}");
    let waits = |row: &Value| ["per_second", "p50_ms", "p99_ms"].iter().for_each(|name| above(&row[name]));
    let accepted = told["accepted"].as_array().unwrap();
    assert_eq!(accepted.iter().map(|row| &row["senders"]).collect::<Vec<_>>(), [1, 2]);
    accepted.iter().for_each(waits);
    waits(&told["fsync"]);
    waits(&told["arrival"]);
    above(&told["delivered"]["per_second"]);
    above(&told["stored_bytes_per_event"]);
    above(&told["machine"]["cores"]);
    let is_counted = accepted[0]["written_bytes_per_event"].is_number();
    assert_ne!(is_counted, told["machine"]["is_memory"].as_bool().unwrap(), "Linux counts what goes to a disk: {told}");
    assert_eq!((left_in(&place), processes_in(&place)), (0, Vec::new()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("measures for some 1 s, 1 min 1 s at most"), "{said}");
    assert!(!said.contains("crk_") && !said.contains("crt_"), "{said}");
}

#[test]
fn a_measurement_that_is_interrupted_leaves_nothing_behind() {
    let place = Place::new();
    fs::create_dir(place.path("on")).unwrap();
    let bench = place.start("bench", &["bench", "--seconds", "60", "--dir", "on"], &[]);
    wait_until("the measurement", || left_in(&place) == 1);
    bench.signal(Signal::INT);
    assert_eq!(bench.ended(), Some(1));
    assert!(place.read("bench.log").contains("interrupted"), "{}", place.read("bench.log"));
    assert_eq!((left_in(&place), processes_in(&place)), (0, Vec::new()));
}

/// With a server and a client under way; whoever is impatient asks twice.
#[test]
fn an_interruption_ends_the_processes_that_are_measured() {
    let place = Place::new();
    fs::create_dir(place.path("on")).unwrap();
    let bench = place.start("bench", &["bench", "--seconds", "0.5", "--dir", "on"], &[]);
    // It, its server, and then a client.
    wait_until("the client", || processes_in(&place).len() == 3);
    bench.signal(Signal::TERM);
    bench.signal(Signal::INT);
    assert_eq!(bench.ended(), Some(1), "{}", place.read("bench.log"));
    assert_eq!((left_in(&place), processes_in(&place)), (0, Vec::new()));
}

#[test]
fn a_client_that_dies_is_named_and_not_the_machine() {
    let place = Place::new();
    fs::create_dir(place.path("on")).unwrap();
    let bench = place.start("bench", &["bench", "--seconds", "1", "--dir", "on"], &[]);
    let client = || {
        let of = |pid: &String| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        processes_in(&place).into_iter().find(|pid| of(pid).ends_with(b"\0client\0"))
    };
    wait_until("the client", || client().is_some());
    let pid = Pid::from_raw(client().unwrap().parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(bench.ended(), Some(69), "{}", place.read("bench.log"));
    let told = place.read("bench.log");
    assert!(told.contains("the client that was to be measured has ended (signal: 9"), "{told}");
    assert_eq!((left_in(&place), processes_in(&place)), (0, Vec::new()));
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_begun() {
    let place = Place::new();
    let refused = |args: &[&str], env: &[(&str, &str)]| {
        let output = place.run(&[&["bench"], args].concat(), env);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = refused(&[], &[("REDIS_URL", "redis://127.0.0.1:1")]);
    assert_eq!(code, Some(78));
    assert!(told.contains("REDIS_URL is set") && told.contains("env -u REDIS_URL"), "{told}");
    for args in
        [["--dir", "nowhere"], ["--seconds", "0"], ["--seconds", "NaN"], ["--senders", "257"], ["--bytes", "1MiB"]]
    {
        let (code, told) = refused(&args, &[]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(args[0]), "{told}");
    }
}
