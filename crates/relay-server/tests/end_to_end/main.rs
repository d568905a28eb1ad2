//! The whole server over real sockets: senders and operators speak HTTP, clients are the core's own client machine.

mod admin;
mod bench;
mod client;
mod delivery;
mod http;
mod session;
mod stop;
