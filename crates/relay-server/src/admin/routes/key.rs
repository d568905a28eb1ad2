//! API keys.

use axum::{Extension, Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde::Deserialize;

use super::filter::known;
use crate::{
    admin::{
        DONE, Shared, name,
        problem::{AdminError, Asked, At, Body},
    },
    api::{KeyAsk, KeyDto, List},
    asker::Asker,
    registry::{NewKey, RegistryError, listed},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    source: Option<String>,
}

pub(super) async fn list(State(admin): Shared, Asked(of): Asked<Of>) -> Result<Json<List<KeyDto>>, AdminError> {
    let directory = admin.registry.directory();
    let source = of.source.as_deref().map(name).transpose()?;
    let keys = directory.keys.values().map(|entry| &entry.document);
    let wanted = keys.filter(|key| source.as_ref().is_none_or(|source| key.source == *source));
    let items: Vec<KeyDto> = wanted.map(KeyDto::new).collect();
    if items.is_empty() {
        known(&admin, source.as_ref(), None).await?;
    }
    Ok(Json(List { items, next: None }))
}

pub(super) async fn show(
    State(admin): Shared,
    At((source, key)): At<(String, String)>,
) -> Result<Json<KeyDto>, AdminError> {
    let directory = admin.registry.directory();
    let (source, key) = (name(&source)?, name(&key)?);
    let entry = directory.keys.get(&(source.clone(), key.clone())).ok_or_else(|| {
        let known = listed(directory.keys.keys().filter(|(of, _)| *of == source).map(|(_, name)| name));
        RegistryError::Unknown { kind: "key", name: format!("{source}/{key}"), known }
    })?;
    Ok(Json(KeyDto::new(&entry.document)))
}

pub(super) async fn create(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(body): Body<KeyAsk>,
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
