//! The store: backup while the server goes on.

use std::path::PathBuf;

use axum::{Extension, Json, extract::State};
use serde::Deserialize;

use crate::admin::{
    Shared, Who,
    problem::{AdminError, Body},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    /// A directory on the server's machine that does not exist yet.
    into: PathBuf,
}

pub(super) async fn backup(
    State(admin): Shared,
    Extension(who): Extension<Who>,
    Body(body): Body<Backup>,
) -> Result<Json<serde_json::Value>, AdminError> {
    if !body.into.is_absolute() {
        return Err(AdminError::Invalid(format!("{} is not an absolute path", body.into.display())));
    }
    if body.into.exists() {
        return Err(AdminError::Conflict(format!(
            "{} exists already; name a directory that does not",
            body.into.display()
        )));
    }
    let subject = body.into.display().to_string();
    let done = admin.store.backup(body.into).await?;
    admin.store.audit(vec![admin.audited(who, "store.backup", subject)]).await?;
    Ok(Json(serde_json::json!({ "bytes": done.bytes, "events": done.events })))
}
