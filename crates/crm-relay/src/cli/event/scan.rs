//! `crm-relay event list --contains`: a look through events that no index leads to.

use std::time::Duration;

use clap::Args;
use relay_server::{AdminCode, api::ScanDto};

use super::{
    super::{
        listing::{Form, Paging, text},
        noun::Asked,
    },
    VIEW,
};
use crate::{
    admin_client::{Api, query},
    exit::{Exit, Failure, Outcome},
    output::{pretty, print, say},
    render::{progress::Progress, style, table},
    signals::{self, Stop},
};

/// How often one waits while somebody else looks, and for how long.
const TRIES: u32 = 120;
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What is looked for in the events themselves.
#[derive(Debug, Args)]
pub(crate) struct Sought {
    /// That have this text
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    #[arg(
        help = "Whose JSON body has this there: $.data.object.customer=cus_1, $.items[0].id=7",
        long,
        value_name = "PATH=VALUE",
        conflicts_with = "contains"
    )]
    json_path: Option<String>,
}

impl Sought {
    /// As a parameter of the admin API, if anything is.
    pub(super) fn parameter(self) -> Option<(&'static str, String)> {
        let path = self.json_path.map(|path| ("json_path", path));
        self.contains.map(|text| ("contains", text)).or(path)
    }
}

pub(super) async fn run(asked: &Asked, parameters: Vec<(&'static str, String)>, paging: &Paging) -> Outcome {
    let limit = if paging.all { 1000 } else { paging.limit };
    let (api, stop, mut progress) = (asked.reading().await?, signals::listen()?, Progress::endless());
    let next = paging.cursor.clone();
    let mut found = ScanDto { items: Vec::new(), next, read: 0, unread: 0, of: None, looked_back_to: None };
    let ended = loop {
        let here = found.next.iter().map(|cursor| ("cursor", cursor.clone())).chain([("limit", limit.to_string())]);
        let page = match look(&api, &query("/api/v1/events/scan", parameters.iter().cloned().chain(here)), &stop).await
        {
            Ok(page) => page,
            // What was found is not lost by what comes behind it.
            Err(failure) if found.read > 0 => break Err(failure),
            Err(failure) => return Err(failure),
        };
        let items = [std::mem::take(&mut found.items), page.items.clone()].concat();
        found = ScanDto { items, ..page };
        progress.reach(found.read, found.of);
        if !paging.all || found.next.is_none() || stop.is_asked() {
            break Ok(Exit::Done);
        }
    };
    drop(progress);
    show(&found, asked.form)?;
    ended
}

/// One answer; while somebody else looks it is waited for.
async fn look(api: &Api, path: &str, stop: &Stop) -> Result<ScanDto, Failure> {
    for _ in 0..TRIES {
        let (status, answer) = api.peek(path).await?;
        let is_busy = answer["code"] == AdminCode::TooSlow.as_str();
        if status.is_success()
            && let Ok(page) = serde_json::from_value(answer)
        {
            return Ok(page);
        }
        if !is_busy || stop.is_asked() {
            break;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    // For its words of what is wrong.
    api.get(path).await
}

fn show(found: &ScanDto, form: Form) -> Result<(), Failure> {
    if form == Form::Json {
        return print(&pretty(found));
    }
    let rows: Vec<Vec<String>> = found.items.iter().map(|event| VIEW.row(event)).collect();
    let headings = VIEW.headings();
    print(&if form == Form::Wide { table::wide(&headings, &rows) } else { table::table(&headings, &rows) })?;
    say(&style::dim(far(found)));
    Ok(())
}
/// How far it came, and what was not looked at.
fn far(found: &ScanDto) -> String {
    let ScanDto { read, unread, of, looked_back_to, next, .. } = found;
    let read = match (of, next) {
        (Some(_), None) => format!("looked at all {read} events"),
        (None, None) => format!("looked at {read} events, all that --since, --until and --name leave"),
        (Some(of), Some(_)) => format!("looked at {read} of {of} events"),
        (None, Some(_)) => format!("looked at {read} events, not yet all"),
    };
    let back = looked_back_to.as_deref().map_or_else(String::new, |at| format!(", back to {}", text(at)));
    let unread = match unread {
        0 => String::new(),
        unread => {
            format!(
                "; {unread} of them could not be looked into: damaged, no whole JSON, or compressed in an unknown way"
            )
        }
    };
    let on = next.as_deref().map_or_else(String::new, |next| format!("; to go on: --cursor {next}, or --all"));
    format!("{read}{back}{unread}{on}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_says_how_far_it_came_and_of_what() {
        let at = Some("2026-11-30T14:02:11Z".to_owned());
        let next = Some("scan.9".to_owned());
        let found = ScanDto { items: Vec::new(), next, read: 9, unread: 0, of: Some(70), looked_back_to: at };
        let back = "back to 2026-11-30T14:02:11Z";
        assert_eq!(far(&found), format!("looked at 9 of 70 events, {back}; to go on: --cursor scan.9, or --all"));
        let narrow = ScanDto { of: None, ..found.clone() };
        assert!(far(&narrow).starts_with("looked at 9 events, not yet all"), "{}", far(&narrow));
        let end = ScanDto { next: None, unread: 2, ..narrow };
        assert!(
            far(&end).starts_with("looked at 9 events, all that --since, --until and --name leave"),
            "{}",
            far(&end)
        );
        assert!(far(&end).contains("; 2 of them could not be looked into"), "{}", far(&end));
        assert_eq!(far(&ScanDto { next: None, ..found }), format!("looked at all 9 events, {back}"));
    }
}
