//! The relay client behind the firewall: dials out, leases, forwards.

#[cfg(test)]
mod certificate;
mod clock;
pub mod config;
pub mod connect;
pub mod dial;
pub mod forward;
mod limit;
mod listen;
mod notice;
mod proxy;
mod read_on;
mod request;
mod resign;
mod retry_after;
pub mod run;
mod status;
pub mod transport;
mod trust;
mod turns;

pub use config::Config;
pub use connect::TlsError;
pub use resign::{ResignFault, Resigner};
pub use run::{Ended, RunError, run, run_with};
pub use transport::Transport;
