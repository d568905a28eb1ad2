//! Whether all of it holds: checks, the scrub, recounts, and what begins anew where it does not.

mod accept;
pub(crate) mod bookmark;
pub(crate) mod check;
mod damaged;
pub(crate) mod epoch;
pub(crate) mod gap;
pub(crate) mod indexes;
mod pace;
pub(crate) mod recount;
pub(crate) mod restore;
pub(crate) mod scrub;
pub(crate) mod sealed;
