//! Why nothing arrives: the way of a webhook hop by hop, and of each thing on it whether it is as it should be.
//!
//! What is wrong for `/health` is wrong here too, told by the hop that it belongs to; beside that stands what only whoever asks
//! has to know: what was refused, who went, what the target said last.
//!
//! **Invariant:** it looks and changes nothing, and costs the same whatever is stored: at most so many sources and destinations are
//! looked at, each by reads of constant cost.

mod client;
mod public;
mod reason;
mod route;
mod server;
mod source;
mod target;

use std::{collections::BTreeSet, sync::Arc};

use relay_core::{name::Name, storage::StoreError, time::Now};
use relay_store::seam::DestinationStats;

pub(crate) use public::reached;

use crate::{
    api::{CheckDto, Hop, WhyDto},
    clock::rfc3339,
    depth,
    directory::Directory,
    health::Report,
    state::State,
};

/// Sources, and destinations, that are looked at where none is named.
const LOOKED_AT_MAX: usize = 100;

/// What all hops look at.
struct Look<'a> {
    state: &'a State,
    report: Report,
    directory: Arc<Directory>,
    now: Now,
    /// What is wrong for `/health`, told where it belongs.
    told: Vec<CheckDto>,
    /// The source that somebody asks about.
    only: Option<&'a Name>,
}

/// What is on the way of webhooks: of one source, or of all. Where the store does not tell, that is what is wrong.
pub(crate) async fn why(state: &State, only: Option<&Name>) -> WhyDto {
    let now = state.clock.now();
    let checks = match state.health.report_now().await {
        Ok(report) => all(&Look::new(state, report, now, only)).await,
        Err(error) => vec![silent(&error)],
    };
    WhyDto::new(rfc3339(now.wall), checks)
}

async fn all(look: &Look<'_>) -> Vec<CheckDto> {
    let (destinations, left_out) = look.destinations();
    let mut checks = server::checks(look);
    checks.extend(source::checks(look).await);
    checks.extend(route::checks(look, &destinations));
    checks.extend(client::checks(look, &destinations));
    checks.extend(target::checks(look, &destinations).await);
    checks.extend(look.told_of_others(&destinations));
    if left_out > 0 {
        let said = format!("{left_out} more destinations were not looked at");
        checks.push(CheckDto::unknown(Hop::Target, "others", said).mended_by("crm-relay doctor SOURCE"));
    }
    // Each hop in the order in which it was looked at.
    checks.sort_by_key(|check| check.hop);
    checks
}

/// Nothing is known of what is stored.
fn silent(error: &StoreError) -> CheckDto {
    let said = format!("the store does not answer, so that nothing behind it was looked at: {error}");
    CheckDto::wrong(Hop::Server, "store", said).mended_by("look at the server's log, and at what the store is in")
}

impl<'a> Look<'a> {
    fn new(state: &'a State, report: Report, now: Now, only: Option<&'a Name>) -> Self {
        let told = report.reasons.iter().filter_map(reason::told).collect();
        Self { state, report, directory: state.registry.directory(), now, told, only }
    }
}

impl Look<'_> {
    /// Those of the sources that are there.
    fn sources(&self) -> impl Iterator<Item = &Name> {
        let asked = |name: &&Name| self.only.is_none_or(|only| only == *name);
        self.directory.sources.keys().filter(asked).take(LOOKED_AT_MAX)
    }

    /// Destinations that their routes lead to; where no source is named, also those at which something waits. And how many of them are
    /// left out.
    fn destinations(&self) -> (Vec<Name>, usize) {
        let routed = self.sources().filter_map(|source| self.directory.routing.routes.get(source)).flatten();
        let mut all: BTreeSet<&Name> = routed.map(|route| &route.destination).collect();
        if self.only.is_none() {
            let waits = |stats: &&DestinationStats| depth::waiting(stats) > 0;
            all.extend(self.report.stats.destinations.iter().filter(waits).map(|stats| &stats.destination));
        }
        let left_out = all.len().saturating_sub(LOOKED_AT_MAX);
        (all.into_iter().take(LOOKED_AT_MAX).cloned().collect(), left_out)
    }

    /// What is wrong for `/health` at a hop, of this name or of none.
    fn told_at(&self, hop: Hop, about: Option<&Name>) -> impl Iterator<Item = CheckDto> {
        let about = about.map(Name::as_str);
        let belongs = move |check: &&CheckDto| check.hop == hop && (about.is_none() || check.about.as_deref() == about);
        self.told.iter().filter(belongs).cloned()
    }

    /// What is wrong for `/health` of sources and destinations that are not looked at: there are too many, or no route leads there any more.
    /// Whoever asks about one source is not told of others.
    fn told_of_others(&self, destinations: &[Name]) -> Vec<CheckDto> {
        if self.only.is_some() {
            return Vec::new();
        }
        let is_seen = |check: &CheckDto| {
            let Some(about) = check.about.as_deref().filter(|_| check.hop != Hop::Server) else { return true };
            match check.hop {
                Hop::Source => self.sources().any(|source| source.as_str() == about),
                _ => destinations.iter().any(|destination| destination.as_str() == about),
            }
        };
        let in_own_words = self.report.reasons.iter().filter_map(reason::in_own_words);
        self.told.iter().cloned().chain(in_own_words).filter(|check| !is_seen(check)).collect()
    }

    fn stats(&self, destination: &Name) -> Option<&DestinationStats> {
        self.report.stats.destinations.iter().find(|stats| stats.destination == *destination)
    }

    fn waiting(&self, destination: &Name) -> u64 {
        self.stats(destination).map_or(0, depth::waiting)
    }

    fn is_paused(&self, destination: &Name) -> bool {
        self.directory.routing.paused.contains(destination)
    }

    /// How many clients serve a destination, at whatever server.
    fn clients(&self, destination: &Name) -> usize {
        let view = self.report.hub.destinations.iter().find(|view| view.destination == *destination);
        view.map_or(0, |view| view.clients.len() + view.elsewhere as usize)
    }
}
