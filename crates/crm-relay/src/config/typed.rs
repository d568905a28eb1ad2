//! A value that somebody types at a terminal: nobody beside him reads it there, nor whoever scrolls back.

use std::io::{self, BufRead as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// What the last line of PEM begins with.
const ARMOUR_END: &[u8] = b"-----END ";

/// The terminal shows nothing of what is typed until it is dropped. Shells put it right where a signal ends the process before that.
struct Unseen(Termios);

/// A line that is typed, or PEM, which begins with `armour`, to its end; `None`: it is longer than `max`.
///
/// # Errors
/// The terminal does not do it: then nothing is read that it would show.
pub(super) fn unseen(max: u64, armour: &str) -> io::Result<Option<Vec<u8>>> {
    let _unseen = Unseen::begin()?;
    write!(io::stderr(), "the value, which is not shown: ")?;
    let (mut lines, mut typed) = (io::stdin().lock().take(max + 1), Vec::new());
    loop {
        let before = typed.len();
        let is_end = lines.read_until(b'\n', &mut typed)? == 0;
        if is_end || !typed.starts_with(armour.as_bytes()) || typed[before..].starts_with(ARMOUR_END) {
            return Ok((typed.len() as u64 <= max).then_some(typed));
        }
    }
}

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        // The end of the line is shown, or what comes next stands behind the question.
        unseen.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Drain, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0) {
            tracing::warn!(%error, "the terminal shows nothing of what is typed; stty sane");
        }
    }
}
