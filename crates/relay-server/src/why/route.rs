//! The routes: whether what a source takes goes anywhere.

use relay_core::name::Name;

use super::Look;
use crate::api::{CheckDto, Hop};

pub(super) fn checks(look: &Look<'_>, destinations: &[Name]) -> Vec<CheckDto> {
    let mut checks: Vec<CheckDto> = look.sources().flat_map(|source| of_source(look, source)).collect();
    checks.extend(destinations.iter().filter(|name| look.is_paused(name)).map(|name| paused(look, name)));
    checks
}

fn of_source(look: &Look<'_>, source: &Name) -> Vec<CheckDto> {
    let routes = || look.directory.routes.values().map(|entry| &entry.document).filter(|route| route.source == *source);
    let active: Vec<&str> = routes().filter(|route| !route.paused).map(|route| route.destination.as_str()).collect();
    let stopped = routes().filter(|route| route.paused).map(|route| {
        let to = &route.destination;
        CheckDto::wrong(Hop::Route, "paused", format!("the configuration file no longer declares the route to {to}"))
            .about(source.as_str())
            .mended_by(format!("put it back into the file and reload, or: crm-relay route create {source} {to}"))
    });
    let led = if active.is_empty() {
        CheckDto::wrong(
            Hop::Route,
            "leads",
            "no route: what comes is answered 503 and not stored; its sender has to send it again",
        )
        .mended_by(format!("crm-relay route create {source} DESTINATION"))
    } else {
        CheckDto::ok(Hop::Route, "leads", format!("to {}", active.join(", ")))
    };
    std::iter::once(led.about(source.as_str())).chain(stopped).collect()
}

fn paused(look: &Look<'_>, destination: &Name) -> CheckDto {
    let said = format!("an operator paused it, {} waiting", look.waiting(destination));
    let check = CheckDto::wrong(Hop::Route, "paused", said).about(destination.as_str());
    check.mended_by(format!("crm-relay destination resume {destination}"))
}
