//! The public relay server: ingress, hub, client endpoint, admin API.

mod accept;
mod admin;
pub mod asker;
pub mod budget;
pub mod clock;
pub mod config;
mod connect;
pub mod connections;
mod depth;
pub mod directory;
pub mod error;
mod fetch;
mod front;
mod guesses;
mod health;
mod hub;
pub mod ingress;
mod jobs;
mod listen;
mod metrics;
mod notice;
mod offline;
pub mod origin;
mod outbox;
mod parameters;
pub mod registry;
mod retention;
pub mod server;
mod supervise;
mod watch;

pub use admin::code::AdminCode;
pub use config::Config;
pub use connect::Attached;
pub use offline::Offline;
pub use server::{Joiner, OnStop, Outcome, Outside, Reloader, Server, StartError, run};
pub use supervise::Failure;
