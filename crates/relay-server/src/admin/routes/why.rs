//! Why nothing arrives.

use axum::Json;
use serde::Deserialize;

use crate::{
    admin::{
        Of, name,
        problem::{AdminError, Asked},
    },
    api::{CheckDto, WhyDto},
    why,
};

/// Of which source; left out: of all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    source: Option<String>,
}

pub(super) async fn show(Of(state): Of, Asked(about): Asked<About>) -> Result<Json<WhyDto>, AdminError> {
    let source = about.source.as_deref().map(name).transpose()?;
    Ok(Json(why::why(&state, source.as_ref()).await))
}

/// Asks by way of `PUBLIC_URL`, which is a request that leaves the machine.
pub(super) async fn reach(Of(state): Of) -> Json<CheckDto> {
    Json(why::reached(&state).await)
}
