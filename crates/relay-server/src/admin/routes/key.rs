//! API keys.

use axum::{Extension, Json, response::IntoResponse};
use http::StatusCode;
use serde::Deserialize;

use super::filter::known;
use crate::{
    admin::{
        DONE, Of, name,
        problem::{AdminError, Asked, At, Body},
    },
    api::{KeyAsk, KeyDto, List},
    principal::Principal,
    registry::{NewKey, RegistryError, listed},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfSource {
    source: Option<String>,
}

pub(super) async fn list(Of(state): Of, Asked(of): Asked<OfSource>) -> Result<Json<List<KeyDto>>, AdminError> {
    let directory = state.registry.directory();
    let source = of.source.as_deref().map(name).transpose()?;
    let keys = directory.keys.values().map(|entry| &entry.document);
    let wanted = keys.filter(|key| source.as_ref().is_none_or(|source| key.source == *source));
    let items: Vec<KeyDto> = wanted.map(|key| KeyDto::new(key, &state.registry)).collect();
    if items.is_empty() {
        known(&state, source.as_ref(), None).await?;
    }
    Ok(Json(List { items, next: None }))
}

pub(super) async fn show(Of(state): Of, At((source, key)): At<(String, String)>) -> Result<Json<KeyDto>, AdminError> {
    let directory = state.registry.directory();
    let (source, key) = (name(&source)?, name(&key)?);
    let entry = directory.keys.get(&(source.clone(), key.clone())).ok_or_else(|| {
        let known = listed(directory.keys.keys().filter(|(of, _)| *of == source).map(|(_, name)| name));
        RegistryError::Unknown { kind: "key", name: format!("{source}/{key}"), known }
    })?;
    Ok(Json(KeyDto::new(&entry.document, &state.registry)))
}

pub(super) async fn create(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(body): Body<KeyAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let new = NewKey { source: name(&body.source)?, name: name(&body.name)? };
    let made = state.registry.create_key(new, &who).await?;
    Ok((StatusCode::CREATED, Json(KeyDto::new(&made.document, &state.registry).showing(made.secret))))
}

pub(super) async fn revoke(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At((source, key)): At<(String, String)>,
) -> Result<StatusCode, AdminError> {
    state.registry.revoke_key(&name(&source)?, &name(&key)?, &who).await?;
    Ok(DONE)
}
