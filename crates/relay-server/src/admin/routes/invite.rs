//! Invitations: everything that a new sender and its client need, in one request.

use axum::{Extension, Json, extract::State, response::IntoResponse};
use http::StatusCode;

use super::source::read;
use crate::{
    admin::{
        Shared,
        problem::{AdminError, Body},
    },
    api::{InviteDto, KeyDto, SecretDto, SourceAsk, SourceDto, TokenDto},
    asker::Asker,
};

pub(super) async fn create(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(body): Body<SourceAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let made = admin.registry.invite(read(body)?, &who).await?;
    let path = format!("/webhook/{}", made.source.name);
    let invite = InviteDto {
        source: SourceDto::new(&made.source, &admin.registry),
        key: made.key.map(|key| KeyDto::new(&key.document).showing(key.secret)),
        token: TokenDto::new(&made.token.document, &admin.registry).showing(made.token.secret),
        url: admin.public_url.as_ref().map(|base| format!("{base}{path}")),
        path,
        relay_url: admin.public_url.clone(),
        generated: made.generated.into_iter().map(|(name, value)| SecretDto { name, value }).collect(),
    };
    Ok((StatusCode::CREATED, Json(invite)))
}
