//! `crm-relay event list --mark`: events that a mark of their source leads to.

use relay_server::api::MarkedDto;

use super::{
    super::{
        listing::{Form, Paging, when},
        noun::Asked,
    },
    VIEW,
};
use crate::{
    admin_client::query,
    exit::{Exit, Failure, Outcome},
    output::{pretty, print, say},
    render::{style, table},
};

/// A mark and its value: `customer=cus_1`.
///
/// # Errors
/// What would be right.
pub(super) fn sought(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = parts.ok_or("want a mark of the source and its value: customer=cus_1")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

pub(super) async fn run(asked: &Asked, source: String, mark: (String, String), paging: &Paging) -> Outcome {
    let api = asked.reading().await?;
    let limit = if paging.all { 1000 } else { paging.limit };
    let of = [("source", source), ("mark", format!("{}:{}", mark.0, mark.1)), ("limit", limit.to_string())];
    let next = paging.cursor.clone();
    let mut found = MarkedDto { items: Vec::new(), unread: 0, next, indexed_from: None, indexed_to: None };
    loop {
        let here = found.next.iter().map(|cursor| ("cursor", cursor.clone()));
        let page: MarkedDto = api.get(&query("/api/v1/events/marked", of.iter().cloned().chain(here))).await?;
        // How far that knows is the first page's in each of them.
        let (items, unread) = ([found.items, page.items].concat(), found.unread + page.unread);
        found = MarkedDto { items, unread, ..page };
        if !paging.all || found.next.is_none() {
            break;
        }
    }
    show(&found, asked.form)?;
    Ok(Exit::Done)
}

fn show(found: &MarkedDto, form: Form) -> Result<(), Failure> {
    if form == Form::Json {
        return print(&pretty(found));
    }
    let (headings, rows) = (VIEW.headings(), found.items.iter().map(|event| VIEW.row(event)).collect::<Vec<_>>());
    print(&if form == Form::Wide { table::wide(&headings, &rows) } else { table::table(&headings, &rows) })?;
    say(&style::dim(far(found)));
    Ok(())
}

/// Between which moments that is all.
fn far(found: &MarkedDto) -> String {
    let MarkedDto { unread, next, indexed_from, indexed_to, .. } = found;
    let Some(to) = indexed_to else {
        return "no event is looked through for that mark yet; the server begins within seconds".to_owned();
    };
    let on = next.as_deref().map_or_else(String::new, |next| format!("; there may be more: --cursor {next}, or --all"));
    let on = if *unread > 0 { format!("; {unread} of them do not read{on}") } else { on };
    match indexed_from {
        Some(from) => format!("of events stored from {} to {}; of others nobody knows yet{on}", when(from), when(to)),
        None => format!("of events stored up to {}; of later ones nobody knows yet{on}", when(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_told_with_what_is_found() {
        let found = MarkedDto { items: Vec::new(), unread: 0, next: None, indexed_from: None, indexed_to: None };
        assert!(far(&found).starts_with("no event is looked through"));
        let some = MarkedDto { indexed_to: Some("2026-11-30T14:02:11Z".into()), ..found };
        assert!(far(&some).starts_with("of events stored up to "), "{}", far(&some));
        let part =
            MarkedDto { indexed_from: Some("2026-11-29T14:02:11Z".into()), next: Some("marked.9".into()), ..some };
        assert!(
            far(&part).contains("of others nobody knows yet; there may be more: --cursor marked.9"),
            "{}",
            far(&part)
        );
    }

    #[test]
    fn a_value_may_have_what_stands_between_it_and_its_mark() {
        assert_eq!(sought("order=a=b"), Ok(("order".to_owned(), "a=b".to_owned())));
        assert!(sought("customer").is_err() && sought("=x").is_err() && sought("customer=").is_err());
    }
}
