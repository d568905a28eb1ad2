//! Sources.

use std::time::Duration;

use axum::{Extension, Json, extract::State, response::IntoResponse};
use http::StatusCode;
use relay_core::name::Name;
use serde::Deserialize;

use crate::{
    admin::{
        DONE, Shared, name,
        problem::{AdminError, Asked, At, Body},
    },
    api::{ActivityDto, List, SecretDto, SourceAsk, SourceDto, SourceRotateAsk, SourceUpdateAsk},
    asker::Asker,
    registry::{End, NewSource, RegistryError, SourceUpdate, listed},
};

pub(super) async fn list(State(admin): Shared) -> Json<List<SourceDto>> {
    let directory = admin.registry.directory();
    let items = directory.sources.values().map(|entry| SourceDto::new(&entry.document, &admin.registry)).collect();
    Json(List { items, next: None })
}

pub(super) async fn show(State(admin): Shared, At(source): At<String>) -> Result<Json<SourceDto>, AdminError> {
    let directory = admin.registry.directory();
    let source = name(&source)?;
    let entry = directory.sources.get(&source).ok_or_else(|| {
        let known = listed(directory.sources.keys());
        RegistryError::Unknown { kind: "source", name: source.to_string(), known }
    })?;
    let stats = admin.upkeep.stats().await?;
    let stats = stats.sources.iter().find(|stats| stats.source == entry.document.name);
    let mut activity = ActivityDto::new(&entry.document, stats, &admin.metrics, &admin.refusals);
    activity.last_received_at = super::status::last_received(&admin, Some(&source)).await?;
    Ok(Json(SourceDto::new(&entry.document, &admin.registry).with(activity)))
}

/// Whether what was handed over before is worth nothing any more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Await {
    #[serde(default)]
    forget: bool,
}

/// Opens the window in which the platform may hand over its secret.
pub(super) async fn await_secret(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(source): At<String>,
    Asked(wanted): Asked<Await>,
) -> Result<Json<SourceDto>, AdminError> {
    let source = admin.registry.await_secret(&name(&source)?, wanted.forget, &who).await?;
    Ok(Json(SourceDto::new(&source, &admin.registry)))
}

/// Shows the secrets that the platform handed over, which nobody else has seen.
pub(super) async fn reveal(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(source): At<String>,
) -> Result<Json<List<SecretDto>>, AdminError> {
    let secrets = admin.registry.reveal(&name(&source)?, &who).await?;
    let items = secrets.into_iter().map(|(name, value)| SecretDto { name, value }).collect();
    Ok(Json(List { items, next: None }))
}

pub(super) async fn create(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(body): Body<SourceAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let source = admin.registry.create_source(read(body)?, &who).await?;
    Ok((StatusCode::CREATED, Json(SourceDto::new(&source, &admin.registry))))
}

/// The source to be made.
pub(super) fn read(asked: SourceAsk) -> Result<NewSource, AdminError> {
    Ok(NewSource {
        name: name(&asked.name)?,
        provider: asked.provider,
        parameters: asked.parameters,
        allow_empty: asked.allow_empty,
        dedupe: asked.dedupe,
        await_secret: asked.await_secret,
        destination: asked.destination.as_deref().map_or_else(|| Ok(Name::fallback()), name)?,
    })
}

pub(super) async fn update(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(source): At<String>,
    Body(body): Body<SourceUpdateAsk>,
) -> Result<Json<SourceDto>, AdminError> {
    let update = SourceUpdate {
        provider: body.provider,
        parameters: body.parameters,
        set: body.set,
        unset: body.unset,
        allow_empty: body.allow_empty,
        dedupe: body.dedupe,
    };
    let source = admin.registry.update_source(&name(&source)?, update, &who).await?;
    Ok(Json(SourceDto::new(&source, &admin.registry)))
}

/// Gives it new secrets; the old ones stay valid beside them.
pub(super) async fn rotate(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(source): At<String>,
    Body(body): Body<SourceRotateAsk>,
) -> Result<Json<SourceDto>, AdminError> {
    let keep_old = body.keep_old_ms.map(Duration::from_millis);
    let source = admin.registry.rotate_source(&name(&source)?, &body.set, keep_old, &who).await?;
    Ok(Json(SourceDto::new(&source, &admin.registry)))
}

pub(super) async fn finish_rotation(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(source): At<String>,
) -> Result<Json<SourceDto>, AdminError> {
    let source = admin.registry.end_source_rotation(&name(&source)?, End::Finish, &who).await?;
    Ok(Json(SourceDto::new(&source, &admin.registry)))
}

pub(super) async fn abort_rotation(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(source): At<String>,
) -> Result<Json<SourceDto>, AdminError> {
    let source = admin.registry.end_source_rotation(&name(&source)?, End::Abort, &who).await?;
    Ok(Json(SourceDto::new(&source, &admin.registry)))
}

pub(super) async fn delete(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(source): At<String>,
) -> Result<StatusCode, AdminError> {
    admin.registry.delete_source(&name(&source)?, &who).await?;
    Ok(DONE)
}
