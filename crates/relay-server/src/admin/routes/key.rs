//! API keys.

use axum::{Extension, Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde::Deserialize;

use crate::{
    admin::{
        DONE, Shared,
        dto::{KeyDto, List},
        name,
        problem::{AdminError, Asked, At, Body},
    },
    asker::Asker,
    registry::NewKey,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    source: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    source: Option<String>,
}

pub(super) async fn list(State(admin): Shared, Asked(of): Asked<Of>) -> Json<List<KeyDto>> {
    let directory = admin.registry.directory();
    let keys = directory.keys.values().map(|entry| &entry.document);
    let wanted = keys.filter(|key| of.source.as_deref().is_none_or(|source| key.source.as_str() == source));
    Json(List { items: wanted.map(KeyDto::new).collect(), next: None })
}

pub(super) async fn show(
    State(admin): Shared,
    At((source, key)): At<(String, String)>,
) -> Result<Json<KeyDto>, AdminError> {
    let directory = admin.registry.directory();
    let entry = directory.keys.get(&(name(&source)?, name(&key)?));
    let entry = entry.ok_or_else(|| AdminError::Unknown(format!("source {source:?} has no key {key:?}")))?;
    Ok(Json(KeyDto::new(&entry.document)))
}

pub(super) async fn create(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(body): Body<Create>,
) -> Result<impl IntoResponse, AdminError> {
    let new = NewKey { source: name(&body.source)?, name: name(&body.name)? };
    let made = admin.registry.create_key(new, &who).await?;
    Ok((StatusCode::CREATED, Json(KeyDto::new(&made.document).showing(made.secret))))
}

pub(super) async fn revoke(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At((source, key)): At<(String, String)>,
) -> Result<StatusCode, AdminError> {
    admin.registry.revoke_key(&name(&source)?, &name(&key)?, &who).await?;
    Ok(DONE)
}
