//! Routes.

use std::time::Duration;

use axum::{Extension, Json, response::IntoResponse};
use http::StatusCode;
use relay_core::limits;

use crate::{
    admin::{
        DONE, Of, name,
        problem::{AdminError, At, Body},
    },
    api::{List, PolicyAsk, RouteAsk, RouteDto},
    config::RouteDefaults,
    document::{Retry, Route},
    principal::Principal,
    registry::{NewRoute, Policy, RegistryError},
};

pub(super) async fn list(Of(state): Of) -> Json<List<RouteDto>> {
    let directory = state.registry.directory();
    let routes = directory.routes.values();
    let items = routes.map(|entry| RouteDto::new(&entry.document, &directory, state.registry.defaults())).collect();
    Json(List { items, next: None })
}

pub(super) async fn show(
    Of(state): Of,
    At((source, destination)): At<(String, String)>,
) -> Result<Json<RouteDto>, AdminError> {
    let directory = state.registry.directory();
    let entry = directory.routes.get(&(name(&source)?, name(&destination)?));
    let entry = entry.ok_or_else(|| AdminError::Unknown(format!("no route from {source:?} to {destination:?}")))?;
    Ok(Json(RouteDto::new(&entry.document, &directory, state.registry.defaults())))
}

pub(super) async fn create(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(body): Body<RouteAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let RouteAsk { source, destination, ttl_ms, max_retries, retry_delay_ms, retry_multiplier, schedule_ms } = body;
    let asked = PolicyAsk { ttl_ms, max_retries, retry_delay_ms, retry_multiplier, schedule_ms };
    let Policy { ttl, retry } = over(&asked, None, state.registry.defaults())?;
    let new = NewRoute { source: name(&source)?, destination: name(&destination)?, ttl, retry };
    let route = state.registry.create_route(new, &who).await?;
    let dto = RouteDto::new(&route, &state.registry.directory(), state.registry.defaults());
    Ok((StatusCode::CREATED, Json(dto)))
}

pub(super) async fn update(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At((source, destination)): At<(String, String)>,
    Body(asked): Body<PolicyAsk>,
) -> Result<Json<RouteDto>, AdminError> {
    let revise = |present: &Route| over(&asked, Some(present), state.registry.defaults());
    let route = state.registry.update_route(&name(&source)?, &name(&destination)?, &who, revise).await?;
    Ok(Json(RouteDto::new(&route, &state.registry.directory(), state.registry.defaults())))
}

pub(super) async fn delete(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At((source, destination)): At<(String, String)>,
) -> Result<StatusCode, AdminError> {
    state.registry.delete_route(&name(&source)?, &name(&destination)?, &who).await?;
    Ok(DONE)
}

/// What a route shall have of its own. What is not given stays as it is; a policy of its own is filled from the
/// defaults.
fn over(asked: &PolicyAsk, present: Option<&Route>, defaults: &RouteDefaults) -> Result<Policy, RegistryError> {
    check(asked)?;
    let before = present.and_then(|route| route.retry.clone());
    let retry = if has_retry(asked) {
        let base = before.unwrap_or_else(|| Retry::of(&defaults.retry));
        let listed = asked.schedule_ms.as_ref().map(|delays| delays.len() as u32);
        let kept = if has_steps(asked) { Vec::new() } else { base.schedule_ms };
        Some(Retry {
            max_retries: asked.max_retries.or(listed).unwrap_or(base.max_retries),
            delay_ms: asked.retry_delay_ms.unwrap_or(base.delay_ms),
            multiplier: asked.retry_multiplier.unwrap_or(base.multiplier),
            schedule_ms: asked.schedule_ms.clone().unwrap_or(kept),
        })
    } else {
        before
    };
    let ttl_ms = asked.ttl_ms.or(present.and_then(|route| route.ttl_ms));
    Ok(Policy { ttl: ttl_ms.map(Duration::from_millis), retry: retry.map(|retry| retry.policy()) })
}

fn check(asked: &PolicyAsk) -> Result<(), RegistryError> {
    let delay_max = limits::RETRY_DELAY_MAX.as_millis() as u64;
    let text = if asked.schedule_ms.is_some() && has_steps(asked) {
        "schedule_ms stands instead of retry_delay_ms and retry_multiplier; give one or the other"
    } else if asked.schedule_ms.as_ref().is_some_and(Vec::is_empty) {
        "schedule_ms must name at least one delay"
    } else if asked.ttl_ms.is_some_and(|ttl| ttl > limits::MESSAGE_TTL_MAX.as_millis() as u64) {
        "ttl_ms must be at most ten years"
    } else if asked.max_retries.is_some_and(|retries| retries > limits::MAX_RETRIES_MAX) {
        "max_retries must be at most 1000"
    } else if asked.schedule_ms.as_ref().is_some_and(|delays| delays.len() > limits::MAX_RETRIES_MAX as usize) {
        "schedule_ms may name at most 1000 delays"
    } else if asked.retry_delay_ms.iter().chain(asked.schedule_ms.iter().flatten()).any(|delay| *delay > delay_max) {
        "a delay must be at most a day"
    } else if asked.retry_multiplier.is_some_and(|factor| !(1.0..=limits::RETRY_MULTIPLIER_MAX).contains(&factor)) {
        "retry_multiplier must be 1 to 100"
    } else {
        return Ok(());
    };
    Err(RegistryError::Invalid(text.into()))
}

fn has_steps(asked: &PolicyAsk) -> bool {
    asked.retry_delay_ms.is_some() || asked.retry_multiplier.is_some()
}

fn has_retry(asked: &PolicyAsk) -> bool {
    asked.max_retries.is_some() || asked.schedule_ms.is_some() || has_steps(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API takes what the settings take, and no more.
    #[test]
    fn what_a_route_may_ask_for_has_bounds() {
        let day = 86_400_000;
        assert!(
            check(&PolicyAsk { schedule_ms: Some(vec![day; 1_000]), ttl_ms: Some(3650 * day), ..PolicyAsk::default() })
                .is_ok()
        );
        assert!(
            check(&PolicyAsk { max_retries: Some(1_000), retry_multiplier: Some(100.0), ..PolicyAsk::default() })
                .is_ok()
        );
        for asked in [
            PolicyAsk { ttl_ms: Some(3650 * day + 1), ..PolicyAsk::default() },
            PolicyAsk { ttl_ms: Some(u64::MAX), ..PolicyAsk::default() },
            PolicyAsk { max_retries: Some(1_001), ..PolicyAsk::default() },
            PolicyAsk { retry_delay_ms: Some(day + 1), ..PolicyAsk::default() },
            PolicyAsk { retry_multiplier: Some(100.1), ..PolicyAsk::default() },
            PolicyAsk { retry_multiplier: Some(f64::NAN), ..PolicyAsk::default() },
            PolicyAsk { schedule_ms: Some(vec![1; 1_001]), ..PolicyAsk::default() },
            PolicyAsk { schedule_ms: Some(vec![day + 1]), ..PolicyAsk::default() },
        ] {
            assert!(check(&asked).is_err(), "{asked:?}");
        }
    }
}
