//! Webhooks, delivered behind the firewall, none lost: the one binary.

mod admin_client;
mod backup;
mod cli;
mod client;
mod config;
mod credentials;
mod descriptors;
mod dev;
mod exit;
mod receive;
#[cfg(test)]
mod reference;
mod render;
mod run_file;
mod sample;
mod send;
mod server;
mod signals;
mod store;
mod tamper;
mod telemetry;
mod tls;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

use crate::{
    cli::Cli,
    render::{style, visible},
};

/// A request is made in one thread, stored by another and dropped by a third: an allocator that is good at just that saves
/// a sixth of the processor time per webhook.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.text.is_empty() {
                anstream::eprintln!("{}{}", style::error("crm-relay: "), visible::safe(&failure.text));
            }
            failure.exit.into()
        }
    }
}
