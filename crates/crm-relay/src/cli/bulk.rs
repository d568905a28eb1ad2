//! Commands that change many deliveries: they show the count, ask on a terminal, and else need `--yes`.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    collection::not_empty,
    filter::{Ended, Parameters},
    listing::text,
    noun::Asked,
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome, reason},
    output::{failed, pretty, print, tell},
    quantity,
    render::{progress::Progress, style, time},
    signals,
};

/// More than so many are changed step by step, so that whoever waits sees how far it is and can stop it in between.
const STEP: u64 = 1_000;
/// A step that takes less is followed by one of twice as many.
const STEP_LASTS: Duration = Duration::from_millis(500);

/// Which deliveries, and how carefully.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// Their ids, dlv_...; if one is none, nothing is done; those in no state for it stay, and the command exits with 1
    #[arg(value_name = "ID", value_parser = not_empty(), conflicts_with_all = ["all", "destination", "source", "reason", "status", "error", "limit"])]
    ids: Vec<String>,
    /// Every one that matches the other options
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Ended,
    #[arg(help = "Whose last try was answered with this status", long, value_name = "N", value_parser = status)]
    status: Option<u16>,
    /// Whose last try (no earlier one) came to these words, as dead list and dead summary print them
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// At most so many, the latest first
    #[arg(long, value_name = "N", value_parser = quantity::whole(1..=u64::MAX))]
    limit: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
    #[arg(skip)]
    pace: Map<String, Value>,
}

/// How fast what is made ready becomes due.
#[derive(Clone, Debug, Args)]
pub(crate) struct Pacing {
    /// So many a second: due one after the other, which goes on when this command has ended
    #[arg(long, value_name = "N", value_parser = quantity::rate)]
    rate: Option<f64>,
    #[arg(help = "With --rate: when the first is due", long, value_name = "TIME", requires = "rate", value_parser = time::moment)]
    start_at: Option<String>,
}

impl Pacing {
    /// Whether a rate was given.
    pub(crate) const fn is_given(&self) -> bool {
        self.rate.is_some()
    }

    /// As the admin API takes it.
    pub(crate) fn put_into(&self, body: &mut Map<String, Value>) {
        body.extend(self.rate.map(|rate| ("rate".to_owned(), json!(rate))));
        body.extend(self.start_at.as_ref().map(|at| ("start_at".to_owned(), json!(at))));
    }
}

/// `422`, or as lists show it: `HTTP 422 no such customer`.
fn status(text: &str) -> Result<u16, String> {
    let text = text.trim();
    let shown = text.get(..5).filter(|begin| begin.eq_ignore_ascii_case("http ")).and_then(|_| text.get(5..));
    let number = shown.map_or(text, |rest| rest.trim_start().split([' ', '…']).next().unwrap_or_default());
    let status = number.parse().ok().filter(|status| (100..=599).contains(status));
    status.ok_or_else(|| "want the status of an answer, like 422 or 500".to_owned())
}

impl Selection {
    /// With this beside the filters.
    pub(crate) fn paced(mut self, pacing: &Pacing) -> Self {
        pacing.put_into(&mut self.pace);
        self
    }

    /// What is picked out of what the filters give.
    fn picks(&self) -> Map<String, Value> {
        let status = self.status.map(|status| ("status".to_owned(), json!(status)));
        let error = self.error.as_ref().map(|error| ("error".to_owned(), json!(error)));
        let limit = self.limit.map(|limit| ("limit".to_owned(), json!(limit)));
        [status, error, limit].into_iter().flatten().chain(self.pace.clone()).collect()
    }
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
    /// The command that lists what it takes.
    pub(crate) list: &'static str,
}

/// Runs a bulk command.
///
/// # Errors
/// Nothing was selected, nobody agreed, or those of the admin API.
pub(crate) async fn run(asked: &Asked, bulk: &Bulk, selection: Selection) -> Outcome {
    let (api, as_json) = (asked.running().await?, asked.is_json());
    let picks = selection.picks();
    let filters = selection.filter.parameters()?;
    if selection.ids.is_empty() && !selection.all && filters.is_empty() && picks.len() == selection.pace.len() {
        return Err(Failure::usage(format!(
            "say which: {} ID..., or --all, or a filter like --destination NAME",
            bulk.verb
        )));
    }
    let preview = api.call(Method::POST, bulk.path, Some(&body(&selection.ids, &filters, &picks, true))).await?;
    let matched = number(&preview, "matched");
    if selection.dry_run {
        return report(&preview, &format!("would {} {}", bulk.verb, count(matched)), as_json);
    }
    if matched == 0 {
        let text = match selection.ids.as_slice() {
            [id] => {
                // That there is none is an error of its own.
                let found = api.get(&format!("/api/v1/deliveries/{}", encode(id))).await?;
                let (id, state) = (text(&found, "id"), text(&found, "state"));
                format!("{id} is {state}; only {} deliveries can be {}: {}", bulk.takes, bulk.done, bulk.list)
            }
            _ => format!("nothing matches; only {} deliveries can be {}: {}", bulk.takes, bulk.done, bulk.list),
        };
        report(&preview, &text, as_json)?;
        return Ok(if selection.ids.is_empty() { Exit::Done } else { Exit::No });
    }
    if selection.ids.is_empty() && !selection.yes {
        confirm(&format!("{} {}", bulk.verb, count(matched)))?;
    }
    if matched > STEP && selection.ids.is_empty() {
        return Steps { api: &api, bulk, body: body(&[], &filters, &picks, false), matched, limit: selection.limit }
            .run(as_json)
            .await;
    }
    let done = api.call(Method::POST, bulk.path, Some(&body(&selection.ids, &filters, &picks, false))).await?;
    let changed = number(&done, "changed");
    report(&done, &format!("{} {}", count(changed), bulk.done), as_json)?;
    Ok(if selection.ids.is_empty() { Exit::Done } else { bulk.left_out(&selection.ids, changed) })
}

impl Bulk {
    /// How it ends for those that were named: no, if some of them are in no state for it. What was done is not taken back.
    fn left_out(&self, ids: &[String], changed: u64) -> Exit {
        let named = ids.iter().collect::<BTreeSet<_>>().len() as u64;
        if changed >= named {
            return Exit::Done;
        }
        failed(&format!(
            "{} of {} left as they were; only {} deliveries can be {}: {}",
            named - changed,
            count(named),
            self.takes,
            self.done,
            self.list
        ));
        Exit::No
    }
}

/// A command about so many deliveries that it takes a while.
struct Steps<'a> {
    api: &'a Api,
    bulk: &'a Bulk,
    /// What is asked for.
    body: Value,
    /// How many it was about when it began.
    matched: u64,
    /// At most so many.
    limit: Option<u64>,
}

impl Steps<'_> {
    /// One request after the other, each going on where the one before ended. Interrupted, the one under way is waited for
    /// and what was done is told; the same command again does the rest.
    async fn run(mut self, as_json: bool) -> Outcome {
        let stop = signals::listen()?;
        let mut progress = Progress::new(self.matched);
        let mut left = self.limit.unwrap_or(u64::MAX);
        let (mut step, mut cursor, mut ended) = (STEP, Value::Null, None);
        let (mut job, mut matched, mut changed) = (Value::Null, 0, 0);
        while left > 0 && ended.is_none() {
            self.body["limit"] = json!(step.min(left));
            self.body["cursor"] = cursor;
            let began = tokio::time::Instant::now();
            let done = match self.api.call(Method::POST, self.bulk.path, Some(&self.body)).await {
                Ok(done) => done,
                Err(failure) => {
                    ended = Some(failure);
                    break;
                }
            };
            if began.elapsed() < STEP_LASTS {
                step *= 2;
            }
            matched += number(&done, "matched");
            changed += number(&done, "changed");
            left = left.saturating_sub(number(&done, "matched"));
            progress.add(number(&done, "matched"));
            cursor = done.get("next").cloned().unwrap_or_default();
            if let Some(next_at) = done.get("next_at") {
                self.body["start_at"] = next_at.clone();
            }
            if job.is_null() {
                job = done.get("job").cloned().unwrap_or_default();
            }
            if cursor.is_null() {
                break;
            }
            ended = stop.is_asked().then(|| Failure::no("interrupted"));
        }
        progress.clear();
        let told = json!({"job": job, "matched": matched, "changed": changed});
        let text = format!("{} {}", count(changed), self.bulk.done);
        match ended {
            None => report(&told, &text, as_json),
            Some(failure) => {
                let text = format!("{text} of {}; the rest stays as it was", self.matched);
                report(&told, &style::warn(text), as_json)?;
                let again = format!("{failure}; to go on, the same command again");
                Err(Failure::new(failure.exit, again))
            }
        }
    }
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn body(ids: &[String], filters: &Parameters, picks: &Map<String, Value>, dry_run: bool) -> Value {
    let mut body: Map<String, Value> = filters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let (which, these) = if ids.is_empty() { ("all", json!(true)) } else { ("ids", json!(ids)) };
    body.extend(picks.clone());
    body.insert(which.to_owned(), these);
    body.insert("dry_run".to_owned(), json!(dry_run));
    Value::Object(body)
}

/// Asks on a terminal; elsewhere nobody can agree.
///
/// # Errors
/// Nobody agreed.
pub(crate) fn confirm(what: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("this would {what}; nobody is here to ask: add --yes")));
    }
    let mut screen = anstream::stderr();
    let asked = write!(screen, "{what}? [y/N] ").and_then(|()| screen.flush());
    asked.map_err(|error| Failure::no(format!("nobody can be asked ({}); nothing was changed", reason(&error))))?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::no("nothing was changed")) }
}

fn report(value: &Value, text: &str, as_json: bool) -> Outcome {
    let field = |name: &str| value.get(name).cloned().unwrap_or_default();
    let told = json!({"job": field("job"), "matched": field("matched"), "changed": field("changed")});
    if as_json { print(&pretty(&told)) } else { tell(text) }?;
    Ok(Exit::Done)
}

fn count(number: u64) -> String {
    if number == 1 { "1 delivery".to_owned() } else { format!("{number} deliveries") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_taken_as_it_is_shown() {
        for text in ["422", "HTTP 422", "http 422 no such customer", " HTTP 422\u{2026}"] {
            assert_eq!(status(text), Ok(422), "{text}");
        }
        for text in ["", "HTTP", "HTTP x", "42", "4220", "422 what", "-1", "é"] {
            assert!(status(text).is_err(), "{text}");
        }
    }
}
