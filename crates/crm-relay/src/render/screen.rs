//! A whole terminal for one thing that is drawn over and over: another screen than the one with what was typed before, which comes back
//! as it was at the end.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::visible::safe;

/// The other screen, without a cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
/// The cursor, and the screen of before.
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// The upper left corner.
const HOME: &str = "\u{1b}[H";
/// Takes away what stands behind the end of a line.
const REST_OF_LINE: &str = "\u{1b}[K";
/// The same of the screen.
const REST: &str = "\u{1b}[J";

/// A terminal that shows what is drawn, until this is dropped.
pub(crate) struct Screen {
    /// How what is typed was taken before.
    typed: Option<Termios>,
    /// Nobody wants colours.
    is_plain: bool,
}

impl Screen {
    /// Takes the terminal; what is typed is not shown, and what it asks for (Ctrl-C) is done all the same.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(crate) fn open() -> io::Result<Self> {
        let stdin = io::stdin();
        let typed = tcgetattr(&stdin).ok().filter(|_| stdin.is_terminal());
        if let Some(typed) = &typed {
            let mut silent = typed.clone();
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            // Without it, what is typed is seen until the next drawing.
            let _seen = tcsetattr(&stdin, OptionalActions::Now, &silent);
        }
        let is_plain = AutoStream::choice(&io::stdout()) == ColorChoice::Never;
        let screen = Self { typed, is_plain };
        write(ENTER)?;
        Ok(screen)
    }

    /// Draws these lines in place of those before. They are to fit it.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(crate) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut frame = HOME.to_owned();
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                frame.push_str("\r\n");
            }
            let line = safe(line);
            frame.push_str(&if self.is_plain { strip_str(&line).to_string() } else { line.into_owned() });
            frame.push_str(REST_OF_LINE);
        }
        frame.push_str(REST);
        write(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _gone = write(LEAVE);
        if let Some(typed) = &self.typed {
            // What was typed meanwhile was for nobody.
            let _gone = tcsetattr(io::stdin(), OptionalActions::Flush, typed);
        }
    }
}

/// In one piece, so that nothing half drawn is seen.
fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
