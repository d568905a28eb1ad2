//! What people see: tables and colours on a terminal, plain lines elsewhere.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod forwarded;
pub(crate) mod progress;
pub(crate) mod request;
pub(crate) mod screen;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod visible;
pub(crate) mod wrap;

pub use time::human_duration;
