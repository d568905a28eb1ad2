//! The relay client behind the firewall: dials out, leases, forwards.

pub mod config;

pub use config::Config;
