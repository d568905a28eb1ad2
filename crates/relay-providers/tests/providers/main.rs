//! The table of providers, seen from outside.

mod acting;
mod generic;
mod handshakes;
mod properties;
mod table;
