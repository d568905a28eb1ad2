//! What is watched as it happens: `status --watch`, `event tail`.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{ChildStdout, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use rustix::{
    process::Signal,
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use serde_json::Value;

use crate::{
    place::{Place, Running, wait_until},
    session::{on_a_terminal, plain, start},
};

const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// A command on a terminal whose screen is read while it runs.
struct Watched {
    running: Running,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Watched {
    fn start(place: &Place, args: &[&str]) -> Self {
        let env = [("DATA_DIR", "data"), ("TERM", "xterm-256color")];
        let (running, keyboard) = start(place, args, &env);
        let (mut terminal, screen) = (keyboard.try_clone().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
        let shown = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            // Reading a terminal that nobody holds any more is an error, not an end of file.
            while let Ok(count @ 1..) = terminal.read(&mut part) {
                shown.lock().unwrap().extend_from_slice(&part[..count]);
            }
        });
        Self { running, keyboard, screen, reader }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).replace("\r\n", "\n")
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} on the screen"), || plain(&self.shown()).contains(text));
    }

    /// How it ended, and all that was on its screen.
    fn end(self) -> (Option<i32>, String) {
        let code = self.running.ended();
        self.reader.join().unwrap();
        let shown = self.screen.lock().unwrap().clone();
        (code, String::from_utf8(shown).unwrap().replace("\r\n", "\n"))
    }
}

/// The status fits its terminal in every state, and says what is wrong first.
#[test]
fn a_status_is_one_screen() {
    let place = Place::new();
    let _server = place.server();
    let lines = |status: &str| {
        let screen = plain(status);
        let lines: Vec<String> = screen.trim_end().lines().map(str::to_owned).collect();
        assert!(lines.len() < 24, "{screen}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
        lines
    };
    let (code, empty) = on_a_terminal(&place, &["status"], &[]);
    assert_eq!(code, Some(0));
    assert!(lines(&empty)[0].ends_with("no webhook yet"), "{empty}");
    let name = |number: usize| format!("{}{number}", "long-name-".repeat(5));
    for number in 0..12 {
        assert!(place.cli(&["route", "create", "default", &name(number)]).status.success());
        assert!(place.cli(&["destination", "pause", &name(number)]).status.success());
    }
    place.send();
    wait_until("the look that sees it", || place.json(&["status"])["status"] == "degraded");
    let (_, trouble) = on_a_terminal(&place, &["status"], &[]);
    let trouble = lines(&trouble);
    assert!(trouble[0].starts_with("degraded, "), "{trouble:#?}");
    assert!(trouble.iter().any(|line| line.contains(" more: crm-relay doctor")), "{trouble:#?}");
    assert!(trouble.iter().any(|line| line.contains(" more: crm-relay destination list")), "{trouble:#?}");
    let (_, wide) = on_a_terminal(&place, &["status", "--wide"], &[]);
    assert!(wide.contains(&name(11)), "{wide}");
}

/// It follows what happens and the size of its terminal, and leaves that as it was.
#[test]
fn a_watched_status_leaves_its_terminal_as_it_was() {
    let place = Place::new();
    let server = place.server();
    let watched = Watched::start(&place, &["status", "--watch"]);
    let echoes = || tcgetattr(&watched.keyboard).unwrap().local_modes.contains(LocalModes::ECHO);
    watched.wait_for("received 0 (0.0/s)");
    assert!(!echoes());
    let mut keyboard = watched.keyboard.try_clone().unwrap();
    keyboard.write_all(b"typed for nobody\n").unwrap();
    place.send();
    watched.wait_for("received 1 (");
    assert_eq!(server.terminate(), Some(0));
    watched.wait_for("away: ");
    fs::remove_file(place.path("data/run.json")).unwrap_or_default();
    let _server = place.server();
    let small = Winsize { ws_row: 8, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&watched.keyboard, small).unwrap();
    watched.running.signal(Signal::WINCH);
    place.send();
    watched.wait_for("received 2 (");
    watched.running.signal(Signal::INT);
    wait_until("the terminal as it was", echoes);
    let (code, screen) = watched.end();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!((screen.matches(ENTER).count(), screen.matches(LEAVE).count()), (1, 1), "{screen:?}");
    let (before, drawn) = screen.split_once(ENTER).unwrap();
    let (drawn, after) = drawn.rsplit_once(LEAVE).unwrap();
    assert!(before.is_empty() && after.is_empty(), "{screen:?}");
    let frames: Vec<String> = drawn.split("\u{1b}[H").skip(1).map(plain).collect();
    let last = frames.last().unwrap();
    assert!(last.contains("received 2 (") && last.lines().all(|line| line.chars().count() <= 40), "{frames:#?}");
    assert!(last.lines().count() <= 8, "{last}");
    assert!(!drawn.contains("typed for nobody"), "{drawn:?}");

    let output = place.cli(&["status", "--watch"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("crm-relay status --json"), "{said}");
}

/// Whoever wants his shell back gets his terminal with it, for a while or for good.
#[test]
fn a_terminal_is_given_back_however_somebody_leaves() {
    let place = Place::new();
    let _server = place.server();
    let watched = Watched::start(&place, &["status", "--watch"]);
    let echoes = || tcgetattr(&watched.keyboard).unwrap().local_modes.contains(LocalModes::ECHO);
    watched.wait_for("received 0 (");
    // Ctrl-Z, and `fg`.
    watched.running.signal(Signal::TSTP);
    wait_until("the terminal as it was", echoes);
    wait_until("it to stand still", || watched.running.state() == "T");
    watched.running.signal(Signal::CONT);
    wait_until("it to draw again", || !echoes() && watched.shown().matches(ENTER).count() == 2);
    // Ctrl-\.
    watched.running.signal(Signal::QUIT);
    wait_until("the terminal as it was", echoes);
    let (code, screen) = watched.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.matches(LEAVE).count() == 2 && screen.ends_with(LEAVE), "{screen:?}");

    // A second signal, before the first was heeded or after.
    for _ in 0..5 {
        let watched = Watched::start(&place, &["status", "--watch"]);
        watched.wait_for("received 0 (");
        watched.running.signal(Signal::INT);
        watched.running.signal(Signal::TERM);
        let keyboard = watched.keyboard.try_clone().unwrap();
        let (code, screen) = watched.end();
        assert!(matches!(code, Some(0 | 75)), "{code:?}");
        assert!(screen.ends_with(LEAVE) && screen.matches(LEAVE).count() == 1, "{screen:?}");
        assert!(tcgetattr(&keyboard).unwrap().local_modes.contains(LocalModes::ECHO));
    }
}

/// `event tail` in a pipe.
struct Tailing {
    running: Running,
    lines: BufReader<ChildStdout>,
}

impl Tailing {
    fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(&[&["event", "tail"], args].concat(), &[("DATA_DIR", "data")]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let running = Running(child);
        wait_until("it to have found its server", || running.catches(Signal::INT));
        Self { running, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "it has ended: {:?}", self.running.0.wait());
        line.trim_end().to_owned()
    }

    /// The kinds of the next lines, and of which event they are.
    fn documents(&mut self, count: usize) -> Vec<(String, String)> {
        let read = |line: String| {
            let read: Value = serde_json::from_str(&line).unwrap();
            let (kind, of) = read.as_object().unwrap().iter().next().unwrap();
            assert_eq!(of.get("headers"), None, "they are not asked for");
            let id = if kind == "event" { &of["id"] } else { &of["event_id"] };
            (kind.clone(), id.as_str().unwrap().to_owned())
        };
        (0..count).map(|_| read(self.line())).collect()
    }

    /// How it ends when it is told to.
    fn stopped(self) -> Option<i32> {
        self.running.signal(Signal::INT);
        self.running.ended()
    }
}

/// Each event once, and what became of it once, over a break of the server too.
#[test]
fn events_are_told_as_they_come_and_what_becomes_of_them() {
    let place = Place::new();
    let server = place.server();
    assert!(place.cli(&["source", "create", "shop", "--destination", "erp"]).status.success());
    let unknown = place.cli(&["event", "tail", "--destination", "nowhere"]);
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(unknown.status.code() == Some(1) && said.contains("known: default, erp"), "{said}");
    let before = place.send();
    let mut all = Tailing::start(&place, &["--json", "--since", "1h"]);
    assert_eq!(all.documents(1), [("event".to_owned(), before.clone())]);
    let (_receiver, target) = place.receiver(&["--status", "422", "--fail-first", "0"]);
    let client = place.client_to("client", &target);
    assert_eq!(all.documents(1), [("delivery".to_owned(), before.clone())], "it was refused");
    drop(client);
    place.wait_for("server.log", "client_left");
    let mut shown = Tailing::start(&place, &["--since", "1h", "--destination", "default"]);
    let mut nothing = Tailing::start(&place, &["--since", "1h", "--destination", "erp"]);
    // One that has begun waits for a server that goes; one that begins then is told that there is none.
    wait_until("it to have begun", || nothing.running.catches(Signal::TERM));

    assert!(shown.line().contains(&before) && shown.line().contains("\tdefault\tdead\t"));

    // What comes while nobody can be asked is told afterwards.
    assert_eq!(server.terminate(), Some(0));
    fs::remove_file(place.path("data/run.json")).unwrap_or_default();
    let server = place.server();
    let second = place.send();
    assert_eq!(all.documents(1), [("event".to_owned(), second.clone())]);
    let _client = place.client("nobody");
    assert_eq!(all.documents(1), [("delivery".to_owned(), second.clone())], "a try has failed");
    let line = shown.line();
    let cells: Vec<&str> = line.split('\t').collect();
    assert_eq!((cells[1], cells[2], cells[5]), (second.as_str(), "default", "-> default"), "{line}");
    let line = shown.line();
    assert!(line.contains("\tdefault\tscheduled\t") || line.contains("\tdefault\tready\t"), "{line}");
    assert!(place.cli(&["delivery", "cancel", "--all", "--yes"]).status.success());
    assert_eq!(all.documents(1), [("delivery".to_owned(), second.clone())], "it was cancelled");
    let line = shown.line();
    assert!(line.contains("\tdefault\tcancelled\t"), "{line}");

    // The reader goes: so does it, whether or not anything comes.
    let Tailing { running, lines } = all;
    drop(lines);
    assert_eq!(running.ended(), Some(0));
    assert_eq!(shown.stopped(), Some(0));
    nothing.running.signal(Signal::TERM);
    let mut rest = String::new();
    assert_eq!(nothing.lines.read_line(&mut rest).unwrap(), 0, "{rest}");
    assert_eq!(nothing.running.ended(), Some(0));
    drop(server);
}

/// Five hundred a second, and none is left out or told twice: also where a look begins in the midst of them.
#[test]
fn a_burst_is_told_whole() {
    let place = Place::new();
    let _server = place.server();
    let mut all = Tailing::start(&place, &["--json", "--since", "1h", "--source", "default"]);
    let sent = place.cli(&["send", "--count", "3000", "--rate", "500"]);
    let mut sent: Vec<String> = String::from_utf8(sent.stdout).unwrap().lines().map(str::to_owned).collect();
    let mut told: Vec<String> = all.documents(3000).into_iter().map(|(_, id)| id).collect();
    sent.sort();
    told.sort();
    assert!(told == sent, "{} told of {}", told.len(), sent.len());
    assert_eq!(all.stopped(), Some(0));
}

/// On a terminal a line stays a line.
#[test]
fn a_tail_on_a_terminal_fits_it() {
    let place = Place::new();
    let _server = place.server();
    assert!(place.cli(&["route", "create", "default", &"long-name-".repeat(6)]).status.success());
    let sent = place.cli(&["send", "--count", "3"]).stdout;
    let watched = Watched::start(&place, &["event", "tail", "--since", "1h"]);
    String::from_utf8(sent).unwrap().lines().for_each(|id| watched.wait_for(id));
    watched.running.signal(Signal::INT);
    let (code, screen) = watched.end();
    assert_eq!(code, Some(0), "{screen}");
    let lines: Vec<String> = plain(&screen).lines().map(str::to_owned).collect();
    assert_eq!(lines.iter().filter(|line| line.contains("  evt_")).count(), 3, "{screen}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
    // A terminal that was closed ends it too.
    let (running, keyboard) = start(&place, &["event", "tail"], &[("DATA_DIR", "data")]);
    wait_until("it to listen", || running.catches(Signal::INT));
    drop(keyboard);
    assert_eq!(running.ended(), Some(0));
}
