//! Routes.

use std::time::Duration;

use axum::{Extension, Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde::Deserialize;

use crate::{
    admin::{
        Admin, DONE, Shared, Who,
        dto::{List, RouteDto},
        name,
        problem::{AdminError, At, Body},
    },
    registry::{
        NewRoute,
        document::{Retry, Route},
    },
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
    At((source, destination)): At<(String, String)>,
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
    let new = new_route(&admin, &source, &destination, policy, None)?;
    let route = admin.registry.create_route(new, who.0).await?;
    let dto = RouteDto::new(&route, &admin.registry.directory(), admin.registry.defaults());
    Ok((StatusCode::CREATED, Json(dto)))
}

pub(super) async fn update(
    State(admin): Shared,
    Extension(who): Extension<Who>,
    At((source, destination)): At<(String, String)>,
    Body(policy): Body<Policy>,
) -> Result<Json<RouteDto>, AdminError> {
    let directory = admin.registry.directory();
    let present = directory.routes.get(&(name(&source)?, name(&destination)?)).map(|entry| &entry.document);
    let new = new_route(&admin, &source, &destination, policy, present)?;
    let route = admin.registry.update_route(new, who.0).await?;
    Ok(Json(RouteDto::new(&route, &admin.registry.directory(), admin.registry.defaults())))
}

pub(super) async fn delete(
    State(admin): Shared,
    Extension(who): Extension<Who>,
    At((source, destination)): At<(String, String)>,
) -> Result<StatusCode, AdminError> {
    admin.registry.delete_route(&name(&source)?, &name(&destination)?, who.0).await?;
    Ok(DONE)
}

/// What a route shall have of its own. What is not given stays as it is; a policy of its own is filled from the defaults.
fn new_route(
    admin: &Admin,
    source: &str,
    destination: &str,
    policy: Policy,
    present: Option<&Route>,
) -> Result<NewRoute, AdminError> {
    let Policy { ttl_ms, max_retries, retry_delay_ms, retry_multiplier, schedule_ms } = policy;
    let steps = retry_delay_ms.is_some() || retry_multiplier.is_some();
    if schedule_ms.is_some() && steps {
        let text = "schedule_ms stands instead of retry_delay_ms and retry_multiplier; give one or the other";
        return Err(AdminError::Invalid(text.into()));
    }
    if schedule_ms.as_ref().is_some_and(Vec::is_empty) {
        return Err(AdminError::Invalid("schedule_ms must name at least one delay".into()));
    }
    if retry_multiplier.is_some_and(|multiplier| !(1.0..=1000.0).contains(&multiplier)) {
        return Err(AdminError::Invalid("retry_multiplier must be 1 to 1000".into()));
    }
    let own = max_retries.is_some() || steps || schedule_ms.is_some();
    let before = present.and_then(|route| route.retry.clone());
    let base = before.clone().unwrap_or_else(|| Retry::of(&admin.registry.defaults().retry));
    let listed_retries = schedule_ms.as_ref().map(|delays| delays.len() as u32);
    let retry = if own {
        Some(Retry {
            max_retries: max_retries.or(listed_retries).unwrap_or(base.max_retries),
            delay_ms: retry_delay_ms.unwrap_or(base.delay_ms),
            multiplier: retry_multiplier.unwrap_or(base.multiplier),
            schedule_ms: schedule_ms.unwrap_or_else(|| if steps { Vec::new() } else { base.schedule_ms }),
        })
    } else {
        before
    };
    Ok(NewRoute {
        source: name(source)?,
        destination: name(destination)?,
        ttl: ttl_ms.or(present.and_then(|route| route.ttl_ms)).map(Duration::from_millis),
        retry: retry.map(|retry| retry.policy()),
    })
}
