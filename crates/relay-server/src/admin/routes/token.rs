//! Tokens of clients.

use axum::{Extension, Json, extract::State, response::IntoResponse};
use http::StatusCode;
use relay_core::name::Name;
use serde::Deserialize;

use crate::{
    admin::{
        DONE, Shared,
        dto::{List, TokenDto},
        name,
        problem::{AdminError, At, Body},
    },
    asker::Asker,
    hub::Event,
    registry::{NewToken, RegistryError, listed},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    name: String,
    /// Left out: every destination.
    destinations: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// `null`: every destination.
    destinations: Option<Vec<String>>,
}

pub(super) async fn list(State(admin): Shared) -> Json<List<TokenDto>> {
    let directory = admin.registry.directory();
    let items = directory.tokens.values().map(|entry| TokenDto::new(&entry.document)).collect();
    Json(List { items, next: None })
}

pub(super) async fn show(State(admin): Shared, At(token): At<String>) -> Result<Json<TokenDto>, AdminError> {
    let directory = admin.registry.directory();
    let entry = directory.tokens.get(token.as_str()).ok_or_else(|| {
        let known = listed(directory.tokens.keys());
        RegistryError::Unknown { kind: "token", name: token.clone(), known }
    })?;
    Ok(Json(TokenDto::new(&entry.document)))
}

pub(super) async fn create(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(body): Body<Create>,
) -> Result<impl IntoResponse, AdminError> {
    let new = NewToken { name: name(&body.name)?, destinations: names(body.destinations)? };
    let made = admin.registry.create_token(new, &who).await?;
    Ok((StatusCode::CREATED, Json(TokenDto::new(&made.document).showing(made.secret))))
}

pub(super) async fn update(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(token): At<String>,
    Body(body): Body<Update>,
) -> Result<Json<TokenDto>, AdminError> {
    let token = name(&token)?;
    let updated = admin.registry.update_token(&token, names(body.destinations)?, &who).await?;
    admin.hub.tell(Event::Revoked(token)).await;
    Ok(Json(TokenDto::new(&updated)))
}

/// I21: the answer comes once the hub was told to close the token's sockets.
pub(super) async fn revoke(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    At(token): At<String>,
) -> Result<StatusCode, AdminError> {
    let token = name(&token)?;
    admin.registry.revoke_token(&token, &who).await?;
    admin.hub.tell(Event::Revoked(token)).await;
    Ok(DONE)
}

fn names(texts: Option<Vec<String>>) -> Result<Option<Vec<Name>>, AdminError> {
    texts.map(|texts| texts.iter().map(|text| name(text)).collect()).transpose()
}
