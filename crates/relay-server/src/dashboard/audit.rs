//! The audit log: a page of it, each line with a link to what it is about.

use std::net::SocketAddr;

use axum::{extract::Query, response::Response};
use relay_core::{
    id::{DeliveryId, EventId},
    time::Wall,
};
use relay_dashboard::{
    screen::{Audit, AuditFilter, AuditLine, AuditLines, AuditList, Screen as _},
    url::{Site, Url},
};
use relay_store::seam::{self, AuditEntry, Range};
use serde::Deserialize;

use super::{
    events::{given, since},
    frame::{Drawn, Looking},
};
use crate::{
    admin::{
        problem::AdminError,
        routes::{cursor::Order, filter},
    },
    principal::Via,
};

/// Lines of a page.
const LINES: u32 = 50;

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    who: Option<String>,
    action: Option<String>,
    since: Option<String>,
    cursor: Option<String>,
}

pub(super) async fn show(looking: Looking, Query(asked): Query<Asked>) -> Response {
    let drawn = draw(&looking, asked).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, asked: Asked) -> Result<Drawn, AdminError> {
    let cursor = given(asked.cursor.clone());
    let filter = filter_of(asked);
    let (list, fault) = match list(looking, &filter, cursor.as_deref()).await {
        Ok(list) => (list, None),
        Err(error @ AdminError::Invalid(_)) => (AuditList::default(), Some(error.to_string())),
        Err(error) => return Err(error),
    };
    if looking.wants_fragment {
        return Ok(Drawn::Fragment(AuditLines { page: &looking.page, list: &list }.html()));
    }
    let is_faulty = fault.is_some();
    Ok(Drawn::page(&Audit { page: looking.page.clone(), filter, list, fault }, is_faulty))
}

async fn list(looking: &Looking, filter: &AuditFilter, cursor: Option<&str>) -> Result<AuditList, AdminError> {
    let asked = seam_of(filter, looking.page.now);
    let page = filter::page(Order::AuditLog, cursor, Some(LINES))?;
    let listing = looking.state.archive.browse_audit(asked, page).await?;
    let (lines, next) = Order::AuditLog.page(&listing, |entry| line(entry, looking.site()));
    Ok(AuditList { lines, next })
}

pub(super) fn filter_of(asked: Asked) -> AuditFilter {
    AuditFilter { who: given(asked.who), action: given(asked.action), since: since(asked.since.as_deref()) }
}

/// What the store is asked for it.
pub(super) fn seam_of(filter: &AuditFilter, now: Wall) -> seam::AuditFilter {
    let range = Range { since: filter.since.from(now), until: None };
    seam::AuditFilter { who: filter.who.clone(), action: filter.action.clone(), range }
}

pub(super) fn line(entry: &AuditEntry, site: &Site) -> AuditLine {
    let AuditEntry { at, who, action, subject, origin } = entry.clone();
    let via = Via::read(&origin).unwrap_or_default();
    // The port says nothing to anybody who reads this.
    let address = |peer: String| peer.parse::<SocketAddr>().map_or(peer, |peer| peer.ip().to_string());
    let from = via.peer.map(address).or_else(|| via.uid.map(|uid| format!("uid {uid}")));
    let origin = match (from, via.credential) {
        (Some(from), Some(credential)) => Some(format!("{from}, {credential}")),
        (from, credential) => from.or(credential),
    };
    AuditLine { at, who, url: url(&action, &subject, site), action, subject, origin, claimed: via.claimed_user }
}

/// Where one sees what it is about.
fn url(action: &str, subject: &str, site: &Site) -> Option<Url> {
    if let Ok(event) = subject.parse::<EventId>() {
        return Some(site.event(&event));
    }
    if let Ok(delivery) = subject.parse::<DeliveryId>() {
        return Some(site.delivery_alone(&delivery));
    }
    // What stands behind the name says which part of it.
    let first = subject.split([' ', '/']).next().unwrap_or(subject);
    match action.split_once('.')?.0 {
        // Of one that is deleted its events are left.
        "source" if action == "source.delete" => Some(site.events().with("source", first)),
        "source" | "route" => Some(site.source(first)),
        "destination" => Some(site.destination(first)),
        "key" | "token" => Some(site.access()),
        "user" => Some(site.users()),
        "alert" => Some(site.alerts()),
        "dead" => Some(site.dead()),
        "delivery" => Some(site.deliveries()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_leads_to_what_it_is_about() {
        let leads = |action, subject| url(action, subject, &Site::default()).map(|url| url.as_str().to_owned());
        for (action, subject, page) in [
            ("route.create", "shop -> crm", "/sources/shop"),
            ("key.revoke", "shop/till", "/access"),
            ("token.create", "crm", "/access"),
            ("source.rotate", "shop secret", "/sources/shop"),
            ("source.delete", "shop", "/events?source=shop"),
            ("destination.pause", "crm", "/destinations/crm"),
            ("dead.redrive", "37 of crm", "/dead"),
        ] {
            assert_eq!(leads(action, subject).as_deref(), Some(page), "{action}");
        }
        assert_eq!(leads("store.backup", "commit 7"), None);
    }
}
