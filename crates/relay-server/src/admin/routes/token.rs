//! Tokens of clients.

use std::time::Duration;

use axum::{Extension, Json, response::IntoResponse};
use http::StatusCode;
use relay_core::name::Name;

use crate::{
    admin::{
        DONE, Of, name,
        problem::{AdminError, At, Body},
    },
    api::{List, TokenAsk, TokenDto, TokenRotateAsk, TokenUpdateAsk},
    principal::Principal,
    registry::{End, NewToken, RegistryError, listed},
};

pub(super) async fn list(Of(state): Of) -> Json<List<TokenDto>> {
    let directory = state.registry.directory();
    let items = directory.tokens.values().map(|entry| TokenDto::new(&entry.document, &state.registry)).collect();
    Json(List { items, next: None })
}

pub(super) async fn show(Of(state): Of, At(token): At<String>) -> Result<Json<TokenDto>, AdminError> {
    let directory = state.registry.directory();
    let token = name(&token)?;
    let entry = directory.tokens.get(&token).ok_or_else(|| {
        let known = listed(directory.tokens.keys());
        RegistryError::Unknown { kind: "token", name: token.to_string(), known }
    })?;
    Ok(Json(TokenDto::new(&entry.document, &state.registry)))
}

pub(super) async fn create(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(body): Body<TokenAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let pins = body.pins.iter().map(|pin| pin.parse().map_err(RegistryError::Invalid));
    let pins = pins.collect::<Result<Vec<_>, _>>()?;
    let new = NewToken { name: name(&body.name)?, destinations: names(body.destinations)?, pins };
    let made = state.registry.create_token(new, &who).await?;
    Ok((StatusCode::CREATED, Json(TokenDto::new(&made.document, &state.registry).showing(made.secret))))
}

pub(super) async fn update(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(token): At<String>,
    Body(body): Body<TokenUpdateAsk>,
) -> Result<Json<TokenDto>, AdminError> {
    let updated = state.registry.update_token(&name(&token)?, names(body.destinations)?, &who).await?;
    Ok(Json(TokenDto::new(&updated, &state.registry)))
}

/// Gives it a new secret, which is shown this once; the old one stays valid beside it.
pub(super) async fn rotate(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(token): At<String>,
    Body(body): Body<TokenRotateAsk>,
) -> Result<Json<TokenDto>, AdminError> {
    let keep_old = body.keep_old_ms.map(Duration::from_millis);
    let made = state.registry.rotate_token(&name(&token)?, keep_old, &who).await?;
    Ok(Json(TokenDto::new(&made.document, &state.registry).showing(made.secret)))
}

pub(super) async fn finish_rotation(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(token): At<String>,
) -> Result<Json<TokenDto>, AdminError> {
    let token = state.registry.end_token_rotation(&name(&token)?, End::Finish, &who).await?;
    Ok(Json(TokenDto::new(&token, &state.registry)))
}

pub(super) async fn abort_rotation(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(token): At<String>,
) -> Result<Json<TokenDto>, AdminError> {
    let token = state.registry.end_token_rotation(&name(&token)?, End::Abort, &who).await?;
    Ok(Json(TokenDto::new(&token, &state.registry)))
}

/// I21: the answer comes once the hub has heard of it and closes the token's sockets.
pub(super) async fn revoke(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(token): At<String>,
) -> Result<StatusCode, AdminError> {
    state.registry.revoke_token(&name(&token)?, &who).await?;
    Ok(DONE)
}

fn names(texts: Option<Vec<String>>) -> Result<Option<Vec<Name>>, AdminError> {
    texts.map(|texts| texts.iter().map(|text| name(text)).collect()).transpose()
}
