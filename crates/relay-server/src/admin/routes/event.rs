//! Events: list, show, body, replay.

use std::sync::Arc;

use axum::{Extension, Json, response::Response};
use relay_core::{
    delivery::Delivery,
    event::Event,
    id::EventId,
    storage::{Replay, Replayed},
};
use relay_store::seam::{DeliveryFilter, EventRow, Listing as Listed, Page};
use serde::Deserialize;

use super::{
    by_key,
    cursor::Order,
    filter::{Listing, known},
};
use crate::{
    admin::{
        Of,
        download::download,
        dto::withheld::Seen as _,
        name,
        problem::{AdminError, Asked, At, Body},
    },
    api::{DeliveryDto, EventDto, List, ReplayDto, ReplayOneAsk},
    people::Present,
    principal::{Permission, Principal},
    registry::listed,
    state::State,
};

/// Deliveries of one event that are shown with it.
pub(super) const DELIVERIES_SHOWN: u32 = 1000;

pub(super) async fn list(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Asked(asked): Asked<Listing>,
) -> Result<Json<List<EventDto>>, AdminError> {
    if let Some((source, key)) = asked.by_key()? {
        let listing = Listed { items: by_key::one(&state, &source, key).await?, next: None };
        return Ok(Json(shown(&state, &who, &listing)));
    }
    let filter = asked.events()?;
    let source = filter.source.clone();
    let listing = state.archive.browse_events(filter, asked.page(Order::Events)?).await?;
    if listing.items.is_empty() {
        known(&state, source.as_ref(), None).await?;
    }
    Ok(Json(shown(&state, &who, &listing)))
}

fn shown(state: &State, who: &Principal, listing: &Listed<EventRow>) -> List<EventDto> {
    let show = |row: &EventRow| EventDto::of_row(row).listed_for(who).linked(state.admin_url());
    let (items, next) = Order::Events.page(listing, show);
    List { items, next }
}

/// What one event is asked for with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revealing {
    /// `1`: with the values that are secrets.
    reveal: Option<String>,
}

pub(super) async fn show(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    At(id): At<String>,
    Asked(asked): Asked<Revealing>,
) -> Result<Json<EventDto>, AdminError> {
    // However many look at large bodies, few are in memory.
    let _held = state.bodies.acquire().await.map_err(|_| AdminError::Stopping)?;
    let event = find(&state, &id).await?;
    note_view(&state, present.clone(), &who, event.id).await;
    let filter = DeliveryFilter { event: Some(event.id), ..DeliveryFilter::default() };
    let page = Page { cursor: None, limit: DELIVERIES_SHOWN };
    let deliveries = state.archive.browse_deliveries(filter, page).await?.items;
    let shown = EventDto::new(&event, event.body.len() as u64, &deliveries).by(&who).linked(state.admin_url());
    let reveals = asked.reveal.as_deref() == Some("1");
    Ok(Json(if who.has_session() { masked(&state, present, &who, shown, reveals).await } else { shown }))
}

/// As whoever came in by the dashboard gets it: with secrets where he asks for them, which is written down (S34).
async fn masked(
    state: &State,
    present: Option<Extension<Present>>,
    who: &Principal,
    shown: EventDto,
    reveals: bool,
) -> EventDto {
    let masked = shown.clone().masked();
    if !reveals || masked == shown {
        return masked;
    }
    let Ok(id) = shown.id.parse() else { return masked };
    if let Some(Extension(present)) = present {
        state.people.note_reveal(&present, who, id).await;
    }
    shown
}

/// The body as it was received, never to be interpreted by whoever shows it (S26).
pub(super) async fn body(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    At(id): At<String>,
) -> Result<Response, AdminError> {
    let place = Arc::clone(&state.downloads).try_acquire_owned();
    let place = place.map_err(|_| AdminError::Busy("as many bodies are on their way as there may be".into()))?;
    let held = state.bodies.acquire().await.map_err(|_| AdminError::Stopping)?;
    let event = find(&state, &id).await?;
    drop(held);
    refuse_erased(&event, "its body is gone")?;
    note_view(&state, present, &who, event.id).await;
    Ok(download(event.body.clone(), place))
}

pub(super) async fn replay(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(id): At<String>,
    Body(body): Body<ReplayOneAsk>,
) -> Result<Json<ReplayDto>, AdminError> {
    let event = find(&state, &id).await?;
    refuse_erased(&event, "nothing is left to deliver")?;
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
    let stored = state.hub.replay(&*state.queue, replay, audit).await?;
    if !matches!(stored, Replayed::Stored(stored) if stored.iter().all(|stored| *stored)) {
        return Err(gone(&id));
    }
    let event_id = event.id.to_string();
    let linked = |delivery| DeliveryDto::new(delivery).linked(state.admin_url());
    Ok(Json(ReplayDto { event_id, deliveries: deliveries.iter().map(linked).collect() }))
}

/// Whoever came in by the dashboard is written down with the payloads that he sees.
pub(super) async fn note_view(state: &State, present: Option<Extension<Present>>, who: &Principal, event: EventId) {
    if let Some(Extension(present)) = present.filter(|_| who.role.may(Permission::Payload)) {
        state.people.note_view(&present, who, event).await;
    }
}

fn refuse_erased(event: &Event, so: &str) -> Result<(), AdminError> {
    if event.is_erased() {
        return Err(AdminError::Conflict(format!(
            "{} was erased, {so}; who did it, and when: crm-relay audit-log --action event.erase",
            event.id
        )));
    }
    Ok(())
}

pub(super) async fn find(state: &State, id: &str) -> Result<Arc<Event>, AdminError> {
    let named = super::id::event(state, id).await?;
    state.archive.event(named).await?.ok_or_else(|| gone(id))
}

pub(super) fn gone(id: &str) -> AdminError {
    AdminError::Unknown(format!("no event {id}: it never was, or its retention is over"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt as _;
    use relay_core::{
        delivery::{Attempt, Reason, State as DeliveryState, answer::Answer, outcome::Class},
        id::IdMint,
        time::Wall,
    };
    use relay_net::origin::Origin;
    use relay_store::{memory::MemoryStore, seam::Queue as _};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        principal::{Role, Via},
        tests,
    };

    async fn asked(state: &Arc<State>, path: &str, credential: Option<&str>) -> String {
        let via = Via { credential: credential.map(str::to_owned), ..Via::default() };
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Principal { name: "user:bob".into(), role: Role::Operator, via });
        request.extensions_mut().insert(Origin::local());
        let answer = crate::admin::routes::all().with_state(Arc::clone(state)).oneshot(request).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// What would let others in is shown to a session where it asks for that, and to the token as it is.
    #[tokio::test]
    async fn a_session_gets_secrets_of_an_event_where_it_asks_for_them() {
        let store = Arc::new(MemoryStore::new());
        let state = crate::offline::tests::admin(store.clone()).await;
        let (mut mint, at) = (IdMint::new(0, 7), Wall::from_micros(1_700_000_000_000_000));
        let headers = [("authorization", "Bearer canary"), ("x-signature", "said")];
        let event = Event {
            headers: headers.map(|(name, value)| (name.into(), value.into())).to_vec(),
            query: Some("access_token=canary&page=2".into()),
            ..tests::event(&mut mint, at, "default")
        };
        let path = format!("/events/{}", event.id);
        assert!(store.append(vec![tests::append(event, vec![])]).await.iter().all(Result::is_ok));
        let session = Some(Principal::SESSION);
        for (asks, credential, shows) in
            [("", session, false), ("?reveal=0", session, false), ("?reveal=1", session, true), ("", None, true)]
        {
            let answer = asked(&state, &format!("{path}{asks}"), credential).await;
            assert_eq!(answer.matches("canary").count(), if shows { 2 } else { 0 }, "{asks} {credential:?}: {answer}");
            assert!(shows || answer.contains("\"query\":\"access_token=•••&page=2\""), "{answer}");
            assert!(answer.contains("[\"x-signature\",\"said\"]") && answer.contains("authorization"), "{answer}");
        }
    }

    /// S34: whoever came in by the dashboard sees content where it is a line of the audit log, and not in lists.
    #[tokio::test]
    async fn lists_show_no_payload_to_who_came_in_by_the_dashboard() {
        let store = Arc::new(MemoryStore::new());
        let state = crate::offline::tests::admin(store.clone()).await;
        let (mut mint, at) = (IdMint::new(0, 7), Wall::from_micros(1_700_000_000_000_000));
        let event = Event {
            query: Some("token=canary".into()),
            headers: vec![("x-secret".into(), "canary".into())],
            body: "{}".into(),
            ..tests::event(&mut mint, at, "default")
        };
        let day = Duration::from_hours(24);
        let made = Delivery::ready(mint.delivery(at), &event, "default".parse().unwrap(), false, at, day);
        let answer = Answer { body: Some("canary".into()), ..Answer::default() };
        let last = Attempt {
            number: 1,
            at,
            duration_ms: 1,
            status: Some(422),
            class: Class::Refused,
            counted: true,
            error: None,
            answer: answer.shared(),
        };
        let (state_of, reason) = (DeliveryState::Dead, Some(Reason::Refused));
        let dead = Delivery { state: state_of, reason, last: Some(last), ..made };
        let (id, delivery) = (event.id, dead.id);
        assert!(store.append(vec![tests::append(event, vec![dead])]).await.iter().all(Result::is_ok));
        for list in ["/events", "/deliveries", "/dead", "/dead/summary"] {
            assert!(asked(&state, list, None).await.contains("canary"), "{list} with the token");
            assert!(!asked(&state, list, Some(Principal::SESSION)).await.contains("canary"), "{list}");
        }
        for one in [format!("/events/{id}"), format!("/deliveries/{delivery}"), format!("/dead/{delivery}")] {
            assert!(asked(&state, &one, Some(Principal::SESSION)).await.contains("canary"), "{one}");
        }
    }
}
