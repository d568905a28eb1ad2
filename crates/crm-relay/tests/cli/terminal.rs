//! The same commands on a terminal: a pseudo-terminal stands in for the person.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use rustix::process::Signal;

use crate::{
    place::{Place, wait_until},
    session::{self, Session},
};

/// The first start shows the secrets and what to type next, once.
#[test]
fn the_first_start_of_a_server_on_a_terminal_says_what_to_do_next() {
    let place = Place::new();
    let env = [
        ("DATA_DIR", "data"),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "off"),
        ("DISK_RESERVE", "1MiB"),
        ("LOG_LEVEL", "error"),
        ("NO_COLOR", "1"),
    ];
    let mut shown = Vec::new();
    for _ in 0..2 {
        let session = Session::start(&place, &["server"], &env);
        wait_until("the server", || place.cli(&["health"]).status.success());
        let Session { running, keyboard, screen } = session;
        assert_eq!(running.terminate(), Some(0));
        let screen = screen.join().unwrap();
        let wide: Vec<&str> = screen.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.iter().all(|line| line.contains("X-API-Key")), "{wide:?}");
        shown.push(place.redact(&screen));
        drop(keyboard);
    }
    insta::assert_snapshot!(shown.join("\n\n--- second start\n"));
}

/// Columns stand below each other although states have colours, and a question is asked before anything is deleted.
#[test]
fn a_terminal_gets_aligned_tables_and_questions() {
    let place = Place::new();
    let _server = place.server();
    let env = [("DATA_DIR", "data"), ("TERM", "xterm-256color")];
    let (code, list) = Session::start(&place, &["source", "list"], &env).end();
    assert_eq!(code, Some(0));
    assert!(list.contains("\u{1b}["), "in colour");
    let plain = anstream::adapter::strip_str(&list).to_string();
    let lines: Vec<&str> = plain.lines().collect();
    assert_eq!(lines[0].find("DECLARED"), lines[1].find("-  "), "{plain}");

    for (answer, code) in [("n\n", 1), ("y\n", 0)] {
        let _ = place.cli(&["source", "create", "shop"]);
        let mut session = Session::start(&place, &["source", "delete", "shop"], &env);
        session.keyboard.write_all(answer.as_bytes()).unwrap();
        let (ended, screen) = session.end();
        assert_eq!(ended, Some(code), "{screen}");
        assert!(screen.contains("delete source shop with its routes and keys? [y/N]"), "{screen}");
    }
}

/// What takes long tells how far it is, on a terminal, in a line that is gone at the end.
#[test]
fn a_terminal_is_told_how_far_a_long_command_is() {
    let place = Place::new();
    let _server = place.server();
    let env = [("DATA_DIR", "data"), ("TERM", "xterm-256color")];
    let (code, screen) = Session::start(&place, &["send", "--count", "60", "--rate", "60"], &env).end();
    assert_eq!(code, Some(0));
    assert!(screen.contains(" of 60, ") && screen.contains("/s, "), "{screen:?}");
    let last = screen.rsplit("\r\u{1b}[K").next().unwrap();
    assert!(last.starts_with("60 accepted, 0 refused, 0 not answered"), "{screen:?}");
}

/// I22: who presses Ctrl-C is told what is waited for, and what a second one does; a process that has nothing to wait for
/// says that it has ended.
#[test]
fn a_stop_on_a_terminal_says_what_it_waits_for() {
    let place = Place::new();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = target.local_addr().unwrap().to_string();
    let env = [
        ("DATA_DIR", "data"),
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "off"),
        ("DISK_RESERVE", "1MiB"),
        ("SHUTDOWN_GRACE", "90s"),
        ("NO_COLOR", "1"),
        ("TERM", "xterm-256color"),
    ];
    let dev = Session::start(&place, &["dev", "--to", &to], &env);
    wait_until("the server", || place.cli(&["health"]).status.success());
    assert!(place.cli(&["send"]).status.success());
    // It takes the webhook, and has no answer.
    let _hanging = target.accept().unwrap();
    let stopping = || place.cli(&["health"]).status.code() != Some(0);
    dev.running.signal(Signal::INT);
    wait_until("the stop to begin", stopping);
    dev.running.signal(Signal::INT);
    let (code, screen) = dev.end();
    assert_eq!(code, Some(75), "{screen}");
    assert!(screen.contains("waiting for 1 request (up to 1 min 30 s); Ctrl-C again stops at once"), "{screen}");
    assert!(screen.contains("stopped at once"), "{screen}");

    let server = Session::start(&place, &["server"], &env);
    wait_until("the server", || place.cli(&["health"]).status.success());
    server.running.signal(Signal::INT);
    let (code, screen) = server.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("waiting for"), "{screen}");
    assert!(screen.trim_end().ends_with("stopped; what is not delivered is after the next start"), "{screen}");
}

/// A terminal that was closed ends what ran in it, also where SIGHUP asks for settings to be read anew; in a terminal that is
/// open it asks for that.
#[test]
fn a_closed_terminal_ends_what_ran_in_it() {
    let place = Place::new();
    let env = [
        ("DATA_DIR", "data"),
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "off"),
        ("DISK_RESERVE", "1MiB"),
        ("RUST_LOG", "info"),
    ];
    for command in [&["server"][..], &["dev", "--to", "9"]] {
        let (mut running, keyboard) = session::start(&place, command, &env);
        wait_until("the server", || place.cli(&["health"]).status.success());
        running.signal(Signal::HUP);
        assert!(place.cli(&["health"]).status.success(), "{command:?} goes on");
        drop(keyboard);
        running.signal(Signal::HUP);
        wait_until("the end", || running.0.try_wait().unwrap().is_some());
        let ended = running.0.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "{command:?}: {ended:?}");
    }
}

/// A password that is typed is not on the screen.
#[test]
fn a_password_is_not_shown_as_it_is_typed() {
    let place = Place::new();
    let args = ["user", "create", "alice", "--role", "admin", "--password", "-"];
    let (mut running, mut keyboard) = session::start(&place, &args, &[("DATA_DIR", "data")]);
    let (mut screen, mut part) = (Vec::new(), [0; 4096]);
    // It is asked for once nothing is shown any more.
    while !String::from_utf8_lossy(&screen).contains("not shown") {
        let count = keyboard.read(&mut part).unwrap();
        screen.extend_from_slice(&part[..count]);
    }
    keyboard.write_all(b"correct horse battery\n").unwrap();
    // There is no server that would make him.
    assert_eq!(running.0.wait().unwrap().code(), Some(69));
    while let Ok(count @ 1..) = keyboard.read(&mut part) {
        screen.extend_from_slice(&part[..count]);
    }
    let screen = String::from_utf8_lossy(&screen);
    assert!(!screen.contains("horse"), "{screen}");
}
