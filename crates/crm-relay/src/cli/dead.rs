//! `crm-relay dead`: dead letters, the expired ones among them.

use clap::Subcommand;
use relay_server::api::{DeliveryDto, GroupDto, SummaryDto};

use super::{
    bulk::{self, Bulk, Pacing, Selection},
    collection::not_empty,
    delivery,
    filter::{Ended, Parameters},
    listing::{Column, Form, Paging, View, answered, last, list, reason, text, when},
    noun::{self, Asked},
};
use crate::{
    admin_client::query,
    exit::{Exit, Outcome},
    output::{pretty, print, say},
    render::{answer::gist, progress::Progress, style, table},
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

const COLUMNS: &[Column<DeliveryDto>] = &[
    ("id", |delivery| text(&delivery.id)),
    ("source", |delivery| text(&delivery.source)),
    ("destination", |delivery| text(&delivery.destination)),
    ("reason", |delivery| reason(delivery.reason)),
    ("tries", |delivery| text(&delivery.tries)),
    ("ended", |delivery| when(&delivery.changed_at)),
    ("last try", |delivery| last(delivery.last.as_ref())),
];

const VIEW: View<DeliveryDto> = View { path: "/api/v1/dead", columns: COLUMNS, nothing: "no dead letters" };

const REDRIVE: Bulk = Bulk {
    path: "/api/v1/dead/redrive",
    command: "crm-relay dead redrive",
    verb: "redrive",
    done: "redriven",
    takes: "dead and expired",
    list: "crm-relay dead list",
    newest: "/api/v1/dead?limit=1",
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

const GROUPS: &[Column<GroupDto>] = &[
    ("count", |group| text(&group.count)),
    ("destination", |group| text(&group.destination)),
    ("reason", |group| reason(group.reason)),
    ("oldest", |group| when(&group.oldest)),
    ("newest", |group| when(&group.newest)),
    ("example", |group| text(&group.example)),
    ("last try", failed_with),
];

/// What the last try of the example came to; where its target said nothing, in the words that all of the group share.
fn failed_with(group: &GroupDto) -> String {
    let error = text(&group.error);
    let Some(status) = group.status else {
        return if group.error.is_none() { text(&group.reason) } else { error };
    };
    let said = gist(group.answer.as_ref());
    if !said.is_empty() {
        return answered(status, &said);
    }
    // Nothing but the status: the error says what that means.
    let meaning = error.strip_prefix('#').or_else(|| error.strip_prefix(&status.to_string())).unwrap_or_default();
    answered(status, meaning.trim_start())
}

/// Groups of what failed alike, the largest first.
async fn summary(asked: &Asked, filters: Parameters) -> Outcome {
    let api = asked.reading().await?;
    let mut groups: Vec<GroupDto> = Vec::new();
    let mut cursor: Option<String> = None;
    let mut progress = Progress::endless();
    loop {
        let here = cursor.iter().map(|cursor| ("cursor", cursor.clone()));
        let page: SummaryDto = api.get(&query("/api/v1/dead/summary", filters.iter().cloned().chain(here))).await?;
        page.items.into_iter().for_each(|group| join(&mut groups, group));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        progress.reach(groups.iter().map(|group| group.count).sum(), None);
    }
    progress.clear();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    if asked.is_json() {
        print(&pretty(&SummaryDto { items: groups, next: None }))?;
        return Ok(Exit::Done);
    }
    if groups.is_empty() && style::is_terminal() {
        print(&style::dim("no dead letters"))?;
        return Ok(Exit::Done);
    }
    // What counts is what is still going on.
    let is_narrow = style::is_terminal() && style::screen() < 120 && asked.form != Form::Wide;
    let left_out: &[&str] = if is_narrow { &["reason", "oldest"] } else { &[] };
    let columns: Vec<Column<GroupDto>> = GROUPS.iter().filter(|(name, _)| !left_out.contains(name)).copied().collect();
    let row = |group: &GroupDto| columns.iter().map(|(_, show)| show(group)).collect();
    let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    print(&if asked.form == Form::Wide { table::wide(&headings, &rows) } else { table::wrapped(&headings, &rows) })?;
    if groups.is_empty() {
        return Ok(Exit::Done);
    }
    say(&style::dim("look at one: crm-relay dead show EXAMPLE; again: crm-relay dead redrive --status N --error TEXT"));
    Ok(Exit::Done)
}

/// Adds a group of a later page to the one it is like.
fn join(groups: &mut Vec<GroupDto>, group: GroupDto) {
    let is_like = |known: &&mut GroupDto| {
        known.destination == group.destination
            && known.reason == group.reason
            && known.status == group.status
            && known.error == group.error
    };
    match groups.iter_mut().find(is_like) {
        None => groups.push(group),
        Some(known) => {
            known.count += group.count;
            // Pages come the latest first.
            known.oldest = group.oldest;
        }
    }
}
