//! Deliveries: list, show, cancel.

use axum::{Extension, Json};
use relay_core::{delivery::State as DeliveryState, jobs::Action};

use super::{
    bulk::run,
    dead::{ended, page},
    event::note_view,
    filter::Listing,
};
use crate::{
    admin::{
        Of,
        dto::withheld::Seen as _,
        problem::{AdminError, Asked, At, Body},
    },
    api::{BulkAsk, BulkDto, DeliveryDto, List},
    people::Present,
    principal::Principal,
    state::State,
};

pub(super) async fn list(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Asked(asked): Asked<Listing>,
) -> Result<Json<List<DeliveryDto>>, AdminError> {
    let mut asked = asked;
    if let Some(event) = &asked.event {
        asked.event = Some(super::id::event(&state, event).await?.to_string());
    }
    let filter = asked.deliveries()?;
    page(&state, &who, filter, &asked).await
}

pub(super) async fn show(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    At(id): At<String>,
) -> Result<Json<DeliveryDto>, AdminError> {
    shown(&state, (&who, present), &id, &[]).await
}

/// The same; `last` is the newest dead letter.
pub(super) async fn show_dead(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    At(id): At<String>,
) -> Result<Json<DeliveryDto>, AdminError> {
    shown(&state, (&who, present), &id, &ended()).await
}

async fn shown(
    state: &State,
    (who, present): (&Principal, Option<Extension<Present>>),
    id: &str,
    states: &[DeliveryState],
) -> Result<Json<DeliveryDto>, AdminError> {
    let parsed = super::id::delivery_in(state, id, states).await?;
    let found = state.archive.delivery(parsed).await?;
    let delivery = found
        .ok_or_else(|| AdminError::Unknown(format!("no delivery {id}: it never was, or its retention is over")))?;
    let history = state.archive.attempts(parsed).await?;
    // What a target answers may repeat what it was sent.
    note_view(state, present, who, delivery.event).await;
    Ok(Json(DeliveryDto::new(&delivery).with_history(&history).by(who).linked(state.admin_url())))
}

pub(super) async fn cancel(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(bulk): Body<BulkAsk>,
) -> Result<Json<BulkDto>, AdminError> {
    run(&state, &who, "delivery.cancel", Action::Cancel, bulk).await.map(Json)
}
