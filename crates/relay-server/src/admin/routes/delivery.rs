//! Deliveries: list, show, cancel.

use axum::{Extension, Json, extract::State};
use relay_core::{delivery::State as DeliveryState, jobs::Action};

use super::{
    bulk::run,
    dead::{ended, page},
    filter::Listing,
};
use crate::{
    admin::{
        Admin, Shared,
        problem::{AdminError, Asked, At, Body},
    },
    api::{BulkAsk, BulkDto, DeliveryDto, List},
    asker::Asker,
};

pub(super) async fn list(
    State(admin): Shared,
    Asked(asked): Asked<Listing>,
) -> Result<Json<List<DeliveryDto>>, AdminError> {
    let mut asked = asked;
    if let Some(event) = &asked.event {
        asked.event = Some(super::id::event(&admin, event).await?.to_string());
    }
    let filter = asked.deliveries()?;
    page(&admin, filter, &asked).await
}

pub(super) async fn show(State(admin): Shared, At(id): At<String>) -> Result<Json<DeliveryDto>, AdminError> {
    shown(&admin, &id, &[]).await
}

/// The same; `last` is the newest dead letter.
pub(super) async fn show_dead(State(admin): Shared, At(id): At<String>) -> Result<Json<DeliveryDto>, AdminError> {
    shown(&admin, &id, &ended()).await
}

async fn shown(admin: &Admin, id: &str, states: &[DeliveryState]) -> Result<Json<DeliveryDto>, AdminError> {
    let parsed = super::id::delivery_in(admin, id, states).await?;
    let found = admin.archive.delivery(parsed).await?;
    let delivery = found
        .ok_or_else(|| AdminError::Unknown(format!("no delivery {id}: it never was, or its retention is over")))?;
    let history = admin.archive.attempts(parsed).await?;
    Ok(Json(DeliveryDto::new(&delivery).with_history(&history)))
}

pub(super) async fn cancel(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(bulk): Body<BulkAsk>,
) -> Result<Json<BulkDto>, AdminError> {
    run(&admin, &who, "delivery.cancel", Action::Cancel, bulk).await.map(Json)
}
