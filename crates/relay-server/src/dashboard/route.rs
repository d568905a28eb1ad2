//! A route as its source and its destination show it.

use std::time::Duration;

use relay_dashboard::{pace::Pace, screen::RouteLine};

use crate::{api::RouteDto, config::RouteDefaults, directory::Directory, document};

/// With the policy that holds: its own, or the default one.
pub(super) fn line(route: &document::Route, directory: &Directory, defaults: &RouteDefaults) -> RouteLine {
    let dto = RouteDto::new(route, directory, defaults);
    let listed = || Pace::Listed(dto.schedule_ms.iter().copied().map(Duration::from_millis).collect());
    let pace = match (dto.retry_delay_ms, dto.retry_multiplier) {
        (Some(delay), Some(factor)) => Pace::Growing { delay: Duration::from_millis(delay), factor },
        _ => listed(),
    };
    RouteLine {
        source: route.source.clone(),
        destination: route.destination.clone(),
        ttl: Duration::from_millis(dto.ttl_ms),
        retries: dto.max_retries,
        pace,
        paused: route.paused,
        declared: route.declared.clone(),
    }
}
