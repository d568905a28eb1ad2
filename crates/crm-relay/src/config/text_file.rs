//! Files that people write, and what comes through pipes: configuration, credentials, single values. Whatever encoding an
//! editor or a shell gave them, all are read here.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use relay_core::limits;
use relay_providers::{ADMIN_PREFIX, KEY_PREFIX, TOKEN_PREFIX, pasted};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
};

use super::typed;
use crate::exit::reason;

/// What PEM begins with: the one value of several lines.
const ARMOUR: &str = "-----BEGIN ";

/// The text of a file.
///
/// # Errors
/// It cannot be read, or is no text: what would be right.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    decoded(&bytes(path, limits::CONFIGURATION_FILE_BYTES_MAX)?)
}

/// The bytes of a file that has at most `max`.
///
/// # Errors
/// It cannot be read, is none, or is longer.
pub(crate) fn bytes(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("cannot read the file: {}", reason(&error));
    // A pipe is opened only once somebody writes to it, unless one asks for it.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_dir() {
        return Err("is a directory; want a file".to_owned());
    }
    let read = if kind.is_file() { bytes_of(file, max) } else { bytes_of(Pipe(file), max) };
    read.map_err(failed)?.ok_or_else(|| too_long(max))
}

/// A pipe, as `<(...)` of a shell makes one, or a terminal: it is waited for as long as somebody has it open to write, however long he takes.
struct Pipe(File);

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let within = Timespec { tv_sec: limits::PIPE_WRITER_WITHIN.as_secs() as i64, tv_nsec: 0 };
            let ready = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&within))?;
            match self.0.read(into) {
                // Somebody has it open and has written nothing yet.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) if ready == 0 => return Err(io::Error::other("it is a pipe that nobody writes to")),
                read => return read,
            }
        }
    }
}

/// The text of a file that is open.
///
/// # Errors
/// As [`text`].
pub(crate) fn text_of(file: File) -> Result<String, String> {
    let max = limits::CONFIGURATION_FILE_BYTES_MAX;
    let read = bytes_of(file, max).map_err(|error| format!("cannot be read: {}", reason(&error)))?;
    decoded(&read.ok_or_else(|| too_long(max))?)
}

/// A value that stands alone in a file, as container platforms mount secrets, editors save and shells write them.
///
/// # Errors
/// It cannot be read, there is none, or there are several.
pub(crate) fn value(path: &Path) -> Result<String, String> {
    one(&decoded(&bytes(path, limits::VALUE_FILE_BYTES_MAX)?)?, "the file")
}

/// The value of an option that holds a secret: itself, `@FILE`, or `-` for standard input.
///
/// # Errors
/// As [`value`].
pub(crate) fn argument(text: &str) -> Result<String, String> {
    match text.strip_prefix('@') {
        None if text == "-" => value_of_stdin(),
        None => Ok(text.to_owned()),
        Some(name) => {
            path(name).and_then(|path| value(&path)).map_err(|error| format!("@{}: {error}", shown_path(name)))
        }
    }
}

fn value_of_stdin() -> Result<String, String> {
    let max = limits::VALUE_FILE_BYTES_MAX;
    let read = if io::stdin().is_terminal() { typed::unseen(max, ARMOUR) } else { bytes_of(io::stdin().lock(), max) };
    let read = read.map_err(|error| format!("cannot read standard input: {}", reason(&error)))?;
    one(&decoded(&read.ok_or_else(|| too_long(max))?)?, "standard input")
}

/// A path as people write it: in quotes, or below their home directory, which shells do not always put in.
///
/// # Errors
/// What would be right.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    let text = pasted::trimmed(text);
    let text = pasted::unquoted(text).unwrap_or(text);
    if text.is_empty() {
        return Err("want a path".to_owned());
    }
    if text.contains(char::is_control) || pasted::hidden(text).is_some() || text.contains('\u{fffd}') {
        return Err(
            "a path holds what nobody can type: a control character, an invisible one, or bytes that are not UTF-8"
                .into(),
        );
    }
    if text.contains("://") {
        return Err("want a path, not a URL".to_owned());
    }
    if is_of_windows(text) {
        return Err("want a path like /srv/relay; this is one of Windows".to_owned());
    }
    if text.contains(" #") {
        return Err("what stands behind # is no comment in the file that gave this; leave it out".to_owned());
    }
    let home = || std::env::home_dir().filter(|home| home.is_absolute());
    if let Some(variable) = text.split('/').find(|part| pasted::is_placeholder(part)) {
        let want = match (variable, home()) {
            ("$HOME" | "${HOME}", Some(home)) => text.replacen(variable, &home.display().to_string(), 1),
            _ => "the whole path".to_owned(),
        };
        return Err(format!("{variable} is not expanded here; want {want}"));
    }
    let Some(below) = text.strip_prefix('~') else { return Ok(PathBuf::from(text)) };
    match (below.strip_prefix('/').or_else(|| below.is_empty().then_some("")), home()) {
        (Some(below), Some(home)) => Ok(home.join(below)),
        _ => Err("~ is not expanded here; want the whole path (or ./~... if that is its name)".to_owned()),
    }
}

/// The path of a file that cannot be read, unless a secret stands in its place.
pub(crate) fn shown_path(path: &str) -> String {
    let is_secret = [KEY_PREFIX, TOKEN_PREFIX, ADMIN_PREFIX, "whsec_"].iter().any(|prefix| path.contains(prefix));
    if is_secret { "redacted".to_owned() } else { path.to_owned() }
}

/// Text of UTF-8, or of UTF-16 that says so, as Notepad and PowerShell write it.
///
/// # Errors
/// It is neither: what would be right.
fn decoded(bytes: &[u8]) -> Result<String, String> {
    let wide = |of: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().skip(1).map(|pair| of(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    let text = match bytes {
        [0xff, 0xfe, ..] => {
            wide(u16::from_le_bytes).ok_or("is UTF-16 that is cut short or damaged: save it as UTF-8")?
        }
        [0xfe, 0xff, ..] => {
            wide(u16::from_be_bytes).ok_or("is UTF-16 that is cut short or damaged: save it as UTF-8")?
        }
        _ => match str::from_utf8(bytes) {
            Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
            Err(error) => {
                let before = str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                return Err(format!("is not UTF-8 (line {line}): save it as UTF-8"));
            }
        },
    };
    if text.contains('\0') {
        return Err("holds zero bytes, as UTF-16 without its mark does: save it as UTF-8".to_owned());
    }
    Ok(text)
}

/// The one value in a text; PEM is one, of many lines.
fn one(text: &str, whence: &str) -> Result<String, String> {
    let value = pasted::trimmed(text);
    if value.is_empty() {
        return Err(format!("{whence} is empty; want the value in it"));
    }
    let lines = value.lines().count();
    if (lines > 1 || value.contains('\r')) && !value.contains(ARMOUR) {
        return Err(format!("{whence} holds {} lines; want the value alone, on one", lines.max(2)));
    }
    Ok(value.to_owned())
}

/// All of it; `None`: there is more than `max`.
fn bytes_of(from: impl Read, max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

fn too_long(max: u64) -> String {
    format!("is longer than {}: another file than was meant?", crate::quantity::show_size(max))
}

/// `C:\relay`, `\\host\share`.
fn is_of_windows(text: &str) -> bool {
    let mut chars = text.chars();
    let has_drive = chars.next().is_some_and(|char| char.is_ascii_alphabetic()) && chars.as_str().starts_with(":\\");
    has_drive || text.starts_with("\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str, of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(of).collect()
    }

    fn read(bytes: &[u8]) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(file.path(), bytes).map_err(|error| error.to_string())?;
        value(file.path())
    }

    #[test]
    fn a_value_is_read_out_of_whatever_an_editor_or_a_shell_wrote() {
        for bytes in [
            b"value".to_vec(),
            b"value\n".to_vec(),
            b"value\r\n\r\n".to_vec(),
            b"\xef\xbb\xbfvalue\r\n".to_vec(),
            b"  value\t\n".to_vec(),
            b"value\x1a".to_vec(),
            wide("value\r\n", u16::to_le_bytes),
            wide("value", u16::to_be_bytes),
        ] {
            assert_eq!(read(&bytes), Ok("value".to_owned()), "{bytes:?}");
        }
        let pem = "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----";
        assert_eq!(read(format!("{pem}\n").as_bytes()), Ok(pem.to_owned()));
    }

    #[test]
    fn what_holds_no_value_or_several_is_refused() {
        let long = vec![b'x'; limits::VALUE_FILE_BYTES_MAX as usize + 1];
        for (bytes, want) in [
            (&b""[..], "is empty"),
            (b"\xef\xbb\xbf \r\n", "is empty"),
            (b"one\ntwo\n", "2 lines"),
            (b"# mine\n\nvalue\n", "3 lines"),
            (b"one\rtwo", "2 lines"),
            (b"val\xfce\n", "not UTF-8 (line 1)"),
            (b"v\0a\0l\0", "zero bytes"),
            (b"\xff\xfev\0a", "UTF-16"),
            (&long, "longer than 64KiB"),
        ] {
            assert!(read(bytes).is_err_and(|said| said.contains(want)), "{want}: {:?}", read(bytes));
        }
        assert!(value(Path::new("/")).is_err_and(|said| said.contains("is a directory")));
        assert!(value(Path::new("/nowhere/x")).is_err_and(|said| said.contains("no such file")));
        assert!(value(Path::new("/dev/zero")).is_err_and(|said| said.contains("longer than")));
    }

    /// What `<(...)` of a shell gives is read to its end, however its writer dawdles; a pipe that nobody writes to ends.
    #[test]
    fn a_pipe_is_read_and_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::write(pipe, "value\n")
        });
        assert_eq!(value(&pipe), Ok("value".to_owned()));
        writer.join().unwrap().unwrap();
        assert!(value(&pipe).is_err_and(|said| said.contains("a pipe that nobody writes to")));
    }

    #[test]
    fn a_path_is_what_was_meant_or_refused() {
        for (given, want) in
            [("/srv/a", "/srv/a"), (" \"/srv/a b\" ", "/srv/a b"), ("'./a'", "./a"), ("./~", "./~"), ("a=b", "a=b")]
        {
            assert_eq!(path(given), Ok(PathBuf::from(want)), "{given}");
        }
        let home = std::env::home_dir().unwrap();
        assert_eq!(path("~/a"), Ok(home.join("a")));
        for (given, want) in [
            ("", "want a path"),
            ("~somebody/a", "whole path"),
            ("$DATA/relay", "$DATA is not expanded"),
            ("/srv/${NAME}/x", "${NAME} is not expanded"),
            ("a\tb", "control"),
            ("/srv/\u{200b}a", "invisible"),
            ("/srv/\u{fffd}", "UTF-8"),
            ("file:///srv/a", "not a URL"),
            ("C:\\relay", "Windows"),
            ("/srv/relay  # of the relay", "no comment"),
        ] {
            assert!(path(given).is_err_and(|said| said.contains(want)), "{given}: {:?}", path(given));
        }
        assert!(path("$HOME/a").is_err_and(|said| said.contains(&home.join("a").display().to_string())));
    }
}
