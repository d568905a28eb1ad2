//! Lists and single things, as JSON or for people.

use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};

use super::shared_options::print;
use crate::{
    admin_client::{Api, query},
    exit::Failure,
    render::{style, table, time},
};

/// How much of a list.
#[derive(Clone, Debug, Args)]
pub(crate) struct Paging {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
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
    /// As parameters of the admin API.
    ///
    /// # Errors
    /// Text that is no time.
    pub(crate) fn parameters(&self, now: SystemTime) -> Result<Vec<(&'static str, String)>, Failure> {
        let mut found = Vec::new();
        for (name, text) in [("since", &self.since), ("until", &self.until)] {
            if let Some(text) = text {
                let time = time::point(text, now).map_err(|want| Failure::usage(format!("--{name} {text}: {want}")))?;
                found.push((name, time));
            }
        }
        Ok(found)
    }
}

/// A column of a list: its heading and what it shows of an item.
pub(crate) type Column = (&'static str, fn(&Value) -> String);

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
    as_json: bool,
) -> Result<(), Failure> {
    let (items, next) = collect(api, view.path, parameters, paging).await?;
    if as_json {
        return print(&pretty(&json!({"items": items, "next": next})));
    }
    if items.is_empty() && style::is_terminal() {
        return print(&style::dim(view.nothing));
    }
    let headings: Vec<&str> = view.columns.iter().map(|(heading, _)| *heading).collect();
    let rows: Vec<Vec<String>> =
        items.iter().map(|item| view.columns.iter().map(|(_, show)| show(item)).collect()).collect();
    print(&table::table(&headings, &rows))?;
    if let Some(cursor) = next.as_str() {
        anstream::eprintln!("{}", style::dim(format!("there are more: --cursor {cursor}, or --all")));
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
    loop {
        let here = cursor.iter().map(|cursor| ("cursor", cursor.clone()));
        let page = api.get(&query(path, parameters.iter().cloned().chain(here))).await?;
        let next = page.get("next").cloned().unwrap_or(Value::Null);
        if let Some(Value::Array(found)) = page.get("items") {
            items.extend(found.iter().cloned());
        }
        match next.as_str() {
            Some(text) if all => cursor = Some(text.to_owned()),
            Some(_) | None => return Ok((items, next)),
        }
    }
}

/// JSON for people and scripts alike.
pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// A field as text; a missing one as `-`.
pub(crate) fn text(item: &Value, field: &str) -> String {
    match item.get(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// A point in time: relative on a terminal, exact elsewhere.
pub(crate) fn when(item: &Value, field: &str) -> String {
    match item.get(field).and_then(Value::as_str) {
        Some(time) if style::is_terminal() => time::relative(time, time::now()),
        Some(time) => time.to_owned(),
        None => "-".to_owned(),
    }
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

/// The last try in a few words: `500 after 12 ms`, `connection refused`.
pub(crate) fn last(item: &Value) -> String {
    let Some(last) = item.get("last").filter(|last| !last.is_null()) else { return "-".to_owned() };
    match (last.get("status").and_then(Value::as_u64), last.get("error").and_then(Value::as_str)) {
        (Some(status), _) => format!("HTTP {status}"),
        (None, Some(error)) => error.chars().take(60).collect(),
        (None, None) => "-".to_owned(),
    }
}
