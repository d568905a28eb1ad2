//! Events: list, show, body, replay.

use axum::{
    Extension, Json,
    response::{IntoResponse, Response},
};
use http::header;
use relay_core::{
    delivery::Delivery,
    event::Event,
    id::EventId,
    storage::{Replay, Replayed},
};
use relay_store::seam::{DeliveryFilter, Page};

use super::{
    cursor::Order,
    filter::{Listing, known},
};
use crate::{
    admin::{
        Of,
        dto::withheld::Seen as _,
        name,
        problem::{AdminError, Asked, At, Body},
    },
    again,
    api::{DeliveryDto, EventDto, List, ReplayDto, ReplayOneAsk},
    hub,
    people::Present,
    principal::{Permission, Principal},
    registry::listed,
    state::State,
};

/// Deliveries of one event that are shown with it.
const DELIVERIES_SHOWN: u32 = 1000;

pub(super) async fn list(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Asked(asked): Asked<Listing>,
) -> Result<Json<List<EventDto>>, AdminError> {
    let filter = asked.events()?;
    let source = filter.source.clone();
    let listing = state.archive.browse_events(filter, asked.page(Order::Events)?).await?;
    if listing.items.is_empty() {
        known(&state, source.as_ref(), None).await?;
    }
    let (items, next) = Order::Events.page(&listing, |row| EventDto::of_row(row).by(&who));
    Ok(Json(List { items, next }))
}

pub(super) async fn show(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    At(id): At<String>,
) -> Result<Json<EventDto>, AdminError> {
    let event = find(&state, &id).await?;
    note_view(&state, present, &who, event.id).await;
    let filter = DeliveryFilter { event: Some(event.id), ..DeliveryFilter::default() };
    let page = Page { cursor: None, limit: DELIVERIES_SHOWN };
    let deliveries = state.archive.browse_deliveries(filter, page).await?.items;
    Ok(Json(EventDto::new(&event, event.body.len() as u64, &deliveries).by(&who)))
}

/// The body as it was received, never to be interpreted by whoever shows it (S26).
pub(super) async fn body(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    At(id): At<String>,
) -> Result<Response, AdminError> {
    let event = find(&state, &id).await?;
    note_view(&state, present, &who, event.id).await;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ];
    Ok((headers, event.body.clone()).into_response())
}

pub(super) async fn replay(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(id): At<String>,
    Body(body): Body<ReplayOneAsk>,
) -> Result<Json<ReplayDto>, AdminError> {
    let event = find(&state, &id).await?;
    let directory = state.registry.directory();
    let routes = directory.routing.routes.get(&event.source).map_or(&[][..], Vec::as_slice);
    let wanted = body.destination.as_deref().map(name).transpose()?;
    let chosen: Vec<_> =
        routes.iter().filter(|route| wanted.as_ref().is_none_or(|wanted| route.destination == *wanted)).collect();
    if chosen.is_empty() {
        let known = listed(routes.iter().map(|route| &route.destination));
        let to = wanted.map_or_else(String::new, |wanted| format!(" to {:?}", wanted.as_str()));
        let text = format!("no route leads from {:?}{to}; known: {known}", event.source.as_str());
        return Err(AdminError::Unknown(text));
    }
    let ids = state.hub.mint(chosen.len()).await.ok_or(AdminError::Stopping)?;
    let now = state.clock.wall();
    let make = |(id, route): (_, &&relay_core::routing::Route)| {
        Delivery::ready(id, &event, route.destination.clone(), true, now, route.ttl)
    };
    let deliveries: Vec<Delivery> = ids.into_iter().zip(&chosen).map(make).collect();
    let audit = vec![state.audited(&who, "event.replay", event.id.to_string())];
    let replay = Replay::anyway(deliveries.clone());
    let stored = again::until_answered(|_| state.queue.replay(replay.clone(), audit.clone())).await?;
    if !matches!(stored, Replayed::Stored(stored) if stored.iter().all(|stored| *stored)) {
        return Err(gone(&id));
    }
    state.hub.tell(hub::Event::Woken(chosen.iter().map(|route| route.destination.clone()).collect())).await;
    let event_id = event.id.to_string();
    Ok(Json(ReplayDto { event_id, deliveries: deliveries.iter().map(DeliveryDto::new).collect() }))
}

/// Whoever came in by the dashboard is written down with the payloads that he sees.
async fn note_view(state: &State, present: Option<Extension<Present>>, who: &Principal, event: EventId) {
    if let Some(Extension(present)) = present.filter(|_| who.role.may(Permission::Payload)) {
        state.people.note_view(&present, who, event).await;
    }
}

async fn find(state: &State, id: &str) -> Result<std::sync::Arc<Event>, AdminError> {
    let named = super::id::event(state, id).await?;
    state.archive.event(named).await?.ok_or_else(|| gone(id))
}

fn gone(id: &str) -> AdminError {
    AdminError::Unknown(format!("no event {id}: it never was, or its retention is over"))
}
