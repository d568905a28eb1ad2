//! Dead letters: list, redrive, purge.

use axum::{Extension, Json};
use relay_core::{delivery::State as DeliveryState, jobs::Action};
use relay_store::seam::DeliveryFilter;

use super::{
    bulk::run,
    cursor::Order,
    filter::{Listing, known},
    pace,
};
use crate::{
    admin::{
        Of,
        dto::withheld::Seen as _,
        problem::{AdminError, Asked, Body},
    },
    api::{BulkAsk, BulkDto, DeliveryDto, List},
    principal::Principal,
    state::State,
};

pub(super) async fn list(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Asked(asked): Asked<Listing>,
) -> Result<Json<List<DeliveryDto>>, AdminError> {
    if asked.state.is_some() {
        return Err(AdminError::Invalid("dead letters are dead or expired; filter by reason instead of state".into()));
    }
    let filter = DeliveryFilter { states: ended(), ..asked.deliveries()? };
    page(&state, &who, filter, &asked).await
}

/// The page that was asked for of those that match. Where there are none, a source or destination that is not there is named.
pub(super) async fn page(
    state: &State,
    who: &Principal,
    filter: DeliveryFilter,
    asked: &Listing,
) -> Result<Json<List<DeliveryDto>>, AdminError> {
    let order = Order::of(&filter);
    let (source, destination) = (filter.source.clone(), filter.destination.clone());
    let listing = state.archive.browse_deliveries(filter, asked.page(order)?).await?;
    if listing.items.is_empty() {
        known(state, source.as_ref(), destination.as_ref()).await?;
    }
    let (items, next) =
        order.page(&listing, |delivery| DeliveryDto::new(delivery).listed_for(who).linked(state.admin_url()));
    Ok(Json(List { items, next }))
}

pub(super) async fn redrive(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(bulk): Body<BulkAsk>,
) -> Result<Json<BulkDto>, AdminError> {
    let routing = state.registry.directory().routing.clone();
    let routes = routing.routes.iter().flat_map(|(source, routes)| routes.iter().map(move |route| (source, route)));
    let ttl = routes.map(|(source, route)| ((source.clone(), route.destination.clone()), route.ttl)).collect();
    let pace = pace::pace(bulk.rate, bulk.start_at.as_deref(), state.clock.wall())?;
    let action = Action::Redrive { ttl, ttl_default: state.registry.defaults().ttl, pace };
    run(&state, &who, "dead.redrive", action, bulk).await.map(Json)
}

pub(super) async fn purge(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(bulk): Body<BulkAsk>,
) -> Result<Json<BulkDto>, AdminError> {
    run(&state, &who, "dead.purge", Action::Purge, bulk).await.map(Json)
}

/// The states that dead letters are in.
pub(super) fn ended() -> Vec<DeliveryState> {
    DeliveryState::DEAD_LETTER.to_vec()
}
