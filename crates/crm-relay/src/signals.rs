//! SIGTERM and SIGINT (and SIGHUP of a terminal that was closed): the first asks for a graceful stop, the second ends the
//! process at once, or the delay of a stop, and the third then the process. Any other SIGHUP asks for the configuration to be read anew.
//!
//! A thread of their own waits for them: it outlives the runtime, and a runtime whose workers are all busy does not hold it up.

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::process;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    exit::{Exit, Failure},
    farewell, printer,
};

/// At a second signal, for what is still to be printed.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(100);

/// Tells whoever listens that the process shall stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// How often it was asked for.
    asked: watch::Receiver<u8>,
    /// Whether a second signal is for the delay of the stop.
    is_delayed: Arc<AtomicBool>,
}

impl Stop {
    /// Completes once a stop was asked for. Cancel safe.
    pub(crate) async fn asked(mut self) {
        // The sender lives as long as the process: an error cannot come before a stop.
        let _closed = self.asked.wait_for(|times| *times >= 1).await;
    }

    /// Puts off for so long what follows on a stop, unless it is asked for once more: that ends the delay, and not the process.
    pub(crate) async fn delay(mut self, span: Duration) {
        self.is_delayed.store(true, Ordering::Relaxed);
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            _ = self.asked.wait_for(|times| *times >= 2) => {}
        }
        self.is_delayed.store(false, Ordering::Relaxed);
    }

    /// Whether a stop was asked for: for work that goes on step by step.
    pub(crate) fn is_asked(&self) -> bool {
        *self.asked.borrow() >= 1
    }
}

/// Tells whoever listens that the configuration shall be read anew. Dropped: the process cannot do that.
#[derive(Debug)]
pub(crate) struct Hangups(tokio::sync::mpsc::Receiver<()>);

impl Hangups {
    /// Completes at the next one; several that came meanwhile are one. `false`: none will come any more. Cancel safe.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.recv().await.is_some()
    }
}

/// Tells whenever the terminal has another size.
///
/// # Errors
/// The system refuses a handler.
pub(crate) fn resizes() -> Result<Signal, Failure> {
    let failed = |error| Failure::new(Exit::StoreFailed, format!("cannot listen for signals: {error}"));
    signal(SignalKind::window_change()).map_err(failed)
}

/// Tells of Ctrl-\ for a command that has something to remove before it ends.
///
/// # Errors
/// The system refuses a handler.
pub(crate) fn quits() -> Result<Signal, Failure> {
    let failed = |error| Failure::new(Exit::StoreFailed, format!("cannot listen for signals: {error}"));
    signal(SignalKind::quit()).map_err(failed)
}

/// What a terminal sends a command that has taken it, beside a stop: Ctrl-Z and Ctrl-\.
#[derive(Debug)]
pub(crate) struct Keys {
    pause: Signal,
    quit: Signal,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Somebody wants his shell back, for a while.
    Pause,
    /// Somebody wants an end.
    Quit,
}

impl Keys {
    /// Begins to listen for them, until the process ends.
    ///
    /// # Errors
    /// The system refuses handlers.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::new(Exit::StoreFailed, format!("cannot listen for signals: {error}"));
        let pause = signal(SignalKind::from_raw(process::Signal::TSTP.as_raw())).map_err(failed)?;
        Ok(Self { pause, quit: signal(SignalKind::quit()).map_err(failed)? })
    }

    /// The next of them. Cancel safe.
    pub(crate) async fn next(&mut self) -> Key {
        tokio::select! {
            _ = self.pause.recv() => Key::Pause,
            _ = self.quit.recv() => Key::Quit,
        }
    }
}

/// Stands still until somebody has the process go on.
///
/// # Errors
/// The system does not let it.
pub(crate) fn pause() -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::StoreFailed, format!("cannot pause: {}", io::Error::from(error)));
    process::kill_process(process::getpid(), process::Signal::STOP).map_err(failed)
}

/// Begins to listen for signals; they are listened for until the process ends.
///
/// # Errors
/// The system refuses handlers or a thread.
pub(crate) fn listen() -> Result<Stop, Failure> {
    Ok(listen_by(|| {})?.0)
}

/// The same for a command that has something to put back, also where a second signal ends it at once.
///
/// # Errors
/// As [`listen`].
pub(crate) fn listen_with(last_words: fn()) -> Result<Stop, Failure> {
    Ok(listen_by(last_words)?.0)
}

/// The same for a process that runs until it is stopped, and may read its configuration anew.
///
/// # Errors
/// As [`listen`].
pub(crate) fn attend() -> Result<(Stop, Hangups), Failure> {
    listen_by(farewell::at_once)
}

fn listen_by(last_words: fn()) -> Result<(Stop, Hangups), Failure> {
    let failed = |error| Failure::new(Exit::StoreFailed, format!("cannot listen for signals: {error}"));
    let (asked, receiver) = watch::channel(0);
    let is_delayed = Arc::<AtomicBool>::default();
    let stop = Stop { asked: receiver, is_delayed: Arc::clone(&is_delayed) };
    let (hung_up, hangups) = tokio::sync::mpsc::channel(1);
    let (ready, begun) = mpsc::sync_channel(1);
    let wait = move || match handlers() {
        Ok((runtime, signals)) => {
            // Whoever began this waits for it.
            let _ = ready.send(Ok(()));
            runtime.block_on(obey(signals, &asked, &is_delayed, &hung_up));
            last_words();
            end_at_once();
        }
        Err(error) => drop(ready.send(Err(error))),
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    begun.recv().unwrap_or_else(|_| Err(io::Error::other("their thread has ended"))).map_err(failed)?;
    Ok((stop, Hangups(hangups)))
}

/// All three signals.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Whether the process was started on a terminal. One that was closed since is none any more, whoever asks.
    on_terminal: bool,
}

fn handlers() -> io::Result<(runtime::Runtime, Signals)> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            on_terminal: is_on_terminal(),
        }
    };
    Ok((runtime, signals))
}

async fn obey(
    mut signals: Signals,
    asked: &watch::Sender<u8>,
    is_delayed: &AtomicBool,
    hung_up: &tokio::sync::mpsc::Sender<()>,
) {
    signals.next(hung_up).await;
    asked.send_replace(1);
    signals.next(hung_up).await;
    if is_delayed.load(Ordering::Relaxed) {
        asked.send_replace(2);
        signals.next(hung_up).await;
    }
}

impl Signals {
    /// Whichever comes first. Cancel safe: a signal is not lost when the other branch wins.
    async fn next(&mut self, hung_up: &tokio::sync::mpsc::Sender<()>) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                // A terminal that was closed ends what ran in it; otherwise somebody says that settings changed.
                _ = self.hangup.recv() => {
                    if self.on_terminal && !is_on_terminal() {
                        return;
                    }
                    // One that waits already stands for this one too.
                    if hung_up.is_closed() {
                        tracing::warn!(event = "hangup", "SIGHUP changes nothing here: settings are read at start; restart to change them");
                    } else {
                        let _waits = hung_up.try_send(());
                    }
                }
            }
        }
    }
}

/// Whether anything of this process is on a terminal that is open.
fn is_on_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "a second signal ends the process without further ado")]
fn end_at_once() {
    printer::flush(LAST_WORDS_WAIT);
    std::process::exit(i32::from(Exit::OverGrace as u8));
}
