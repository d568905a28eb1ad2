//! The public relay server: ingress, hub, client endpoint, admin API.

pub mod config;

pub use config::Config;
