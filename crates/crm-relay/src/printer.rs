//! Prints for a process that runs until it is stopped: log lines and what is said beside them go through a bounded queue to
//! a thread that writes them.
//!
//! **Invariant:** whoever prints neither waits nor fails, whatever becomes of the terminal, pipe or file that it goes to.
//! What finds no room, or cannot be written, is dropped and counted, and that is told as soon as lines get through again.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use relay_core::limits;

/// Beside the bytes of a line, what it costs to keep it.
const LINE_OVERHEAD: usize = 64;
/// While there is no end of them, so many lines pass between two that tell how many were lost.
const TELL_EVERY: u32 = 1_000;
/// Between two tries at a pipe that somebody else has made one that does not wait.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Of this process, once it was begun.
static PRINTER: OnceLock<Printer> = OnceLock::new();

thread_local! {
    /// What the printer's own thread logs, which goes out at once.
    static OWN: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Results.
    Out,
    /// The log, and what is said beside results.
    Err,
}

/// What is to be printed, and the thread that prints it.
#[derive(Clone, Debug)]
pub(crate) struct Printer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to print.
    filled: Condvar,
    /// Everything is printed.
    emptied: Condvar,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<(Stream, Vec<u8>)>,
    bytes: usize,
    /// A line is being written.
    is_writing: bool,
}

/// The printer of this process; begun if it was not.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn begin() -> io::Result<&'static Printer> {
    if let Some(running) = running() {
        return Ok(running);
    }
    // Handles of their own: whoever else prints and waits for a reader holds up nobody here.
    let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let err = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let printer = Printer::start(out.ok(), err.ok(), tell)?;
    Ok(PRINTER.get_or_init(|| printer))
}

/// The printer of this process, if it was begun.
pub(crate) fn running() -> Option<&'static Printer> {
    PRINTER.get()
}

/// Gives what was printed so far this long to get out, before the process ends.
pub(crate) fn flush(within: Duration) {
    if let Some(printer) = running() {
        printer.flush(within);
    }
}

/// Lets the last lines of a process out when it is dropped, as far as anybody takes them.
pub(crate) struct LastWords;

impl Drop for LastWords {
    fn drop(&mut self) {
        flush(limits::LAST_WORDS_WAIT);
    }
}

fn tell(lines: u64) {
    tracing::warn!(
        event = "log_lines_lost",
        lines,
        "lines could not be written, or their reader was too slow; nothing else waited for them"
    );
}

impl Printer {
    /// Starts the thread. `tell` logs how many lines were lost since it was last called.
    fn start<S: Write + Send + 'static>(out: Option<S>, err: Option<S>, tell: fn(u64)) -> io::Result<Self> {
        let printer = Self(Arc::default());
        let shared = Arc::clone(&printer.0);
        let [out, err] = [out, err].map(|to| Sink { to, is_cut: false });
        let mut writer = Writer { shared, out, err, told: 0, since: 0, tell };
        thread::Builder::new().name("printer".into()).spawn(move || writer.run())?;
        Ok(printer)
    }

    /// Prints this, some time soon; never waits.
    pub(crate) fn print(&self, stream: Stream, line: &[u8]) {
        if OWN.with_borrow_mut(|own| own.as_mut().map(|own| own.extend_from_slice(line))).is_some() {
            return;
        }
        let mut queue = self.0.queue();
        let bytes = line.len() + LINE_OVERHEAD;
        if queue.bytes + bytes > limits::LOG_BYTES_MAX {
            self.0.lost.fetch_add(1, Relaxed);
            return;
        }
        queue.bytes += bytes;
        queue.lines.push_back((stream, line.to_vec()));
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Waits until all is printed, but no longer than this; whether it is.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let waited = self.0.emptied.wait_timeout_while(self.0.queue(), within, |queue| !queue.is_done());
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.is_done()
    }

    /// Counts the lines that were dropped.
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.lost)
    }
}

/// A line for each write.
impl Write for &Printer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.print(Stream::Err, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next line, when there is one.
    fn next(&self) -> (Stream, Vec<u8>) {
        let mut queue = self.queue();
        queue.is_writing = false;
        loop {
            if let Some((stream, line)) = queue.lines.pop_front() {
                queue.bytes -= line.len() + LINE_OVERHEAD;
                queue.is_writing = true;
                return (stream, line);
            }
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    fn is_done(&self) -> bool {
        self.lines.is_empty() && !self.is_writing
    }
}

/// The thread's side.
struct Writer<S> {
    shared: Arc<Shared>,
    out: Sink<S>,
    err: Sink<S>,
    /// Lost lines that were told.
    told: u64,
    /// Lines since.
    since: u32,
    tell: fn(u64),
}

impl<S: Write> Writer<S> {
    fn run(&mut self) -> ! {
        loop {
            let (stream, line) = self.shared.next();
            let sink = match stream {
                Stream::Out => &mut self.out,
                Stream::Err => &mut self.err,
            };
            if !sink.put(&line) {
                self.shared.lost.fetch_add(1, Relaxed);
                continue;
            }
            self.since = self.since.saturating_add(1);
            // Asked only now: while this line waited for its reader, others may have come.
            let is_last = || self.shared.queue().lines.is_empty();
            if stream == Stream::Err && (self.since >= TELL_EVERY || is_last()) {
                self.tell();
            }
        }
    }

    /// Tells what was lost since it was last told.
    fn tell(&mut self) {
        let lost = self.shared.lost.load(Relaxed);
        if lost == self.told {
            return;
        }
        OWN.set(Some(Vec::new()));
        (self.tell)(lost - self.told);
        let line = OWN.take().unwrap_or_default();
        if line.is_empty() || self.err.put(&line) {
            (self.told, self.since) = (lost, 0);
        }
    }
}

/// A file, terminal or pipe.
struct Sink<S> {
    to: Option<S>,
    /// A line went out in part.
    is_cut: bool,
}

impl<S: Write> Sink<S> {
    /// Whether the whole line is out.
    fn put(&mut self, line: &[u8]) -> bool {
        let Some(to) = &mut self.to else { return false };
        if self.is_cut {
            if !put(to, b"\n").1 {
                return false;
            }
            self.is_cut = false;
        }
        let (some, all) = put(to, line);
        self.is_cut = some && !all;
        all
    }
}

/// Whether something went out, and whether all did.
fn put(to: &mut impl Write, bytes: &[u8]) -> (bool, bool) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(written @ 1..) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(TRY_EVERY),
            Ok(0) | Err(_) => return (rest.len() < bytes.len(), false),
        }
    }
    (true, true)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// Writes what it is told to: so many bytes, or an error.
    struct Scripted(Receiver<io::Result<usize>>, SyncSender<Vec<u8>>);

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.0.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?.min(bytes.len());
            // Nobody looks any more.
            let _ended = self.1.send(bytes[..count].to_vec());
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn scripted(tell: fn(u64)) -> (Printer, SyncSender<io::Result<usize>>, Receiver<Vec<u8>>) {
        let ((script, scripts), (wrote, written)) = (sync_channel(1_000), sync_channel(1_000));
        (Printer::start(None, Some(Scripted(scripts, wrote)), tell).unwrap(), script, written)
    }

    fn text(written: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(written.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    /// I15: who prints does not wait for a reader, and memory stays bounded; what was dropped is counted and told.
    #[test]
    fn a_reader_that_stalls_holds_up_nobody_and_is_told_what_it_missed() {
        fn told(lines: u64) {
            OWN.with_borrow_mut(|own| *own = own.take().map(|_| format!("lost {lines}\n").into_bytes()));
        }
        let (printer, script, written) = scripted(told);
        let line = vec![b'x'; 1_000];
        for _ in 0..2 * limits::LOG_BYTES_MAX / line.len() {
            printer.print(Stream::Err, &line);
        }
        let lost = printer.lost().load(Relaxed);
        assert!(lost > 1_000, "{lost}");
        assert!(printer.0.queue().bytes <= limits::LOG_BYTES_MAX);
        assert!(!printer.flush(Duration::from_millis(10)), "nothing was taken");

        for _ in 0..900 {
            script.send(Ok(2_000)).unwrap();
            assert_eq!(text(&written).len(), 1_000);
        }
        // The reader goes on: after a thousand lines it is told, however many more wait.
        let sends = thread::spawn(move || while script.send(Ok(2_000)).is_ok() {});
        let mut more = 900;
        while text(&written) == String::from_utf8(line.clone()).unwrap() {
            more += 1;
        }
        assert_eq!(more, TELL_EVERY);
        drop((printer, written));
        drop(sends);
    }

    /// F3: a full disk, or a reader that is gone: nothing fails, and no line is glued to half of another.
    #[test]
    fn a_line_that_cannot_be_written_is_counted_and_the_next_stands_by_itself() {
        let (printer, script, written) = scripted(|_| {});
        printer.print(Stream::Err, b"first\n");
        script.send(Ok(3)).unwrap();
        script.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert_eq!(text(&written), "fir");
        printer.print(Stream::Err, b"second\n");
        script.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        printer.print(Stream::Err, b"third\n");
        for answer in [Err(io::ErrorKind::WouldBlock), Err(io::ErrorKind::Interrupted), Ok(9), Ok(2), Ok(9)] {
            script.send(answer.map_err(io::Error::from)).unwrap();
        }
        assert_eq!([text(&written), text(&written), text(&written)], ["\n", "th", "ird\n"]);
        assert!(printer.flush(PATIENCE));
        assert_eq!(printer.lost().load(Relaxed), 2);
        printer.print(Stream::Out, b"nobody is there\n");
        assert!(printer.flush(PATIENCE));
        assert_eq!(printer.lost().load(Relaxed), 3);
    }
}
