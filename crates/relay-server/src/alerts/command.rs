//! Tells somebody by a program of the operator's.
//!
//! **Invariant:** no shell, no variable of the server's environment, which holds secrets; killed with its process group when its time is
//! over, or it fails.

use std::{io, process::Stdio, time::Duration};

use relay_core::limits;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin},
    time::timeout,
};

use crate::config::alert::Command;

/// Where a program finds others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Characters of what it printed that are told.
const SAID_CHARS_MAX: usize = 200;
/// An argument of fewer bytes is no secret.
const ARGUMENT_BYTES_TOLD: usize = 8;

/// Runs it once with this on its standard input. Dropped, it kills the program.
///
/// # Errors
/// Why it told nobody, with the beginning of what it printed to standard error.
pub(super) async fn run(command: &Command, input: &[u8], within: Duration) -> Result<(), String> {
    let mut child = tokio::process::Command::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", command.program))?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let Some((stdin, stderr)) = child.stdin.take().zip(child.stderr.take()) else {
        return Err("it has no standard input".to_owned());
    };
    let mut said = Vec::new();
    let ended = timeout(within, until_end(&mut child, stdin, stderr, input, &mut said)).await;
    match &ended {
        // What it leaves to others, a mail to a queue, is theirs to end.
        Ok(Ok(status)) if status.success() => group.spare(),
        _ => drop(group),
    }
    let said = shown(&said, &command.arguments);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{status}{said}")),
        Ok(Err(error)) => Err(format!("cannot wait for it: {error}")),
        Err(_) => Err(format!("it took longer than {} s and was killed{said}", within.as_secs())),
    }
}

/// Kills whatever is left of a program, its own children too.
struct Group(Option<Pid>);

impl Group {
    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // There may be nobody left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn until_end(
    child: &mut Child,
    stdin: ChildStdin,
    mut stderr: ChildStderr,
    input: &[u8],
    said: &mut Vec<u8>,
) -> io::Result<std::process::ExitStatus> {
    let feed = async move {
        let mut stdin = stdin;
        // A program need not read it.
        let _ = stdin.write_all(input).await;
    };
    let through = async {
        tokio::join!(feed, hear(&mut stderr, said));
        // Both ends may be closed long before it is through.
        std::future::pending::<io::Result<std::process::ExitStatus>>().await
    };
    let ended = tokio::select! {
        status = child.wait() => status,
        never = through => never,
    };
    // What a child of it still prints once it has ended is of no interest, but what it printed itself may not have been heard yet.
    hear_what_is_there(&stderr, said);
    ended
}

async fn hear(stderr: &mut ChildStderr, said: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        keep(&buffer[..read], said);
    }
}

/// Waits for nothing: what holds the pipe may outlive the program.
fn hear_what_is_there(stderr: &ChildStderr, said: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while said.len() < limits::ALERT_OUTPUT_BYTES_MAX
        && let Ok(read @ 1..) = rustix::io::read(stderr, &mut buffer)
    {
        keep(&buffer[..read], said);
    }
}

fn keep(read: &[u8], said: &mut Vec<u8>) {
    let room = limits::ALERT_OUTPUT_BYTES_MAX.saturating_sub(said.len());
    said.extend_from_slice(&read[..read.len().min(room)]);
}

/// Its first line; nothing where that repeats an argument or has a URL, for these may be secrets (S27).
fn shown(said: &[u8], arguments: &[String]) -> String {
    let text = String::from_utf8_lossy(said);
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|char| !char.is_control())
        .take(SAID_CHARS_MAX)
        .collect();
    let repeats = |argument: &String| argument.len() >= ARGUMENT_BYTES_TOLD && line.contains(argument.as_str());
    let may_hold_secrets = line.contains("://") || arguments.iter().any(repeats);
    if line.is_empty() || may_hold_secrets { String::new() } else { format!(": {line}") }
}
