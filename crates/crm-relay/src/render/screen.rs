//! A whole terminal for one thing that is drawn over and over: another screen than the one with what was typed before, which comes back
//! as it was at the end.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::Duration,
};

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

/// How often a process that ends at once asks for the terminal while something is drawn.
const ASKED_MAX: u32 = 10;
/// Between two of those.
const ASKED_EVERY: Duration = Duration::from_millis(10);

/// The terminal of the process, while it is taken: whoever ends the process gives it back, from whatever thread.
static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);

/// How it was before.
struct Taken {
    /// How what is typed was taken.
    typed: Option<Termios>,
}

/// A terminal that shows what is drawn, until this is dropped. A process has one at a time.
pub(crate) struct Screen {
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
        let mut taken = taken();
        let typed = tcgetattr(&stdin).ok().filter(|_| stdin.is_terminal());
        if let Some(typed) = &typed {
            let mut silent = typed.clone();
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            // Without it, what is typed is seen until the next drawing.
            let _seen = tcsetattr(&stdin, OptionalActions::Now, &silent);
        }
        let is_plain = AutoStream::choice(&io::stdout()) == ColorChoice::Never;
        *taken = Some(Taken { typed });
        drop(taken);
        let screen = Self { is_plain };
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
        let taken = taken();
        // What is given back already is somebody else's.
        if taken.is_some() { write(&frame) } else { Ok(()) }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(taken());
    }
}

/// Gives back what is taken, for a process that ends without further ado: one that cannot draw, for its terminal takes nothing, is not
/// held up.
pub(crate) fn give_back_at_once() {
    for _ in 0..ASKED_MAX {
        match TAKEN.try_lock() {
            Ok(taken) => return give_back(taken),
            Err(TryLockError::Poisoned(poisoned)) => return give_back(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => thread::sleep(ASKED_EVERY),
        }
    }
}

fn taken() -> MutexGuard<'static, Option<Taken>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn give_back(mut taken: MutexGuard<'_, Option<Taken>>) {
    let Some(Taken { typed }) = taken.take() else { return };
    // A terminal that is gone needs nothing back.
    let _gone = write(LEAVE);
    if let Some(typed) = &typed {
        // What was typed meanwhile was for nobody.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Flush, typed);
    }
}

/// In one piece, so that nothing half drawn is seen.
fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
