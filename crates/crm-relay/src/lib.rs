//! The command line of crm-relay, as a library: the binary calls [`run`], and the tests that write the reference pages read
//! what they describe.
//!
//! Rooms import downwards only: `cli`, then what the commands run (`server`, `client`, `dev`, `store`, `migrate`), then the way to a
//! server (`admin_client`) and the settings (`config`), then `output`, `printer`, `runtime`, `systemd`, `place` and `exit`, and below all `render`.

pub mod cli;
pub mod config;
pub mod quantity;
pub mod render;

mod admin_client;
mod backup;
mod bench;
mod beside;
mod client;
mod credentials;
mod descriptors;
mod dev;
mod doctor;
mod exit;
mod farewell;
mod hints;
mod joined;
mod migrate;
mod next_step;
mod opening;
mod output;
mod place;
mod printer;
mod receive;
mod redis_store;
mod rekey;
mod reload;
mod runtime;
mod sample;
mod send;
mod server;
mod signals;
mod store;
mod systemd;
mod tamper;
mod telemetry;
mod tls;
mod usage;

use std::process::ExitCode;

use self::{cli::Cli, output::failed, printer::LastWords};

/// Does what the command line of this process asks for, and says how it ended.
pub fn run() -> ExitCode {
    let _last_words = LastWords;
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let outcome = match Cli::read() {
        Ok(cli) => cli.run(),
        Err(error) => usage::told(&error, &args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.text.is_empty() {
                failed(&failure.text);
            }
            failure.exit.into()
        }
    }
}
