//! The threads that a command's future runs on.

use std::{future::Future, num::NonZeroUsize};

use crate::exit::{Exit, Failure};

/// Runs a command's future to its end.
///
/// # Errors
/// Those of the future, and no threads.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    run_on(tokio::runtime::Builder::new_multi_thread().enable_all(), future)
}

/// Runs a server's future to its end, beside a store whose writer is a thread of its own.
///
/// One worker fewer than there are cores: on two cores, two workers and the writer take turns at being pushed aside, and
/// the commit that all senders wait for comes later (`make bench`, rows `ingest_64` and `ingest_256`).
///
/// # Errors
/// Those of the future, and no threads.
pub(crate) fn block_on_beside_writer<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = cores.saturating_sub(1).max(1);
    run_on(tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(workers), future)
}

fn run_on<T>(
    builder: &mut tokio::runtime::Builder,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime =
        builder.build().map_err(|error| Failure::new(Exit::StoreFailed, format!("cannot start threads: {error}")))?;
    let ended = runtime.block_on(future);
    // All that had to end in its order has ended with the future. What is left are threads that wait for the system, such as
    // for a name that no resolver answers: they cannot be told to stop, and nobody wants their answer.
    runtime.shutdown_background();
    ended
}
