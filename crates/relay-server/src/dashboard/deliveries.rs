//! The deliveries: a page of them. One leads to its event.

use axum::{
    extract::{Path, Query},
    response::Response,
};
use relay_core::{
    delivery::{Reason, State as DeliveryState},
    name::Name,
};
use relay_dashboard::screen::{Deliveries, DeliveriesFilter, DeliveryLine, DeliveryLines, DeliveryList, Screen as _};
use relay_store::seam::{DeliveryFilter, Range};
use serde::Deserialize;

use super::{
    events::{given, since},
    frame::{Drawn, Looking},
};
use crate::admin::{
    self,
    problem::AdminError,
    routes::{cursor::Order, filter, id},
};

/// Lines of a page.
const LINES: u32 = 50;

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    destination: Option<String>,
    source: Option<String>,
    state: Option<String>,
    reason: Option<String>,
    since: Option<String>,
    cursor: Option<String>,
}

pub(super) async fn show(looking: Looking, Query(asked): Query<Asked>) -> Response {
    let drawn = draw(&looking, asked).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, asked: Asked) -> Result<Drawn, AdminError> {
    let (mut fault, state) = (None, given(asked.state));
    let known = |word: &str| DeliveryState::ALL.into_iter().find(|state| state.as_str() == word);
    let reason = given(asked.reason);
    let known_reason = |word: &str| Reason::ALL.into_iter().find(|reason| reason.as_str() == word);
    let filter = DeliveriesFilter {
        destination: given(asked.destination),
        source: given(asked.source),
        state: state.as_deref().and_then(known),
        reason: reason.as_deref().and_then(known_reason),
        since: since(asked.since.as_deref()),
    };
    if let Some(word) = reason.filter(|_| filter.reason.is_none()) {
        fault = Some(format!("no reason {word:?}; known: {}", Reason::ALL.map(Reason::as_str).join(", ")));
    }
    if let Some(word) = state.filter(|_| filter.state.is_none()) {
        let known = DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
        fault = Some(format!("no state {word:?}; known: {known}"));
    }
    let list = match list(looking, &filter, given(asked.cursor).as_deref()).await {
        Ok(list) if fault.is_none() => list,
        Ok(_) => DeliveryList::default(),
        Err(error @ (AdminError::Unknown(_) | AdminError::Invalid(_) | AdminError::Registry(_))) => {
            fault.get_or_insert(error.to_string());
            DeliveryList::default()
        }
        Err(error) => return Err(error),
    };
    if looking.wants_fragment {
        return Ok(Drawn::Fragment(DeliveryLines { page: &looking.page, list: &list }.html()));
    }
    let directory = looking.state.registry.directory();
    let destinations = directory.destination_names().into_iter().collect();
    let sources = directory.sources.keys().cloned().collect();
    let page = looking.page.clone();
    let is_faulty = fault.is_some();
    Ok(Drawn::page(&Deliveries { page, filter, destinations, sources, list, fault }, is_faulty))
}

async fn list(looking: &Looking, filter: &DeliveriesFilter, cursor: Option<&str>) -> Result<DeliveryList, AdminError> {
    let destination: Option<Name> = filter.destination.as_deref().map(admin::name).transpose()?;
    let states = filter.state.into_iter().collect();
    let source: Option<Name> = filter.source.as_deref().map(admin::name).transpose()?;
    let range = Range { since: filter.since.from(looking.page.now), until: None };
    let asked = DeliveryFilter {
        destination: destination.clone(),
        source: source.clone(),
        states,
        reason: filter.reason,
        range,
        ..DeliveryFilter::default()
    };
    let order = Order::of(&asked);
    let page = filter::page(order, cursor, Some(LINES))?;
    let listing = looking.state.archive.browse_deliveries(asked, page).await?;
    if listing.items.is_empty() {
        filter::known(&looking.state, source.as_ref(), destination.as_ref()).await?;
    }
    let (lines, next) = order.page(&listing, DeliveryLine::of);
    Ok(DeliveryList { lines, next })
}

/// Leads to the event of a delivery.
pub(super) async fn of_event(looking: Looking, Path(text): Path<String>) -> Response {
    let drawn = find(&looking, &text).await;
    looking.answer(drawn)
}

async fn find(looking: &Looking, text: &str) -> Result<Drawn, AdminError> {
    let id = id::delivery(&looking.state, text).await?;
    let found = looking.state.archive.delivery(id).await?;
    let gone = || AdminError::Unknown(format!("no delivery {id}: it never was, or its retention is over"));
    let delivery = found.ok_or_else(gone)?;
    Ok(Drawn::Elsewhere(looking.site().delivery(&delivery.event, &id)))
}
