//! The audit: counts everything anew and compares (I5).

use axum::Json;

use crate::{
    admin::{Of, problem::AdminError},
    api::AuditDto,
};

pub(super) async fn recount(Of(state): Of) -> Result<Json<AuditDto>, AdminError> {
    let recount = state.recounts.recount().await?;
    Ok(Json(AuditDto::new(&recount)))
}
