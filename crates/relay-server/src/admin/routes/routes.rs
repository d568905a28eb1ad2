//! Routes.

use std::time::Duration;

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::IntoResponse,
};
use http::StatusCode;
use relay_core::delivery::retry::RetryPolicy;
use serde::Deserialize;

use crate::{
    admin::{
        Admin, DONE, Shared, Who,
        dto::{List, RouteDto},
        name,
        problem::{AdminError, Body},
    },
    registry::{NewRoute, document::Retry},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    source: String,
    destination: String,
    ttl_ms: Option<u64>,
    max_retries: Option<u32>,
    retry_delay_ms: Option<u64>,
    retry_multiplier: Option<f64>,
    schedule_ms: Option<Vec<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    ttl_ms: Option<u64>,
    max_retries: Option<u32>,
    retry_delay_ms: Option<u64>,
    retry_multiplier: Option<f64>,
    schedule_ms: Option<Vec<u64>>,
}

pub(super) async fn list(State(admin): Shared) -> Json<List<RouteDto>> {
    let directory = admin.registry.directory();
    let routes = directory.routes.values();
    let items = routes.map(|entry| RouteDto::new(&entry.document, &directory, admin.registry.defaults())).collect();
    Json(List { items, next: None })
}

pub(super) async fn show(
    State(admin): Shared,
    Path((source, destination)): Path<(String, String)>,
) -> Result<Json<RouteDto>, AdminError> {
    let directory = admin.registry.directory();
    let entry = directory.routes.get(&(name(&source)?, name(&destination)?));
    let entry = entry.ok_or_else(|| AdminError::Unknown(format!("no route from {source:?} to {destination:?}")))?;
    Ok(Json(RouteDto::new(&entry.document, &directory, admin.registry.defaults())))
}

pub(super) async fn create(
    State(admin): Shared,
    Extension(who): Extension<Who>,
    Body(body): Body<Create>,
) -> Result<impl IntoResponse, AdminError> {
    let Create { source, destination, ttl_ms, max_retries, retry_delay_ms, retry_multiplier, schedule_ms } = body;
    let policy = Policy { ttl_ms, max_retries, retry_delay_ms, retry_multiplier, schedule_ms };
    let new = new_route(&admin, &source, &destination, policy)?;
    let route = admin.registry.create_route(new, who.0).await?;
    let dto = RouteDto::new(&route, &admin.registry.directory(), admin.registry.defaults());
    Ok((StatusCode::CREATED, Json(dto)))
}

pub(super) async fn update(
    State(admin): Shared,
    Extension(who): Extension<Who>,
    Path((source, destination)): Path<(String, String)>,
    Body(policy): Body<Policy>,
) -> Result<Json<RouteDto>, AdminError> {
    let new = new_route(&admin, &source, &destination, policy)?;
    let route = admin.registry.update_route(new, who.0).await?;
    Ok(Json(RouteDto::new(&route, &admin.registry.directory(), admin.registry.defaults())))
}

pub(super) async fn delete(
    State(admin): Shared,
    Extension(who): Extension<Who>,
    Path((source, destination)): Path<(String, String)>,
) -> Result<StatusCode, AdminError> {
    admin.registry.delete_route(&name(&source)?, &name(&destination)?, who.0).await?;
    Ok(DONE)
}

/// What a route has of its own; the rest is filled from the defaults, once it has any policy of its own.
fn new_route(admin: &Admin, source: &str, destination: &str, policy: Policy) -> Result<NewRoute, AdminError> {
    let Policy { ttl_ms, max_retries, retry_delay_ms, retry_multiplier, schedule_ms } = policy;
    if schedule_ms.is_some() && (retry_delay_ms.is_some() || retry_multiplier.is_some()) {
        let text = "schedule_ms stands instead of retry_delay_ms and retry_multiplier; give one or the other";
        return Err(AdminError::Invalid(text.into()));
    }
    if retry_multiplier.is_some_and(|multiplier| !(1.0..=1000.0).contains(&multiplier)) {
        return Err(AdminError::Invalid("retry_multiplier must be 1 to 1000".into()));
    }
    let defaults = Retry::of(&admin.registry.defaults().retry);
    let own = max_retries.is_some() || retry_delay_ms.is_some() || retry_multiplier.is_some() || schedule_ms.is_some();
    let listed_retries = schedule_ms.as_ref().map(|delays| delays.len() as u32);
    let retry = own.then(|| -> RetryPolicy {
        Retry {
            max_retries: max_retries.or(listed_retries).unwrap_or(defaults.max_retries),
            delay_ms: retry_delay_ms.unwrap_or(defaults.delay_ms),
            multiplier: retry_multiplier.unwrap_or(defaults.multiplier),
            schedule_ms: schedule_ms.unwrap_or(defaults.schedule_ms),
        }
        .policy()
    });
    let (source, destination) = (name(source)?, name(destination)?);
    Ok(NewRoute { source, destination, ttl: ttl_ms.map(Duration::from_millis), retry })
}
