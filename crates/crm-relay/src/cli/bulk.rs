//! Commands that change many deliveries: they show the count, ask on a terminal, and else need `--yes`.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::SystemTime,
};

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    listing::{Range, pretty},
    shared_options::print,
};
use crate::{
    admin_client::Api,
    exit::{Exit, Failure, Outcome},
};

/// Which deliveries, and how carefully.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// Their ids, dlv_...
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Every one that matches the other options
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// To this destination only
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    destination: Option<String>,
    /// From this source only
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    source: Option<String>,
    #[arg(
        help = "That ended for this reason only: rejected, busy, lost_leases, expired",
        long,
        value_name = "REASON",
        conflicts_with = "ids"
    )]
    reason: Option<String>,
    #[command(flatten)]
    range: Range,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
}

/// What a bulk command does.
pub(crate) struct Bulk {
    /// Where the admin API has it.
    pub(crate) path: &'static str,
    /// `redrive`.
    pub(crate) verb: &'static str,
    /// `redriven`.
    pub(crate) done: &'static str,
    /// What it takes: `dead and expired`.
    pub(crate) takes: &'static str,
}

impl Selection {
    fn is_filtered(&self) -> bool {
        self.destination.is_some()
            || self.source.is_some()
            || self.reason.is_some()
            || !self.range.parameters(SystemTime::now()).unwrap_or_default().is_empty()
    }

    fn body(&self, dry_run: bool) -> Result<Value, Failure> {
        let mut body = Map::new();
        if self.ids.is_empty() {
            body.insert("all".to_owned(), json!(true));
        } else {
            body.insert("ids".to_owned(), json!(self.ids));
        }
        for (name, value) in [("destination", &self.destination), ("source", &self.source), ("reason", &self.reason)] {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        for (name, value) in self.range.parameters(SystemTime::now())? {
            body.insert(name.to_owned(), json!(value));
        }
        body.insert("dry_run".to_owned(), json!(dry_run));
        Ok(Value::Object(body))
    }
}

/// Runs a bulk command.
///
/// # Errors
/// Nothing was selected, nobody agreed, or those of the admin API.
pub(crate) async fn run(api: &Api, bulk: &Bulk, selection: &Selection, as_json: bool) -> Outcome {
    if selection.ids.is_empty() && !selection.all && !selection.is_filtered() {
        return Err(Failure::usage(format!(
            "say which: {} ID..., or --all, or a filter like --destination NAME",
            bulk.verb
        )));
    }
    let preview = api.call(Method::POST, bulk.path, Some(&selection.body(true)?)).await?;
    let matched = preview.get("matched").and_then(Value::as_u64).unwrap_or(0);
    if selection.dry_run {
        return report(&preview, &format!("would {} {}", bulk.verb, count(matched)), as_json);
    }
    if matched == 0 {
        report(&preview, &format!("nothing matches; only {} deliveries can be {}", bulk.takes, bulk.done), as_json)?;
        return Ok(if selection.ids.is_empty() { Exit::Done } else { Exit::No });
    }
    if selection.ids.is_empty() && !selection.yes {
        confirm(&format!("{} {}", bulk.verb, count(matched)))?;
    }
    let done = api.call(Method::POST, bulk.path, Some(&selection.body(false)?)).await?;
    let changed = done.get("changed").and_then(Value::as_u64).unwrap_or(0);
    report(&done, &format!("{} {}", count(changed), bulk.done), as_json)
}

/// Asks on a terminal; elsewhere nobody can agree.
///
/// # Errors
/// Nobody agreed.
pub(crate) fn confirm(what: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("this would {what}; nobody is here to ask: add --yes")));
    }
    anstream::eprint!("{what}? [y/N] ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::no("nothing was changed")) }
}

fn report(value: &Value, text: &str, as_json: bool) -> Outcome {
    let field = |name: &str| value.get(name).cloned().unwrap_or_default();
    let told = json!({"job": field("job"), "matched": field("matched"), "changed": field("changed")});
    print(&if as_json { pretty(&told) } else { text.to_owned() })?;
    Ok(Exit::Done)
}

fn count(number: u64) -> String {
    if number == 1 { "1 delivery".to_owned() } else { format!("{number} deliveries") }
}
