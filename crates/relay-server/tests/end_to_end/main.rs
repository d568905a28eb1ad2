//! The whole server over real sockets: senders and operators speak HTTP, clients are the core's own client machine.

#![expect(clippy::disallowed_methods, reason = "tests sign as of now")]
#![expect(clippy::unwrap_used, reason = "the whole crate is a test")]

mod admin;
mod bench;
#[path = "../../../relay-store/tests/redis/bound.rs"]
#[expect(dead_code, reason = "nothing here takes its size from the environment")]
mod bound;
mod client;
mod dashboard;
mod delivery;
mod embedded;
mod hostile;
mod http;
#[path = "../key_server/mod.rs"]
mod key_server;
mod providers;
mod rotation;
mod session;
mod shared;
mod stop;
mod trouble;
