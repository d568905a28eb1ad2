//! A command on a terminal: a pseudo-terminal of 80 columns and 24 lines stands in for the person.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, process::Stdio, thread::JoinHandle};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::place::{Place, Running};

/// Places in a line of the terminal.
pub(crate) const COLUMNS: u16 = 80;

/// A command on a terminal of its own.
pub(crate) struct Session {
    pub(crate) running: Running,
    pub(crate) keyboard: File,
    pub(crate) screen: JoinHandle<String>,
}

impl Session {
    pub(crate) fn start(place: &Place, args: &[&str], env: &[(&str, &str)]) -> Self {
        let (running, keyboard) = start(place, args, env);
        let mut screen = keyboard.try_clone().unwrap();
        let screen = std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut part = [0; 4096];
            // Reading a terminal that nobody holds any more is an error, not an end of file.
            while let Ok(count @ 1..) = screen.read(&mut part) {
                text.extend_from_slice(&part[..count]);
            }
            String::from_utf8(text).unwrap().replace("\r\n", "\n")
        });
        Self { running, keyboard, screen }
    }

    /// How it ended, and all that was on its screen.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = self.running.0.wait().unwrap();
        (status.code(), self.screen.join().unwrap())
    }
}

/// Starts a command on a terminal that is open for as long as its keyboard is held. What it shows nobody reads.
pub(crate) fn start(place: &Place, args: &[&str], env: &[(&str, &str)]) -> (Running, File) {
    // What a command held of the person's side, also one that another test starts just now, would keep the terminal open.
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).unwrap();
    let terminal = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
    let mut command = place.command(args, env);
    let side = || Stdio::from(OwnedFd::from(terminal.try_clone().unwrap()));
    command.stdin(side()).stdout(side()).stderr(side());
    (Running(command.spawn().unwrap()), File::from(master))
}

/// Runs a command against the server of a place, on a terminal: how it ended, and its screen.
pub(crate) fn on_a_terminal(place: &Place, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let usual = [("DATA_DIR", "data"), ("TERM", "xterm-256color")];
    let env: Vec<(&str, &str)> = usual.iter().chain(env).copied().collect();
    let (code, screen) = Session::start(place, args, &env).end();
    (code, screen)
}

/// Without its colours.
pub(crate) fn plain(screen: &str) -> String {
    anstream::adapter::strip_str(screen).to_string()
}

/// Lines that are wider than the terminal, but for what is there to be copied, URLs among it.
pub(crate) fn too_wide(screen: &str) -> Vec<String> {
    let is_copied = |line: &&str| line.trim_start().starts_with("\u{1b}[36m") || line.contains("  https://");
    let lines = screen.lines().filter(|line| !is_copied(line)).map(plain);
    lines.filter(|line| line.chars().count() > COLUMNS.into()).collect()
}
