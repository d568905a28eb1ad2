//! The source: whether anything comes, and what of it is refused.

use relay_core::{limits, name::Name, storage::StoreError, time::Wall};
use relay_store::seam::{EventFilter, Page};

use super::{LOOKED_AT_MAX, Look};
use crate::{
    api::{CheckDto, Hop},
    clock::rough,
    document, ingress,
    refusals::{Missed, Tally, came_from},
};

/// Refused requests that are no stranger's trying one after the other, where some were taken before.
const REFUSED_MIN: u64 = 3;
/// Bytes in which two names differ that may be a slip of the same.
const SLIP_BYTES_MAX: usize = 2;

pub(super) async fn checks(look: &Look<'_>) -> Vec<CheckDto> {
    let mut checks: Vec<CheckDto> = missed(look).into_iter().collect();
    checks.extend(absent(look));
    for source in look.sources() {
        let Some(entry) = look.directory.sources.get(source) else { continue };
        let requests = requests(look, &entry.document).await.unwrap_or_else(|error| {
            CheckDto::unknown(Hop::Source, "requests", format!("the store does not tell what came: {error}"))
        });
        checks.push(requests.about(source.as_str()));
        checks.extend(look.told_at(Hop::Source, Some(source)));
    }
    let left_out = look.directory.sources.len().saturating_sub(LOOKED_AT_MAX);
    if look.only.is_none() && left_out > 0 {
        let said = format!("{left_out} more sources were not looked at");
        checks.push(CheckDto::unknown(Hop::Source, "others", said).mended_by("crm-relay doctor SOURCE"));
    }
    checks
}

/// The source that somebody asks about, or any, where there is none.
fn absent(look: &Look<'_>) -> Option<CheckDto> {
    match look.only {
        Some(only) if !look.directory.sources.contains_key(only) => Some(
            CheckDto::wrong(Hop::Source, "known", "there is no such source; what comes there is answered 404")
                .about(only.as_str())
                .mended_by(format!("crm-relay source list; or make it: crm-relay source create {only}")),
        ),
        None if look.directory.sources.is_empty() => {
            let check = CheckDto::wrong(Hop::Source, "known", "there is no source: all that comes is answered 404");
            Some(check.mended_by("crm-relay invite NAME --provider PROVIDER"))
        }
        Some(_) | None => None,
    }
}

/// The latest webhook that found no source which there is none of still: of any name, or of one like that which somebody asks about.
/// Strangers try names too: it is wrong only where a source lacks what went there.
fn missed(look: &Look<'_>) -> Option<CheckDto> {
    let is_recent = |missed: &&Missed| look.now.wall.since(missed.at) <= limits::REFUSALS_SHOWN;
    let is_lost = |missed: &&Missed| meant(missed).is_some_and(|name| is_lost(look, missed.status, name));
    let all = look.state.refusals.missed();
    let mut lost = all.iter().filter(is_recent).filter(is_lost);
    let latest = lost.next()?;
    let more = match lost.count() {
        0 => String::new(),
        more => format!(", and {more} more within the hour"),
    };
    let Missed { at, method, path, origin, status } = latest;
    let (ago, from) = (rough(look.now.wall.since(*at)), from(came_from(origin)));
    let said = format!("{method} {path}{from} was answered {status}, {ago} ago{more}");
    let remedy = if *status == MISDIRECTED {
        "it came under a name that ALLOWED_HOSTS does not have: add it there, or correct the URL at the platform"
    } else {
        "no source has that name: correct the URL at the platform (crm-relay source list), or make the source"
    };
    let is_lacked = match look.only {
        Some(only) => accepted(look, only) == 0,
        None => look.directory.sources.is_empty(),
    };
    let check = if is_lacked { CheckDto::wrong } else { CheckDto::unknown };
    Some(check(Hop::Source, "missed", said).mended_by(remedy))
}

/// What stands in a request in the place of a source's name, if it is one but for its case; `None`: what strangers ask for has nothing to do
/// with any.
fn meant(missed: &Missed) -> Option<&str> {
    ingress::source_of(&missed.path).filter(|name| name.to_ascii_lowercase().parse::<Name>().is_ok())
}

/// Whether one that was for a source of that name would be lost again, and has to do with what is asked about.
fn is_lost(look: &Look<'_>, status: u16, name: &str) -> bool {
    let is_again = status == MISDIRECTED || !look.directory.sources.contains_key(name);
    is_again && look.only.is_none_or(|only| is_like(name, only.as_str()))
}

/// Whether one may be a slip of the other: beside what they begin and end with alike there is hardly anything.
fn is_like(name: &str, other: &str) -> bool {
    let (name, other) = (name.as_bytes(), other.as_bytes());
    let alike = |(one, other): &(&u8, &u8)| one.eq_ignore_ascii_case(other);
    let begin = name.iter().zip(other).take_while(alike).count();
    let (name, other) = (&name[begin..], &other[begin..]);
    let end = name.iter().rev().zip(other.iter().rev()).take_while(alike).count();
    name.len().max(other.len()) - end <= SLIP_BYTES_MAX
}

const MISDIRECTED: u16 = http::StatusCode::MISDIRECTED_REQUEST.as_u16();

/// How many webhooks a source took, ever.
fn accepted(look: &Look<'_>, source: &Name) -> u64 {
    look.report.stats.sources.iter().find(|stats| stats.source == *source).map_or(0, |stats| stats.accepted)
}

/// The last request of a source, or what was refused since.
async fn requests(look: &Look<'_>, source: &document::Source) -> Result<CheckDto, StoreError> {
    let name = &source.name;
    let wrong = |said: String| CheckDto::wrong(Hop::Source, "requests", said);
    if source.paused {
        let said = "the configuration file no longer declares it: it takes nothing and answers 503".to_owned();
        let remedy = format!("put it back into the file and reload, or: crm-relay source delete {name}");
        return Ok(wrong(said).mended_by(remedy));
    }
    if let Some(what) = look.directory.intakes.get(name).and_then(|intake| intake.broken.as_deref()) {
        let remedy = format!("crm-relay source update {name} --set NAME=VALUE");
        return Ok(wrong(format!("its parameters do not read, it answers 503: {what}")).mended_by(remedy));
    }
    let last = last_accepted(look, name).await?;
    let mut tallies = look.state.refusals.tallies(name.as_str(), look.now.wall);
    // What is older was another source's of that name.
    tallies.retain(|(_, tally)| tally.last >= source.created_at && last.is_none_or(|last| tally.last > last));
    if !tallies.is_empty() {
        return Ok(refused(look, source, &tallies, last));
    }
    let accepted = accepted(look, name);
    Ok(match last {
        Some(last) => {
            let ago = rough(look.now.wall.since(last));
            CheckDto::ok(Hop::Source, "requests", format!("the last webhook was taken {ago} ago; {accepted} so far"))
        }
        None if accepted > 0 => {
            CheckDto::ok(Hop::Source, "requests", format!("{accepted} webhooks were taken, none of which is kept"))
        }
        None => {
            let url = look.state.registry.url_of(name).unwrap_or_else(|| format!("PUBLIC_URL/webhook/{name}"));
            let remedy = format!("at the platform, the URL is {url}; or try it: crm-relay send --source {name}");
            CheckDto::unknown(Hop::Source, "requests", "no webhook has ever come").mended_by(remedy)
        }
    })
}

/// One that nobody knows may be a stranger's, where others were taken: whether it was meant to be taken only its sender knows.
fn refused(
    look: &Look<'_>,
    source: &document::Source,
    tallies: &[(&'static str, Tally)],
    last: Option<Wall>,
) -> CheckDto {
    let ago = |at: Wall| rough(look.now.wall.since(at));
    let checks: Vec<String> = tallies.iter().map(|(check, tally)| format!("{} {check}", tally.count)).collect();
    let since = tallies.iter().map(|(_, tally)| tally.first).min().unwrap_or(look.now.wall);
    let latest = tallies.iter().map(|(_, tally)| tally).max_by_key(|tally| tally.last);
    let (latest, origin) = latest.map_or((look.now.wall, None), |tally| (tally.last, Some(tally.origin)));
    let from = from(origin.as_ref().and_then(came_from));
    let why = look
        .state
        .refusals
        .of(source.name.as_str())
        .first()
        .map_or_else(String::new, |kept| format!(" ({})", kept.detail));
    let taken = match last {
        Some(last) => format!("the last that was taken came {} ago", ago(last)),
        None => "none was taken before".to_owned(),
    };
    let said = format!(
        "webhooks are refused, for {}: {}, the latest {} ago{from}{why}; {taken}",
        ago(since),
        checks.join(", "),
        ago(latest)
    );
    let is_strangers = last.is_some() && tallies.iter().map(|(_, tally)| tally.count).sum::<u64>() < REFUSED_MIN;
    let check = if is_strangers { CheckDto::unknown } else { CheckDto::wrong };
    check(Hop::Source, "requests", said).mended_by(format!(
        "which and why: crm-relay source show {}; then compare secret and URL with the platform's",
        source.name
    ))
}

/// When the newest event that is kept was received.
async fn last_accepted(look: &Look<'_>, source: &Name) -> Result<Option<Wall>, StoreError> {
    let filter = EventFilter { source: Some(source.clone()), ..EventFilter::default() };
    let listing = look.state.archive.browse_events(filter, Page { cursor: None, limit: 1 }).await?;
    Ok(listing.items.first().map(|row| row.event.received_at))
}

fn from(peer: Option<String>) -> String {
    peer.map(|peer| format!(" from {peer}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use relay_net::origin::Origin;

    use super::*;

    #[test]
    fn a_slip_of_a_name_is_like_it() {
        for (name, other) in
            [("strpie", "stripe"), ("Shop", "shop"), ("shop", "shop"), ("shop", "shops"), ("sop", "shop")]
        {
            assert!(is_like(name, other) && is_like(other, name), "{name} {other}");
        }
        for (name, other) in [("wp-login", "stripe"), ("crm", "erp"), ("stripe", "stripe-test"), ("shop", "")] {
            assert!(!is_like(name, other) && !is_like(other, name), "{name} {other}");
        }
    }

    /// What scanners ask for names no source.
    #[test]
    fn what_names_no_source_was_for_none() {
        let missed = |path: &str| Missed {
            at: Wall::from_micros(0),
            method: "POST".into(),
            path: path.into(),
            origin: Origin::local(),
            status: 404,
        };
        assert_eq!(meant(&missed("/webhook/Shop/x")), Some("Shop"));
        assert_eq!(meant(&missed("/webhook")), Some("default"));
        for path in ["/webhooks", "/webhook/", "/webhook.php", "/webhook/%2e%2e", "/webhook/.env", "/"] {
            assert_eq!(meant(&missed(path)), None, "{path}");
        }
    }
}
