//! `crm-relay man`.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use clap::{Args, Command};
use clap_mangen::Man;

use super::Cli;
use crate::{
    config::text_file,
    exit::{Exit, Failure, Outcome, reason},
};

/// The manual page of the program on standard output, or those of all its commands into a directory.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where a page for each command goes: crm-relay.1, crm-relay-server.1, ...
    #[arg(long, value_name = "DIR")]
    dir: Option<String>,
}

impl ManArgs {
    pub(super) fn run(self) -> Outcome {
        let mut command = Cli::parser().disable_help_subcommand(true);
        command.build();
        if let Some(dir) = self.dir {
            let dir = text_file::path(&dir).map_err(|want| Failure::option("--dir", &dir, want))?;
            return write_all(&dir, &command);
        }
        let mut out = io::stdout().lock();
        out.write_all(&page(command)?)?;
        out.flush()?;
        Ok(Exit::Done)
    }
}

fn write_all(dir: &Path, command: &Command) -> Outcome {
    let failed = |error: io::Error| {
        let dir = dir.display();
        Failure::no(format!("cannot write into {dir}: {}; want a directory that may be written", reason(&error)))
    };
    fs::create_dir_all(dir).map_err(failed)?;
    for (name, command) in pages(command) {
        fs::write(dir.join(format!("{name}.1")), page(command)?).map_err(failed)?;
    }
    Ok(Exit::Done)
}

/// Every command that is shown, under the name of its page.
fn pages(command: &Command) -> Vec<(String, Command)> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let below = command.get_subcommands().filter(|child| !child.is_hide_set()).flat_map(pages);
    std::iter::once((name, command.clone())).chain(below).collect()
}

fn page(command: Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command).manual("crm-relay").render(&mut page)?;
    Ok(page)
}
