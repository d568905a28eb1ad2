//! Colours. Written with codes everywhere; `anstream` takes them out where there is no terminal or `NO_COLOR` is set.

use std::{fmt::Display, io::IsTerminal as _, os::fd::AsFd};

use owo_colors::OwoColorize as _;

/// Whether results go to a terminal.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether what is said beside results goes to a terminal.
pub(crate) fn is_attended() -> bool {
    std::io::stderr().is_terminal()
}

/// Places in a line of the terminal that results go to.
pub(crate) fn screen() -> usize {
    width_of(std::io::stdout())
}

/// The same of the one that everything else goes to.
pub(crate) fn screen_beside() -> usize {
    width_of(std::io::stderr())
}

fn width_of(terminal: impl AsFd) -> usize {
    const USUAL: usize = 80;
    let size = rustix::termios::tcgetwinsize(terminal).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(USUAL)
}

/// Lines of the terminal that results go to.
pub(crate) fn rows() -> usize {
    const USUAL: usize = 24;
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map(|size| usize::from(size.ws_row)).filter(|rows| *rows > 0).unwrap_or(USUAL)
}

/// The same as [`screen`], no more than text is comfortably read in.
pub(crate) fn columns() -> usize {
    const WIDEST: usize = 100;
    screen().min(WIDEST)
}

/// A heading.
pub(crate) fn bold(text: impl Display) -> String {
    text.bold().to_string()
}

/// Of less weight.
pub(crate) fn dim(text: impl Display) -> String {
    text.dimmed().to_string()
}

/// Good.
pub(crate) fn good(text: impl Display) -> String {
    text.green().to_string()
}

/// Wants attention.
pub(crate) fn warn(text: impl Display) -> String {
    text.yellow().to_string()
}

/// Bad.
pub(crate) fn bad(text: impl Display) -> String {
    text.red().to_string()
}

/// Begins an error.
pub(crate) fn error(text: impl Display) -> String {
    text.red().bold().to_string()
}

/// What something to copy begins with.
pub(super) const COPY: &str = "\u{1b}[36m";

/// Something to copy.
pub(crate) fn copy(text: impl Display) -> String {
    text.cyan().to_string()
}
