//! `crm-relay completions`.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use crate::exit::{Exit, Outcome};

/// Completions for a shell, on standard output.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "crm-relay", &mut script);
        if self.shell == Shell::Bash {
            script = of_one_name(&String::from_utf8_lossy(&script)).into_bytes();
        }
        let mut out = std::io::stdout().lock();
        out.write_all(&script)?;
        out.flush()?;
        Ok(Exit::Done)
    }
}

/// `clap_complete` 4.6 writes the hyphen of a program's name in two ways into a script for bash, `crm__relay` where it finds out which
/// command is typed, and `crm__subcmd__relay` where it completes that: so it would complete nothing behind the first word.
fn of_one_name(script: &str) -> String {
    script.replace("crm__subcmd__relay", "crm__relay")
}
