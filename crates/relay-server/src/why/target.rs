//! The target: what came of the last tries there.

use relay_core::{
    delivery::{Attempt, State, outcome::Class},
    name::Name,
    storage::StoreError,
};
use relay_store::seam::{DeliveryFilter, Page};

use super::Look;
use crate::{
    api::{CheckDto, Hop},
    clock::rough,
};

/// The newest deliveries, among whose tries the latest is looked for.
const LOOKED_AT: u32 = 20;
/// What a try leads to. Those that have not been tried may be more than anybody looks at, and are newer.
const AFTER_A_TRY: [State; 4] = [State::Scheduled, State::Delivered, State::Dead, State::Expired];

pub(super) async fn checks(look: &Look<'_>, destinations: &[Name]) -> Vec<CheckDto> {
    let mut checks = Vec::new();
    for destination in destinations {
        let tried = tried(look, destination).await.unwrap_or_else(|error| {
            CheckDto::unknown(Hop::Target, "tries", format!("the store does not tell what was tried: {error}"))
        });
        checks.push(tried.about(destination.as_str()));
        checks.extend(look.told_at(Hop::Target, Some(destination)));
    }
    checks
}

async fn tried(look: &Look<'_>, destination: &Name) -> Result<CheckDto, StoreError> {
    if let Some(down) = down(look, destination) {
        return Ok(down);
    }
    let Latest { last, looked_at } = latest(look, destination).await?;
    Ok(match last {
        Some(last) => in_words(look, destination, &last),
        None if look.clients(destination) == 0 => {
            CheckDto::unknown(Hop::Target, "tries", "nothing was tried: there is no client that could")
        }
        None if looked_at == LOOKED_AT as usize => {
            CheckDto::unknown(Hop::Target, "tries", format!("none of the newest {looked_at} deliveries was tried"))
        }
        None => CheckDto::unknown(Hop::Target, "tries", "nothing was tried there yet"),
    })
}

/// A circuit that is open at one of its clients.
fn down(look: &Look<'_>, destination: &Name) -> Option<CheckDto> {
    let view = look.report.hub.destinations.iter().find(|view| view.destination == *destination)?;
    // Without an error it began open, and nothing is known of the target.
    let client = view.clients.iter().find(|client| client.circuit_open && client.error.is_some())?;
    let since = client.open_since.map_or_else(String::new, |at| format!(" for {}", rough(look.now.mono.since(at))));
    let next = match client.next_try.map(|at| at.since(look.now.mono)) {
        Some(span) if span.as_secs() > 0 => format!("the next try is in {}", rough(span)),
        Some(_) | None => "a try is under way".to_owned(),
    };
    let (label, error) = (&client.label, client.error.as_deref().unwrap_or_default());
    let said = format!("down{since} through client {label}, {} waiting, {next}: {error}", look.waiting(destination));
    let remedy = "look at the target, from the client's machine: crm-relay doctor; nothing is lost meanwhile, and it goes on by itself";
    Some(CheckDto::wrong(Hop::Target, "circuit", said).mended_by(remedy))
}

/// The latest try, as far as is looked.
struct Latest {
    last: Option<Attempt>,
    /// Among so many of the newest deliveries, and as many of those that a try led somewhere.
    looked_at: usize,
}

async fn latest(look: &Look<'_>, destination: &Name) -> Result<Latest, StoreError> {
    let (mut last, mut looked_at) = (None, 0);
    for states in [&[][..], &AFTER_A_TRY] {
        let filter = DeliveryFilter {
            destination: Some(destination.clone()),
            states: states.to_vec(),
            ..DeliveryFilter::default()
        };
        let listing = look.state.archive.browse_deliveries(filter, Page { cursor: None, limit: LOOKED_AT }).await?;
        looked_at = looked_at.max(listing.items.len());
        let tries = listing.items.into_iter().filter_map(|delivery| delivery.last);
        last = tries.chain(last).max_by_key(|last: &Attempt| last.at);
    }
    Ok(Latest { last, looked_at })
}

fn in_words(look: &Look<'_>, destination: &Name, last: &Attempt) -> CheckDto {
    let ago = rough(look.now.wall.since(last.at));
    let answered = match (last.status, &last.error) {
        (_, Some(error)) => error.to_string(),
        (Some(status), None) => format!("HTTP {status}"),
        (None, None) => last.class.as_str().to_owned(),
    };
    if last.class == Class::Delivered {
        return CheckDto::ok(
            Hop::Target,
            "tries",
            format!("the last try, {ago} ago, was taken in {} ms", last.duration_ms),
        );
    }
    CheckDto::wrong(Hop::Target, "tries", format!("the last try, {ago} ago, was not taken: {answered}"))
        .mended_by(remedy(destination, last))
}

fn remedy(destination: &Name, last: &Attempt) -> String {
    match last.status {
        Some(401 | 403) => format!(
            "the target wants a proof of who comes: headers, or username and password, of [destination.{destination}] at the client"
        ),
        Some(404 | 405) => {
            format!("look at the path of the URL of destination {destination} in the client's configuration")
        }
        Some(300..=399) => "redirects are not followed: give the client the URL that it leads to".to_owned(),
        Some(_) => format!(
            "what it says of it: crm-relay delivery show last; all that failed: crm-relay dead summary --destination {destination}"
        ),
        None => "look at the target, from the client's machine: crm-relay doctor".to_owned(),
    }
}
