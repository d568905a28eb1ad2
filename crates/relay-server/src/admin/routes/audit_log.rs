//! The audit log: who changed what, and when.

use axum::Json;
use relay_store::seam::AuditFilter;
use serde::Deserialize;

use super::{cursor::Order, filter};
use crate::{
    admin::{
        Of,
        problem::{AdminError, Asked},
    },
    api::{AuditLineDto, List},
    principal::Principal,
};

/// The query of a listing of the audit log.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    who: Option<String>,
    /// `dead.redrive`, or a noun: `dead`.
    action: Option<String>,
    since: Option<String>,
    until: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(Of(state): Of, Asked(asked): Asked<Listing>) -> Result<Json<List<AuditLineDto>>, AdminError> {
    if let Some(who) =
        asked.who.as_deref().filter(|who| !Principal::ALL.contains(who) && !who.starts_with(Principal::USER))
    {
        let (who, known) = (who.chars().take(40).collect::<String>(), Principal::ALL.join(", "));
        return Err(AdminError::Invalid(format!("who is {who:?}; known: {known}, and users as user:NAME")));
    }
    let range = filter::range(asked.since.as_deref(), asked.until.as_deref())?;
    let page = filter::page(Order::AuditLog, asked.cursor.as_deref(), asked.limit)?;
    let listing = state.archive.browse_audit(AuditFilter { who: asked.who, action: asked.action, range }, page).await?;
    let (items, next) = Order::AuditLog.page(&listing, AuditLineDto::new);
    Ok(Json(List { items, next }))
}
