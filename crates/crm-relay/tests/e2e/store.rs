//! Where the servers of these tests have their store: in their data directories.

use std::path::Path;

pub(crate) use crate::port::free_port;

/// So often the torture kills somebody, unless told otherwise.
pub(crate) const KILLS: u64 = 40;

/// What a server is told besides whose clock is hurried.
pub(crate) const HURRIED: [(&str, &str); 0] = [];

/// What a server in `dir` is told of it.
pub(crate) fn settings(_dir: &Path) -> Vec<(&'static str, String)> {
    Vec::new()
}
