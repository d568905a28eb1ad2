//! Lists and single things, as JSON or for people.

use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};

use crate::{
    admin_client::{Api, query},
    exit::Failure,
    output::{compact, pretty, print, say},
    quantity,
    render::{answer::gist, progress::Progress, style, table, time, visible::visible},
    signals::{self, Stop},
};

/// How much of a list.
#[derive(Clone, Debug, Args)]
pub(crate) struct Paging {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = quantity::whole(1..=1000))]
    limit: u64,
    #[arg(help = "Where the previous page ended: its next", long, value_name = "CURSOR", conflicts_with = "all")]
    cursor: Option<String>,
    /// All, page after page
    #[arg(long)]
    all: bool,
}

/// Items made or ended in this time.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Range {
    /// From then on: a time like 2026-01-31T12:00:00Z, or a span before now, like 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Range {
    /// Its two ends, as the admin API takes them.
    ///
    /// # Errors
    /// Text that is no time, or that nothing is between them.
    pub(crate) fn bounds(&self, now: SystemTime) -> Result<(Option<String>, Option<String>), Failure> {
        let read = |name: &str, text: &Option<String>| {
            let read = |text: &String| time::point(text, now).map_err(|want| Failure::option(name, text, want));
            text.as_ref().map(read).transpose()
        };
        let (since, until) = (read("--since", &self.since)?, read("--until", &self.until)?);
        if let (Some(since), Some(until)) = (&since, &until)
            && !time::is_before(since, until)
        {
            return Err(Failure::usage(format!(
                "--since {since} is not before --until {until}: nothing is between; want the earlier one as --since"
            )));
        }
        Ok((since, until))
    }

    /// As parameters of the admin API.
    ///
    /// # Errors
    /// As [`Range::bounds`].
    pub(crate) fn parameters(&self, now: SystemTime) -> Result<Vec<(&'static str, String)>, Failure> {
        let (since, until) = self.bounds(now)?;
        Ok([("since", since), ("until", until)].into_iter().filter_map(|(name, time)| Some((name, time?))).collect())
    }
}

/// A column of a list: its heading and what it shows of an item.
pub(crate) type Column = (&'static str, fn(&Value) -> String);

/// How something is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// In words; lists fit the terminal.
    #[default]
    Words,
    /// In words, nothing shortened.
    Wide,
    /// As JSON.
    Json,
}

/// What a list shows.
pub(crate) struct View {
    /// Where the admin API has it.
    pub(crate) path: &'static str,
    /// Its columns.
    pub(crate) columns: &'static [Column],
    /// What is said when there is nothing.
    pub(crate) nothing: &'static str,
}

/// Prints a list.
///
/// # Errors
/// Those of the admin API.
pub(crate) async fn list(
    api: &Api,
    view: &View,
    parameters: Vec<(&'static str, String)>,
    paging: Option<&Paging>,
    form: Form,
) -> Result<(), Failure> {
    let (items, next) = collect(api, view.path, parameters, paging).await?;
    if form == Form::Json {
        return print(&pretty(&json!({"items": items, "next": next})));
    }
    if items.is_empty() && style::is_terminal() {
        return print(&style::dim(view.nothing));
    }
    let headings: Vec<&str> = view.columns.iter().map(|(heading, _)| *heading).collect();
    let rows: Vec<Vec<String>> =
        items.iter().map(|item| view.columns.iter().map(|(_, show)| show(item)).collect()).collect();
    print(&if form == Form::Wide { table::wide(&headings, &rows) } else { table::table(&headings, &rows) })?;
    if let Some(cursor) = next.as_str() {
        say(&style::dim(format!("there are more: --cursor {cursor}, or --all")));
    }
    Ok(())
}

/// Fetches one page, or all of them.
///
/// # Errors
/// Those of the admin API.
pub(crate) async fn collect(
    api: &Api,
    path: &str,
    mut parameters: Vec<(&'static str, String)>,
    paging: Option<&Paging>,
) -> Result<(Vec<Value>, Value), Failure> {
    let mut cursor = paging.and_then(|paging| paging.cursor.clone());
    let all = paging.is_some_and(|paging| paging.all);
    if let Some(paging) = paging {
        let limit = if all { 1000 } else { paging.limit };
        parameters.push(("limit", limit.to_string()));
    }
    let mut items = Vec::new();
    let mut progress = Progress::endless();
    let stop = if all { Some(signals::listen()?) } else { None };
    loop {
        let here = cursor.iter().map(|cursor| ("cursor", cursor.clone()));
        let page = api.get(&query(path, parameters.iter().cloned().chain(here))).await?;
        let next = page.get("next").cloned().unwrap_or(Value::Null);
        if let Some(Value::Array(found)) = page.get("items") {
            items.extend(found.iter().cloned());
        }
        if stop.as_ref().is_some_and(Stop::is_asked) {
            let count = items.len();
            let text =
                format!("interrupted: {count} were read, none is printed. Page by page: --limit N, then --cursor");
            return Err(Failure::no(text));
        }
        progress.reach(items.len() as u64, None);
        match next.as_str() {
            Some(text) if all => cursor = Some(text.to_owned()),
            Some(_) | None => return Ok((items, next)),
        }
    }
}

/// A field as text; a missing one as `-`. The one place where what somebody else wrote becomes a cell or a word: nothing
/// in it steers the terminal.
pub(crate) fn text(item: &Value, field: &str) -> String {
    item.get(field).map_or_else(|| "-".to_owned(), words)
}

/// A value as text; see [`text`].
pub(crate) fn words(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => visible(text).into_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(words).collect::<Vec<_>>().join(", ")
        }
        other => compact(other),
    }
}

/// Each of a list of texts.
pub(crate) fn each(item: &Value, field: &str) -> Vec<String> {
    item.get(field).and_then(Value::as_array).into_iter().flatten().map(words).collect()
}

/// A point in time: how long ago on a terminal, exact elsewhere.
pub(crate) fn when(item: &Value, field: &str) -> String {
    match item.get(field).and_then(Value::as_str) {
        Some(time) if style::is_terminal() => time::short(time, time::now()),
        Some(_) | None => text(item, field),
    }
}

/// The same in a sentence: `3m ago` on a terminal; one that never was as `-`.
pub(crate) fn ago(item: &Value, field: &str) -> String {
    let is_time = item.get(field).is_some_and(Value::is_string);
    if is_time && style::is_terminal() { format!("{} ago", when(item, field)) } else { text(item, field) }
}

/// A state in its colour.
pub(crate) fn state(item: &Value) -> String {
    let state = text(item, "state");
    match state.as_str() {
        "delivered" => style::good(&state),
        "dead" | "expired" => style::bad(&state),
        "scheduled" | "cancelled" => style::warn(&state),
        _ => state,
    }
}

/// Why it ended, in the colour of a failure.
pub(crate) fn reason(item: &Value) -> String {
    style::bad(text(item, "reason"))
}

/// The last try in a few words: `HTTP 422 no such customer`, `connection refused`.
pub(crate) fn last(item: &Value) -> String {
    match item.get("last").filter(|last| !last.is_null()) {
        Some(last) => answer(last).unwrap_or_else(|| text(last, "error").chars().take(60).collect()),
        None => "-".to_owned(),
    }
}

/// What the target answered to a try, in a few words; `None` if nothing.
pub(crate) fn answer(attempt: &Value) -> Option<String> {
    let status = attempt.get("status").and_then(Value::as_u64)?;
    Some(format!("HTTP {status} {}", gist(attempt)).trim_end().to_owned())
}

/// `source -> destination` of a route or a delivery.
pub(crate) fn route_of(item: &Value) -> String {
    format!("{} -> {}", text(item, "source"), text(item, "destination"))
}

/// Whether a source or route works; what the file no longer declares is paused.
pub(crate) fn activity(item: &Value) -> String {
    match item.get("paused").and_then(Value::as_bool) {
        Some(true) => style::warn("paused"),
        Some(false) | None => style::good("active"),
    }
}
