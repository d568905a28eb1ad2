//! The clients: who fetches what is for a destination, and who was not let in.

use relay_core::{
    hub::{ClientView, UnroutedView},
    name::Name,
};

use super::Look;
use crate::{
    api::{CheckDto, Hop},
    clock::rough,
    guesses::{Entrance, SESSIONS_FULL, Wrong},
    refusals::came_from,
};

pub(super) fn checks(look: &Look<'_>, destinations: &[Name]) -> Vec<CheckDto> {
    let mut checks = Vec::new();
    for destination in destinations {
        checks.push(served(look, destination).about(destination.as_str()));
        checks.extend(look.told_at(Hop::Client, Some(destination)));
    }
    // Who is not let in is a stranger like others, unless somebody is missed.
    if destinations.iter().any(|destination| look.clients(destination) == 0) {
        checks.extend(refused(look));
        checks.extend(look.report.hub.unrouted.iter().map(unrouted));
    }
    checks
}

fn served(look: &Look<'_>, destination: &Name) -> CheckDto {
    let view = look.report.hub.destinations.iter().find(|view| view.destination == *destination);
    let (here, elsewhere) = view.map_or((&[][..], 0), |view| (&view.clients, view.elsewhere));
    if here.is_empty() && elsewhere == 0 {
        return missing(look, destination);
    }
    let mut who: Vec<String> = here.iter().take(3).map(|client| in_words(look, client)).collect();
    let more = here.len().saturating_sub(who.len());
    who.extend((more > 0).then(|| format!("{more} more")));
    who.extend((elsewhere > 0).then(|| format!("{elsewhere} at other servers")));
    CheckDto::ok(Hop::Client, "connected", who.join("; "))
}

/// `laptop, from 10.0.0.7, token office, for 3 min, holds 2 of 8`
fn in_words(look: &Look<'_>, client: &ClientView) -> String {
    let ClientView { label, peer, token, held, slots, .. } = client;
    let since = rough(look.now.wall.since(client.since));
    let from = if peer.is_empty() { String::new() } else { format!(", from {peer}") };
    format!("{label}{from}, token {token}, for {since}, holds {held} of {slots}")
}

fn missing(look: &Look<'_>, destination: &Name) -> CheckDto {
    let last = match look.report.hub.departures.of(destination) {
        Some(last) => {
            let how = if last.goodbye { "said goodbye" } else { "was lost without a goodbye" };
            format!("the last, {}, {how} {} ago", last.label, rough(look.now.wall.since(last.at)))
        }
        None => "there was none since this server started".to_owned(),
    };
    let waits = match look.waiting(destination) {
        0 => String::new(),
        waiting => format!("; {waiting} waiting"),
    };
    let expiry = look.stats(destination).and_then(|stats| stats.next_expiry).filter(|_| !waits.is_empty());
    let expiry = expiry.map_or_else(String::new, |at| format!(", first expires in {}", rough(at.since(look.now.wall))));
    CheckDto::wrong(Hop::Client, "connected", format!("no client serves it: {last}{waits}{expiry}")).mended_by(format!(
        "where the target is: crm-relay client --to {destination}=URL; if one runs there, on that machine: crm-relay doctor"
    ))
}

/// Clients whose token was refused lately.
fn refused(look: &Look<'_>) -> Option<CheckDto> {
    let tallies = look.state.refusals.tallies(Entrance::Connect.about(), look.now.wall).into_iter();
    let latest = tallies.filter(|(kind, _)| *kind != Wrong::Missing.as_str()).max_by_key(|(_, tally)| tally.last);
    let (kind, tally) = latest?;
    let ago = |at| rough(look.now.wall.since(at));
    let from = came_from(&tally.origin).map(|from| format!(" from {from}")).unwrap_or_default();
    let times = format!("{} times in {}, the latest {} ago{from}", tally.count, ago(tally.first), ago(tally.last));
    Some(if kind == SESSIONS_FULL {
        CheckDto::wrong(
            Hop::Client,
            "token",
            format!("clients were refused, for their token has all its sessions: {times}"),
        )
        .mended_by("stop clients that are not needed, or: crm-relay token create NAME")
    } else {
        CheckDto::wrong(Hop::Client, "token", format!("a client's token was refused {times}"))
            .mended_by("crm-relay token list shows those that hold; a new one: crm-relay token create NAME")
    })
}

fn unrouted(view: &UnroutedView) -> CheckDto {
    let UnroutedView { destination, label, token, .. } = view;
    CheckDto::wrong(
        Hop::Client,
        "unrouted",
        format!("a client ({label}, token {token}) serves it, and no route leads to it"),
    )
    .about(destination.as_str())
    .mended_by(format!(
        "give the client a name that crm-relay route list shows, or: crm-relay route create SOURCE {destination}"
    ))
}
