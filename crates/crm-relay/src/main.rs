//! Webhooks, delivered behind the firewall, none lost: the one binary.

mod admin_client;
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
mod send;
mod server;
mod signals;
mod store;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, render::style};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.text.is_empty() {
                anstream::eprintln!("{}{}", style::error("crm-relay: "), failure.text);
            }
            failure.exit.into()
        }
    }
}
