//! What only HTTP/1 has: its bytes, judged before the HTTP library reads them.

mod chunks;
mod framing;
mod guard;
mod head;
mod rewrite;

pub(super) use guard::BUFFER_BYTES_MAX;
pub use guard::Patience;
pub(crate) use guard::{Gate, Guarded};
pub(super) use rewrite::query;
