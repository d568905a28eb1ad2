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
mod farewell;
mod next_step;
mod receive;
#[cfg(test)]
mod reference;
mod reload;
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
mod usage;

use std::process::ExitCode;

use mimalloc::MiMalloc;

use crate::{
    cli::Cli,
    render::{style, visible, wrap},
};

/// A request is made in one thread, stored by another and dropped by a third: an allocator that is good at just that saves
/// a sixth of the processor time per webhook.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let outcome = match Cli::read() {
        Ok(cli) => cli.run(),
        Err(error) => usage::told(&error, &args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.text.is_empty() {
                let text = format!("{}{}", style::error("crm-relay: "), failure.text);
                anstream::eprintln!("{}", visible::safe(&wrap::beside(&text)));
            }
            failure.exit.into()
        }
    }
}
