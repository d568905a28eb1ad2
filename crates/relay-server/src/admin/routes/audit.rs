//! The audit: counts everything anew and compares (I5).

use axum::{Json, extract::State};

use crate::{
    admin::{Shared, problem::AdminError},
    api::AuditDto,
};

pub(super) async fn recount(State(admin): Shared) -> Result<Json<AuditDto>, AdminError> {
    let recount = admin.upkeep.recount().await?;
    Ok(Json(AuditDto::new(&recount)))
}
