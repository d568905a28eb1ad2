//! Destinations: made by the routes that lead to them, paused and resumed by operators.

use axum::{Extension, Json};
use relay_core::name::Name;

use crate::{
    admin::{
        Of, name,
        problem::{AdminError, At},
    },
    api::{DestinationDto, List},
    principal::Principal,
    registry::{RegistryError, listed},
    state::State,
};

pub(super) async fn list(Of(state): Of) -> Result<Json<List<DestinationDto>>, AdminError> {
    let report = state.health.report_now().await?;
    let directory = state.registry.directory();
    let items = DestinationDto::all(&directory, &report, state.clock.now());
    Ok(Json(List { items, next: None }))
}

pub(super) async fn show(Of(state): Of, At(destination): At<String>) -> Result<Json<DestinationDto>, AdminError> {
    shown(&state, &name(&destination)?).await
}

pub(super) async fn pause(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(destination): At<String>,
) -> Result<Json<DestinationDto>, AdminError> {
    let destination = name(&destination)?;
    state.registry.set_paused(&destination, true, &who).await?;
    shown(&state, &destination).await
}

pub(super) async fn resume(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(destination): At<String>,
) -> Result<Json<DestinationDto>, AdminError> {
    let destination = name(&destination)?;
    state.registry.set_paused(&destination, false, &who).await?;
    shown(&state, &destination).await
}

async fn shown(state: &State, destination: &Name) -> Result<Json<DestinationDto>, AdminError> {
    let report = state.health.report_now().await?;
    let directory = state.registry.directory();
    let mut known = directory.destination_names();
    known.extend(report.stats.destinations.iter().map(|stats| stats.destination.clone()));
    if !known.contains(destination) {
        let (name, known) = (destination.to_string(), listed(&known));
        return Err(RegistryError::Unknown { kind: "destination", name, known }.into());
    }
    Ok(Json(DestinationDto::new(destination.as_str(), &directory, &report, state.clock.now())))
}
