//! Sources.

use std::time::Duration;

use axum::{Extension, Json, response::IntoResponse};
use http::StatusCode;
use relay_core::name::Name;
use serde::Deserialize;

use crate::{
    admin::{
        DONE, Of, name,
        problem::{AdminError, Asked, At, Body},
    },
    api::{ActivityDto, List, MarkDto, SecretDto, SourceAsk, SourceDto, SourceRotateAsk, SourceUpdateAsk},
    principal::Principal,
    registry::{End, NewSource, RegistryError, SourceUpdate, listed},
};

pub(super) async fn list(Of(state): Of) -> Json<List<SourceDto>> {
    let directory = state.registry.directory();
    let items = directory.sources.values().map(|entry| SourceDto::new(&entry.document, &state.registry)).collect();
    Json(List { items, next: None })
}

pub(super) async fn show(Of(state): Of, At(source): At<String>) -> Result<Json<SourceDto>, AdminError> {
    let directory = state.registry.directory();
    let source = name(&source)?;
    let entry = directory.sources.get(&source).ok_or_else(|| {
        let known = listed(directory.sources.keys());
        RegistryError::Unknown { kind: "source", name: source.to_string(), known }
    })?;
    let stats = state.upkeep.stats().await?;
    let stats = stats.sources.iter().find(|stats| stats.source == entry.document.name);
    let mut activity = ActivityDto::new(&entry.document, stats, &state.metrics, &state.refusals);
    activity.last_received_at = super::status::last_received(&state, Some(&source)).await?;
    let activity = activity.with_quotas(&entry.document, &state.quotas, state.clock.wall());
    let activity = activity.with_names(state.archive.event_names(source).await?);
    let marks = state.marks.standing(&entry.document.name).await?.into_iter().map(MarkDto::standing).collect();
    Ok(Json(SourceDto { marks, ..SourceDto::new(&entry.document, &state.registry).with(activity) }))
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
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(source): At<String>,
    Asked(wanted): Asked<Await>,
) -> Result<Json<SourceDto>, AdminError> {
    let source = state.registry.await_secret(&name(&source)?, wanted.forget, &who).await?;
    Ok(Json(SourceDto::new(&source, &state.registry)))
}

/// Shows the secrets that the platform handed over, which nobody else has seen.
pub(super) async fn reveal(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(source): At<String>,
) -> Result<Json<List<SecretDto>>, AdminError> {
    let secrets = state.registry.reveal(&name(&source)?, &who).await?;
    let items = secrets.into_iter().map(|(name, value)| SecretDto { name, value }).collect();
    Ok(Json(List { items, next: None }))
}

pub(super) async fn create(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(body): Body<SourceAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let source = state.registry.create_source(read(body)?, &who).await?;
    Ok((StatusCode::CREATED, Json(SourceDto::new(&source, &state.registry))))
}

/// The source to be made.
pub(super) fn read(asked: SourceAsk) -> Result<NewSource, AdminError> {
    Ok(NewSource {
        name: name(&asked.name)?,
        provider: asked.provider,
        parameters: asked.parameters,
        network: asked.network,
        allow_empty: asked.allow_empty,
        dedupe: asked.dedupe,
        await_secret: asked.await_secret,
        destination: asked.destination.as_deref().map_or_else(|| Ok(Name::fallback()), name)?,
    })
}

pub(super) async fn update(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(source): At<String>,
    Body(body): Body<SourceUpdateAsk>,
) -> Result<Json<SourceDto>, AdminError> {
    let mark = body.mark.iter().map(|(mark, path)| {
        let path = path.parse().map_err(|what| AdminError::Invalid(format!("mark {mark}: {what}")))?;
        Ok((name(mark)?, path))
    });
    let mark = mark.collect::<Result<Vec<_>, AdminError>>()?;
    let unmark = body.unmark.iter().map(|mark| name(mark)).collect::<Result<Vec<_>, _>>()?;
    let update = SourceUpdate {
        provider: body.provider,
        parameters: body.parameters,
        set: body.set,
        unset: body.unset,
        network: body.network,
        allow_empty: body.allow_empty,
        dedupe: body.dedupe,
        mark,
        unmark,
    };
    let source = state.registry.update_source(&name(&source)?, update, &who).await?;
    Ok(Json(SourceDto::new(&source, &state.registry)))
}

/// Gives it new secrets; the old ones stay valid beside them.
pub(super) async fn rotate(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(source): At<String>,
    Body(body): Body<SourceRotateAsk>,
) -> Result<Json<SourceDto>, AdminError> {
    let keep_old = body.keep_old_ms.map(Duration::from_millis);
    let source = state.registry.rotate_source(&name(&source)?, &body.set, keep_old, &who).await?;
    Ok(Json(SourceDto::new(&source, &state.registry)))
}

pub(super) async fn finish_rotation(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(source): At<String>,
) -> Result<Json<SourceDto>, AdminError> {
    let source = state.registry.end_source_rotation(&name(&source)?, End::Finish, &who).await?;
    Ok(Json(SourceDto::new(&source, &state.registry)))
}

pub(super) async fn abort_rotation(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(source): At<String>,
) -> Result<Json<SourceDto>, AdminError> {
    let source = state.registry.end_source_rotation(&name(&source)?, End::Abort, &who).await?;
    Ok(Json(SourceDto::new(&source, &state.registry)))
}

pub(super) async fn delete(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(source): At<String>,
) -> Result<StatusCode, AdminError> {
    state.registry.delete_source(&name(&source)?, &who).await?;
    Ok(DONE)
}
