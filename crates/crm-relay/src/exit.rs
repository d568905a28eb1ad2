//! How the process ends: one code per kind of ending, and the words that go with a failure.

use std::{fmt, io, process::ExitCode};

/// Exit codes; scripts rely on the numbers (`sysexits.h` where it has one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The answer is no: sums differ, something was refused, a thing is not there.
    No = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The server cannot be reached; a port or the data directory is in use.
    Unreachable = 69,
    /// The store failed.
    StoreFailed = 74,
    /// Stopped, but not within `SHUTDOWN_GRACE`.
    OverGrace = 75,
    /// The store, or the server's protocol, is of a newer version.
    NewerVersion = 76,
    /// The server refused the token.
    TokenRefused = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked: what happened, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    /// With which code the process ends.
    pub(crate) exit: Exit,
    /// What happened and what to do next, in words for whoever typed the command; empty: it was already said.
    pub(crate) text: String,
}

/// What every command gives back.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    /// A failure with its code and words.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// An option or argument whose value makes no sense.
    pub(crate) fn option(name: &str, value: &str, want: impl fmt::Display) -> Self {
        Self::usage(format!("{name} {}: {want}", typed(value)))
    }

    /// The answer is no.
    pub(crate) fn no(text: impl Into<String>) -> Self {
        Self::new(Exit::No, text)
    }

    /// Something that has to be there cannot be reached.
    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, text)
    }

    /// Failed to write results: a closed pipe is the reader's choice and ends the command quietly.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            _ => Self::new(Exit::StoreFailed, format!("cannot write the output: {}", reason(error))),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::output(&error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How a process ends whose two halves ended, the first one first: with its failure, which is the cause of what followed;
/// but to have stopped over the grace is the least of failures.
pub(crate) fn worse(first: Outcome, second: Outcome) -> Outcome {
    match (first, second) {
        (Err(first), Err(second)) if first.exit == Exit::OverGrace => Err(second),
        (Err(failure), _) | (Ok(_), Err(failure)) => Err(failure),
        (Ok(first), Ok(second)) => Ok(if first == Exit::Done { second } else { first }),
    }
}

/// Characters of what somebody typed that an error shows.
const TYPED_MAX: usize = 80;

/// What somebody typed, in an error: in quotes where it would not be seen, and no more of it than tells what it was.
pub(crate) fn typed(text: &str) -> String {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return quoted(text);
    }
    let shown: String = text.chars().take(TYPED_MAX).collect();
    format!("{shown}{}", if shown.len() < text.len() { "..." } else { "" })
}

/// The same, always in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(TYPED_MAX).collect();
    format!("{shown:?}{}", if shown.len() < text.len() { "..." } else { "" })
}

/// An IO error in plain words, without the number of the operating system.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        io::ErrorKind::StorageFull => "no space left on the disk".to_owned(),
        _ => {
            let text = error.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            text[..end].to_lowercase()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_seen_in_an_error() {
        let text = |value| Failure::option("--ttl", value, "want a duration").text;
        assert_eq!(text("soon"), "--ttl soon: want a duration");
        assert_eq!(text(""), "--ttl \"\": want a duration");
        assert_eq!(text(" 1 d"), "--ttl \" 1 d\": want a duration");
        assert_eq!(typed(&"x".repeat(5_000)).len(), 83);
    }

    #[test]
    fn two_halves_end_as_the_worse_of_them() {
        let failed = |exit| -> Outcome { Err(Failure::new(exit, "")) };
        let code = |first, second| match worse(first, second) {
            Ok(exit) => exit,
            Err(failure) => failure.exit,
        };
        assert_eq!(code(Ok(Exit::Done), Ok(Exit::Done)), Exit::Done);
        assert_eq!(code(failed(Exit::StoreFailed), Ok(Exit::Done)), Exit::StoreFailed);
        assert_eq!(code(Ok(Exit::Done), failed(Exit::OverGrace)), Exit::OverGrace);
        assert_eq!(code(failed(Exit::Configuration), failed(Exit::OverGrace)), Exit::Configuration);
        assert_eq!(code(failed(Exit::OverGrace), failed(Exit::StoreFailed)), Exit::StoreFailed);
        assert_eq!(code(failed(Exit::StoreFailed), failed(Exit::Configuration)), Exit::StoreFailed);
    }
}
