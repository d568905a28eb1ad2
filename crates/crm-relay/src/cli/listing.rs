//! Lists and single things, as JSON or for people.

use std::time::SystemTime;

use clap::Args;
use relay_core::delivery::{Reason, State};
use relay_server::api::{AttemptDto, List};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    admin_client::{Api, query},
    exit::Failure,
    output::{pretty, print, say},
    quantity,
    render::{answer::gist, progress::Progress, style, table, time, visible::visible},
    signals::{self, Stop},
};

/// How much of a list.
#[derive(Clone, Debug, Args)]
pub(crate) struct Paging {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = quantity::whole(1..=1000))]
    pub(super) limit: u64,
    #[arg(help = "Where the previous page ended: its next", long, value_name = "CURSOR", conflicts_with = "all")]
    pub(super) cursor: Option<String>,
    /// All, page after page
    #[arg(long)]
    pub(super) all: bool,
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
pub(crate) type Column<T> = (&'static str, fn(&T) -> String);

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
pub(crate) struct View<T: 'static> {
    /// Where the admin API has it.
    pub(crate) path: &'static str,
    /// Its columns.
    pub(crate) columns: &'static [Column<T>],
    /// What is said when there is nothing.
    pub(crate) nothing: &'static str,
}

impl<T> View<T> {
    /// The headings of its columns.
    pub(crate) fn headings(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(heading, _)| *heading).collect()
    }

    /// What they show of an item.
    pub(crate) fn row(&self, item: &T) -> Vec<String> {
        self.columns.iter().map(|(_, show)| show(item)).collect()
    }
}

/// Prints a list.
///
/// # Errors
/// Those of the admin API.
pub(crate) async fn list<T: Serialize + DeserializeOwned>(
    api: &Api,
    view: &View<T>,
    parameters: Vec<(&'static str, String)>,
    paging: Option<&Paging>,
    form: Form,
) -> Result<(), Failure> {
    let found: List<T> = collect(api, view.path, parameters, paging).await?;
    if form == Form::Json {
        return print(&pretty(&found));
    }
    if found.items.is_empty() && style::is_terminal() {
        return print(&style::dim(view.nothing));
    }
    let (headings, rows) = (view.headings(), found.items.iter().map(|item| view.row(item)).collect::<Vec<_>>());
    print(&if form == Form::Wide { table::wide(&headings, &rows) } else { table::table(&headings, &rows) })?;
    if let Some(cursor) = found.next {
        say(&style::dim(format!("there are more: --cursor {cursor}, or --all")));
    }
    Ok(())
}

/// Fetches one page, or all of them.
///
/// # Errors
/// Those of the admin API.
async fn collect<T: DeserializeOwned>(
    api: &Api,
    path: &str,
    mut parameters: Vec<(&'static str, String)>,
    paging: Option<&Paging>,
) -> Result<List<T>, Failure> {
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
        let page: List<T> = api.get(&query(path, parameters.iter().cloned().chain(here))).await?;
        items.extend(page.items);
        if stop.as_ref().is_some_and(Stop::is_asked) {
            let count = items.len();
            let text =
                format!("interrupted: {count} were read, none is printed. Page by page: --limit N, then --cursor");
            return Err(Failure::no(text));
        }
        progress.reach(items.len() as u64, None);
        if !all || page.next.is_none() {
            return Ok(List { items, next: page.next });
        }
        cursor = page.next;
    }
}

/// What can be a cell or a word. The one place where what somebody else wrote becomes one: nothing in it steers the
/// terminal.
pub(crate) trait Cell {
    /// As text; what is not there as `-`.
    fn cell(&self) -> String;
}

impl Cell for str {
    fn cell(&self) -> String {
        visible(self).into_owned()
    }
}

impl Cell for String {
    fn cell(&self) -> String {
        self.as_str().cell()
    }
}

impl<T: Cell> Cell for Option<T> {
    fn cell(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_owned(), Cell::cell)
    }
}

impl Cell for [String] {
    fn cell(&self) -> String {
        self.iter().map(Cell::cell).collect::<Vec<_>>().join(", ")
    }
}

impl Cell for Vec<String> {
    fn cell(&self) -> String {
        self.as_slice().cell()
    }
}

impl Cell for Reason {
    fn cell(&self) -> String {
        self.as_str().to_owned()
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Cell for $number {
            fn cell(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers!(u16, u32, u64, usize);

/// A value as text: see [`Cell`].
pub(crate) fn text(value: &(impl Cell + ?Sized)) -> String {
    value.cell()
}

/// A point in time: how long ago on a terminal, exact elsewhere.
pub(crate) fn when(at: &str) -> String {
    if style::is_terminal() { time::short(at, time::now()) } else { text(at) }
}

/// The same in a sentence: `3m ago` on a terminal; one that never was as `-`.
pub(crate) fn ago(at: Option<&str>) -> String {
    match at {
        Some(at) if style::is_terminal() => format!("{} ago", when(at)),
        Some(at) => text(at),
        None => "-".to_owned(),
    }
}

/// A state in its colour.
pub(crate) fn state(state: State) -> String {
    let word = state.as_str();
    match state {
        State::Delivered => style::good(word),
        State::Dead | State::Expired => style::bad(word),
        State::Scheduled | State::Cancelled => style::warn(word),
        State::Ready | State::Leased => word.to_owned(),
    }
}

/// Why it ended, in the colour of a failure.
pub(crate) fn reason(reason: Option<Reason>) -> String {
    style::bad(text(&reason))
}

/// The last try in a few words: `HTTP 422 no such customer`, `connection refused`.
pub(crate) fn last(last: Option<&AttemptDto>) -> String {
    match last {
        Some(last) => {
            let error = || text(&last.error).chars().take(60).collect();
            last.status.map_or_else(error, |status| answered(status, &gist(last.answer.as_ref())))
        }
        None => "-".to_owned(),
    }
}

/// What a target answered, in a few words: its status and what it said.
pub(crate) fn answered(status: u16, said: &str) -> String {
    format!("HTTP {status} {said}").trim_end().to_owned()
}

/// `source -> destination` of a route or a delivery.
pub(crate) fn route_of(source: &str, destination: &str) -> String {
    format!("{} -> {}", text(source), text(destination))
}

/// Whether a source or route works; what the file no longer declares is paused.
pub(crate) fn activity(is_paused: bool) -> String {
    if is_paused { style::warn("paused") } else { style::good("active") }
}
