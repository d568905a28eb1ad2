//! Sources.

use std::time::Duration;

use axum::{Extension, Json, extract::State, response::IntoResponse};
use http::StatusCode;
use relay_core::name::Name;
use serde::Deserialize;

use crate::{
    admin::{
        DONE, Shared,
        dto::{ActivityDto, List, SecretDto, SourceDto},
        name,
        problem::{AdminError, Asked, At, Body},
    },
    asker::Asker,
    parameters::Parameters,
    registry::{End, NewSource, RegistryError, SourceUpdate, document::Dedupe, listed},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    name: String,
    provider: String,
    /// Name and value; a name given twice: both values are valid.
    #[serde(default)]
    parameters: Parameters,
    #[serde(default)]
    allow_empty: bool,
    #[serde(default)]
    dedupe: Dedupe,
    /// The platform is about to hand over its secret.
    #[serde(default)]
    await_secret: bool,
    destination: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    provider: Option<String>,
    /// All of them anew.
    parameters: Option<Parameters>,
    /// These anew; the others stay.
    #[serde(default)]
    set: Parameters,
    /// These go.
    #[serde(default)]
    unset: Vec<String>,
    allow_empty: Option<bool>,
    dedupe: Option<Dedupe>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    /// The new values.
    set: Parameters,
    /// How long the old ones stay valid; left out: until told.
    keep_old_ms: Option<u64>,
}

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
    Body(body): Body<Create>,
) -> Result<impl IntoResponse, AdminError> {
    let source = admin.registry.create_source(body.read()?, &who).await?;
    Ok((StatusCode::CREATED, Json(SourceDto::new(&source, &admin.registry))))
}

impl Create {
    /// The source to be made.
    pub(super) fn read(self) -> Result<NewSource, AdminError> {
        Ok(NewSource {
            name: name(&self.name)?,
            provider: self.provider,
            parameters: self.parameters,
            allow_empty: self.allow_empty,
            dedupe: self.dedupe,
            await_secret: self.await_secret,
            destination: self.destination.as_deref().map_or_else(|| Ok(Name::fallback()), name)?,
        })
    }
}

pub(super) async fn update(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(source): At<String>,
    Body(body): Body<Update>,
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
    Body(body): Body<Rotate>,
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
