//! `crm-relay dead`: dead letters, the expired ones among them.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    bulk::{self, Bulk, Pacing, Selection},
    collection::not_empty,
    delivery,
    filter::{Ended, Parameters},
    listing::{Column, Form, Paging, View, answer, last, list, reason, text, when},
    noun::{self, Asked},
};
use crate::{
    admin_client::query,
    exit::{Exit, Outcome},
    output::{pretty, print, say},
    render::{progress::Progress, style, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List dead letters, the latest first
    List {
        #[command(flatten)]
        filter: Ended,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a dead letter with its attempts
    Show {
        /// Its id, dlv_...
        #[arg(value_parser = not_empty())]
        id: String,
    },
    /// Count dead letters by what they failed with
    Summary {
        #[command(flatten)]
        filter: Ended,
    },
    /// Deliver again: attempts and TTL start anew
    Redrive {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        pacing: Pacing,
    },
    /// Remove for good, before their retention ends
    Purge(Selection),
}

const COLUMNS: &[Column] = &[
    ("id", |delivery| text(delivery, "id")),
    ("source", |delivery| text(delivery, "source")),
    ("destination", |delivery| text(delivery, "destination")),
    ("reason", reason),
    ("tries", |delivery| text(delivery, "tries")),
    ("ended", |delivery| when(delivery, "changed_at")),
    ("last try", last),
];

const VIEW: View = View { path: "/api/v1/dead", columns: COLUMNS, nothing: "no dead letters" };

const REDRIVE: Bulk = Bulk {
    path: "/api/v1/dead/redrive",
    command: "crm-relay dead redrive",
    verb: "redrive",
    done: "redriven",
    takes: "dead and expired",
    list: "crm-relay dead list",
};

const PURGE: Bulk =
    Bulk { path: "/api/v1/dead/purge", command: "crm-relay dead purge", verb: "purge", done: "purged", ..REDRIVE };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List { filter, paging } => {
                list(&asked.reading().await?, &VIEW, filter.parameters()?, Some(&paging), asked.form).await?;
                Ok(Exit::Done)
            }
            Self::Summary { filter } => summary(asked, filter.parameters()?).await,
            Self::Show { id } => delivery::show(asked, VIEW.path, &id).await,
            Self::Redrive { selection, pacing } => bulk::run(asked, &REDRIVE, selection, pacing).await,
            Self::Purge(selection) => bulk::run(asked, &PURGE, selection, Pacing::default()).await,
        }
    }
}

const GROUPS: &[Column] = &[
    ("count", |group| text(group, "count")),
    ("destination", |group| text(group, "destination")),
    ("reason", reason),
    ("oldest", |group| when(group, "oldest")),
    ("newest", |group| when(group, "newest")),
    ("example", |group| text(group, "example")),
    ("last try", failed_with),
];

/// What the last try of the example came to; where its target said nothing, in the words that all of the group share.
fn failed_with(group: &Value) -> String {
    let error = text(group, "error");
    match answer(group) {
        // Nothing but the status: the error says what that means.
        Some(answered) if !answered.trim_start_matches("HTTP ").contains(' ') => {
            let status = answered.trim_start_matches("HTTP ");
            let meaning = error.strip_prefix('#').or_else(|| error.strip_prefix(status)).unwrap_or_default();
            format!("{answered} {}", meaning.trim_start()).trim_end().to_owned()
        }
        Some(answered) => answered,
        None if error == "-" => text(group, "reason"),
        None => error,
    }
}

/// Groups of what failed alike, the largest first.
async fn summary(asked: &Asked, filters: Parameters) -> Outcome {
    let api = asked.reading().await?;
    let mut groups: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    let mut progress = Progress::endless();
    loop {
        let here = cursor.iter().map(|cursor| ("cursor", cursor.clone()));
        let page = api.get(&query("/api/v1/dead/summary", filters.iter().cloned().chain(here))).await?;
        for group in page.get("items").and_then(Value::as_array).into_iter().flatten() {
            join(&mut groups, group);
        }
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        progress.reach(groups.iter().map(count_of).sum(), None);
    }
    progress.clear();
    groups.sort_by_key(|group| std::cmp::Reverse(count_of(group)));
    if asked.is_json() {
        print(&pretty(&json!({"items": groups, "next": null})))?;
        return Ok(Exit::Done);
    }
    if groups.is_empty() && style::is_terminal() {
        print(&style::dim("no dead letters"))?;
        return Ok(Exit::Done);
    }
    let row = |group: &Value, columns: &[Column]| columns.iter().map(|(_, show)| show(group)).collect();
    // What counts is what is still going on.
    let is_narrow = style::is_terminal() && style::screen() < 120 && asked.form != Form::Wide;
    let left_out: &[&str] = if is_narrow { &["reason", "oldest"] } else { &[] };
    let columns: Vec<Column> = GROUPS.iter().filter(|(name, _)| !left_out.contains(name)).copied().collect();
    let rows: Vec<Vec<String>> = groups.iter().map(|group| row(group, &columns)).collect();
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    print(&if asked.form == Form::Wide { table::wide(&headings, &rows) } else { table::wrapped(&headings, &rows) })?;
    if groups.is_empty() {
        return Ok(Exit::Done);
    }
    say(&style::dim("look at one: crm-relay dead show EXAMPLE; again: crm-relay dead redrive --status N --error TEXT"));
    Ok(Exit::Done)
}

fn count_of(group: &Value) -> u64 {
    group.get("count").and_then(Value::as_u64).unwrap_or(0)
}

/// Adds a group of a later page to the one it is like.
fn join(groups: &mut Vec<Value>, group: &Value) {
    let is_like = |known: &&mut Value| {
        ["destination", "reason", "status", "error"].iter().all(|field| known.get(*field) == group.get(*field))
    };
    let Some(known) = groups.iter_mut().find(is_like) else { return groups.push(group.clone()) };
    known["count"] = json!(count_of(known) + count_of(group));
    // Pages come the latest first.
    known["oldest"] = group.get("oldest").cloned().unwrap_or_default();
}
