//! `crm-relay config`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::{
    config::{
        self, client,
        fault::{Fault, Faults, Origin},
        layers::{Flags, Layers},
        misspelt, server,
        settings::{Process, SETTINGS},
        template,
    },
    credentials,
    exit::{Exit, Failure, Outcome},
    output::{pretty, print},
    render::{style, table},
};

/// Check or print the configuration, or begin one.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say what is wrong, all at once; exit 78 if anything is
    Check(Which),
    /// Print every setting, its value and where it comes from; secrets stay hidden
    Print(Which),
    /// Print a file to begin with: every setting, what it means and its default
    Template(Template),
}

#[derive(Debug, Args)]
struct Template {
    /// Whose configuration
    #[arg(value_enum, default_value_t = WhichProcess::Server)]
    process: WhichProcess,
}

#[derive(Debug, Args)]
struct Which {
    #[arg(
        help = "Whose configuration; without it the server's, and the client's where a RELAY_URL is given",
        value_enum
    )]
    process: Option<WhichProcess>,
    /// Configuration file [default: ./crm-relay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhichProcess {
    Server,
    Client,
}

impl ConfigArgs {
    pub(super) fn run(self) -> Outcome {
        match self.verb {
            Verb::Check(which) => which.check(),
            Verb::Print(which) => which.print(),
            Verb::Template(template) => template.print(),
        }
    }
}

impl Template {
    fn print(&self) -> Outcome {
        let process = match self.process {
            WhichProcess::Server => Process::Server,
            WhichProcess::Client => Process::Client,
        };
        print(template::text(process).trim_end())?;
        Ok(Exit::Done)
    }
}

impl Which {
    fn layers(&self, process: Process) -> Layers {
        Layers::collect(process, self.config.as_deref(), &Flags::new(), &config::environment)
    }

    fn processes(&self) -> Vec<Process> {
        match self.process {
            Some(WhichProcess::Client) => vec![Process::Client],
            None if self.layers(Process::Client).given("RELAY_URL").is_some() => vec![Process::Server, Process::Client],
            Some(WhichProcess::Server) | None => vec![Process::Server],
        }
    }

    /// What is wrong, for every process that this configures, and what is worth a note.
    fn found(&self) -> (Faults, Vec<String>) {
        let mut all = Faults::default();
        let mut notes = misspelt::notes(config::environment_names());
        for process in self.processes() {
            let layers = self.layers(process);
            let data_dir = config::data_dir(&layers);
            let found = match process {
                Process::Client => client::config(layers, &config::environment).map(|(_, notes)| notes),
                Process::Server | Process::Dev | Process::Command => server::plan(layers).map(|plan| plan.notes),
            };
            match found {
                Ok(found) => notes.extend(found),
                Err(faults) => all = all.and(faults),
            }
            if process == Process::Server
                && let Err(want) = credentials::check(&data_dir)
            {
                all.add("DATA_DIR", None, &Origin::Default, want);
            }
        }
        // The commands read settings too; what else they read has been looked at.
        let of_commands =
            self.layers(Process::Command).faults.0.into_iter().filter(|fault| fault.name.starts_with("ADMIN_URL"));
        (all.and(Faults(of_commands.collect())), notes)
    }

    fn check(&self) -> Outcome {
        let (all, notes) = self.found();
        if self.json {
            let faults: Vec<_> = all.0.iter().map(as_json).collect();
            print(&pretty(&json!({"ok": all.0.is_empty(), "faults": faults, "notes": notes})))?;
        } else {
            notes.iter().try_for_each(|note| print(&format!("note: {note}")))?;
        }
        if all.0.is_empty() {
            if !self.json {
                print(&style::good("the configuration is fine"))?;
            }
            Ok(Exit::Done)
        } else if self.json {
            Ok(Exit::Configuration)
        } else {
            Err(Failure::from(all))
        }
    }

    fn print(&self) -> Outcome {
        let mut rows = Vec::new();
        let mut items = Vec::new();
        for setting in SETTINGS {
            let Some(layers) = self.processes().into_iter().find(|p| setting.concerns(*p)).map(|p| self.layers(p))
            else {
                continue;
            };
            let value = match layers.given(setting.name) {
                Some(given) => setting.show(&given.text),
                None if setting.name == "DATA_DIR" => config::data_dir(&layers).display().to_string(),
                None => layers.default_of(setting).to_owned(),
            };
            let origin = layers.origin(setting.name);
            items.push(json!({"name": setting.name, "value": value, "from": origin.to_string()}));
            rows.push(vec![setting.name.to_owned(), value, origin.to_string()]);
        }
        if self.json {
            print(&pretty(&json!({"items": items, "next": null})))?;
        } else {
            print(&table::wide(&["setting", "value", "from"], &rows))?;
        }
        // What is missing is for `check` to say; what could not be read would be missing from this list in silence.
        let unread = self.processes().into_iter().map(|process| self.layers(process).faults);
        let faults = unread.fold(Faults::default(), Faults::and);
        if faults.0.is_empty() { Ok(Exit::Done) } else { Err(Failure::from(faults)) }
    }
}

fn as_json(fault: &Fault) -> serde_json::Value {
    let origin = (fault.origin != Origin::Default).then(|| fault.origin.to_string());
    json!({"name": fault.name, "value": fault.value, "from": origin, "text": fault.text})
}
