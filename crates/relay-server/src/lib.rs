//! The public relay server: ingress, hub, client endpoint, admin API.

pub mod budget;
pub mod clock;
pub mod config;
pub mod error;
pub mod ingress;

pub use config::Config;
