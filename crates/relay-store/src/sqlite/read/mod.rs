//! How rows are read, by threads of their own: names and counters, pages, bodies, copies.

pub(crate) mod ahead;
pub(crate) mod arrears;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod book;
pub(crate) mod browse;
pub(crate) mod documents;
pub(crate) mod due;
pub(crate) mod event_names;
pub(crate) mod line;
pub(crate) mod marks;
pub(crate) mod named;
pub(crate) mod of_source;
pub(crate) mod reader;
pub(crate) mod rows;
pub(crate) mod taken;
pub(crate) mod unrouted;
