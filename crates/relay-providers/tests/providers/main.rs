//! The table of providers, seen from outside.

mod acting;
mod agree;
mod by_head;
mod code;
mod generic;
mod handshakes;
mod hostile;
mod names;
mod oracle;
mod proofs;
mod properties;
mod repeats;
mod schemes;
mod table;
