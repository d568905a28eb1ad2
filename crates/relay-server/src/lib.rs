//! The public relay server: ingress, hub, client endpoint, admin API.

mod admin;
mod again;
pub mod api;
pub mod budget;
pub mod clock;
pub mod config;
mod connect;
mod depth;
pub mod directory;
pub mod error;
mod fetch;
mod front;
mod guesses;
mod health;
mod hints;
mod hub;
pub mod ingress;
mod jobs;
mod metrics;
mod notice;
mod offline;
mod outbox;
mod parameters;
pub mod principal;
pub mod registry;
mod retention;
pub mod server;
mod state;
mod supervise;
mod watch;

pub use admin::{code::AdminCode, document as openapi};
pub use config::Config;
pub use connect::Attached;
pub use offline::Offline;
pub use server::{Joiner, OnStop, Outcome, Outside, Reloader, Server, StartError, run};
pub use supervise::Failure;
