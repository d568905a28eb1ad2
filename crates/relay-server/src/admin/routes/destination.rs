//! Destinations: made by the routes that lead to them, paused and resumed by operators.

use axum::{Extension, Json, extract::State};
use relay_core::name::Name;

use crate::{
    admin::{
        Admin, Shared, name,
        problem::{AdminError, At},
    },
    api::{DestinationDto, List},
    asker::Asker,
    hub::Event,
    registry::{RegistryError, listed},
};

pub(super) async fn list(State(admin): Shared) -> Result<Json<List<DestinationDto>>, AdminError> {
    let report = admin.health.report().await?;
    let directory = admin.registry.directory();
    let items = DestinationDto::all(&directory, &report, admin.clock.now());
    Ok(Json(List { items, next: None }))
}

pub(super) async fn show(
    State(admin): Shared,
    At(destination): At<String>,
) -> Result<Json<DestinationDto>, AdminError> {
    shown(&admin, &name(&destination)?).await
}

pub(super) async fn pause(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(destination): At<String>,
) -> Result<Json<DestinationDto>, AdminError> {
    let destination = name(&destination)?;
    admin.registry.set_paused(&destination, true, &who).await?;
    shown(&admin, &destination).await
}

pub(super) async fn resume(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(destination): At<String>,
) -> Result<Json<DestinationDto>, AdminError> {
    let destination = name(&destination)?;
    admin.registry.set_paused(&destination, false, &who).await?;
    admin.hub.tell(Event::Woken(vec![destination.clone()])).await;
    shown(&admin, &destination).await
}

async fn shown(admin: &Admin, destination: &Name) -> Result<Json<DestinationDto>, AdminError> {
    let report = admin.health.report().await?;
    let directory = admin.registry.directory();
    let mut known = directory.destination_names();
    known.extend(report.stats.destinations.iter().map(|stats| stats.destination.clone()));
    if !known.contains(destination) {
        let (name, known) = (destination.to_string(), listed(&known));
        return Err(RegistryError::Unknown { kind: "destination", name, known }.into());
    }
    Ok(Json(DestinationDto::new(destination.as_str(), &directory, &report, admin.clock.now())))
}
