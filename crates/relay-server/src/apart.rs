//! Futures made apart from those that wait for them.

use std::pin::Pin;

/// Makes a future on the heap, in a frame of its own. For what is seldom waited for, and for what is large and would be moved:
/// neither the future of whoever waits has room for it, nor the frame that polls that one.
#[inline(never)]
pub(crate) fn apart<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}
