//! The audit log: a page of it, each line with a link to what it is about.

use std::net::SocketAddr;

use axum::{extract::Query, response::Response};
use relay_core::id::{DeliveryId, EventId};
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
    let filter =
        AuditFilter { who: given(asked.who), action: given(asked.action), since: since(asked.since.as_deref()) };
    let (list, fault) = match list(looking, &filter, given(asked.cursor).as_deref()).await {
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
    let range = Range { since: filter.since.from(looking.page.now), until: None };
    let asked = seam::AuditFilter { who: filter.who.clone(), action: filter.action.clone(), range };
    let page = filter::page(Order::AuditLog, cursor, Some(LINES))?;
    let listing = looking.state.archive.browse_audit(asked, page).await?;
    let (lines, next) = Order::AuditLog.page(&listing, |entry| line(entry, looking.site()));
    Ok(AuditList { lines, next })
}

fn line(entry: &AuditEntry, site: &Site) -> AuditLine {
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
    match action.split_once('.')?.0 {
        "source" => Some(site.events().with("source", subject)),
        "destination" => Some(site.deliveries().with("destination", subject)),
        "user" => Some(site.users()),
        _ => None,
    }
}
