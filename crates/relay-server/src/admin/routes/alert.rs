//! Alerts: who is told, of what, and whether that works.

use axum::Json;
use relay_core::name::Name;

use crate::{
    admin::{
        Of,
        problem::{AdminError, At},
    },
    api::{AlertDto, ConditionDto, List},
    registry::{RegistryError, listed},
};

pub(super) async fn list(Of(state): Of) -> Result<Json<List<AlertDto>>, AdminError> {
    let items = state.alerts.receivers().map(|receiver| AlertDto::new(receiver)).collect();
    Ok(Json(List { items, next: None }))
}

/// What is so now, then what is over, the latest first.
pub(super) async fn conditions(Of(state): Of) -> Result<Json<List<ConditionDto>>, AdminError> {
    let all = [state.alerts.firing(), state.alerts.over()].concat();
    let items = all.iter().map(|past| ConditionDto::new(past, &state.alerts.told_to(past))).collect();
    Ok(Json(List { items, next: None }))
}

/// Sends a message that says that it can be sent, once.
pub(super) async fn test(Of(state): Of, At(name): At<String>) -> Result<Json<AlertDto>, AdminError> {
    let Some(receiver) = state.alerts.receiver(&name) else {
        let known: Vec<&Name> = state.alerts.receivers().map(|receiver| receiver.name()).collect();
        let known = listed(known);
        return Err(RegistryError::Unknown { kind: "alert", name, known }.into());
    };
    let sent = state.alerts.test(receiver).await;
    let mut alert = AlertDto::new(receiver);
    alert.error = sent.err();
    Ok(Json(alert))
}
