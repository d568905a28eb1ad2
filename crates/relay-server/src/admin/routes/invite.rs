//! Invitations: everything that a new sender and its client need, in one request.

use axum::{Extension, Json, response::IntoResponse};
use http::StatusCode;

use super::source::read;
use crate::{
    admin::{
        Of,
        problem::{AdminError, Body},
    },
    api::{InviteDto, KeyDto, SecretDto, SourceAsk, SourceDto, TokenDto},
    principal::Principal,
};

pub(super) async fn create(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(body): Body<SourceAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let made = state.registry.invite(read(body)?, &who).await?;
    let path = format!("/webhook/{}", made.source.name);
    let invite = InviteDto {
        source: SourceDto::new(&made.source, &state.registry),
        key: made.key.map(|key| KeyDto::new(&key.document, &state.registry).showing(key.secret)),
        token: TokenDto::new(&made.token.document, &state.registry).showing(made.token.secret),
        url: state.registry.url_of(&made.source.name),
        path,
        relay_url: state.public_url.clone(),
        generated: made.generated.into_iter().map(|(name, value)| SecretDto { name, value }).collect(),
    };
    Ok((StatusCode::CREATED, Json(invite)))
}
